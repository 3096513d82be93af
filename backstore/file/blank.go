package file

import (
	"io"

	"golang.org/x/sys/unix"
)

// A Blank is a new image that has its size and no name yet. It reads as zeros.
type Blank struct{ fd int }

// WriteAt implements io.WriterAt.
func (b *Blank) WriteAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		m, err := retry(func() (int, error) { return unix.Pwrite(b.fd, p[n:], off+int64(n)) })
		if err != nil {
			return n, err
		}
		if m <= 0 {
			return n, io.ErrShortWrite
		}
		n += m
	}
	return n, nil
}

// Settle makes durable what was written, and has the host keep it in its page cache no
// longer.
func (b *Blank) Settle() error {
	if _, err := retry(func() (int, error) { return 0, unix.Fdatasync(b.fd) }); err != nil {
		return err
	}
	return unix.Fadvise(b.fd, 0, 0, unix.FADV_DONTNEED)
}

// Identity is what [Store.Identity] will be.
func (b *Blank) Identity() (string, error) { return identityOf(b.fd) }
