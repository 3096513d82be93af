package sbc

import (
	"bytes"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"testing"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/file"
	"github.com/isantarget/isantarget/scsi"
)

// A modeller sends random commands to blocks of its own, and knows from a slice
// of bytes what they must hold.
type modeller struct {
	r      *rig
	random *rand.Rand
	first  uint64 // block
	model  []byte
}

func (m *modeller) blocks() uint64 { return uint64(len(m.model) / m.r.device.blockSize) }

// some is a random range of blocks: where it is, and its part of the model.
func (m *modeller) some(most uint64) (lba, n uint64, part []byte) {
	size := uint64(m.r.device.blockSize)
	at := m.random.Uint64N(m.blocks())
	n = min(m.random.Uint64N(most)+1, m.blocks()-at)
	return m.first + at, n, m.model[at*size : (at+n)*size]
}

func (m *modeller) data(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(m.random.Uint32())
	}
	return p
}

// flags is FUA and DPO, or not.
func (m *modeller) flags() byte { return byte(m.random.IntN(4)) << 3 }

func (m *modeller) step(t *testing.T) bool {
	size := m.r.device.blockSize
	var a answer
	switch m.random.IntN(12) {
	case 0, 1, 2:
		lba, n, part := m.some(64)
		f, code := one(m.random, writeForms)
		if f == form6 {
			n = min(n, 255)
		}
		copy(part[:int(n)*size], m.data(int(n)*size))
		flags := m.flags()
		if f == form6 {
			flags = 0
		}
		a = m.r.run(cdb(f, code, flags, lba, n), part[:int(n)*size])
	case 3, 4:
		lba, n, part := m.some(255)
		f, code := one(m.random, readForms)
		if a = m.r.run(cdb(f, code, 0, lba, n), nil); !bytes.Equal(a.in, part) {
			t.Errorf("READ of %d blocks at %d: other data than the model", n, lba)
			return false
		}
	case 5:
		lba, n, part := m.some(100)
		mask := m.data(len(part))
		for i := range mask {
			part[i] |= mask[i]
		}
		a = m.r.run(cdb(form16, 0x8b, m.flags(), lba, n), mask)
	case 6, 7:
		lba, n, part := m.some(1000)
		f, code := one(m.random, writeSameForms)
		block := make([]byte, size)
		if m.random.IntN(2) == 0 {
			block = m.data(size)
		}
		for i := 0; i < len(part); i += size {
			copy(part[i:], block)
		}
		a = m.r.run(cdb(f, code, byte(m.random.IntN(2))*flagUNMAP, lba, n), block)
	case 8, 9:
		lba, n, part := m.some(1000)
		lba2, n2, part2 := m.some(300)
		clear(part)
		clear(part2)
		list := unmapParameters([2]uint64{lba, n}, [2]uint64{lba2, n2})
		a = m.r.run(unmapCDB(len(list)), list)
	case 10:
		lba, n, part := m.some(100)
		f, code := one(m.random, writeAndVerifyForms)
		copy(part, m.data(len(part)))
		a = m.r.run(cdb(f, code, byte(m.random.IntN(2))*bytchk01, lba, n), part)
	case 11:
		lba, n, part := m.some(1000)
		f, code := one(m.random, verifyForms)
		a = m.r.run(cdb(f, code, bytchk01, lba, n), part)
	}
	if a.status != scsi.Good {
		t.Errorf("%v, %s", a.status, a.describe())
	}
	return a.status == scsi.Good
}

func one(random *rand.Rand, forms map[form]byte) (form, byte) {
	all := []form{form6, form10, form12, form16, form32}
	for {
		f := all[random.IntN(len(all))]
		if code, ok := forms[f]; ok {
			return f, code
		}
	}
}

// run lets several modellers work at once, side by side, so that their blocks
// meet in physical blocks, granules and chunks but not in themselves.
func runModellers(t *testing.T, r *rig, steps int) {
	const modellers = 4
	share := r.blocks / modellers
	var all sync.WaitGroup
	for i := range uint64(modellers) {
		m := &modeller{
			r: r, random: rand.New(rand.NewPCG(1, i)), first: i * share,
			model: make([]byte, int(share)*r.device.blockSize),
		}
		all.Go(func() {
			for range steps {
				if !m.step(t) {
					return
				}
			}
			r.wantContent(m.first, m.model)
		})
	}
	all.Wait()
}

