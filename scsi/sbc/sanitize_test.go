package sbc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/scsi"
)

func sanitizeCDB(action byte, flags byte, n int) []byte {
	return []byte{0x48, action | flags, 0, 0, 0, 0, 0, byte(n >> 8), byte(n), 0}
}

func overwriteList(count byte, pattern ...byte) []byte {
	p := []byte{count, 0, byte(len(pattern) >> 8), byte(len(pattern))}
	return append(p, pattern...)
}

// notes keeps the records of units in memory.
type notes struct {
	mu   sync.Mutex
	kept map[string][]byte
	fail error
}

func (k *notes) Load(id scsi.Identity, kind string) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.kept[id.Serial+kind], nil
}

func (k *notes) Save(id scsi.Identity, kind string, record []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fail != nil {
		return k.fail
	}
	if k.kept == nil {
		k.kept = map[string][]byte{}
	}
	k.kept[id.Serial+kind] = bytes.Clone(record)
	return nil
}

func (k *notes) breakDown(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fail = err
}

// keptRig is a rig whose unit keeps records in k, upon store if that is not nil.
func keptRig(t *testing.T, k *notes, store *recorder, change func(*Options)) *rig {
	t.Helper()
	if store == nil {
		store = newRecorder(t, 4*mib)
	}
	o := Options{BlockSize: 512, WriteCache: true, Thin: true, Medium: backstore.Bind(store)}
	if change != nil {
		change(&o)
	}
	device, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, device: device, store: store, blocks: uint64(store.size) / 512}
	if r.unit, err = scsi.NewLogicalUnit(scsi.Identity{Name: "kept", Serial: "kept"}, device, k); err != nil {
		t.Fatal(err)
	}
	r.unit.Report = func(err error) { t.Logf("the unit reports: %v", err) }
	r.nexus = r.attach("iqn.2026-11.test:one")
	t.Cleanup(device.Close)
	return r
}

func TestSanitizeOverwrite_SBC3_5_25(t *testing.T) {
	for _, x := range []struct {
		name    string
		list    []byte
		want    byte // of the first byte of the pattern
		passes  int64
		pattern []byte
	}{
		{"one pass", overwriteList(1, 0xaa, 0x01, 0x02), 0xaa, 1, []byte{0xaa, 1, 2}},
		{"three passes, inverted", overwriteList(0x83, 0xaa, 0x01), 0xaa, 3, []byte{0xaa, 1}},
		{"two passes, inverted", overwriteList(0x82, 0xaa, 0x01), 0x55, 2, []byte{0x55, 0xfe}},
		{"zeros", overwriteList(1, 0), 0, 1, []byte{0}},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := keptRig(t, &notes{}, nil, nil)
			r.fill(3, 0, 4*mib)
			r.good(sanitizeCDB(1, 0, len(x.list)), x.list)
			for lba, p := uint64(0), r.content(0, r.blocks); lba < r.blocks; lba++ {
				for i, b := range p[lba*512 : (lba+1)*512] {
					if b != x.pattern[i%len(x.pattern)] {
						t.Fatalf("block %d byte %d is %x", lba, i, b)
					}
				}
			}
			if n := r.store.writes.Load(); n != x.passes*4 {
				t.Errorf("%d pieces of 1 MiB were written, want %d", n, x.passes*4)
			}
			if diary := r.store.noted(); diary[len(diary)-1] != "sync" {
				t.Error("it is not durable")
			}
			r.good(read10(0, 1), nil)
		})
	}
}

func TestSanitizeBlockErase_SBC3_5_25(t *testing.T) {
	r := newRig(t, nil)
	r.fill(3, 0, 4*mib)
	r.good(sanitizeCDB(2, 0, 0), nil)
	r.wantContent(0, make([]byte, 4*mib))
	if e, err := r.device.Medium().ExtentAt(0, 4*mib); err != nil || e.State != backstore.Deallocated || e.Length != 4*mib {
		t.Errorf("the medium: %+v, %v; want that it holds nothing", e, err)
	}
	if diary := r.store.noted(); diary[len(diary)-1] != "sync" {
		t.Error("it is not durable")
	}
}

