package scsi

import "strings"

// A Claim lets work upon a logical unit that is no command of its own there: the
// blocks that a copy manager (SPC-4 5.17) reads or writes on behalf of a nexus,
// or the next piece of what goes on after its command has ended. It stands in the
// task set as a command would, under the rules of the command that it names: its
// reservations and access states, the readiness and write protection of the unit,
// and the blocks that nobody else touches meanwhile. Task management affects it
// like a command of the nexus and waits until it is released.
//
// A claim does not wait for what is dormant, only for those enabled that it
// conflicts with, so a command may claim blocks of its own unit. Who holds one
// claim and wants another takes them in the order of [ClaimBefore], or the two
// could wait for each other for ever.
type Claim struct {
	command Command
	ended   chan struct{} // closed when it has left the task set
}

// Claim waits until n may do what cdb says and nobody else does anything that
// conflicts; with exclusive, anything to its blocks. The caller then does the
// work instead of the row of cdb, asking Aborted between two pieces, and calls
// Release. It returns ErrAborted if done is closed before, or task management
// ends the claim; else an error as a command would end with. Unit attentions stay.
func (lu *LogicalUnit) Claim(n *Nexus, lun LUN, tag Tag, cdb CDB, exclusive bool, done <-chan struct{}) (*Claim, error) {
	cl := &Claim{ended: make(chan struct{})}
	c := &cl.command
	c.Nexus, c.LUN, c.Tag, c.CDB, c.Delivery, c.MayBlock = n, lun, tag, cdb, claimDelivery{cl}, true
	c.unit, c.operation = lu, lu.table.find(cdb)
	if c.operation == nil {
		return nil, IllegalRequest(ASCInvalidCommandOperationCode)
	}
	c.order = c.operation.Order
	if exclusive {
		c.order = ExclusiveExtent
	}
	c.granted = make(chan struct{})
	if started, _ := lu.tasks.enter(c); started {
		close(c.granted)
	}
	select {
	case <-c.granted:
	case <-cl.ended:
		return nil, ErrAborted
	case <-done:
		cl.withdraw()
		return nil, ErrAborted
	}
	select {
	case <-done:
		cl.Release()
		return nil, ErrAborted
	default:
	}
	if c.Aborted() {
		cl.Release()
		return nil, ErrAborted
	}
	if err := lu.admit(c); err != nil {
		cl.Release()
		return nil, err
	}
	return cl, nil
}

// Aborted tells whether task management wants the claim back.
func (cl *Claim) Aborted() bool { return cl.command.Aborted() }

// Release ends the claim. Whoever held it touches the blocks no more.
func (cl *Claim) Release() { cl.command.unit.finish(&cl.command, nil) }

// withdraw is Release of a claim that may be dormant, or ended already.
func (cl *Claim) withdraw() {
	c := &cl.command
	left, was := c.unit.tasks.withdraw(c)
	startAll(left.start)
	if was && left.complete {
		c.complete()
	}
}

// ClaimBefore tells whether a claim of e on unit a comes before one of f on b, in
// the order in which one holder takes claims. Two claims of one holder do not overlap.
func ClaimBefore(a *LogicalUnit, e Extent, b *LogicalUnit, f Extent) bool {
	if a != b {
		return strings.Compare(a.Identity.Serial, b.Identity.Serial) < 0
	}
	return e.LBA < f.LBA
}

// claimDelivery hears when a claim has left the set.
type claimDelivery struct{ claim *Claim }

func (claimDelivery) DataInBuffer(int) ([]byte, error)   { return nil, ErrAborted }
func (claimDelivery) ReceiveDataOut(int) ([]byte, error) { return nil, ErrAborted }
func (claimDelivery) AbortCommand()                      {}
func (d claimDelivery) SendCommandComplete()             { close(d.claim.ended) }
