package doctor

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/isantarget/isantarget/scsi"
)

func offloadChecks() []Check {
	return []Check{
		{
			ID: "ats", For: []Consumer{VMware}, scope: ofUnit, needs: writing, run: checkCompareAndWrite,
			Title:  "COMPARE AND WRITE writes what compares equal, and changes nothing else, telling where it differs",
			Breaks: "VMFS locks by it: two hosts hold one lock, and the datastore is destroyed",
			Remedy: "switch ATS off on the hosts (VMFS3.HardwareAcceleratedLocking = 0), and update the target",
		}, {
			ID: "ats-atomic", For: []Consumer{VMware}, scope: ofUnit, needs: writing, run: checkCompareAndWriteAtomic,
			Title:  "two hosts that count up by COMPARE AND WRITE lose no step",
			Breaks: "VMFS locks by it: two hosts hold one lock, and the datastore is destroyed",
			Remedy: "switch ATS off on the hosts (VMFS3.HardwareAcceleratedLocking = 0), and update the target",
		}, {
			ID: "write-same", For: []Consumer{VMware}, scope: ofUnit, needs: writing, run: checkWriteSame,
			Title:  "WRITE SAME (16) writes its block everywhere, zeros too",
			Breaks: "disks that VMware has zeroed hold what was there before: data of others",
			Remedy: "switch it off on the hosts (DataMover.HardwareAcceleratedInit = 0), and update the target",
		}, {
			ID: "xcopy", For: []Consumer{VMware}, scope: ofUnit, needs: writing, run: checkExtendedCopy,
			Title:  "EXTENDED COPY copies",
			Breaks: "clones and Storage vMotion go over the network; with one that lies the clone is garbage",
			Remedy: "switch it off on the hosts (DataMover.HardwareAcceleratedMove = 0) if it lies; else nothing",
		}, {
			ID: "unmap", For: []Consumer{VMware, Everybody}, scope: ofUnit, needs: writing, run: checkUnmap,
			Title:  "UNMAP of 1 MiB has an effect: the blocks are unmapped, and read as zeros where that is promised",
			Breaks: "deleted files never give their space back, and a thin store fills up; or hosts read old data as zeros",
			Remedy: "see what lies below the LUN: a file system without holes, fixed space; update the target",
		},
	}
}

// compareAndWrite is SBC-3 5.3: old and data have one block.
func (n *nexus) compareAndWrite(lba uint64, old, data []byte) error {
	cdb := blockCDB(0x89, 0, lba, 0)
	cdb[10], cdb[13] = 0, 1
	_, err := n.run("COMPARE AND WRITE", cdb, slices.Concat(old, data), 0)
	return err
}

func checkCompareAndWrite(x *examination) (string, error) {
	s, err := x.scratch()
	if err != nil {
		return "", err
	}
	first, second := pattern(s.size, 5), pattern(s.size, 6)
	if err := x.a.write(s.lba, first); err != nil {
		return "", err
	}
	if err := x.a.compareAndWrite(s.lba, first, second); err != nil {
		return "", err
	}
	if err := x.b.holds("COMPARE AND WRITE of what is there", s.lba, second); err != nil {
		return "", err
	}
	other := slices.Clone(second)
	other[17] ^= 1
	err = x.a.compareAndWrite(s.lba, other, first)
	var c *condition
	switch {
	case err == nil:
		return "", errors.New("COMPARE AND WRITE of something else than is there ends with GOOD")
	case !hasCode(err, scsi.KeyMiscompare, scsi.ASCMiscompareDuringVerifyOperation):
		return "", err
	case errors.As(err, &c) && len(c.sense) >= 7 && c.sense[0]&0x7f == 0x70 && c.sense[0]&0x80 != 0 && uint32At(c.sense, 3) != 17:
		return "", fmt.Errorf("the sense data say that byte %d differs, byte 17 does", uint32At(c.sense, 3))
	}
	return "", x.b.holds("COMPARE AND WRITE of something else than is there", s.lba, second)
}

// counted is how far each of two hosts counts.
const counted = 40

func checkCompareAndWriteAtomic(x *examination) (string, error) {
	s, err := x.scratch()
	if err != nil {
		return "", err
	}
	if err := x.a.write(s.lba, make([]byte, s.size)); err != nil {
		return "", err
	}
	if _, err := x.b.hear(); err != nil {
		return "", err
	}
	outcome := make(chan error, 2)
	count := func(n *nexus) error {
		for range counted {
			if err := n.countUp(s); err != nil {
				return err
			}
		}
		return nil
	}
	go func() { outcome <- count(x.a) }()
	go func() { outcome <- count(x.b) }()
	if err := errors.Join(<-outcome, <-outcome); err != nil {
		return "", err
	}
	p, err := x.a.read(s.lba, 1)
	if err != nil {
		return "", err
	}
	if got := binary.BigEndian.Uint64(p); got != 2*counted {
		return "", fmt.Errorf("%d steps of two hosts succeeded, and the block says %d", 2*counted, got)
	}
	return fmt.Sprintf("%d steps of two hosts", 2*counted), nil
}

// countUp adds one to the number in a block, however often the other host is faster.
func (n *nexus) countUp(s *scratch) error {
	for range 10000 {
		old, err := n.read(s.lba, 1)
		if err != nil {
			return err
		}
		next := slices.Clone(old)
		binary.BigEndian.PutUint64(next, binary.BigEndian.Uint64(old)+1)
		err = n.compareAndWrite(s.lba, old, next)
		if !hasCode(err, scsi.KeyMiscompare, scsi.ASCMiscompareDuringVerifyOperation) {
			return err
		}
	}
	return errors.New("COMPARE AND WRITE finds a difference for ever")
}

