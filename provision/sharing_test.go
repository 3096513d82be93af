package provision

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/internal/loopdevice"
)

// shared is a LUN of 32 MiB on a file system of its own, of which some MiB are written.
func shared(t *testing.T, kind, policy string, written int) (d *daemon, folder string, config func(more ...string)) {
	t.Helper()
	folder, dir := loopdevice.FileSystem(t, kind, 512*mib), t.TempDir()
	d = start(t, dir, stores(t, folder, policy, "one 32"))
	if err := overwrite(d, "lun0", 0, written); err != nil {
		t.Fatal(err)
	}
	return d, folder, func(more ...string) {
		t.Helper()
		if _, err := d.Apply(context.Background(), parse(t, dir, stores(t, folder, policy, "one 32")+strings.Join(more, ""))); err != nil {
			t.Fatal(err)
		}
	}
}

// overwrite writes MiB from one on up to another, durably.
func overwrite(d *daemon, lun string, from, to int) error {
	m := d.now.Load().units[lun].medium
	for i := from; i < to; i++ {
		if _, err := m.WriteAt(mibOf(i), int64(i)*mib); err != nil {
			return err
		}
	}
	return m.Sync()
}

// leave has the file system of the LUNs keep only so many MiB.
func leave(t *testing.T, d *daemon, folder string, free int64) {
	t.Helper()
	ballast, err := os.Create(filepath.Join(folder, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	defer ballast.Close()
	if err := unix.Fallocate(int(ballast.Fd()), 0, 0, poolOfAll(t, d).Available-free*mib); err != nil {
		t.Fatal(err)
	}
}

// cloneOf makes a clone of a snapshot, and is what the configuration needs to say of it.
func cloneOf(d *daemon, folder, snapshot string) (CloneStatus, string, error) {
	path := filepath.Join(folder, "one", "copy.img")
	c, err := d.Clone(context.Background(), "lun0", snapshot, "copy", path)
	return c, fmt.Sprintf("[[lun]]\nname = \"copy\"\nstore = \"one\"\npath = %q\n", "copy.img"), err
}

// poolOfAll is the file system of the LUNs, looked at anew.
func poolOfAll(t *testing.T, d *daemon) *pool {
	t.Helper()
	for _, u := range d.now.Load().units {
		u.sharing.mu.Lock()
		u.sharing.last, u.sharing.walk = sharingWalk{}, nil
		u.sharing.mu.Unlock()
	}
	for _, p := range d.now.Load().pools(true) {
		return p
	}
	t.Fatal("there is no file system")
	return nil
}

func takeBefore(t *testing.T, d *daemon) {
	t.Helper()
	if _, err := d.TakeSnapshots(context.Background(), []string{"lun0"}, "before"); err != nil {
		t.Fatal(err)
	}
}

// snapshotHas waits until the snapshot is told to have so many MiB alone, and together with others.
func snapshotHas(t *testing.T, d *daemon, own, shared int64) {
	t.Helper()
	eventually(t, fmt.Sprintf("the snapshot has %d MiB alone and shares %d", own, shared), func() bool {
		s, err := d.Snapshot("lun0", "before")
		if err != nil {
			t.Fatal(err)
		}
		return about(s.Own, own*mib) && about(s.Shared, shared*mib) && !s.Estimated
	})
}

func about(got, want int64) bool { return got > want-3*mib && got < want+3*mib }

// TestWhatIsSharedIsOwed: what is owed when blocks are shared is what the file system gives when all is written over.
func TestWhatIsSharedIsOwed(t *testing.T) {
	for _, kind := range []string{"xfs", "btrfs"} {
		t.Run(kind, func(t *testing.T) {
			d, folder, config := shared(t, kind, "refuse", 20)
			if p := poolOfAll(t, d); !about(p.owed, 12*mib) || !about(p.Used, 20*mib) || p.estimated {
				t.Fatalf("of an image alone: owed %d, allocated %d", p.owed, p.Used)
			}
			takeBefore(t, d)
			_, lun, err := cloneOf(d, folder, "before")
			if err != nil {
				t.Fatal(err)
			}
			config(lun)
			p := poolOfAll(t, d)
			if !about(p.owed, 64*mib) || !about(p.Used, 20*mib) || p.promised != 64*mib || p.estimated || len(p.units) != 2 {
				t.Fatalf("of a clone and its origin, above a snapshot: owed %d, allocated %d, promised %d, %+v", p.owed, p.Used, p.promised, p.promises)
			}
			list, err := d.Stores()
			if err != nil {
				t.Fatal(err)
			}
			one := list[0]
			if !about(one.Allocated, 20*mib) || len(one.Images) != 2 || !about(one.FileSystem.Allocated, 20*mib) || !about(one.FileSystem.Owed, 64*mib) {
				t.Errorf("the store: %+v", one)
			}
			for _, i := range one.Images {
				if !about(i.Allocated, 20*mib) || !about(i.Shared, 20*mib) || i.Estimated {
					t.Errorf("the image: %+v", i)
				}
			}
			snapshotHas(t, d, 0, 20)
			if l, err := d.LUN("copy"); err != nil || !about(l.Shared, 20*mib) || !about(l.Allocated, 20*mib) {
				t.Errorf("the LUN: %+v, %v", l, err)
			}
			before, owed := p.Available, p.owed
			if err := errors.Join(overwrite(d, "lun0", 0, 32), overwrite(d, "copy", 0, 32)); err != nil {
				t.Fatal(err)
			}
			p = poolOfAll(t, d)
			if !about(p.owed, 0) || !about(p.Used, 64*mib) {
				t.Errorf("when all is written over: owed %d, allocated %d: %+v", p.owed, p.Used, p.promises)
			}
			snapshotHas(t, d, 20, 0)
			if taken := before - p.Available; kind == "xfs" && !about(taken, owed) {
				t.Errorf("%d were owed; the file system gave %d", owed, taken)
			}
		})
	}
}

// TestAClone: is refused if it could not be filled, and one that is not can be.
func TestAClone(t *testing.T) {
	for _, c := range []struct {
		policy, of string
		free       int64 // MiB, of which the two need 64
		refused    bool
		filled     bool
	}{
		{"refuse", "before", 55, true, false}, {"warn", "before", 55, false, false}, {"refuse", "before", 78, false, true},
		{"refuse", "", 55, true, false}, {"refuse", "", 78, false, true},
	} {
		t.Run(fmt.Sprint(c.policy, c.of, c.free), func(t *testing.T) {
			d, folder, config := shared(t, "xfs", c.policy, 20)
			if c.of != "" {
				takeBefore(t, d)
			}
			leave(t, d, folder, c.free)
			clone, lun, err := cloneOf(d, folder, c.of)
			if c.refused {
				if err == nil || !strings.Contains(err.Error(), `"copy" would be promised 32 MiB`) || !strings.Contains(err.Error(), "owes the images in it ") {
					t.Fatalf("a clone that cannot be filled gave the error %v", err)
				}
				if _, err := os.Stat(filepath.Join(folder, "one", "copy.img")); err == nil {
					t.Error("and was made")
				}
				return
			}
			if err != nil || (len(clone.Warnings) == 0) != c.filled {
				t.Fatalf("%+v, %v", clone, err)
			}
			config(lun)
			err = errors.Join(overwrite(d, "lun0", 0, 32), overwrite(d, "copy", 0, 32))
			if c.filled && err != nil || !c.filled && !errors.Is(err, backstore.ErrNoSpace) {
				t.Errorf("writing over both: %v", err)
			}
		})
	}
}

// TestUsedIsNeverMoreThanTheSize: XFS takes a MiB ahead for a block that is written over, and counts it with the image.
func TestUsedIsNeverMoreThanTheSize(t *testing.T) {
	for _, written := range []int{16, 32} {
		t.Run(fmt.Sprint(written, " MiB"), func(t *testing.T) {
			d, folder, _ := shared(t, "xfs", "refuse", written)
			takeBefore(t, d)
			owed := poolOfAll(t, d).owed
			m := d.now.Load().units["lun0"].medium
			block, random := mibOf(7)[:4096], rand.New(rand.NewPCG(1, 2))
			for range 64 {
				if _, err := m.WriteAt(block, random.Int64N(int64(written)*256)*4096); err != nil {
					t.Fatal(err)
				}
			}
			if err := m.Sync(); err != nil {
				t.Fatal(err)
			}
			var st unix.Stat_t
			if err := unix.Stat(filepath.Join(folder, "one", "lun0.img"), &st); err != nil {
				t.Fatal(err)
			}
			if st.Blocks*512 < int64(written+10)*mib {
				t.Skipf("this XFS takes nothing ahead: %d bytes", st.Blocks*512)
			}
			p := poolOfAll(t, d)
			if image := p.promises[0]; !about(image.Used, int64(written)*mib) || image.Used > image.size || image.Taken != st.Blocks*512 {
				t.Errorf("%d MiB are written, and st_blocks is %d: %+v", written, st.Blocks, image.Space)
			}
			if p.owed > owed || p.owed < owed-64*mib {
				t.Errorf("owed %d, and before %d", p.owed, owed)
			}
			if s, err := m.Space(); err != nil || s.Used > 32*mib {
				t.Errorf("the store says %+v, %v", s, err)
			}
			if p.Used > p.Capacity-p.Available {
				t.Errorf("the images have %d of %d", p.Used, p.Capacity-p.Available)
			}
		})
	}
}

// TestNobodyWalksInVain: not on ext4, and elsewhere mostly when something has changed.
func TestNobodyWalksInVain(t *testing.T) {
	asked := func(d *daemon) int {
		s := d.now.Load().units["lun0"].sharing
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.asked
	}
	d, _, _ := shared(t, "ext4", "refuse", 20)
	takeBefore(t, d)
	if err := overwrite(d, "lun0", 0, 8); err != nil {
		t.Fatal(err)
	}
	if p := poolOfAll(t, d); asked(d) != 0 || p.owed != 32*mib-p.promises[0].Taken || p.Used != p.promises[0].Taken || p.promises[0].shares.shared != 0 {
		t.Errorf("ext4: %d questions, owed %d of %+v", asked(d), p.owed, p.promises[0])
	}
	d, _, _ = shared(t, "xfs", "refuse", 20)
	d.now.Load().pools(true)
	n, began := asked(d), time.Now()
	if n == 0 {
		t.Fatal("XFS: nobody has asked what is shared")
	}
	for range 50 {
		d.now.Load().pools(true)
		d.now.Load().pools(false)
	}
	if more := asked(d) - n; more > 2+int(time.Since(began)/restExact) {
		t.Errorf("XFS: asked %d times more, and nothing was written", more)
	}
	takeBefore(t, d)
	d.now.Load().pools(false)
	if asked(d) == n {
		t.Error("XFS: nobody asks after a snapshot")
	}
}

// TestWhatIsNotKnownIsShared: a walk that is not at its end takes the rest to be shared, and the next look goes on with it.
func TestWhatIsNotKnownIsShared(t *testing.T) {
	d, folder, _ := shared(t, "xfs", "refuse", 0)
	path := filepath.Join(folder, "one", "lun0.img")
	m := d.now.Load().units["lun0"].medium
	block := mibOf(1)[:4096]
	for i := range 200 { // pieces, since between them is nothing
		if _, err := m.WriteAt(block, int64(i)*64<<10); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Sync(); err != nil {
		t.Fatal(err)
	}
	w := &sharingWalk{}
	if err := w.Step(path, 1); err != nil || w.Finished() {
		t.Fatalf("one extent: %+v, %v", w, err)
	}
	k := (&sharing{walk: w}).known(path, sharingTrace{}, 64*mib)
	if !k.estimated || k.placed || k.shared != 64*mib-w.Mapped {
		t.Errorf("not seen to the end: %+v", k)
	}
	if p := (promise{Space: backstore.Space{Taken: 64 * mib, Used: 64 * mib}, size: 64 * mib, shares: k}); p.owed() != 64*mib-w.Mapped {
		t.Errorf("owed %d", p.owed())
	}
	steps := 0
	for ; !w.Finished() && steps < 100000; steps++ {
		if err := w.Step(path, 1); err != nil {
			t.Fatal(err)
		}
	}
	var whole sharingWalk
	if err := whole.Step(path, 1<<20); err != nil || whole.Mapped != w.Mapped || whole.Shared != 0 || w.Shared != 0 || steps < 10 {
		t.Errorf("by %d steps %+v, at once %+v, %v", steps, w.Sharing, whole.Sharing, err)
	}
	never := sharing{last: sharingWalk{unknown: true}}
	never.last.ended = never.last.ended.AddDate(1, 0, 0)
	if k := never.known(path, sharingTrace{}, 10); k.shared != 0 || k.estimated {
		t.Errorf("of a file system that never tells: %+v", k)
	}
	if err := os.Mkdir(path+".snapshots", 0o700); err != nil {
		t.Fatal(err)
	}
	if k := never.known(path, sharingTrace{}, 10); k.shared != 10 || !k.estimated {
		t.Errorf("and with snapshots: %+v", k)
	}
}

// TestGrowingOwesWhatIsShared: the room that a LUN needs for its own writes is not given away to make it longer.
func TestGrowingOwesWhatIsShared(t *testing.T) {
	d, folder, _ := shared(t, "xfs", "refuse", 20)
	takeBefore(t, d)
	leave(t, d, folder, 60) // of which it needs 32
	if _, err := d.Grow("lun0", "+40MiB"); err == nil || !strings.Contains(err.Error(), `"lun0" would be promised 40 MiB`) || !strings.Contains(err.Error(), "owes the images in it 3") {
		t.Fatalf("growing by what it needs itself gave the error %v", err)
	}
	grown, err := d.Grow("lun0", "+16MiB")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "it has grown", func() bool {
		if grown, err = d.Job(grown.ID); err != nil || grown.Error != "" {
			t.Fatalf("growing by what is there: %+v, %v", grown, err)
		}
		return grown.State.Final()
	})
	if err := overwrite(d, "lun0", 0, 48); err != nil {
		t.Errorf("writing over all of it: %v", err)
	}
}
