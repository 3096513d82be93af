package cluster

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/isantarget/isantarget/test/daemon"
	"github.com/isantarget/isantarget/test/guest"
)

// fencing: fence_scsi, as Pacemaker calls it, fences a node that writes as fast as it can. When it has returned, no
// write of that node is carried out any more, whatever the node has in flight or tries anew.
func fencing(t *testing.T, one, two *guest.Guest) {
	const first, blocks = 256, 512 // where the fenced node writes
	argument, image := lun(t, "disk", "64MiB")
	d := daemon.Start(t, daemon.Config{LUNs: []string{argument}})
	a := login(t, one, d, nameOne, 1)
	b := login(t, two, d, nameTwo, 1)
	// fence_scsi adds up what it did in /run/cluster.
	a.run("rm -f /run/cluster.*; fence_scsi --devices=$disk --key=a1 --action=on 2>&1")
	b.run("rm -f /run/cluster.*; fence_scsi --devices=$disk --key=b2 --action=on 2>&1")
	contains(t, a.run("pr --in --read-reservation"), "Write Exclusive, registrants only")
	contains(t, a.run("pr --in --read-keys"), "0xa1", "0xb2")
	// New content with every write, and a reservation conflict (EBADE, 52) does not end it.
	b.run(`fio --name=fenced --filename=$disk --offset=%d --size=%d --rw=randwrite --bs=4k --ioengine=libaio --iodepth=16 --direct=1 \
		--refill_buffers --continue_on_error=write --ignore_error=,52 --time_based --runtime=600 >/run/fio 2>&1 &`, first*block, blocks*block)
	area := func() [sha256.Size]byte { return areaOf(t, image, first*block, blocks*block) }
	changes(t, area, "while the node writes")
	// The other node reads back at once what is on the disk when the agent has returned.
	a.run(`fence_scsi --devices=$disk --key=b2 --action=off 2>&1 || exit 1
		dd if=$disk bs=%d skip=%d count=%d iflag=direct status=none | sha256sum | cut -d' ' -f1 >/run/area`, block, first, blocks)
	atOnce := a.run("cat /run/area")
	unchanged := func(when string) {
		t.Helper()
		if got := fmt.Sprintf("%x\n", area()); got != atOnce {
			t.Fatalf("%s, the fenced node's area is %s; it was %s when fence_scsi had returned", when, got, atOnce)
		}
	}
	unchanged("now")
	lacks(t, a.run("pr --in --read-keys"), "0xb2")
	b.run(`dmesg -C; for n in $(seq 600); do dmesg | grep -q 'reservation conflict' && break; sleep 0.1; done
		pgrep -x fio >/dev/null || die "fio ended: $(tail /run/fio)"
		[ $n -lt 600 ] || die "no reservation conflict: $(dmesg | tail)"`)
	unchanged("after the node has tried again")
	a.write(image, 1, 0xa0) // the other goes on
	unchanged("after the other has written")
	b.run("fence_scsi --devices=$disk --key=b2 --action=on 2>&1")
	changes(t, area, "after the node was let back")
	b.run("pkill -KILL -x fio")
}

// areaOf is the digest of a part of an image.
func areaOf(t *testing.T, image string, offset, length int64) [sha256.Size]byte {
	t.Helper()
	f, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, length)
	if _, err := f.ReadAt(b, offset); err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(b)
}

// changes waits until a part of an image changes.
func changes(t *testing.T, area func() [sha256.Size]byte, when string) {
	t.Helper()
	before := area()
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if now := area(); !bytes.Equal(now[:], before[:]) {
			return
		}
	}
	t.Fatalf("nothing is written %s", when)
}
