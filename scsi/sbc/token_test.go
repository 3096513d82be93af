package sbc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/isantarget/isantarget/scsi"
	"github.com/isantarget/isantarget/scsi/spc"
)

// A token gives the blocks that it was made of, in their order, to any unit and any nexus.
func TestTokenRoundTrip_SBC3_5_7(t *testing.T) {
	cr := newCopyRig(t, 2, nil)
	data := cr.rigs[0].fill(1, 0, mib)
	token := cr.populate(t, 0, blockRange{100, 50}, blockRange{10, 20})
	want := [][]byte{cr.rigs[0].image(), cr.rigs[1].image()}
	rod := append(slices.Clone(data[100*512:150*512]), data[10*512:30*512]...)
	copy(want[1][7*512:], rod[5*512:5*512+40*512])
	copy(want[1][3000*512:], rod[45*512:45*512+10*512])
	other := cr.join("iqn.2026-11.test:two")
	wantGood(t, cr.use(1, other, usingList(token, 5, 0, blockRange{7, 40}, blockRange{9, 0}, blockRange{3000, 10})))
	wantImages(t, cr, want)
	info := wantGood(t, cr.at(1, other, thirdParty(0x84, 7, 9, 512), nil).answer()).in
	if info[4] != spc.WriteUsingToken || info[5] != byte(spc.CopyCompleted) || info[15] != 0xf1 || binary.BigEndian.Uint64(info[16:]) != 50 {
		t.Errorf("RECEIVE ROD TOKEN INFORMATION: % x", info)
	}
	// More than the token has: what there is, and it is told.
	wantGood(t, cr.use(1, other, usingList(token, 60, 0, blockRange{0, 100})))
	copy(want[1], rod[60*512:])
	wantImages(t, cr, want)
	info = wantGood(t, cr.at(1, other, thirdParty(0x84, 7, 9, 512), nil).answer()).in
	if info[5] != byte(spc.CopyResidual) || binary.BigEndian.Uint64(info[16:]) != 10 {
		t.Errorf("RECEIVE ROD TOKEN INFORMATION of a short ROD: % x", info)
	}
}

