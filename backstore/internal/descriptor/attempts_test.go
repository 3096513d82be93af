package descriptor

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore"
)

func TestAttempts_Judge(t *testing.T) {
	for _, c := range []struct {
		n       int
		err     error
		whole   bool
		refused bool
	}{
		{n: 100, whole: true}, {n: 99}, {n: 0}, {n: -1, err: unix.EAGAIN}, {n: -1, err: unix.EINTR}, {n: -1, err: unix.EIO},
		{n: -1, err: unix.EOPNOTSUPP, refused: true}, {n: -1, err: unix.ENOSYS, refused: true}, {n: -1, err: unix.EINVAL, refused: true},
	} {
		var a attempts
		n, err := a.judge(c.n, 100, c.err)
		if c.whole && (n != 100 || err != nil) || !c.whole && (n != 0 || err != backstore.ErrWouldBlock) {
			t.Errorf("%d of 100 bytes, %v: judged %d, %v", c.n, c.err, n, err)
		}
		if a.refused.Load() != c.refused {
			t.Errorf("%v: remembered as refused: %v", c.err, a.refused.Load())
		}
	}
}

// Attempts that never succeeded become rare, and one success brings them back.
func TestAttempts_Pointless(t *testing.T) {
	var a attempts
	for i := range hopeless {
		if a.pointless() {
			t.Fatalf("attempt %d is not made", i)
		}
		_, _ = a.judge(-1, 100, unix.EAGAIN)
	}
	made := 0
	for range 100 * oneIn {
		if !a.pointless() {
			made++
			_, _ = a.judge(-1, 100, unix.EAGAIN)
		}
	}
	if made < 50 || made > 200 {
		t.Errorf("%d of %d hopeless attempts are made", made, 100*oneIn)
	}
	for a.pointless() {
	}
	_, _ = a.judge(100, 100, nil)
	for range 10 {
		if a.pointless() {
			t.Fatal("after a success an attempt is not made")
		}
		_, _ = a.judge(-1, 100, unix.EAGAIN)
	}
}
