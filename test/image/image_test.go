package image

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/internal/initiator"
)

const root = "../.."

// stages reads the Dockerfile.
func stages(t *testing.T) []Stage {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	stages, err := Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	if len(stages) != 2 {
		t.Fatalf("%d stages, want one that builds and one that is the image", len(stages))
	}
	return stages
}

func TestDockerfile(t *testing.T) {
	s := stages(t)
	gomod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(gomod)
	if want := "golang:" + string(version[1]); s[0].Base != want {
		t.Errorf("the build stage is from %s, but go.mod wants %s", s[0].Base, want)
	}
	image := s[1]
	if image.Base != "scratch" {
		t.Errorf("the image is from %s, want scratch", image.Base)
	}
	if uid, gid, err := image.User(); err != nil || uid == 0 || gid == 0 {
		t.Errorf("the image runs as %d:%d (%v), want neither to be root", uid, gid, err)
	}
	entry := execForm(t, image, "ENTRYPOINT")
	execForm(t, image, "CMD")
	if health := execForm(t, image, "HEALTHCHECK"); health[0] != entry[0] {
		t.Errorf("the health check runs %s; the image has nothing but %s", health[0], entry[0])
	}
	if i, ok := image.Last("EXPOSE"); !ok || i.Rest != "3260" {
		t.Errorf("EXPOSE %q, want 3260", i.Rest)
	}
	if slices.ContainsFunc(image.Instructions, func(i Instruction) bool { return i.Keyword == "RUN" }) {
		t.Error("the image has a RUN, and nothing that could run it")
	}
}

// execForm returns the arguments of the last instruction with a keyword.
func execForm(t *testing.T, s Stage, keyword string) []string {
	t.Helper()
	i, ok := s.Last(keyword)
	if !ok {
		t.Fatalf("the image has no %s", keyword)
	}
	args, err := i.Exec()
	if err != nil {
		t.Fatal(err)
	}
	return args
}

// TestImage builds the image's root and runs what the image would run.
func TestImage(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: the build stage runs in a root directory of its own, the image as another user")
	}
	if err := exec.Command("unshare", "--mount", "--net", "true").Run(); err != nil {
		t.Skipf("this machine gives no namespaces of its own: unshare: %v", err)
	}
	s := stages(t)
	b := NewBuilder(t, root)
	b.Stage(s[0])
	dir := b.Stage(s[1])
	entry := execForm(t, s[1], "ENTRYPOINT")
	t.Run("static", func(t *testing.T) { static(t, filepath.Join(dir, entry[0])) })
	t.Run("nothing else", func(t *testing.T) { onlyHolds(t, dir, entry[0], "/data") })
	if err := Isolated(func() {
		serves(t, s[1], dir, "iqn.2026-11.org.isantarget:san")
		serves(t, s[1], dir, "iqn.2026-11.org.example:san", variables(t)...)
	}); err != nil {
		t.Fatal(err)
	}
}

// static fails unless the program needs no loader and no library.
func static(t *testing.T, path string) {
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("the binary asks for a loader")
		}
	}
	if libraries, err := f.ImportedLibraries(); err == nil && len(libraries) > 0 {
		t.Errorf("the binary asks for %v", libraries)
	}
	if out, _ := exec.Command("ldd", path).CombinedOutput(); !strings.Contains(string(out), "not a dynamic executable") {
		t.Errorf("ldd: %s", out)
	}
}

