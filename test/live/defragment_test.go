package live

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/internal/loopdevice"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/provision"
	"github.com/isantarget/isantarget/test/daemon"
)

// scattered makes an image that lies in many pieces: it is written out of order, by turns
// with another file.
func scattered(t *testing.T, folder string, spread int) (image string) {
	t.Helper()
	image = filepath.Join(folder, "a.img")
	a, err := os.Create(image)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := os.Create(filepath.Join(folder, "other"))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := a.Truncate(64 << 20); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 64<<10)
	for i := range 160 {
		for n := range p {
			p[n] = byte(i*7 + n/512)
		}
		at := int64(i*37%spread) * int64(len(p))
		_, err := a.WriteAt(p, at)
		_, other := b.WriteAt(p[:8192], at)
		if err := errors.Join(err, other, a.Sync(), b.Sync()); err != nil {
			t.Fatal(err)
		}
	}
	return image
}

func sumOf(t *testing.T, path string) [32]byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(text)
}

func show(t *testing.T, d *daemon.Daemon) (detail provision.LUNDetail) {
	t.Helper()
	status, printed := daemon.Run(t, "lun", "show", "--state", d.State(), "--json", "a")
	if err := json.Unmarshal([]byte(printed), &detail); err != nil || status != 0 {
		t.Fatalf("lun show: %d, %v\n%s", status, err, printed)
	}
	return detail
}

// An image is laid together while nobody uses it, and holds what it held, also when the
// daemon is killed in the middle.
func TestDefragment(t *testing.T) {
	for kind, spread := range map[string]int{"ext4": 800, "xfs": 160} {
		t.Run(kind, func(t *testing.T) {
			folder := loopdevice.FileSystem(t, kind, 512<<20)
			image := scattered(t, folder, spread)
			sum := sumOf(t, image)
			d := daemon.Start(t, daemon.Config{LUNs: []string{"a=" + image + ",overcommit=allow"}})
			before := show(t, d)
			if before.Extents < 50 || before.Allocated < 10<<20 || len(before.Maps) != 1 || len(before.Sessions) != 0 || before.Size != 64<<20 {
				t.Errorf("lun show: %+v", before)
			}

			c, err := initiator.Dial(d.Address(), initiator.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Login(initiator.Login{InitiatorName: alice, TargetName: daemon.Target, SessionType: "Normal", ISID: iscsi.ISID{0x80, 1}}); err != nil {
				t.Fatal(err)
			}
			status, printed := daemon.Run(t, "lun", "defragment", "--state", d.State(), "a")
			if status != 1 || !strings.Contains(printed, "is in use: "+alice) {
				t.Errorf("while it is used: %d %s", status, printed)
			}
			if status, printed := daemon.Run(t, "lun", "show", "--state", d.State(), "a"); status != 0 || !strings.Contains(printed, alice) || !strings.Contains(printed, "as LUN 0 of "+daemon.Target) {
				t.Errorf("lun show: %d\n%s", status, printed)
			}
			if _, err := c.Logout(iscsi.CloseSession, 0); err != nil {
				t.Fatal(err)
			}
			c.Close()
			eventually(t, "the session ends", func() bool { return len(show(t, d).Sessions) == 0 })

			for round := range 6 {
				cmd := exec.Command(daemon.Client(), "lun", "defragment", "--detach", "--state", d.State(), "a")
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				if round%2 == 0 {
					cmd.Wait()
				}
				time.Sleep(time.Duration(rand.IntN(40)) * time.Millisecond) // any moment will do
				d.Kill()
				cmd.Wait()
				if got := sumOf(t, image); got != sum {
					t.Fatalf("killed in round %d, the image holds something else", round)
				}
				d.Restart()
			}
			if status, printed := daemon.Run(t, "lun", "defragment", "--state", d.State(), "a"); status != 0 || !strings.Contains(printed, "extents, before in") {
				t.Errorf("lun defragment: %d %s", status, printed)
			}
			after := show(t, d)
			if after.Extents > before.Extents/4 || after.Allocated > before.Allocated+1<<20 || after.NotReady != "" {
				t.Errorf("before %+v\nafter %+v", before, after)
			}
			if got := sumOf(t, image); got != sum {
				t.Error("the image holds something else")
			}
			if status, printed := daemon.Run(t, "lun", "snapshot", "--state", d.State(), "a"); status != 0 {
				t.Fatalf("lun snapshot: %d %s", status, printed)
			}
			if status, printed := daemon.Run(t, "lun", "defragment", "--state", d.State(), "a"); status != 1 || !strings.Contains(printed, "snapshot") {
				t.Errorf("with a snapshot: %d %s", status, printed)
			}
			if files, err := os.ReadDir(folder); err != nil || len(files) > 4 { // lost+found, and the snapshots
				t.Errorf("the folder holds %v, %v", files, err)
			}
		})
	}
}
