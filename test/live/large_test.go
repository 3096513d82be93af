package live

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/internal/loopdevice"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/test/daemon"
)

// resident is the most memory that the daemon has held, in bytes.
func resident(t *testing.T, d *daemon.Daemon) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.PID()))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n << 10
}

// rw16 is READ (16), WRITE (16) or WRITE SAME (16).
func rw16(opcode, flags byte, lba uint64, blocks uint32) []byte {
	cdb := make([]byte, 16)
	cdb[0], cdb[1] = opcode, flags
	binary.BigEndian.PutUint64(cdb[2:], lba)
	binary.BigEndian.PutUint32(cdb[10:], blocks)
	return cdb
}

// TestLarge_SBC3_5_15: a disk of 64 TiB, of 2^37 blocks: READ CAPACITY (10) says FFFFFFFFh,
// (16) the truth; its ends can be written; UNMAP, WRITE SAME and GET LBA STATUS reach all of
// it, and the daemon holds no more memory for that.
func TestLarge_SBC3_5_15(t *testing.T) {
	const size, last = 64 << 40, 64<<40/block - 1
	disk := filepath.Join(t.TempDir(), "disk")
	if err := errors.Join(os.WriteFile(disk, nil, 0o600), os.Truncate(disk, 1<<30)); err != nil {
		t.Fatal(err)
	}
	folder := loopdevice.Format(t, loopdevice.New(t, loopdevice.Options{File: disk}), "xfs") // ext4 ends at 16 TiB
	image := filepath.Join(folder, "a.img")
	d := daemon.Start(t, daemon.Config{LUNs: []string{"a=" + image + ",size=64TiB,overcommit=allow"}})
	c, err := initiator.Dial(d.Address(), initiator.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login(initiator.Login{InitiatorName: alice, TargetName: daemon.Target, SessionType: "Normal", ISID: iscsi.ISID{0x80, 1}, Keys: []iscsi.KeyValue{
		{Key: "InitialR2T", Value: "No"}, {Key: "ImmediateData", Value: "Yes"}}}); err != nil {
		t.Fatal(err)
	}
	attentions(t, c, 1)
	good := func(what string, cmd initiator.Command) []byte {
		t.Helper()
		r := execute(t, c, cmd)
		if r.Status != 0 {
			t.Fatalf("%s: %02x, % x", what, r.Status, r.Sense)
		}
		return r.Data
	}

	short := good("READ CAPACITY (10)", initiator.Command{CDB: []byte{0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0}, Read: 8})
	if got := binary.BigEndian.Uint32(short); got != 0xffffffff {
		t.Errorf("READ CAPACITY (10) says %#x", got)
	}
	long := good("READ CAPACITY (16)", initiator.Command{CDB: []byte{0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0}, Read: 32})
	if got := binary.BigEndian.Uint64(long); got != last {
		t.Errorf("READ CAPACITY (16) says that the last block is %d, want %d", got, uint64(last))
	}
	places := []uint64{0, 1<<32 - 1, 1 << 32, 1 << 36, last - 1<<20, last}
	for i, lba := range places {
		p := pattern(uint32(i), 3)
		good("WRITE (16)", initiator.Command{CDB: rw16(0x8a, 0, lba, 1), Write: p})
		if got := good("READ (16)", initiator.Command{CDB: rw16(0x88, 0, lba, 1), Read: block}); !bytes.Equal(got, p) {
			t.Errorf("block %d reads % .8x...", lba, got)
		}
	}
	for _, cdb := range [][]byte{rw16(0x88, 0, last+1, 1), rw16(0x88, 0, last, 2), rw16(0x88, 0, 1<<63, 1)} {
		if got := execute(t, c, initiator.Command{CDB: cdb, Read: 2 * block}); got.Status != 2 {
			t.Errorf("% x: status %02x", cdb, got.Status)
		}
	}

	before := resident(t, d)
	if got := mapped(t, c, last); len(got) != len(places)-1 { // two are neighbours
		t.Errorf("GET LBA STATUS finds %d mapped extents, want %d: %v", len(got), len(places)-1, got)
	}
	zeros := make([]byte, block)
	for _, lba := range []uint64{0, 1 << 32, last + 1 - 32768} { // all that VPD B0h lets one command do
		good("WRITE SAME (16) with UNMAP", initiator.Command{CDB: rw16(0x93, 0x08, lba, 32768), Write: zeros})
	}
	if got := mapped(t, c, last); len(got) != 3 {
		t.Errorf("after WRITE SAME there are %d mapped extents: %v", len(got), got)
	}
	unmapAcross(t, c, size/block, places)
	if got := mapped(t, c, last); len(got) != 0 {
		t.Errorf("with all unmapped that was written, these are mapped: %v", got)
	}
	if got := daemon.Allocated(t, image); got > 64<<10 {
		t.Errorf("with all unmapped that was written the image takes %d bytes", got)
	}
	for _, lba := range places {
		if got := good("READ (16)", initiator.Command{CDB: rw16(0x88, 0, lba, 1), Read: block}); !bytes.Equal(got, zeros) {
			t.Errorf("the unmapped block %d reads % .8x...", lba, got)
		}
	}
	if after := resident(t, d); after > before+32<<20 {
		t.Errorf("the daemon held %d bytes at most, before that %d", after, before)
	}
}

// mapped walks the whole unit with GET LBA STATUS, and gives the extents that are mapped.
func mapped(t *testing.T, c *initiator.Connection, last uint64) (list []string) {
	t.Helper()
	for lba := uint64(0); lba <= last; {
		cdb := make([]byte, 16)
		cdb[0], cdb[1] = 0x9e, 0x12
		binary.BigEndian.PutUint64(cdb[2:], lba)
		binary.BigEndian.PutUint32(cdb[10:], 4096)
		r := execute(t, c, initiator.Command{CDB: cdb, Read: 4096})
		if r.Status != 0 || len(r.Data) < 24 {
			t.Fatalf("GET LBA STATUS from %d: %02x, % x", lba, r.Status, r.Sense)
		}
		for p := r.Data[8:]; len(p) >= 16; p = p[16:] {
			if at := binary.BigEndian.Uint64(p); at != lba {
				t.Fatalf("a descriptor of block %d comes where %d is due", at, lba)
			}
			blocks := binary.BigEndian.Uint32(p[8:])
			if p[12]&0xf == 0 {
				list = append(list, fmt.Sprintf("%d+%d", lba, blocks))
			}
			lba += uint64(blocks)
		}
	}
	return list
}

// unmapAcross unmaps a thousand ranges from end to end, and those of some places, with
// commands as long as VPD B0h lets them be.
func unmapAcross(t *testing.T, c *initiator.Connection, blocks uint64, places []uint64) {
	t.Helper()
	page := execute(t, c, initiator.Command{CDB: []byte{0x12, 1, 0xb0, 0, 64, 0}, Read: 64}).Data
	most := uint64(binary.BigEndian.Uint32(page[20:]))
	var tasks []*initiator.Task
	wait := func(left int) {
		for ; len(tasks) > left; tasks = tasks[1:] {
			if r, err := tasks[0].Wait(); err != nil || r.Status != 0 {
				t.Fatalf("UNMAP: %+v, %v", r, err)
			}
		}
	}
	var ranges []uint64
	for i := range uint64(1000) {
		ranges = append(ranges, i*(blocks/1000))
	}
	for _, lba := range places {
		ranges = append(ranges, lba-lba%most)
	}
	for _, lba := range ranges {
		list := make([]byte, 24)
		binary.BigEndian.PutUint16(list, 22)
		binary.BigEndian.PutUint16(list[2:], 16)
		binary.BigEndian.PutUint64(list[8:], lba)
		binary.BigEndian.PutUint32(list[16:], uint32(min(most, blocks-lba)))
		task, err := c.Start(initiator.Command{CDB: []byte{0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0}, Write: list})
		if err != nil {
			t.Fatal(err)
		}
		tasks = append(tasks, task)
		wait(31)
	}
	wait(0)
}
