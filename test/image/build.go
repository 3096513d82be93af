package image

import (
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// A Builder carries out a Dockerfile without Docker. A stage's file system is a directory; where the base is an image
// of tools, the machine's own tools are mounted into it.
type Builder struct {
	t       testing.TB
	context string // the module's root
	roots   map[string]string
}

// NewBuilder returns a Builder for the Dockerfile of the module at context.
func NewBuilder(t testing.TB, context string) *Builder {
	return &Builder{t: t, context: context, roots: make(map[string]string)}
}

// Stage carries out a stage's WORKDIR, COPY, ARG, ENV and RUN, and returns the directory that is its root.
func (b *Builder) Stage(s Stage) string {
	b.t.Helper()
	root := b.t.TempDir()
	if err := os.Chmod(root, 0o755); err != nil {
		b.t.Fatal(err)
	}
	b.roots[s.Name] = root
	workdir, env := "/", []string{}
	for _, i := range s.Instructions {
		switch i.Keyword {
		case "WORKDIR":
			workdir = path.Join(workdir, i.Rest)
			if err := os.MkdirAll(filepath.Join(root, workdir), 0o755); err != nil {
				b.t.Fatal(err)
			}
		case "ARG", "ENV":
			name, value, _ := strings.Cut(i.Rest, "=")
			env = append(env, name+"="+value)
		case "COPY":
			b.copy(i, root, workdir)
		case "RUN":
			b.run(i, root, workdir, env)
		}
	}
	return root
}

// copy is COPY, of the context or of another stage.
func (b *Builder) copy(i Instruction, root, workdir string) {
	b.t.Helper()
	words := strings.Fields(i.Rest)
	to := words[len(words)-1]
	destination := filepath.Join(root, path.Join(workdir, to))
	if path.IsAbs(to) {
		destination = filepath.Join(root, to)
	}
	for _, from := range words[:len(words)-1] {
		if stage := i.Flags["from"]; stage != "" {
			b.tool("cp", "-a", filepath.Join(b.roots[stage], from), destination)
		} else if from == "." {
			b.copyContext(destination)
		} else {
			b.tool("cp", "-a", filepath.Join(b.context, from), destination)
		}
	}
	if owner := i.Flags["chown"]; owner != "" {
		b.tool("chown", "-R", owner, destination)
	}
}

// copyContext copies what `docker build` would send: the tree without what .dockerignore names. What git ignores is left
// out besides; it can be large, and a fresh clone does not have it.
func (b *Builder) copyContext(destination string) {
	b.t.Helper()
	text, err := os.ReadFile(filepath.Join(b.context, ".dockerignore"))
	if err != nil {
		b.t.Fatal(err)
	}
	var ignored []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			ignored = append(ignored, strings.Trim(line, "/"))
		}
	}
	list := b.tool("git", "-c", "safe.directory=*", "-C", b.context, "ls-files", "-co", "--exclude-standard", "-z")
	for name := range strings.SplitSeq(strings.TrimRight(list, "\x00"), "\x00") {
		if name == "" || matches(ignored, name) {
			continue
		}
		data, err := os.ReadFile(filepath.Join(b.context, name))
		if os.IsNotExist(err) {
			continue // deleted, but not committed yet
		}
		target := filepath.Join(destination, name)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(target), 0o755)
		}
		if err == nil {
			err = os.WriteFile(target, data, 0o644)
		}
		if err != nil {
			b.t.Fatal(err)
		}
	}
}

// matches tells whether a pattern of .dockerignore covers a file: the pattern, or a folder it is in.
func matches(patterns []string, name string) bool {
	for p := name; p != "."; p = path.Dir(p) {
		for _, pattern := range patterns {
			if ok, _ := path.Match(pattern, p); ok {
				return true
			}
		}
	}
	return false
}

// run is RUN: in a mount namespace of its own, where root is the root and holds the machine's tools, Go and its caches.
func (b *Builder) run(i Instruction, root, workdir string, env []string) {
	b.t.Helper()
	goenv := strings.Fields(b.tool("go", "env", "GOROOT", "GOMODCACHE", "GOCACHE"))
	var script strings.Builder
	script.WriteString("set -e\nr=$1\n")
	for _, dir := range append([]string{"/bin", "/sbin", "/usr", "/lib", "/lib64", "/etc", "/dev", "/proc"}, goenv...) {
		fmt.Fprintf(&script, "if [ -d '%[1]s' ]; then mkdir -p \"$r%[1]s\"; mount --rbind '%[1]s' \"$r%[1]s\"; fi\n", dir)
	}
	script.WriteString("mkdir -p -m 1777 \"$r/tmp\"\nexec chroot \"$r\" /bin/sh -c \"cd '$2' && $3\"\n")
	cmd := exec.Command("/bin/sh", "-c", script.String(), "run", root, workdir, i.Rest)
	cmd.Env = append([]string{"PATH=" + goenv[0] + "/bin:" + os.Getenv("PATH"), "HOME=/tmp", "GOMODCACHE=" + goenv[1], "GOCACHE=" + goenv[2],
		"GOFLAGS=-modcacherw", "GOPROXY=" + strings.TrimSpace(b.tool("go", "env", "GOPROXY"))}, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if out, err := cmd.CombinedOutput(); err != nil {
		b.t.Fatalf("line %d: RUN %s: %v\n%s", i.Line, i.Rest, err, out)
	}
}

// tool runs a program of the machine and returns what it prints.
func (b *Builder) tool(name string, args ...string) string {
	b.t.Helper()
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		b.t.Fatalf("%s %s: %v", name, strings.Join(args, " "), err)
	}
	return string(out)
}

// User returns the numbers of USER.
func (s Stage) User() (uid, gid uint32, err error) {
	i, ok := s.Last("USER")
	if !ok {
		return 0, 0, fmt.Errorf("no USER: the image runs as root")
	}
	user, group, _ := strings.Cut(i.Rest, ":")
	u, err := strconv.ParseUint(user, 10, 32)
	if err != nil {
		return 0, 0, fmt.Errorf("line %d: USER %s: an image from scratch knows no names", i.Line, i.Rest)
	}
	g, err := strconv.ParseUint(group, 10, 32)
	if err != nil {
		return 0, 0, fmt.Errorf("line %d: USER %s: the group is no number", i.Line, i.Rest)
	}
	return uint32(u), uint32(g), nil
}
