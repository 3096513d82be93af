package debian

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// unit runs the script as what the container boots for, and ends the container with it.
const unit = `[Unit]
Requires=basic.target
After=basic.target
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
Type=oneshot
TimeoutStartSec=infinity
ExecStart=/bin/sh -c '/bin/sh -eu /share/script; echo $? >/share/status'
StandardOutput=file:/share/output
StandardError=inherit
`

// Run boots a container, has it run a script as root, and returns what that printed. The files that share names are
// in the container's /share. A script that fails, or a container that does not end, fails the test.
func Run(t *testing.T, script string, share map[string]string) string {
	t.Helper()
	layers, shared := t.TempDir(), t.TempDir()
	mount(t, "tmpfs", layers, "tmpfs", "size=512M,mode=755") // an overlay's layers may not be in one another
	upper, work, root := filepath.Join(layers, "upper"), filepath.Join(layers, "work"), filepath.Join(layers, "root")
	for _, dir := range []string{upper, work, root} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	mount(t, "overlay", root, "overlay", "lowerdir=/,upperdir="+upper+",workdir="+work)
	put(t, filepath.Join(root, "etc/systemd/system/isantarget-test.service"), unit)
	put(t, filepath.Join(shared, "script"), script)
	for name, file := range share {
		if err := os.Link(file, filepath.Join(shared, name)); err != nil {
			t.Fatal(err)
		}
	}
	const bound = 6 * time.Minute
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	cmd := exec.CommandContext(ctx, "systemd-nspawn", "--quiet", "--directory="+root, "--register=no", "--keep-unit", "--private-network",
		"--link-journal=no", "--console=pipe", "--bind="+shared+":/share", "--boot", "--", "--unit=isantarget-test.service")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 10 * time.Second
	console, err := cmd.CombinedOutput()
	status, _ := os.ReadFile(filepath.Join(shared, "status"))
	output, _ := os.ReadFile(filepath.Join(shared, "output"))
	if strings.TrimSpace(string(status)) != "0" {
		t.Fatalf("the script ended with status %q (%v)\n%s\nthe console:\n%s", strings.TrimSpace(string(status)), err, output, console)
	}
	return string(output)
}

func put(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// mount mounts a file system until the test has ended.
func mount(t *testing.T, source, at, kind, options string) {
	t.Helper()
	if err := syscall.Mount(source, at, kind, 0, options); err != nil {
		t.Skipf("this machine gives no %s to boot a container in: %v", kind, err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(at, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}
