package sbc

import (
	"github.com/isantarget/isantarget/meter"
	"github.com/isantarget/isantarget/scsi"
	"github.com/isantarget/isantarget/scsi/spc"
)

// Bits of the flags byte that the commands of blocks may set. The others are
// refused: the protection fields (RDPROTECT, WRPROTECT, VRPROTECT, ORPROTECT),
// ANCHOR, and what is obsolete.
const (
	flagDPO    = 0x10
	flagFUA    = 0x08
	flagBYTCHK = 0x06 // both bits
	flagByte01 = 0x02 // BYTCHK 00b and 01b
	flagIMMED  = 0x02
	flagSyncNV = 0x04
	flagUNMAP  = 0x08
	flagNDOB   = 0x01
)

// Operations is the command table: the rows below, one for each command of
// SBC-3 and those that every device shares.
func (d *Device) Operations() []scsi.Operation {
	unmap := byte(0)
	if d.thin {
		unmap = flagUNMAP
	}
	rows := []scsi.Operation{
		inline(gets(reads("READ (6)", form6, 0x08, 0, d.read))),
		inline(gets(reads("READ (10)", form10, 0x28, flagDPO|flagFUA, d.read))),
		inline(gets(reads("READ (12)", form12, 0xa8, flagDPO|flagFUA, d.read))),
		inline(gets(reads("READ (16)", form16, 0x88, flagDPO|flagFUA, d.read))),
		inline(gets(reads("READ (32)", form32, 0x09, flagDPO|flagFUA, d.read))),
		inline(puts(writes("WRITE (6)", form6, 0x0a, 0, d.write))),
		inline(puts(writes("WRITE (10)", form10, 0x2a, flagDPO|flagFUA, d.write))),
		inline(puts(writes("WRITE (12)", form12, 0xaa, flagDPO|flagFUA, d.write))),
		inline(puts(writes("WRITE (16)", form16, 0x8a, flagDPO|flagFUA, d.write))),
		inline(puts(writes("WRITE (32)", form32, 0x0b, flagDPO|flagFUA, d.write))),
		exclusive(puts(writes("WRITE AND VERIFY (10)", form10, 0x2e, flagDPO|flagByte01, d.writeAndVerify))),
		exclusive(puts(writes("WRITE AND VERIFY (12)", form12, 0xae, flagDPO|flagByte01, d.writeAndVerify))),
		exclusive(puts(writes("WRITE AND VERIFY (16)", form16, 0x8e, flagDPO|flagByte01, d.writeAndVerify))),
		exclusive(puts(writes("WRITE AND VERIFY (32)", form32, 0x0c, flagDPO|flagByte01, d.writeAndVerify))),
		long(reads("VERIFY (10)", form10, 0x2f, flagDPO|flagBYTCHK, d.verify)),
		long(reads("VERIFY (12)", form12, 0xaf, flagDPO|flagBYTCHK, d.verify)),
		long(reads("VERIFY (16)", form16, 0x8f, flagDPO|flagBYTCHK, d.verify)),
		long(reads("VERIFY (32)", form32, 0x0a, flagDPO|flagBYTCHK, d.verify)),
		exclusive(puts(writes("ORWRITE (16)", form16, 0x8b, flagDPO|flagFUA, d.orwrite))),
		toEnd(long(writes("WRITE SAME (10)", form10, 0x41, unmap, d.writeSame)), form10),
		toEnd(long(writes("WRITE SAME (16)", form16, 0x93, unmap|flagNDOB, d.writeSame)), form16),
		toEnd(long(writes("WRITE SAME (32)", form32, 0x0d, unmap|flagNDOB, d.writeSame)), form32),
		toEnd(reads("PRE-FETCH (10)", form10, 0x34, flagIMMED, d.preFetch), form10),
		toEnd(reads("PRE-FETCH (16)", form16, 0x90, flagIMMED, d.preFetch), form16),
		synchronizes("SYNCHRONIZE CACHE (10)", form10, 0x35, flagIMMED|flagSyncNV, d.synchronizeCache),
		synchronizes("SYNCHRONIZE CACHE (16)", form16, 0x91, flagIMMED|flagSyncNV, d.synchronizeCache),
	}
	rows = append(rows, d.compareAndWriteOperation())
	rows = append(rows, d.writeAtomicOperations()...)
	for i := range rows {
		if rows[i].Traits&scsi.Writes != 0 {
			rows[i] = d.changing(rows[i])
		}
	}
	rows = append(rows, d.copies.Operations()...)
	rows = append(rows, d.tokenOperations()...)
	rows = append(rows, d.sanitizeOperations()...)
	shared := spc.Operations()
	if !d.explicitAccess {
		shared = spc.WithoutExplicitAccess(shared)
	}
	rows = append(rows, shared...)
	rows = append(rows, d.otherOperations()...)
	if d.thin {
		rows = append(rows, d.unmapOperation())
	}
	return rows
}