func TestSanitizeRefusals(t *testing.T) {
	r := newRig(t, nil)
	data := r.fill(3, 0, 4*mib)
	for _, x := range []struct {
		cdb, list []byte
		code      scsi.SenseCode
	}{
		{sanitizeCDB(3, 0, 0), nil, scsi.ASCInvalidFieldInCDB},
		{sanitizeCDB(4, 0, 0), nil, scsi.ASCInvalidFieldInCDB},
		{sanitizeCDB(2, 0, 8), make([]byte, 8), scsi.ASCInvalidFieldInCDB},
		{sanitizeCDB(0x1f, 0, 8), make([]byte, 8), scsi.ASCInvalidFieldInCDB},
		{sanitizeCDB(1, 0, 0), nil, scsi.ASCInvalidFieldInCDB},
		{sanitizeCDB(1, 0, 4), overwriteList(1), scsi.ASCInvalidFieldInCDB},
		{sanitizeCDB(1, 0, 517), append(overwriteList(1, make([]byte, 512)...), 0), scsi.ASCInvalidFieldInCDB},
		{sanitizeCDB(1, 0, 5), overwriteList(0, 1), scsi.ASCInvalidFieldInParameterList},
		{sanitizeCDB(1, 0, 5), overwriteList(0x21, 1), scsi.ASCInvalidFieldInParameterList},
		{sanitizeCDB(1, 0, 5), []byte{1, 0, 0, 0, 1}, scsi.ASCInvalidFieldInParameterList},
		{sanitizeCDB(1, 0, 5), []byte{1, 0, 0, 2, 1}, scsi.ASCInvalidFieldInParameterList},
		{sanitizeCDB(1, 0, 5), []byte{1, 1, 0, 1, 1}, scsi.ASCInvalidFieldInParameterList},
		{sanitizeCDB(1, 0, 6), []byte{1, 0, 0, 1, 1}, scsi.ASCParameterListLengthError},
	} {
		r.refused(x.cdb, x.list, scsi.KeyIllegalRequest, x.code)
	}
	r.wantContent(0, data)
	r.good(sanitizeCDB(0x1f, 0, 0), nil)
	protected := newRig(t, func(o *Options, _ *recorder) { o.ReadOnly = true })
	protected.refused(sanitizeCDB(2, 0, 0), nil, scsi.KeyDataProtect, scsi.ASCWriteProtected)
}

// slowly is a rig whose medium lets the first write wait until goOn is closed.
func slowly(t *testing.T, k *notes) (r *rig, begun, goOn chan struct{}) {
	begun, goOn = make(chan struct{}), make(chan struct{})
	store := newRecorder(t, 4*mib)
	var once sync.Once
	store.fail = func(op string, off, _ int64) error {
		if op == "write" && off == 2*mib {
			once.Do(func() { close(begun); <-goOn })
		}
		return nil
	}
	return keptRig(t, k, store, nil), begun, goOn
}

