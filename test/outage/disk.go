package outage

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"sync"
)

// A Disk has a volatile write cache: what was written and not flushed may be lost, each
// unit by itself, whatever was written before or behind it. What is written of a part of
// a unit it reads the rest of, as disks with 512 byte emulation do. It may be used by many goroutines.
type Disk struct {
	file *os.File
	size int64
	unit int64 // bytes that are written whole or not at all

	mu    sync.Mutex
	cache map[int64][][]byte // by offset: what was written to a unit since it was durable, oldest first
	left  int                // writes and flushes until the power goes; 0: it stays
	off   bool
	gone  chan struct{} // closed when it goes
	lies  int           // flushes that it has yet to lie about before told is closed
	told  chan struct{} // nil: the disk does not lie
	// Writes and Flushes count calls, Lost the units that a cut has put back.
	Writes, Flushes, Lost int
	Cuts                  int // that found something to lose
}

var (
	errRange = errors.New("outside the disk")
	errOff   = errors.New("the disk has no power")
)

// NewDisk makes a disk of a file, which holds what is durable.
func NewDisk(f *os.File, unit int64) (*Disk, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return &Disk{file: f, size: info.Size(), unit: unit, cache: map[int64][][]byte{}}, nil
}

// Size is the size in bytes.
func (d *Disk) Size() int64 { return d.size }

// Strike has the power go with the n-th write or flush from now, which may be carried out and is not acknowledged.
// The channel is closed then. The power is back with [Disk.Cut].
func (d *Disk) Strike(n int) <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left, d.gone = n, make(chan struct{})
	return d.gone
}

// Lie has the disk acknowledge flushes and not carry them out, until it is cut. The channel is closed with the n-th.
func (d *Disk) Lie(n int) <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lies, d.told = n, make(chan struct{})
	return d.told
}

// on tells whether there is power, and counts what needs some.
func (d *Disk) on(change bool) bool {
	if d.off {
		return false
	}
	if change && d.left > 0 {
		if d.left--; d.left == 0 {
			d.off = true
			close(d.gone)
		}
	}
	return true
}

func (d *Disk) within(off, length int64) bool {
	return off >= 0 && length >= 0 && off <= d.size-length
}

// ReadAt fills p with what the disk holds at off, as who is connected to it sees it.
func (d *Disk) ReadAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.on(false) {
		return 0, errOff
	}
	if !d.within(off, int64(len(p))) {
		return 0, errRange
	}
	return d.read(p, off)
}

func (d *Disk) read(p []byte, off int64) (int, error) {
	if n, err := d.file.ReadAt(p, off); err != nil && (err != io.EOF || n < len(p)) {
		return n, err
	}
	for at := off &^ (d.unit - 1); at < off+int64(len(p)); at += d.unit {
		if v := d.cache[at]; len(v) > 0 {
			from := max(off-at, 0)
			copy(p[at+from-off:], v[len(v)-1][from:])
		}
	}
	return len(p), nil
}

// WriteAt writes p at off: into the cache, or through it.
func (d *Disk) WriteAt(p []byte, off int64, through bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.on(true) {
		return errOff
	}
	if !d.within(off, int64(len(p))) {
		return errRange
	}
	d.Writes++
	for at := off &^ (d.unit - 1); at < off+int64(len(p)); at += d.unit {
		held := make([]byte, d.unit)
		if at < off || at+d.unit > off+int64(len(p)) {
			if _, err := d.read(held, at); err != nil {
				return err
			}
		}
		from := max(off-at, 0)
		copy(held[from:], p[at+from-off:])
		d.cache[at] = append(d.cache[at], held)
		if through && d.told == nil {
			if err := d.settle(at, held); err != nil {
				return err
			}
		}
	}
	if d.off {
		return errOff
	}
	return nil
}

// settle makes what a unit holds durable.
func (d *Disk) settle(at int64, held []byte) error {
	if _, err := d.file.WriteAt(held, at); err != nil {
		return err
	}
	delete(d.cache, at)
	return nil
}

// Flush makes all durable that was written before.
func (d *Disk) Flush() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.on(true) || d.off {
		return errOff
	}
	d.Flushes++
	if d.told != nil {
		if d.lies--; d.lies == 0 {
			close(d.told)
		}
		return nil
	}
	for at, v := range d.cache {
		if err := d.settle(at, v[len(v)-1]); err != nil {
			return err
		}
	}
	return nil
}

// Cut is a loss of power, and its return. Of each unit that was not durable survives, with the chance
// keep, one of the things that were written to it.
func (d *Disk) Cut(chances *rand.Rand, keep float64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left, d.off, d.told = 0, false, nil
	if len(d.cache) > 0 {
		d.Cuts++
	}
	for at, v := range d.cache {
		if chances.Float64() >= keep {
			d.Lost++
			delete(d.cache, at)
			continue
		}
		if err := d.settle(at, v[chances.IntN(len(v))]); err != nil {
			return err
		}
	}
	return nil
}
