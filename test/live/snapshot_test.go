package live

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/isantarget/isantarget/backstore/file"
	"github.com/isantarget/isantarget/backstore/snapshot"
	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/internal/loopdevice"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/provision"
	"github.com/isantarget/isantarget/test/daemon"
)

// onFileSystems runs a test with all that a daemon has on a file system that shares
// blocks, and on one that does not.
func onFileSystems(t *testing.T, test func(t *testing.T, dir string)) {
	for _, kind := range []string{"ext4", "xfs"} {
		t.Run(kind, func(t *testing.T) {
			test(t, loopdevice.FileSystem(t, kind, 1<<30))
		})
	}
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// imageContent is all that an image holds which no LUN has.
func imageContent(t *testing.T, path string) []byte {
	t.Helper()
	s, err := snapshot.Open(file.Options{Path: path, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p := make([]byte, s.Geometry().Size)
	if _, err := s.ReadAt(p, 0); err != nil {
		t.Fatal(err)
	}
	return p
}

// snapshotContent is what a snapshot holds, by way of a clone.
func (r *rig) snapshotContent(lun, name string) []byte {
	r.t.Helper()
	made, err := r.Clone(r.t.Context(), lun, name, "look", "")
	r.must(err)
	p := imageContent(r.t, made.Path)
	r.must(errors.Join(os.Remove(made.Path), snapshot.At(made.Path).Forget()))
	return p
}

func (r *rig) put(c *initiator.Connection, lun uint8, lba uint32, p []byte) {
	r.t.Helper()
	if got := execute(r.t, c, initiator.Command{LUN: initiator.LUN(lun), CDB: rw(0x2a, lba, len(p)/block), Write: p}); got.Status != 0 {
		r.t.Fatalf("WRITE of LUN %d: status %02x, sense % x", lun, got.Status, got.Sense)
	}
}

func (r *rig) get(c *initiator.Connection, lun uint8, lba uint32, blocks int) []byte {
	r.t.Helper()
	got := execute(r.t, c, initiator.Command{LUN: initiator.LUN(lun), CDB: rw(0x28, lba, blocks), Read: blocks * block})
	if got.Status != 0 {
		r.t.Fatalf("READ of LUN %d: status %02x, sense % x", lun, got.Status, got.Sense)
	}
	return got.Data
}

// A snapshot is taken, cloned, rolled back to and deleted by the verbs of the command,
// while an initiator uses the LUN.
func TestSnapshot(t *testing.T) {
	onFileSystems(t, func(t *testing.T, dir string) {
		r := startIn(t, dir, "8MiB", rule{alice, []string{"a"}})
		say := func(want int, noun string, words ...string) string {
			t.Helper()
			status, printed := r.command(noun, words...)
			if status != want {
				t.Fatalf("%s %v: status %d\n%s", noun, words, status, printed)
			}
			return printed
		}
		c := r.login(alice, iscsi.ISID{2})
		attentions(t, c, 1)
		old, next := bytes.Repeat([]byte("old-"), 1024), bytes.Repeat([]byte("new-"), 1024)
		r.put(c, 0, 0, old)
		r.put(c, 0, 100, old)
		say(0, "snapshot list")
		if got := say(0, "lun snapshot", "a", "--name", "first"); !strings.Contains(got, "snapshot first of a") {
			t.Errorf("lun snapshot: %s", got)
		}
		r.put(c, 0, 0, next)
		r.put(c, 0, 101, next[:512]) // a part of a block
		if got := r.get(c, 0, 0, 8); !bytes.Equal(got, next) {
			t.Fatal("what was written since is not read")
		}
		if got := say(1, "lun snapshot", "a", "--name", "first"); !strings.Contains(got, "there is a snapshot \"first\" already") {
			t.Errorf("a second one of that name: %s", got)
		}
		var list []provision.SnapshotStatus
		if err := json.Unmarshal([]byte(say(0, "snapshot list --json", "a")), &list); err != nil || len(list) != 1 || list[0].Name != "first" || list[0].Size != 8<<20 {
			t.Errorf("snapshot list --json: %+v, %v", list, err)
		}
		if got := say(0, "snapshot show", "a", "first"); !strings.Contains(got, list[0].File) {
			t.Errorf("snapshot show: %s", got)
		}
		if got := say(1, "snapshot show", "a", "firts"); !strings.Contains(got, "did you mean first?") {
			t.Errorf("snapshot show of another: %s", got)
		}

		// The clone is a LUN of its own.
		say(0, "lun clone", "a@first", "b", "--target", daemon.Target)
		bobs := r.text(rule{alice, []string{"a"}}) + "[[target.rule]]\ninitiators = [\"" + bob + "\"]\nluns = { 0 = \"b\" }\n"
		r.write(bobs)
		_, err := r.Reload(t.Context())
		r.must(err)
		d := r.login(bob, iscsi.ISID{3})
		attentions(t, d, 1)
		if got := r.get(d, 0, 0, 8); !bytes.Equal(got, old) {
			t.Error("the clone does not hold what the snapshot holds")
		}
		r.put(d, 0, 50, next)
		if got := r.get(c, 0, 50, 8); !bytes.Equal(got, make([]byte, 4096)) {
			t.Error("what is written to the clone is in the LUN")
		}
		id := []byte{0x12, 1, 0x83, 0, 255, 0}
		if a, b := execute(t, c, initiator.Command{CDB: id, Read: 255}), execute(t, d, initiator.Command{CDB: id, Read: 255}); bytes.Equal(a.Data, b.Data) {
			t.Error("the clone has the identity of the LUN")
		}

		// Rollback.
		if got := say(1, "lun rollback", "a", "first", "--yes"); !strings.Contains(got, "is in use: "+alice) {
			t.Errorf("rollback under an initiator: %s", got)
		}
		say(0, "lun rollback", "a", "first", "--yes", "--force")
		if got := attentions(t, c, 1); fmt.Sprint(got) != "[0:2800]" {
			t.Errorf("after a rollback the initiator hears %v", got)
		}
		if got := r.get(c, 0, 0, 8); !bytes.Equal(got, old) {
			t.Error("after a rollback the LUN does not hold what the snapshot holds")
		}
		r.put(c, 0, 0, next)

		// Delete: the clone may keep it.
		status, printed := r.command("snapshot delete", "a", "first")
		if strings.HasSuffix(t.Name(), "/xfs") != (status == 0) || status != 0 && !strings.Contains(printed, "clones lie above it") {
			t.Errorf("snapshot delete: %d %s", status, printed)
		}
		r.write(r.text(rule{alice, []string{"a"}}))
		_, err = r.Reload(t.Context())
		r.must(err)
		say(0, "lun delete", "b", "--delete-image", "--yes")
		if status != 0 {
			say(0, "snapshot delete", "a", "first")
		}
		if got := r.get(c, 0, 0, 8); !bytes.Equal(got, next) {
			t.Error("after the snapshot was deleted the LUN holds something else")
		}
		if got := say(0, "snapshot list"); got != "no snapshots\n" {
			t.Errorf("snapshot list at the end: %s", got)
		}
		r.Daemon.Stop()
		if got := imageContent(t, r.image("a")); !bytes.Equal(got[:4096], next) {
			t.Error("the image alone holds something else")
		}
	})
}

// Writers count: to a, and once that is answered to b. Snapshots of both, taken while they
// do, never show b ahead of a; and of one LUN no write without those that were answered
// before it began.
func TestSnapshot_PointInTime(t *testing.T) {
	onFileSystems(t, func(t *testing.T, dir string) {
		r := startIn(t, dir, "8MiB", rule{alice, []string{"a", "b"}})
		c := r.login(alice, iscsi.ISID{2})
		attentions(t, c, 2)
		var round atomic.Int64
		stop := make(chan struct{})
		var writing sync.WaitGroup
		var failed error
		writing.Go(func() {
			for n := uint32(1); failed == nil; n++ {
				select {
				case <-stop:
					return
				default:
				}
				for lun := range uint8(2) { // 64 places in turn, and parts of blocks among them
					got, err := c.Execute(initiator.Command{LUN: initiator.LUN(lun), CDB: rw(0x2a, n%64*3, 1), Write: pattern(n%64*3, int(n))})
					if err == nil && got.Status != 0 {
						err = fmt.Errorf("status %02x, sense % x", got.Status, got.Sense)
					}
					failed = errors.Join(failed, err)
				}
				round.Store(int64(n))
			}
		})
		const snapshots = 12
		for n := range snapshots {
			at := round.Load()
			eventually(t, "the writer gets on", func() bool { return round.Load() > at+70 })
			taken, err := r.TakeSnapshots(t.Context(), []string{"b", "a"}, fmt.Sprintf("s%d", n))
			r.must(err)
			if fmt.Sprint(taken.LUNs) != "[a b]" {
				t.Errorf("taken: %+v", taken)
			}
		}
		close(stop)
		writing.Wait()
		r.must(failed)
		for n := range snapshots {
			a, b := lastRound(t, r.snapshotContent("a", fmt.Sprintf("s%d", n))), lastRound(t, r.snapshotContent("b", fmt.Sprintf("s%d", n)))
			if a != b && a != b+1 {
				t.Errorf("snapshot %d: a is at %d, b at %d", n, a, b)
			}
		}
	})
}

// lastRound is the round that a LUN of TestSnapshot_PointInTime shows, if it shows one.
func lastRound(t *testing.T, p []byte) (last int) {
	t.Helper()
	rounds := map[int]int{}
	for place := range 64 {
		text := string(p[place*3*block : place*3*block+16])
		if text == strings.Repeat("\x00", 16) {
			continue
		}
		round, err := strconv.ParseInt(text[8:], 16, 32)
		n := int(round)
		if err != nil || string(p[place*3*block:(place*3+1)*block]) != string(pattern(uint32(place*3), n)) {
			t.Fatalf("place %d holds %q", place, text)
		}
		rounds[n%64] = n
		last = max(last, n)
	}
	for n := max(last-63, 1); n <= last; n++ {
		if rounds[n%64] != n {
			t.Fatalf("round %d is there, and round %d is not: there is %d", last, n, rounds[n%64])
		}
	}
	return last
}

// SIGKILL while snapshots are taken, rolled back to, deleted and cloned under writes: what
// was answered is there, and every snapshot holds what it held.
func TestSnapshot_SIGKILL(t *testing.T) {
	const kills = 25
	onFileSystems(t, func(t *testing.T, dir string) {
		r := startIn(t, dir, "8MiB", rule{alice, []string{"a"}})
		rnd := rand.New(rand.NewPCG(7, 7))
		want, kept := make([]byte, 8<<20), map[string][]byte{}
		for kill := range kills {
			c := r.login(alice, iscsi.ISID{2})
			attentions(t, c, 1)
			for range 30 {
				lba := uint32(rnd.IntN(len(want)/block - 64))
				p := bytes.Repeat(pattern(lba, kill), 1+rnd.IntN(64))
				r.put(c, 0, lba, p)
				copy(want[int(lba)*block:], p)
			}
			name := fmt.Sprintf("s%d", kill)
			what := rnd.IntN(4)
			names := snapshotNames(kept)
			if len(names) == 0 || len(names) < 3 && rnd.IntN(2) == 0 {
				what = 0
			}
			victim := ""
			if what > 0 {
				victim = names[rnd.IntN(len(names))]
			}
			time.AfterFunc(time.Duration(rnd.IntN(60_000))*time.Microsecond, func() { r.Signal(syscall.SIGKILL) })
			switch what { // it may be killed before, in it, and behind it
			case 0:
				r.TakeSnapshots(t.Context(), []string{"a"}, name)
			case 1:
				r.Rollback(t.Context(), "a", victim, true)
			case 2:
				if s, err := r.DeleteSnapshot(t.Context(), "a", victim); err == nil {
					r.WaitForJob(t.Context(), s.ID, nil)
				}
			case 3:
				r.Clone(t.Context(), "a", victim, "clone"+name, "")
			}
			r.Wait()
			c.Close()
			r.Restart()
			list, err := r.Snapshots(t.Context(), "a")
			r.must(err)
			have := map[string]bool{}
			for _, s := range list {
				have[s.Name] = !s.Deleting
			}
			got := imageNow(r)
			switch {
			case what == 0 && have[name]:
				kept[name] = bytes.Clone(want)
			case what == 1 && !bytes.Equal(got, want):
				copy(want, kept[victim])
			case what == 2 && !have[victim]:
				delete(kept, victim)
			case what == 3:
				clone := filepath.Join(dir, "clone"+name+".img")
				if _, err := os.Stat(clone); err == nil {
					if !bytes.Equal(imageContent(t, clone), kept[victim]) {
						t.Fatalf("kill %d: the clone of %s holds something else", kill, victim)
					}
					r.must(os.Remove(clone))
				}
				r.must(snapshot.At(clone).Forget())
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("kill %d (%d of %s): the LUN holds something else", kill, what, victim)
			}
			for _, name := range snapshotNames(kept) {
				if !bytes.Equal(r.snapshotContent("a", name), kept[name]) {
					t.Fatalf("kill %d (%d of %s): the snapshot %s holds something else", kill, what, victim, name)
				}
			}
			for name, sound := range have { // what was begun can be done again
				if !sound {
					s, err := r.DeleteSnapshot(t.Context(), "a", name)
					r.must(err)
					if s, err = r.WaitForJob(t.Context(), s.ID, nil); err != nil || s.Error != "" {
						t.Fatalf("kill %d: deleting %s again: %s, %v", kill, name, s.Error, err)
					}
				}
			}
		}
	})
}

func snapshotNames(kept map[string][]byte) []string {
	var names []string
	for n := range 1000 {
		if name := fmt.Sprintf("s%d", n); kept[name] != nil {
			names = append(names, name)
		}
	}
	return names
}

// imageNow is all that LUN 0 holds.
func imageNow(r *rig) []byte {
	r.t.Helper()
	c := r.login(alice, iscsi.ISID{9})
	defer c.Close()
	attentions(r.t, c, 1)
	var p []byte
	for lba := uint32(0); lba < 8<<20/block; lba += 2048 {
		p = append(p, r.get(c, 0, lba, 2048)...)
	}
	return p
}

// A snapshot is deleted under writes that never end: more than can be merged at once.
func TestSnapshot_DeleteUnderLoad(t *testing.T) {
	dir := loopdevice.FileSystem(t, "ext4", 2<<30)
	r := startIn(t, dir, "256MiB", rule{alice, []string{"a"}})
	c := r.login(alice, iscsi.ISID{2})
	attentions(t, c, 1)
	want := make([]byte, 256<<20)
	n := 0
	put := func() {
		lba := uint32(n * 977 % (len(want) / block / 256) * 256)
		p := bytes.Repeat(pattern(lba, n), 256)
		r.put(c, 0, lba, p)
		copy(want[int(lba)*block:], p)
		n++
	}
	for range 100 {
		put()
	}
	_, err := r.TakeSnapshots(t.Context(), []string{"a"}, "one")
	r.must(err)
	for range 600 { // 75 MiB
		put()
	}
	s, err := r.DeleteSnapshot(t.Context(), "a", "one")
	r.must(err)
	for {
		put()
		if s, err = r.Job(t.Context(), s.ID); err != nil || s.State.Final() {
			break
		}
	}
	if err != nil || s.Error != "" {
		t.Fatalf("the job: %+v, %v", s, err)
	}
	put()
	for lba := 0; lba < len(want)/block; lba += 2048 {
		if got := r.get(c, 0, uint32(lba), 2048); !bytes.Equal(got, want[lba*block:][:len(got)]) {
			t.Fatalf("at %d something else is read", lba)
		}
	}
	if _, err := os.Stat(snapshot.Folder(r.image("a"))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder of the snapshots is still there: %v", err)
	}
}

// On a full file system a snapshot is deleted under the LUN that is served, which makes room.
func TestSnapshot_DeleteOnFullFileSystem(t *testing.T) {
	dir := loopdevice.FileSystem(t, "ext4", 256<<20, "-m", "0")
	r := startIn(t, dir, "64MiB", rule{alice, []string{"a"}})
	c := r.login(alice, iscsi.ISID{2})
	attentions(t, c, 1)
	const mib, many = 1 << 20 / block, 40 // MiB: more than is merged at once
	for round := range 2 {
		for at := range uint32(many) {
			r.put(c, 0, at*mib, bytes.Repeat(pattern(at, round), mib))
		}
		if round == 0 {
			_, err := r.TakeSnapshots(t.Context(), []string{"a"}, "one")
			r.must(err)
		}
	}
	if got := execute(t, c, initiator.Command{CDB: []byte{0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0}}); got.Status != 0 {
		t.Fatalf("SYNCHRONIZE CACHE: %02x, % x", got.Status, got.Sense)
	}
	f, err := os.Create(filepath.Join(dir, "filler"))
	r.must(err)
	for off, step := int64(0), int64(64<<20); step >= 1024; {
		if syscall.Fallocate(int(f.Fd()), 0, off, step) != nil {
			step /= 2
			continue
		}
		off += step
	}
	r.must(f.Close())
	if _, err := r.TakeSnapshots(t.Context(), []string{"a"}, "two"); err == nil || !strings.Contains(err.Error(), "no space") {
		t.Fatalf("the file system is not full: %v", err)
	}
	before := used(t, dir)
	if status, printed := r.command("snapshot delete", "a", "one"); status != 0 {
		t.Fatalf("snapshot delete: %d %s", status, printed)
	}
	eventually(t, "there is room", func() bool { return used(t, dir) <= before-(many-4)<<20 })
	for at := range uint32(many) {
		if got := r.get(c, 0, at*mib, mib); !bytes.Equal(got, bytes.Repeat(pattern(at, 1), mib)) {
			t.Fatalf("MiB %d holds something else", at)
		}
	}
	r.put(c, 0, many*mib, bytes.Repeat(pattern(many, 1), mib)) // it goes on
}
