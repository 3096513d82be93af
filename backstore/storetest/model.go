package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/isantarget/isantarget/backstore"
)

// modelSpan is the part of the store that the model covers, at both ends.
const modelSpan = 512 << 10

// A model is what a medium should hold: the simplest thing that could be right.
type model struct {
	medium *backstore.Medium
	base   int64
	bytes  []byte
	known  []bool // false: undefined, after UnmapAt of a store without ReadsZeros
}

// checkModel does random things to a medium and to a model and compares.
func checkModel(s Subject) error {
	return s.with(func(store backstore.Store, m *backstore.Medium) error {
		for seed, base := range []int64{0, store.Geometry().Size - modelSpan} {
			model := &model{medium: m, base: base, bytes: make([]byte, modelSpan), known: make([]bool, modelSpan)}
			if err := model.run(rand.New(rand.NewPCG(uint64(seed), 7)), 600); err != nil {
				return err
			}
		}
		return nil
	})
}

func (m *model) run(r *rand.Rand, steps int) error {
	done := make([]string, 0, steps)
	for range steps {
		length := 1 + r.IntN(1<<(1+r.IntN(17)))
		off := r.IntN(len(m.bytes) - length)
		if r.IntN(2) == 0 { // as initiators do it
			off &^= 4095
			length = max(length&^4095, 4096)
		}
		what, err := m.step(r, off, length)
		done = append(done, fmt.Sprintf("%s(%d, %d)", what, m.base+int64(off), length))
		if err != nil {
			return fmt.Errorf("%w\nthe last steps: %v", err, done[max(0, len(done)-8):])
		}
	}
	return m.compare(0, len(m.bytes))
}

// step does one thing and names it.
func (m *model) step(r *rand.Rand, off, length int) (string, error) {
	at := m.base + int64(off)
	own := m.bytes[off : off+length]
	switch r.IntN(9) {
	case 0:
		return "Sync", m.medium.Sync()
	case 1:
		m.zero(off, length)
		return "ZeroAt", m.medium.ZeroAt(at, int64(length), false)
	case 2:
		m.zero(off, length)
		return "ZeroAt unmap", m.medium.ZeroAt(at, int64(length), true)
	case 3:
		err := m.medium.UnmapAt(at, int64(length))
		if errors.Is(err, errors.ErrUnsupported) {
			return "UnmapAt refused", nil
		}
		m.zero(off, length)
		if !m.medium.Features().Has(backstore.ReadsZeros) {
			clear(m.known[off : off+length])
		}
		return "UnmapAt", err
	case 4:
		m.fill(off, length, r.Uint64())
		_, err := m.medium.WriteThroughAt(own, at)
		return "WriteThroughAt", err
	case 5:
		m.fill(off, length, r.Uint64())
		_, err := m.medium.TryWriteAt(own, at)
		if err == backstore.ErrWouldBlock {
			_, err = m.medium.WriteAt(own, at)
		}
		return "TryWriteAt", err
	case 6:
		from := r.IntN(len(m.bytes) - length)
		copy(own, m.bytes[from:from+length])
		copy(m.known[off:off+length], m.known[from:from+length])
		return fmt.Sprintf("CopyAt from %d", m.base+int64(from)), m.medium.CopyAt(at, m.medium, m.base+int64(from), int64(length))
	case 7:
		return "ReadAt", m.compare(off, length)
	}
	m.fill(off, length, r.Uint64())
	return "WriteAt", write(m.medium, own, at)
}

func (m *model) fill(off, length int, seed uint64) {
	noise(m.bytes[off:off+length], seed)
	m.know(off, length)
}

func (m *model) zero(off, length int) {
	clear(m.bytes[off : off+length])
	m.know(off, length)
}

func (m *model) know(off, length int) {
	known := m.known[off : off+length]
	for i := range known {
		known[i] = true
	}
}

// compare reads a range in one of the two ways and compares what is known.
func (m *model) compare(off, length int) error {
	got := make([]byte, length)
	at := m.base + int64(off)
	if _, err := m.medium.TryReadAt(got, at); err != nil {
		if _, err := m.medium.ReadAt(got, at); err != nil {
			return err
		}
	}
	if bytes.Equal(got, m.bytes[off:off+length]) {
		return nil
	}
	for i := range got {
		if m.known[off+i] && got[i] != m.bytes[off+i] {
			return fmt.Errorf("byte %d is %#02x, want %#02x", at+int64(i), got[i], m.bytes[off+i])
		}
	}
	return nil
}