func TestModel_Memory(t *testing.T) {
	bothSizes(t, func(t *testing.T, r *rig) { runModellers(t, r, 150) })
}

func TestModel_File(t *testing.T) {
	for _, size := range []int{512, 4096} {
		store, err := file.Open(file.Options{Path: t.TempDir() + "/image", Create: true, Size: 4 * mib})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		r := newRig(t, func(o *Options, _ *recorder) { o.BlockSize = size })
		r.device.Swap(backstore.Bind(store))
		m := &modeller{r: r, random: rand.New(rand.NewPCG(2, 2)), model: make([]byte, 4*mib)}
		for range 300 {
			if !m.step(t) {
				return
			}
		}
		p := make([]byte, 4*mib)
		if _, err := store.ReadAt(p, 0); err != nil {
			t.Fatal(err)
		}
		if i := difference(p, m.model); i >= 0 {
			t.Errorf("the image differs from the model from byte %d on", i)
		}
	}
}

// What is unmapped is given back to the file system, and a fixed image keeps all
// it has.
func TestSpace_File(t *testing.T) {
	used := func(path string) int64 {
		t.Helper()
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Sys().(*syscall.Stat_t).Blocks * 512
	}
	for _, sparse := range []bool{true, false} {
		path := t.TempDir() + "/image"
		provisioning := file.Fixed
		if sparse {
			provisioning = file.Sparse
		}
		store, err := file.Open(file.Options{Path: path, Create: true, Size: 8 * mib, Provisioning: provisioning})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		r := newRig(t, func(o *Options, _ *recorder) { o.Thin = sparse })
		r.device.Swap(backstore.Bind(store))
		r.good(cdb(form16, 0x8a, 0, 0, 8192), pattern(4*mib, 1))
		r.good(cdb(form16, 0x8a, 0, 8192, 8192), pattern(4*mib, 2))
		r.good(syncCache(0), nil)
		if got := used(path); got < 8*mib {
			t.Errorf("%d bytes used after all was written", got)
		}
		if !sparse {
			r.good(cdb(form16, 0x93, flagNDOB, 0, 8192), nil)
			r.good(format(0), nil)
			if got := used(path); got < 8*mib {
				t.Errorf("%d bytes used of a fixed image", got)
			}
			continue
		}
		list := unmapParameters([2]uint64{0, 4096})
		r.good(unmapCDB(len(list)), list)
		if got := used(path); got > 6*mib+mib/4 {
			t.Errorf("%d bytes used after UNMAP of 2 MiB", got)
		}
		r.good(cdb(form16, 0x93, flagNDOB|flagUNMAP, 4096, 4096), nil)
		if got := used(path); got > 4*mib+mib/4 {
			t.Errorf("%d bytes used after WRITE SAME with UNMAP of 2 MiB", got)
		}
		r.good(format(0), nil)
		if got := used(path); got > mib/4 {
			t.Errorf("%d bytes used after FORMAT UNIT", got)
		}
	}
}

// ORWRITE is one step: what two set at once is set in the end.
func TestOrwrite_IsOneStep(t *testing.T) {
	r := newRig(t, nil)
	var all sync.WaitGroup
	const workers = 8
	for i := range workers {
		n := r.attach("iqn.2026-11.test:worker")
		all.Go(func() {
			for b := range 512 {
				if b%workers == i {
					mask := make([]byte, 1024)
					mask[b], mask[512+b] = 0xff, 1<<i
					if a := r.start(n, cdb(form16, 0x8b, 0, 5, 2), mask, 0).answer(); a.status != scsi.Good {
						t.Errorf("%s", a.describe())
					}
				}
			}
		})
	}
	all.Wait()
	want := bytes.Repeat([]byte{0xff}, 1024)
	for b := range 512 {
		want[512+b] = 1 << (b % workers)
	}
	r.wantContent(5, want)
}
