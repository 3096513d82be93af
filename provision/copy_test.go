package provision

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isantarget/isantarget/backstore/file"
	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/internal/loopdevice"
	"github.com/isantarget/isantarget/job"
	"github.com/isantarget/isantarget/state"
)

// copied has LUN a copied, and gives the job as it ended.
func (s *Sides) copied(t *testing.T, c Copying) job.Status {
	t.Helper()
	j, err := s.Copy("a", c)
	if err != nil {
		t.Fatal(err)
	}
	return ended(t, s.Provisioner, j, nil)
}

// content is what LUN name holds.
func content(t *testing.T, p *Provisioner, name string) []byte {
	t.Helper()
	m := p.now.Load().units[name].medium
	all := make([]byte, m.Geometry().Size)
	if _, err := m.ReadAt(all, 0); err != nil {
		t.Fatal(err)
	}
	return all
}

// nothingLeft complains of what a copy to b.img in dir that did not come about has left.
func nothingLeft(t *testing.T, s *Sides, dir string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(dir, "b.img")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its image is there: %v", err)
	}
	documents, err := state.Objects(s.config.State)
	if err != nil || len(documents) != 0 {
		t.Errorf("recorded is %v, %v", documents, err)
	}
	if _, err := s.Object(configs.LUNTable, "b"); err == nil {
		t.Error("there is a LUN of it")
	}
	if n := len(s.questions.copies.list); n != 0 {
		t.Errorf("%d copies are promised something", n)
	}
}

// TestCopy: a copy holds what the LUN held, or a snapshot of it, shares nothing with it, is
// as sparse, or fixed, another disk, and there after a start.
func TestCopy(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs"} { // snapshots by overlays, and by shared blocks
		t.Run(kind, func(t *testing.T) {
			dir := loopdevice.FileSystem(t, kind, 512<<20)
			text := strings.Replace(person, "1MiB", "16MiB", 1)
			s := newSides(t, dir, text)
			const mib = 1 << 20
			put(t, s.Provisioner, 2*mib, bytes.Repeat([]byte("then"), mib/2))
			put(t, s.Provisioner, 9*mib, make([]byte, mib)) // zeros that take space
			then := content(t, s.Provisioner, "a")
			if _, err := s.TakeSnapshots(t.Context(), []string{"a"}, "noon"); err != nil {
				t.Fatal(err)
			}
			put(t, s.Provisioner, 3*mib, bytes.Repeat([]byte("now!"), mib/4))
			now := content(t, s.Provisioner, "a")
			for name, c := range map[string]struct {
				Copying
				want []byte
			}{
				"b": {Copying{Name: "b", Store: "tank", Target: name}, now},
				"c": {Copying{Name: "c", Snapshot: "noon"}, then},
				"d": {Copying{Name: "d", Snapshot: "noon", Provisioning: "fixed"}, then},
			} {
				if j := s.copied(t, c.Copying); j.State != job.Done {
					t.Fatalf("%s: %+v", name, j)
				}
				if !bytes.Equal(content(t, s.Provisioner, name), c.want) {
					t.Errorf("%s holds something else", name)
				}
				l, err := s.LUN(name)
				if err != nil {
					t.Fatal(err)
				}
				fixed := c.Provisioning == "fixed"
				if l.Shared > 0 || fixed != (l.Allocated >= 16*mib) || !fixed && l.Allocated > 3*mib {
					t.Errorf("%s has %d bytes, %d of them shared", name, l.Allocated, l.Shared)
				}
				if a, err := s.LUN("a"); err != nil || a.Serial == l.Serial || a.NAA == l.NAA {
					t.Errorf("%s is the disk %s, and a the disk %s, %v", name, l.Serial, a.Serial, err)
				}
			}
			if b, err := s.LUN("b"); err != nil || len(b.Maps) != 1 || b.Maps[0].Number != 1 {
				t.Errorf("b is shown as %+v, %v", b.Maps, err)
			}
			documents, err := state.Objects(s.config.State)
			if err != nil {
				t.Fatal(err)
			}
			for name := range documents {
				if isCopy(name) {
					t.Errorf("%s is left", name)
				}
			}
		})
	}
}

