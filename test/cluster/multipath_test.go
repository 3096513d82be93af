package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/test/daemon"
	"github.com/isantarget/isantarget/test/guest"
)

// twoPortals starts a daemon that serves one disk through two portal groups, and returns its socket, the disk's image
// and the addresses.
func twoPortals(t *testing.T) (d *daemon.Daemon, socket, image string, portals [2]string) {
	dir := t.TempDir()
	image = filepath.Join(dir, "disk.img")
	portals = [2]string{fmt.Sprintf("127.0.0.1:%d", daemon.FreePort(t)), fmt.Sprintf("127.0.0.2:%d", daemon.FreePort(t))}
	file := filepath.Join(dir, "isantarget.toml")
	text := fmt.Sprintf(`
state = %q
[[portal-group]]
tag = 1
listen = [%q]
[[portal-group]]
tag = 2
listen = [%q]
[[lun]]
name = "disk"
path = %q
size = "64MiB"
[[target]]
name = %q
luns = { 0 = "disk" }
access = "loopback"
`, filepath.Join(dir, "state"), portals[0], portals[1], image, daemon.Target)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return daemon.Start(t, daemon.Config{File: file}), filepath.Join(dir, "state", admin.SocketName), image, portals
}

// multipathFunctions are for nodes with multipath.
const multipathFunctions = `
map=/dev/mapper/mpatha
# paths STATE: how many paths are in a state of the device mapper.
paths() { multipathd show paths format '%d %t' | grep -c " $1 *$"; }
# wait_paths ACTIVE FAILED
wait_paths() {
	local n
	for n in $(seq 600); do
		[ "$(paths active)" = "$1" ] && [ "$(paths failed)" = "$2" ] && return 0
		sleep 0.2
	done
	die "want $1 active and $2 failed paths: $(multipathd show topology)"
}
written() { awk '{ print $7 }' /sys/block/$(basename $(readlink -f $map))/stat; }
# writing: some more writes end.
writing() {
	local n before=$(written)
	for n in $(seq 600); do
		[ "$(written)" -gt $((before + 256)) ] && return 0
		[ -e /run/fio.status ] && die "fio ended: $(cat /run/fio)"
		sleep 0.1
	done
	die "no writes: $(multipathd show topology)"
}
# cut ADDRESS: all that goes there or comes from there is lost, silently, like by a pulled cable.
cut_portal() {
	nft -f - <<RULES
	table ip cut {
		chain out { type filter hook output priority 0; ip daddr $1 drop; }
		chain in { type filter hook input priority 0; ip saddr $1 drop; }
	}
RULES
}
mend() { nft delete table ip cut; }
`

// multipathed logs a guest in to both portals and joins the paths.
func multipathed(t *testing.T, g *guest.Guest, d *daemon.Daemon, name string) *node {
	t.Helper()
	n := login(t, g, d, name, 2, "node.session.timeo.replacement_timeout=5", "node.conn[0].timeo.noop_out_interval=2", "node.conn[0].timeo.noop_out_timeout=3")
	shipped, err := os.ReadFile("../../configs/multipath.conf")
	if err != nil {
		t.Fatal(err)
	}
	n.run(`
		modprobe -a dm_multipath scsi_dh_alua dm_service_time dm_round_robin || die "modprobe"
		mkdir -p /etc/multipath/conf.d
		cat >/etc/multipath/conf.d/isantarget.conf <<'END'
%sEND
		cat >/etc/multipath.conf <<'END'
		defaults {
			user_friendly_names yes
			find_multipaths no
			polling_interval 1
			max_polling_interval 2
			reservation_key file
		}
END
		cat >>/run/functions <<'END'
%sEND
		. /run/functions
		multipathd -d -s >/run/multipathd.log 2>&1 &
		for n in $(seq 900); do [ -b $map ] && break; sleep 0.1; done
		[ -b $map ] || die "no map: $(cat /run/multipathd.log)"
		wait_paths 2 0
		multipathd show topology`, shipped, multipathFunctions)
	return n
}