func checkWriteSame(x *examination) (string, error) {
	s, err := x.scratch()
	if err != nil {
		return "", err
	}
	const blocks = 64
	frame := pattern((blocks+2)*s.size, 7)
	for _, one := range [][]byte{pattern(s.size, 8), make([]byte, s.size)} {
		if err := x.a.write(s.lba, frame); err != nil {
			return "", err
		}
		if _, err := x.a.run("WRITE SAME (16)", blockCDB(0x93, 0, s.lba+1, blocks), one, 0); err != nil {
			return "", err
		}
		want := slices.Clone(frame)
		copy(want[s.size:], bytes.Repeat(one, blocks))
		if err := x.b.holds("WRITE SAME (16)", s.lba, want); err != nil {
			return "", err
		}
	}
	return "", nil
}

// copyList is a parameter list of EXTENDED COPY (LID1) that copies blocks within the unit
// that d names (SPC-4 6.4).
func copyList(d designator, size, blocks int, from, to uint64) []byte {
	list := make([]byte, 16+32+28)
	list[1] = 0x18 // LIST ID USAGE 11b: no list is kept
	binary.BigEndian.PutUint16(list[2:], 32)
	binary.BigEndian.PutUint32(list[8:], 28)
	target := list[16:48]
	target[0] = 0xe4 // identification descriptor
	target[4], target[5], target[7] = d.codeSet, d.kind, byte(len(d.id))
	copy(target[8:28], d.id)
	target[29], target[30], target[31] = byte(size>>16), byte(size>>8), byte(size)
	segment := list[48:]
	segment[0] = 0x02 // block to block
	segment[3] = 0x18
	binary.BigEndian.PutUint16(segment[10:], uint16(blocks))
	putUint64(segment[12:], from)
	putUint64(segment[20:], to)
	return list
}

func checkExtendedCopy(x *examination) (string, error) {
	s, err := x.scratch()
	if err != nil {
		return "", err
	}
	page, err := x.inquiry(0x83)
	if err != nil {
		return "", err
	}
	d, err := binaryName(page)
	if err != nil {
		return "", err
	}
	if d.id == nil {
		return "", errors.New("the unit has no NAA or EUI-64 name by which to copy")
	}
	const blocks = 64
	data := pattern(blocks*s.size, 9)
	if err := x.a.write(s.lba, data); err != nil {
		return "", err
	}
	if err := x.a.write(s.second(), pattern(blocks*s.size, 10)); err != nil {
		return "", err
	}
	list := copyList(d, s.size, blocks, s.lba, s.second())
	cdb := []byte{0x83, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, byte(len(list)), 0, 0}
	if _, err := x.a.run("EXTENDED COPY", cdb, list, 0); err != nil {
		return "", err
	}
	return "", x.b.holds("EXTENDED COPY", s.second(), data)
}

// mapped asks by GET LBA STATUS how many of the blocks from lba on are mapped (SBC-3 5.4).
func (x *examination) mapped(lba uint64, blocks int) (int, error) {
	end, n := lba+uint64(blocks), 0
	for range blocks {
		cdb := blockCDB(0x9e, 0x12, lba, 1024)
		data, err := x.a.run("GET LBA STATUS", cdb, nil, 1024)
		if err != nil {
			return 0, err
		}
		at := lba
		for p := data[min(8, len(data)):]; len(p) >= 16 && at < end; p = p[16:] {
			start, count := uint64At(p, 0), uint64(uint32At(p, 8))
			if start > at || start+count <= at {
				return 0, fmt.Errorf("GET LBA STATUS: asked from block %d on it tells of %d blocks at %d", at, count, start)
			}
			until := min(start+count, end)
			if p[12]&0xf == 0 {
				n += int(until - at)
			}
			at = until
		}
		if at >= end {
			return n, nil
		}
		if at == lba {
			return 0, errors.New("GET LBA STATUS tells of no block")
		}
		lba = at
	}
	return n, nil
}

func checkUnmap(x *examination) (string, error) {
	s, err := x.scratch()
	if err != nil {
		return "", err
	}
	c := x.blocks
	if !c.thin {
		return "", notChecked("the unit is not thin")
	}
	for at := 0; at < pieceBytes; at += transferBytes {
		if err := x.a.write(s.lba+uint64(at/s.size), pattern(transferBytes, 11)); err != nil {
			return "", err
		}
	}
	before, mapErr := x.mapped(s.lba, s.blocks)
	if mapErr != nil && !answered(mapErr) {
		return "", mapErr
	}
	if err := x.unmap(s.lba, s.blocks); err != nil {
		return "", err
	}
	if c.zeroes {
		for at := 0; at < pieceBytes; at += transferBytes {
			if err := x.b.holds("unmapped blocks read as zeros (LBPRZ)", s.lba+uint64(at/s.size), make([]byte, transferBytes)); err != nil {
				return "", err
			}
		}
	}
	if mapErr != nil {
		if !c.zeroes {
			return "", notChecked("neither LBPRZ nor GET LBA STATUS shows what UNMAP did")
		}
		return "it reads as zeros; there is no GET LBA STATUS", nil
	}
	after, err := x.mapped(s.lba, s.blocks)
	if err != nil {
		return "", err
	}
	if after >= before || before == 0 {
		return "", fmt.Errorf("of %d blocks %d were mapped before UNMAP, and %d are after it", s.blocks, before, after)
	}
	return fmt.Sprintf("%d of %d blocks were unmapped", before-after, s.blocks), nil
}
