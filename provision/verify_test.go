package provision

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/internal/loopdevice"
	"github.com/isantarget/isantarget/job"
)

// ended is a job of p when it has ended.
func ended(t *testing.T, p *Provisioner, s job.Status, err error) job.Status {
	t.Helper()
	eventually(t, "the job ends", func() bool {
		if err == nil {
			s, err = p.Job(s.ID)
		}
		if err != nil {
			t.Fatal(err)
		}
		return s.State.Final()
	})
	return s
}

// put has bytes written to LUN a, and made durable.
func put(t *testing.T, p *Provisioner, off int64, data []byte) {
	t.Helper()
	m := p.now.Load().units["a"].medium
	if _, err := m.WriteAt(data, off); err != nil {
		t.Fatal(err)
	}
	if err := m.Sync(); err != nil {
		t.Fatal(err)
	}
}

const verifiable = `
[[lun]]
name = "a"
path = "a.img"
size = "16MiB"
[[lun.layer]]
kind = "fault"
[[target]]
name = "` + name + `"
luns = { 0 = "a" }
`

// TestVerify: what cannot be read is found, to the block, and holes are passed over.
func TestVerify(t *testing.T) {
	d := start(t, t.TempDir(), verifiable)
	const mib = 1 << 20
	put(t, d.Provisioner, 2*mib, bytes.Repeat([]byte{1}, 2*mib)) // blocks 4096 to 8191
	put(t, d.Provisioner, 12*mib, bytes.Repeat([]byte{1}, mib))  // and 24576 to 26623
	for _, x := range []struct {
		faults []string
		want   []job.Unreadable
		read   string
	}{
		{nil, nil, "3.0 MiB"},
		{[]string{"error=EIO on=read lba=100-4000"}, nil, "3.0 MiB"}, // in a hole
		{[]string{"error=EIO on=read lba=5001"}, []job.Unreadable{{LBA: 5001, Blocks: 1}}, "3.0 MiB"},
		{[]string{"error=EIO on=read lba=4096-4099", "error=EUCLEAN on=read lba=26623"}, []job.Unreadable{{LBA: 4096, Blocks: 4}, {LBA: 26623, Blocks: 1}}, "3.0 MiB"},
		{[]string{"error=EIO on=read lba=6142-6146"}, []job.Unreadable{{LBA: 6142, Blocks: 5}}, "3.0 MiB"}, // on both sides of where a piece ends
		{[]string{"error=EIO on=read lba=8000-25000"}, []job.Unreadable{{LBA: 8000, Blocks: 192}, {LBA: 24576, Blocks: 425}}, "2.7 MiB"},
	} {
		d.set(t, x.faults...)
		s, err := d.Verify("a", "")
		s = ended(t, d.Provisioner, s, err)
		for i := range s.Unreadable {
			if e := s.Unreadable[i].Error; e != "input/output error" && e != "structure needs cleaning" {
				t.Errorf("%q: the error is %q", x.faults, e)
			}
			s.Unreadable[i].Error = ""
		}
		state := job.Done
		if x.want != nil {
			state = job.Failed
		}
		if s.State != state || !reflect.DeepEqual(s.Unreadable, x.want) || !strings.Contains(s.Result, x.read+" of LUN a were read") || s.Done != 16*mib || s.Total != 16*mib {
			t.Errorf("%q: %+v, want %+v", x.faults, s, x.want)
		}
	}
	for _, words := range []string{"verify: block 5001 cannot be read: input/output error", "verify: 192 blocks from 8000 cannot be read"} {
		if !d.logged(words) {
			t.Errorf("the log does not say %q", words)
		}
	}
}

// TestVerify_Bounds: of very many ranges the first are told, and all are counted.
func TestVerify_Bounds(t *testing.T) {
	d := start(t, t.TempDir(), verifiable)
	put(t, d.Provisioner, 0, bytes.Repeat([]byte{1}, 1<<20))
	var faults []string
	for i := range job.MaxUnreadable + 6 {
		faults = append(faults, fmt.Sprintf("error=EIO on=read lba=%d", 20*i))
	}
	d.set(t, faults...)
	s, err := d.Verify("a", "")
	s = ended(t, d.Provisioner, s, err)
	if s.State != job.Failed || len(s.Unreadable) != job.MaxUnreadable || s.Error != "cannot be read: 70 blocks in 70 ranges, of which the first 64 are told" {
		t.Errorf("%s, %d ranges, %s", s.State, len(s.Unreadable), s.Error)
	}
	told := 0
	for _, e := range d.log.AllEntries() {
		if strings.Contains(e.Message, "verify: ") && strings.Contains(e.Message, "cannot be read: input") {
			told++
		}
	}
	if told != len(s.Unreadable) {
		t.Errorf("%d ranges are logged, want %d", told, len(s.Unreadable))
	}
}