// While it goes on, what needs the medium is told so, and little else is let through.
func TestSanitizeInProgress_SBC3_4_11(t *testing.T) {
	r, begun, goOn := slowly(t, &notes{})
	list := overwriteList(1, 7)
	r.good(sanitizeCDB(1, 0x80, len(list)), list)
	<-begun
	inProgress := func(cdb []byte) {
		t.Helper()
		r.refused(cdb, make([]byte, 512), scsi.KeyNotReady, scsi.ASCLogicalUnitNotReadySanitizeInProgress)
	}
	inProgress([]byte{0, 0, 0, 0, 0, 0})
	inProgress(read10(0, 1))
	inProgress(write10(0, 1))
	inProgress([]byte{0x1b, 0, 0, 0, 1, 0})   // START STOP UNIT
	inProgress([]byte{0x1a, 0, 8, 0, 255, 0}) // MODE SENSE
	inProgress([]byte{0x16, 0, 0, 0, 0, 0})   // RESERVE
	inProgress([]byte{0x04, 0, 0, 0, 0, 0})   // FORMAT UNIT
	inProgress(sanitizeCDB(2, 0, 0))          // another one
	inProgress(sanitizeCDB(0x1f, 0, 0))       // EXIT FAILURE MODE
	inProgress([]byte{0x83, 14: 0, 15: 0})    // EXTENDED COPY
	r.good([]byte{0x12, 0, 0, 0, 96, 0}, nil) // INQUIRY
	r.good([]byte{0xa0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0}, nil)
	r.good([]byte{0x4d, 0, 0x40, 0, 0, 0, 0, 0, 64, 0}, nil) // LOG SENSE
	sense := r.good([]byte{0x03, 0, 0, 0, 18, 0}, nil)
	if scsi.SenseCode(binary.BigEndian.Uint16(sense[12:])) != scsi.ASCLogicalUnitNotReadySanitizeInProgress || sense[15] != 0x80 || sense[16] != 0x80 {
		t.Errorf("REQUEST SENSE after half of it: % x", sense)
	}
	close(goOn)
	r.device.background.wait()
	r.good([]byte{0, 0, 0, 0, 0, 0}, nil)
	r.wantContent(0, bytes.Repeat([]byte{7}, 4*mib))
}

// Neither task management nor the end of the nexus ends it; without IMMED the
// command waits, and others hear at once what goes on.
func TestSanitizeGoesOn_SBC3_4_11(t *testing.T) {
	r, begun, goOn := slowly(t, &notes{})
	list := overwriteList(1, 7)
	x := r.start(r.nexus, sanitizeCDB(1, 0, len(list)), list, 0)
	<-begun
	other := r.attach("iqn.2026-11.test:two")
	for _, f := range []scsi.Function{scsi.AbortTask, scsi.ClearTaskSet, scsi.LogicalUnitReset} {
		if a := r.run([]byte{0, 0, 0, 0, 0, 0}, nil); a.code() != scsi.ASCLogicalUnitNotReadySanitizeInProgress {
			t.Errorf("TEST UNIT READY before function %d: %v, %s", f, a.status, a.describe())
		}
		n := other
		if f == scsi.AbortTask {
			n = r.nexus
		}
		if response := r.unit.Manage(f, n, x.command.Tag); response != scsi.FunctionComplete {
			t.Errorf("function %d: %v", f, response)
		}
		for r.unit.TakeAttention(r.nexus) != nil {
		}
	}
	if a := x.answer(); a.status == scsi.Good && !a.silent {
		t.Errorf("the aborted command: %v", a.status)
	}
	r.unit.NexusLost(r.nexus)
	close(goOn)
	r.device.background.wait()
	r.wantContent(0, bytes.Repeat([]byte{7}, 4*mib))
}

// A medium that fails leaves the unit in failure mode: with AUSE it may be left,
// without only a sanitize operation that succeeds ends it. It outlives the process.
func TestSanitizeFailureMode_SBC3_4_11(t *testing.T) {
	for _, ause := range []byte{0, 0x20} {
		k := &notes{}
		store := newRecorder(t, 4*mib)
		bad := errors.New("a bad block")
		store.fail = func(op string, _, _ int64) error {
			if op == "write" {
				return bad
			}
			return nil
		}
		r := keptRig(t, k, store, nil)
		list := overwriteList(1, 7)
		r.refused(sanitizeCDB(1, ause, len(list)), list, scsi.KeyMediumError, scsi.ASCSanitizeCommandFailed)
		for range 2 {
			r.refused(read10(0, 1), nil, scsi.KeyMediumError, scsi.ASCSanitizeCommandFailed)
			r.refused([]byte{0x1a, 0, 8, 0, 255, 0}, nil, scsi.KeyMediumError, scsi.ASCSanitizeCommandFailed)
			r.good([]byte{0x12, 0, 0, 0, 96, 0}, nil)
			r = keptRig(t, k, store, nil) // the daemon is started again
		}
		if ause != 0 {
			r.good(sanitizeCDB(0x1f, 0, 0), nil)
		} else {
			r.refused(sanitizeCDB(0x1f, 0, 0), nil, scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCDB)
			r.refused(sanitizeCDB(2, 0x20, 0), nil, scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCDB)
			r.good(sanitizeCDB(2, 0, 0), nil)
		}
		r.good(read10(0, 1), nil)
		keptRig(t, k, store, nil).good(read10(0, 1), nil)
	}
}