// Whatever changes a block that a token stands for ends the token; nothing else does.
func TestTokenEndsWithItsBlocks(t *testing.T) {
	block := pattern(512, 9)
	unmap := func(lba uint64, n uint32) []byte {
		p := make([]byte, 24)
		p[1], p[3] = 22, 16
		binary.BigEndian.PutUint64(p[8:], lba)
		binary.BigEndian.PutUint32(p[16:], n)
		return p
	}
	caw := cdb(form16, 0x89, 0, 15, 0)
	caw[13] = 1
	for _, x := range []struct {
		name     string
		cdb, out []byte
		ends     bool
	}{
		{"WRITE at its end", write10(19, 1), block, true},
		{"WRITE behind it", write10(20, 1), block, false},
		{"WRITE before it", write10(0, 10), pattern(5120, 1), false},
		{"WRITE over it", write10(0, 100), pattern(51200, 1), true},
		{"WRITE between its ranges", write10(25, 1), block, false},
		{"READ", read10(10, 10), nil, false},
		{"WRITE SAME", cdb(form16, 0x93, 0, 12, 3), block, true},
		{"WRITE SAME behind", cdb(form16, 0x93, 0, 21, 3), block, false},
		{"COMPARE AND WRITE", caw, append(pattern(31*512, 1)[15*512:16*512], block...), true},
		{"WRITE AND VERIFY", cdb(form10, 0x2e, 0, 31, 1), block, true},
		{"ORWRITE", cdb(form16, 0x8b, 0, 10, 1), block, true},
		{"UNMAP", []byte{0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0}, unmap(5, 6), true},
		{"UNMAP elsewhere", []byte{0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0}, unmap(50, 600), false},
		{"FORMAT UNIT", []byte{0x04, 0, 0, 0, 0, 0}, nil, true},
		{"SANITIZE", []byte{0x48, 2, 0, 0, 0, 0, 0, 0, 0, 0}, nil, true},
	} {
		t.Run(x.name, func(t *testing.T) {
			cr := newCopyRig(t, 2, nil)
			cr.rigs[0].fill(1, 0, mib)
			token := cr.populate(t, 0, blockRange{10, 10}, blockRange{30, 10})
			wantGood(t, cr.at(0, cr.nexus, x.cdb, x.out).answer())
			before := [][]byte{cr.rigs[0].image(), cr.rigs[1].image()}
			a := cr.use(1, cr.nexus, usingList(token, 0, 0, blockRange{0, 20}))
			if !x.ends {
				wantGood(t, a)
				return
			}
			cr.want(t, a, scsi.KeyIllegalRequest, scsi.ASCInvalidTokenOperationTokenRevoked)
			wantImages(t, cr, before)
			if live := cr.device.tokens.live.Load(); live != 0 {
				t.Errorf("%d tokens count as live", live)
			}
		})
	}
	t.Run("a copy", func(t *testing.T) {
		cr := newCopyRig(t, 2, nil)
		cr.rigs[0].fill(1, 0, mib)
		token := cr.populate(t, 0, blockRange{10, 10})
		wantGood(t, cr.copies(cr.list(1, move{1, 0, 0, 19, 1})))
		cr.want(t, cr.use(1, cr.nexus, usingList(token, 0, 0, blockRange{0, 10})), scsi.KeyIllegalRequest, scsi.ASCInvalidTokenOperationTokenRevoked)
	})
	t.Run("itself", func(t *testing.T) {
		cr := newCopyRig(t, 1, nil)
		cr.rigs[0].fill(1, 0, mib)
		before := [][]byte{cr.rigs[0].image()}
		token := cr.populate(t, 0, blockRange{10, 10})
		cr.want(t, cr.use(0, cr.nexus, usingList(token, 0, 0, blockRange{15, 10})), scsi.KeyIllegalRequest, scsi.ASCInvalidTokenOperationTokenRevoked)
		wantImages(t, cr, before)
	})
}

// A command that waits for its data is passed by others, also by one that makes a token of its
// blocks: what it writes afterwards ends the token all the same.
func TestTokenEndsWithBlocksWhoseDataComeLater(t *testing.T) {
	block := pattern(512, 9)
	caw := cdb(form16, 0x89, 0, 15, 0)
	caw[13] = 1
	for _, x := range []struct {
		name     string
		cdb, out []byte
	}{
		{"WRITE", write10(19, 1), block},
		{"WRITE of another form", cdb(form32, 0x0b, 0, 10, 1), block},
		{"WRITE SAME", cdb(form16, 0x93, 0, 12, 3), block},
		{"COMPARE AND WRITE", caw, append(pattern(31*512, 1)[15*512:16*512], block...)},
		{"WRITE AND VERIFY", cdb(form10, 0x2e, 0, 11, 1), block},
		{"WRITE ATOMIC", []byte{0x9c, 9: 10, 13: 1, 15: 0}, block},
		{"ORWRITE", cdb(form16, 0x8b, 0, 10, 1), block},
		{"UNMAP", []byte{0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0}, []byte{1: 22, 3: 16, 15: 12, 19: 1, 23: 0}},
	} {
		t.Run(x.name, func(t *testing.T) {
			cr := newCopyRig(t, 2, nil)
			cr.rigs[0].fill(1, 0, mib)
			late := &exchange{out: x.out, done: make(chan struct{}), abort: make(chan struct{}), wait: make(chan struct{})}
			late.command.Units = cr.all
			cr.send(cr.join("iqn.2026-11.test:late"), late, x.cdb)
			token := cr.populate(t, 0, blockRange{10, 10}) // once the command waits
			before := [][]byte{cr.rigs[0].image(), cr.rigs[1].image()}
			close(late.wait)
			wantGood(t, late.answer())
			if bytes.Equal(cr.rigs[0].image(), before[0]) {
				t.Fatal("nothing was written")
			}
			cr.want(t, cr.use(1, cr.nexus, usingList(token, 0, 0, blockRange{0, 10})), scsi.KeyIllegalRequest, scsi.ASCInvalidTokenOperationTokenRevoked)
			if !bytes.Equal(cr.rigs[1].image(), before[1]) {
				t.Error("the token gives what was not there when it was made")
			}
		})
	}
}

