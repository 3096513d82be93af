package provision

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/internal/loopdevice"
)

// A thinLUN is a sparse LUN that is bigger than its file system, and two initiators of it.
type thinLUN struct {
	*daemon
	t      *testing.T
	folder string
	a, b   *initiator.Connection
	told   map[*initiator.Connection]int // how often each has heard of a threshold
}

const (
	thresholdReached = 0x3807
	noSpace          = 0x2707
)

// thinly makes one of size MiB on a file system of diskMiB, of which it takes ballast MiB away for later.
func thinly(t *testing.T, kind string, diskMiB, sizeMiB, ballastMiB int, store, lun string) *thinLUN {
	t.Helper()
	folder := loopdevice.FileSystem(t, kind, int64(diskMiB)*mib)
	ballast, err := os.Create(filepath.Join(folder, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(unix.Fallocate(int(ballast.Fd()), 0, 0, int64(ballastMiB)*mib), ballast.Close()); err != nil {
		t.Fatal(err)
	}
	d := start(t, t.TempDir(), fmt.Sprintf("[[store]]\nname = \"tank\"\npath = %q\novercommit = \"allow\"\n%s\n[[lun]]\nname = \"thin\"\nstore = \"tank\"\nsize = \"%dMiB\"\n%s\n", folder, store, sizeMiB, lun)+
		"[[target]]\nname = \""+name+"\"\nluns = { 0 = \"thin\" }\n")
	l := &thinLUN{daemon: d, t: t, folder: folder, told: map[*initiator.Connection]int{}}
	l.a, l.b = d.mustLogin(t, alice, nil), d.mustLogin(t, bob, nil)
	return l
}

// send executes a command, behind the unit attentions that are pending.
func (l *thinLUN) send(c *initiator.Connection, cmd initiator.Command) *initiator.Result {
	l.t.Helper()
	for {
		r, err := c.Execute(cmd)
		if err != nil {
			l.t.Fatal(err)
		}
		key, code := r.SenseCode()
		if r.Status != 2 || key != 6 {
			return r
		}
		if code == thresholdReached {
			l.told[c]++
		}
	}
}

func (l *thinLUN) write(lba uint32, data []byte) (key uint8, code uint16, information int64) {
	l.t.Helper()
	cdb := make([]byte, 10)
	cdb[0] = 0x2a
	binary.BigEndian.PutUint32(cdb[2:], lba)
	binary.BigEndian.PutUint16(cdb[7:], uint16(len(data)/512))
	r := l.send(l.a, initiator.Command{CDB: cdb, Write: data})
	l.send(l.b, initiator.Command{CDB: make([]byte, 6)}) // or it is taken for dead
	key, code = r.SenseCode()
	information = -1
	if len(r.Sense) >= 8 && r.Sense[0]&0x80 != 0 {
		information = int64(binary.BigEndian.Uint32(r.Sense[3:]))
	}
	return key, code, information
}

func (l *thinLUN) read(lba uint32, n int) []byte {
	l.t.Helper()
	cdb := make([]byte, 10)
	cdb[0] = 0x28
	binary.BigEndian.PutUint32(cdb[2:], lba)
	binary.BigEndian.PutUint16(cdb[7:], uint16(n/512))
	r := l.send(l.b, initiator.Command{CDB: cdb, Read: n})
	if r.Status != 0 {
		key, code := r.SenseCode()
		l.t.Fatalf("read of block %d: sense %x/%04x", lba, key, code)
	}
	return r.Data
}

// fill writes MiB after MiB from at on, until one finds no space; that one is given.
func (l *thinLUN) fill(at int) (failed int, information int64) {
	l.t.Helper()
	for i := at; ; i++ {
		key, code, information := l.write(uint32(i*2048), mibOf(i))
		if key == 0 {
			continue
		}
		if key != 7 || code != noSpace {
			l.t.Fatalf("MiB %d: sense %x/%04x, want DATA PROTECT, SPACE ALLOCATION FAILED WRITE PROTECT", i, key, code)
		}
		return i, information
	}
}

// mibOf is what fill writes: never a block of zeros, and no two equal.
func mibOf(i int) []byte {
	p := bytes.Repeat([]byte{byte(i) | 1}, mib)
	for at := 0; at < mib; at += 512 {
		binary.BigEndian.PutUint64(p[at:], uint64(i)<<32|uint64(at)|1)
	}
	return p
}

// await asks until it is so.
func (l *thinLUN) await(what string, is func() bool) {
	l.t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			l.t.Fatalf("a minute has gone by without: %s; events: %+v", what, l.events.all(func(Event) bool { return true }))
		}
	}
}

