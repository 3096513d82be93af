package provision

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/file"
	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/internal/initiator"
)

// A lossyStore loses what is written to it: its first sync fails. The store that is
// opened after it knows nothing of that, as the system tells of a failure once.
type lossyStore struct{ backstore.Store }

func (lossyStore) Sync() error { return errDisk }
func (l lossyStore) Geometry() backstore.Geometry {
	g := l.Store.Geometry()
	g.Volatile = true
	return g
}

// TestNewSettings_LostWrites: a LUN whose writes cannot be made durable is not opened
// anew, or the next SYNCHRONIZE CACHE would succeed and the initiator believe in them.
func TestNewSettings_LostWrites(t *testing.T) {
	var opened int
	d := newDaemon()
	d.openers[configs.Null] = func(l configs.LUN, step func(done, total int64) error) (backstore.Store, error) {
		s, err := openers()[configs.Memory](l, step)
		if opened++; opened > 1 {
			return s, err
		}
		return lossyStore{s}, err
	}
	text := strings.Replace(oneTarget, `kind = "memory"`, `kind = "null"`, 1)
	dir := t.TempDir()
	var err error
	if d.report, err = d.Apply(context.Background(), parse(t, dir, text)); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if _, err := d.Apply(context.Background(), configs.Config{}); !errors.Is(err, errDisk) {
			t.Errorf("stop: %v, want that writes are lost", err)
		}
	}()
	c := d.mustLogin(t, alice, nil)
	writeBlock(t, c, 0, 7)
	r := d.apply(t, dir, strings.Replace(text, `kind = "null"`, "kind = \"null\"\nwrite-cache = false", 1))
	if w := strings.Join(r.Warnings, "\n"); !strings.Contains(w, `LUN "m" keeps its old settings`) || !strings.Contains(w, errDisk.Error()) {
		t.Errorf("warnings %q", r.Warnings)
	}
	if s := do(t, c, initiator.Command{CDB: []byte{0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0}}); s.Status != 2 {
		t.Errorf("SYNCHRONIZE CACHE: status %02x, although the write before it is lost", s.Status)
	}
	if got := readBlock(t, c, 0); got != 7 {
		t.Errorf("block %d", got)
	}
}

