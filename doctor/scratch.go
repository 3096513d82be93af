package doctor

import (
	"bytes"
	"cmp"
	"fmt"
)

const (
	// pieceBytes is what one part of the area has that checks write to: what VMware
	// unmaps at once.
	pieceBytes = 1 << 20
	// transferBytes is what is read and written at once to save and restore it.
	transferBytes = 64 << 10
)

// A scratch is the area of a unit that checks write to: two pieces near its end, with what
// was in them before.
type scratch struct {
	lba      uint64 // of the first piece
	blocks   int    // of a piece
	size     int    // of a block
	original []byte // of both pieces
}

// second is the address of the second piece.
func (s *scratch) second() uint64 { return s.lba + uint64(s.blocks) }

// scratch saves the area and sees to it that it is restored. The first piece is left as it
// was before by whichever check wrote to it last: nobody relies on its content.
func (x *examination) scratch() (*scratch, error) {
	if x.area != nil {
		return x.area, nil
	}
	c, err := x.capacity()
	if err != nil {
		return nil, err
	}
	if protected, err := x.writeProtected(); err != nil || protected {
		return nil, cmp.Or(err, notChecked("the unit is write protected"))
	}
	if err := x.unreserved(); err != nil {
		return nil, err
	}
	s := &scratch{blocks: pieceBytes / c.size, size: c.size}
	if pieceBytes%c.size != 0 {
		return nil, notChecked("blocks of %d bytes are not written to", c.size)
	}
	if c.blocks < uint64(4*s.blocks) {
		return nil, notChecked("the unit has less than 4 MiB")
	}
	s.lba = (c.blocks/uint64(s.blocks) - 3) * uint64(s.blocks)
	if s.original, err = x.content(s); err != nil {
		return nil, fmt.Errorf("saving the blocks to write to: %w", err)
	}
	x.area = s
	x.undo = append(x.undo, func() error { return x.putBack(s) })
	return s, nil
}

// content reads the whole area.
func (x *examination) content(s *scratch) (all []byte, err error) {
	step := transferBytes / s.size
	for at := 0; at < 2*s.blocks; at += step {
		p, err := x.a.read(s.lba+uint64(at), min(step, 2*s.blocks-at))
		if err != nil {
			return nil, err
		}
		all = append(all, p...)
	}
	return all, nil
}

// putBack restores the area, and looks whether that is what is there now. What was nothing
// but zeros before is unmapped, where that reads as zeros too: a hole stays a hole.
func (x *examination) putBack(s *scratch) error {
	if err := x.rewrite(s); err != nil {
		return fmt.Errorf("the content of blocks %d to %d could not be put back: %w", s.lba, s.lba+uint64(2*s.blocks)-1, err)
	}
	_, err := x.a.run("SYNCHRONIZE CACHE", []byte{0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0}, nil, 0)
	if err != nil && !unsupported(err) {
		return err
	}
	return nil
}

func (x *examination) rewrite(s *scratch) error {
	step := transferBytes / s.size * s.size
	for piece := range 2 {
		lba, was := s.lba+uint64(piece*s.blocks), s.original[piece*pieceBytes:][:pieceBytes]
		if x.blocks.thin && bytes.Equal(was, make([]byte, pieceBytes)) {
			_ = x.unmap(lba, s.blocks) // what it does not do is written below
		}
		for at := 0; at < pieceBytes; at += step {
			want := was[at:min(at+step, pieceBytes)]
			at := lba + uint64(at/s.size)
			if x.a.holds("restored", at, want) == nil {
				continue
			}
			if err := x.a.write(at, want); err != nil {
				return err
			}
			if err := x.a.holds("restored", at, want); err != nil {
				return err
			}
		}
	}
	return nil
}

// unmap gives blocks back (SBC-3 5.28).
func (x *examination) unmap(lba uint64, blocks int) error {
	list := make([]byte, 24)
	list[1], list[3] = 22, 16
	putUint64(list[8:], lba)
	putUint32(list[16:], uint32(blocks))
	_, err := x.a.run("UNMAP", []byte{0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0}, list, 0)
	return err
}

// writeProtected is the WP bit of MODE SENSE (SBC-3 6.4.1).
func (x *examination) writeProtected() (bool, error) {
	data, err := x.a.run("MODE SENSE (6)", []byte{0x1a, 0x08, 0x3f, 0, 252, 0}, nil, 252)
	if answered(err) {
		return false, nil // it does not say; a write will
	}
	return byteAt(data, 2)&0x80 != 0, err
}
