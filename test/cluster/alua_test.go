package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/isantarget/isantarget/test/daemon"
	"github.com/isantarget/isantarget/test/guest"
)

// alternatives starts a daemon that serves one disk through two portal groups, the second of which is non-optimized.
func alternatives(t *testing.T) *daemon.Daemon {
	t.Helper()
	dir := t.TempDir()
	text := fmt.Sprintf(`
state = %q
[[portal-group]]
tag = 1
listen = ["127.0.0.1:%d"]
[[portal-group]]
tag = 2
listen = ["127.0.0.2:%d"]
[[lun]]
name = "disk"
path = %q
size = "64MiB"
explicit-alua = true
[[target]]
name = %q
luns = { 0 = "disk" }
access = "loopback"
[[target.access-state]]
portal-group = 2
state = "non-optimized"
`, filepath.Join(dir, "state"), daemon.FreePort(t), daemon.FreePort(t), filepath.Join(dir, "disk.img"), daemon.Target)
	file := filepath.Join(dir, "isantarget.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return daemon.Start(t, daemon.Config{File: file})
}

// pathFunctions are for nodes that look at single paths: sda and sdb, after the port they go through.
const pathFunctions = `
# number DISK: the number of its target port group, from VPD page 83h.
number() { sg_vpd --page=di /dev/$1 | sed -n 's/.*Target port group: *0x\([0-9a-f]*\).*/0x\1/p'; }
# wait_priority DISK PRIORITY: what multipath makes of its access state.
wait_priority() {
	local end=$((SECONDS + 150))
	until multipathd show paths format '%d %p' | grep -q "^$1 *$2 *$"; do
		[ $SECONDS -lt $end ] || die "want priority $2 of $1: $(multipathd show paths format '%d %p %t %o %T')"
		sleep 0.2
	done
}
# through DISK: some more writes go through this path.
through() {
	local end=$((SECONDS + 150)) before=$(awk '{ print $7 }' /sys/block/$1/stat)
	until [ $(awk '{ print $7 }' /sys/block/$1/stat) -gt $((before + 128)) ]; do
		[ -e /run/fio.status ] && die "fio ended: $(cat /run/fio)"
		[ $SECONDS -lt $end ] || die "no writes through $1: $(multipathd show topology; tail -30 /run/multipathd.log; dmesg | tail -30)"
		sleep 0.1
	done
}
# set STATES GROUPS: SET TARGET PORT GROUPS through the path of $second; the states are acronyms, as there are numbers of groups.
set_states() { sg_stpg --tp="$2" --state="$1" /dev/$second || die "SET TARGET PORT GROUPS $1 of $2"; }
`

// asymmetricAccess: the states of two paths are changed under I/O, the initiator takes the path that it should, and no
// command fails. As it comes, Linux makes optimized each path that it begins to use, if it may set states; told to be
// content with a non-optimized one it changes nothing that the test has set.
func asymmetricAccess(t *testing.T, one *guest.Guest) {
	d := alternatives(t)
	one.Run(t, 4*time.Minute, nil, "modprobe scsi_dh_alua && echo 1 >/sys/module/scsi_dh_alua/parameters/optimize_stpg || die \"the kernel cannot be told to leave states alone\"")
	a := multipathed(t, one, d, nameOne)
	a.run(`cat >>/run/functions <<'END'
%sEND
		. /run/functions
		for disk in $disks; do
			case $(number ${disk##*/}) in 0x1) first=${disk##*/} ;; 0x2) second=${disk##*/} ;; esac
		done
		[ -n "$first" ] && [ -n "$second" ] || die "the target port groups are $(for disk in $disks; do number ${disk##*/}; done)"
		echo "first=$first second=$second one=0x1 two=0x2" >>/run/functions
		sg_rtpg --extended --decode /dev/$first >/run/groups || die "REPORT TARGET PORT GROUPS"
		[ "$(number $first)" != "$(number $second)" ] || die "both paths are of one group: $(cat /run/groups)"
		wait_priority $first 50
		wait_priority $second 10`, pathFunctions)
	// It writes as long as the steps take, and reads again what it has just written.
	a.run(`rm -f /run/fio.status
		( fio --name=verify --filename=$map --size=32m --time_based --runtime=1200 --rw=write --bs=16k --ioengine=libaio --iodepth=4 --direct=1 \
			--rate=512k --verify=crc32c --verify_fatal=1 --verify_backlog=64 >/run/fio 2>&1; echo $? >/run/fio.status.new; mv /run/fio.status.new /run/fio.status ) &
		through $first`)
	// The states change places; then the other is taken out of use, step by step, and comes back.
	a.run("set_states an,ao $one,$two; wait_priority $second 50; wait_priority $first 10; through $second")
	a.run(`set_states s $one; wait_priority $first 1; through $second
		sg_turs /dev/$first >/dev/null 2>&1 && die "TEST UNIT READY through a port in standby"
		sg_readcap --long /dev/$first >/dev/null || die "READ CAPACITY through a port in standby"`)
	a.run("set_states u $one; wait_paths 1 1; through $second")
	a.run("set_states ao $one; wait_paths 2 0; wait_priority $first 50")
	// The other path is left first: Linux makes optimized again what it finds in standby while it still prefers it, which an
	// initiator may do that can set states. Standby under I/O is for [operatorMoves], where it cannot.
	a.run("set_states an $two; wait_priority $second 10; through $first")
	a.run("set_states s $two; wait_priority $second 1; through $first")
	a.run("set_states an $two; wait_priority $second 10; through $first")
	a.run(`[ -e /run/fio.status ] && die "fio ended: $(cat /run/fio)"
		pkill -INT -x fio # it ends what it is at, and exits with status 128
		for n in $(seq 600); do [ -e /run/fio.status ] && break; sleep 0.2; done
		[ "$(cat /run/fio.status)" = 128 ] && grep -q 'err= 0' /run/fio && grep -q 'issued rwts: total=[1-9]' /run/fio || die "fio: $(cat /run/fio.status /run/fio)"
		multipathd show topology`)
}