// TestVerify_Refused says why.
func TestVerify_Refused(t *testing.T) {
	d := start(t, t.TempDir(), verifiable)
	for lun, c := range map[string][2]string{"b": {"", "there is no LUN"}, "a": {"fast", "fast"}} {
		if _, err := d.Verify(lun, c[0]); err == nil || !strings.Contains(err.Error(), c[1]) {
			t.Errorf("%s: %v, want %q", lun, err, c[1])
		}
	}
	if _, err := d.Verify("a", "0"); err == nil || !strings.Contains(err.Error(), "no bound") {
		t.Errorf("at no bytes a second: %v", err)
	}
	put(t, d.Provisioner, 0, []byte{1})
	d.set(t, "error=ENODEV on=read")
	s, err := d.Verify("a", "")
	if s = ended(t, d.Provisioner, s, err); s.State != job.Failed || len(s.Unreadable) > 0 || !strings.Contains(s.Error, "no such device") {
		t.Errorf("of a store that is gone: %+v", s)
	}
	d.set(t)
	d.now.Load().units["a"].medium.Distrust(errors.New("lost"))
	if _, err := d.Verify("a", ""); err == nil || !strings.Contains(err.Error(), "may be lost") {
		t.Errorf("of what may be lost: %v", err)
	}
	if err := d.now.Load().units["a"].medium.Trust(); err != nil {
		t.Fatal(err)
	}
}