// TestCopy_Refused says why.
func TestCopy_Refused(t *testing.T) {
	dir := t.TempDir()
	s := newSides(t, dir, person)
	writeFile(t, filepath.Join(dir, "taken.img"), "taken")
	for _, x := range []struct {
		Copying
		why string
	}{
		{Copying{Name: ""}, "name"},
		{Copying{Name: "a"}, "there already"},
		{Copying{Name: "taken"}, "there is a file"},
		{Copying{Name: "b", Store: "tank", Path: "/x"}, "one of them"},
		{Copying{Name: "b", Path: "x"}, "absolute"},
		{Copying{Name: "b", Store: "none"}, "none"},
		{Copying{Name: "b", Provisioning: "thick"}, "thick"},
		{Copying{Name: "b", Target: "iqn.2026-11.org.isantarget.test:none"}, "iqn.2026-11.org.isantarget.test:none"},
	} {
		if _, err := s.Copy("a", x.Copying); err == nil || !strings.Contains(err.Error(), x.why) {
			t.Errorf("%+v: %v, want %q", x.Copying, err, x.why)
		}
	}
	if j := s.copied(t, Copying{Name: "b", Snapshot: "none"}); j.State != job.Failed || !strings.Contains(j.Error, `"none"`) {
		t.Errorf("of no snapshot: %+v", j)
	}
	nothingLeft(t, s, dir)
	d := &daemon{Provisioner: s.Provisioner}
	targets, err := s.Targets()
	if err != nil {
		t.Fatal(err)
	}
	d.report.Targets = []TargetReport{{Portals: []string{targets[0].Portals[0].Address}}}
	d.mustLogin(t, alice, nil)
	if _, err := s.Copy("a", Copying{Name: "b"}); err == nil || !strings.Contains(err.Error(), "is in use") || !strings.Contains(err.Error(), "lun snapshot a") {
		t.Errorf("while it is used: %v", err)
	}
}

