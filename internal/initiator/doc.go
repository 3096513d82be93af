// Package initiator is a small iSCSI initiator for whoever judges a target: the tests,
// and package doctor. It speaks RFC 7143 well enough to move data with every combination
// of keys, and it can be wrong on purpose: sequence numbers, tags, lengths, digests,
// order, silence.
//
// # How a test reads
//
// Nothing runs in the background. A Connection sends when a test says so, and reads
// only while a test waits for something; a test is the script of a conversation, and
// the peer is silent exactly when the script is. Each wait has a deadline, so no
// test hangs.
//
//	c, err := initiator.Dial(addr, initiator.Options{})
//	err = c.Login(initiator.Login{InitiatorName: name, TargetName: target})
//	first, err := c.Start(initiator.Command{CDB: read, Read: 4096})  // sent, not waited for
//	second, err := c.Start(initiator.Command{CDB: write, Write: data})
//	result, err := second.Wait()                                     // reads what comes until second ends
//
// # Being wrong
//
// Every request passes an Edit function on its way out, if there is one: it may
// change the header, the AHS and the data, and it returns the Faults with which the
// PDU leaves. Below that stand Send and SendBytes, which keep no account of anything.
//
// # Judging the target
//
// While it reads, a Connection holds the target to what RFC 7143 demands of every
// PDU: StatSN (4.2.2.2), ExpCmdSN and MaxCmdSN (4.2.2.1), DataSN, R2TSN, offsets,
// bursts and segment lengths (11.7, 11.8), ExpDataSN (11.4.8), both digests. What
// breaks a rule comes back as a *Violation that names the clause, or is noted and
// forgiven (Options.Forgive).
package initiator