// What the end of the process cuts short is done after the next start.
func TestSanitizeIsResumed(t *testing.T) {
	k := &notes{}
	store := newRecorder(t, 4*mib)
	r := keptRig(t, k, store, func(o *Options) { o.SanitizeRate = mib / 60 }) // a piece a minute
	r.fill(3, 0, 4*mib)
	list := overwriteList(0x82, 7)
	r.good(sanitizeCDB(1, 0x80, len(list)), list)
	for deadline := time.Now().Add(patience); store.writes.Load() == 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	r.device.Close() // ends it early
	if p := r.content(r.blocks-1, 1); bytes.Equal(p, bytes.Repeat([]byte{7}, 512)) {
		t.Fatal("it was done before it could be interrupted")
	}
	again := keptRig(t, k, store, nil)
	again.device.background.wait()
	again.good(read10(0, 1), nil)
	again.wantContent(0, bytes.Repeat([]byte{0xf8}, 4*mib))
	writes := store.writes.Load()
	keptRig(t, k, store, nil).device.background.wait()
	if store.writes.Load() != writes {
		t.Error("it is done once more after it has succeeded")
	}
}

// It is not done to another medium that the unit has been given meanwhile, but goes
// on when the old one is back.
func TestSanitizeIsNotResumedElsewhere(t *testing.T) {
	k := &notes{}
	at := func(place string, told *error) func(*Options) {
		return func(o *Options) {
			o.Place, o.SanitizeRate, o.Report = place, mib/60, func(err error) { *told = err }
		}
	}
	var told error
	old := newRecorder(t, 4*mib)
	r := keptRig(t, k, old, at("/old", &told))
	list := overwriteList(1, 7)
	r.good(sanitizeCDB(1, 0x80, len(list)), list)
	r.device.Close() // ends it early

	other := newRecorder(t, 4*mib)
	r = keptRig(t, k, other, at("/other", &told))
	r.refused(read10(0, 1), nil, scsi.KeyMediumError, scsi.ASCSanitizeCommandFailed)
	r.device.Close()
	if n := other.writes.Load(); n != 0 {
		t.Errorf("%d writes to another medium", n)
	}
	if told == nil || !strings.Contains(told.Error(), "/old") || !strings.Contains(told.Error(), "/other") {
		t.Errorf("the operator hears %v", told)
	}
	r = keptRig(t, k, old, func(o *Options) { o.Place = "/old" })
	r.device.background.wait()
	r.good(read10(0, 1), nil)
	r.wantContent(0, bytes.Repeat([]byte{7}, 4*mib))
}

// What cannot be recorded does not begin; and a success that cannot be recorded is
// a failure, for it would be repeated after the next start, over what was written since.
func TestSanitizeNeedsItsRecord(t *testing.T) {
	k := &notes{}
	store := newRecorder(t, 4*mib)
	r := keptRig(t, k, store, nil)
	data := r.fill(3, 0, 4*mib)
	k.breakDown(errors.New("the disk of the state is full"))
	r.refused(sanitizeCDB(2, 0, 0), nil, scsi.KeyHardwareError, scsi.ASCInternalTargetFailure)
	r.wantContent(0, data)
	r.good(read10(0, 1), nil)
	k.breakDown(nil)
	store.fail = func(op string, _, _ int64) error {
		if op == "sync" {
			k.breakDown(errors.New("the disk of the state is full"))
		}
		return nil
	}
	r.refused(sanitizeCDB(2, 0, 0), nil, scsi.KeyMediumError, scsi.ASCSanitizeCommandFailed)
	r.refused(write10(0, 1), make([]byte, 512), scsi.KeyMediumError, scsi.ASCSanitizeCommandFailed)
}