// What a token gives is always one state of its blocks, and that of the moment
// when it was made, whatever is written meanwhile.
func TestTokenIsPointInTime(t *testing.T) {
	cr := newCopyRig(t, 2, func(_ int, _ *Options, s *recorder) { *s = *newRecorder(t, 16*mib) })
	const blocks = 8192
	stop, rest := make(chan struct{}), make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		n := cr.join("iqn.2026-11.test:writer")
		for v := byte(1); ; v++ {
			select {
			case <-stop:
				return
			default:
			}
			// The whole of it with one command, which is one value.
			block := make([]byte, 512)
			for i := range block {
				block[i] = v
			}
			wantGood(t, cr.at(0, n, cdb(form16, 0x93, 0, 0, blocks), block).answer())
			if v%4 == 0 { // until a token was copied
				select {
				case <-stop:
				case <-rest:
				}
			}
		}
	})
	copied, ended := 0, 0
	for deadline := time.Now().Add(patience); (copied < 5 || ended < 1) && time.Now().Before(deadline); {
		token := cr.populate(t, 0, blockRange{0, blocks})
		a := cr.use(1, cr.nexus, usingList(token, 0, 0, blockRange{0, blocks}))
		if a.status != scsi.Good {
			cr.want(t, a, scsi.KeyIllegalRequest, scsi.ASCInvalidTokenOperationTokenRevoked)
			ended++
			continue
		}
		copied++
		got := cr.rigs[1].content(0, blocks)
		for at := range got {
			if got[at] != got[0] {
				t.Fatalf("byte %d is of another time: %x, and %x", at, got[0], got[at])
			}
		}
		select {
		case rest <- struct{}{}:
		default:
		}
	}
	close(stop)
	writer.Wait()
	if copied == 0 || ended == 0 {
		t.Errorf("%d tokens were copied, %d ended: too few to prove anything", copied, ended)
	}
}

const patience = time.Minute

// A token that was not made here, or was changed, is refused.
func TestTokenForgery(t *testing.T) {
	cr := newCopyRig(t, 2, nil)
	cr.rigs[0].fill(1, 0, mib)
	before := [][]byte{cr.rigs[0].image(), cr.rigs[1].image()}
	token := cr.populate(t, 0, blockRange{10, 10})
	for at := range token {
		forged := slices.Clone(token)
		forged[at] ^= 1
		a := cr.use(1, cr.nexus, usingList(forged, 0, 0, blockRange{0, 10}))
		if a.status != scsi.CheckCondition || a.key() != scsi.KeyIllegalRequest || a.code()>>8 != 0x23 {
			t.Fatalf("a token with another byte %d: %v, %s", at, a.status, a.describe())
		}
	}
	cr.want(t, cr.use(1, cr.nexus, usingList(make([]byte, 512), 0, 0, blockRange{0, 10})), scsi.KeyIllegalRequest, scsi.ASCInvalidTokenOperationInvalidTokenLength)
	wantImages(t, cr, before)
	wantGood(t, cr.use(1, cr.nexus, usingList(token, 0, 0, blockRange{0, 10})))
	again := newCopyRig(t, 2, nil) // the units after a restart
	again.want(t, again.use(1, again.nexus, usingList(token, 0, 0, blockRange{0, 10})), scsi.KeyIllegalRequest, scsi.ASCInvalidTokenOperationTokenUnknown)
}

