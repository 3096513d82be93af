package live

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/internal/loopdevice"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/test/daemon"
)

// leave logs out, and waits until the daemon knows.
func leave(t *testing.T, r *rig, c *initiator.Connection) {
	t.Helper()
	if _, err := c.Logout(iscsi.CloseSession, 0); err != nil {
		t.Fatal(err)
	}
	c.Close()
	eventually(t, "the session ends", func() bool {
		list, err := r.Sessions(t.Context())
		return err == nil && len(list) == 0
	})
}

// A LUN is made smaller only where that is allowed and nobody uses it; what lies before
// the new end is what it was, the space behind it is given back, and whoever comes is told
// the new capacity (SBC-3 4.6), also after a restart.
func TestShrink(t *testing.T) {
	r := start(t, rule{alice, []string{"a"}})
	c := again(t, r)
	for lba := range uint32(16384) {
		if lba%64 == 0 || lba == 4095 {
			if got := execute(t, c, initiator.Command{CDB: rw(0x2a, lba, 1), Write: pattern(lba, 1)}); got.Status != 0 {
				t.Fatalf("a write to block %d: %02x, % x", lba, got.Status, got.Sense)
			}
		}
	}
	if status, printed := r.command("lun shrink", "a", "2MiB", "--allow-data-loss"); status != 1 || !strings.Contains(printed, "is in use: "+alice) {
		t.Errorf("while it is used: %d %s", status, printed)
	}
	leave(t, r, c)
	for size, why := range map[string]string{
		"8MiB": "has 8MiB already", "9MiB": "lun grow a 9MiB", "0": "at least one block", "1000": "not whole blocks", "10G": "powers of two or of ten",
	} {
		if status, printed := r.command("lun shrink", "a", size, "--allow-data-loss"); status != 1 || !strings.Contains(printed, why) {
			t.Errorf("lun shrink a %s: %d %s, want %q", size, status, printed, why)
		}
	}
	if status, printed := r.command("lun shrink", "a", "2MiB"); status != 1 || !strings.Contains(printed, "--allow-data-loss") {
		t.Errorf("without the flag: %d %s", status, printed)
	}
	if status, printed := r.command("lun snapshot", "a", "--name", "s"); status != 0 {
		t.Fatalf("lun snapshot: %d %s", status, printed)
	}
	if status, printed := r.command("lun shrink", "a", "2MiB", "--allow-data-loss"); status != 1 || !strings.Contains(printed, "has snapshots") {
		t.Errorf("with a snapshot: %d %s", status, printed)
	}
	if status, printed := r.command("snapshot delete", "a", "s"); status != 0 {
		t.Fatalf("snapshot delete: %d %s", status, printed)
	}
	before := blocksOf(t, r.image("a"))
	if size, taken := before.Size, before.Blocks*512; size != 8<<20 || taken < 256*4096 {
		t.Fatalf("after refusals the image has %d bytes and takes %d", size, taken)
	}

	if status, printed := r.command("lun shrink", "a", "2MiB", "--allow-data-loss"); status != 0 || !strings.Contains(printed, "LUN a has 2MiB, before 8MiB") {
		t.Fatalf("lun shrink: %d %s", status, printed)
	}
	after := blocksOf(t, r.image("a"))
	if after.Size != 2<<20 || after.Blocks >= before.Blocks/2 || after.Ino != before.Ino {
		t.Errorf("before %+v\nafter %+v", before, after)
	}
	for range 2 {
		c = again(t, r)
		if got := capacity(t, c); got != 2<<20 {
			t.Errorf("it has %d bytes", got)
		}
		for lba := range uint32(4096) {
			want := make([]byte, block)
			if lba%64 == 0 || lba == 4095 {
				want = pattern(lba, 1)
			}
			if got := execute(t, c, initiator.Command{CDB: rw(0x28, lba, 1), Read: block}); !bytes.Equal(got.Data, want) {
				t.Fatalf("block %d reads % .8x, want % .8x", lba, got.Data, want)
			}
		}
		for _, cdb := range [][]byte{rw(0x28, 4096, 1), rw(0x28, 4095, 2)} {
			if got := execute(t, c, initiator.Command{CDB: cdb, Read: 2 * block}); got.Status != 2 {
				t.Errorf("a read behind the end: %02x", got.Status)
			}
		}
		if got := execute(t, c, initiator.Command{CDB: rw(0x2a, 4096, 1), Write: pattern(4096, 2)}); got.Status != 2 {
			t.Errorf("a write behind the end: %02x", got.Status)
		}
		leave(t, r, c)
		r.Stop()
		r.Restart()
	}
	if status, printed := r.command("lun grow", "a", "8MiB"); status != 0 {
		t.Fatalf("lun grow: %d %s", status, printed)
	}
	c = again(t, r)
	for lba := uint32(4096); lba < 16384; lba += 64 {
		if got := execute(t, c, initiator.Command{CDB: rw(0x28, lba, 1), Read: block}); !bytes.Equal(got.Data, make([]byte, block)) {
			t.Fatalf("grown again, block %d reads % .8x", lba, got.Data)
		}
	}
}

