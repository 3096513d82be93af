package spc

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/isantarget/isantarget/scsi"
)

// disk is a device server of package sbc's kind, as far as these commands see one.
type disk struct {
	removable bool
	rows      []scsi.Operation // beside those of every device

	mu       sync.Mutex
	notReady *scsi.Sense
	header   byte
}

func (d *disk) PeripheralDeviceType() byte { return 0 }
func (d *disk) Unsupported(*scsi.Command) error {
	return scsi.IllegalRequest(scsi.ASCInvalidCommandOperationCode)
}
func (d *disk) InquiryData() scsi.InquiryData {
	return scsi.InquiryData{Removable: d.removable, VersionDescriptors: []uint16{0x04c0}}
}
func (d *disk) VitalProductDataPages() []scsi.VitalProductDataPage {
	return []scsi.VitalProductDataPage{
		{Code: 0xb1, Data: func() []byte { return []byte{0, 1} }},
		{Code: 0xb0, Data: func() []byte { return []byte{1, 2, 3} }},
	}
}
func (d *disk) ModePages() []scsi.ModePage {
	return []scsi.ModePage{{Code: 0x08, Default: []byte{2: 0x04, 19: 0}, Changeable: []byte{2: 0x04, 19: 0}}}
}
func (d *disk) Operations() []scsi.Operation { return append(Operations(), d.rows...) }
func (d *disk) Reset()                       {}
func (d *disk) NexusLost(*scsi.Nexus)        {}

func (d *disk) Ready() *scsi.Sense {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.notReady
}

func (d *disk) ModeParameterHeader() byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.header
}

func (d *disk) BlockDescriptor(long bool) []byte {
	if long {
		return []byte{7: 9, 14: 2, 15: 0}
	}
	return []byte{3: 9, 6: 2, 7: 0}
}

// keeper forgets at once, but lets pages be saved.
type keeper struct{}

func (keeper) Load(scsi.Identity, string) ([]byte, error) { return nil, nil }
func (keeper) Save(scsi.Identity, string, []byte) error   { return nil }

// rig is a unit and two nexuses that have taken their first attention.
type rig struct {
	*disk
	lu    *scsi.LogicalUnit
	a, b  *scsi.Nexus
	units *scsi.UnitMap
}

func newRig(t testing.TB, k scsi.Keeper, rows ...scsi.Operation) *rig {
	t.Helper()
	port := &scsi.TargetPort{Device: "iqn.2026-11.com.example:disk", Group: 1, RelativeID: 0x102}
	r := &rig{disk: &disk{rows: rows}, a: &scsi.Nexus{TargetPort: port}, b: &scsi.Nexus{TargetPort: port}}
	lu, err := scsi.NewLogicalUnit(scsi.Identity{Serial: "0123456789abcdef", Revision: "0.1"}, r.disk, k)
	if err != nil {
		t.Fatal(err)
	}
	lu.Report = func(err error) { t.Error(err) }
	r.lu = lu
	for _, n := range []*scsi.Nexus{r.a, r.b} {
		lu.Attach(n)
		lu.TakeAttention(n)
	}
	r.units = scsi.NewUnitMap(NewAbsent("0.1"), map[scsi.LUN]*scsi.LogicalUnit{scsi.NewLUN(0): lu, scsi.NewLUN(300): lu})
	return r
}

// delivery is a port for one command.
type delivery struct {
	out  []byte
	done chan struct{}
}

func (d *delivery) DataInBuffer(n int) ([]byte, error) { return make([]byte, n), nil }
func (d *delivery) ReceiveDataOut(n int) ([]byte, error) {
	return d.out[:min(n, len(d.out))], nil
}
func (d *delivery) AbortCommand()        {}
func (d *delivery) SendCommandComplete() { close(d.done) }

// send executes a command of n with data-out on lu and waits for its end.
func (r *rig) send(lu *scsi.LogicalUnit, n *scsi.Nexus, out []byte, cdb []byte) *scsi.Command {
	d := &delivery{out: out, done: make(chan struct{})}
	c := &scsi.Command{Nexus: n, CDB: cdb, Units: r.units, Delivery: d}
	lu.Execute(c)
	<-d.done
	return c
}

// do is send of a command of nexus a, written in hexadecimal.
func (r *rig) do(t *testing.T, cdb string) *scsi.Command {
	t.Helper()
	return r.send(r.lu, r.a, nil, unhex(t, cdb))
}

// out is do with data-out.
func (r *rig) out(t *testing.T, cdb, data string) *scsi.Command {
	t.Helper()
	return r.send(r.lu, r.a, unhex(t, data), unhex(t, cdb))
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// wantData checks that c is GOOD with these data.
func wantData(t *testing.T, c *scsi.Command, want string) {
	t.Helper()
	w := unhex(t, want)
	if c.Status != scsi.Good || !bytes.Equal(c.DataIn, w) || c.Length != len(w) {
		t.Errorf("%X: %v, sense %X, length %d, data\n%X; want GOOD and\n%X", []byte(c.CDB), c.Status, c.Sense, c.Length, c.DataIn, w)
	}
}

// wantError checks that c ended with the sense data of err.
func wantError(t *testing.T, c *scsi.Command, err error) {
	t.Helper()
	var status scsi.Status
	if errors.As(err, &status) || err == nil {
		if c.Status != status {
			t.Errorf("%X: %v, sense %X; want %v", []byte(c.CDB), c.Status, c.Sense, status)
		}
		return
	}
	var s *scsi.Sense
	errors.As(err, &s)
	if want := s.Append(nil, false); c.Status != scsi.CheckCondition || !bytes.Equal(c.Sense, want) {
		t.Errorf("%X: %v, sense %X; want CHECK CONDITION, %X (%v)", []byte(c.CDB), c.Status, c.Sense, want, s)
	}
}
