// Package target is the iSCSI target port (RFC 7143): it accepts connections,
// logs initiators in, carries SCSI commands to logical units and their data
// and status back.
//
// An [Entity] has portal groups and nodes. A portal accepts a Connection; its
// login finds the node, proves the initiator, negotiates, and makes a Session
// or joins one. A session is an I_T nexus: it counts CmdSN and gives commands to
// the logical units of package scsi in that order. A connection counts StatSN.
//
// One goroutine reads a connection. It parses a PDU, takes a task slot, reads
// immediate data straight into the task's buffer and hands the command to its
// logical unit; a command that need not wait is answered on the spot. Answers
// collect in the connection's transmit queue and leave in one writev when the
// reader has nothing more to read; a command that had to wait is answered by
// its own goroutine, which becomes the writer if there is none. READ and WRITE
// allocate nothing.
//
// Nothing a peer does may hurt another: every wait has a bound or ends with the
// connection, and every byte of buffer memory is booked on an account with a
// limit (see memory). Error recovery is level 0: a broken connection ends its
// session, and the initiator logs in again.
//
// Nodes, their rules and LUN maps, portals and portal groups may change while
// sessions run: see [Node.Configure]. A session finds its logical units through a
// map that is replaced whole; a command that was routed by the old map is taken back
// before the change is done.
//
// Locks, in the order they may be taken: Entity.mu, Node.configuring,
// Session.mapping, Node.mu, Session.ordering, Session.mu, dataOut.mu,
// transmitQueue.mu. None is held over I/O but Session.ordering and Session.mapping,
// which are a session's own.
package target