func TestZeroToken_SBC3_4_29_4(t *testing.T) {
	cr := newCopyRig(t, 1, nil)
	cr.rigs[0].fill(1, 0, 4*mib)
	want := [][]byte{cr.rigs[0].image()}
	token := make([]byte, 512)
	binary.BigEndian.PutUint32(token, spc.BlockZero)
	binary.BigEndian.PutUint16(token[6:], 0x1f8)
	clear(want[0][100*512 : 5000*512])
	wantGood(t, cr.use(0, cr.nexus, usingList(token, 0, 0, blockRange{100, 4900})))
	wantImages(t, cr, want)
	if e, err := cr.device.Medium().ExtentAt(mib, mib); err != nil || e.State == 0 {
		t.Errorf("zeros of a thin unit are held: %+v, %v", e, err)
	}
}

// The ends of a token: by the wish of its user, by time, and for want of room.
func TestTokenEnds(t *testing.T) {
	cr := newCopyRig(t, 1, nil)
	cr.rigs[0].fill(1, 0, mib)
	const delTkn = 0x02
	token := cr.populate(t, 0, blockRange{10, 10})
	wantGood(t, cr.use(0, cr.nexus, usingList(token, 0, delTkn, blockRange{100, 10})))
	cr.want(t, cr.use(0, cr.nexus, usingList(token, 0, 0, blockRange{100, 10})), scsi.KeyIllegalRequest, scsi.ASCInvalidTokenOperationTokenDeleted)

	token = cr.populate(t, 0, blockRange{10, 10})
	cr.device.tokens.mu.Lock()
	cr.device.tokens.all[len(cr.device.tokens.all)-1].expires = time.Now().Add(-time.Second)
	cr.device.tokens.mu.Unlock()
	cr.want(t, cr.use(0, cr.nexus, usingList(token, 0, 0, blockRange{100, 10})), scsi.KeyIllegalRequest, scsi.ASCInvalidTokenOperationTokenExpired)

	token = cr.populate(t, 0, blockRange{10, 10})
	for range 2 * maximumTokens {
		cr.populate(t, 0, blockRange{20, 10})
	}
	if n := len(cr.device.tokens.all); n > maximumTokens || int(cr.device.tokens.live.Load()) > n {
		t.Errorf("%d tokens are kept, %d of them live", n, cr.device.tokens.live.Load())
	}
	cr.want(t, cr.use(0, cr.nexus, usingList(token, 0, 0, blockRange{100, 10})), scsi.KeyIllegalRequest, scsi.ASCInvalidTokenOperationTokenUnknown)
}

func TestTokenRefusals(t *testing.T) {
	cr := newCopyRig(t, 1, nil)
	cr.rigs[0].fill(1, 0, mib)
	before := [][]byte{cr.rigs[0].image()}
	token := cr.populate(t, 0, blockRange{10, 10})
	many := slices.Repeat([]blockRange{{0, 0}}, maximumRanges+1)
	edit := func(p []byte, at int, v byte) []byte { p[at] = v; return p }
	for _, x := range []struct {
		name   string
		action byte
		list   []byte
		code   scsi.SenseCode
	}{
		{"beyond the medium", 0x10, populateList(blockRange{8190, 3}), scsi.ASCLogicalBlockAddressOutOfRange},
		{"far beyond the medium", 0x10, populateList(blockRange{1<<64 - 1, 3}), scsi.ASCLogicalBlockAddressOutOfRange},
		{"ranges that overlap", 0x10, populateList(blockRange{8, 3}, blockRange{10, 1}), scsi.ASCInvalidFieldInParameterList},
		{"no blocks", 0x10, populateList(blockRange{8, 0}), scsi.ASCInvalidFieldInParameterList},
		{"no ranges", 0x10, populateList(), scsi.ASCInvalidFieldInParameterList},
		{"too many ranges", 0x10, populateList(many...), scsi.ASCTooManySegmentDescriptors},
		{"timeout", 0x10, edit(populateList(blockRange{0, 1}), 4, 1), scsi.ASCInvalidFieldInParameterList},
		{"length", 0x10, edit(populateList(blockRange{0, 1}), 1, 60), scsi.ASCParameterListLengthError},
		{"short list", 0x10, make([]byte, 15), scsi.ASCParameterListLengthError},
		{"ROD type", 0x10, edit(edit(populateList(blockRange{0, 1}), 2, 2), 8, 7), scsi.ASCInvalidTokenOperationUnsupportedTokenType},
		{"write beyond the medium", 0x11, usingList(token, 0, 0, blockRange{8190, 3}), scsi.ASCLogicalBlockAddressOutOfRange},
		{"write ranges that overlap", 0x11, usingList(token, 0, 0, blockRange{100, 3}, blockRange{102, 3}), scsi.ASCInvalidFieldInParameterList},
		{"offset", 0x11, usingList(token, 10, 0, blockRange{100, 1}), scsi.ASCInvalidFieldInParameterList},
		{"short list", 0x11, make([]byte, 535), scsi.ASCParameterListLengthError},
	} {
		t.Run(fmt.Sprint(x.name, x.action), func(t *testing.T) {
			cr.want(t, cr.at(0, cr.nexus, thirdParty(0x83, x.action, 3, len(x.list)), x.list).answer(), scsi.KeyIllegalRequest, x.code)
			wantImages(t, cr, before)
		})
	}
	cr.want(t, cr.at(0, cr.nexus, thirdParty(0x84, 7, 3, 512), nil).answer(), scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCDB)
}

