package provision

import (
	"encoding/binary"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/scsi"
)

// breaking serves one LUN with a layer that breaks on demand.
func breaking(t *testing.T, image, layer string) (*daemon, *initiator.Connection) {
	t.Helper()
	d := start(t, t.TempDir(), `
[[lun]]
name = "a"
path = "`+image+`"
size = "1MiB"
[[lun.layer]]
kind = "fault"
`+layer+`
[[target]]
name = "`+name+`"
luns = { 0 = "a" }
`)
	return d, d.mustLogin(t, alice, nil)
}

func (d *daemon) set(t *testing.T, faults ...string) {
	t.Helper()
	if err := d.SetFaults("a", faults); err != nil {
		t.Fatal(err)
	}
}

// information is the INFORMATION field of fixed sense data, -1 without a valid one.
func information(r *initiator.Result) int64 {
	if len(r.Sense) < 8 || r.Sense[0] != 0xf0 {
		return -1
	}
	return int64(binary.BigEndian.Uint32(r.Sense[3:]))
}

// TestFaults: a fault that an operator sets becomes the sense data that it means, with
// the block it struck, and is gone when it is cleared.
func TestFaults(t *testing.T) {
	d, c := breaking(t, filepath.Join(t.TempDir(), "a.img"), "")
	read := initiator.Command{CDB: []byte{0x28, 0, 0, 0, 0, 32, 0, 0, 16, 0}, Read: 16 * 512}
	write := initiator.Command{CDB: []byte{0x2a, 0, 0, 0, 0, 32, 0, 0, 16, 0}, Write: make([]byte, 16*512)}
	unmap := initiator.Command{CDB: []byte{0x93, 8, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0, 0, 16, 0, 0}, Write: make([]byte, 512)}
	for _, x := range []struct {
		fault string
		cmd   initiator.Command
		key   uint8
		code  uint16
		at    int64
	}{
		{"error=EIO on=read lba=40", read, 3, 0x1100, 40},
		{"error=EUCLEAN on=read at=20KiB+512", read, 3, 0x1100, 40},
		{"error=EIO on=write lba=41-99", write, 3, 0x0c00, 41},
		{"error=ENOSPC on=write lba=47", write, 7, 0x2707, 47},
		{"error=EDQUOT on=write lba=47-", write, 7, 0x2707, 47},
		{"error=ENOSPC on=zero lba=33", unmap, 7, 0x2707, 33},
		{"error=EROFS on=write", write, 7, 0x2700, -1},
		{"error=EINTR on=write lba=36", write, 3, 0x0c00, 36},
		{"error=ENODEV on=read", read, 2, 0x0403, -1},
	} {
		d.set(t, x.fault)
		r := do(t, c, x.cmd)
		key, code := r.SenseCode()
		if r.Status != 2 || key != x.key || code != x.code || information(r) != x.at {
			t.Errorf("%s: status %02x, sense %x/%04x at block %d; want %x/%04x at %d", x.fault, r.Status, key, code, information(r), x.key, x.code, x.at)
		}
		d.set(t)
		awaitReady(t, c)
		if r := do(t, c, x.cmd); r.Status != 0 {
			t.Errorf("after %s was cleared: status %02x, sense %x", x.fault, r.Status, r.Sense)
		}
	}
	if list, err := d.Faults("a"); err != nil || len(list) != 0 {
		t.Errorf("faults %+v, %v", list, err)
	}
}

// awaitReady waits until LUN 0 is ready.
func awaitReady(t *testing.T, c *initiator.Connection) {
	t.Helper()
	eventually(t, "the LUN is ready", func() bool {
		r := do(t, c, initiator.Command{CDB: make([]byte, 6)})
		return scsi.Status(r.Status) == scsi.Good
	})
}

// eventually waits until done.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("for a minute it is not so that %s", what)
		}
	}
}

