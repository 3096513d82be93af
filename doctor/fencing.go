package doctor

import (
	"errors"
	"fmt"
	"slices"

	"github.com/isantarget/isantarget/scsi"
)

const clusterBreaks = "cluster validation (SCSI-3 Persistent Reservation) fails; or it passes, and two nodes own one disk: data is lost"

func reservationChecks() []Check {
	return []Check{
		{
			ID: "reserve-6", For: []Consumer{VMware}, scope: ofUnit, needs: reserving, run: checkReserve6,
			Title:  "RESERVE (6) keeps another host out, until RELEASE (6)",
			Breaks: "VMware cannot format VMFS (6.7 and older), or two hosts format at once",
			Remedy: "update the target",
		}, {
			ID: "pr-register", For: []Consumer{WindowsCluster, FenceSCSI, Multipath}, scope: ofUnit, needs: reserving, run: checkRegister,
			Title:  "hosts register keys, change them, and unregister by key 0; a wrong key is refused",
			Breaks: clusterBreaks,
			Remedy: "update the target",
		}, {
			ID: "pr-reserve", For: []Consumer{WindowsCluster, FenceSCSI}, scope: ofUnit, needs: reserving, run: reserved(writeExclusiveRegistrantsOnly, checkPersistentReserve),
			Title:  "a reservation is told of as it was made, is refused to others, and ends with RELEASE",
			Breaks: clusterBreaks,
			Remedy: "update the target",
		}, {
			ID: "pr-exclusive", For: []Consumer{WindowsCluster}, scope: ofUnit, needs: reserving, run: written(byte(scsi.ExclusiveAccessRegistrantsOnly), checkExclusiveAccess),
			Title:  "exclusive access - registrants only keeps an unregistered host from reading",
			Breaks: "a host that is no member reads what the members change",
			Remedy: "update the target",
		}, {
			ID: "pr-logout", For: []Consumer{WindowsCluster, FenceSCSI, Multipath}, scope: ofUnit, needs: reserving, run: written(writeExclusiveRegistrantsOnly, checkThroughLogout),
			Title:  "registration and reservation stay through a logout and the next login",
			Breaks: "a node whose connection breaks loses its disk to the next one, and its own writes are refused, or another's let in",
			Remedy: "update the target; it must know hosts by name and ISID, not by session",
		}, {
			ID: "pr-preempt", For: []Consumer{WindowsCluster}, scope: ofUnit, needs: reserving, run: reserved(writeExclusiveRegistrantsOnly, checkPreempt),
			Title:  "PREEMPT takes the reservation over, and the host that lost it hears of it",
			Breaks: clusterBreaks,
			Remedy: "update the target",
		}, {
			ID: "pr-aptpl", For: []Consumer{WindowsCluster, FenceSCSI}, scope: ofUnit, needs: reserving, run: checkThroughPowerLoss,
			Title:  "a registration that shall outlive a loss of power (APTPL) is accepted, and told of (PTPL_A)",
			Breaks: "after a restart of the target every fenced host may write again",
			Remedy: "give the target a place to keep reservations; update it",
		}, {
			ID: "pr-clear", For: []Consumer{FenceSCSI, Multipath}, scope: ofUnit, needs: reserving, run: reserved(writeExclusiveRegistrantsOnly, checkClear),
			Title:  "CLEAR takes the reservation and all registrations away",
			Breaks: "what a dead cluster left can never be taken away",
			Remedy: "update the target",
		},
	}
}

func fencingChecks() []Check {
	return []Check{
		{
			ID: "fence-stranger", For: []Consumer{FenceSCSI, WindowsCluster}, scope: ofUnit, needs: reserving, run: written(writeExclusiveRegistrantsOnly, checkStranger),
			Title:  "with write exclusive - registrants only (type 5) a host that is not registered cannot write, and can read",
			Breaks: "fencing fences nobody: the node that was shot goes on writing",
			Remedy: "do not fence by this target; update it",
		}, {
			ID: "fence-preempt", For: []Consumer{FenceSCSI}, scope: ofUnit, needs: reserving, run: written(writeExclusiveRegistrantsOnly, checkFence(preempt)),
			Title:  "a host whose key was preempted (PREEMPT) cannot write any more",
			Breaks: "fencing fences nobody: the node that was shot goes on writing",
			Remedy: "do not fence by this target; update it",
		}, {
			ID: "fence-abort", For: []Consumer{FenceSCSI}, scope: ofUnit, needs: reserving, run: written(writeExclusiveRegistrantsOnly, checkFence(preemptAndAbort)),
			Title:  "a host whose key was preempted by PREEMPT AND ABORT, which fence_scsi uses, cannot write any more",
			Breaks: "fence_scsi cannot fence: the cluster stops with the node that failed",
			Remedy: "fence in another way (power); update the target",
		},
	}
}

