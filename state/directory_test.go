package state

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/isantarget/isantarget/scsi"
)

func open(t *testing.T, path string) *Directory {
	t.Helper()
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

var unit = scsi.Identity{Name: "vm1", Serial: "0123456789abcdef"}

func TestRecordOutlivesTheProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "state")
	d := open(t, path)
	if r, err := d.Load(unit, "mode"); r != nil || err != nil {
		t.Fatalf("Load before Save: %q, %v, want nil, nil", r, err)
	}
	for _, record := range []string{`{"a":1}`, `{"a":2}`} {
		if err := d.Save(unit, "mode", []byte(record)); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Save(unit, "reservation", []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	d.Close()
	d = open(t, path)
	renamed := unit
	renamed.Name = "another name"
	if r, err := d.Load(renamed, "mode"); string(r) != `{"a":2}` || err != nil {
		t.Errorf("Load after a restart: %q, %v", r, err)
	}
	other := unit
	other.Serial += "0"
	if r, err := d.Load(other, "mode"); r != nil || err != nil {
		t.Errorf("Load of another unit: %q, %v, want nil, nil", r, err)
	}
}

func TestModes(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	path := filepath.Join(t.TempDir(), "state")
	d := open(t, path)
	if err := d.Save(unit, "mode", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Serial("vm1"); err != nil {
		t.Fatal(err)
	}
	files := 0
	filepath.WalkDir(path, func(name string, e fs.DirEntry, _ error) error {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		want := fs.FileMode(0o600)
		if e.IsDir() {
			want = fs.ModeDir | 0o700
		} else {
			files++
		}
		if info.Mode() != want {
			t.Errorf("%s is %v, want %v", name, info.Mode(), want)
		}
		return nil
	})
	if want := 3 + reservePieces; files != want { // lock, record, serial
		t.Errorf("%d files, want %d", files, want)
	}
}

func TestSerialIsMadeOnce(t *testing.T) {
	path := t.TempDir()
	d := open(t, path)
	var group sync.WaitGroup
	serials := make([]string, 8)
	for i := range serials {
		group.Go(func() { serials[i], _ = d.Serial("vm1") })
	}
	group.Wait()
	for _, s := range serials {
		if s == "" || s != serials[0] {
			t.Fatalf("eight calls at once: %q, want one serial", serials)
		}
	}
	if !d.Knows("vm1") || d.Knows("vm2") {
		t.Errorf("Knows of a LUN with a serial %v, without %v", d.Knows("vm1"), d.Knows("vm2"))
	}
	other, err := d.Serial("vm2")
	if err != nil || other == serials[0] {
		t.Errorf("the serial of another LUN: %q, %v", other, err)
	}
	d.Close()
	if s, err := open(t, path).Serial("vm1"); s != serials[0] || err != nil {
		t.Errorf("after a restart: %q, %v, want %q", s, err, serials[0])
	}
}

// TestSerialIsNotReplaced: an emptied file is a disk whose identity is lost,
// and giving it a new one by ourselves would show initiators another disk.
// Whatever a LUN is called, another one's record leaves its serial alone.
func TestSerialOfALikeNameStays(t *testing.T) {
	d := open(t, t.TempDir())
	serials := map[string]string{}
	for _, name := range []string{"vm.new", "vm.old", "vm.new.new", "vm", "_vm"} {
		var err error
		if serials[name], err = d.Serial(name); err != nil {
			t.Fatal(err)
		}
	}
	for name, had := range serials {
		if !d.Knows(name) {
			t.Errorf("%s is not known any more", name)
		}
		if has, err := d.Serial(name); has != had || err != nil {
			t.Errorf("%s has the serial %s, before %s: %v", name, has, had, err)
		}
	}
}

func TestSerialIsNotReplaced(t *testing.T) {
	d := open(t, t.TempDir())
	if _, err := d.Serial("vm1"); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(d.Path(), "serial", "vm1"), 0); err != nil {
		t.Fatal(err)
	}
	if s, err := d.Serial("vm1"); err == nil {
		t.Errorf("Serial of an emptied file: %q, want an error", s)
	}
}

func TestNamesStayInside(t *testing.T) {
	d := open(t, t.TempDir())
	for _, name := range []string{"", ".", "..", "../x", "a/b", "/a"} {
		if s, err := d.Serial(name); err == nil {
			t.Errorf("Serial(%q) = %q, want an error", name, s)
		}
	}
	for _, kind := range []string{"", "..", "a/b", "A", "a.b"} {
		if err := d.Save(unit, kind, nil); err == nil {
			t.Errorf("Save of kind %q succeeded", kind)
		}
		if _, err := d.Load(unit, kind); err == nil {
			t.Errorf("Load of kind %q succeeded", kind)
		}
	}
}

func TestSecondDaemonIsRefused(t *testing.T) {
	if path := os.Getenv("STATE_HOLD"); path != "" { // the other process
		d, err := Open(path)
		fmt.Println("opened", err)
		os.Stdin.Read(make([]byte, 1))
		_ = d
		return
	}
	path := t.TempDir()
	other := exec.Command(os.Args[0], "-test.run=^TestSecondDaemonIsRefused$")
	other.Env = append(os.Environ(), "STATE_HOLD="+path)
	in, _ := other.StdinPipe()
	out, _ := other.StdoutPipe()
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	var said [32]byte
	if n, _ := out.Read(said[:]); !strings.HasPrefix(string(said[:n]), "opened <nil>") {
		t.Fatalf("the other process: %q", said[:n])
	}
	_, err := Open(path)
	if want := fmt.Sprintf("(process %d)", other.Process.Pid); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
		t.Errorf("Open of a directory in use: %v, want %q and the path in it", err, want)
	}
	other.Process.Kill() // as a crash: no one tidies up
	in.Close()
	other.Wait()
	if d, err := Open(path); err != nil {
		t.Errorf("Open after the holder was killed: %v", err)
	} else {
		d.Close()
	}
}