// onlyHolds fails if the root holds more than the named paths.
func onlyHolds(t *testing.T, dir string, want ...string) {
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if name := "/" + strings.TrimPrefix(strings.TrimPrefix(path, dir), "/"); name != "/" && !slices.Contains(want, name) {
			t.Errorf("the image holds %s besides", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// serves runs entry point, command and health check in the image's root as its user, with variables. What serves then
// is called target.
func serves(t *testing.T, image Stage, dir, target string, variables ...string) {
	entry, arguments, health := execForm(t, image, "ENTRYPOINT"), execForm(t, image, "CMD"), execForm(t, image, "HEALTHCHECK")
	if out, err := program(t, image, dir, health).CombinedOutput(); err == nil {
		t.Errorf("the health check is content before anything serves: %s", out)
	}
	var log bytes.Buffer
	daemon := program(t, image, dir, append(entry, arguments...))
	daemon.Stdout, daemon.Stderr = &log, &log
	daemon.Env = append(daemon.Env, variables...)
	begun := time.Now()
	if err := daemon.Start(); err != nil {
		t.Error(err)
		return
	}
	ended := make(chan error, 1)
	go func() { ended <- daemon.Wait() }()
	defer func() {
		daemon.Process.Kill()
		if t.Failed() {
			t.Logf("the daemon printed:\n%s", log.String())
		}
	}()
	if err := awaitLogin("127.0.0.1:3260", target); err != nil {
		t.Error(err)
		return
	}
	t.Logf("an initiator is logged in %v after the start of the container's process", time.Since(begun).Round(time.Millisecond))
	if err := healthy(t, image, dir, health); err != nil {
		t.Error(err)
		return
	}
	if err := moveData("127.0.0.1:3260", target); err != nil {
		t.Error(err)
	}
	if len(variables) > 0 {
		if err := tellsMetrics("127.0.0.1:3261"); err != nil {
			t.Error(err)
		}
	}
	if err := daemon.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("on SIGTERM: %v, want exit status 0", err)
		}
	case <-time.After(2 * time.Minute):
		t.Error("still there two minutes after SIGTERM")
	}
	uid, _, err := image.User()
	if err != nil {
		t.Error(err)
		return
	}
	entries, err := os.ReadDir(filepath.Join(dir, "data"))
	if err != nil || len(entries) == 0 {
		t.Errorf("nothing was kept in the volume (%v)", err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Sys().(*syscall.Stat_t).Uid != uid {
			t.Errorf("/data/%s is not the image's user's (%v)", e.Name(), err)
		}
	}
}

// program prepares a program of the image, in its root, as its user, in its working directory, with Docker's environment.
func program(t *testing.T, image Stage, dir string, args []string) *exec.Cmd {
	uid, gid, err := image.User()
	if err != nil {
		t.Fatal(err)
	}
	workdir := "/"
	if i, ok := image.Last("WORKDIR"); ok {
		workdir = i.Rest
	}
	return &exec.Cmd{
		Path: args[0], Args: args, Dir: workdir, Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		SysProcAttr: &syscall.SysProcAttr{
			Chroot: dir, Credential: &syscall.Credential{Uid: uid, Gid: gid, Groups: []uint32{}}, Setpgid: true, Pdeathsig: syscall.SIGKILL,
		},
	}
}

// healthy waits until the health check is content.
func healthy(t *testing.T, image Stage, dir string, health []string) error {
	var out []byte
	var err error
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if out, err = program(t, image, dir, health).CombinedOutput(); err == nil {
			return nil
		}
	}
	return errors.Join(errors.New("not healthy within two minutes: "+string(out)), err)
}

// moveData writes a block through a session and reads it back through another.
func moveData(address, target string) error {
	data := bytes.Repeat([]byte("isantarget "), 512)[:512]
	for _, c := range []initiator.Command{
		{CDB: []byte{0x2a, 0, 0, 0, 0, 9, 0, 0, 1, 0}, Write: data},
		{CDB: []byte{0x28, 0, 0, 0, 0, 9, 0, 0, 1, 0}, Read: len(data)},
	} {
		r, err := oneCommand(address, target, c)
		if err != nil {
			return err
		}
		if r.Status != 0 {
			return errors.New("a command did not end with GOOD")
		}
		if c.Read > 0 && !bytes.Equal(r.Data, data) {
			return errors.New("other data came back")
		}
	}
	return nil
}

// login logs an initiator in.
func login(address, target string) (*initiator.Connection, error) {
	c, err := initiator.Dial(address, initiator.Options{})
	if err != nil {
		return nil, err
	}
	err = c.Login(initiator.Login{
		InitiatorName: "iqn.2026-11.org.isantarget.test:initiator", TargetName: target, SessionType: "Normal", ISID: initiator.RandomISID(),
	})
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// awaitLogin tries to log in until it works.
func awaitLogin(address, target string) (err error) {
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		var c *initiator.Connection
		if c, err = login(address, target); err == nil {
			return c.Close()
		}
	}
	return fmt.Errorf("no login within two minutes: %w", err)
}

// tellsMetrics asks for the metrics as Prometheus does. The connection is made here, since this thread alone is in the
// container's network.
func tellsMetrics(address string) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(2 * time.Minute))
	secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // a certificate that it has made itself
	r, err := http.NewRequest("GET", "https://"+address+"/metrics", nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Close = true
	if err := r.Write(secure); err != nil {
		return err
	}
	answer, err := http.ReadResponse(bufio.NewReader(secure), r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK || !bytes.Contains(text, []byte("\nisantarget_")) {
		return fmt.Errorf("GET /metrics: %s, %v\n%s", answer.Status, err, text)
	}
	return nil
}

// oneCommand runs a command in a session of its own, again after unit attentions.
func oneCommand(address, target string, cmd initiator.Command) (r *initiator.Result, err error) {
	c, err := login(address, target)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	for range 10 {
		if r, err = c.Execute(cmd); err != nil {
			return nil, err
		}
		if key, _ := r.SenseCode(); key != 6 {
			break
		}
	}
	return r, nil
}

func TestParseRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":                    "# only words\n",
		"an instruction before FROM": "RUN true\nFROM scratch\n",
		"an unknown instruction":     "FROM scratch\nADDD . .\n",
		"a stage that is not there":  "FROM scratch\nCOPY --from=build /a /a\n",
		"an empty instruction":       "FROM scratch\nUSER\n",
		"an open end":                "FROM scratch\nRUN a \\\n",
	} {
		if _, err := Parse(text); err == nil {
			t.Errorf("a Dockerfile with %s is taken", name)
		}
	}
	s, err := Parse("FROM a AS b\nRUN x \\\n  && y\nFROM scratch\nCOPY --from=b --chown=1:2 /a /c\nHEALTHCHECK --timeout=3s CMD [\"/c\", \"d\"]\nCMD run it\n")
	if err != nil {
		t.Fatal(err)
	}
	if got := s[0].Instructions[0].Rest; got != "x   && y" && got != "x && y" {
		t.Errorf("a continued RUN is %q", got)
	}
	health, _ := s[1].Last("HEALTHCHECK")
	if args, err := health.Exec(); err != nil || !slices.Equal(args, []string{"/c", "d"}) {
		t.Errorf("HEALTHCHECK is %q, %v", args, err)
	}
	cmd, _ := s[1].Last("CMD")
	if _, err := cmd.Exec(); err == nil {
		t.Error("the shell form of CMD is taken for the exec form")
	}
}

func TestIsolatedNetworkIsEmpty(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root for a network of its own")
	}
	var bindErr error
	err := Isolated(func() {
		s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			bindErr = err
			return
		}
		defer unix.Close(s)
		bindErr = unix.Bind(s, &unix.SockaddrInet4{Port: 3260, Addr: [4]byte{127, 0, 0, 1}})
	})
	if errors.Is(err, unix.EPERM) {
		t.Skipf("this machine gives no network of its own: %v", err)
	}
	if err != nil || bindErr != nil {
		t.Errorf("port 3260 of a network of its own: %v, %v", err, bindErr)
	}
}
