package fault_test

import (
	"bytes"
	"errors"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/fault"
	"github.com/isantarget/isantarget/backstore/file"
	"github.com/isantarget/isantarget/backstore/memory"
	"github.com/isantarget/isantarget/backstore/storetest"
)

func upon(t *testing.T, below backstore.Store, o fault.Options) *fault.Store {
	t.Helper()
	s, err := fault.New(below, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func inMemory(t *testing.T, o fault.Options) *fault.Store {
	t.Helper()
	m, err := memory.New(storetest.MinSize)
	if err != nil {
		t.Fatal(err)
	}
	return upon(t, m, o)
}

// A waiting is a layer with faults in force: no call is tried then.
type waiting struct{ *fault.Store }

func (w waiting) Features() backstore.Features {
	return w.Store.Features() &^ (backstore.CanTryRead | backstore.CanTryWrite)
}

// A layer without faults is as good as the store below, and so is one whose faults
// never strike.
func TestStore_Idle(t *testing.T) {
	const never = 1 << 60
	t.Run("in memory", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) backstore.Store { return inMemory(t, fault.Options{}) })
	})
	onFile := func(t *testing.T, path string) backstore.Store {
		f, err := file.Open(file.Options{Path: path, Create: true, Size: storetest.MinSize})
		if err != nil {
			t.Fatal(err)
		}
		return upon(t, f, fault.Options{})
	}
	t.Run("on a file", func(t *testing.T) {
		paths := map[backstore.Store]string{}
		storetest.Run(t, func(t *testing.T) backstore.Store {
			path := filepath.Join(t.TempDir(), "image")
			s := onFile(t, path)
			paths[s] = path
			return s
		}, storetest.Reopens(func(s backstore.Store) (backstore.Store, error) { return onFile(t, paths[s]), nil }))
	})
	for name, f := range map[string]fault.Fault{
		"never strikes": {Kind: fault.Error, Errno: syscall.EIO, Calls: fault.AllCalls, After: never},
		"with a cache":  {Kind: fault.PowerCut, Calls: fault.AllCalls, After: never},
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) backstore.Store {
				s := inMemory(t, fault.Options{})
				s.Set([]fault.Fault{f})
				return waiting{s}
			}, storetest.Allocates("faults are counted, and what is overwritten is remembered"))
		})
	}
}

const unit = 512

func filled(n int, with byte) []byte { return bytes.Repeat([]byte{with}, n) }

// held reads without any fault.
func held(t *testing.T, s *fault.Store, off, n int64) []byte {
	t.Helper()
	p := make([]byte, n)
	if got, err := s.Below()[0].ReadAt(p, off); got != len(p) {
		t.Fatal(err)
	}
	return p
}

// An error is at the exact byte, and all before it is done.
func TestStore_Error(t *testing.T) {
	s := inMemory(t, fault.Options{})
	m := backstore.Bind(s)
	must(t, m.ZeroAt(0, 64*unit, false))
	s.Set([]fault.Fault{{Kind: fault.Error, Errno: syscall.ENOSPC, Calls: fault.Transfers, First: 20 * unit, Bytes: 4 * unit}})
	for what, do := range map[string]func() (int, error){
		"read":          func() (int, error) { return m.ReadAt(make([]byte, 16*unit), 10*unit) },
		"write":         func() (int, error) { return m.WriteAt(filled(16*unit, 1), 10*unit) },
		"write through": func() (int, error) { return m.WriteThroughAt(filled(16*unit, 1), 10*unit) },
	} {
		n, err := do()
		var e *backstore.Error
		if n != 10*unit || !errors.As(err, &e) || e.Offset != 20*unit || !errors.Is(err, backstore.ErrNoSpace) {
			t.Errorf("%s: %d, %v", what, n, err)
		}
	}
	if got := held(t, s, 10*unit, 16*unit); !bytes.Equal(got, append(filled(10*unit, 1), make([]byte, 6*unit)...)) {
		t.Error("the part before the error is not there, or more than that")
	}
	for _, off := range []int64{0, 24 * unit} {
		if _, err := m.WriteAt(filled(10*unit, 2), off); err != nil {
			t.Errorf("beside the range: %v", err)
		}
	}
}

