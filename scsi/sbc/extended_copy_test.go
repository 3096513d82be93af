package sbc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/scsi"
)

func TestExtendedCopy_SPC4_6_4(t *testing.T) {
	cr := newCopyRig(t, 2, nil)
	data := cr.rigs[0].fill(1, 0, 2*mib)
	want := [][]byte{cr.rigs[0].image(), cr.rigs[1].image()}
	copy(want[1][512*9:], data[512:512*3001])
	copy(want[0][3*mib:], data[:512])
	a := cr.copies(cr.list(5, move{0, 1, 1, 9, 3000}, move{1, 1, 0, 0, 0}, move{0, 0, 0, 3 * mib / 512, 1}))
	wantGood(t, a)
	wantImages(t, cr, want)

	status := wantGood(t, cr.at(0, cr.nexus, thirdParty(0x84, 0, 5, 64), nil).answer()).in
	if status[4] != 1 || binary.BigEndian.Uint16(status[5:]) != 3 || binary.BigEndian.Uint32(status[8:]) != 3001*512 {
		t.Errorf("COPY STATUS: % x", status)
	}
	cr.want(t, cr.at(0, cr.nexus, thirdParty(0x84, 0, 6, 64), nil).answer(), scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCDB)
	cr.want(t, cr.at(0, cr.join("iqn.2026-11.test:two"), thirdParty(0x84, 0, 5, 64), nil).answer(), scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCDB)
}

// Units with blocks of different lengths: what counts are bytes, and whole blocks on both sides.
func TestExtendedCopyBlockLengths(t *testing.T) {
	cr := newCopyRig(t, 2, func(i int, o *Options, _ *recorder) {
		if i == 1 {
			o.BlockSize = 4096
		}
	})
	data := cr.rigs[0].fill(1, 0, mib)
	want := [][]byte{cr.rigs[0].image(), cr.rigs[1].image()}
	copy(want[1][4096:], data[512:512+8*16*512])
	wantGood(t, cr.copies(cr.list(1, move{0, 1, 1, 1, 8 * 16})))
	wantImages(t, cr, want)
	dc := cr.list(1, move{0, 1, 1, 1, 16})
	dc[16+64+1] = 0x02 // DC: the blocks are those of the destination
	wantGood(t, cr.copies(dc))
	wantImages(t, cr, want)
	cr.want(t, cr.copies(cr.list(1, move{0, 1, 0, 0, 7})), scsi.KeyCopyAborted, scsi.ASCUnexpectedInexactSegment)
	wantImages(t, cr, want)
}

// A hole stays a hole, and what was there before it is gone.
func TestExtendedCopyKeepsHoles(t *testing.T) {
	cr := newCopyRig(t, 2, nil)
	cr.rigs[0].fill(1, mib, 128<<10)
	cr.rigs[1].fill(2, 0, 4*mib)
	wantGood(t, cr.copies(cr.list(1, move{0, 1, 0, 0, 8192})))
	wantImages(t, cr, [][]byte{cr.rigs[0].image(), cr.rigs[0].image()})
	e, err := cr.rigs[1].device.Medium().ExtentAt(0, 4*mib)
	if err != nil || e.State != backstore.Deallocated || e.Length != mib {
		t.Errorf("the first extent of the copy: %+v, %v; want a hole of 1 MiB", e, err)
	}
}

// A copy upon itself is as if by way of another place.
func TestExtendedCopyOverlap(t *testing.T) {
	for _, shift := range []int{-3000, -8, -1, 1, 8, 3000} {
		cr := newCopyRig(t, 1, func(_ int, _ *Options, s *recorder) { *s = *newRecorder(t, 8*mib) })
		before := cr.fill(1, 0, 8*mib)
		want := slices.Clone(before)
		const from, n = 3500, 9000
		copy(want[(from+shift)*512:], before[from*512:(from+n)*512])
		wantGood(t, cr.copies(cr.list(1, move{0, 0, from, uint64(from + shift), n})))
		wantImages(t, cr, [][]byte{want})
	}
}

