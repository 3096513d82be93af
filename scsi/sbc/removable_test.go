package sbc

import (
	"testing"

	"github.com/isantarget/isantarget/scsi"
)

const (
	ssuStart   = 0x01
	ssuLoej    = 0x02
	ssuNoFlush = 0x04
)

func startStop(immed, flags byte) []byte  { return []byte{0x1b, immed, 0, 0, flags, 0} }
func preventAllow(prevent byte) []byte    { return []byte{0x1e, 0, 0, 0, prevent, 0} }
func removable(o *Options, _ *recorder)   { o.Removable = true }
func (r *rig) wantReady(want bool)        { r.t.Helper(); r.wantReadyFor(r.nexus, want) }
func (r *rig) eject(n *scsi.Nexus) answer { return r.start(n, startStop(0, ssuLoej), nil, 0).answer() }

func (r *rig) wantReadyFor(n *scsi.Nexus, want bool) {
	r.t.Helper()
	a := r.start(n, testUnitReady, nil, 0).answer()
	if want && a.status != scsi.Good {
		r.t.Errorf("TEST UNIT READY: %v, %s", a.status, a.describe())
	}
	if !want {
		a.want(r.t, testUnitReady, scsi.KeyNotReady, scsi.ASCMediumNotPresent)
	}
}

func TestStartStopUnit_EjectAndLoad(t *testing.T) {
	r := newRig(t, removable)
	other := r.attach("iqn.2026-11.test:two")
	data := pattern(512, 1)
	r.good(write10(0, 1), data)
	for _, immed := range []byte{0, 1} {
		r.good(startStop(immed, ssuLoej), nil)
		r.device.background.wait()
		r.wantNoted(append([]string{"write"}[immed:], "sync")...)
		r.wantReady(false)
		r.refused(read10(0, 1), nil, scsi.KeyNotReady, scsi.ASCMediumNotPresent)
		r.refused(write10(0, 1), data, scsi.KeyNotReady, scsi.ASCMediumNotPresent)
		r.refused([]byte{0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0}, nil, scsi.KeyNotReady, scsi.ASCMediumNotPresent)
		r.refused(startStop(0, ssuStart), nil, scsi.KeyNotReady, scsi.ASCMediumNotPresent)
		r.good(startStop(0, 0), nil)
		r.good(startStop(immed, ssuLoej), nil) // there is none to eject
		r.good(startStop(immed, ssuLoej|ssuStart), nil)
		r.wantReady(true)
		r.wantContent(0, data)
		// The other nexus is told that it may be another medium, once.
		a := r.start(other, testUnitReady, nil, 0).answer()
		a.want(t, testUnitReady, scsi.KeyUnitAttention, scsi.ASCNotReadyToReadyChangeMediumMayHaveChanged)
		r.wantReadyFor(other, true)
		r.good(startStop(0, ssuLoej|ssuStart), nil) // nothing changes
		r.wantReadyFor(other, true)
	}
}

// START=0 writes the cache, and does not take the unit away from other hosts.
func TestStartStopUnit_Stop(t *testing.T) {
	r := newRig(t, nil)
	r.good(startStop(0, 0), nil)
	r.wantNoted("sync")
	r.wantReady(true)
	r.good(startStop(1, 0), nil)
	r.device.background.wait()
	r.wantNoted("sync")
	r.good(startStop(0, ssuNoFlush), nil)
	r.good(startStop(0, ssuStart), nil)
	r.wantNoted()
	for condition := byte(1); condition < 16; condition++ {
		r.good(startStop(0, condition<<4|ssuLoej), nil) // LOEJ and START are ignored
		r.wantReady(true)
	}
	for _, flags := range []byte{ssuLoej, ssuLoej | ssuStart} {
		r.refused(startStop(0, flags), nil, scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCDB).wantField(t, 4, 1)
	}
	r.refused(startStop(0, 0x08), nil, scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCDB).wantField(t, 4, 3)
}

func TestPreventAllow_PerNexus(t *testing.T) {
	r := newRig(t, removable)
	other := r.attach("iqn.2026-11.test:two")
	wantPrevented := func(why string) {
		t.Helper()
		for _, n := range []*scsi.Nexus{r.nexus, other} {
			a := r.eject(n)
			if a.status != scsi.CheckCondition || a.code() != scsi.ASCMediumRemovalPrevented {
				t.Errorf("%s: eject ended with %v, %s", why, a.status, a.describe())
			}
		}
		r.wantReady(true)
	}
	wantEjects := func(why string) {
		t.Helper()
		if a := r.eject(r.nexus); a.status != scsi.Good {
			t.Errorf("%s: eject ended with %v, %s", why, a.status, a.describe())
		}
		r.wantReady(false)
		r.good(startStop(0, ssuStart|ssuLoej), nil)
		r.unit.TakeAttention(other)
	}
	prevent := func(n *scsi.Nexus, p byte) {
		t.Helper()
		if a := r.start(n, preventAllow(p), nil, 0).answer(); a.status != scsi.Good {
			t.Fatalf("PREVENT ALLOW: %s", a.describe())
		}
	}
	wantEjects("nobody prevents")
	prevent(r.nexus, 1)
	wantPrevented("one prevents")
	prevent(other, 1)
	prevent(r.nexus, 0)
	wantPrevented("the other prevents")
	prevent(other, 0)
	wantEjects("both allow")

	prevent(other, 1)
	r.unit.NexusLost(other)
	wantEjects("who prevents is lost")

	r.unit.Attach(other)
	for r.unit.TakeAttention(other) != nil {
	}
	prevent(other, 1)
	r.unit.Manage(scsi.LogicalUnitReset, r.nexus, 0)
	for _, n := range []*scsi.Nexus{r.nexus, other} {
		for r.unit.TakeAttention(n) != nil {
		}
	}
	wantEjects("logical unit reset")
	// Loading is not removal.
	r.eject(r.nexus)
	prevent(r.nexus, 1)
	r.good(startStop(0, ssuStart|ssuLoej), nil)
	r.wantReady(true)
	r.refused(preventAllow(2), nil, scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCDB).wantField(t, 4, 1)
}