// reserved begins a check with a reservation that nexus a holds, b being registered too, and
// ends it without any.
func reserved(kind byte, check func(*examination, *guard) error) func(*examination) (string, error) {
	return func(x *examination) (string, error) {
		g, err := x.reservedByA(kind)
		if err != nil {
			return "", err
		}
		if err := check(x, g); err != nil {
			return "", err
		}
		return "", x.unguard()
	}
}

// written is reserved, for a check that writes.
func written(kind byte, check func(*examination, *guard, *scratch) error) func(*examination) (string, error) {
	return func(x *examination) (string, error) {
		s, err := x.scratch()
		if err != nil {
			return "", err
		}
		return reserved(kind, func(x *examination, g *guard) error { return check(x, g, s) })(x)
	}
}

func checkReserve6(x *examination) (string, error) {
	s, err := x.scratch()
	if err != nil {
		return "", err
	}
	// Without persistent reservations RESERVE can be there all the same.
	if _, err := x.guard(); err != nil && !answered(err) {
		return "", err
	}
	if _, err := x.b.hear(); err != nil {
		return "", err
	}
	if _, err := x.a.run("RESERVE (6)", []byte{0x16, 0, 0, 0, 0, 0}, nil, 0); err != nil {
		return "", err
	}
	released := false
	give := func() error {
		if released {
			return nil
		}
		_, err := x.a.run("RELEASE (6)", []byte{0x17, 0, 0, 0, 0, 0}, nil, 0)
		released = err == nil
		return err
	}
	x.undo = append(x.undo, give)
	if err := x.fenced(x.b, x.a, "a host beside the one that holds RESERVE"); err != nil {
		return "", errors.Join(err, give())
	}
	if err := give(); err != nil {
		return "", err
	}
	if err := x.b.write(s.lba, pattern(s.size, 30)); err != nil {
		return "", fmt.Errorf("after RELEASE: %w", err)
	}
	return "", nil
}

func checkRegister(x *examination) (string, error) {
	g, err := x.guard()
	if err != nil {
		return "", err
	}
	if err := x.a.persistentOut(register, 0, 0, g.keyA, false); err != nil {
		return "", err
	}
	if err := x.b.persistentOut(registerAndIgnore, 0, 0, g.keyB, false); err != nil {
		return "", err
	}
	if err := x.keysAre(g.keyA, g.keyB); err != nil {
		return "", err
	}
	if err := x.a.persistentOut(register, 0, g.keyA+100, g.keyB+1000, false); err == nil {
		return "", errors.New("REGISTER with a key that is not the registered one ends with GOOD")
	} else if !conflicts(err) {
		return "", err
	}
	g.former = g.keyA
	changed := g.keyA + 0x100
	if err := x.a.persistentOut(register, 0, g.keyA, changed, false); err != nil {
		return "", err
	}
	g.keyA = changed
	if err := x.keysAre(g.keyA, g.keyB); err != nil {
		return "", err
	}
	// So Windows unregisters ([MS-CSVP] 3.2.4.17).
	if err := x.b.persistentOut(registerAndIgnore, 0, 0, 0, false); err != nil {
		return "", err
	}
	if err := x.keysAre(g.keyA); err != nil {
		return "", err
	}
	return "", x.unguard()
}

// keysAre fails unless READ KEYS tells of these, in any order.
func (x *examination) keysAre(want ...uint64) error {
	r, err := x.b.reservations()
	if err != nil {
		return err
	}
	slices.Sort(r.keys)
	slices.Sort(want)
	if !slices.Equal(r.keys, want) {
		return fmt.Errorf("READ KEYS tells of %#x, registered are %#x", r.keys, want)
	}
	return nil
}

func checkPersistentReserve(x *examination, g *guard) error {
	if err := x.b.persistentOut(reserve, byte(scsi.ExclusiveAccess), g.keyB, 0, false); err == nil {
		return errors.New("RESERVE of another host ends with GOOD, too")
	} else if !conflicts(err) {
		return err
	}
	if err := x.a.persistentOut(release, writeExclusiveRegistrantsOnly, g.keyA, 0, false); err != nil {
		return err
	}
	r, err := x.b.reservations()
	if err != nil {
		return err
	}
	if r.kind != 0 {
		return fmt.Errorf("after RELEASE the unit is still reserved, with type %Xh", r.kind)
	}
	return nil
}

