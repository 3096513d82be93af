package daemon

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/isantarget/isantarget/internal/initiator"
)

// An ordinary user runs it, with whatever umask: what it keeps is for that user alone,
// and is there again the next time.
func TestUnprivileged(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	const nobody = 65534
	binary, err := os.ReadFile(Binary())
	if err != nil {
		t.Fatal(err)
	}
	for _, umask := range []string{"0000", "0022", "0777"} {
		t.Run(umask, func(t *testing.T) {
			home := t.TempDir()
			program := filepath.Join(home, "isantarget")
			for _, err := range []error{
				os.Chmod(filepath.Dir(home), 0o755), os.WriteFile(program, binary, 0o755), os.Chmod(program, 0o755), os.Chown(home, nobody, nobody),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			// An umask that takes everything from everybody leaves no way into a folder made with it, so the shell makes that one.
			const script = `mkdir "$1/data" && chmod 700 "$1/data" && umask "$2" && cd "$1" && exec "$1/isantarget" serve --state "$1/data/state" --portal 127.0.0.1:0 --target "$3" --lun disk="$1/data/disk.img",size=1MiB`
			run := func(script string) (stop func()) {
				cmd := exec.Command("sh", "-c", script, "sh", home, umask, Target)
				cmd.Env = environment()
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}, Pdeathsig: syscall.SIGKILL}
				out, err := cmd.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				cmd.Stderr = cmd.Stdout
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = cmd.Process.Kill() })
				late := time.AfterFunc(startBound, func() { _ = cmd.Process.Kill() })
				defer late.Stop()
				lines := bufio.NewScanner(out)
				said := ""
				for lines.Scan() {
					said += lines.Text() + "\n"
					at := strings.Index(lines.Text(), "iscsi://")
					if at < 0 {
						continue
					}
					address, _, _ := strings.Cut(lines.Text()[at+len("iscsi://"):], "/")
					writeOneBlock(t, address)
					return func() {
						if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
							t.Fatal(err)
						}
						for lines.Scan() {
							said += lines.Text() + "\n"
						}
						if err := cmd.Wait(); err != nil {
							t.Fatalf("%v\n%s", err, said)
						}
					}
				}
				t.Fatalf("it does not serve:\n%s", said)
				return nil
			}
			run(script)()
			seen := 0
			err := filepath.WalkDir(filepath.Join(home, "data"), func(path string, e fs.DirEntry, err error) error {
				if err != nil {
					return err
				}
				info, err := e.Info()
				if err != nil {
					return err
				}
				want := fs.FileMode(0o600)
				if e.IsDir() {
					want = 0o700
				}
				if info.Mode().Perm() != want {
					t.Errorf("%s has the mode %v, want %v", path, info.Mode().Perm(), want)
				}
				seen++
				return nil
			})
			if err != nil || seen < 5 {
				t.Fatalf("%d files and folders, %v", seen, err)
			}
			_, again, _ := strings.Cut(script, "&& umask")
			run("umask" + again)()
		})
	}
}

// writeOneBlock logs in and writes.
func writeOneBlock(t *testing.T, address string) {
	t.Helper()
	c, err := initiator.Dial(address, initiator.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login(initiator.Login{InitiatorName: fmt.Sprint(Target, ".initiator"), TargetName: Target, SessionType: "Normal", ISID: initiator.RandomISID()}); err != nil {
		t.Fatal(err)
	}
	good(t, c, initiator.Command{CDB: cdb10(0x2a, 0, 1), Write: make([]byte, 512)})
}