// Whatever is refused is refused before anything is written.
func TestExtendedCopyRefusals(t *testing.T) {
	cr := newCopyRig(t, 2, nil)
	cr.rigs[0].fill(1, 0, 4*mib)
	before := [][]byte{cr.rigs[0].image(), cr.rigs[1].image()}
	good := move{0, 1, 0, 0, 8}
	const segment = 16 + 2*32
	for _, x := range []struct {
		name  string
		moves []move
		spoil func(p []byte) []byte
		key   scsi.SenseKey
		code  scsi.SenseCode
	}{
		{"no such CSCD", []move{good, {0, 2, 0, 0, 1}}, nil, scsi.KeyCopyAborted, scsi.ASCUnreachableCopyTarget},
		{"beyond the source", []move{good, {0, 1, 8192, 0, 1}}, nil, scsi.KeyCopyAborted, scsi.ASCCopyTargetDeviceNotReachable},
		{"beyond the destination", []move{good, {0, 1, 0, 1<<64 - 1, 2}}, nil, scsi.KeyCopyAborted, scsi.ASCCopyTargetDeviceNotReachable},
		{"inline data", []move{good}, func(p []byte) []byte { p[15] = 1; return append(p, 0) }, scsi.KeyIllegalRequest, scsi.ASCInlineDataLengthExceeded},
		{"a list that is cut", []move{good}, func(p []byte) []byte { return p[:len(p)-1] }, scsi.KeyIllegalRequest, scsi.ASCParameterListLengthError},
		{"CSCD type", []move{good}, func(p []byte) []byte { p[16] = 0xe0; return p }, scsi.KeyIllegalRequest, scsi.ASCUnsupportedTargetDescriptorTypeCode},
		{"CSCD of no unit", []move{good}, func(p []byte) []byte { p[16+32+15] ^= 1; return p }, scsi.KeyCopyAborted, scsi.ASCCopyTargetDeviceNotReachable},
		{"CSCD of a tape", []move{good}, func(p []byte) []byte { p[17] = 1; return p }, scsi.KeyCopyAborted, scsi.ASCIncorrectCopyTargetDeviceType},
		{"CSCD block length", []move{good}, func(p []byte) []byte { p[16+30] ^= 4; return p }, scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInParameterList},
		{"designator too long", []move{good}, func(p []byte) []byte { p[16+7] = 21; return p }, scsi.KeyCopyAborted, scsi.ASCCopyTargetDeviceNotReachable},
		{"segment type", []move{good, good}, func(p []byte) []byte { p[segment+28] = 3; return p }, scsi.KeyIllegalRequest, scsi.ASCUnsupportedSegmentDescriptorTypeCode},
		{"segment length", []move{good, good}, func(p []byte) []byte { p[segment+28+3]++; return p }, scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInParameterList},
		{"too many segments", slices.Repeat([]move{good}, 65), func(p []byte) []byte { // one CSCD, so that the list is not too long
			binary.BigEndian.PutUint16(p[2:], 32)
			return append(slices.Clone(p[:16+32]), p[segment:]...)
		}, scsi.KeyIllegalRequest, scsi.ASCUnreachableCopyTarget},
		{"list id usage", []move{good}, func(p []byte) []byte { p[1] = 0x08; return p }, scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInParameterList},
		{"list id that is not used", []move{good}, func(p []byte) []byte { p[1] = 0x18; return p }, scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInParameterList},
	} {
		t.Run(x.name, func(t *testing.T) {
			p := cr.list(1, x.moves...)
			if x.spoil != nil {
				p = x.spoil(p)
			}
			a := cr.copies(p)
			if x.name == "too many segments" { // either bound may be seen first
				if a.status == scsi.Good {
					t.Error("65 segments are taken")
				}
			} else {
				cr.want(t, a, x.key, x.code)
			}
			wantImages(t, cr, before)
		})
	}
	for _, n := range []int{1, 15, 16 + 16*32 + 64*28 + 1} {
		cr.want(t, cr.at(0, cr.nexus, thirdParty(0x83, 0, 0, n), make([]byte, n)).answer(), scsi.KeyIllegalRequest, scsi.ASCParameterListLengthError)
	}
	wantGood(t, cr.at(0, cr.nexus, thirdParty(0x83, 0, 0, 0), nil).answer())
}