// A failingDisk fails at one step: each failing call has done nothing, half of
// it, or all of it.
type failingDisk struct {
	osDisk
	step  string
	after bool // it has been done all the same
	count *int
}

var errInjected = errors.New("injected")

func (f failingDisk) at(step string, do func() error) error {
	if step != f.step {
		return do()
	}
	*f.count++
	if f.after {
		do()
	}
	return errInjected
}

func (f failingDisk) mkdir(n string) error {
	return f.at("mkdir", func() error { return f.osDisk.mkdir(n) })
}
func (f failingDisk) flush(n string) error {
	return f.at("flush", func() error { return f.osDisk.flush(n) })
}
func (f failingDisk) rename(a, b string) error {
	if strings.HasSuffix(a, ".old") { // putting back works
		return f.osDisk.rename(a, b)
	}
	return f.at("rename", func() error { return f.osDisk.rename(a, b) })
}
func (f failingDisk) write(n string, r []byte) error {
	if strings.HasSuffix(n, ".old") {
		return f.osDisk.write(n, r)
	}
	if f.step == "write" {
		r = r[:len(r)/2]
	}
	return f.at("write", func() error { return f.osDisk.write(n, r) })
}

// TestFailureKeepsTheOldRecord lets each step fail, before it does anything
// and after it did all: the old record has to be there, for this process and
// for the next.
func TestFailureKeepsTheOldRecord(t *testing.T) {
	for _, step := range []string{"mkdir", "write", "rename", "flush"} {
		for _, after := range []bool{false, true} {
			for _, had := range []bool{false, true} {
				if step == "mkdir" && had {
					continue // the directory is there
				}
				t.Run(fmt.Sprintf("%s/after=%v/had=%v", step, after, had), func(t *testing.T) {
					path := t.TempDir()
					d := open(t, path)
					var want []byte
					if had {
						want = []byte(`{"old":true}`)
						if err := d.Save(unit, "mode", want); err != nil {
							t.Fatal(err)
						}
					}
					fails := 0
					d.disk = failingDisk{step: step, after: after, count: &fails}
					err := d.Save(unit, "mode", []byte(`{"new":true,"longer":"than the old one"}`))
					if !errors.Is(err, errInjected) || fails == 0 {
						t.Fatalf("Save: %v (%d failures), want the injected one", err, fails)
					}
					if r, err := d.Load(unit, "mode"); !bytes.Equal(r, want) || err != nil {
						t.Errorf("Load after the failure: %q, %v, want %q", r, err, want)
					}
					d.Close()
					d = open(t, path)
					if r, err := d.Load(unit, "mode"); !bytes.Equal(r, want) || err != nil {
						t.Errorf("Load by the next process: %q, %v, want %q", r, err, want)
					}
					if err := d.Save(unit, "mode", []byte("later")); err != nil {
						t.Errorf("Save once it works again: %v", err)
					}
				})
			}
		}
	}
}