// Of a torn write each unit is the old one or the new one; the error names the first
// that is old.
func TestStore_Torn(t *testing.T) {
	s := inMemory(t, fault.Options{Unit: 4096, Seed: 1})
	m := backstore.Bind(s)
	s.Set([]fault.Fault{{Kind: fault.Torn, Calls: fault.Write}})
	mixed := false
	for round := byte(1); round < 100; round++ {
		before := held(t, s, 0, 16*4096)
		n, err := m.WriteAt(filled(16*4096, round), 0)
		var e *backstore.Error
		if !errors.As(err, &e) || !errors.Is(err, syscall.EIO) || int64(n) != e.Offset {
			t.Fatalf("a torn write: %d, %v", n, err)
		}
		now := held(t, s, 0, 16*4096)
		for at := 0; at < len(now); at += 4096 {
			isNew := bytes.Equal(now[at:at+4096], filled(4096, round))
			if !isNew && !bytes.Equal(now[at:at+4096], before[at:at+4096]) {
				t.Fatalf("the unit at %d is a mixture", at)
			}
			if isNew && at > n {
				mixed = true
			}
			if isNew == (at == n) {
				if at <= n {
					t.Fatalf("the unit at %d: new is %v, the error is at %d", at, isNew, n)
				}
			}
		}
	}
	if !mixed {
		t.Error("no write was torn in the middle")
	}
}

// A short transfer says nothing; the gate above notices.
func TestStore_Short(t *testing.T) {
	s := inMemory(t, fault.Options{Seed: 1})
	m := backstore.Bind(s)
	s.Set([]fault.Fault{{Kind: fault.Short, Calls: fault.Transfers}})
	for range 50 {
		var e *backstore.Error
		if n, err := m.WriteAt(filled(8*unit, 1), 0); !errors.As(err, &e) || e.Offset != int64(n) || n%unit != 0 {
			t.Fatalf("a short write: %d, %v", n, err)
		}
		if n, err := m.ReadAt(make([]byte, 8*unit), 0); !errors.As(err, &e) || e.Offset != int64(n) {
			t.Fatalf("a short read: %d, %v", n, err)
		}
	}
}

// What chooses a call.
func TestStore_Chooses(t *testing.T) {
	var strikes []fault.Strike
	s := inMemory(t, fault.Options{Seed: 1, Struck: func(s fault.Strike) { strikes = append(strikes, s) }})
	s.Set([]fault.Fault{{Kind: fault.Error, Errno: syscall.EIO, Calls: fault.Write, After: 3, Count: 2}})
	p := filled(unit, 1)
	var failed []int
	for i := range 10 {
		if _, err := s.WriteAt(p, 0); err != nil {
			failed = append(failed, i)
		}
		if _, err := s.ReadAt(p, 0); err != nil {
			t.Errorf("a read: %v", err)
		}
	}
	if len(failed) != 2 || failed[0] != 3 || failed[1] != 4 {
		t.Errorf("failed: %v, want 3 and 4", failed)
	}
	if f := s.Faults(); len(f) != 1 || f[0].Met != 10 || f[0].Struck != 2 {
		t.Errorf("counted %+v", f)
	}
	if len(strikes) != 2 || strikes[1].Times != 2 || strikes[1].Call != "write" {
		t.Errorf("told of %+v", strikes)
	}
	s.Set([]fault.Fault{{Kind: fault.Error, Errno: syscall.EIO, Calls: fault.Read, Rate: 0.25}})
	n := 0
	for range 4000 {
		if _, err := s.ReadAt(p, 0); err != nil {
			n++
		}
	}
	if n < 700 || n > 1300 {
		t.Errorf("%d of 4000 reads failed at a rate of 0.25", n)
	}
	s.Set(nil)
	if _, err := s.ReadAt(p, 0); err != nil || len(s.Faults()) != 0 {
		t.Errorf("after the faults were cleared: %v", err)
	}
}

// A delay ends when the faults are cleared, or the store is closed.
func TestStore_Delay(t *testing.T) {
	for name, end := range map[string]func(*fault.Store){
		"cleared": func(s *fault.Store) { s.Set(nil) },
		"closed":  func(s *fault.Store) { s.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			struck := make(chan fault.Strike, 1)
			s := inMemory(t, fault.Options{Struck: func(s fault.Strike) { struck <- s }})
			s.Set([]fault.Fault{{Kind: fault.Delay, Delay: time.Hour, Calls: fault.Read, Count: 1}})
			done := make(chan error, 1)
			go func() {
				_, err := s.ReadAt(make([]byte, unit), 0)
				done <- err
			}()
			<-struck
			select {
			case err := <-done:
				t.Fatalf("it did not wait: %v", err)
			default:
			}
			end(s)
			select {
			case <-done:
			case <-time.After(time.Minute):
				t.Fatal("it still waits")
			}
		})
	}
}