// A nexus that is fenced from a unit cannot write there by way of another.
func TestExtendedCopyIsFenced(t *testing.T) {
	cr := newCopyRig(t, 2, nil)
	cr.rigs[0].fill(1, 0, mib)
	before := [][]byte{cr.rigs[0].image(), cr.rigs[1].image()}
	other := cr.join("iqn.2026-11.test:two")
	wantGood(t, cr.at(1, other, []byte{0x16, 0, 0, 0, 0, 0}, nil).answer()) // RESERVE (6)
	a := cr.copies(cr.list(3, move{0, 1, 0, 0, 8}))
	cr.want(t, a, scsi.KeyCopyAborted, scsi.ASCThirdPartyDeviceFailure)
	wantImages(t, cr, before)

	details := wantGood(t, cr.at(0, cr.nexus, thirdParty(0x84, 4, 3, 255), nil).answer()).in
	if len(details) != 60+18 || details[56] != byte(scsi.CheckCondition) || !bytes.Equal(details[60:], a.sense) {
		t.Errorf("FAILURE DETAILS: % x; the sense data were % x", details, a.sense)
	}
	cr.want(t, cr.at(0, cr.nexus, thirdParty(0x84, 4, 3, 255), nil).answer(), scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCDB)
	wantGood(t, cr.at(1, other, []byte{0x17, 0, 0, 0, 0, 0}, nil).answer()) // RELEASE (6)
	wantGood(t, cr.copies(cr.list(3, move{0, 1, 0, 0, 8})))
}

func TestExtendedCopyToProtectedUnit(t *testing.T) {
	cr := newCopyRig(t, 2, func(i int, o *Options, _ *recorder) { o.ReadOnly = i == 1 })
	cr.rigs[0].fill(1, 0, mib)
	before := [][]byte{cr.rigs[0].image(), cr.rigs[1].image()}
	cr.want(t, cr.copies(cr.list(3, move{0, 1, 0, 0, 8})), scsi.KeyCopyAborted, scsi.ASCThirdPartyDeviceFailure)
	wantImages(t, cr, before)
	wantGood(t, cr.at(1, cr.nexus, thirdParty(0x83, 0, 0, 0), nil).answer())
}

func TestExtendedCopyOfBadBlocks(t *testing.T) {
	cr := newCopyRig(t, 2, nil)
	cr.rigs[0].fill(1, 0, mib)
	cr.rigs[0].store.fail = func(op string, _, _ int64) error {
		if op == "read" {
			return errors.New("a bad block")
		}
		return nil
	}
	a := cr.copies(cr.list(3, move{1, 1, 0, 8, 8}, move{0, 1, 0, 0, 8}))
	cr.want(t, a, scsi.KeyCopyAborted, scsi.ASCThirdPartyDeviceFailure)
	if segment := binary.BigEndian.Uint32(a.sense[8:]); segment != 1 {
		t.Errorf("segment %d has failed, want 1", segment)
	}
}

// An abort ends a copy between two pieces, and then nothing of it is written any more.
func TestExtendedCopyAborted(t *testing.T) {
	for _, at := range []int{0, 1} { // the unit of the command, and that of its destination
		cr := newCopyRig(t, 2, func(_ int, _ *Options, s *recorder) { *s = *newRecorder(t, 32*mib) })
		cr.rigs[0].fill(1, 0, 32*mib)
		begun, goOn := make(chan struct{}), make(chan struct{})
		var once sync.Once
		cr.rigs[1].store.fail = func(op string, _, _ int64) error {
			if op == "write" {
				once.Do(func() { close(begun); <-goOn })
			}
			return nil
		}
		x := cr.at(0, cr.nexus, thirdParty(0x83, 0, 0, len(cr.list(1, move{0, 1, 0, 0, 65535}))), cr.list(1, move{0, 1, 0, 0, 65535}))
		<-begun
		answered := make(chan scsi.Response, 1)
		go func() { answered <- cr.rigs[at].unit.Manage(scsi.LogicalUnitReset, cr.join("iqn.2026-11.test:two"), 0) }()
		select {
		case <-answered:
			t.Error("the reset is answered while a piece is being written")
		case <-time.After(20 * time.Millisecond):
		}
		close(goOn)
		if r := <-answered; r != scsi.FunctionComplete {
			t.Errorf("reset: %v", r)
		}
		if at == 0 {
			writes := cr.rigs[1].store.writes.Load()
			if a := x.answer(); a.status == scsi.Good {
				t.Errorf("the aborted copy: %v", a.status)
			}
			if now := cr.rigs[1].store.writes.Load(); now != writes || writes > 2*copyPiece/(256<<10) {
				t.Errorf("%d writes before the answer, %d after", writes, now)
			}
		} else {
			cr.want(t, x.answer(), scsi.KeyCopyAborted, scsi.ASCCopyTargetDeviceNotReachable)
		}
	}
}