// TestNewSettings_LostImage: an image that was removed or replaced under the LUN lives
// as long as it is open, so it is not closed for new settings.
func TestNewSettings_LostImage(t *testing.T) {
	for name, lose := range map[string]func(string) error{
		"removed": os.Remove,
		"replaced": func(path string) error {
			return errors.Join(os.WriteFile(path+".new", make([]byte, 1<<20), 0o600), os.Rename(path+".new", path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			d := start(t, dir, inventory("a"))
			c := d.mustLogin(t, alice, nil)
			writeBlock(t, c, 0, 7)
			if err := lose(filepath.Join(dir, "a.img")); err != nil {
				t.Fatal(err)
			}
			r := d.apply(t, dir, strings.Replace(inventory("a"), "size = \"1MiB\"\n", "size = \"1MiB\"\nwrite-cache = false\n", 1))
			if w := strings.Join(r.Warnings, "\n"); !strings.Contains(w, `LUN "a" keeps its old settings`) {
				t.Errorf("warnings %q", r.Warnings)
			}
			if got := readBlock(t, c, 0); got != 7 {
				t.Errorf("block %d", got)
			}
		})
	}
}

// A stuckStore hangs in each sync until it is told to go on.
type stuckStore struct {
	lossyStore
	goOn   chan struct{}
	closed *atomic.Bool
}

func (s stuckStore) Sync() error  { <-s.goOn; return nil }
func (s stuckStore) Close() error { s.closed.Store(true); return s.Store.Close() }

// TestStuckSync: a store that hangs when it is flushed (NFS whose server is gone) keeps
// neither a change nor the end of the others waiting.
func TestStuckSync(t *testing.T) {
	dir := t.TempDir()
	d := newDaemon()
	stuck := stuckStore{goOn: make(chan struct{}), closed: new(atomic.Bool)}
	d.openers[configs.Null] = func(l configs.LUN, step func(done, total int64) error) (backstore.Store, error) {
		var err error
		stuck.Store, err = openers()[configs.Memory](l, step)
		return stuck, err
	}
	apply := func(text string) Report {
		t.Helper()
		config := parse(t, dir, text)
		config.Limits.HangBound = 200 * time.Millisecond
		r, err := d.Apply(context.Background(), config)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	const lun = "[[lun]]\nname = \"stuck\"\nkind = \"null\"\nsize = \"1MiB\"\n"
	const both = "[[target]]\nname = \"" + name + "\"\nluns = { 0 = \"m\", 1 = \"stuck\" }\n"
	d.report = apply(memoryLUN + lun + both)
	c := d.mustLogin(t, alice, nil)
	writeBlock(t, c, 1, 7)
	r := apply(memoryLUN + lun + "readonly = true\n" + both)
	if w := strings.Join(r.Warnings, "\n"); !strings.Contains(w, `LUN "stuck" keeps its old settings`) {
		t.Errorf("new settings: warnings %q", r.Warnings)
	}
	writeBlock(t, c, 1, 8)
	r = apply(oneTarget)
	if w := strings.Join(r.Warnings, "\n"); !strings.Contains(w, `LUN "stuck" is removed, but its store hangs`) {
		t.Errorf("removal: warnings %q", r.Warnings)
	}
	if key, code := ready(t, c, 0); key != 0 {
		t.Errorf("the other LUN: sense %x/%04x", key, code)
	}
	if stuck.closed.Load() {
		t.Error("the store is closed under its sync")
	}
	if _, err := d.Apply(context.Background(), configs.Config{}); !errors.Is(err, errHanging) {
		t.Errorf("stop: %v, want that a LUN hangs", err)
	}
	close(stuck.goOn)
	for deadline := time.Now().Add(time.Minute); !stuck.closed.Load() || len(d.hanging.names()) > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("closed %v; still hanging: %q", stuck.closed.Load(), d.hanging.names())
		}
	}
}

// A lastStore does something when it is closed.
type lastStore struct {
	backstore.Store
	last func()
}

func (l lastStore) Close() error { l.last(); return l.Store.Close() }

// TestStop_RemovedLUNEnds: a removed LUN that was slow, and has ended when the others
// have, is no reason for a bad end.
func TestStop_RemovedLUNEnds(t *testing.T) {
	dir := t.TempDir()
	d := newDaemon()
	stuck := stuckStore{goOn: make(chan struct{}), closed: new(atomic.Bool)}
	d.openers[configs.Null] = func(l configs.LUN, step func(done, total int64) error) (backstore.Store, error) {
		var err error
		stuck.Store, err = openers()[configs.Memory](l, step)
		return stuck, err
	}
	d.openers[configs.Memory] = func(l configs.LUN, step func(done, total int64) error) (backstore.Store, error) {
		s, err := openers()[configs.Memory](l, step)
		return lastStore{s, func() {
			close(stuck.goOn)
			for deadline := time.Now().Add(time.Minute); len(d.hanging.names()) > 0 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			}
		}}, err
	}
	for _, text := range []string{oneTarget + "[[lun]]\nname = \"stuck\"\nkind = \"null\"\nsize = \"1MiB\"\n", oneTarget} {
		config := parse(t, dir, text)
		config.Limits.HangBound, config.Limits.DrainTimeout = 200*time.Millisecond, time.Minute // nobody is to log out
		if _, err := d.Apply(context.Background(), config); err != nil {
			t.Fatal(err)
		}
	}
	if len(d.hanging.names()) != 1 {
		t.Fatal("the removed LUN does not hang")
	}
	d.stop(t)
}

// A dirtyStore knows whether anything was written since the last sync.
type dirtyStore struct {
	backstore.Store
	dirty   atomic.Bool
	written chan struct{}
	closed  atomic.Bool
}

