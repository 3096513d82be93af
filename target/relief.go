package target

import (
	"errors"
	"sync/atomic"
	"time"
)

// The reader runs commands itself where that is quick: a read from the page
// cache cannot wait, and a write into it hardly ever does. When one does wait —
// the kernel throttles writers, a disk hangs — the reader's work must go on: its
// connection has other commands, NOP-Outs and task management to hear. So before
// it does what may wait, the command, which is in its task set by then, says so
// (Linger), and a watch over all connections starts a new reader for one that
// has been at the same command for two looks. The old one finishes its command
// and ends.
//
// This costs a write two atomic operations, where a goroutine for each would
// cost it two switches.

// errRelieved ends a reader whose place another one has taken.
var errRelieved = errors.New("target: relieved by another reader")

// reliefInterval is how often the watch looks. A command that waits holds up its
// connection for at most twice as long.
const reliefInterval = 2 * time.Millisecond

// idleLooks is how many looks without a command at work end the watch.
const idleLooks = 25

// A post is a reader's place at its connection. The upper half of at counts the
// readers that have held it, the lower half is the number of the command that
// lingers; 0: none. One word, so that a reader loses its place in the middle of
// a command or keeps it, and both sides know which.
type post struct {
	at   atomic.Uint64
	seen uint64 // at, at the last look of the watch
	last uint32 // number given last; the reader's own
}

// held is what the reader remembers while it delivers a command.
func (p *post) held() uint64 { return p.at.Load() }

// linger says that the reader is at a command that may wait.
func (p *post) linger() {
	p.last = max(p.last+1, 1)
	p.at.Store(p.at.Load() | uint64(p.last))
}

// end is called when the command has been delivered, with what held gave.
// errRelieved: the place is lost, and nothing of the connection is the caller's.
func (p *post) end(held uint64) error {
	if at := p.at.Load(); at == held || at>>32 == held>>32 && p.at.CompareAndSwap(at, held) {
		return nil
	}
	return errRelieved
}

// overdue takes the place of a reader that has been at one command since the
// last look.
func (p *post) overdue() (took, lingers bool) {
	at := p.at.Load()
	lingers = uint32(at) != 0
	if !lingers || at != p.seen {
		p.seen = at
		return false, lingers
	}
	return p.at.CompareAndSwap(at, (at>>32+1)<<32), true
}

// beginLinger is scsi.Command.Linger. In a session of several connections the
// reader of another one may have delivered the command; it cannot be relieved.
func (t *task) beginLinger() bool {
	if t.session.parameters.maxConnections > 1 {
		return false
	}
	t.connection.post.linger()
	t.connection.entity.wake()
	return true
}

// A watch looks at the readers of all connections while any is at work.
type watch struct {
	running atomic.Bool
}

// wake starts the watch if it has gone to sleep.
func (e *Entity) wake() {
	if e.watch.running.Load() || !e.watch.running.CompareAndSwap(false, true) {
		return
	}
	e.running.Go(e.look)
}

// look is the watch: it ends after a while without work. Who begins a command
// after the last look sees that it does not run.
func (e *Entity) look() {
	ticker := time.NewTicker(reliefInterval)
	defer ticker.Stop()
	for idle := 0; idle < idleLooks; idle++ {
		<-ticker.C
		working, connected := e.relieve()
		if working {
			idle = 0
		}
		if !connected {
			break
		}
	}
	e.watch.running.Store(false)
	if working, _ := e.relieve(); working {
		e.wake()
	}
}

// relieve starts a new reader for each overdue one; it tells whether any was at
// work, and whether there is any.
func (e *Entity) relieve() (working, connected bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	connected = len(e.connections) > 0
	for c := range e.connections {
		took, busy := c.post.overdue()
		working = working || busy
		if took {
			e.running.Go(c.takeOver)
		}
	}
	return working, connected
}

// takeOver is a new reader in the place of one that waits.
func (c *Connection) takeOver() {
	c.session.runEarly()
	c.transmit.flush(false)
	c.run()
}
