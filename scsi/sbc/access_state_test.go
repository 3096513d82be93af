package sbc

import (
	"slices"
	"testing"

	"github.com/isantarget/isantarget/scsi"
)

// throughState are the commands that a port lets through in a state: SPC-4
// 5.15.2.4.4 (standby), 5.15.2.4.5 (unavailable) and 5.15.2.5 (transitioning), by
// operation code and, where there is one, service action or mode.
func throughState() map[scsi.AccessState][]uint16 {
	const (
		inquiry, requestSense, reportLUNs        = 0x12, 0x03, 0xa0
		logSelect, logSense                      = 0x4c, 0x4d
		modeSelect6, modeSelect10                = 0x15, 0x55
		modeSense6, modeSense10                  = 0x1a, 0x5a
		receiveDiagnostic, sendDiagnostic        = 0x1c, 0x1d
		reportGroups, setGroups                  = 0xa30a, 0xa40a
		readEcho, readEchoDescriptor, writeEcho  = 0x3c0a, 0x3c0b, 0x3b0a
		persistentReserveIn, persistentReserve   = 0x5e00, 0x5f00
		readCapacity10, readCapacity16           = 0x25, 0x9e10
		persistentInActions, persistentOutAction = 4, 8
	)
	always := []uint16{inquiry, requestSense, reportLUNs, reportGroups, readEcho, readEchoDescriptor, writeEcho}
	standby := append(slices.Clone(always), setGroups, logSelect, logSense, modeSelect6, modeSelect10, modeSense6, modeSense10,
		receiveDiagnostic, sendDiagnostic)
	for action := range uint16(persistentInActions) {
		standby = append(standby, persistentReserveIn|action)
	}
	for action := range uint16(persistentOutAction) {
		standby = append(standby, persistentReserve|action)
	}
	// What the standard leaves to the device server: with the capacity an initiator can
	// make a disk of a path in standby, and use it as soon as the state changes.
	standby = append(standby, readCapacity10, readCapacity16)
	return map[scsi.AccessState][]uint16{
		scsi.Standby:       standby,
		scsi.Unavailable:   append(slices.Clone(always), setGroups),
		scsi.Transitioning: always,
	}
}

// Each command of a disk in each state, against the lists of the standard.
func TestAccessStates_SPC4_5_15_2_4(t *testing.T) {
	const group = 1
	through := throughState()
	codes := map[scsi.AccessState]scsi.SenseCode{scsi.Standby: 0x040b, scsi.Unavailable: 0x040c, scsi.Transitioning: 0x040a}
	for _, state := range []scsi.AccessState{scsi.ActiveOptimized, scsi.ActiveNonOptimized, scsi.Standby, scsi.Unavailable, scsi.Transitioning} {
		t.Run(state.String(), func(t *testing.T) {
			for _, row := range newRig(t, nil).unit.Operations() {
				r := newRig(t, nil)
				if err := r.unit.SetPortGroups([]scsi.PortGroup{{ID: group, Ports: []*scsi.TargetPort{r.nexus.TargetPort}, State: state}}); err != nil {
					t.Fatal(err)
				}
				name := uint16(row.Opcode)
				if row.HasServiceAction {
					name = uint16(row.Opcode)<<8 | row.ServiceAction
				}
				a := r.run(shortest(row), nil)
				if a.status == scsi.ReservationConflict {
					continue // which comes first: of a nexus that has not registered
				}
				got := a.status == scsi.CheckCondition && a.key() == scsi.KeyNotReady && a.code()>>8 == 0x04
				list, listed := through[state]
				if want := listed && !slices.Contains(list, name); got != want || got && a.code() != codes[state] {
					t.Errorf("%s: %v, %s; refused %v, want %v", row.Name, a.status, a.describe(), got, want)
				}
			}
		})
	}
}

// shortest is the CDB of a row with nothing in it but its operation code.
func shortest(row scsi.Operation) []byte {
	c := make([]byte, len(row.Usage))
	c[0] = row.Opcode
	switch {
	case row.Opcode == variableLength:
		c[7], c[8], c[9] = byte(len(c)-8), byte(row.ServiceAction>>8), byte(row.ServiceAction)
	case row.HasServiceAction:
		c[1] = byte(row.ServiceAction)
	}
	return c
}

// REQUEST SENSE through a port that lets little through says why.
func TestAccessStates_RequestSense(t *testing.T) {
	r := newRig(t, nil)
	requestSense := []byte{0x03, 0, 0, 0, 252, 0}
	if err := r.unit.SetPortGroups([]scsi.PortGroup{{ID: 7, Ports: []*scsi.TargetPort{r.nexus.TargetPort}}}); err != nil {
		t.Fatal(err)
	}
	for state, code := range map[scsi.AccessState]scsi.SenseCode{scsi.Standby: 0x040b, scsi.Unavailable: 0x040c, scsi.Transitioning: 0x040a, scsi.ActiveNonOptimized: 0} {
		if err := r.unit.SetAccessState(7, state); err != nil {
			t.Fatal(err)
		}
		for r.unit.TakeAttention(r.nexus) != nil {
		}
		got := answer{sense: r.good(requestSense, nil)}
		if want := scsi.KeyNotReady; code == 0 && got.key() != 0 || code != 0 && got.key() != want || got.code() != code {
			t.Errorf("%v: %s, want code %v", state, got.describe(), code)
		}
	}
}

// Initiators change the states where the options let them; where not, the unit neither
// knows the command nor says that it does.
func TestAccessStates_Explicit_SPC4_5_15_2_1(t *testing.T) {
	for _, explicit := range []bool{true, false} {
		r := newRig(t, func(o *Options, _ *recorder) { o.ExplicitAccess = explicit })
		if err := r.unit.SetPortGroups([]scsi.PortGroup{{ID: 7, Ports: []*scsi.TargetPort{r.nexus.TargetPort}}}); err != nil {
			t.Fatal(err)
		}
		const implicitOnly, both = 0x10, 0x30
		if tpgs := r.good([]byte{0x12, 0, 0, 0, 96, 0}, nil)[5] & 0x30; explicit && tpgs != both || !explicit && tpgs != implicitOnly {
			t.Errorf("explicit %v: TPGS %02Xh", explicit, tpgs)
		}
		set, list := []byte{0xa4, 0x0a, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0}, []byte{0, 0, 0, 0, byte(scsi.Standby), 0, 0, 7}
		want := scsi.Standby
		if explicit {
			r.good(set, list)
		} else {
			want = scsi.ActiveOptimized
			r.refused(set, list, scsi.KeyIllegalRequest, scsi.ASCInvalidCommandOperationCode)
		}
		if got := r.unit.AccessState(r.nexus); got != want {
			t.Errorf("explicit %v: the state is %v, want %v", explicit, got, want)
		}
	}
}
