package cluster

import (
	"regexp"
	"testing"

	"github.com/isantarget/isantarget/test/daemon"
	"github.com/isantarget/isantarget/test/guest"
)

// persistentReservations: what sg_persist asks for from two hosts has its effect on the other, and on no byte besides.
func persistentReservations(t *testing.T, one, two *guest.Guest) {
	argument, image := lun(t, "disk", "64MiB")
	d := daemon.Start(t, daemon.Config{LUNs: []string{argument}})
	a := login(t, one, d, nameOne, 1)
	b := login(t, two, d, nameTwo, 1)
	step := func(name string, does func(t *testing.T, image string, a, b *node)) {
		if !t.Failed() {
			does(t, image, a, b)
			t.Log(name + " done")
		}
	}
	step("capabilities", func(t *testing.T, _ string, a, _ *node) {
		contains(t, a.run("pr --in --report-capabilities"), "Persist Through Power Loss Capable(PTPL_C): 1", "All Target Ports Capable(ATP_C): 1", "Specify Initiator Ports Capable(SIP_C): 1",
			"Write Exclusive, all registrants: 1", "Write Exclusive, registrants only: 1", "Exclusive Access: 1")
	})
	step("write exclusive, registrants only", registrantsOnly)
	step("preemption", preemption)
	step("release, and types that exclude", exclusion)
	step("moving", moving)
	step("a crash", func(t *testing.T, image string, a, b *node) { powerLoss(t, d, image, a, b) })
}

// registrantsOnly leaves both registered and a the holder.
func registrantsOnly(t *testing.T, image string, a, b *node) {
	a.write(image, 1, 0xa0)
	a.run("pr --out --register --param-sark=0xa1")
	a.run("pr --out --reserve --param-rk=0xa1 --prout-type=5")
	contains(t, b.run("pr --in --read-reservation"), "Key=0xa1", "Write Exclusive, registrants only")
	b.refused(image, 1, 0xb0)
	b.run("dd if=$disk bs=4096 skip=1 count=1 iflag=direct status=none | tr -d '\\240' | cmp - /dev/null") // who is not registered may read
	if status, out := b.try("pr --out --register --param-rk=0xbad --param-sark=0xb2"); status != 24 {      // SG_LIB_CAT_RES_CONFLICT
		t.Fatalf("REGISTER with a key that nobody gave ended with %d, want a reservation conflict\n%s", status, out)
	}
	b.run("pr --out --register --param-sark=0xb2")
	b.write(image, 1, 0xb0)
	contains(t, a.run("pr --in --read-keys"), "2 registered reservation keys", "0xa1", "0xb2")
}

// preemption leaves a alone registered, and holder.
func preemption(t *testing.T, image string, a, b *node) {
	b.run("pr --out --preempt --param-rk=0xb2 --param-sark=0xa1 --prout-type=5")
	contains(t, a.run("pr --in --read-reservation"), "Key=0xb2", "Write Exclusive, registrants only")
	lacks(t, a.run("pr --in --read-keys"), "0xa1")
	a.refused(image, 2, 0xa0)
	b.write(image, 2, 0xb0)
	a.run("pr --out --register --param-sark=0xa2")
	a.write(image, 2, 0xa0)
	a.run("pr --out --preempt-abort --param-rk=0xa2 --param-sark=0xb2 --prout-type=5")
	contains(t, b.run("pr --in --read-reservation"), "Key=0xa2", "Write Exclusive, registrants only")
	lacks(t, b.run("pr --in --read-keys"), "0xb2")
	b.refused(image, 2, 0xb0)
	a.write(image, 2, 0xaa)
}

