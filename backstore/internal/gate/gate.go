package gate

import "sync/atomic"

// closing is the bit of users that is set when the gate closes.
const closing = 1 << 62

// A Gate is open until Close. Make it with New.
type Gate struct {
	users atomic.Int64  // who is inside, and the bit closing
	left  chan struct{} // told when the last may have left while the gate closes
}

// New is an open gate.
func New() *Gate { return &Gate{left: make(chan struct{}, 1)} }

// Enter reports whether the gate is open; then Leave has to follow.
func (g *Gate) Enter() bool {
	if g.users.Add(1)&closing != 0 {
		g.Leave()
		return false
	}
	return true
}

// Leave follows a successful Enter.
func (g *Gate) Leave() {
	if g.users.Add(-1) == closing {
		select {
		case g.left <- struct{}{}:
		default: // Close has been told already, and will look again
		}
	}
}

// Close lets nobody enter any more and waits until all have left. It reports
// false, at once, when the gate was closed before.
func (g *Gate) Close() bool {
	for {
		n := g.users.Load()
		if n&closing != 0 {
			return false
		}
		if g.users.CompareAndSwap(n, n|closing) {
			break
		}
	}
	for g.users.Load() != closing {
		<-g.left
	}
	return true
}