// TestCopy_LeavesNothing where it fails, or is cancelled, at any of its steps.
func TestCopy_LeavesNothing(t *testing.T) {
	dir := loopdevice.FileSystem(t, "ext4", 64<<20)
	s := newSides(t, dir, strings.NewReplacer(`path = "."`, "path = \".\"\novercommit = \"allow\"", `size = "1MiB"`, "size = \"32MiB\"\nlayer = [{ kind = \"fault\" }]").Replace(person))
	put(t, s.Provisioner, 0, bytes.Repeat([]byte("data"), 24<<18))

	if err := s.SetFaults("a", []string{"error=EIO on=read lba=20001-20005"}); err != nil {
		t.Fatal(err)
	}
	if j := s.copied(t, Copying{Name: "b"}); j.State != job.Failed || !strings.Contains(j.Error, "block 20001 of a cannot be read: ") {
		t.Errorf("of what cannot be read: %+v", j)
	}
	nothingLeft(t, s, dir)

	// The read waits until the job is cancelled.
	if err := s.SetFaults("a", []string{"delay=1h on=read lba=20001"}); err != nil {
		t.Fatal(err)
	}
	j, err := s.Copy("a", Copying{Name: "b"})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the copy is half done", func() bool {
		j, err = s.Job(j.ID)
		if err != nil || j.State.Final() {
			t.Fatalf("%+v, %v", j, err)
		}
		return j.Phase == "copying" && j.Done == 9<<20
	})
	pools := s.now.Load().pools(false)
	var promised, owed int64
	for _, p := range pools {
		promised, owed = p.promised, p.owed
	}
	if promised != 64<<20 || owed < 8<<20+23<<20 {
		t.Errorf("meanwhile %d bytes are promised, and %d owed", promised, owed)
	}
	var busy *job.BusyError
	if _, err := s.TakeSnapshots(t.Context(), []string{"a"}, "one"); !errors.As(err, &busy) {
		t.Errorf("a snapshot meanwhile: %v", err)
	}
	if err := s.CancelJob(j.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.SetFaults("a", nil); err != nil {
		t.Fatal(err)
	}
	if j = ended(t, s.Provisioner, j, nil); j.State != job.Cancelled {
		t.Errorf("cancelled: %+v", j)
	}
	nothingLeft(t, s, dir)

	// There is no space for it.
	writeFile(t, filepath.Join(dir, "filler"), strings.Repeat("full", 5<<20))
	if j := s.copied(t, Copying{Name: "b"}); j.State != job.Failed || !strings.Contains(j.Error, "no space left") {
		t.Errorf("on a full file system: %+v", j)
	}
	nothingLeft(t, s, dir)
	if j := s.copied(t, Copying{Name: "b", Provisioning: "fixed"}); j.State != job.Failed || !strings.Contains(j.Error, "no space left") {
		t.Errorf("fixed, on a full file system: %+v", j)
	}
	nothingLeft(t, s, dir)
	if err := os.Remove(filepath.Join(dir, "filler")); err != nil {
		t.Fatal(err)
	}

	// The LUN cannot be made in the end: somebody has made one of its name.
	if err := s.SetFaults("a", []string{"delay=1h on=read lba=20001"}); err != nil {
		t.Fatal(err)
	}
	if j, err = s.Copy("a", Copying{Name: "b"}); err != nil {
		t.Fatal(err)
	}
	object, err := configs.ObjectFromJSON(configs.LUNTable, []byte(`{"name": "b", "path": "`+filepath.Join(dir, "other.img")+`", "size": "1MiB", "overcommit": "allow"}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Change(t.Context(), Batch{Puts: []Put{{Object: object}}}); err != nil {
		t.Fatal(err)
	}
	if err := s.SetFaults("a", nil); err != nil {
		t.Fatal(err)
	}
	if j = ended(t, s.Provisioner, j, nil); j.State != job.Failed || !strings.Contains(j.Error, "there already") {
		t.Errorf("with another LUN of its name: %+v", j)
	}
	if _, err := s.Change(t.Context(), Batch{Deletes: []Delete{{Table: configs.LUNTable, Name: "b", Version: AnyVersion}}}); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, s, dir)
}

// TestCopy_Killed: what a daemon that was killed has left of a copy is removed by the next
// one, and nothing else is.
func TestCopy_Killed(t *testing.T) {
	for name, c := range map[string]struct {
		content string // of the image; empty: it has no name yet
		ours    bool   // it is the file that was recorded
		left    bool
	}{
		"before it had a name":   {},
		"before there was a LUN": {"image", true, false},
		"another file is there":  {"other", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := newSides(t, dir, person)
			path := filepath.Join(dir, "b.img")
			m := removal{LUN: "b", Path: path, File: "inode 1 of 2.3"}
			if c.content != "" {
				writeFile(t, path, c.content)
			}
			if c.ours {
				var err error
				if m.File, err = file.IdentityAt(path); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.now.Load().state.ChangeObjects(state.Documents{copyPrefix + "b" + removalSuffix: m.record()}); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Apply(t.Context(), configs.Config{}); err != nil {
				t.Fatal(err)
			}
			s = NewSides(newDaemon().Provisioner, s.origin)
			if _, _, err := s.Reload(t.Context()); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if _, err := s.Apply(t.Context(), configs.Config{}); err != nil {
					t.Error(err)
				}
			}()
			if _, err := os.Stat(path); (err == nil) != c.left {
				t.Errorf("the image: %v", err)
			}
			documents, err := state.Objects(s.config.State)
			if err != nil || len(documents) != 0 {
				t.Errorf("recorded is %v, %v", documents, err)
			}
		})
	}
}
