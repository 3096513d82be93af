package state

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/isantarget/isantarget/scsi"
)

// A killingDisk ends its process by SIGKILL at one of its steps. Each operation of the
// disk is three steps: before it, with half of it done where that can be, and after it.
type killingDisk struct {
	osDisk
	steps *int // until the end
}

func (d killingDisk) step() {
	if *d.steps--; *d.steps == 0 {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

func (d killingDisk) at(do func() error) error {
	d.step()
	err := do()
	d.step()
	return err
}

func (d killingDisk) mkdir(n string) error { return d.at(func() error { return d.osDisk.mkdir(n) }) }
func (d killingDisk) flush(n string) error { return d.at(func() error { return d.osDisk.flush(n) }) }
func (d killingDisk) rename(a, b string) error {
	return d.at(func() error { return d.osDisk.rename(a, b) })
}

func (d killingDisk) write(n string, r []byte) error {
	d.step()
	os.WriteFile(n, r[:len(r)/2], 0o600) // what a process that dies in write(2) leaves
	return d.at(func() error { return d.osDisk.write(n, r) })
}

// server is a device server that has nothing to serve.
type server struct{}

func (server) PeripheralDeviceType() byte                         { return 0 }
func (server) Operations() []scsi.Operation                       { return nil }
func (server) Unsupported(*scsi.Command) error                    { return nil }
func (server) Ready() *scsi.Sense                                 { return nil }
func (server) InquiryData() scsi.InquiryData                      { return scsi.InquiryData{} }
func (server) VitalProductDataPages() []scsi.VitalProductDataPage { return nil }
func (server) ModePages() []scsi.ModePage                         { return nil }
func (server) ModeParameterHeader() byte                          { return 0 }
func (server) BlockDescriptor(bool) []byte                        { return nil }
func (server) Reset()                                             {}
func (server) NexusLost(*scsi.Nexus)                              {}

// newLogicalUnit is a unit with what the directory has recorded of it, and two nexuses.
func newLogicalUnit(d *Directory) (*scsi.LogicalUnit, [2]*scsi.Command, error) {
	lu, err := scsi.NewLogicalUnit(unit, server{}, d)
	if err != nil {
		return nil, [2]*scsi.Command{}, err
	}
	var by [2]*scsi.Command
	for i := range by {
		n := &scsi.Nexus{
			Initiator:  scsi.TransportID{Name: fmt.Sprintf("iqn.2026-11.test:host%d", i)},
			TargetPort: &scsi.TargetPort{Device: "iqn.2026-11.test:disk", Group: 1, RelativeID: 1},
		}
		lu.Attach(n)
		by[i] = &scsi.Command{Nexus: n}
	}
	return lu, by, nil
}

// changes are what the process does before it is killed, one after the other, and
// what the unit then knows.
var changes = [...]struct {
	do   func(lu *scsi.LogicalUnit, by [2]*scsi.Command) error
	know string
}{
	{func(lu *scsi.LogicalUnit, by [2]*scsi.Command) error {
		return lu.Register(by[0], scsi.RegisterRequest{NewKey: 1, ThroughLoss: true})
	}, "1"},
	{func(lu *scsi.LogicalUnit, by [2]*scsi.Command) error {
		return lu.Register(by[1], scsi.RegisterRequest{NewKey: 2, ThroughLoss: true})
	}, "1 2"},
	{func(lu *scsi.LogicalUnit, by [2]*scsi.Command) error {
		return lu.PersistentReserve(by[0], 1, scsi.WriteExclusiveRegistrantsOnly)
	}, "1* 2 5"},
	{func(lu *scsi.LogicalUnit, by [2]*scsi.Command) error {
		return lu.Preempt(by[1], scsi.PreemptRequest{Key: 2, Victim: 1, Type: scsi.ExclusiveAccess, WholeUnit: true, Abort: true})
	}, "2* 3"},
	{func(lu *scsi.LogicalUnit, by [2]*scsi.Command) error {
		return lu.Register(by[0], scsi.RegisterRequest{NewKey: 3, ThroughLoss: true})
	}, "2* 3 3"},
	{func(lu *scsi.LogicalUnit, by [2]*scsi.Command) error {
		return lu.PersistentRelease(by[1], 2, scsi.ExclusiveAccess, true)
	}, "2 3"},
	{func(lu *scsi.LogicalUnit, by [2]*scsi.Command) error { return lu.PersistentClear(by[0], 3) }, ""},
	{func(lu *scsi.LogicalUnit, by [2]*scsi.Command) error {
		return lu.Register(by[0], scsi.RegisterRequest{NewKey: 4, ThroughLoss: true})
	}, "4"},
	{func(lu *scsi.LogicalUnit, by [2]*scsi.Command) error { // APTPL=0: nothing is left after a restart
		return lu.Register(by[0], scsi.RegisterRequest{Key: 4, NewKey: 5})
	}, ""},
}

// known is what lu knows: the keys, a star behind that of the holder, and the type.
func known(lu *scsi.LogicalUnit) string {
	var words []string
	r := lu.Reservations()
	for _, x := range r.Registrations {
		word := fmt.Sprint(x.Key)
		if x.Holder {
			word += "*"
		}
		words = append(words, word)
	}
	if r.Type != 0 {
		words = append(words, fmt.Sprint(uint8(r.Type)))
	}
	return strings.Join(words, " ")
}

// changeUntilKilled is the process: it acknowledges each change with a line.
func changeUntilKilled(path, steps string) {
	d, err := Open(path)
	if err != nil {
		panic(err)
	}
	n, err := strconv.Atoi(steps)
	if err != nil {
		panic(err)
	}
	d.disk = killingDisk{steps: &n}
	lu, by, err := newLogicalUnit(d)
	if err != nil {
		panic(err)
	}
	for i, c := range changes {
		if err := c.do(lu, by); err != nil {
			panic(fmt.Sprintf("change %d: %v", i, err))
		}
		fmt.Println("acknowledged", i)
	}
	fmt.Println("survived")
}

// TestKilledAtEveryStep changes persistent reservations and kills the process at each
// step of each record: what was acknowledged is there, or that and the change that was
// at work, and the record is never one that cannot be trusted.
func TestKilledAtEveryStep_SPC4_5_13_5(t *testing.T) {
	if path := os.Getenv("STATE_KILL"); path != "" { // the other process
		changeUntilKilled(path, os.Getenv("STATE_STEPS"))
		return
	}
	var outcomes []string
	for steps := 1; ; steps++ {
		path := t.TempDir()
		acknowledged, survived := runUntilKilled(t, path, steps)
		d := open(t, path)
		lu, _, err := newLogicalUnit(d)
		if err != nil {
			t.Fatal(err)
		}
		r := lu.Reservations()
		if r.Lost != nil {
			t.Fatalf("killed at step %d: %v", steps, r.Lost)
		}
		may := []string{""}
		if acknowledged >= 0 {
			may[0] = changes[acknowledged].know
		}
		if acknowledged+1 < len(changes) {
			may = append(may, changes[acknowledged+1].know)
		}
		if got := known(lu); !slices.Contains(may, got) {
			t.Errorf("killed at step %d, after change %d was acknowledged: it knows %q, want one of %q", steps, acknowledged, got, may)
		} else if !slices.Contains(outcomes, got) {
			outcomes = append(outcomes, got)
		}
		d.Close()
		if survived {
			t.Logf("killed at %d steps; outcomes %q", steps-1, outcomes)
			if least := 50; steps < least {
				t.Errorf("%d steps are too few: not every one is killed", steps)
			}
			return
		}
	}
}

// runUntilKilled runs the other process and gives the last change it has acknowledged, or -1.
func runUntilKilled(t *testing.T, path string, steps int) (acknowledged int, survived bool) {
	t.Helper()
	other := exec.Command(os.Args[0], "-test.run=^TestKilledAtEveryStep_SPC4_5_13_5$")
	other.Env = append(os.Environ(), "STATE_KILL="+path, fmt.Sprintf("STATE_STEPS=%d", steps))
	stdout, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	acknowledged = -1
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		switch line := lines.Text(); {
		case strings.HasPrefix(line, "acknowledged "):
			acknowledged++
		case line == "survived":
			survived = true
		case strings.HasPrefix(line, "panic"):
			t.Error(line)
		}
	}
	if err := other.Wait(); (err == nil) != survived {
		t.Fatalf("the other process: %v, survived: %v", err, survived)
	}
	return acknowledged, survived
}
