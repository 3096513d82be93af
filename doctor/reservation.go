package doctor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/isantarget/isantarget/scsi"
)

func putUint64(p []byte, v uint64) { binary.BigEndian.PutUint64(p, v) }
func putUint32(p []byte, v uint32) { binary.BigEndian.PutUint32(p, v) }

// The service actions of PERSISTENT RESERVE IN and OUT (SPC-4 6.15, 6.16).
const (
	readKeys           = 0x00
	readReservation    = 0x01
	reportCapabilities = 0x02

	register          = 0x00
	reserve           = 0x01
	release           = 0x02
	clearAll          = 0x03
	preempt           = 0x04
	preemptAndAbort   = 0x05
	registerAndIgnore = 0x06
)

const writeExclusiveRegistrantsOnly = byte(scsi.WriteExclusiveRegistrantsOnly)

// A guard is what the reservation checks share: the keys by which the two nexuses register.
type guard struct {
	keyA, keyB uint64
	former     uint64 // a key of nexus a that it has changed
}

// reservations is what PERSISTENT RESERVE IN tells.
type reservations struct {
	keys   []uint64
	holder uint64
	kind   byte // TYPE; 0: there is no reservation
}

// persistentIn runs PERSISTENT RESERVE IN.
func (n *nexus) persistentIn(action byte) ([]byte, error) {
	const most = 4096
	data, err := n.run(fmt.Sprintf("PERSISTENT RESERVE IN, %s", inNames()[action]), []byte{0x5e, action, 0, 0, 0, 0, 0, most >> 8, most & 0xff, 0}, nil, most)
	if err == nil && len(data) < 8 {
		return nil, fmt.Errorf("PERSISTENT RESERVE IN, %s: %d bytes, at least 8 are due", inNames()[action], len(data))
	}
	return data, err
}

func inNames() [3]string { return [3]string{"READ KEYS", "READ RESERVATION", "REPORT CAPABILITIES"} }

func outNames() [7]string {
	return [7]string{"REGISTER", "RESERVE", "RELEASE", "CLEAR", "PREEMPT", "PREEMPT AND ABORT", "REGISTER AND IGNORE EXISTING KEY"}
}

// persistentOut runs PERSISTENT RESERVE OUT.
func (n *nexus) persistentOut(action, kind byte, key, other uint64, throughLoss bool) error {
	list := make([]byte, 24)
	putUint64(list, key)
	putUint64(list[8:], other)
	if throughLoss {
		list[20] = 1 // APTPL
	}
	cdb := []byte{0x5f, action, kind, 0, 0, 0, 0, 0, 24, 0}
	_, err := n.run("PERSISTENT RESERVE OUT, "+outNames()[action], cdb, list, 0)
	return err
}

// reservations asks who is registered and who has reserved.
func (n *nexus) reservations() (r reservations, err error) {
	data, err := n.persistentIn(readKeys)
	if err != nil {
		return r, err
	}
	count := int(uint32At(data, 4)) / 8
	if count > (len(data)-8)/8 {
		return r, fmt.Errorf("READ KEYS: ADDITIONAL LENGTH %d with %d bytes behind it", uint32At(data, 4), len(data)-8)
	}
	for i := range count {
		r.keys = append(r.keys, uint64At(data, 8+8*i))
	}
	if data, err = n.persistentIn(readReservation); err != nil {
		return r, err
	}
	if uint32At(data, 4) >= 16 && len(data) >= 24 {
		r.holder, r.kind = uint64At(data, 8), data[21]&0xf
	}
	return r, nil
}

// unreserved fails, as not checked, where others have registered or reserved.
func (x *examination) unreserved() error {
	if x.guarded != nil {
		return nil
	}
	r, err := x.a.reservations()
	switch {
	case conflicts(err):
		return notChecked("somebody has reserved the unit (RESERVE)")
	case answered(err):
		return nil // it knows no persistent reservations
	case err != nil:
		return err
	case len(r.keys) > 0 || r.kind != 0:
		return notChecked("%d keys are registered with the unit, of hosts that use it; that would disturb them", len(r.keys))
	}
	return nil
}

// guard makes sure that nobody else has reserved the unit, and that nothing of ours stays.
func (x *examination) guard() (*guard, error) {
	if x.guarded != nil {
		return x.guarded, x.unguard()
	}
	// The blocks are saved first, so that they are put back when nothing is reserved.
	if _, err := x.scratch(); err != nil && !answered(err) && !errors.Is(err, errNotChecked) {
		return nil, err
	}
	if _, err := x.a.reservations(); err != nil && !conflicts(err) {
		return nil, err
	}
	if err := x.unreserved(); err != nil {
		return nil, err
	}
	now := uint64(time.Now().UnixNano())
	x.guarded = &guard{keyA: now | 1, keyB: now + 2 | 1}
	x.undo = append(x.undo, x.unguard)
	return x.guarded, nil
}