// With IMMED the command ends before its work, and a failure is told by RECEIVE ROD TOKEN INFORMATION.
func TestTokenImmediate(t *testing.T) {
	cr := newCopyRig(t, 2, nil)
	data := cr.rigs[0].fill(1, 0, mib)
	token := cr.populate(t, 0, blockRange{0, 2048})
	begun, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	fail := errors.New("a bad block")
	var failing error
	cr.rigs[1].store.fail = func(string, int64, int64) error {
		once.Do(func() { close(begun); <-goOn })
		return failing
	}
	status := func() []byte { return wantGood(t, cr.at(1, cr.nexus, thirdParty(0x84, 7, 9, 512), nil).answer()).in }
	wantGood(t, cr.use(1, cr.nexus, usingList(token, 0, 1, blockRange{0, 2048})))
	<-begun
	if got := status(); got[5] != byte(spc.CopyInBackground) {
		t.Errorf("status while it goes on: % x", got)
	}
	cr.want(t, cr.use(1, cr.nexus, usingList(token, 0, 1, blockRange{0, 2048})), scsi.KeyIllegalRequest, scsi.ASCOperationInProgress)
	close(goOn)
	cr.rigs[1].device.background.wait()
	if got := status(); got[5] != byte(spc.CopyCompleted) || binary.BigEndian.Uint64(got[16:]) != 2048 {
		t.Errorf("status at the end: % x", got)
	}
	cr.rigs[1].wantContent(0, data)
	failing = fail
	wantGood(t, cr.use(1, cr.nexus, usingList(token, 0, 1, blockRange{0, 2048})))
	cr.rigs[1].device.background.wait()
	if got := status(); got[5] != byte(spc.CopyFailed) || got[12] != byte(scsi.CheckCondition) || got[32+2]&0xf != byte(scsi.KeyMediumError) {
		t.Errorf("status of a failure: % x", got)
	}
}

