package powercut

import (
	"strings"
	"testing"
)

// The ledger finds each way in which a promise can be broken, and nothing else.
func TestLedger(t *testing.T) {
	const size = 512
	for name, c := range map[string]struct {
		do    func(l *Ledger, p []byte)
		wrong string
	}{
		"what was flushed is there": {func(l *Ledger, p []byte) {
			l.Sent(0, 2, 1)
			l.Acknowledged(0, 2, 1, false)
			l.Flushed()
			l.Stamp(p[:2*size], 0, 1)
		}, ""},
		"what was flushed is lost": {func(l *Ledger, p []byte) {
			l.Sent(0, 2, 1)
			l.Acknowledged(0, 2, 1, false)
			l.Flushed()
			l.Stamp(p[:size], 0, 1)
		}, "block 11 holds value 0; promised was 1"},
		"what was not flushed is lost": {func(l *Ledger, p []byte) {
			l.Sent(0, 2, 1)
			l.Acknowledged(0, 2, 1, false)
		}, ""},
		"any of the values since": {func(l *Ledger, p []byte) {
			for v := Value(1); v < 4; v++ {
				l.Sent(0, 1, v)
				l.Acknowledged(0, 1, v, false)
			}
			l.Stamp(p[:size], 0, 2)
		}, ""},
		"a value of before the promise": {func(l *Ledger, p []byte) {
			for v := Value(1); v < 4; v++ {
				l.Sent(0, 1, v)
				l.Acknowledged(0, 1, v, v == 3)
			}
			l.Stamp(p[:size], 0, 2)
		}, "holds value 2; promised was 3"},
		"what was never acknowledged may be there": {func(l *Ledger, p []byte) {
			l.Sent(0, 1, 1)
			l.Flushed()
			l.Stamp(p[:size], 0, 1)
		}, ""},
		"what was never acknowledged need not be there": {func(l *Ledger, p []byte) {
			l.Sent(0, 1, 1)
			l.Flushed()
		}, ""},
		"a mixture": {func(l *Ledger, p []byte) {
			l.Sent(0, 1, 1)
			l.Stamp(p[:size/2], 0, 1)
		}, "block 10 is a mixture"},
		"another block's data": {func(l *Ledger, p []byte) {
			l.Sent(0, 2, 1)
			l.Stamp(p[:size], 1, 1)
		}, "holds what was written to block 11"},
		"the same in many blocks": {func(l *Ledger, p []byte) {
			l.Sent(0, 2, 1)
			l.Acknowledged(0, 2, 1, true)
			l.StampSame(p[:size], 1)
			l.StampSame(p[size:2*size], 1)
		}, ""},
	} {
		l := NewLedger(10, 4, size)
		p := make([]byte, 4*size)
		c.do(l, p)
		wrong := strings.Join(l.Verify(p), "; ")
		if c.wrong == "" && wrong != "" || !strings.Contains(wrong, c.wrong) {
			t.Errorf("%s: %q, want %q", name, wrong, c.wrong)
		}
	}
	l := NewLedger(0, 1, size)
	l.Every = true
	l.Sent(0, 1, 1)
	l.Acknowledged(0, 1, 1, false)
	if wrong := l.Verify(make([]byte, size)); len(wrong) != 1 {
		t.Errorf("an acknowledged write is lost where every one counts: %q", wrong)
	}
}
