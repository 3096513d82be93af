package machine

import (
	"fmt"
	"io"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

const page = 4096

// Evict writes a file back and drops it from the page cache.
func Evict(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return err
	}
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return fmt.Errorf("posix_fadvise of %s: %w", path, err)
	}
	return nil
}

// WarmAhead reads a file from its beginning to its end with readahead, as a client that reads or writes in sequence
// would: what is not in the page cache comes into it in large folios. What is there already stays as it is; see Evict.
func WarmAhead(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_SEQUENTIAL); err != nil {
		return fmt.Errorf("posix_fadvise of %s: %w", path, err)
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, f, make([]byte, 1<<20))
	return err
}

// Warm reads a file page by page, without readahead: what is not in the page cache comes into it in folios of one
// page. Readahead would bring large folios, and some kernels make a small write into one of those ten times as dear
// (see docs/performance.md). What is in the cache already is marked as used, which keeps reclaim away from it.
func Warm(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_RANDOM); err != nil {
		return fmt.Errorf("posix_fadvise of %s: %w", path, err)
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	const readers = 16
	part := (info.Size()/readers + page) &^ (page - 1)
	errs := make([]error, readers)
	var all sync.WaitGroup
	for i := range int64(readers) {
		all.Go(func() { errs[i] = readPages(f, i*part, min((i+1)*part, info.Size())) })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func readPages(f *os.File, off, end int64) error {
	p := make([]byte, page)
	for ; off < end; off += page {
		if _, err := f.ReadAt(p, off); err != nil && err != io.EOF {
			return err
		}
	}
	return nil
}

// Resident is the share of a file that lies in the page cache, from 0 to 1.
func Resident(path string) (float64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return 0, err
	}
	m, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return 0, fmt.Errorf("mmap of %s: %w", path, err)
	}
	defer unix.Munmap(m)
	in := make([]byte, (len(m)+page-1)/page)
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&m[0])), uintptr(len(m)), uintptr(unsafe.Pointer(&in[0]))); errno != 0 {
		return 0, fmt.Errorf("mincore of %s: %w", path, errno)
	}
	count := 0
	for _, b := range in {
		count += int(b & 1)
	}
	return float64(count) / float64(len(in)), nil
}

// Flush writes back what of a file is dirty.
func Flush(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
