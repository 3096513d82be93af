package cluster

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/isantarget/isantarget/test/daemon"
	"github.com/isantarget/isantarget/test/guest"
)

// clusterConf is OCFS2's; the names are the guests' host names.
const clusterConf = `
modprobe -a configfs ocfs2_stackglue ocfs2_stack_o2cb ocfs2_dlmfs ocfs2 || die "modprobe"
mountpoint -q /sys/kernel/config || mount -t configfs configfs /sys/kernel/config
mkdir -p /etc/ocfs2 /dlm
cat >/etc/ocfs2/cluster.conf <<END
cluster:
	heartbeat_mode = local
	node_count = 2
	name = lab

node:
	number = 1
	cluster = lab
	ip_port = 7777
	ip_address = 10.9.9.1
	name = one

node:
	number = 2
	cluster = lab
	ip_port = 7777
	ip_address = 10.9.9.2
	name = two
END
echo o2cb >/sys/fs/ocfs2/cluster_stack
o2cb register-cluster lab || die "register-cluster"
# A node is dead after 28 s without a heartbeat on the disk; emulated nodes are slow.
echo 15 >/sys/kernel/config/cluster/lab/heartbeat/dead_threshold
`

// mark begins the block that the second node writes over and over, before a number that grows.
const mark = "isantarget counts: "

// ocfs2: two nodes mount one file system and see each other's writes. Then one is fenced by its key, as it writes; not
// one of its writes is carried out any more, and the other recovers the file system and goes on. The second guest does
// not survive this.
func ocfs2(t *testing.T, one, two *guest.Guest) {
	argument, image := lun(t, "disk", "256MiB")
	d := daemon.Start(t, daemon.Config{LUNs: []string{argument}})
	a := login(t, one, d, nameOne, 1)
	b := login(t, two, d, nameTwo, 1)
	a.run("pr --out --register --param-sark=0xa1 && pr --out --reserve --param-rk=0xa1 --prout-type=5")
	b.run("pr --out --register --param-sark=0xb2")
	a.run("%s", clusterConf)
	b.run("%s", clusterConf)
	a.run("mkfs.ocfs2 -q -F -b 4K -C 4K -N 2 -J size=8M --cluster-stack=o2cb --cluster-name=lab -L shared $disk </dev/null")
	b.run("blockdev --flushbufs $disk")
	a.run("mount -t ocfs2 $disk /mnt")
	b.run("mount -t ocfs2 $disk /mnt")

	for _, n := range []*node{a, b} {
		n.run("cd /mnt; name=from-$(hostname); dd if=/dev/urandom of=$name bs=64k count=32 conv=fsync status=none; sha256sum $name >sum-$name && sync")
	}
	a.run("cd /mnt; sha256sum -c sum-from-two")
	b.run("cd /mnt; sha256sum -c sum-from-one")
	// Both append to one file at once. Each line is written under a lock of the file, for this kernel takes the end of a
	// file to append to from its memory, before it asks the other node; stat asks.
	for _, n := range []*node{a, b} {
		n.run(`rm -f /run/appended
			( for n in $(seq 20); do
				( flock 9; stat /mnt/log; echo $(hostname) $n >&9 ) 9>>/mnt/log
			done; sync; : >/run/appended ) >/dev/null 2>&1 &`)
	}
	for _, n := range []*node{a, b} {
		n.run("for n in $(seq 600); do [ -e /run/appended ] && exit 0; sleep 0.2; done; die 'the appends do not end'")
	}
	for _, n := range []*node{a, b} {
		n.run(`cd /mnt; [ "$(wc -l <log)" = 40 ] || die "$(cat log)"
			for name in one two; do [ "$(grep $name log)" = "$(seq -f "$name %%g" 20)" ] || die "$(cat log)"; done`)
	}
	fenceCounting(t, a, b, two, image)
	a.run("umount /mnt && fsck.ocfs2 -fn $disk >/run/fsck 2>&1 || die \"$(cat /run/fsck)\"")
}

// fenceCounting fences b while it counts.
func fenceCounting(t *testing.T, a, b *node, two *guest.Guest, image string) {
	b.run(`head -c 4096 /dev/zero >/mnt/counter; sync
		( n=0; while :; do
			n=$((n + 1)); { printf '%s%%d\n' $n; head -c 4096 /dev/zero; } | head -c 4096 |
				dd of=/mnt/counter bs=4096 count=1 iflag=fullblock oflag=direct conv=notrunc status=none && echo $n >/lab/counted
		done ) >/run/counting 2>&1 &`, mark)
	counted := func() int64 { // what the node was told is written
		text, _ := os.ReadFile(two.Shared("counted"))
		n, _ := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		return n
	}
	for deadline := time.Now().Add(3 * time.Minute); counted() < 5; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the second node does not write")
		}
	}
	at := markedBlock(t, image)
	value := func() int64 {
		text, _, _ := strings.Cut(strings.TrimPrefix(string(read(t, image, at)), mark), "\n")
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	a.run("pr --out --preempt-abort --param-rk=0xa1 --param-sark=0xb2 --prout-type=5")
	last := value()
	if !two.AwaitEnd(4 * time.Minute) { // OCFS2 resets a node that has lost its disk
		t.Fatal("the fenced node lives on")
	}
	if now := value(); now != last {
		t.Errorf("the fenced node counted on from %d to %d", last, now)
	}
	if told := counted(); told > last {
		t.Errorf("the fenced node was told that %d is written, but the disk has %d", told, last)
	}
	// The other node waits until it knows that the fenced one is dead, replays its journal, and goes on.
	a.run(`echo goes on >/mnt/after && sync && [ "$(head -1 /mnt/counter | tr -d '\0')" = '%s%d' ] || die "$(dmesg | tail -20)"`, mark, last)
	a.run("cd /mnt; sha256sum -c sum-from-one && sha256sum -c sum-from-two")
}

// markedBlock finds the one block that begins with mark.
func markedBlock(t *testing.T, image string) int64 {
	t.Helper()
	content, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	found := int64(-1)
	for at := int64(0); at < int64(len(content))/block; at++ {
		if bytes.HasPrefix(content[at*block:], []byte(mark)) {
			if found >= 0 {
				t.Fatalf("blocks %d and %d begin with the mark", found, at)
			}
			found = at
		}
	}
	if found < 0 {
		t.Fatal("the image has no block with the mark")
	}
	return found
}
