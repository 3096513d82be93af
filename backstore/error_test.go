package backstore_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"testing"

	"github.com/isantarget/isantarget/backstore"
)

var sentinels = []error{backstore.ErrWouldBlock, backstore.ErrNoSpace, backstore.ErrReadOnly, backstore.ErrGone,
	backstore.ErrCorrupt, backstore.ErrLocked, backstore.ErrRange}

func TestMeaning(t *testing.T) {
	for _, c := range []struct {
		err  error
		want error
	}{
		{syscall.ENOSPC, backstore.ErrNoSpace}, {syscall.EDQUOT, backstore.ErrNoSpace},
		{syscall.EROFS, backstore.ErrReadOnly}, {syscall.EPERM, backstore.ErrReadOnly},
		{syscall.ENODEV, backstore.ErrGone}, {syscall.ENXIO, backstore.ErrGone}, {syscall.ESTALE, backstore.ErrGone},
		{syscall.EBADF, backstore.ErrGone}, {os.ErrClosed, backstore.ErrGone},
		{syscall.EUCLEAN, backstore.ErrCorrupt}, {syscall.EBADMSG, backstore.ErrCorrupt},
		{syscall.EAGAIN, backstore.ErrWouldBlock}, {syscall.EBUSY, backstore.ErrLocked},
		{syscall.EIO, nil}, {syscall.EINVAL, nil}, {io.EOF, nil}, {errors.New("anything"), nil}, {nil, nil},
		{&os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, backstore.ErrNoSpace},
		{fmt.Errorf("%w: %w", errors.New("why"), backstore.ErrLocked), backstore.ErrLocked},
	} {
		if got := backstore.Meaning(c.err); got != c.want {
			t.Errorf("Meaning(%v) is %v, want %v", c.err, got, c.want)
		}
		e := fmt.Errorf("image x: %w", &backstore.Error{Op: "write", Err: c.err})
		for _, sentinel := range sentinels {
			if got := errors.Is(e, sentinel); got != (sentinel == c.want) {
				t.Errorf("errors.Is(%q, %q) is %v", e, sentinel, got)
			}
		}
		if c.err != nil && !errors.Is(e, c.err) {
			t.Errorf("errors.Is does not find %v in %v", c.err, e)
		}
	}
}

func TestError_Text(t *testing.T) {
	for want, e := range map[string]*backstore.Error{
		"write at byte 4096 (512 bytes left): no space left on device": {Op: "write", Offset: 4096, Length: 512, Err: syscall.ENOSPC},
		"sync: input/output error":                                     {Op: "sync", Err: syscall.EIO},
	} {
		if got := e.Error(); got != want {
			t.Errorf("the text is %q, want %q", got, want)
		}
	}
}