// exclusion leaves nobody registered.
func exclusion(t *testing.T, image string, a, b *node) {
	a.run("pr --out --release --param-rk=0xa2 --prout-type=5")
	contains(t, b.run("pr --in --read-reservation"), "there is NO reservation held")
	b.write(image, 3, 0xb0)
	b.run("pr --out --register --param-sark=0xb3")
	a.run("pr --out --reserve --param-rk=0xa2 --prout-type=1")
	b.refused(image, 3, 0xbb) // registered or not
	b.run("dd if=$disk bs=4096 skip=3 count=1 iflag=direct status=none | tr -d '\\260' | cmp - /dev/null")
	if status, out := b.try("pr --out --reserve --param-rk=0xb3 --prout-type=1"); status != 24 {
		t.Fatalf("a second RESERVE ended with %d, want a reservation conflict\n%s", status, out)
	}
	a.run("pr --out --release --param-rk=0xa2 --prout-type=1")
	a.run("pr --out --reserve --param-rk=0xa2 --prout-type=3")
	b.refused(image, 3, 0xbb)
	if status, out := b.try("dd if=$disk of=/dev/null bs=4096 skip=3 count=1 iflag=direct"); status == 0 {
		t.Fatalf("%s read under Exclusive Access of the other\n%s", b.name, out)
	}
	b.run("pr --out --clear --param-rk=0xb3") // any registrant may
	contains(t, a.run("pr --in --read-keys"), "there are NO registered reservation keys")
	contains(t, a.run("pr --in --read-reservation"), "there is NO reservation held")
	b.write(image, 3, 0xbb)
}

// moving leaves nobody registered.
func moving(t *testing.T, image string, a, b *node) {
	b.run("pr --out --register --param-sark=0xb4")
	status := a.run("pr --in --read-full-status")
	port := regexp.MustCompile(regexp.QuoteMeta(nameTwo) + `,i,0x[0-9a-f]{12}`).FindString(status)
	relative := regexp.MustCompile(`Relative port address: 0x([0-9a-f]+)`).FindStringSubmatch(status)
	if port == "" || relative == nil {
		t.Fatalf("READ FULL STATUS names no port of %s:\n%s", nameTwo, status)
	}
	b.run("pr --out --register --param-rk=0xb4 --param-sark=0")
	a.run("pr --out --register --param-sark=0xa4")
	a.run("pr --out --reserve --param-rk=0xa4 --prout-type=5")
	b.refused(image, 4, 0xb0)
	a.run("pr --out --register-move --param-rk=0xa4 --param-sark=0xb5 --relative-target-port=0x%s --transport-id=%s", relative[1], port)
	contains(t, a.run("pr --in --read-reservation"), "Key=0xb5", "Write Exclusive, registrants only")
	status = b.run("pr --in --read-full-status")
	contains(t, status, "Key=0xa4", "Key=0xb5", nameOne+",i,0x", port)
	b.write(image, 4, 0xb0)
	b.run("pr --out --clear --param-rk=0xb5")
}

// powerLoss kills the daemon: what was asked to persist does, and what was not does not.
func powerLoss(t *testing.T, d *daemon.Daemon, image string, a, b *node) {
	a.run("pr --out --register --param-sark=0xa6 --param-aptpl")
	a.run("pr --out --reserve --param-rk=0xa6 --prout-type=5")
	generation := regexp.MustCompile(`PR generation=0x[0-9a-f]+`) // starts again at 0
	before := generation.ReplaceAllString(b.run("pr --in --read-full-status"), "")
	d.Kill()
	d.Restart()
	if after := generation.ReplaceAllString(b.run("pr --in --read-full-status"), ""); after != before {
		t.Fatalf("READ FULL STATUS was\n%s\nand is, after a crash,\n%s", before, after)
	}
	contains(t, b.run("pr --in --read-reservation"), "Key=0xa6", "Write Exclusive, registrants only")
	b.refused(image, 5, 0xb0)
	a.write(image, 5, 0xa0)

	a.run("pr --out --register --param-rk=0xa6 --param-sark=0xa7") // without APTPL
	b.refused(image, 5, 0xb0)
	d.Kill()
	d.Restart()
	contains(t, b.run("pr --in --read-keys"), "there are NO registered reservation keys")
	b.write(image, 5, 0xb0)
}
