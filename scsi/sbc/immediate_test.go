package sbc

import (
	"bytes"
	"errors"
	"maps"
	"syscall"
	"testing"
	"time"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/scsi"
)

func syncCache(flags byte) []byte { return cdb(form10, 0x35, flags, 0, 0) }

func TestSynchronizeCache(t *testing.T) {
	r := newRig(t, nil)
	for _, c := range [][]byte{syncCache(0), cdb(form10, 0x35, 0, 8, 8), cdb(form16, 0x91, 0, 0, 0), syncCache(flagSyncNV)} {
		r.good(c, nil)
		r.wantNoted("sync")
	}
	broken := errors.New("the cable is out")
	r.store.fail = func(op string, _, _ int64) error { return broken }
	a := r.refused(syncCache(0), nil, scsi.KeyMediumError, scsi.ASCWriteError)
	if a.information() != -1 {
		t.Errorf("information %d: a flush that failed does not know where", a.information())
	}
}

// A store that is not volatile has nothing to write.
func TestSynchronizeCache_NotVolatile(t *testing.T) {
	r := newRig(t, func(_ *Options, s *recorder) { s.geometry = func(g *backstore.Geometry) { g.Volatile = false } })
	r.good(syncCache(0), nil)
	r.good(syncCache(flagIMMED), nil)
	r.wantNoted()
}

// With IMMED the command ends before the flush; its failure is told once to every
// nexus, for the cache is everybody's, as a deferred error (SPC-4 4.5.7), and that
// command does nothing.
func TestSynchronizeCache_ImmediateFails_SPC4_4_5_7(t *testing.T) {
	r := newRig(t, nil)
	other := r.attach("iqn.2026-11.test:two")
	data := pattern(512, 1)
	r.good(write10(0, 1), data)
	flushing, end := make(chan struct{}), make(chan struct{})
	r.store.fail = func(op string, _, _ int64) error {
		if op != "sync" {
			return nil
		}
		close(flushing)
		<-end
		return errors.New("the cable is out")
	}
	r.good(syncCache(flagIMMED), nil) // returns while the store still flushes
	<-flushing
	close(end)
	r.device.background.wait()
	r.store.fail = nil

	if a := r.start(other, read10(0, 1), nil, 512).answer(); a.key() != scsi.KeyMediumError || !a.deferred() {
		t.Errorf("another nexus was told: %s", a.describe())
	}
	if a := r.start(other, read10(0, 1), nil, 512).answer(); a.status != scsi.Good {
		t.Errorf("another nexus was told twice: %s", a.describe())
	}
	a := r.refused(write10(0, 1), make([]byte, 512), scsi.KeyMediumError, scsi.ASCWriteError)
	if !a.deferred() {
		t.Errorf("told as an error of the command itself: % x", a.sense)
	}
	r.wantContent(0, data)
	r.good(read10(0, 1), nil)
}

// After a sync that has failed nothing is acknowledged any more that would have to be
// made durable some day; every nexus hears of it once, also one that comes later; what
// is there can be read; and no success of the store ends it, but the operator.
func TestFailedSync_UntilTheOperatorActs(t *testing.T) {
	var reported []error
	r := newRig(t, func(o *Options, _ *recorder) { o.Report = func(err error) { reported = append(reported, err) } })
	r.good(write10(0, 1), pattern(512, 1))
	r.store.fail = func(op string, _, _ int64) error {
		if op == "sync" {
			return syscall.EIO
		}
		return nil
	}
	r.refused(syncCache(0), nil, scsi.KeyMediumError, scsi.ASCWriteError)
	r.store.fail = nil
	if a := r.run(read10(0, 1), nil); !a.deferred() || a.key() != scsi.KeyMediumError {
		t.Errorf("the nexus is told %s", a.describe())
	}
	late := r.attach("iqn.2026-11.test:late")
	if a := r.start(late, read10(0, 1), nil, 512).answer(); !a.deferred() || a.key() != scsi.KeyMediumError {
		t.Errorf("a nexus that comes later is told %s", a.describe())
	}
	for range 3 {
		for _, c := range [][]byte{syncCache(0), write10(0, 1), cdb(form10, 0x2a, flagFUA, 0, 1), cdb(form10, 0x2e, 0, 0, 1), cdb(form10, 0x41, 0, 0, 1)} {
			if a := r.refused(c, make([]byte, 512), scsi.KeyMediumError, scsi.ASCWriteError); a.deferred() || a.information() != -1 {
				t.Errorf("% x: %s, information %d", c, a.describe(), a.information())
			}
		}
		r.refused(unmapCDB(24), unmapParameters([2]uint64{0, 64}), scsi.KeyMediumError, scsi.ASCWriteError)
		r.good(read10(0, 1), nil)
	}
	r.wantContent(0, pattern(512, 1))
	if len(reported) != 1 || !errors.Is(reported[0], backstore.ErrLost) {
		t.Errorf("the operator hears %v", reported)
	}
	r.store.fail = func(string, int64, int64) error { return syscall.EIO }
	if err := r.device.Trust(); err == nil {
		t.Error("a medium that cannot sync is trusted")
	}
	r.store.fail = nil
	if err := r.device.Trust(); err != nil {
		t.Errorf("Trust: %v", err)
	}
	r.good(write10(0, 1), pattern(512, 2))
	r.good(syncCache(0), nil)
	if a := r.start(r.attach("iqn.2026-11.test:third"), read10(0, 1), nil, 512).answer(); a.status != scsi.Good {
		t.Errorf("a nexus that comes after that is told %s", a.describe())
	}
}

