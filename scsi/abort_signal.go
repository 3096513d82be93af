package scsi

import "sync"

// abortSignal is a channel that closes when a command is aborted. Few commands
// need one, so it is made when it is asked for.
type abortSignal struct {
	once sync.Once
	done chan struct{}
}

func (a *abortSignal) close() { a.once.Do(func() { close(a.done) }) }

// Done is closed when task management aborts c: for an operation that waits for
// something else than its Delivery. See [Command.Aborted].
func (c *Command) Done() <-chan struct{} {
	a := c.signal.Load()
	if a == nil {
		a = &abortSignal{done: make(chan struct{})}
		if !c.signal.CompareAndSwap(nil, a) {
			a = c.signal.Load()
		}
	}
	if c.Aborted() { // it may have been before there was a signal
		a.close()
	}
	return a.done
}

// signalAbort closes the channel of Done. c is marked as aborted.
func (c *Command) signalAbort() {
	if a := c.signal.Load(); a != nil {
		a.close()
	}
}
