package scsi

import (
	"errors"
	"sync"
	"testing"
	"time"
)

// patience is how long a test waits for what must happen. It decides nothing:
// who runs into it has failed.
const patience = time.Minute

// fakeDevice is a device server whose rows a test makes.
type fakeDevice struct {
	rows  []Operation
	pages []ModePage

	mu       sync.Mutex
	notReady *Sense
	header   byte
	resets   int
	lost     []*Nexus
	syncs    int
	syncErr  error
}

func (d *fakeDevice) PeripheralDeviceType() byte { return 0 }
func (d *fakeDevice) Operations() []Operation    { return d.rows }
func (d *fakeDevice) Unsupported(*Command) error {
	return IllegalRequest(ASCInvalidCommandOperationCode)
}
func (d *fakeDevice) InquiryData() InquiryData                      { return InquiryData{} }
func (d *fakeDevice) VitalProductDataPages() []VitalProductDataPage { return nil }
func (d *fakeDevice) ModePages() []ModePage                         { return d.pages }
func (d *fakeDevice) BlockDescriptor(bool) []byte                   { return nil }

func (d *fakeDevice) Ready() *Sense {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.notReady
}

func (d *fakeDevice) setReady(s *Sense) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.notReady = s
}

func (d *fakeDevice) ModeParameterHeader() byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.header
}

func (d *fakeDevice) Reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.resets++
}

func (d *fakeDevice) NexusLost(n *Nexus) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lost = append(d.lost, n)
}

func (d *fakeDevice) Sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.syncs++
	return d.syncErr
}

// fakeKeeper keeps records in memory, and fails when told to.
type fakeKeeper struct {
	mu      sync.Mutex
	records map[string][]byte
	fail    error
}

func (k *fakeKeeper) Load(id Identity, kind string) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.records[id.Serial+"/"+kind], nil
}

func (k *fakeKeeper) Save(id Identity, kind string, record []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fail != nil {
		return k.fail
	}
	if k.records == nil {
		k.records = map[string][]byte{}
	}
	k.records[id.Serial+"/"+kind] = append([]byte(nil), record...)
	return nil
}

// fakeDelivery is a port for one command.
type fakeDelivery struct {
	dataOut []byte
	in      []byte
	asked   bool // for its data
	aborted chan struct{}
	once    sync.Once
	done    chan struct{}
}

func newFakeDelivery() *fakeDelivery {
	return &fakeDelivery{aborted: make(chan struct{}), done: make(chan struct{})}
}

func (d *fakeDelivery) DataInBuffer(n int) ([]byte, error) {
	if len(d.in) < n {
		d.in = make([]byte, n)
	}
	return d.in[:n], nil
}

func (d *fakeDelivery) ReceiveDataOut(n int) ([]byte, error) {
	return d.dataOut[:min(n, len(d.dataOut))], nil
}

func (d *fakeDelivery) AbortCommand()        { d.once.Do(func() { close(d.aborted) }) }
func (d *fakeDelivery) SendCommandComplete() { close(d.done) }

// ended tells whether SendCommandComplete has been called.
func (d *fakeDelivery) ended() bool {
	select {
	case <-d.done:
		return true
	default:
		return false
	}
}

// issued is a command that has been given to a unit.
type issued struct {
	*Command
	delivery *fakeDelivery
}

func newNexus(name string) *Nexus {
	return &Nexus{Initiator: TransportID{Name: name}}
}

// issue makes a command and executes it.
func issue(lu *LogicalUnit, n *Nexus, tag Tag, attribute TaskAttribute, cdb ...byte) issued {
	d := newFakeDelivery()
	c := &Command{Nexus: n, Tag: tag, Attribute: attribute, CDB: cdb, Delivery: d}
	lu.Execute(c)
	return issued{c, d}
}

// wait waits for the end of the command.
func (i issued) wait(t *testing.T) {
	t.Helper()
	select {
	case <-i.delivery.done:
	case <-time.After(patience):
		t.Fatalf("the command %X has not ended", []byte(i.CDB))
	}
}

// do executes a SIMPLE command and waits for its end.
func do(t *testing.T, lu *LogicalUnit, n *Nexus, cdb ...byte) issued {
	t.Helper()
	i := issue(lu, n, 1, Simple, cdb...)
	i.wait(t)
	return i
}

// wantSense checks that a command has ended with CHECK CONDITION and, in fixed
// format, this sense key and code.
func (i issued) wantSense(t *testing.T, key SenseKey, code SenseCode) {
	t.Helper()
	if i.Status != CheckCondition || len(i.Sense) < 14 || SenseKey(i.Sense[2]) != key ||
		SenseCode(uint16(i.Sense[12])<<8|uint16(i.Sense[13])) != code {
		t.Fatalf("the command %X ended with %v, sense data %X; want %v, %v", []byte(i.CDB), i.Status, i.Sense, key, code)
	}
}

func (i issued) wantStatus(t *testing.T, s Status) {
	t.Helper()
	if i.Status != s {
		t.Fatalf("the command %X ended with %v, sense data %X; want %v", []byte(i.CDB), i.Status, i.Sense, s)
	}
}

// newUnit makes a unit of d and attaches nexuses, whose power on attention it clears.
func newUnit(t testing.TB, d *fakeDevice, keeper Keeper, nexuses ...*Nexus) *LogicalUnit {
	t.Helper()
	lu, err := NewLogicalUnit(Identity{Serial: "0123456789abcdef"}, d, keeper)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nexuses {
		lu.Attach(n)
		if s := lu.TakeAttention(n); s == nil || s.Code != ASCPowerOnResetOrBusDeviceResetOccurred {
			t.Fatalf("an attached nexus has %v pending, want POWER ON OCCURRED", s)
		}
	}
	return lu
}

// gate is an operation that waits until the test lets it go on.
type gate struct {
	entered chan *Command
	leave   chan error
}

func newGate() *gate { return &gate{make(chan *Command, 1000), make(chan error)} }

func (g *gate) execute(c *Command) error {
	g.entered <- c
	select {
	case err := <-g.leave:
		return err
	case <-c.Delivery.(*fakeDelivery).aborted:
		return ErrAborted
	}
}

// hang is execute that does not hear of an abort, as a store that hangs.
func (g *gate) hang(c *Command) error {
	g.entered <- c
	return <-g.leave
}

func (g *gate) wait(t *testing.T) *Command {
	t.Helper()
	select {
	case c := <-g.entered:
		return c
	case <-time.After(patience):
		t.Fatal("no command has begun")
		return nil
	}
}

var errStore = errors.New("the store is on fire")

// row makes a row of six bytes.
func row(opcode byte, traits Traits, execute func(*Command) error) Operation {
	return Operation{
		Name: "TEST", Opcode: opcode, Usage: []byte{opcode, 0x0f, 0xff, 0xff, 0xff, 0},
		Conflict: ConflictAlways, Traits: traits, Execute: execute,
	}
}

func good(*Command) error { return nil }
