package gotgt_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/gostor/gotgt/pkg/api"
	"github.com/gostor/gotgt/pkg/scsi"
	_ "github.com/gostor/gotgt/pkg/scsi/backingstore" // registers "file" and "null"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/gotgt"
	"github.com/isantarget/isantarget/backstore/memory"
	"github.com/isantarget/isantarget/backstore/storetest"
)

const size = 32 << 20

const pluginAllocates = "a plugin of gotgt returns what it reads in memory of its own"

// openFile opens gotgt's own plugin "file".
func openFile(path string, o gotgt.Options) (backstore.Store, error) {
	plugin, err := scsi.NewBackingStore("file")
	if err != nil {
		return nil, err
	}
	o.Path = path
	return gotgt.Open(plugin, o)
}

func newImage(t testing.TB) string {
	path := filepath.Join(t.TempDir(), "image")
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, size)); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPluginFile(t *testing.T) {
	for _, concurrent := range []bool{false, true} {
		t.Run(fmt.Sprintf("concurrent=%v", concurrent), func(t *testing.T) {
			var paths sync.Map
			o := gotgt.Options{Concurrent: concurrent}
			storetest.Run(t, func(t *testing.T) backstore.Store {
				path := newImage(t)
				s, err := openFile(path, o)
				if err != nil {
					t.Fatal(err)
				}
				paths.Store(s, path)
				return s
			}, storetest.Allocates(pluginAllocates), storetest.Reopens(func(s backstore.Store) (backstore.Store, error) {
				path, _ := paths.Load(s)
				return openFile(path.(string), o)
			}))
		})
	}
}

// gotgt's plugin "file" answers UNMAP with success and does nothing. Who trusts
// it there is told so by the suite.
func TestPluginFile_UnmapIsALie(t *testing.T) {
	subject := storetest.Subject{Open: func() (backstore.Store, error) {
		return openFile(newImage(t), gotgt.Options{Trust: backstore.CanUnmap | backstore.ReadsZeros})
	}}
	for _, check := range storetest.Checks() {
		if check.Name == "Unmap" {
			if err := check.Run(subject); err == nil {
				t.Error("the plugin unmaps after all: trust it")
			} else {
				t.Log(err)
			}
			return
		}
	}
	t.Fatal("the suite has no check Unmap")
}

// remote is an api.RemoteBackingStore upon a memory store, as a program that
// embeds gotgt would bring one.
type remote struct{ *memory.Store }

func (r remote) Sync() (int, error) { return 0, r.Store.Sync() }

func (r remote) Unmap(off, length int64) (int, error) {
	return int(length), r.UnmapAt(off, length)
}

func newRemote(t testing.TB) remote {
	s, err := memory.New(size)
	if err != nil {
		t.Fatal(err)
	}
	return remote{s}
}

func TestRemote(t *testing.T) {
	for _, o := range []gotgt.Options{
		{Size: size},
		{Size: size, Concurrent: true, Trust: backstore.CanUnmap | backstore.ReadsZeros, Unmap: 65536},
		{Size: size, Concurrent: true, Trust: backstore.CanUnmap},
	} {
		t.Run(fmt.Sprintf("trust=%v", o.Trust), func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) backstore.Store {
				s, err := gotgt.OpenRemote(newRemote(t), o)
				if err != nil {
					t.Fatal(err)
				}
				return s
			})
		})
	}
}

// A pluginOf records what it is asked, and fails where it is told to.
type pluginOf struct {
	calls  []string
	failAt string
	size   uint64
	short  bool
}

func (p *pluginOf) call(format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	p.calls = append(p.calls, text)
	if p.failAt != "" && len(text) >= len(p.failAt) && text[:len(p.failAt)] == p.failAt {
		return syscall.ENOSPC
	}
	return nil
}

func (p *pluginOf) Open(u *api.SCSILu, path string) error     { return p.call("Open %s", path) }
func (p *pluginOf) Close(u *api.SCSILu) error                 { return p.call("Close") }
func (p *pluginOf) Init(u *api.SCSILu, settings string) error { return p.call("Init %s", settings) }
func (p *pluginOf) Exit(u *api.SCSILu) error                  { return p.call("Exit") }
func (p *pluginOf) Size(u *api.SCSILu) uint64                 { return p.size }
func (p *pluginOf) Read(off, n int64) ([]byte, error) {
	if p.short {
		n /= 2
	}
	return make([]byte, n), p.call("Read %d %d", off, n)
}
func (p *pluginOf) Write(b []byte, off int64) error           { return p.call("Write %d %d", off, len(b)) }
func (p *pluginOf) DataSync(off, n int64) error               { return p.call("DataSync %d %d", off, n) }
func (p *pluginOf) DataAdvise(off, n int64, how uint32) error { return p.call("DataAdvise") }
func (p *pluginOf) Unmap(list []api.UnmapBlockDescriptor) error {
	return p.call("Unmap %v", list)
}