// Copies in all directions at once: every block is what one of them left there, and
// no two wait for each other for ever.
func TestExtendedCopyConcurrently(t *testing.T) {
	cr := newCopyRig(t, 2, func(_ int, o *Options, s *recorder) { *s = *newRecorder(t, 16*mib) })
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(worker), 9))
			n := cr.join("iqn.2026-11.test:" + string(rune('a'+worker)))
			for range 8 {
				m := move{random.IntN(2), random.IntN(2), random.Uint64N(9000), random.Uint64N(9000), uint16(random.IntN(9000))}
				p := cr.list(1, m)
				wantGood(t, cr.at(random.IntN(2), n, thirdParty(0x83, 0, 0, len(p)), p).answer())
				block := bytes.Repeat([]byte{byte(worker)}, 512)
				wantGood(t, cr.at(m.to, n, write10(m.toLBA+3, 1), block).answer())
				same := cdb(form10, 0x41, 0, m.fromLBA, 64)
				wantGood(t, cr.at(m.from, n, same, block).answer())
			}
		})
	}
	all.Wait()
	for _, r := range cr.rigs {
		for at, p := 0, r.image(); at < len(p); at += 512 {
			if b := p[at]; b > 4 || !bytes.Equal(p[at:at+512], bytes.Repeat([]byte{b}, 512)) {
				t.Fatalf("block %d is torn", at/512)
			}
		}
	}
}

// A random sequence of copies against byte slices.
func TestExtendedCopyAgainstModel(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 4))
	cr := newCopyRig(t, 3, func(i int, o *Options, s *recorder) {
		*s = *newRecorder(t, 8*mib)
		if i == 2 {
			o.BlockSize = 4096
		}
	})
	var model [][]byte
	for i, r := range cr.rigs {
		r.fill(byte(i), 0, 2*mib)
		model = append(model, r.image())
	}
	for range 60 {
		var moves []move
		for range 1 + random.IntN(4) {
			m := move{from: random.IntN(3), to: random.IntN(3), blocks: uint16(8 * random.IntN(500))}
			from, to := cr.rigs[m.from], cr.rigs[m.to]
			if m.from == 2 {
				m.blocks /= 8
			}
			n := uint64(m.blocks) * uint64(from.device.blockSize)
			m.fromLBA = random.Uint64N(from.blocks - n/uint64(from.device.blockSize))
			m.toLBA = random.Uint64N(to.blocks - n/uint64(to.device.blockSize))
			copy(model[m.to][m.toLBA*uint64(to.device.blockSize):], slices.Clone(model[m.from][m.fromLBA*uint64(from.device.blockSize):][:n]))
			moves = append(moves, m)
		}
		wantGood(t, cr.copies(cr.list(byte(random.IntN(4)), moves...)))
	}
	wantImages(t, cr, model)
}

// A list identifier in use is OPERATION IN PROGRESS.
func TestExtendedCopyListIdentifierInUse(t *testing.T) {
	cr := newCopyRig(t, 2, nil)
	cr.rigs[0].fill(1, 0, mib)
	begun, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	cr.rigs[1].store.fail = func(string, int64, int64) error {
		once.Do(func() { close(begun); <-goOn })
		return nil
	}
	p := cr.list(1, move{0, 1, 0, 0, 8})
	x := cr.at(0, cr.nexus, thirdParty(0x83, 0, 0, len(p)), p)
	<-begun
	cr.want(t, cr.copies(p), scsi.KeyIllegalRequest, scsi.ASCOperationInProgress)
	if status := wantGood(t, cr.at(0, cr.nexus, thirdParty(0x84, 0, 1, 64), nil).answer()).in; status[4] != 0 {
		t.Errorf("COPY STATUS of a copy in progress: % x", status)
	}
	close(goOn)
	wantGood(t, x.answer())
	wantGood(t, cr.copies(p))
}

// FuzzExtendedCopy: no parameter list panics or reaches out of a unit, and one that
// is refused has written nothing.
func FuzzExtendedCopy(f *testing.F) {
	seed := newCopyRig(f, 2, nil)
	f.Add(seed.list(1, move{0, 1, 0, 0, 8}))
	f.Add(seed.list(1, move{0, 0, 0, 4, 8}, move{1, 0, 1, 1, 300}))
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) > 4096 {
			return
		}
		cr := newCopyRig(t, 2, func(_ int, _ *Options, s *recorder) { *s = *newRecorder(t, 64<<10) })
		cr.rigs[0].fill(1, 0, 64<<10)
		before := [][]byte{cr.rigs[0].image(), cr.rigs[1].image()}
		if a := cr.copies(p); a.status != scsi.Good {
			wantImages(t, cr, before)
		}
	})
}