// otherOperations are the commands without a range of blocks in the CDB.
func (d *Device) otherOperations() []scsi.Operation {
	return []scsi.Operation{
		{
			Name: "READ CAPACITY (10)", Opcode: 0x25,
			Usage:    []byte{0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0},
			Timeouts: quick(), Conflict: scsi.Allowed, Access: scsi.InStandby, Traits: scsi.Inline,
			Execute: d.readCapacity10,
		}, {
			Name: "READ CAPACITY (16)", Opcode: 0x9e, ServiceAction: 0x10, HasServiceAction: true,
			Usage:    []byte{0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0},
			Timeouts: quick(), Conflict: scsi.Allowed, Access: scsi.InStandby, Traits: scsi.Inline,
			Execute: d.readCapacity16,
		}, {
			Name: "GET LBA STATUS", Opcode: 0x9e, ServiceAction: 0x12, HasServiceAction: true,
			Usage:    []byte{0x9e, 0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0},
			Timeouts: quick(), Conflict: scsi.ConflictOnWrite,
			Execute: d.getLBAStatus,
		}, {
			Name: "START STOP UNIT", Opcode: 0x1b,
			Usage:    []byte{0x1b, 0x01, 0, 0x0f, 0xf7, 0},
			Timeouts: quick(), Conflict: scsi.ConflictAlways, Harmless: onlyStarts, Traits: scsi.WithoutMedium,
			Execute: d.startStopUnit,
		}, {
			Name: "PREVENT ALLOW MEDIUM REMOVAL", Opcode: 0x1e,
			Usage:    []byte{0x1e, 0, 0, 0, 0x01, 0},
			Timeouts: quick(), Conflict: scsi.ConflictAlways, Harmless: allowsRemoval, Traits: scsi.WithoutMedium | scsi.Inline,
			Execute: d.preventAllowMediumRemoval,
		}, {
			Name: "FORMAT UNIT", Opcode: 0x04,
			Usage:    []byte{0x04, 0x3f, 0, 0, 0, 0},
			Timeouts: scsi.CommandTimeouts{Nominal: 60, Recommended: 24 * 3600},
			Conflict: scsi.ConflictAlways, Order: scsi.Alone, Traits: scsi.Writes | scsi.WithoutMedium,
			Execute: d.formatUnit,
		}, {
			Name: "READ DEFECT DATA (10)", Opcode: 0x37,
			Usage:    []byte{0x37, 0, 0x1f, 0, 0, 0, 0, 0xff, 0xff, 0},
			Timeouts: quick(), Conflict: scsi.ConflictOnWrite, Traits: scsi.Inline,
			Execute: d.readDefectData10,
		}, {
			Name: "READ DEFECT DATA (12)", Opcode: 0xb7,
			Usage:    []byte{0xb7, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0},
			Timeouts: quick(), Conflict: scsi.ConflictOnWrite, Traits: scsi.Inline,
			Execute: d.readDefectData12,
		},
	}
}

// unmapOperation is UNMAP. Its blocks stand in the parameter list, so it stays
// away from every exclusive extent.
func (d *Device) unmapOperation() scsi.Operation {
	return scsi.Operation{
		Name: "UNMAP", Opcode: 0x42,
		Usage:    []byte{0x42, 0, 0, 0, 0, 0, groupNumber, 0xff, 0xff, 0},
		Timeouts: scsi.CommandTimeouts{Nominal: 1, Recommended: 120}, Conflict: scsi.ConflictAlways, Traits: scsi.Writes,
		Extent:  wholeMedium,
		Execute: d.unmap,
	}
}

// blocks is the row of a command that has its blocks in the CDB. For the 32-byte
// form code is the service action, else the operation code.
func blocks(name string, f form, code, flags byte, execute func(*scsi.Command, form) error) scsi.Operation {
	op := scsi.Operation{
		Name: name, Opcode: code, Usage: f.usage(code, flags),
		Timeouts: scsi.CommandTimeouts{Nominal: 1, Recommended: 60},
		Extent:   f.extent,
		Execute:  func(c *scsi.Command) error { return execute(c, f) },
	}
	if f == form32 {
		op.Opcode, op.ServiceAction, op.HasServiceAction = variableLength, uint16(code), true
	}
	return op
}

func reads(name string, f form, code, flags byte, execute func(*scsi.Command, form) error) scsi.Operation {
	op := blocks(name, f, code, flags, execute)
	op.Conflict = scsi.ConflictOnWrite
	return op
}

func writes(name string, f form, code, flags byte, execute func(*scsi.Command, form) error) scsi.Operation {
	op := blocks(name, f, code, flags, execute)
	op.Conflict, op.Traits = scsi.ConflictAlways, scsi.Writes
	return op
}

// synchronizes is a row that conflicts like a write, but is no write: a protected
// medium takes it, and it touches no block.
func synchronizes(name string, f form, code, flags byte, execute func(*scsi.Command, form) error) scsi.Operation {
	op := blocks(name, f, code, flags, execute)
	op.Conflict, op.Extent = scsi.ConflictAlways, nil
	op.Timeouts.Recommended = 120
	return op
}

// gets is a row that gets blocks of the medium, puts one that puts blocks there which
// come from the initiator.
func gets(op scsi.Operation) scsi.Operation { op.Direction = meter.Read; return op }
func puts(op scsi.Operation) scsi.Operation { op.Direction = meter.Write; return op }

func inline(op scsi.Operation) scsi.Operation    { op.Traits |= scsi.Inline; return op }
func exclusive(op scsi.Operation) scsi.Operation { op.Order = scsi.ExclusiveExtent; return op }
func long(op scsi.Operation) scsi.Operation      { op.Timeouts.Recommended = 300; return op }

func toEnd(op scsi.Operation, f form) scsi.Operation { op.Extent = f.extentToEnd; return op }

func quick() scsi.CommandTimeouts { return scsi.CommandTimeouts{Nominal: 1, Recommended: 30} }