// multipath: under a reservation of the device mapper's disk, through both paths, each path is cut silently under I/O and
// comes back, and no command fails: who holds the reservation holds it through each path alone. Another node is kept out.
func multipath(t *testing.T, one, two *guest.Guest) {
	d, socket, image, portals := twoPortals(t)
	a := multipathed(t, one, d, nameOne)
	b := login(t, two, d, nameTwo, 2)
	a.run("mpathpersist --out --register --param-sark=0xa1 $map")
	if keys := a.run("mpathpersist --in --read-keys $map"); strings.Count(keys, "0xa1") != 2 {
		t.Fatalf("the key is not registered through both paths:\n%s", keys)
	}
	a.run("mpathpersist --out --reserve --param-rk=0xa1 --prout-type=5 $map")
	b.refused(image, 1, 0xb0)

	a.run(`rm -f /run/fio.status /run/fio.stop
		( status=0; until [ -e /run/fio.stop ]; do
			fio --name=verify --filename=$map --offset=8m --size=4m --rw=randwrite --bs=16k --ioengine=libaio --iodepth=4 --direct=1 --rate=1m \
				--verify=crc32c --verify_fatal=1 --do_verify=1 >/run/fio 2>&1 || { status=$?; break; }
		done; echo $status >/run/fio.status.new; mv /run/fio.status.new /run/fio.status ) &
		writing`)
	for _, portal := range portals {
		address, _, _ := strings.Cut(portal, ":")
		a.run("cut_portal %s; wait_paths 1 1; writing", address)
		a.run("mend; wait_paths 2 0; writing")
	}
	operatorMoves(t, socket, a)
	a.run(`: >/run/fio.stop; for n in $(seq 900); do [ -e /run/fio.status ] && break; sleep 0.2; done
		[ "$(cat /run/fio.status)" = 0 ] || die "fio: $(cat /run/fio)"`)

	b.run("pr --out --register --param-sark=0xb2")
	b.write(image, 1, 0xb0)
	a.run("mpathpersist --out --preempt-abort --param-rk=0xa1 --param-sark=0xb2 --prout-type=5 $map")
	b.refused(image, 1, 0xbb)
	contains(t, b.run("pr --in --read-reservation"), "Key=0xa1", "Write Exclusive, registrants only")
	contains(t, a.run("mpathpersist --in --read-reservation $map"), "0xa1")
	a.run("mpathpersist --out --release --param-rk=0xa1 --prout-type=5 $map")
	b.write(image, 1, 0xbb)
	a.run("mpathpersist --out --clear --param-rk=0xa1 $map")
	contains(t, b.run("pr --in --read-keys"), "there are NO registered reservation keys")
}

// operatorMoves changes the access states from the host, as an operator does before taking a portal away, and I/O goes
// where it should.
func operatorMoves(t *testing.T, socket string, a *node) {
	t.Helper()
	a.run("cat >>/run/functions <<'END'\n%sEND", pathFunctions)
	a.run(`for disk in $disks; do
			case $(number ${disk##*/}) in 0x1) first=${disk##*/} ;; 0x2) second=${disk##*/} ;; esac
		done
		[ -n "$first" ] && [ -n "$second" ] || die "the target port groups are $(for disk in $disks; do number ${disk##*/}; done)"
		echo "first=$first second=$second" >>/run/functions`)
	set := func(group, state string) {
		t.Helper()
		if status, out := daemon.Run(t, "lun", "access-state", "--socket", socket, "disk", group, state); status != 0 {
			t.Fatalf("isantarget lun access-state disk %s %s ended with status %d\n%s", group, state, status, out)
		}
	}
	set("1", "non-optimized")
	a.run("wait_priority $first 10; wait_priority $second 50; through $second")
	set("2", "standby")
	a.run("wait_priority $second 1; through $first")
	set("2", "optimized")
	a.run("wait_priority $second 50; through $second")
	set("1", "optimized")
	a.run("wait_priority $first 50; wait_paths 2 0; writing")
}
