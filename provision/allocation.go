package provision

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/isantarget/isantarget/backstore"
)

// MaxCells is how many cells an allocation map can have.
const MaxCells = 2048

const (
	// cellSteps bounds the questions that are asked of the store for one cell of a map,
	// mapBound the time that they take together.
	cellSteps = 128
	mapBound  = 2 * time.Second
)

// An AllocationMap is a coarse picture of what of a LUN is allocated: its bytes are
// divided into cells of equal length, the last of which may be shorter. Shares are percents
// of the bytes of a cell, in the words of SBC-3 4.7.4; 0 is nothing at all, 100 all. What
// neither mapped nor anchored makes up is deallocated.
type AllocationMap struct {
	Size     int64 `json:"size"` // bytes; 0 while there is no medium
	Cell     int64 `json:"cell"` // bytes
	Mapped   []int `json:"mapped"`
	Anchored []int `json:"anchored"` // holds space, but no data
	// Told: the store knows what is allocated. Else all is taken for mapped.
	Told bool `json:"told"`
	// Estimated: some cells lie in so many pieces that only a part of them was looked at.
	Estimated bool `json:"estimated"`
}

// A CellsError refuses a number of cells.
type CellsError struct{ Cells int }

// Error says how many there may be.
func (e *CellsError) Error() string {
	return fmt.Sprintf("a map of %d cells is not made; ask for 1 to %d", e.Cells, MaxCells)
}

// Allocation draws the map of a LUN, of as many cells or, where it has fewer blocks, of
// less. Commands go on meanwhile: nothing of ours is locked, and each question that the
// file system is asked is a short one. The work is bounded, whatever pieces the image lies in.
func (p *Provisioner) Allocation(ctx context.Context, lun string, cells int) (AllocationMap, error) {
	if cells < 1 || cells > MaxCells {
		return AllocationMap{}, &CellsError{cells}
	}
	_, u, err := p.servedUnit(lun)
	if err != nil {
		return AllocationMap{}, err
	}
	if u.medium == nil {
		return AllocationMap{Mapped: []int{}, Anchored: []int{}}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, mapBound)
	defer cancel()
	block := int64(max(u.config.BlockSize, 1))
	m, err := allocation(ctx, u.medium, block, cells)
	if errors.Is(err, backstore.ErrGone) { // it is being closed, or has just gone
		return AllocationMap{Mapped: []int{}, Anchored: []int{}}, nil
	}
	if err != nil {
		return AllocationMap{}, fmt.Errorf("the store of LUN %q does not tell what is allocated: %w", lun, err)
	}
	return m, nil
}

func allocation(ctx context.Context, medium *backstore.Medium, block int64, cells int) (AllocationMap, error) {
	size := medium.Geometry().Size
	m := AllocationMap{Size: size, Mapped: []int{}, Anchored: []int{}, Told: medium.Features().Has(backstore.CanMap)}
	if size == 0 {
		return m, nil
	}
	blocks := (size + block - 1) / block
	m.Cell = (blocks + int64(cells) - 1) / int64(cells) * block
	var e backstore.Extent // the last one that the store told of
	for off := int64(0); off < size; off += m.Cell {
		c := cell{from: off, to: min(off+m.Cell, size)}
		if err := c.look(ctx, medium, &e); err != nil {
			return m, err
		}
		m.Mapped = append(m.Mapped, c.share(backstore.Mapped))
		m.Anchored = append(m.Anchored, c.share(backstore.Anchored))
		m.Estimated = m.Estimated || c.seen < c.to-c.from
	}
	return m, nil
}

// A cell is a range of a medium, and how much of it was seen to be in which state.
type cell struct {
	from, to int64
	seen     int64
	states   [3]int64 // by backstore.ExtentState
}

// look asks for the extents of c, from the one that was found last. Where they are very
// many, or there is no time left, it has seen only a part of the cell, the beginning at
// least.
func (c *cell) look(ctx context.Context, medium *backstore.Medium, e *backstore.Extent) error {
	for at, steps := c.from, 0; at < c.to; {
		if at < e.Offset || at >= e.End() {
			if steps > 0 && (steps >= cellSteps || ctx.Err() != nil) {
				return nil
			}
			steps++
			// As far as the next cells: a long hole is asked for once.
			length := min(medium.Geometry().Size, c.to+15*(c.to-c.from)) - at
			if length <= 0 {
				return nil // it has become smaller
			}
			next, err := medium.ExtentAt(at, length)
			if err != nil {
				return err
			}
			*e = next
		}
		n := min(e.End(), c.to) - at
		c.states[e.State%3] += n
		c.seen += n
		at += n
	}
	return nil
}

// share is the part of c in a state, in percent of what was seen.
func (c *cell) share(s backstore.ExtentState) int {
	switch n := c.states[s]; {
	case n == 0 || c.seen == 0:
		return 0
	case n == c.seen:
		return 100
	default:
		return min(max(int(float64(n)/float64(c.seen)*100+0.5), 1), 99)
	}
}
