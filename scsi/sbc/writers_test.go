package sbc

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/memory"
	"github.com/isantarget/isantarget/scsi"
	"github.com/isantarget/isantarget/scsi/spc"
)

// A writer is a command that changes the medium, as the tests of what goes wrong there
// send it.
type writer struct {
	row, how string // the name of its row, and what sets it apart from the others of the row
	family   family
	reads    bool // it reads what it writes from a medium, or reads it back
	whole    bool // it changes all of its blocks or none
	spares   bool // it takes no space
	thick    bool // it is sent to a unit that is fully provisioned
	send     func(s *scene) answer
	want     func(s *scene) []byte // what the blocks become; nil: s.data
}

func (w writer) name() string {
	if w.how == "" {
		return w.row
	}
	return w.row + " " + w.how
}

// family is how a writer tells what has gone wrong.
type family int

const (
	ofBlocks   family = iota // by the block
	ofCopy                   // COPY ABORTED (SPC-4 6.4.3)
	ofToken                  // by the block that was to be written, or COPY ABORTED
	ofFormat                 // it is about all blocks: FORMAT COMMAND FAILED
	ofSanitize               // so is this: SANITIZE COMMAND FAILED, of no block
)

// A scene is a unit, LUN 0, to which a writer is sent, and LUN 1, from which is copied.
type scene struct {
	*copyRig
	raw       backstore.Store // LUN 0, around the device
	size      int             // of a block
	lba       uint64
	n         int    // blocks, from lba on
	old, data []byte // what they hold, and what is sent or copied; data is on LUN 1 from block sceneFrom on
}

const sceneFrom = 3

// newScene makes a scene of n blocks from lba on. medium is LUN 0, and raw is below it; from is LUN 1.
func newScene(t testing.TB, w writer, size int, medium, raw backstore.Store, from, rawFrom backstore.Store, lba uint64, n int) *scene {
	t.Helper()
	s := &scene{raw: raw, size: size, lba: lba, n: n, data: pattern(n*size, 2)}
	if _, err := rawFrom.WriteAt(s.data, sceneFrom*int64(size)); err != nil {
		t.Fatal(err)
	}
	s.copyRig = joinRigs(t,
		newRigUpon(t, backstore.Bind(medium), Options{BlockSize: size, WriteCache: true, Thin: !w.thick}),
		newRigUpon(t, backstore.Bind(from), Options{BlockSize: size, WriteCache: true, Thin: true}))
	if w.family == ofFormat || w.family == ofSanitize {
		s.lba, s.n = 0, int(s.blocks)
	}
	s.old = s.held(t)
	return s
}

// held is what the blocks of the scene hold.
func (s *scene) held(t testing.TB) []byte {
	t.Helper()
	p := make([]byte, s.n*s.size)
	if _, err := s.raw.ReadAt(p, int64(s.lba)*int64(s.size)); err != nil {
		t.Fatal(err)
	}
	return p
}

// want is what w makes of the blocks.
func (s *scene) want(w writer) []byte {
	if w.want == nil {
		return s.data
	}
	return w.want(s)
}

// check checks what the blocks hold after w has ended with a: GOOD is for blocks that
// are all written. Else each is as it was or as it was to be, and first, if it is not
// negative, is the first that is not written.
func (s *scene) check(t testing.TB, w writer, a answer, first int64) {
	t.Helper()
	got, want := s.held(t), s.want(w)
	for i := range s.n {
		block := func(p []byte) []byte { return p[i*s.size : (i+1)*s.size] }
		lba := int64(s.lba) + int64(i)
		written, kept := bytes.Equal(block(got), block(want)), bytes.Equal(block(got), block(s.old))
		switch {
		case !written && !kept:
			t.Fatalf("%s: block %d is neither what it was nor what it was to be, after %v, %s", w.name(), lba, a.status, a.describe())
		case written && kept:
		case a.status == scsi.Good && !written:
			t.Fatalf("%s: GOOD, and block %d is not written", w.name(), lba)
		case a.status == scsi.Good:
		case w.whole && written:
			t.Fatalf("%s: block %d is written, and not all are", w.name(), lba)
		case first < 0 || w.whole:
		case written && lba == first:
			t.Fatalf("%s: block %d is written, and said not to be", w.name(), lba)
		case !written && lba < first:
			t.Fatalf("%s: block %d is not written, and %d said to be the first", w.name(), lba, first)
		}
	}
}

