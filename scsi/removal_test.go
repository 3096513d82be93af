package scsi

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// TestRemove: what runs ends with TASK ABORTED, whatever TAS says, and what comes
// later with what was asked for.
func TestRemove(t *testing.T) {
	for _, tas := range []bool{true, false} {
		r := newAbortRig(t)
		r.lu.modes.taskAborted.Store(tas)
		if err := r.lu.Remove(IllegalRequest(ASCLogicalUnitNotSupported)); err != nil {
			t.Fatal(err)
		}
		for _, i := range []issued{r.running, r.sleeping, r.other, r.otherSleep} {
			i.wait(t)
			if i.Silent {
				t.Errorf("TAS %v: a command ends in silence", tas)
			}
			i.wantStatus(t, TaskAborted)
		}
		late := do(t, r.lu, r.a, 2, 0, 0, 0, 0, 0)
		late.wantSense(t, KeyIllegalRequest, ASCLogicalUnitNotSupported)
		do(t, r.lu, r.a, 0xfe, 0, 0, 0, 0, 0).wantSense(t, KeyIllegalRequest, ASCLogicalUnitNotSupported)
		if err := r.lu.Idle(t.Context()); err != nil {
			t.Error(err)
		}
		r.lu.Restore()
		do(t, r.lu, r.a, 2, 0, 0, 0, 0, 0).wantStatus(t, Good)
	}
}

// TestRemoveBusy: who is to come back in a moment is told BUSY.
func TestRemoveBusy(t *testing.T) {
	n := newNexus("a")
	lu := newUnit(t, &fakeDevice{rows: []Operation{row(0, Inline, good)}}, nil, n)
	if err := lu.Remove(Busy); err != nil {
		t.Fatal(err)
	}
	do(t, lu, n, 0, 0, 0, 0, 0, 0).wantStatus(t, Busy)
}

// TestRemoveWithHangingStore: it does not wait longer than the bound, names what
// hangs, and tells when that has ended.
func TestRemoveWithHangingStore(t *testing.T) {
	g, n := newGate(), newNexus("a")
	lu := newUnit(t, &fakeDevice{rows: []Operation{row(0, 0, g.hang)}}, nil, n)
	lu.HangBound = 20 * time.Millisecond
	hanging := issue(lu, n, 7, Simple, 0, 0, 0, 0, 0, 0)
	g.wait(t)
	if err := lu.Remove(Busy); err == nil || !strings.Contains(err.Error(), "tag 0x7") {
		t.Errorf("Remove: %v, want the command that hangs", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := lu.Idle(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Idle while a command hangs: %v", err)
	}
	close(g.leave)
	hanging.wait(t)
	if err := lu.Idle(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestUnmap: it concerns one nexus.
func TestUnmap(t *testing.T) {
	r := newAbortRig(t)
	if err := r.lu.Reserve(r.a, true); err != nil {
		t.Fatal(err)
	}
	if !r.lu.Unmap(r.a) {
		t.Error("Unmap: commands still act")
	}
	for _, i := range []issued{r.running, r.sleeping} {
		i.wait(t)
		i.wantStatus(t, TaskAborted)
	}
	if fate(r.other) != "lives" {
		t.Errorf("a command of another nexus: %s", fate(r.other))
	}
	if r.lu.ReservedBy() != nil {
		t.Error("its RESERVE outlives it")
	}
	r.lu.Attach(r.a)
	if code, _ := r.lu.PendingAttention(r.a); code != ASCITNexusLossOccurred {
		t.Errorf("what it hears when it is back: %v", code)
	}
	close(r.gate.leave)
}
