package reservation

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/scsi"
	"github.com/isantarget/isantarget/test/daemon"
)

// TestFenceSCSI is what fence_scsi of fence-agents does on two nodes: "on" registers
// each with APTPL and reserves, "off" has one preempt and abort the other, which is in
// the middle of a write.
func TestFenceSCSI(t *testing.T) {
	d := serve(t)
	hosts := newHosts(t, d, 2)
	for n, h := range hosts { // on
		h.out(good, out{action: registerAndIgnore, newKey: uint64(n + 1), flags: aptpl})
		if _, kind := h.reservation(); kind == 0 {
			h.out(good, out{action: reserve, kind: writeExclusiveRegistrantsOnly, key: uint64(n + 1)})
		}
	}
	fencer, node := hosts[1], hosts[0] // the fenced node holds the reservation
	if status := node.write(1, 0x11); status != good {
		t.Fatalf("a write before: status %02Xh", status)
	}
	none := 0
	stuck, err := node.c.Start(initiator.Command{ // its data will not come
		CDB: []byte{0x2a, 0, 0, 0, 0, 1, 0, 0, 1, 0}, Write: make([]byte, blockLength), ImmediateData: &none, UnsolicitedData: &none, HoldData: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := stuck.WaitR2T(1); err != nil {
		t.Fatal(err)
	}
	if keys := fencer.keys(); !slices.Contains(keys, 1) { // off
		t.Fatalf("READ KEYS: %X", keys)
	}
	fencer.out(good, out{action: preemptAndAbort, kind: writeExclusiveRegistrantsOnly, key: 2, newKey: 1})
	if keys := fencer.keys(); !slices.Equal(keys, []uint64{2}) {
		t.Errorf("READ KEYS after fencing: %X", keys)
	}
	if key, kind := fencer.reservation(); key != 2 || kind != writeExclusiveRegistrantsOnly {
		t.Errorf("the reservation after fencing: key %X, type %X", key, kind)
	}
	if err := stuck.Answer(stuck.R2Ts[0]); err != nil { // now it comes after all
		t.Fatal(err)
	}
	if r, err := stuck.Wait(); err != nil || r.Status != taskAborted {
		t.Errorf("the aborted write: %+v, %v; want TASK ABORTED", r, err)
	}
	if status := node.write(1, 0x22); status != reservationConflict {
		t.Errorf("a write of the fenced node: status %02Xh", status)
	}
	if codes := node.calm(); !slices.Equal(codes, []scsi.SenseCode{scsi.ASCRegistrationsPreempted}) {
		t.Errorf("the fenced node hears %v", codes)
	}
	if got := fencer.read(1); got != 0x11 {
		t.Errorf("the block holds %02X: a write of the fenced node has landed", got)
	}
	restart(t, d, hosts) // and so it stays
	if status := node.write(1, 0x33); status != reservationConflict {
		t.Errorf("a write of the fenced node after a restart: status %02Xh", status)
	}
	node.out(good, out{action: registerAndIgnore, newKey: 1, flags: aptpl}) // unfenced
	if status := node.write(1, 0x44); status != good {
		t.Errorf("a write of the node that is back: status %02Xh", status)
	}
}

// TestWindowsClusterValidation is the persistent reservation test of the cluster
// validation wizard ([MS-CSVP] 3.2.4.14 to 3.2.4.17): two nodes register keys, one
// reserves and reads the reservation back, the other cannot reserve, preempts, and both leave.
func TestWindowsClusterValidation(t *testing.T) {
	const a, b = 0x5c0d00007466734d, 0x5c0e00007466734d // unique, but for the mask of a cluster
	d := serve(t)
	hosts := newHosts(t, d, 2)
	one, two := hosts[0], hosts[1]
	one.out(good, out{action: registerAndIgnore, newKey: a})
	one.out(good, out{action: reserve, kind: writeExclusiveRegistrantsOnly, key: a})
	if key, kind := one.reservation(); key != a || kind != writeExclusiveRegistrantsOnly {
		t.Fatalf("READ RESERVATION: key %X, type %X", key, kind)
	}
	if status := two.write(0, 1); status != reservationConflict {
		t.Errorf("a write of a node that is not registered: status %02Xh", status)
	}
	two.out(good, out{action: registerAndIgnore, newKey: b})
	two.out(reservationConflict, out{action: reserve, kind: writeExclusiveRegistrantsOnly, key: b})
	if keys := two.keys(); !slices.Equal(keys, []uint64{a, b}) {
		t.Errorf("READ KEYS: %X", keys)
	}
	if status := two.write(0, 1); status != good {
		t.Errorf("a write of a registered node: status %02Xh", status)
	}
	two.out(good, out{action: preempt, kind: writeExclusiveRegistrantsOnly, key: b, newKey: a})
	if key, _ := two.reservation(); key != b {
		t.Errorf("after PREEMPT the reservation has the key %X", key)
	}
	if codes := one.calm(); !slices.Equal(codes, []scsi.SenseCode{scsi.ASCRegistrationsPreempted}) {
		t.Errorf("the preempted node hears %v", codes)
	}
	one.out(good, out{action: registerAndIgnore, newKey: a}) // to hear of the end
	two.out(good, out{action: registerAndIgnore})            // leaves, with key 0
	if codes := one.calm(); !slices.Equal(codes, []scsi.SenseCode{scsi.ASCReservationsReleased}) {
		t.Errorf("the other registrant hears %v", codes)
	}
	one.out(good, out{action: registerAndIgnore})
	one.out(good, out{action: registerAndIgnore}) // again: nothing to do
	if keys := one.keys(); len(keys) != 0 {
		t.Errorf("after both have left: %X", keys)
	}
	if _, kind := one.reservation(); kind != 0 {
		t.Errorf("after both have left: type %X", kind)
	}
}

// TestWindowsArbitration: the owner defends its reservation every 3 seconds (here: in
// each turn), by preempting whoever has registered. A challenger that finds itself
// preempted has lost; one that does not takes the reservation.
func TestWindowsArbitration(t *testing.T) {
	const owner, challenger = 0xa, 0xb
	d := serve(t)
	hosts := newHosts(t, d, 2)
	defender, other := hosts[0], hosts[1]
	defender.out(good, out{action: registerAndIgnore, newKey: owner})
	defender.out(good, out{action: reserve, kind: writeExclusiveRegistrantsOnly, key: owner})
	defend := func() {
		for _, key := range defender.keys() {
			if key != owner {
				defender.out(good, out{action: preempt, kind: writeExclusiveRegistrantsOnly, key: owner, newKey: key})
			}
		}
	}
	take := out{action: preempt, kind: writeExclusiveRegistrantsOnly, key: challenger, newKey: owner}
	for range 5 {
		other.out(good, out{action: registerAndIgnore, newKey: challenger})
		defend()
		other.out(reservationConflict, take)
		if codes := other.calm(); !slices.Equal(codes, []scsi.SenseCode{scsi.ASCRegistrationsPreempted}) {
			t.Fatalf("the challenger hears %v", codes)
		}
		if status := defender.write(0, 1); status != good {
			t.Fatalf("a write of the owner: status %02Xh", status)
		}
	}
	defender.c.Close() // it has died
	other.out(good, out{action: registerAndIgnore, newKey: challenger})
	if keys := other.keys(); !slices.Equal(keys, []uint64{owner, challenger}) {
		t.Fatalf("READ KEYS: %X: a registration has to outlive its session", keys)
	}
	other.out(good, take)
	if key, _ := other.reservation(); key != challenger {
		t.Errorf("the challenger has not got the reservation: key %X", key)
	}
	if err := defender.tryUp(d.Address()); err != nil { // it comes back
		t.Fatal(err)
	}
	if status := defender.write(0, 2); status != reservationConflict {
		t.Errorf("a write of the former owner: status %02Xh", status)
	}
	if codes := defender.calm(); !slices.Contains(codes, scsi.ASCRegistrationsPreempted) {
		t.Errorf("the former owner hears %v", codes)
	}
}

// TestArbitrationAtTheSameMoment: of two nodes that preempt each other one wins.
func TestArbitrationAtTheSameMoment(t *testing.T) {
	d := serve(t)
	for round := range 30 {
		hosts := newHosts(t, d, 2)
		for n, h := range hosts {
			h.out(good, out{action: registerAndIgnore, newKey: uint64(n + 1)})
		}
		results := make(chan error, 2)
		var statuses [2]uint8
		for n, h := range hosts {
			go func() {
				r, err := h.c.Execute(out{action: preemptAndAbort, kind: 6, key: uint64(n + 1), newKey: uint64(2 - n)}.command())
				if err == nil {
					statuses[n] = r.Status
				}
				results <- err
			}()
		}
		for range hosts {
			select {
			case err := <-results:
				if err != nil {
					t.Fatal(err)
				}
			case <-time.After(2 * time.Minute):
				t.Fatal("they wait for each other")
			}
		}
		hosts[0].calm() // it may be the one that lost
		keys := hosts[0].keys()
		if len(keys) != 1 {
			t.Fatalf("round %d: %X are registered, the answers were %X", round, keys, statuses)
		}
		winner := int(keys[0]) - 1
		if loser := statuses[1-winner]; statuses[winner] != good || loser != reservationConflict && loser != taskAborted {
			t.Fatalf("round %d: host %d is left, the answers were %X", round, winner, statuses)
		}
		hosts[winner].calm()
		hosts[winner].out(good, out{action: clearAll, key: keys[0]})
		for _, h := range hosts {
			h.calm()
			h.c.Close()
		}
	}
}

// TestRegistrationsOfEveryPort: one disk through two portal groups. A registration
// belongs to the port it came through, ALL_TG_PT means all of them, and each is seen
// through both.
func TestRegistrationsOfEveryPort_SPC4_5_13_7(t *testing.T) {
	ports := []int{daemon.FreePort(t), daemon.FreePort(t)}
	d := daemon.Start(t, daemon.Config{File: configuration(t, fmt.Sprintf(`
state = %q

[[portal-group]]
tag = 1
listen = ["127.0.0.1:%d"]

[[portal-group]]
tag = 7
listen = ["127.0.0.1:%d"]

[[lun]]
name = "disk"
kind = "memory"
size = "16MiB"

[[target]]
name = %q
luns = { 0 = "disk" }
portal-groups = [1, 7]
`, t.TempDir(), ports[0], ports[1], daemon.Target))})
	paths := [2]*host{}
	for i, port := range ports {
		paths[i] = &host{t: t}
		if err := paths[i].tryUp(fmt.Sprintf("127.0.0.1:%d", port)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { paths[i].c.Close() })
		paths[i].calm()
	}
	one, two := paths[0], paths[1]
	one.out(good, out{action: register, newKey: 5, flags: aptpl})
	one.out(good, out{action: reserve, kind: writeExclusiveRegistrantsOnly, key: 5})
	if status := two.write(0, 1); status != reservationConflict {
		t.Errorf("a write through the port that has no registration: status %02Xh", status)
	}
	if all := two.fullStatus(); len(all) != 1 || !all[0].holder || all[0].key != 5 {
		t.Errorf("READ FULL STATUS through the other port: %+v", all)
	}
	one.out(good, out{action: registerAndIgnore, newKey: 6, flags: aptpl | allPorts}) // mpathpersist, in one command
	all := two.fullStatus()
	if len(all) != 2 || all[0].port == all[1].port || all[0].key != 6 || all[1].key != 6 || all[0].holder == all[1].holder {
		t.Errorf("READ FULL STATUS after ALL_TG_PT: %+v", all)
	}
	if status := two.write(0, 1); status != good {
		t.Errorf("a write through the registered port: status %02Xh", status)
	}
	d.Kill()
	d.Restart()
	if err := two.tryUp(fmt.Sprintf("127.0.0.1:%d", ports[1])); err != nil {
		t.Fatal(err)
	}
	two.calm()
	if again := two.fullStatus(); !slices.Equal(again, all) {
		t.Errorf("READ FULL STATUS after SIGKILL: %+v, want %+v", again, all)
	}
	if status := two.write(0, 1); status != good {
		t.Errorf("a write after SIGKILL: status %02Xh", status)
	}
}
