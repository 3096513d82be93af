package scsi

import "github.com/isantarget/isantarget/meter"

// maxGathered is how many commands a Gathering keeps, and maxGatheredBytes what their
// data may have: beyond, a call into the kernel costs little beside the copy.
const (
	maxGathered      = 64
	maxGatheredBytes = 256 << 10
)

// A Gatherer is a device server that does the last step of many commands at once.
type Gatherer interface {
	// Together does for each of commands what it was gathered for, and sets its Err
	// to what Execute would have returned. It does not wait. The slice is lent.
	Together(commands []Gathered)
}

// Gathered is a command that waits in a Gathering for its last step.
type Gathered struct {
	Command *Command
	Data    []byte // the memory that Delivery lent
	Offset  int64  // of the medium, bytes
	Err     error
}

// A Gathering keeps commands that have come together over one connection, and whose
// last step costs less for all at once. The port owns it, calls Execute and End on
// one goroutine at a time, and calls End before that goroutine waits for anything, or
// does what may wait for a command. The zero Gathering is empty.
//
// A gathered command stays what it was, enabled: it is in its task set, and whoever
// waits for it there waits for End.
type Gathering struct {
	by       Gatherer
	commands []Gathered
	bytes    int
}

// Gather leaves c, whose data of the medium at off belong into p, to the gathering of
// its port, and returns ErrGathered, which its operation returns; or it returns nil: the
// port gathers nothing, and the operation goes on. by is the device of c.
func (c *Command) Gather(by Gatherer, p []byte, off int64) error {
	g := c.Gathering
	if g == nil || c.MayBlock {
		return nil
	}
	if len(g.commands) > 0 && (g.by != by || len(g.commands) == maxGathered || g.bytes+len(p) > maxGatheredBytes) {
		g.End()
	}
	g.by = by
	g.bytes += len(p)
	g.commands = append(g.commands, Gathered{Command: c, Data: p, Offset: off})
	return ErrGathered
}

// End ends the commands that have been gathered, or has them go on where they may block.
func (g *Gathering) End() {
	if len(g.commands) == 0 {
		return
	}
	commands := g.commands
	g.commands, g.bytes = nil, 0 // what ends may not come back to these
	begun := meter.Now()
	together(g.by, commands)
	ended := meter.Now()
	for i := range commands {
		c, err := commands[i].Command, commands[i].Err
		c.Watch.Lap(meter.Queue, begun)
		commands[i] = Gathered{}
		if err == ErrWouldBlock {
			c.goRun()
			continue
		}
		c.unit.finishAt(c, err, ended)
	}
	g.by, g.commands = nil, commands[:0]
}

// together has by do its step. A panic in it ends the commands, not the daemon.
func together(by Gatherer, commands []Gathered) {
	defer func() {
		if r := recover(); r != nil {
			err := panicked(r)
			for i := range commands {
				commands[i].Err = err
			}
		}
	}()
	by.Together(commands)
}