// TestFaults_Told: the operator sees what is in force, everywhere.
func TestFaults_Told(t *testing.T) {
	d, c := breaking(t, filepath.Join(t.TempDir(), "a.img"), `faults = ["error=EIO on=read lba=7"]`)
	if w := strings.Join(d.report.Warnings, "\n"); !strings.Contains(w, `LUN a breaks on purpose`) {
		t.Errorf("warnings %q", w)
	}
	for range 3 {
		if key, _ := do(t, c, initiator.Command{CDB: []byte{0x28, 0, 0, 0, 0, 7, 0, 0, 1, 0}, Read: 512}).SenseCode(); key != 3 {
			t.Errorf("sense key %x", key)
		}
	}
	list, err := d.Faults("a")
	if err != nil || len(list) != 1 || list[0].Fault != "error=EIO on=read lba=7-7" || list[0].Struck != 3 {
		t.Errorf("faults %+v, %v", list, err)
	}
	if l, err := d.LUNs(); err != nil || len(l[0].Faults) != 1 {
		t.Errorf("LUNs %+v, %v", l, err)
	}
	struck := 0
	for _, e := range d.log.AllEntries() {
		if strings.Contains(e.Message, "a fault struck on purpose") {
			struck++
		}
	}
	if struck != 2 {
		t.Errorf("%d strikes are logged, want the first and the second", struck)
	}
	var word *WordError
	if err := d.SetFaults("a", []string{"torn", "tron"}); !errors.As(err, &word) || word.Word != "tron" {
		t.Errorf("a wrong word: %v", err)
	}
	if list, _ := d.Faults("a"); len(list) != 1 || list[0].Struck != 3 {
		t.Errorf("a wrong word has changed the faults: %+v", list)
	}
}

// TestFaults_NotWithoutALayer: what has no such layer cannot break.
func TestFaults_NotWithoutALayer(t *testing.T) {
	d := start(t, t.TempDir(), oneTarget)
	var word *WordError
	if err := d.SetFaults("m", []string{"torn"}); !errors.As(err, &word) || !strings.Contains(err.Error(), "[[lun.layer]]") {
		t.Errorf("%v", err)
	}
	var unknown *UnknownError
	if _, err := d.Faults("x"); !errors.As(err, &unknown) {
		t.Errorf("an unknown LUN: %v", err)
	}
}

// TestFaults_PowerCut: what was flushed is there when there is power again, what was
// not is lost, and the unit comes back by itself.
func TestFaults_PowerCut(t *testing.T) {
	d, c := breaking(t, filepath.Join(t.TempDir(), "a.img"), `faults = ["power-cut on=read lba=2000"]`)
	writeBlock(t, c, 0, 1)
	if r := do(t, c, initiator.Command{CDB: []byte{0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0}}); r.Status != 0 {
		t.Fatalf("SYNCHRONIZE CACHE: status %02x, sense %x", r.Status, r.Sense)
	}
	writeBlock(t, c, 0, 2)
	if got := readBlock(t, c, 0); got != 2 {
		t.Fatalf("block %d before the cut", got)
	}
	do(t, c, initiator.Command{CDB: []byte{0x28, 0, 0, 0, 7, 208, 0, 0, 1, 0}, Read: 512})
	if key, code := ready(t, c, 0); key != 2 || scsi.SenseCode(code) != scsi.ASCLogicalUnitNotReadyManualInterventionRequired {
		t.Errorf("without power: sense %x/%04x", key, code)
	}
	d.set(t)
	awaitReady(t, c)
	if got := readBlock(t, c, 0); got != 1 {
		t.Errorf("block %d after the cut, want what was flushed", got)
	}
}

// TestFaults_FromTheConfiguration: the words of the configuration mean what package
// fault does.
func TestFaults_FromTheConfiguration(t *testing.T) {
	l := configs.LUN{BlockSize: 4096}
	for text, calls := range map[string]string{
		"error=EIO": "read,write", "delay=1s": "read,write", "short": "read,write", "torn": "write", "lost-sync": "sync",
		"power-cut": "read,write,unmap,zero,map,sync", "torn on=zero+unmap": "unmap,zero",
	} {
		f, err := configs.ParseFault(text + " lba=10-19")
		if err != nil {
			t.Fatal(err)
		}
		got := faultsOf(l, []configs.Fault{f})[0]
		if got.Calls.String() != calls || got.First != 40960 || got.Bytes != 40960 {
			t.Errorf("%s: %v at %d+%d", text, got.Calls, got.First, got.Bytes)
		}
	}
	names := map[string]bool{}
	for _, name := range configs.FaultCalls() {
		names[name] = true
	}
	for _, name := range faultsOf(l, []configs.Fault{{Kind: configs.FaultPowerCut, On: configs.FaultCalls()}})[0].Calls.Names() {
		if !names[name] {
			t.Errorf("package fault knows %q, the configuration does not", name)
		}
	}
}