func (s *dirtyStore) WriteAt(p []byte, off int64) (int, error) {
	n, err := s.Store.WriteAt(p, off)
	s.dirty.Store(true)
	select {
	case s.written <- struct{}{}:
	default:
	}
	return n, err
}

// Sync lets a writer that is at work do its next write before it returns.
func (s *dirtyStore) Sync() error {
	s.dirty.Store(false)
	select {
	case <-s.written:
	default:
	}
	select {
	case <-s.written:
	case <-time.After(100 * time.Millisecond):
	}
	return nil
}

func (s *dirtyStore) Geometry() backstore.Geometry {
	g := s.Store.Geometry()
	g.Volatile = true
	return g
}

func (s *dirtyStore) Close() error { s.closed.Store(true); return s.Store.Close() }

// TestStop_BackgroundWrites: what goes on after its command has ended (a SANITIZE, a
// FORMAT UNIT, a copy with IMMED) is ended before the last sync, not after it.
func TestStop_BackgroundWrites(t *testing.T) {
	s := &dirtyStore{written: make(chan struct{}, 1)}
	d := newDaemon()
	d.openers[configs.Null] = func(l configs.LUN, step func(done, total int64) error) (backstore.Store, error) {
		l.Size = 16 << 20
		var err error
		s.Store, err = openers()[configs.Memory](l, step)
		return s, err
	}
	var err error
	if d.report, err = d.Apply(context.Background(), parse(t, t.TempDir(), strings.Replace(oneTarget, `kind = "memory"`, `kind = "null"`, 1))); err != nil {
		t.Fatal(err)
	}
	c := d.mustLogin(t, alice, nil)
	overwrite := initiator.Command{CDB: []byte{0x48, 0x81, 0, 0, 0, 0, 0, 0, 5, 0}, Write: []byte{31, 0, 0, 1, 0xaa}}
	if r := do(t, c, overwrite); r.Status != 0 {
		t.Fatalf("SANITIZE: %02x, % x", r.Status, r.Sense)
	}
	d.stop(t)
	if !s.closed.Load() || s.dirty.Load() {
		t.Errorf("closed %v, with unsynced writes %v", s.closed.Load(), s.dirty.Load())
	}
}

// An uncoveredImage notices when its lock is given up while it is still there.
type uncoveredImage struct {
	*file.Store
	t    *testing.T
	path string
}

func (u uncoveredImage) Close() error {
	if _, err := os.Stat(u.path); !errors.Is(err, os.ErrNotExist) {
		u.t.Errorf("the image is unlocked before it is removed (%v): another daemon may have it by then", err)
	}
	return u.Store.Close()
}

// TestRefused_OthersImages: an image that is not ours stays, also if it came after
// we had looked for it.
func TestRefused_OthersImages(t *testing.T) {
	const two = "[[lun]]\nname = \"new\"\npath = \"new.img\"\nsize = \"1MiB\"\n[[lun]]\nname = \"bad\"\npath = \"no/folder/x.img\"\nsize = \"1MiB\"\n"
	for _, late := range []bool{false, true} {
		dir := t.TempDir()
		path := filepath.Join(dir, "new.img")
		d := newDaemon()
		d.openers[configs.File] = func(l configs.LUN, step func(done, total int64) error) (backstore.Store, error) {
			if late && l.Name == "new" {
				write(t, path, strings.Repeat("data", 1024), 0o600)
			}
			s, err := openers()[configs.File](l, step)
			if image, ok := s.(*file.Store); ok && !late {
				return uncoveredImage{image, t, path}, err
			}
			return s, err
		}
		if _, err := d.Apply(context.Background(), parse(t, dir, two)); err == nil {
			t.Fatal("it was served")
		}
		_, err := os.Stat(path)
		if there := err == nil; there != late {
			t.Errorf("an image that came late %v: there afterwards %v, %v", late, there, err)
		}
	}
}