// TestCrashKeepsARecord stops the world between the steps: what a process that
// is killed there leaves is the old or the new record, and usable.
func TestCrashKeepsARecord(t *testing.T) {
	for _, step := range []string{"write", "rename", "flush"} {
		path := t.TempDir()
		d := open(t, path)
		if err := d.Save(unit, "mode", []byte("old")); err != nil {
			t.Fatal(err)
		}
		name, _ := d.unitRecord(unit, "mode")
		fails := 0
		d.disk = failingDisk{step: step, after: true, count: &fails}
		d.put(name, []byte("new")) // without putBack: the process is gone
		d.Close()
		d = open(t, path)
		if r, err := d.Load(unit, "mode"); err != nil || string(r) != "old" && string(r) != "new" {
			t.Errorf("killed after %s: %q, %v, want old or new", step, r, err)
		}
		if err := d.Save(unit, "mode", []byte("later")); err != nil {
			t.Errorf("killed after %s, Save: %v", step, err)
		}
	}
}

// TestFullDisk fills a real file system.
func TestFullDisk(t *testing.T) {
	path := t.TempDir()
	if err := syscall.Mount("tmpfs", path, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("cannot mount a tmpfs (needs root): %v", err)
	}
	defer syscall.Unmount(path, syscall.MNT_DETACH)
	d := open(t, path)
	defer d.Close()
	if err := d.Save(unit, "mode", []byte("old")); err != nil {
		t.Fatal(err)
	}
	err := d.Save(unit, "mode", make([]byte, 256<<10))
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("Save on a full disk: %v, want ENOSPC", err)
	}
	if r, err := d.Load(unit, "mode"); string(r) != "old" || err != nil {
		t.Errorf("Load: %q, %v, want the old record", r, err)
	}
	if err := d.Save(unit, "mode", []byte("later")); err != nil {
		t.Errorf("Save of a small record: %v; the failed one has left its space taken", err)
	}
}

func TestReadOnlyFileSystem(t *testing.T) {
	path := t.TempDir()
	if err := syscall.Mount("tmpfs", path, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("cannot mount a tmpfs (needs root): %v", err)
	}
	defer syscall.Unmount(path, syscall.MNT_DETACH)
	d := open(t, path)
	if err := d.Save(unit, "mode", []byte("old")); err != nil {
		t.Fatal(err)
	}
	d.Close()
	if err := syscall.Mount("", path, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if d, err := Open(path); err == nil {
		d.Close()
		t.Error("Open of a read-only directory succeeded: nothing could be kept in it")
	}
}

// A flushingDisk remembers what was flushed last, and refuses to flush once.
type flushingDisk struct {
	osDisk
	refuse  string
	flushed map[string]bool
}

func (f *flushingDisk) flush(dir string) error {
	if dir == f.refuse {
		f.refuse = ""
		return errInjected
	}
	f.flushed[dir] = true
	return f.osDisk.flush(dir)
}

// A directory whose name could not be flushed is not taken for durable afterwards.
func TestSave_DirectoryNotFlushed(t *testing.T) {
	path := t.TempDir()
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	disk := &flushingDisk{refuse: path, flushed: map[string]bool{}}
	d.disk = disk
	if _, err := d.Serial("a"); !errors.Is(err, errInjected) {
		t.Fatalf("Serial: %v, want that it cannot be kept", err)
	}
	if _, err := d.Serial("a"); err != nil {
		t.Fatal(err)
	}
	if !disk.flushed[path] {
		t.Error("the serial counts as durable, and the directory it is in was never flushed")
	}
}