// restore has the blocks hold what they held at first.
func (s *scene) restore(t testing.TB) {
	t.Helper()
	if _, err := s.raw.WriteAt(s.old, int64(s.lba)*int64(s.size)); err != nil {
		t.Fatal(err)
	}
}

func (s *scene) sends(cdb, out []byte) answer { return s.at(0, s.copyRig.nexus, cdb, out).answer() }

// writers are all of them: at least one for each row that changes the medium.
func writers() []writer {
	plain := func(row, how string, f form, code, flags byte) writer {
		return writer{row: row, how: how, send: func(s *scene) answer { return s.sends(cdb(f, code, flags, s.lba, uint64(s.n)), s.data) }}
	}
	verified := func(row string, f form, code, flags byte) writer {
		w := plain(row, "", f, code, flags)
		w.reads = true
		return w
	}
	or := plain("ORWRITE (16)", "", form16, 0x8b, 0)
	or.reads = true
	or.want = func(s *scene) []byte {
		p := bytes.Clone(s.old)
		for i, b := range s.data {
			p[i] |= b
		}
		return p
	}
	list := []writer{
		plain("WRITE (6)", "", form6, 0x0a, 0),
		plain("WRITE (10)", "", form10, 0x2a, 0), plain("WRITE (10)", "FUA", form10, 0x2a, flagFUA),
		plain("WRITE (12)", "", form12, 0xaa, 0), plain("WRITE (16)", "", form16, 0x8a, 0), plain("WRITE (32)", "", form32, 0x0b, 0),
		verified("WRITE AND VERIFY (10)", form10, 0x2e, bytchk01), verified("WRITE AND VERIFY (12)", form12, 0xae, 0),
		verified("WRITE AND VERIFY (16)", form16, 0x8e, bytchk01), verified("WRITE AND VERIFY (32)", form32, 0x0c, 0),
		or,
		compareAndWriter(), atomicWriter(), unmapper(), copier(), tokenUser(), zeroTokenUser(),
	}
	list = append(list, repeaters()...)
	return append(list, wholeMediumWriters()...)
}

func repeaters() []writer {
	zeros := func(s *scene) []byte { return make([]byte, len(s.data)) }
	repeated := func(s *scene) []byte { return bytes.Repeat(s.data[:s.size], s.n) }
	same := func(row string, f form, code byte) []writer {
		send := func(flags byte, block func(s *scene) []byte) func(*scene) answer {
			return func(s *scene) answer { return s.sends(cdb(f, code, flags, s.lba, uint64(s.n)), block(s)) }
		}
		zero := func(s *scene) []byte { return make([]byte, s.size) }
		return []writer{
			{row: row, send: send(0, func(s *scene) []byte { return s.data[:s.size] }), want: repeated},
			{row: row, how: "of zeros", send: send(0, zero), want: zeros},
			{row: row, how: "UNMAP", spares: true, send: send(flagUNMAP, zero), want: zeros},
		}
	}
	return append(append(same("WRITE SAME (10)", form10, 0x41), same("WRITE SAME (16)", form16, 0x93)...), same("WRITE SAME (32)", form32, 0x0d)...)
}

func compareAndWriter() writer {
	return writer{row: "COMPARE AND WRITE", reads: true, whole: true, send: func(s *scene) answer {
		return s.sends(compareAndWrite(0, s.lba, byte(s.n)), append(bytes.Clone(s.old), s.data...))
	}}
}

func atomicWriter() writer {
	return writer{row: "WRITE ATOMIC (16)", whole: true, send: func(s *scene) answer {
		return s.sends(writeAtomic(0, s.lba, uint16(s.n)), s.data)
	}}
}

func unmapper() writer {
	return writer{row: "UNMAP", spares: true, want: func(s *scene) []byte { return make([]byte, len(s.data)) },
		send: func(s *scene) answer {
			p := unmapParameters([2]uint64{s.lba, 7}, [2]uint64{s.lba + 7, uint64(s.n) - 7})
			return s.sends(unmapCDB(len(p)), p)
		}}
}

