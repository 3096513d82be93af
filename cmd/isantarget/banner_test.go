package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/provision"
	"github.com/isantarget/isantarget/test/daemon"
)

// TestPrintedCommands has a shell run what the daemon says to run, as far as
// this machine can: iscsiadm is for test/guest.
func TestPrintedCommands(t *testing.T) {
	for _, tool := range []string{"iscsi-ls", "qemu-img"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed (libiscsi-bin, qemu-utils and qemu-block-extra have them)", tool)
		}
	}
	for name, chap := range map[string][]string{"open": nil, "CHAP": {"--chap", "it's alice:its secret"}} {
		t.Run(name, func(t *testing.T) {
			p := newProcess(t, append([]string{"serve", "--portal", "127.0.0.1:0", "--target", daemon.Target, "--lun", "a=,kind=memory,size=8MiB"}, chap...)...)
			if err := os.WriteFile(filepath.Join(p.cmd.Dir, "its secret"), []byte("secret of alice\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			p.await("--login")
			_, commands, _ := strings.Cut(p.stdout.String(), "To use it:\n")
			var script strings.Builder
			for line := range strings.Lines(commands) {
				if !strings.Contains(line, "iscsiadm") {
					script.WriteString(line)
				}
			}
			out, err := exec.Command("sh", "-ec", script.String()).CombinedOutput()
			for _, want := range []string{"Target:" + daemon.Target, "Lun:0    Type:DIRECT_ACCESS", "virtual size: 8 MiB"} {
				if err != nil || !strings.Contains(string(out), want) {
					t.Errorf("%v\n%s\nprints\n%s\nwithout %q", err, script.String(), out, want)
				}
			}
			p.signal(syscall.SIGTERM)
			p.wait()
		})
	}
}

// TestNamesToldTwice: libiscsi says once more who it is when it was ready for
// CHAP and the target wanted none.
func TestNamesToldTwice(t *testing.T) {
	d := daemon.Start(t, daemon.Config{LUNs: []string{"a=,kind=memory,size=1MiB"}})
	const me = "iqn.2026-11.org.isantarget.test:me"
	for again, want := range map[string]bool{me: true, me + "2": false} {
		c, err := initiator.Dial(d.Address(), initiator.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		err = c.Login(initiator.Login{InitiatorName: me, TargetName: daemon.Target, SessionType: "Normal", ISID: initiator.RandomISID(),
			Keys: []iscsi.KeyValue{{Key: "InitiatorName", Value: again}, {Key: "SessionType", Value: "Normal"}}})
		if (err == nil) != want {
			t.Errorf("login as %s and then as %s: %v", me, again, err)
		}
	}
}

func TestBanner(t *testing.T) {
	r := provision.Report{
		LUNs: []provision.LUNReport{
			{Name: "a", Kind: configs.File, Path: "/srv/a.img", Size: 3 << 29},
			{Name: "b", Kind: configs.Block, Path: "/dev/sdx", Failure: os.ErrPermission},
		},
		Targets: []provision.TargetReport{
			{Name: "iqn.2026-11.org.example:empty", Portals: []string{"127.0.0.1:3260"}},
			{Name: "iqn.2026-11.org.example:x", Portals: []string{"[::1]:3260", "127.0.0.1:3260"}, LUNs: map[int]string{1: "a", 12: "b"}, Access: configs.Open,
				CHAP: &configs.Credential{User: "o'neil", SecretEnv: "SECRET"}},
		},
	}
	const want = `iqn.2026-11.org.example:empty
  on 127.0.0.1:3260, for those whom its rules name
iqn.2026-11.org.example:x
  on [::1]:3260, 127.0.0.1:3260, for everybody
  LUN 1: a, 1.5 GiB, file /srv/a.img
  LUN 12: b, not ready: permission denied

Logins are accepted. To use it:
  export LIBISCSI_CHAP_USERNAME='o'\''neil' LIBISCSI_CHAP_PASSWORD="$SECRET"
  iscsi-ls -s iscsi://[::1]:3260
  qemu-img info iscsi://[::1]:3260/iqn.2026-11.org.example:x/1
  iscsiadm -m discovery -t sendtargets -p [::1]:3260
  iscsiadm -m node -T iqn.2026-11.org.example:x -p [::1]:3260 -o update -n node.session.auth.authmethod -v CHAP
  iscsiadm -m node -T iqn.2026-11.org.example:x -p [::1]:3260 -o update -n node.session.auth.username -v 'o'\''neil'
  iscsiadm -m node -T iqn.2026-11.org.example:x -p [::1]:3260 -o update -n node.session.auth.password -v "$SECRET"
  iscsiadm -m node -T iqn.2026-11.org.example:x -p [::1]:3260 --login
`
	if got := banner(r); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := banner(provision.Report{}); got != "" {
		t.Errorf("of nothing: %q", got)
	}
}