// resting is a verification of LUN a that has read a piece and waits for the next one as long as
// the test takes.
func resting(t *testing.T, p *Provisioner) job.Status {
	t.Helper()
	s, err := p.Verify("a", "1KiB")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestVerify_KeepsNothingAway: others work on the LUN while it is verified, and it ends with
// the LUN.
func TestVerify_KeepsNothingAway(t *testing.T) {
	dir := t.TempDir()
	d := start(t, dir, verifiable)
	put(t, d.Provisioner, 0, bytes.Repeat([]byte{1}, 4<<20))
	first := resting(t, d.Provisioner)
	var busy *job.BusyError
	if _, err := d.Verify("a", ""); !errors.As(err, &busy) || busy.Job.ID != first.ID {
		t.Errorf("two at once: %v", err)
	}
	if l, err := d.LUN("a"); err != nil || l.Job == nil || l.Job.ID != first.ID {
		t.Errorf("the LUN tells of %+v, %v", l.Job, err)
	}
	grow, err := d.Grow("a", "20MiB")
	if grow = ended(t, d.Provisioner, grow, err); grow.State != job.Done {
		t.Errorf("growing: %+v", grow)
	}
	if _, err := d.TakeSnapshots(t.Context(), []string{"a"}, "one"); err != nil {
		t.Errorf("a snapshot: %v", err)
	}
	if gone, err := d.DeleteSnapshot("a", "one"); err != nil {
		t.Error(err)
	} else if gone = ended(t, d.Provisioner, gone, nil); gone.State != job.Done {
		t.Errorf("deleting it: %+v", gone)
	}
	if err := d.CancelJob(first.ID); err != nil {
		t.Error(err)
	}
	if s := ended(t, d.Provisioner, first, nil); s.State != job.Cancelled || !strings.Contains(s.Result, "was read up to LBA") {
		t.Errorf("cancelled: %+v", s)
	}
	second := resting(t, d.Provisioner)
	d.apply(t, dir, strings.NewReplacer("name = \"a\"", "name = \"b\"", "a.img", "b.img", "0 = \"a\"", "0 = \"b\"").Replace(verifiable))
	if s := ended(t, d.Provisioner, second, nil); s.State != job.Cancelled {
		t.Errorf("of a LUN that is deleted: %+v", s)
	}
}

// TestVerify_GoesOn: a verification reads on in what the LUN has become: bigger, upon a
// snapshot, smaller.
func TestVerify_GoesOn(t *testing.T) {
	dir := loopdevice.FileSystem(t, "ext4", 64<<20)
	d := start(t, dir, strings.ReplaceAll(verifiable, "[[lun.layer]]\nkind = \"fault\"\n", ""))
	const mib = 1 << 20
	put(t, d.Provisioner, 0, bytes.Repeat([]byte{1}, 8*mib))
	before := d.now.Load().units["a"]
	v := verification{Provisioner: d.Provisioner, lun: "a", block: 512, progress: &job.Progress{}, buffer: make([]byte, verifyPiece), size: 16 * mib}
	for range 3 {
		if _, err := v.step(t.Context(), before); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.TakeSnapshots(t.Context(), []string{"a"}, "one"); err != nil {
		t.Fatal(err)
	}
	if _, err := v.step(t.Context(), before); err != errOtherwise {
		t.Fatalf("in the image that is closed: %v", err)
	}
	put(t, d.Provisioner, 14*mib, bytes.Repeat([]byte{2}, mib)) // into the overlay
	if text, err := v.run(t.Context()); err != nil || v.read != 9*mib {
		t.Errorf("it read %d bytes: %s, %v", v.read, text, err)
	}
	if s, err := d.DeleteSnapshot("a", "one"); err != nil {
		t.Fatal(err)
	} else if s = ended(t, d.Provisioner, s, nil); s.State != job.Done {
		t.Fatalf("%+v", s)
	}
	v.at, v.read, v.extent = 0, 0, backstore.Extent{}
	now := d.now.Load().units["a"]
	if _, err := v.step(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	s, err := d.Shrink("a", "4MiB", true)
	if s = ended(t, d.Provisioner, s, err); s.State != job.Done {
		t.Fatalf("%+v", s)
	}
	for v.at, err = 3*mib, nil; err == nil; {
		_, err = v.step(t.Context(), now)
	}
	if err != errOtherwise {
		t.Errorf("behind its end: %v", err)
	}
	if text, err := v.run(t.Context()); err != nil || v.ranges > 0 || v.size != 4*mib {
		t.Errorf("of the smaller one: %s, %v, %d bytes", text, err, v.size)
	}
}

// TestVerify_ReadsTheDisk: what has gone bad on the disk is found, though the host has it
// cached as it was written; and what was cached is so afterwards, and nothing else.
func TestVerify_ReadsTheDisk(t *testing.T) {
	disk := filepath.Join(t.TempDir(), "disk")
	if err := errors.Join(os.WriteFile(disk, nil, 0o600), os.Truncate(disk, 128<<20)); err != nil {
		t.Fatal(err)
	}
	dir := loopdevice.Format(t, loopdevice.New(t, loopdevice.Options{File: disk}), "btrfs")
	d := start(t, dir, strings.ReplaceAll(verifiable, "[[lun.layer]]\nkind = \"fault\"\n", ""))
	const at = 5<<20 + 64<<10
	marker := bytes.Repeat([]byte("a block that will differ"), 4096/24+1)[:4096]
	put(t, d.Provisioner, 0, bytes.Repeat([]byte{1}, 12<<20))
	put(t, d.Provisioner, at, marker)
	verified := func() job.Status {
		s, err := d.Verify("a", "")
		return ended(t, d.Provisioner, s, err)
	}
	if s := verified(); s.State != job.Done {
		t.Fatalf("%+v", s)
	}
	m := d.now.Load().units["a"].medium
	if _, err := m.ReadAt(make([]byte, 4096), at); err != nil {
		t.Fatal(err)
	}
	loopdevice.Spoil(t, disk, marker)
	if _, err := m.TryReadAt(make([]byte, 4096), at); err != nil {
		t.Fatalf("it is not cached: %v", err)
	}
	var s job.Status
	eventually(t, "the block is found", func() bool { s = verified(); return s.State == job.Failed }) // the kernel may hold its page for a moment
	if want := []job.Unreadable{{LBA: at / 512, Blocks: 8, Error: "input/output error"}}; !reflect.DeepEqual(s.Unreadable, want) {
		t.Errorf("%+v, want %+v", s, want)
	}

	hot := make([]byte, verifyPiece)
	eventually(t, "what was cached is so afterwards, and nothing else", func() bool {
		for piece := range int64(12) {
			m.UncacheAt(piece*verifyPiece, verifyPiece)
		}
		if _, err := m.ReadAt(hot, 2*verifyPiece); err != nil {
			t.Fatal(err)
		}
		m.UncacheAt(3*verifyPiece, 9*verifyPiece) // that was read ahead
		verified()
		_, two := m.TryReadAt(hot, 2*verifyPiece)
		_, nine := m.TryReadAt(hot[:4096], 9*verifyPiece)
		return two == nil && errors.Is(nine, backstore.ErrWouldBlock)
	})
}