// happened tells whether there is an event with these words.
func (l *thinLUN) happened(words string) bool {
	return len(l.events.all(func(e Event) bool { return strings.Contains(e.Text, words) })) > 0
}

// ask sends TEST UNIT READY on both sides, for what they are to be told.
func (l *thinLUN) ask() {
	l.t.Helper()
	for _, c := range []*initiator.Connection{l.a, l.b} {
		l.send(c, initiator.Command{CDB: make([]byte, 6)})
	}
}

// TestFullFileSystem_SBC3_4_7_3: a write that finds no space says so and where, nothing is torn, the rest goes on, and when there is
// room again so does the LUN.
func TestFullFileSystem_SBC3_4_7_3(t *testing.T) {
	for kind, size := range map[string]struct{ disk, ballast int }{"ext4": {64, 16}, "xfs": {320, 220}} {
		t.Run(kind, func(t *testing.T) {
			l := thinly(t, kind, size.disk, 2*size.disk, size.ballast, "space-threshold = 0", "space-threshold = 0")
			failed, information := l.fill(0)
			first := int64(failed * 2048)
			if information < first || information >= first+2048 || information%8 != 0 {
				t.Errorf("the first block without space is %d, want a whole page of the MiB from block %d on", information, first)
			}
			want := mibOf(failed)
			clear(want[(information-first)*512:])
			if !bytes.Equal(l.read(uint32(first), mib), want) {
				t.Errorf("MiB %d does not hold what was written before block %d, and then nothing", failed, information)
			}
			if key, code, _ := l.write(2048, mibOf(1000)); key != 0 {
				t.Errorf("overwriting: sense %x/%04x", key, code)
			}
			if !bytes.Equal(l.read(2048, mib), mibOf(1000)) {
				t.Error("what was overwritten is not there")
			}
			if key, code, _ := l.write(2048, mibOf(1)); key != 0 {
				t.Errorf("overwriting again: sense %x/%04x", key, code)
			}
			l.await("the event of no space", func() bool { return l.happened("no space for what is written") })
			if err := os.Remove(filepath.Join(l.folder, "ballast")); err != nil {
				t.Fatal(err)
			}
			l.await("the write to succeed", func() bool {
				key, _, _ := l.write(uint32(first), mibOf(failed))
				return key == 0
			})
			l.await("the event of space", func() bool { return l.happened("has space again") })
			for i := range failed + 1 {
				if !bytes.Equal(l.read(uint32(i*2048), mib), mibOf(i)) {
					t.Fatalf("MiB %d is not what was written", i)
				}
			}
			if l.told[l.a]+l.told[l.b] > 0 {
				t.Error("initiators were told of a threshold that there is not")
			}
		})
	}
}

