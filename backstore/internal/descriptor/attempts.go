package descriptor

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore"
)

const (
	// hopeless is the number of attempts after which, when not one of them
	// succeeded, most are not made any more: some file systems know RWF_NOWAIT
	// and answer EAGAIN to every write (btrfs, to a file that is not NOCOW).
	hopeless = 256

	// oneIn of the hopeless attempts is still made.
	oneIn = 64
)

// attempts remembers whether calls that must not wait have a point.
type attempts struct {
	refused atomic.Bool  // the file system does not know such calls
	useful  atomic.Bool  // at least one did not wait
	useless atomic.Int64 // attempts made or left out while none was useful
}

// pointless reports whether this attempt is better not made.
func (a *attempts) pointless() bool {
	if a.refused.Load() {
		return true
	}
	if a.useful.Load() || a.useless.Load() < hopeless {
		return false
	}
	return a.useless.Add(1)%oneIn != 0
}

// judge turns the result of an attempt at want bytes into what a TryReader or
// TryWriter returns. A failure is left to the call that may wait, which will
// meet it too and can tell how far it came.
func (a *attempts) judge(n, want int, err error) (int, error) {
	if err == nil && n == want {
		if !a.useful.Load() {
			a.useful.Store(true)
		}
		return n, nil
	}
	if err == unix.EOPNOTSUPP || err == unix.ENOSYS || err == unix.EINVAL {
		a.refused.Store(true)
	} else if !a.useful.Load() {
		a.useless.Add(1)
	}
	return 0, backstore.ErrWouldBlock
}
