package target

import (
	"math/bits"
	"sync/atomic"
)

// A commandWindow is the CmdSN account of a session (RFC 7143 4.2.2.1): which
// command is due next (ExpCmdSN), how far the initiator may go (MaxCmdSN), and
// what came before its turn over another connection. The session's lock guards
// it; the two numbers are read without it for the headers of what is sent.
//
// MaxCmdSN is ExpCmdSN-1 at login, plus size, plus one for each command that
// has been answered: so never more than size commands are open, and the number
// never goes back.
type commandWindow struct {
	exp  atomic.Uint32
	max  atomic.Uint32
	size uint32
	// early holds what arrived ahead of its turn, see slot. A slot with a nil deliver
	// is a number that task management has skipped.
	early []earlyCommand
	ahead int // early slots in use
}

type earlyCommand struct {
	set     bool
	deliver func()
}

// start opens the window at the CmdSN of the first login request.
func (w *commandWindow) start(cmdSN uint32, size int) {
	w.size = uint32(size)
	w.exp.Store(cmdSN)
	w.max.Store(cmdSN + w.size - 1)
}

// A placement is what the window says of a CmdSN that arrived.
type placement int

const (
	inOrder placement = iota // it is the one that was due, and is taken
	early                    // it must wait for others: hold it
	outside                  // a duplicate, or beyond the window: ignore it silently
)

// place takes the command with the number sn if it is due.
func (w *commandWindow) place(sn uint32) placement {
	switch exp := w.exp.Load(); {
	case !w.contains(sn):
		return outside
	case sn == exp:
		w.exp.Store(exp + 1)
		return inOrder
	}
	return early
}

// hold keeps deliver until the number sn, which place called early, is due.
func (w *commandWindow) hold(sn uint32, deliver func()) {
	if w.early == nil {
		w.early = make([]earlyCommand, 1<<bits.Len32(w.size-1))
	}
	*w.slot(sn) = earlyCommand{set: true, deliver: deliver}
	w.ahead++
}

// slot is the place of the number sn in early, whose length is a power of two: only
// then do the numbers of a window have a place each while they wrap around.
func (w *commandWindow) slot(sn uint32) *earlyCommand {
	return &w.early[sn&uint32(len(w.early)-1)]
}

// next takes the early command that has become due, if there is one.
func (w *commandWindow) next() (deliver func(), ok bool) {
	if w.ahead == 0 {
		return nil, false
	}
	exp := w.exp.Load()
	slot := w.slot(exp)
	if !slot.set {
		return nil, false
	}
	deliver = slot.deliver
	*slot = earlyCommand{}
	w.ahead--
	w.exp.Store(exp + 1)
	return deliver, true
}

// open lets the initiator send one command more.
func (w *commandWindow) open() { w.max.Add(1) }

// contains tells whether sn may come now: neither received already nor beyond
// MaxCmdSN.
func (w *commandWindow) contains(sn uint32) bool {
	exp := w.exp.Load()
	ahead := sn - exp
	if ahead >= w.size || ahead > w.max.Load()-exp || w.max.Load()+1 == exp {
		return false
	}
	return w.early == nil || !w.slot(sn).set
}

// recall takes the early command with the number sn out, so that its number is
// skipped when it is due. It tells whether the command still waited.
func (w *commandWindow) recall(sn uint32) bool {
	if ahead := sn - w.exp.Load(); w.early == nil || ahead == 0 || ahead >= w.size {
		return false
	}
	slot := w.slot(sn)
	waited := slot.set && slot.deliver != nil
	slot.deliver = nil
	return waited
}

// skip treats the number ref, of a command that has not arrived, as received:
// task management aborts it before it comes (RFC 7143 11.6.1). It tells whether
// ref lies in the window and before the function's own number.
func (w *commandWindow) skip(ref, function uint32) bool {
	if !w.contains(ref) || function-ref == 0 || function-ref >= 1<<31 {
		return false
	}
	w.hold(ref, nil)
	return true
}