// TestNoSpaceForAnyCommand: whatever asks for new blocks says that there are none, as WRITE does.
func TestNoSpaceForAnyCommand(t *testing.T) {
	l := thinly(t, "ext4", 48, 256, 1, "space-threshold = 0", "")
	failed, _ := l.fill(0)
	for size := 256 << 10; size >= 4096; size /= 2 { // until not a page is left
		for at, n := 64*mib/512, 0; ; at, n = at+size/512, n+1 {
			if key, _, _ := l.write(uint32(failed*2048+at), mibOf(1)[:size]); key != 0 {
				break
			}
		}
	}
	hole := func(cdb []byte, at int) []byte {
		binary.BigEndian.PutUint64(cdb[2:], uint64(200*2048))
		if at > 0 {
			binary.BigEndian.PutUint32(cdb[at:], 8)
		}
		return cdb
	}
	data := mibOf(3)[:4096]
	caw := hole(append([]byte{0x89}, make([]byte, 15)...), 0)
	caw[13] = 8
	for name, c := range map[string]initiator.Command{
		"WRITE (16)":              {CDB: hole(append([]byte{0x8a}, make([]byte, 15)...), 10), Write: data},
		"WRITE (16) FUA":          {CDB: hole(append([]byte{0x8a, 0x08}, make([]byte, 14)...), 10), Write: data},
		"WRITE AND VERIFY (16)":   {CDB: hole(append([]byte{0x8e}, make([]byte, 15)...), 10), Write: data},
		"ORWRITE (16)":            {CDB: hole(append([]byte{0x8b}, make([]byte, 15)...), 10), Write: data},
		"WRITE SAME (16)":         {CDB: hole(append([]byte{0x93}, make([]byte, 15)...), 10), Write: data[:512]},
		"WRITE SAME (16) of zero": {CDB: hole(append([]byte{0x93, 0x01}, make([]byte, 14)...), 10)},
		"COMPARE AND WRITE":       {CDB: caw, Write: append(make([]byte, 4096), data...)},
	} {
		r := l.send(l.a, c)
		key, code := r.SenseCode()
		if key != 7 || code != noSpace || r.Sense[0]&0x80 == 0 || binary.BigEndian.Uint32(r.Sense[3:]) != 200*2048 {
			t.Errorf("%s: status %d, sense % x; want DATA PROTECT 27/07 and block %d", name, r.Status, r.Sense, 200*2048)
		}
	}
	// The copy manager says by which key it must, and why.
	xcopy := make([]byte, 16+2*32+28)
	for i := range 2 {
		d := xcopy[16+32*i:]
		d[0] = 0xe4
		copy(d[4:], []byte{0x01, 0x03, 0, 16})
		copy(d[8:], l.naa())
		copy(d[28:], []byte{0, 0, 2, 0})
	}
	binary.BigEndian.PutUint16(xcopy[2:], 64)
	binary.BigEndian.PutUint32(xcopy[8:], 28)
	s := xcopy[16+64:]
	s[0], s[3], s[7], s[11] = 0x02, 0x18, 1, 8
	binary.BigEndian.PutUint64(s[20:], 200*2048)
	cdb := append([]byte{0x83}, make([]byte, 15)...)
	binary.BigEndian.PutUint32(cdb[10:], uint32(len(xcopy)))
	if key, code := l.send(l.a, initiator.Command{CDB: cdb, Write: xcopy}).SenseCode(); key != 10 || code != noSpace {
		t.Errorf("EXTENDED COPY: sense %x/%04x, want COPY ABORTED 27/07", key, code)
	}
	for name, c := range map[string]initiator.Command{ // and what needs none finds none missing
		"WRITE SAME (16) UNMAP": {CDB: hole(append([]byte{0x93, 0x09}, make([]byte, 14)...), 10)},
		"READ (16)":             {CDB: hole(append([]byte{0x88}, make([]byte, 15)...), 10), Read: 4096},
		"SYNCHRONIZE CACHE":     {CDB: []byte{0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
	} {
		if r := l.send(l.a, c); r.Status != 0 {
			t.Errorf("%s: sense % x", name, r.Sense)
		}
	}
}

// naa is the NAA designator of the LUN.
func (l *thinLUN) naa() []byte {
	l.t.Helper()
	p := l.send(l.a, initiator.Command{CDB: []byte{0x12, 1, 0x83, 0, 255, 0}, Read: 255}).Data
	for d := p[4:]; len(d) >= 4; d = d[4+int(d[3]):] {
		if d[1]&0x3f == 0x03 && d[3] == 16 {
			return d[4:20]
		}
	}
	l.t.Fatalf("no NAA designator of 16 bytes: % x", p)
	return nil
}

// TestThresholds_SBC3_4_7_3: who crosses one is told of once, and everybody is; and once more when it was well below in between.
func TestThresholds_SBC3_4_7_3(t *testing.T) {
	for _, c := range []struct{ name, store, lun, up, down string }{
		{"of the store", "space-threshold = 50", "space-threshold = 0", "(threshold 50 %)", "below its threshold of 50 % again"},
		{"of the LUN", "space-threshold = 0", "space-threshold = 30", "the LUN has taken", "the LUN is below its threshold of 30 % again"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := thinly(t, "ext4", 64, 64, 1, c.store, c.lun)
			twice := func(n int) func() bool {
				return func() bool { l.ask(); return l.told[l.a] >= n && l.told[l.b] >= n }
			}
			once := func(n int) {
				t.Helper()
				for range 30 { // three looks
					l.ask()
					time.Sleep(100 * time.Millisecond)
				}
				if l.told[l.a] != n || l.told[l.b] != n {
					t.Fatalf("told %d and %d times, want %d", l.told[l.a], l.told[l.b], n)
				}
			}
			for round := 1; round <= 2; round++ {
				for i := range 40 {
					if key, code, _ := l.write(uint32(i*2048), mibOf(i)); key != 0 {
						t.Fatalf("sense %x/%04x", key, code)
					}
				}
				l.await("unit attentions", twice(round))
				once(round)
				for at := 0; at < 64; at += 8 { // 16 MiB is the most of one command
					cdb := append([]byte{0x93, 0x09}, make([]byte, 14)...)
					binary.BigEndian.PutUint64(cdb[2:], uint64(at*2048))
					binary.BigEndian.PutUint32(cdb[10:], 8*2048)
					if r := l.send(l.a, initiator.Command{CDB: cdb}); r.Status != 0 {
						t.Fatalf("% x", r.Sense)
					}
				}
				l.await("the all-clear", func() bool {
					return len(l.events.all(func(e Event) bool { return strings.Contains(e.Text, c.down) })) >= round
				})
			}
			if n := len(l.events.all(func(e Event) bool { return e.Urgent && strings.Contains(e.Text, c.up) })); n != 2 {
				t.Errorf("%d events, want 2", n)
			}
			if !slices.ContainsFunc(l.log.AllEntries(), func(e *logrus.Entry) bool { return strings.Contains(e.Message, c.up) }) {
				t.Error("the log says nothing")
			}
		})
	}
}

// TestThresholdsChangeWhileItRuns: a reload with others leaves the LUN alone, and tells those who read the mode page.
func TestThresholdsChangeWhileItRuns(t *testing.T) {
	l := thinly(t, "ext4", 256, 200, 1, "space-threshold = 50", "")
	count := func(descriptor int) uint32 {
		p := l.send(l.a, initiator.Command{CDB: []byte{0x5a, 0x08, 0x1c, 2, 0, 0, 0, 0, 255, 0}, Read: 255}).Data
		return binary.BigEndian.Uint32(p[8+16+8*descriptor+4:])
	}
	var before uint32
	l.await("the thresholds in the mode page", func() bool { before = count(0); return before > 0 && count(1) == 160 })
	l.ask()
	want := l.now.Load().plan.Config
	want.Stores = slices.Clone(want.Stores)
	want.Stores[0].SpaceThreshold = 75
	if r, err := l.Apply(context.Background(), want); err != nil || len(r.Changes) > 0 {
		t.Fatalf("%+v, %v: want no change of what runs", r.Changes, err)
	}
	changed := false
	l.await("MODE PARAMETERS CHANGED", func() bool {
		r, err := l.b.Execute(initiator.Command{CDB: make([]byte, 6)})
		if err != nil {
			t.Fatal(err)
		}
		_, code := r.SenseCode()
		changed = changed || code == 0x2a01
		return changed
	})
	if after := count(0); after+after/20 < before/2 || after > before/2+before/20 {
		t.Errorf("from half to three quarters the threshold goes from %d to %d sets", before, after)
	}
}

// TestStores: what is shown is what there is, once for each file system.
func TestStores(t *testing.T) {
	folder, dir := loopdevice.FileSystem(t, "ext4", 256*mib), t.TempDir()
	bare := filepath.Join(folder, "elsewhere")
	if err := os.Mkdir(bare, 0o755); err != nil {
		t.Fatal(err)
	}
	d := start(t, dir, stores(t, folder, "warn", "one 60", "one 20", "two 40")+
		fmt.Sprintf("[[lun]]\nname = \"bare\"\npath = %q\nsize = \"400MiB\"\novercommit = \"allow\"\nspace-threshold = 0\n", filepath.Join(bare, "x.img"))+
		"[[store]]\nname = \"gone\"\npath = \"/nowhere/at/all\"\n"+
		fmt.Sprintf("[[store]]\nname = \"empty\"\npath = %q\n", dir))
	if err := os.WriteFile(filepath.Join(folder, "one", "lun0.img"), bytes.Repeat([]byte{1}, 8*mib), 0o600); err != nil { // the image is shorter now; that is not the point
		t.Fatal(err)
	}
	list, err := d.Stores()
	if err != nil || len(list) != 5 {
		t.Fatalf("%+v, %v", list, err)
	}
	one, two, gone, empty, outside := list[0], list[1], list[2], list[3], list[4]
	if one.Promised != 80*mib || len(one.Images) != 2 || one.Allocated < 8*mib || one.Allocated > 9*mib || two.Promised != 40*mib || outside.Name != "" || outside.Path != bare || outside.Promised != 400*mib {
		t.Errorf("one %+v\ntwo %+v\noutside %+v", one, two, outside)
	}
	for _, s := range []StoreStatus{one, two, outside} {
		f := s.FileSystem
		if f.ID != one.FileSystem.ID || f.Promised != 520*mib || f.Allocated != one.Allocated || f.Owed != 520*mib-one.Allocated || f.Ratio < 1.5 || f.Ratio > 3 {
			t.Errorf("%s: %+v", s.Path, f)
		}
		if len(s.Conditions) != 1 || !strings.Contains(s.Conditions[0], "owes") {
			t.Errorf("%s: %q", s.Path, s.Conditions)
		}
	}
	if gone.Unknown == "" || len(gone.Conditions) != 1 || empty.Unknown != "" || empty.FileSystem.ID == one.FileSystem.ID || empty.FileSystem.Capacity == 0 || empty.FileSystem.Promised != 0 {
		t.Errorf("gone %+v\nempty %+v", gone, empty)
	}
}

// TestAFileSystemThatHangs holds up nobody who asks about others.
func TestAFileSystemThatHangs(t *testing.T) {
	var q questions
	hang := make(chan struct{})
	hung := func() (promise, error) { <-hang; return promise{size: 7}, nil }
	first := q.ask("/a", hung)
	if q.ask("/a", func() (promise, error) { return promise{}, errors.New("asked twice") }) != first {
		t.Error("while an answer is on its way somebody asks again")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := first.wait(ctx); err == nil || !strings.Contains(err.Error(), "hangs") {
		t.Errorf("waiting for what hangs: %v", err)
	}
	if p, err := q.ask("/b", func() (promise, error) { return promise{size: 1}, nil }).wait(t.Context()); err != nil || p.size != 1 {
		t.Errorf("another: %+v, %v", p, err)
	}
	close(hang)
	if p, err := first.wait(t.Context()); err != nil || p.size != 7 {
		t.Errorf("when it does not hang any more: %+v, %v", p, err)
	}
	if p, err := q.ask("/a", func() (promise, error) { return promise{size: 2}, nil }).wait(t.Context()); err != nil || p.size != 2 {
		t.Errorf("asked again: %+v, %v", p, err)
	}
}