func checkExclusiveAccess(x *examination, _ *guard, s *scratch) error {
	if _, err := x.b.read(s.lba, 1); err != nil {
		return fmt.Errorf("a registered host: %w", err)
	}
	if err := x.b.persistentOut(registerAndIgnore, 0, 0, 0, false); err != nil {
		return err
	}
	if _, err := x.b.read(s.lba, 1); err == nil {
		return errors.New("an unregistered host reads")
	} else if !conflicts(err) {
		return err
	}
	return nil
}

func checkThroughLogout(x *examination, g *guard, s *scratch) error {
	x.a.logout()
	r, err := x.b.reservations()
	if err != nil {
		return err
	}
	if r.kind != writeExclusiveRegistrantsOnly || r.holder != g.keyA || !slices.Contains(r.keys, g.keyA) {
		return fmt.Errorf("after its holder has logged out the unit is reserved with type %Xh by key %#x, with keys %#x", r.kind, r.holder, r.keys)
	}
	if _, err := x.a.hear(); err != nil {
		return err
	}
	if err := x.a.write(s.lba, pattern(s.size, 31)); err != nil {
		return fmt.Errorf("the holder, logged in again: %w", err)
	}
	return nil
}

func checkPreempt(x *examination, g *guard) error {
	if _, err := x.a.hear(); err != nil {
		return err
	}
	if err := x.b.persistentOut(preempt, byte(scsi.WriteExclusive), g.keyB, g.keyA, false); err != nil {
		return err
	}
	r, err := x.b.reservations()
	if err != nil {
		return err
	}
	if r.kind != byte(scsi.WriteExclusive) || r.holder != g.keyB || slices.Contains(r.keys, g.keyA) {
		return fmt.Errorf("after PREEMPT the unit is reserved with type %Xh by key %#x, with keys %#x", r.kind, r.holder, r.keys)
	}
	heard, err := x.a.hear()
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(heard, func(c scsi.SenseCode) bool { return c>>8 == scsi.ASCReservationsPreempted>>8 }) {
		return fmt.Errorf("the host that was preempted hears nothing of it (unit attentions: %v)", heard)
	}
	return nil
}

func checkThroughPowerLoss(x *examination) (string, error) {
	g, err := x.guard()
	if err != nil {
		return "", err
	}
	if err := x.a.persistentOut(registerAndIgnore, 0, 0, g.keyA, true); err != nil {
		return "", err
	}
	data, err := x.capabilities()
	if err != nil {
		return "", err
	}
	if data[3]&1 == 0 {
		return "", errors.New("APTPL is accepted, and REPORT CAPABILITIES says that it is not in force (PTPL_A is 0)")
	}
	if err := x.unguard(); err != nil {
		return "", err
	}
	return "whether it is true only a restart of the target shows", nil
}

func checkClear(x *examination, g *guard) error {
	if err := x.b.persistentOut(clearAll, 0, g.keyB, 0, false); err != nil {
		return err
	}
	r, err := x.a.reservations()
	if err != nil {
		return err
	}
	if r.kind != 0 || len(r.keys) > 0 {
		return fmt.Errorf("after CLEAR the keys %#x and a reservation of type %Xh are left", r.keys, r.kind)
	}
	return nil
}

func checkStranger(x *examination, g *guard, s *scratch) error {
	if err := x.b.write(s.lba, pattern(s.size, 32)); err != nil {
		return fmt.Errorf("a registered host: %w", err)
	}
	if err := x.b.persistentOut(register, 0, g.keyB, 0, false); err != nil {
		return err
	}
	if err := x.fenced(x.b, x.a, "a host that is not registered"); err != nil {
		return err
	}
	if _, err := x.b.read(s.lba, 1); err != nil {
		return fmt.Errorf("a host that is not registered cannot read: %w", err)
	}
	return nil
}

// checkFence fences nexus a, which holds the reservation, as fence_scsi does.
func checkFence(action byte) func(*examination, *guard, *scratch) error {
	return func(x *examination, g *guard, _ *scratch) error {
		if err := x.b.persistentOut(action, writeExclusiveRegistrantsOnly, g.keyB, g.keyA, false); err != nil {
			return err
		}
		r, err := x.b.reservations()
		if err != nil {
			return err
		}
		if slices.Contains(r.keys, g.keyA) || r.holder != g.keyB {
			return fmt.Errorf("after it the keys are %#x, the unit is reserved by %#x; fenced is %#x", r.keys, r.holder, g.keyA)
		}
		return x.fenced(x.a, x.b, "the host that was fenced")
	}
}