func (p *pluginOf) expect(t *testing.T, want ...string) {
	t.Helper()
	if fmt.Sprint(p.calls) != fmt.Sprint(want) {
		t.Errorf("the plugin was asked %q, want %q", p.calls, want)
	}
	p.calls = nil
}

func TestPlugin_Calls(t *testing.T) {
	p := &pluginOf{size: 10 << 30}
	s, err := gotgt.Open(p, gotgt.Options{Path: "where", Settings: "how", Trust: backstore.CanUnmap})
	if err != nil {
		t.Fatal(err)
	}
	p.expect(t, "Init how", "Open where")
	m := backstore.Bind(s)
	if _, err := m.WriteAt(make([]byte, 10), 5); err != nil {
		t.Error(err)
	}
	if _, err := m.ReadAt(make([]byte, 10), 5); err != nil {
		t.Error(err)
	}
	if err := errors.Join(m.Sync(), m.UnmapAt(512, 3<<30)); err != nil {
		t.Error(err)
	}
	p.expect(t, "Write 5 10", "Read 5 10", "DataSync 0 10737418240",
		"Unmap [{512 1073741824}]", "Unmap [{1073742336 1073741824}]", "Unmap [{2147484160 1073741824}]")
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	p.expect(t, "Close", "Exit")
}

func TestPlugin_Failures(t *testing.T) {
	for failAt, want := range map[string][]string{
		"Init": {"Init "}, "Open": {"Init ", "Open where", "Exit"},
	} {
		p := &pluginOf{size: size, failAt: failAt}
		if _, err := gotgt.Open(p, gotgt.Options{Path: "where"}); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s fails: %v", failAt, err)
		}
		p.expect(t, want...)
	}
	p := &pluginOf{}
	if _, err := gotgt.Open(p, gotgt.Options{Path: "where"}); err == nil {
		t.Error("a plugin without a size is opened")
	}
	p.expect(t, "Init ", "Open where", "Close", "Exit")
	for _, failAt := range []string{"Read", "Write", "DataSync", "Unmap"} {
		p := &pluginOf{failAt: failAt}
		s, err := gotgt.Open(p, gotgt.Options{Size: size, Trust: backstore.CanUnmap})
		if err != nil {
			t.Fatal(err)
		}
		_, readErr := s.ReadAt(make([]byte, 10), 5)
		_, writeErr := s.WriteAt(make([]byte, 10), 5)
		for call, err := range map[string]error{"Read": readErr, "Write": writeErr, "DataSync": s.Sync(), "Unmap": s.UnmapAt(5, 10)} {
			if got := errors.Is(err, backstore.ErrNoSpace); got != (call == failAt) {
				t.Errorf("%s fails: %s gives %v", failAt, call, err)
			}
		}
	}
	short := &pluginOf{size: size, short: true}
	s, err := gotgt.Open(short, gotgt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var e *backstore.Error
	if n, err := s.ReadAt(make([]byte, 10), 20); n != 5 || !errors.As(err, &e) || e.Offset != 25 || e.Length != 5 {
		t.Errorf("a short read: %d, %v", n, err)
	}
}

func TestOptions(t *testing.T) {
	if _, err := gotgt.OpenRemote(newRemote(t), gotgt.Options{}); err == nil {
		t.Error("a remote store without a size is opened")
	}
	if _, err := gotgt.OpenRemote(newRemote(t), gotgt.Options{Size: size, Trust: backstore.CanMap}); err == nil {
		t.Error("what the interface does not have is trusted")
	}
	s, err := gotgt.OpenRemote(newRemote(t), gotgt.Options{Size: size, Trust: backstore.CanUnmap, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	_, writeErr := s.WriteAt([]byte("x"), 0)
	if !errors.Is(writeErr, backstore.ErrReadOnly) || !errors.Is(s.UnmapAt(0, 10), backstore.ErrReadOnly) || s.Geometry().Unmap != 0 {
		t.Errorf("a read-only store: %v, %+v", writeErr, s.Geometry())
	}
}