// While an initiator comes and goes a LUN becomes smaller only when it is away.
func TestShrink_WhileOthersCome(t *testing.T) {
	r := start(t, rule{alice, []string{"a"}}, rule{bob, []string{"b"}})
	done := make(chan struct{})
	defer func() { <-done }()
	stop := make(chan struct{})
	defer close(stop)
	go func() { // comes and goes: the LUN is busy, in use, or smaller
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			c, err := initiator.Dial(fmt.Sprintf("127.0.0.1:%d", r.port), initiator.Options{})
			if err != nil {
				continue
			}
			if c.Login(initiator.Login{InitiatorName: alice, TargetName: daemon.Target, SessionType: "Normal", ISID: iscsi.ISID{0x80, 1}}) == nil {
				c.Logout(iscsi.CloseSession, 0)
			}
			c.Close()
			time.Sleep(time.Millisecond)
		}
	}()
	size := int64(8 << 20)
	for range 20 {
		eventually(t, "the LUN becomes smaller", func() bool {
			status, printed := r.command("lun shrink", "a", fmt.Sprint(size-4096), "--allow-data-loss")
			if status != 0 && !strings.Contains(printed, "is in use") {
				t.Fatalf("lun shrink: %d %s", status, printed)
			}
			return status == 0
		})
		size -= 4096
		if st := blocksOf(t, r.image("a")); st.Size != size {
			t.Fatalf("the image has %d bytes, want %d", st.Size, size)
		}
	}
}

// A LUN that no target shows can be made smaller while initiators are logged in; they
// find it with its new capacity when it is shown again.
func TestShrink_SBC3_4_6(t *testing.T) {
	r := start(t, rule{alice, []string{"b", "a"}})
	c := r.login(alice, iscsi.ISID{0x80, 1})
	attentions(t, c, 2)
	alone := "[[lun]]\nname = \"a\"\npath = \"a.img\"\nsize = \"8MiB\"\nspace-threshold = 0\n"
	r.write(r.text(rule{alice, []string{"b"}}) + alone)
	if _, err := r.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	attentions(t, c, 1)
	if status, printed := r.command("lun shrink", "a", "1MiB", "--allow-data-loss"); status != 0 {
		t.Fatalf("lun shrink: %d %s", status, printed)
	}
	r.apply(rule{alice, []string{"b", "a"}})
	if got := attentions(t, c, 2); !slices.Contains(got, "0:3f0e") {
		t.Errorf("alice hears %q, want REPORTED LUNS DATA HAS CHANGED", got)
	}
	got := execute(t, c, initiator.Command{LUN: initiator.LUN(1), CDB: []byte{0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0}, Read: 8})
	if want := []byte{0, 0, 0x07, 0xff, 0, 0, 2, 0}; !bytes.Equal(got.Data, want) {
		t.Errorf("READ CAPACITY (10) answers % x, want % x", got.Data, want)
	}
}

func blocksOf(t *testing.T, path string) (st syscall.Stat_t) {
	t.Helper()
	if err := syscall.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st
}

// However the daemon ends while an image becomes smaller, it has the old size or the new,
// with the space for that and no more, and what it held before the new end.
func TestShrink_Killed(t *testing.T) {
	const step = 128 << 20
	dir := t.TempDir()
	image := dir + "/a.img"
	d := daemon.Start(t, daemon.Config{LUNs: []string{"a=" + image + ",size=2GiB,provisioning=fixed"}})
	size, outcomes := int64(2<<30), map[string]int{}
	want := bytes.Repeat(pattern(1, 1), 1<<20/block)
	f, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for at := int64(0); at < size; at += step {
		if _, err := f.WriteAt(want, at); err != nil {
			t.Fatal(err)
		}
	}
	for round := range 12 {
		cmd := exec.Command(daemon.Client(), "lun", "shrink", "--detach", "--state", d.State(), "--allow-data-loss", "a", fmt.Sprint(size-step))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if round%2 == 0 {
			cmd.Wait()
		}
		time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond) // any moment will do
		d.Kill()
		cmd.Wait()
		d.Restart()
		st := blocksOf(t, image)
		switch st.Size {
		case size:
			outcomes["old"]++
		case size - step:
			outcomes["new"]++
		default:
			t.Fatalf("round %d: the image has %d bytes, neither %d nor %d", round, st.Size, size, size-step)
		}
		size = st.Size
		if taken := st.Blocks * 512; taken < size || taken > size+1<<20 {
			t.Errorf("round %d: an image of %d bytes takes %d", round, size, taken)
		}
		for at := int64(0); at < size; at += step {
			got := make([]byte, len(want))
			if _, err := f.ReadAt(got, at); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("round %d: at %d it holds something else, %v", round, at, err)
			}
		}
		c, err := initiator.Dial(d.Address(), initiator.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Login(initiator.Login{InitiatorName: alice, TargetName: daemon.Target, SessionType: "Normal", ISID: iscsi.ISID{0x80, 1}}); err != nil {
			t.Fatal(err)
		}
		attentions(t, c, 1)
		if got := capacity(t, c); got != size {
			t.Errorf("round %d: the LUN has %d bytes, the image %d", round, got, size)
		}
		_, err = c.Logout(iscsi.CloseSession, 0)
		if err := errors.Join(err, c.Close()); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the session ends", func() bool { return len(show(t, d).Sessions) == 0 })
	}
	t.Logf("sizes found: %v", outcomes)
}

// A clone that lies upon the snapshot of another LUN is refused with that reason.
func TestShrink_Clone(t *testing.T) {
	folder := loopdevice.FileSystem(t, "ext4", 64<<20)
	d := daemon.Start(t, daemon.Config{LUNs: []string{"a=" + filepath.Join(folder, "a.img") + ",size=8MiB"}})
	for _, words := range [][]string{{"lun", "snapshot", "--state", d.State(), "a", "--name", "s"}, {"lun", "clone", "--state", d.State(), "a@s", "b"}} {
		if status, printed := daemon.Run(t, words...); status != 0 {
			t.Fatalf("%q: %d %s", words, status, printed)
		}
	}
	if status, printed := daemon.Run(t, "lun", "shrink", "--state", d.State(), "b", "1MiB", "--allow-data-loss"); status != 1 || !strings.Contains(printed, "is a clone") {
		t.Errorf("lun shrink: %d %s", status, printed)
	}
}
