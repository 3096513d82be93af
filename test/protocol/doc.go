// Package protocol holds the running daemon to RFC 7143 with an initiator that can
// be wrong on purpose: every key of the login and what comes of it, CHAP both ways,
// discovery, digests, data in every way it may travel, sequence numbers, sessions
// and connections that come back, task management, and all that an initiator must
// not do. It is what iscsi-test-cu never sends.
//
// Each test names the clause that it proves. While it reads, the initiator itself
// holds every PDU of the target to the rules on StatSN, CmdSN, DataSN, R2TSN,
// offsets, bursts, residuals and digests (see internal/initiator), so a test that
// only moves data still proves them.
//
// Where RFC 7143 forbids something to an initiator and leaves it to the target how
// to defend itself, a test accepts each of the ways the RFC gives (a Reject, CHECK
// CONDITION, an end of the connection), and demands what matters: the medium is not
// touched, the daemon serves on, and no other session notices.
package protocol