// A failed sync is never made good by another.
func TestStore_FailedSync(t *testing.T) {
	for name, first := range map[string]func(*fault.Store) error{
		"sync":          (*fault.Store).Sync,
		"write through": func(s *fault.Store) error { _, err := s.WriteThroughAt(filled(unit, 1), 0); return err },
	} {
		f, err := file.Open(file.Options{Path: filepath.Join(t.TempDir(), "image"), Create: true, Size: 1 << 20})
		must(t, err)
		s := upon(t, f, fault.Options{})
		s.Set([]fault.Fault{{Kind: fault.Error, Errno: syscall.EIO, Calls: fault.Sync, Count: 1}})
		if err := first(s); !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: %v", name, err)
		}
		s.Set(nil)
		if err := s.Sync(); !errors.Is(err, syscall.EIO) {
			t.Errorf("a sync after the failed %s: %v", name, err)
		}
		if _, err := s.WriteThroughAt(filled(unit, 1), 0); !errors.Is(err, syscall.EIO) {
			t.Errorf("a write through after the failed %s: %v", name, err)
		}
		must(t, s.Close())
	}
}

// After a power cut what was synced is there, and nothing else.
func TestStore_PowerCut(t *testing.T) {
	for name, change := range map[string]func(*backstore.Medium) error{
		"write": func(m *backstore.Medium) error { _, err := m.WriteAt(filled(8*unit, 9), 0); return err },
		"zero":  func(m *backstore.Medium) error { return m.ZeroAt(0, 8*unit, false) },
		"unmap": func(m *backstore.Medium) error { return m.UnmapAt(0, 8*unit) },
		"copy":  func(m *backstore.Medium) error { return m.CopyAt(0, m, 16*unit, 8*unit) },
	} {
		t.Run(name, func(t *testing.T) {
			f, err := file.Open(file.Options{Path: filepath.Join(t.TempDir(), "image"), Create: true, Size: 1 << 20})
			must(t, err)
			s := upon(t, f, fault.Options{})
			defer s.Close()
			m := backstore.Bind(s)
			cut := []fault.Fault{{Kind: fault.PowerCut, Calls: fault.Read, First: 1 << 19, Bytes: unit}}
			s.Set(cut)
			durable := filled(8*unit, 1)
			_, err = m.WriteAt(durable, 0)
			must(t, err)
			must(t, m.Sync())
			_, err = m.WriteThroughAt(filled(unit, 2), 4*unit)
			must(t, err)
			must(t, change(m))
			if !s.Off() {
				if _, err := m.ReadAt(make([]byte, unit), 1<<19); !errors.Is(err, backstore.ErrGone) {
					t.Fatalf("the cut: %v", err)
				}
			}
			for what, err := range map[string]error{
				"write": func() error { _, err := m.WriteAt(durable, 0); return err }(), "sync": m.Sync(), "unmap": m.UnmapAt(0, unit),
			} {
				if !errors.Is(err, backstore.ErrGone) {
					t.Errorf("%s without power: %v", what, err)
				}
			}
			s.Set(nil)
			copy(durable[4*unit:], filled(unit, 2))
			got := make([]byte, len(durable))
			_, err = m.ReadAt(got, 0)
			must(t, err)
			if !bytes.Equal(got, durable) {
				t.Error("after the power cut the medium holds something else than what was synced")
			}
		})
	}
}

// A sync that is a lie makes nothing durable.
func TestStore_LostSync(t *testing.T) {
	s := inMemory(t, fault.Options{})
	m := backstore.Bind(s)
	s.Set([]fault.Fault{{Kind: fault.LostSync, Calls: fault.Sync}})
	_, err := m.WriteAt(filled(unit, 1), 0)
	must(t, err)
	must(t, m.Sync())
	_, err = m.WriteThroughAt(filled(unit, 1), unit)
	must(t, err)
	must(t, s.Cut(0))
	if got := held(t, s, 0, 2*unit); !bytes.Equal(got, make([]byte, 2*unit)) {
		t.Error("what was synced by a lie is there after the power cut")
	}
}

// With a chance to survive each unit holds one of the things that were written since
// the last sync, and all of them are seen.
func TestStore_PowerCutKeepsSome(t *testing.T) {
	seen := map[byte]int{}
	for seed := range uint64(20) {
		s := inMemory(t, fault.Options{Seed: seed})
		s.Set([]fault.Fault{{Kind: fault.PowerCut, Keep: 0.5, Calls: fault.Read, After: 1 << 60}})
		for version := range byte(4) {
			_, err := s.WriteAt(filled(16*unit, 10+version), 0)
			must(t, err)
			if version == 0 {
				must(t, s.Sync())
			}
		}
		must(t, s.Cut(0.5))
		got := held(t, s, 0, 16*unit)
		for at := 0; at < len(got); at += unit {
			if !bytes.Equal(got[at:at+unit], filled(unit, got[at])) {
				t.Fatal("a unit is a mixture")
			}
			seen[got[at]]++
		}
	}
	if len(seen) != 4 {
		t.Errorf("units hold %v, want each of the four versions", seen)
	}
}

func TestNew_Refuses(t *testing.T) {
	m, err := memory.New(1 << 20)
	must(t, err)
	if _, err := fault.New(m, fault.Options{Unit: 1000}); err == nil {
		t.Error("a unit of 1000 bytes is taken")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
