// Package iscsi is the iSCSI protocol of RFC 7143 as data: PDUs, keys, names and
// numbers, without I/O and without state. A target and an initiator both speak it.
//
// # PDUs
//
// An iSCSI PDU is up to five pieces: a basic header segment of 48 bytes (BHS),
// additional header segments (AHS, at most 1020 bytes), a header digest, a data
// segment padded to four bytes, and a data digest. The low six bits of the first
// byte are the opcode. Requests go from the initiator to the target and have
// opcodes below 20h, responses have opcodes from 20h on. All numbers are big
// endian; the digests alone are not (see Digest).
//
// Each PDU has a struct in a file of its own, its fields in the order of the wire,
// with two methods. Unmarshal reads it from a BHS: it allocates nothing when it
// succeeds, ignores reserved bits as RFC 7143 clause 11 demands, and refuses what
// cannot be meant with a *FieldError that names the field and the clause. Marshal
// writes all 48 bytes, so TotalAHSLength and DataSegmentLength are zero after it:
// set them afterwards.
//
//	var h iscsi.BHS
//	(&iscsi.NopIn{InitiatorTaskTag: tag, TargetTransferTag: iscsi.ReservedTag, StatSN: sn}).Marshal(&h)
//	h.SetDataSegmentLength(len(ping))
//
// # Sequence numbers
//
// CmdSN counts the commands of a session, StatSN the responses of a connection,
// DataSN and R2TSN the pieces of one task. All wrap at 2**32 and are compared by
// serial number arithmetic (SerialNumber, RFC 1982), never by "<".
//
// # Text
//
// Login and Text PDUs carry key=value pairs (KeyValue), each ended by a NUL. Most
// keys are negotiated: one side offers, the other answers, and the rule of the key
// says what the result is. LookupKey gives all that is known of a key.
//
// # Clauses
//
// RFC 7143 4.2.2 (numbers), 4.2.7 (names), 6 (text), 11 (PDUs), 12 (authentication
// keys), 13 (operational keys); RFC 7144 (task management of SAM-5); RFC 3720
// appendix B.4 (digest examples).
package iscsi
