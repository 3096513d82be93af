package block_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/block"
	"github.com/isantarget/isantarget/internal/loopdevice"
)

// failingDevice is a device of 32 MiB upon a file system of 8: what is written
// beyond its space fails when the page cache is written back, until heal.
func failingDevice(t *testing.T) (device string, heal func()) {
	t.Helper()
	folder := loopdevice.Mount(t, "tmpfs", "tmpfs", "size=8m,mode=0700")
	disk, filler := filepath.Join(folder, "disk"), filepath.Join(folder, "filler")
	err := errors.Join(os.WriteFile(disk, nil, 0o600), os.Truncate(disk, size),
		os.WriteFile(filler, make([]byte, 7<<20), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	return loopdevice.New(t, loopdevice.Options{File: disk}), func() {
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
	}
}

// Linux tells of a failed write-back once; the sync after it would succeed. The
// store stays failed until it is opened anew.
func TestSync_FailsForEver(t *testing.T) {
	device, heal := failingDevice(t)
	s, err := block.Open(block.Options{Path: device})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.WriteAt(make([]byte, 4<<20), 0); err != nil {
		t.Fatalf("a write into the page cache: %v", err)
	}
	errs := make([]error, 6)
	var group sync.WaitGroup
	for i := range errs {
		group.Go(func() { errs[i] = s.Sync() })
	}
	group.Wait()
	for i, err := range errs {
		if err == nil {
			t.Errorf("Sync %d of %d at once succeeded, and the bytes are lost", i, len(errs))
		}
	}
	t.Log(errs[0])
	heal()
	if err := s.Sync(); err == nil {
		t.Error("a later Sync succeeded, and the bytes are lost")
	} else if !errors.Is(err, syscall.EIO) && !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a later Sync does not tell the cause: %v", err)
	} else {
		t.Log(err)
	}
	if n, err := s.WriteThroughAt(make([]byte, 512), 0); err == nil || n != 0 {
		t.Errorf("a write through after a failed Sync: %d, %v", n, err)
	}
	if _, err := s.ReadAt(make([]byte, 512), 0); err != nil {
		t.Errorf("a read after a failed Sync: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if s, err = block.Open(block.Options{Path: device}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if _, err := s.WriteAt(make([]byte, 1<<20), 0); err != nil {
		t.Fatal(err)
	}
	if err := s.Sync(); err != nil {
		t.Errorf("Sync of the device opened anew: %v", err)
	}
}

// Each write through that lost its bytes hears of it, however many run at once;
// and so does the next Sync.
func TestWriteThroughAt_TellsOfEachLoss(t *testing.T) {
	device, _ := failingDevice(t)
	s, err := block.Open(block.Options{Path: device})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	p := make([]byte, 1<<20)
	for i := range p {
		p[i] = 1
	}
	var group sync.WaitGroup
	errs := make([]error, 16)
	for i := range errs {
		group.Go(func() {
			n, err := s.WriteThroughAt(p, int64(i)<<20)
			if errs[i] = err; err != nil && n != 0 {
				t.Errorf("write through %d: %d, %v", i, n, err)
			}
		})
	}
	group.Wait()
	told := 0
	for _, err := range errs {
		if err == nil {
			told++
		} else {
			var e *backstore.Error
			if !errors.As(err, &e) {
				t.Errorf("%v is no Error", err)
			}
		}
	}
	if told > 1 { // there is 1 MiB of space, less what the file system needs
		t.Errorf("%d writes of 1 MiB are said to be durable where 1 MiB is free", told)
	}
	if err := s.Sync(); err == nil {
		t.Error("the Sync after lost writes succeeded")
	}
}

// With direct I/O the write itself fails, at the place where it does; nothing
// else is in doubt.
func TestWriteAt_DirectFailure(t *testing.T) {
	device, heal := failingDevice(t)
	s, err := block.Open(block.Options{Path: device, Direct: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	failed := false
	for off := int64(0); off < 4<<20 && !failed; off += 64 << 10 {
		n, err := s.WriteAt(make([]byte, 64<<10), off)
		if err == nil {
			continue
		}
		failed = true
		var e *backstore.Error
		if !errors.As(err, &e) || e.Offset != off+int64(n) || e.Offset+e.Length != off+64<<10 {
			t.Errorf("the write at %d: %d, %v", off, n, err)
		}
		t.Log(err)
		if _, err := s.WriteThroughAt(make([]byte, 64<<10), off); err == nil {
			t.Error("the same write through succeeds")
		}
	}
	if !failed {
		t.Fatal("4 MiB fit where 1 MiB is free")
	}
	heal()
	if err := s.Sync(); err != nil {
		t.Errorf("Sync, after a write that failed was reported: %v", err)
	}
	if _, err := s.WriteThroughAt(make([]byte, 1<<20), 1<<20); err != nil {
		t.Errorf("a write through when there is space again: %v", err)
	}
}
