package outage

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/job"
	"github.com/isantarget/isantarget/provision"
	"github.com/isantarget/isantarget/test/daemon"
	"github.com/isantarget/isantarget/test/powercut"
)

// A witness makes changes until the power is cut, and says what is wrong afterwards.
type witness interface {
	// begin meets the daemon, after each boot.
	begin(address string, plane *admin.Client) error
	// work goes on until stop, or until nobody answers.
	work(stop *atomic.Bool)
	// flushed: all that was acknowledged is promised to be durable.
	flushed()
	check() (wrong []string, err error)
	// tell says what has been acknowledged.
	tell() string
}

// blocks is a witness of the data of a LUN.
type blocks struct{ *powercut.Worker }

func (b blocks) begin(address string, _ *admin.Client) error {
	b.Address = address
	return b.Login()
}

func (b blocks) work(stop *atomic.Bool) { b.Run(stop) }
func (b blocks) flushed()               { b.Flushed() }

func (b blocks) check() (wrong []string, err error) {
	found, err := b.Check()
	wrong = append(b.Wrong, found...)
	b.Wrong = nil
	return wrong, err
}

func (b blocks) tell() string {
	return fmt.Sprintf("LUN %d: %d commands, %d blocks as promised, %d with a value written since", b.LUN, b.Commands, b.Promises, b.Survivors)
}

// A count goes up by one with each change; what is there after a cut is the last that was
// acknowledged, or the one on its way.
type count struct {
	acknowledged, sent, changes int
	failed                      error // what the last change met; mostly the cut
}

func (c *count) next() int { c.sent = c.acknowledged + 1; return c.sent }

func (c *count) done() { c.acknowledged = c.sent; c.changes++ }

// settle takes what is there for acknowledged.
func (c *count) settle(what string, there int) (wrong []string) {
	if there != c.acknowledged && there != c.sent {
		wrong = append(wrong, fmt.Sprintf("%s %d is there; acknowledged was %d, on its way %d", what, there, c.acknowledged, c.sent))
	}
	c.acknowledged, c.sent = there, there
	return wrong
}

// registration is a witness of persistent reservations: one host that registers one key
// after the other, with APTPL.
type registration struct {
	count
	lun uint8
	c   *initiator.Connection
}

func (r *registration) begin(address string, _ *admin.Client) (err error) {
	if r.c != nil {
		r.c.Close()
	}
	r.c, err = login(address, "registrant")
	return err
}