// unguard takes our registrations away, and looks whether they are.
func (x *examination) unguard() error {
	r, err := x.a.reservations()
	if err != nil {
		return fmt.Errorf("it cannot be seen whether our registrations are gone: %w", err)
	}
	if len(r.keys) == 0 && r.kind == 0 {
		return nil
	}
	for _, step := range []func(reservations){x.giveUp, x.clearOurs, x.takeAndRelease} {
		step(r)
		if r, err = x.a.reservations(); err != nil {
			return fmt.Errorf("it cannot be seen whether our registrations are gone: %w", err)
		}
		if len(r.keys) == 0 && r.kind == 0 {
			return nil
		}
	}
	return fmt.Errorf("registrations are left behind: keys %x, reservation type %x", r.keys, r.kind)
}

// The three ways to take away what is ours, the last two for targets that do not do what
// the first one asks. What each comes to the next look shows.

// giveUp releases and unregisters.
func (x *examination) giveUp(r reservations) {
	for _, n := range []*nexus{x.a, x.b} {
		key := x.guarded.keyA
		if n == x.b {
			key = x.guarded.keyB
		}
		if r.kind != 0 && slices.Contains(r.keys, key) {
			_ = n.persistentOut(release, r.kind, key, 0, false)
		}
		_ = n.persistentOut(registerAndIgnore, 0, 0, 0, false)
	}
}

// clearOurs clears everything, if nobody but us is registered.
func (x *examination) clearOurs(r reservations) {
	g := x.guarded
	if slices.ContainsFunc(r.keys, func(k uint64) bool { return k != g.keyA && k != g.keyB && k != g.former }) {
		return
	}
	if x.a.persistentOut(registerAndIgnore, 0, 0, g.keyA, false) == nil {
		_ = x.a.persistentOut(clearAll, 0, g.keyA, 0, false)
	}
}

// takeAndRelease preempts a reservation whose holder is not registered any more.
func (x *examination) takeAndRelease(r reservations) {
	g := x.guarded
	if x.a.persistentOut(registerAndIgnore, 0, 0, g.keyA, false) == nil {
		_ = x.a.persistentOut(preempt, r.kind, g.keyA, r.holder, false)
		_ = x.a.persistentOut(release, r.kind, g.keyA, 0, false)
		_ = x.a.persistentOut(registerAndIgnore, 0, 0, 0, false)
	}
}

// registered registers both nexuses.
func (x *examination) registered() (*guard, error) {
	g, err := x.guard()
	if err != nil {
		return nil, err
	}
	if err := x.a.persistentOut(registerAndIgnore, 0, 0, g.keyA, false); err != nil {
		return nil, err
	}
	return g, x.b.persistentOut(registerAndIgnore, 0, 0, g.keyB, false)
}

// reservedByA has nexus a hold a reservation, b being registered too.
func (x *examination) reservedByA(kind byte) (*guard, error) {
	g, err := x.registered()
	if err != nil {
		return nil, err
	}
	if err := x.a.persistentOut(reserve, kind, g.keyA, 0, false); err != nil {
		return nil, err
	}
	r, err := x.a.reservations()
	if err != nil {
		return nil, err
	}
	if r.kind != kind || r.holder != g.keyA {
		return nil, fmt.Errorf("RESERVE ended with GOOD, and READ RESERVATION tells of type %Xh held by key %#x, not of type %Xh held by %#x", r.kind, r.holder, kind, g.keyA)
	}
	return g, nil
}

// fenced fails unless n cannot write: its write must meet RESERVATION CONFLICT, and the
// blocks must stay as they are.
func (x *examination) fenced(n, other *nexus, who string) error {
	s, err := x.scratch()
	if err != nil {
		return err
	}
	before, err := other.read(s.lba, 1)
	if err != nil {
		return err
	}
	err = n.write(s.lba, pattern(s.size, byte(time.Now().UnixNano())))
	if err == nil {
		return fmt.Errorf("%s can still write: its WRITE ended with GOOD", who)
	}
	if !conflicts(err) {
		return fmt.Errorf("%s: %w, where RESERVATION CONFLICT is due", who, err)
	}
	if err := other.holds("after a WRITE that was refused", s.lba, before); err != nil {
		return err
	}
	return nil
}
