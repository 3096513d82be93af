// Package sbc is the direct access block device of SBC-3: a disk.
//
// # The domain
//
// SBC-3 sees a disk as a row of logical blocks of one length, each with a
// logical block address (LBA). A command descriptor block names the first LBA
// and how many; the rest of the standard says what else holds:
//
//   - Reading and writing: READ, WRITE, WRITE AND VERIFY, VERIFY, ORWRITE
//     (5.5 to 5.45), with sense data that name the exact block of an error (4.18).
//   - Caching (4.15): a write may be answered while only the volatile cache has
//     it (WCE=1), unless FUA asks for more; SYNCHRONIZE CACHE brings all of it to
//     the medium. PRE-FETCH warms the cache.
//   - Logical block provisioning (4.7): on a thin disk, UNMAP and WRITE SAME with
//     the UNMAP bit give space back, and GET LBA STATUS tells what is held.
//   - Removable medium and readiness: START STOP UNIT, PREVENT ALLOW MEDIUM REMOVAL.
//   - Third-party copies: ROD tokens (4.29; POPULATE TOKEN, WRITE USING TOKEN), and what
//     EXTENDED COPY of SPC-4 does with blocks.
//   - SANITIZE (4.11): all that was ever on the medium is destroyed.
//   - Capacity and limits: READ CAPACITY, VPD pages B0h, B1h and B2h, the caching
//     mode page.
//
// # The parts
//
// A [Device] is the device server. Its table of operations (table.go) holds a
// row for each command; the commands stand in a file for each family, which is
// all that must be added for a new one. The CDBs of one family differ only in
// where they have their fields, which is a blockFields value; so there is one
// READ, not five.
//
// Below it is a [backstore.Medium], which counts bytes and knows no block. Above
// it is a [scsi.LogicalUnit], which has already checked the CDB against its row,
// the reservations, write protection and readiness when it calls Execute.
//
// # What is promised
//
//   - A write that was answered has reached the store; with FUA, or with WCE=0,
//     it is durable. After a SYNCHRONIZE CACHE all writes answered before it are.
//   - A read with FUA returns nothing that a loss of power could take back: it
//     reads, and then makes durable what it may have seen.
//   - No error is swallowed. What fails after its command was answered (IMMED) is
//     told to the same I_T nexus as a deferred error (SPC-4 4.5.7).
//   - READ and WRITE allocate nothing. Every other command works in pieces of
//     bounded size, from a few buffers for the whole unit, and ends between two
//     pieces when it is aborted.
//   - Only whole blocks are written. An initiator that promises less data than
//     the CDB asks for has the whole blocks of it written and the rest reported as
//     residual; a block of which it promises but a part refuses the command, with
//     nothing written. COMPARE AND WRITE and WRITE ATOMIC want all of their data.
//   - Logical blocks that read as zeros because they were unmapped stay so
//     (LBPRZ=1): what cannot be given back is overwritten with zeros.
//
// # Decisions
//
//   - There is no protection information (PROTECT=0, type 0). The 32-byte CDBs
//     are there nevertheless, since nothing but their length is special about
//     them; SBC-3 4.22 has them for type 2 protection only. Their reference and
//     application tag fields are ignored, as they are when nothing is checked.
//   - FUA_NV and RARC are obsolete or not supported and must be zero. SYNC_NV is
//     ignored: the medium is at least as good as a non-volatile cache.
//   - The unit is one that several hosts share and has no spindle. START STOP UNIT
//     with START=0 writes the cache to the medium, but does not stop the unit, for
//     that would take it away from all other hosts. Power conditions are accepted
//     and change nothing.
//   - VERIFY and WRITE AND VERIFY read as READ does. Where the store has a cache of
//     the operating system the blocks may come from there: what is verified is that
//     the store gives back what it was given, and after WRITE AND VERIFY that the
//     device took it.
//   - PRE-FETCH ends with GOOD, never CONDITION MET: the cache belongs to the
//     operating system, and nobody can promise that all blocks stay in it.
//   - ROD tokens are of the type point in time copy - change vulnerable: a token ends
//     when one of its blocks is written. One is good for any nexus that sees the
//     unit that made it.
//   - SANITIZE OVERWRITE writes over every block, which reaches what held the data
//     before as far as the store writes in place. BLOCK ERASE gives the space back to
//     the file system or device below; what becomes of it there is theirs to say.
//   - The GROUP NUMBER field may have any value; nothing is collected.
package sbc