// login opens a session, and takes what a new nexus is told first of each LUN.
func login(address, name string) (*initiator.Connection, error) {
	c, err := initiator.Dial(address, initiator.Options{Timeout: time.Minute})
	if err != nil {
		return nil, err
	}
	err = c.Login(initiator.Login{InitiatorName: "iqn.2026-11.org.isantarget.test:" + name, TargetName: daemon.Target, SessionType: "Normal", ISID: [6]byte{0x80, 0, 0, 1}})
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// do executes a command, again when it is told of a unit attention.
func do(c *initiator.Connection, cmd initiator.Command) (*initiator.Result, error) {
	for range 20 {
		r, err := c.Execute(cmd)
		if err != nil || r.Status == 0 {
			return r, err
		}
		if key, code := r.SenseCode(); key != 6 {
			return nil, fmt.Errorf("% x: status %02x, sense %x/%04x", cmd.CDB, r.Status, key, code)
		}
	}
	return nil, fmt.Errorf("nothing but unit attentions")
}

func (r *registration) work(stop *atomic.Bool) {
	for !stop.Load() {
		list := make([]byte, 24)
		binary.BigEndian.PutUint64(list[8:], uint64(r.next()))
		list[20] = 1 // APTPL
		// REGISTER AND IGNORE EXISTING KEY
		if _, err := do(r.c, initiator.Command{LUN: initiator.LUN(r.lun), CDB: []byte{0x5f, 6, 0, 0, 0, 0, 0, 0, 24, 0}, Write: list}); err != nil {
			return
		}
		r.done()
	}
}

func (r *registration) flushed() { r.sent = r.acknowledged }

func (r *registration) check() ([]string, error) {
	keys, err := do(r.c, initiator.Command{LUN: initiator.LUN(r.lun), CDB: []byte{0x5e, 0, 0, 0, 0, 0, 0, 0, 255, 0}, Read: 255})
	if err != nil {
		return nil, err
	}
	there := 0
	switch len(keys.Data) {
	case 8:
	case 16:
		there = int(binary.BigEndian.Uint64(keys.Data[8:]))
	default:
		return []string{fmt.Sprintf("READ KEYS: % x", keys.Data)}, nil
	}
	return r.settle("the registration with key", there), nil
}

func (r *registration) tell() string { return fmt.Sprintf("%d registrations", r.changes) }

// objects is a witness of what is made through the API: it makes an object and removes
// the one before it, by one change.
type objects struct {
	count
	plane *admin.Client
}

func (o *objects) begin(_ string, plane *admin.Client) error {
	o.plane = plane
	return nil
}

func (o *objects) work(stop *atomic.Bool) {
	name := func(n int) string { return fmt.Sprintf("object-%d", n) }
	for !stop.Load() {
		b := admin.Batch{Put: []admin.Put{{Table: configs.LUNTable, Object: map[string]any{"name": name(o.next()), "kind": "null", "size": "1MiB"}}}}
		if o.acknowledged > 0 {
			b.Delete = []provision.Delete{{Table: configs.LUNTable, Name: name(o.acknowledged), Version: provision.AnyVersion}}
		}
		if _, err := o.plane.Edit(context.Background(), b); err != nil {
			o.failed = err
			return
		}
		o.done()
	}
}

func (o *objects) flushed() { o.sent = o.acknowledged }

func (o *objects) check() ([]string, error) {
	list, err := o.plane.Objects(context.Background(), configs.LUNTable)
	if err != nil {
		return nil, err
	}
	there, found := 0, 0
	for _, one := range list {
		if _, err := fmt.Sscanf(one.Name, "object-%d", &there); err == nil {
			found++
		}
	}
	if found > 1 {
		return []string{fmt.Sprintf("%d objects are there, want one: %+v", found, list)}, nil
	}
	return o.settle("the object", there), nil
}

func (o *objects) tell() string {
	return fmt.Sprintf("%d changes of objects; the last error: %v", o.changes, o.failed)
}

// growth is a witness of the size of a fixed LUN, in MiB, and of the last block of each
// size that it has had.
type growth struct {
	count
	lun   uint8
	name  string
	plane *admin.Client
	c     *initiator.Connection
	last  []int // the sizes whose last block was written to the disk
}

func (g *growth) begin(address string, plane *admin.Client) (err error) {
	g.plane = plane
	if g.c != nil {
		g.c.Close()
	}
	g.c, err = login(address, "grower")
	return err
}

// ended waits until a job has ended well.
func ended(plane *admin.Client, s job.Status) error {
	s, err := plane.WaitForJob(context.Background(), s.ID, nil)
	if err == nil && s.State != job.Done {
		err = fmt.Errorf("job %s: %s", s.Kind, s.Error)
	}
	return err
}

const (
	blocksOfMiB = 1 << 20 / 512
	mostGrowth  = 96 // MiB
)

func (g *growth) work(stop *atomic.Bool) {
	for !stop.Load() && g.acknowledged < mostGrowth {
		s, err := g.plane.Grow(context.Background(), g.name, fmt.Sprintf("%dMiB", g.next()))
		if err == nil {
			err = ended(g.plane, s)
		}
		if g.failed = err; err != nil {
			return
		}
		g.done()
		cdb := []byte{0x2a, 8, 0, 0, 0, 0, 0, 0, 1, 0} // WRITE (10) with FUA
		binary.BigEndian.PutUint32(cdb[2:], uint32(g.acknowledged*blocksOfMiB-1))
		if _, err := do(g.c, initiator.Command{LUN: initiator.LUN(g.lun), CDB: cdb, Write: g.mark(g.acknowledged)}); err != nil {
			return
		}
		g.last = append(g.last, g.acknowledged)
	}
}

func (g *growth) mark(size int) []byte {
	return []byte(strings.Repeat(fmt.Sprintf("%16d", size), 512/16))
}

func (g *growth) flushed() { g.sent = g.acknowledged }

func (g *growth) check() ([]string, error) {
	l, err := g.plane.LUN(context.Background(), g.name)
	if err != nil {
		return nil, err
	}
	wrong := g.settle("the size in MiB", int(l.Size>>20))
	if l.Size&(1<<20-1) != 0 || l.Allocated < l.Size {
		wrong = append(wrong, fmt.Sprintf("the fixed LUN has %d bytes and takes %d", l.Size, l.Allocated))
	}
	for _, size := range g.last {
		cdb := []byte{0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0}
		binary.BigEndian.PutUint32(cdb[2:], uint32(size*blocksOfMiB-1))
		r, err := do(g.c, initiator.Command{LUN: initiator.LUN(g.lun), CDB: cdb, Read: 512})
		if err != nil {
			return nil, err
		}
		if !slices.Equal(r.Data, g.mark(size)) {
			wrong = append(wrong, fmt.Sprintf("the last block of %d MiB holds %q", size, r.Data[:16]))
		}
	}
	return wrong, nil
}

func (g *growth) tell() string {
	return fmt.Sprintf("grown to %d MiB; the last error: %v", g.acknowledged, g.failed)
}

// snapshots is a witness of which snapshots there are: it takes one after the other and
// removes the one before the last.
type snapshots struct {
	count
	name    string
	plane   *admin.Client
	removed int // up to which they are acknowledged to be gone
}

func (s *snapshots) begin(_ string, plane *admin.Client) error {
	s.plane = plane
	return nil
}

func (s *snapshots) work(stop *atomic.Bool) {
	ctx := context.Background()
	for !stop.Load() {
		if _, err := s.plane.TakeSnapshots(ctx, []string{s.name}, fmt.Sprintf("s%d", s.next())); err != nil {
			s.failed = err
			return
		}
		s.done()
		if s.acknowledged < 2 {
			continue
		}
		j, err := s.plane.DeleteSnapshot(ctx, s.name, fmt.Sprintf("s%d", s.acknowledged-1))
		if err == nil {
			err = ended(s.plane, j)
		}
		if s.failed = err; err != nil {
			return
		}
		s.removed = s.acknowledged - 1
	}
}

func (s *snapshots) flushed() { s.sent = s.acknowledged }

func (s *snapshots) check() (wrong []string, err error) {
	list, err := s.plane.Snapshots(context.Background(), s.name)
	if err != nil {
		return nil, err
	}
	last := 0
	for _, one := range list {
		n := 0
		if _, err := fmt.Sscanf(one.Name, "s%d", &n); err != nil || n <= s.removed {
			wrong = append(wrong, fmt.Sprintf("the snapshot %s is there, which is not known or was removed", one.Name))
		}
		last = max(last, n)
	}
	return append(wrong, s.settle("the snapshot", last)...), nil
}

func (s *snapshots) tell() string {
	return fmt.Sprintf("%d snapshots; the last error: %v", s.changes, s.failed)
}