// However many IMMED flushes are asked for, one runs, and one after it for all
// that came meanwhile.
func TestSynchronizeCache_ImmediateIsBounded(t *testing.T) {
	r := newRig(t, nil)
	entered, end := make(chan struct{}, 1000), make(chan struct{})
	r.store.fail = func(op string, _, _ int64) error {
		if op == "sync" {
			entered <- struct{}{}
			<-end
		}
		return nil
	}
	r.good(syncCache(flagIMMED), nil)
	<-entered
	for range 100 {
		r.good(syncCache(flagIMMED), nil)
	}
	close(end)
	r.device.background.wait()
	if got := r.store.syncs.Load(); got != 2 {
		t.Errorf("%d flushes ran, want 2", got)
	}
}

func TestDeferredError_NexusLost(t *testing.T) {
	r := newRig(t, nil)
	r.device.deferred.add(r.nexus, scsi.MediumError(scsi.ASCWriteError, 0))
	r.device.NexusLost(r.nexus)
	r.good(read10(0, 1), nil)
}

func TestPreFetch(t *testing.T) {
	r := newRig(t, nil)
	r.good(write10(0, 256), pattern(256*512, 1))
	for f, code := range map[form]byte{form10: 0x34, form16: 0x90} {
		for _, blocks := range []uint64{0, 1, 256} {
			r.store.reads.Store(0)
			if a := r.run(cdb(f, code, 0, 0, blocks), nil); a.status != scsi.Good || a.length != 0 {
				t.Errorf("PRE-FETCH: %v", a.status)
			}
			if r.store.reads.Load() == 0 {
				t.Error("nothing was read")
			}
		}
		r.store.reads.Store(0)
		r.good(cdb(f, code, flagIMMED, 0, 8), nil)
		r.device.background.wait()
		if r.store.reads.Load() == 0 {
			t.Error("nothing was read in the background")
		}
	}
	r.store.fail = func(op string, _, _ int64) error { return errors.New("scratch on the disk") }
	r.refused(cdb(form10, 0x34, 0, 0, 8), nil, scsi.KeyMediumError, scsi.ASCUnrecoveredReadError)
}

func format(flags byte) []byte { return []byte{0x04, flags, 0, 0, 0, 0} }

func TestFormatUnit_LeavesZeros(t *testing.T) {
	const fmtdata, longlist, cmplst = 0x10, 0x20, 0x08
	for name, c := range map[string]struct {
		cdb, list []byte
		length    int
	}{
		"no data":                 {format(0), nil, 0},
		"short header":            {format(fmtdata), make([]byte, 4), 4},
		"complete empty list":     {format(fmtdata | cmplst), make([]byte, 4), 4},
		"long header":             {format(fmtdata | longlist), make([]byte, 8), 8},
		"format options valid":    {format(fmtdata), []byte{0, 0xe0, 0, 0}, 4},
		"default pattern":         {format(fmtdata), []byte{0, 0x88, 0, 0, 0, 0, 0, 0}, 8},
		"pattern of zeros":        {format(fmtdata), []byte{0, 0x88, 0, 0, 0, 1, 0, 2, 0, 0}, 10},
		"list longer than needed": {format(fmtdata), make([]byte, 64), 4},
	} {
		t.Run(name, func(t *testing.T) {
			bothSizes(t, func(t *testing.T, r *rig) {
				r.good(write10(0, 100), pattern(100*r.device.blockSize, 1))
				r.store.forget()
				a := r.run(c.cdb, c.list)
				if a.status != scsi.Good || a.length != c.length {
					t.Errorf("%v, length %d: want GOOD and %d", a.status, a.length, c.length)
				}
				r.wantNoted("zero", "sync")
				r.wantContent(0, make([]byte, r.store.size))
				if got := r.state(0); got != backstore.Deallocated {
					t.Errorf("block 0 is %v after FORMAT UNIT of a thin unit", got)
				}
			})
		})
	}
}