func copier() writer {
	return writer{row: "EXTENDED COPY (LID1)", family: ofCopy, reads: true, send: func(s *scene) answer {
		return s.copies(s.list(0, move{1, 0, sceneFrom, s.lba, uint16(s.n)}))
	}}
}

func tokenUser() writer {
	return writer{row: "WRITE USING TOKEN", family: ofToken, reads: true, send: func(s *scene) answer {
		t := s.copyRig.t
		t.Helper()
		token := s.populate(t, 1, blockRange{sceneFrom, uint32(s.n)})
		return s.use(0, s.copyRig.nexus, usingList(token, 0, 0, blockRange{s.lba, uint32(s.n)}))
	}}
}

func zeroTokenUser() writer {
	return writer{row: "WRITE USING TOKEN", how: "of zeros", family: ofToken, spares: true,
		want: func(s *scene) []byte { return make([]byte, len(s.data)) },
		send: func(s *scene) answer {
			token := make([]byte, tokenLength)
			binary.BigEndian.PutUint32(token, spc.BlockZero)
			binary.BigEndian.PutUint16(token[6:], tokenLengthField)
			return s.use(0, s.copyRig.nexus, usingList(token, 0, 0, blockRange{s.lba, uint32(s.n)}))
		}}
}

// wholeMediumWriters change every block.
func wholeMediumWriters() []writer {
	zeros := func(s *scene) []byte { return make([]byte, s.n*s.size) }
	format := func(s *scene) answer { return s.sends(format(0), nil) }
	erase := func(s *scene) answer { return s.sends(sanitizeCDB(sanitizeBlockErase, 0, 0), nil) }
	return []writer{
		{row: "FORMAT UNIT", family: ofFormat, spares: true, want: zeros, send: format},
		{row: "FORMAT UNIT", how: "fully provisioned", family: ofFormat, thick: true, want: zeros, send: format},
		{row: "SANITIZE (BLOCK ERASE)", family: ofSanitize, spares: true, want: zeros, send: erase},
		{row: "SANITIZE (BLOCK ERASE)", how: "fully provisioned", family: ofSanitize, thick: true, want: zeros, send: erase},
		{
			row: "SANITIZE (OVERWRITE)", family: ofSanitize,
			want: func(s *scene) []byte { return bytes.Repeat([]byte{0xaa, 0x55}, s.n*s.size/2) },
			send: func(s *scene) answer {
				p := overwriteList(1, 0xaa, 0x55)
				return s.sends(sanitizeCDB(sanitizeOverwrite, 0, len(p)), p)
			},
		},
	}
}

// Each row that changes the medium is among the writers. Those that may not run beside
// another's write exclusive reservation either do, or are named here.
func TestWriters_EveryRow(t *testing.T) {
	have := map[string]bool{}
	for _, w := range writers() {
		have[w.row] = true
	}
	harmless := map[string]bool{
		"SYNCHRONIZE CACHE (10)": true, "SYNCHRONIZE CACHE (16)": true, "START STOP UNIT": true, "PREVENT ALLOW MEDIUM REMOVAL": true,
		"SANITIZE (EXIT FAILURE MODE)": true, "MODE SELECT (6)": true, "MODE SELECT (10)": true, "SEND DIAGNOSTIC": true,
		"WRITE BUFFER (write data to echo buffer)": true, "SET TARGET PORT GROUPS": true,
	}
	store, err := memory.New(mib)
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range newRigUpon(t, backstore.Bind(store), Options{BlockSize: 512, Thin: true, ExplicitAccess: true}).unit.Operations() {
		writes := op.Traits&scsi.Writes != 0 || op.Conflict == scsi.ConflictAlways
		switch {
		case writes && !have[op.Name] && !harmless[op.Name]:
			t.Errorf("%s is not among the writers: nobody knows what it does on a full disk, or on one that fails", op.Name)
		case op.Traits&scsi.Writes != 0 && harmless[op.Name]:
			t.Errorf("%s changes the medium", op.Name)
		}
		delete(have, op.Name)
		delete(harmless, op.Name)
	}
	for row := range have {
		t.Errorf("there is no row %s", row)
	}
	for row := range harmless {
		t.Errorf("there is no row %s", row)
	}
}
