package sbc

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/isantarget/isantarget/scsi"
	"github.com/isantarget/isantarget/scsi/spc"
)

// populateRanges is where the range descriptors of POPULATE TOKEN begin.
const populateRanges = 16

// tokenOperations are the rows of POPULATE TOKEN and WRITE USING TOKEN.
func (d *Device) tokenOperations() []scsi.Operation {
	row := func(name string, action byte, execute func(*scsi.Command) error) scsi.Operation {
		return scsi.Operation{
			Name: name, Opcode: 0x83, ServiceAction: uint16(action), HasServiceAction: true,
			Usage:    []byte{0x83, action, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, groupNumber, 0},
			Timeouts: scsi.CommandTimeouts{Nominal: 10, Recommended: 300},
			Execute:  execute,
		}
	}
	populate := row("POPULATE TOKEN", spc.PopulateToken, d.populateToken)
	populate.Conflict = scsi.ConflictOnWrite
	write := row("WRITE USING TOKEN", spc.WriteUsingToken, d.writeUsingToken)
	write.Conflict, write.Traits = scsi.ConflictAlways, scsi.Writes
	return []scsi.Operation{populate, write}
}

// populateToken is POPULATE TOKEN (SBC-3 5.7). It copies nothing, so it is done at
// once, with IMMED or without.
func (d *Device) populateToken(c *scsi.Command) error {
	m, err := d.begin(c)
	if err != nil {
		return err
	}
	p, err := tokenList(c, populateRanges)
	if err != nil || p == nil {
		return err
	}
	timeout, err := populateParameters(p)
	if err != nil {
		return err
	}
	ranges, blocks, err := d.blockRanges(m, p, populateRanges)
	if err != nil {
		return err
	}
	if blocks == 0 {
		return scsi.InvalidFieldInParameterList(populateRanges+8, scsi.WholeByte)
	}
	o, err := d.copies.Begin(c.Nexus, c.CDB.Uint32(6), spc.PopulateToken)
	if err != nil {
		return err
	}
	x, err := d.stillBlocks(c, ranges, timeout)
	if err != nil {
		o.Finish(spc.CopyFailed, err, nil)
		return err
	}
	o.Count(int64(blocks))
	o.Finish(spc.CopyCompleted, nil, x.image[:])
	return nil
}

// populateParameters checks the parameter list before its range descriptors, and
// gives the inactivity timeout.
func populateParameters(p []byte) (time.Duration, error) {
	const rtv = 0x02 // the ROD TYPE field is valid (SBC-4)
	seconds := binary.BigEndian.Uint32(p[4:])
	if seconds > maximumTokenTimeout {
		return 0, scsi.InvalidFieldInParameterList(4, scsi.WholeByte)
	}
	if seconds == 0 {
		seconds = defaultTokenTimeout
	}
	kind := binary.BigEndian.Uint32(p[8:])
	if p[2]&rtv != 0 && kind != 0 && kind != spc.PointInTimeVulnerable && kind != spc.PointInTimeAny {
		return 0, scsi.IllegalRequest(scsi.ASCInvalidTokenOperationUnsupportedTokenType)
	}
	return time.Duration(seconds) * time.Second, nil
}

// stillBlocks makes a token at a moment at which nobody writes to its blocks: a
// write that began before has ended, and one that comes later ends the token.
func (d *Device) stillBlocks(c *scsi.Command, ranges []scsi.Extent, timeout time.Duration) (*token, error) {
	sorted := slices.SortedFunc(slices.Values(ranges), func(a, b scsi.Extent) int {
		if a.LBA < b.LBA {
			return -1
		}
		return 1
	})
	for _, e := range sorted {
		cdb := make([]byte, 16)
		cdb[0] = 0x88
		binary.BigEndian.PutUint64(cdb[2:], e.LBA)
		binary.BigEndian.PutUint32(cdb[10:], uint32(e.Blocks))
		claim, err := c.Unit().Claim(c.Nexus, c.LUN, c.Tag, cdb, true, c.Done())
		if err != nil {
			return nil, ended(c, err)
		}
		defer claim.Release()
	}
	return d.tokens.add(c.Unit(), d.blockSize, ranges, timeout), nil
}

// ended is err of a claim or a copy as c ends with it: what another unit's task
// manager or reservation did is COPY ABORTED.
func ended(c *scsi.Command, err error) error {
	if _, status := err.(scsi.Status); status || err == scsi.ErrAborted && !c.Aborted() {
		return &scsi.Sense{Key: scsi.KeyCopyAborted, Code: scsi.ASCThirdPartyDeviceFailure}
	}
	return err
}