// The end of the nexus ends what it has going on in the background.
func TestTokenBackgroundEndsWithItsNexus(t *testing.T) {
	cr := newCopyRig(t, 2, func(_ int, _ *Options, s *recorder) { *s = *newRecorder(t, 64*mib) })
	cr.rigs[0].fill(1, 0, 64*mib)
	token := cr.populate(t, 0, blockRange{0, 64 * mib / 512})
	begun, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	cr.rigs[1].store.fail = func(string, int64, int64) error {
		once.Do(func() { close(begun); <-goOn })
		return nil
	}
	wantGood(t, cr.use(1, cr.nexus, usingList(token, 0, 1, blockRange{0, 64 * mib / 512})))
	<-begun
	beside, err := cr.rigs[1].unit.Claim(cr.nexus, 0, 99, read10(64*mib/512-1, 1), false, nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() { // the copy hears of the loss when what else the nexus has there does
		for !beside.Aborted() {
			time.Sleep(time.Millisecond)
		}
		beside.Release()
		close(goOn)
	}()
	cr.rigs[1].unit.NexusLost(cr.nexus)
	cr.rigs[1].device.background.wait()
	if n := cr.rigs[1].store.writes.Load(); n > 2*copyPiece/(256<<10) {
		t.Errorf("%d writes after the nexus was lost", n)
	}
}

// Random tokens and writes against byte slices.
func TestTokensAgainstModel(t *testing.T) {
	random := rand.New(rand.NewPCG(6, 6))
	cr := newCopyRig(t, 2, nil)
	model := [][]byte{cr.rigs[0].fill(1, 0, 4*mib), cr.rigs[1].image()}
	type held struct {
		image []byte
		rod   []byte
		unit  int
		from  uint64
		n     uint32
	}
	var tokens []held
	used, ended := 0, 0
	for step := range 400 {
		i, lba, n := random.IntN(2), random.Uint64N(8000), uint32(1+random.IntN(150))
		switch random.IntN(4) {
		case 0:
			image := cr.populate(t, i, blockRange{lba, n})
			tokens = append(tokens, held{image, slices.Clone(model[i][lba*512 : (lba+uint64(n))*512]), i, lba, n})
		case 1:
			p := pattern(512*int(n), byte(random.IntN(256)))
			wantGood(t, cr.at(i, cr.nexus, write10(lba, uint64(n)), p).answer())
			copy(model[i][lba*512:], p)
		default:
			if len(tokens) == 0 {
				continue
			}
			x := tokens[random.IntN(len(tokens))]
			a := cr.use(i, cr.nexus, usingList(x.image, 0, 0, blockRange{lba, x.n}))
			if a.status == scsi.Good {
				used++
				copy(model[i][lba*512:], x.rod)
			} else {
				ended++
				cr.want(t, a, scsi.KeyIllegalRequest, scsi.ASCInvalidTokenOperationTokenRevoked)
			}
		}
		if step%20 == 0 {
			wantImages(t, cr, model)
		}
	}
	wantImages(t, cr, model)
	if used < 20 || ended < 20 {
		t.Errorf("%d uses, %d of tokens that had ended: too few to prove anything", used, ended)
	}
}

// FuzzTokens: no parameter list of the two commands panics, and one that is refused
// has written nothing.
func FuzzTokens(f *testing.F) {
	seed := newCopyRig(f, 1, nil)
	seed.fill(1, 0, mib)
	f.Add(byte(0x10), populateList(blockRange{1, 2}))
	zeros := make([]byte, 512)
	binary.BigEndian.PutUint32(zeros, spc.BlockZero)
	binary.BigEndian.PutUint16(zeros[6:], 0x1f8)
	f.Add(byte(0x11), usingList(zeros, 0, 0, blockRange{1, 2}))
	f.Add(byte(0x11), usingList(seed.populate(f, 0, blockRange{1, 2}), 0, 1, blockRange{1, 2}))
	f.Fuzz(func(t *testing.T, action byte, p []byte) {
		if len(p) > 4096 || action != 0x10 && action != 0x11 {
			return
		}
		cr := newCopyRig(t, 1, func(_ int, _ *Options, s *recorder) { *s = *newRecorder(t, 64<<10) })
		cr.fill(1, 0, 64<<10)
		before := [][]byte{cr.rigs[0].image()}
		if a := cr.at(0, cr.nexus, thirdParty(0x83, action, 1, len(p)), p).answer(); a.status != scsi.Good || action == 0x10 {
			wantImages(t, cr, before)
		}
		cr.at(0, cr.nexus, thirdParty(0x84, 7, 1, 4096), nil).answer()
	})
}