func TestFormatUnit_Refuses(t *testing.T) {
	r := newRig(t, nil)
	for _, c := range []struct {
		cdb, list []byte
		code      scsi.SenseCode
		at, bit   int
	}{
		{format(0x08), nil, scsi.ASCInvalidFieldInCDB, 1, 3},
		{format(0x05), nil, scsi.ASCInvalidFieldInCDB, 1, 3},
		{format(0x40), nil, scsi.ASCInvalidFieldInCDB, 1, 6},
		{format(0x10), []byte{1, 0, 0, 0}, scsi.ASCInvalidFieldInParameterList, 0, 2},
		{format(0x10), []byte{0, 0x40, 0, 0}, scsi.ASCInvalidFieldInParameterList, -1, 7},
		{format(0x10), []byte{0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1}, scsi.ASCInvalidFieldInParameterList, -2, -1},
		{format(0x30), []byte{0, 0, 0, 1, 0, 0, 0, 0}, scsi.ASCInvalidFieldInParameterList, -3, -1},
		{format(0x30), []byte{0, 0, 0, 0, 0, 0, 0, 8}, scsi.ASCInvalidFieldInParameterList, -4, -1},
		{format(0x10), []byte{0, 0x88, 0, 0, 0, 1, 0, 1, 0x5a}, scsi.ASCInvalidFieldInParameterList, -8, -1},
		{format(0x10), []byte{0, 0x88, 0, 0, 0, 2, 0, 0}, scsi.ASCInvalidFieldInParameterList, -5, -1},
		{format(0x10), []byte{0, 0x88, 0, 0, 0, 1, 0, 0}, scsi.ASCInvalidFieldInParameterList, -6, -1},
		{format(0x10), []byte{0, 0x88, 0, 0, 0x20, 0, 0, 0}, scsi.ASCInvalidFieldInParameterList, -4, -1},
	} {
		a := r.refused(c.cdb, c.list, scsi.KeyIllegalRequest, c.code)
		a.wantField(t, c.at, c.bit)
	}
	for _, list := range [][]byte{nil, {0, 0, 0}, {0, 0x88, 0, 0, 0}, {0, 0x88, 0, 0, 0, 1, 0, 9, 0}} {
		r.refused(format(0x10), list, scsi.KeyIllegalRequest, scsi.ASCParameterListLengthError)
	}
	r.wantNoted()
}

// With IMMED the unit says FORMAT IN PROGRESS and how far it is.
func TestFormatUnit_Immediate(t *testing.T) {
	r := newRig(t, func(_ *Options, s *recorder) { *s = *newRecorder(t, 3*zeroPiece) })
	pieces, end := make(chan struct{}, 8), make(chan struct{})
	r.store.fail = func(op string, _, _ int64) error {
		if op == "zero" {
			pieces <- struct{}{}
			<-end
		}
		return nil
	}
	immediate := []byte{0, 0x02, 0, 0}
	r.good(format(0x10), immediate)
	<-pieces
	for _, c := range [][]byte{{0, 0, 0, 0, 0, 0}, read10(0, 1), write10(0, 1), format(0)} {
		r.refused(c, make([]byte, 512), scsi.KeyNotReady, scsi.ASCLogicalUnitNotReadyFormatInProgress)
	}
	end <- struct{}{}
	<-pieces // the second piece begins: a third is done
	a := r.run([]byte{0, 0, 0, 0, 0, 0}, nil)
	if want := []byte{0x80, 0x55, 0x55}; len(a.sense) < 18 || !bytes.Equal(a.sense[15:18], want) {
		t.Errorf("progress % x, want % x", a.sense, want)
	}
	close(end)
	r.device.background.wait()
	r.good(read10(0, 1), nil)
}

func TestFormatUnit_ImmediateFails(t *testing.T) {
	r := newRig(t, nil)
	r.store.fail = func(op string, _, _ int64) error { return errors.New("the head has crashed") }
	r.good(format(0x10), []byte{0, 0x02, 0, 0})
	r.device.background.wait()
	r.store.fail = nil
	for range 2 {
		r.refused(read10(0, 1), nil, scsi.KeyMediumError, scsi.ASCFormatCommandFailed)
	}
	r.good(format(0), nil)
	r.good(read10(0, 1), nil)
}

// A format that is cut short, by whatever, leaves a unit that says so until it has been
// formatted anew: also after the daemon was killed in the middle, and by a record that is
// there before the first block is touched.
func TestFormatUnit_CutShort_SBC3_5_3(t *testing.T) {
	k := &notes{}
	store := newRecorder(t, 3*zeroPiece)
	at := func(place string) func(*Options) { return func(o *Options) { o.Place = place } }
	r := keptRig(t, k, store, at("/disk"))
	pieces, end := make(chan struct{}, 8), make(chan struct{})
	store.fail = func(op string, _, _ int64) error {
		if op == "zero" {
			pieces <- struct{}{}
			<-end
		}
		return nil
	}
	r.good(format(0x10), []byte{0, 0x02, 0, 0})
	<-pieces
	// A kill is what the records are at this moment, and another process.
	killed := keptRig(t, &notes{kept: maps.Clone(k.kept)}, newRecorder(t, 4*mib), at("/disk"))
	for _, c := range [][]byte{read10(0, 1), write10(0, 1), {0, 0, 0, 0, 0, 0}} {
		killed.refused(c, make([]byte, 512), scsi.KeyMediumError, scsi.ASCMediumFormatCorrupted)
	}
	keptRig(t, &notes{kept: maps.Clone(k.kept)}, newRecorder(t, 4*mib), at("/another")).good(read10(0, 1), nil)
	killed.good(format(0), nil)
	killed.good(read10(0, 1), nil)

	// A clean stop in the middle is no better.
	closed := make(chan struct{})
	go func() { defer close(closed); r.device.Close() }()
	for !r.device.background.closed.Load() {
		time.Sleep(time.Millisecond)
	}
	close(end)
	<-closed
	store.fail = nil
	again := keptRig(t, k, store, at("/disk"))
	again.refused(read10(0, 1), nil, scsi.KeyMediumError, scsi.ASCMediumFormatCorrupted)
	again.good(format(0), nil)
	again.good(read10(0, 1), nil)
	keptRig(t, k, store, at("/disk")).good(read10(0, 1), nil)
}

// What cannot be recorded does not begin; and a success that cannot be recorded is none.
func TestFormatUnit_NeedsItsRecord(t *testing.T) {
	k := &notes{}
	store := newRecorder(t, 4*mib)
	r := keptRig(t, k, store, nil)
	data := r.fill(3, 0, 4*mib)
	full := errors.New("the disk of the state is full")
	k.breakDown(full)
	r.refused(format(0), nil, scsi.KeyHardwareError, scsi.ASCInternalTargetFailure)
	r.wantContent(0, data)
	r.good(read10(0, 1), nil)
	k.breakDown(nil)
	store.fail = func(op string, _, _ int64) error {
		if op == "sync" {
			k.breakDown(full)
		}
		return nil
	}
	r.refused(format(0), nil, scsi.KeyHardwareError, scsi.ASCInternalTargetFailure)
	r.refused(read10(0, 1), nil, scsi.KeyMediumError, scsi.ASCMediumFormatCorrupted)
}

// Long commands look between two pieces whether they were aborted.
func TestAbort_BetweenPieces(t *testing.T) {
	block := pattern(512, 1)
	for name, c := range map[string]struct{ cdb, out []byte }{
		"VERIFY":             {cdb(form16, 0x8f, 0, 0, 1<<18), nil},
		"VERIFY one block":   {cdb(form16, 0x8f, flagBYTCHK, 0, 1<<18), make([]byte, 512)},
		"WRITE SAME":         {cdb(form16, 0x93, 0, 0, 1<<15), block},
		"WRITE SAME zeros":   {cdb(form16, 0x93, flagNDOB, 0, 1<<15), nil},
		"FORMAT UNIT":        {format(0), nil},
		"PRE-FETCH":          {cdb(form16, 0x90, 0, 0, 1<<16), nil},
		"UNMAP":              {unmapCDB(24), unmapParameters([2]uint64{0, 1 << 18})},
		"ORWRITE":            {cdb(form16, 0x8b, 0, 0, 8192), make([]byte, 8192*512)},
		"VERIFY of Data-Out": {cdb(form16, 0x8f, 2, 0, 8192), make([]byte, 8192*512)},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(_ *Options, s *recorder) {
				*s = *newRecorder(t, 128*mib)
				s.features &^= backstore.CanMap // all is mapped
			})
			inStore, end := make(chan struct{}, 1), make(chan struct{})
			calls := 0
			r.store.fail = func(op string, _, _ int64) error {
				if calls++; calls == 1 {
					inStore <- struct{}{}
					<-end
				}
				return nil
			}
			x := r.start(r.nexus, c.cdb, c.out, 0)
			select {
			case <-inStore:
			case <-x.done:
				t.Fatalf("ended before it reached the store: %s", x.answer().describe())
			}
			response := make(chan scsi.Response)
			go func() { response <- r.unit.Manage(scsi.AbortTaskSet, r.nexus, 0) }()
			for !x.command.Aborted() {
				time.Sleep(time.Millisecond)
			}
			close(end)
			if got := <-response; got != scsi.FunctionComplete {
				t.Errorf("ABORT TASK SET: %v", got)
			}
			a := x.answer()
			if !a.silent {
				t.Errorf("an aborted command answers %v", a.status)
			}
			if calls > 2 { // ORWRITE ends the piece it is in
				t.Errorf("the store was called %d times: the command went on after its abort", calls)
			}
		})
	}
}
