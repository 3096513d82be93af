package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/test/daemon"
	"github.com/isantarget/isantarget/test/guest"
)

// comingAndGoing: a LUN is added while a node is logged in and writes, and the node finds it by itself, since the
// target tells it; then the LUN goes again, and the other one does not notice.
func comingAndGoing(t *testing.T, g *guest.Guest) {
	dir := t.TempDir()
	file, state := filepath.Join(dir, "isantarget.toml"), filepath.Join(dir, "state")
	port := daemon.FreePort(t)
	write := func(luns ...string) {
		t.Helper()
		var b strings.Builder
		fmt.Fprintf(&b, "state = %q\n[[portal-group]]\ntag = 1\nlisten = [\"127.0.0.1:%d\"]\n", state, port)
		numbers := make([]string, len(luns))
		for n, name := range luns {
			fmt.Fprintf(&b, "[[lun]]\nname = %q\npath = %q\nsize = \"32MiB\"\n", name, filepath.Join(dir, name+".img"))
			numbers[n] = fmt.Sprintf("%d = %q", n, name)
		}
		fmt.Fprintf(&b, "[[target]]\nname = %q\naccess = \"loopback\"\nluns = { %s }\n", daemon.Target, strings.Join(numbers, ", "))
		if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first")
	d := daemon.Start(t, daemon.Config{File: file})
	a := login(t, g, d, nameOne, 1)
	a.run(`rm -f /run/fio.stop /run/fio.status
		( status=0; until [ -e /run/fio.stop ]; do
			fio --name=verify --filename=$disk --offset=1m --size=2m --rw=randwrite --bs=16k --ioengine=libaio --iodepth=4 --direct=1 --rate=1m \
				--verify=crc32c --verify_fatal=1 --do_verify=1 >/run/fio 2>&1 || { status=$?; break; }
		done; echo $status >/run/fio.status.new; mv /run/fio.status.new /run/fio.status ) &`)

	write("first", "second")
	if status, out := daemon.Run(t, "reload", "--socket", filepath.Join(state, admin.SocketName)); status != 0 {
		t.Fatalf("reload ended with status %d\n%s", status, out)
	}
	a.run(`wait_disks 2 >/run/disks || die "the disks are: $(disks)"; new=$(sed -n 2p /run/disks)
		[ "$(blockdev --getsize64 $new)" = %d ] || die "$new is not the new disk"
		disk=$new; fill 245 7`, 32<<20)
	for at, b := range part(t, filepath.Join(dir, "second.img"), 7*block, block) {
		if b != 0o245 {
			t.Fatalf("byte %d of what was written to the new disk is %#02x", at, b)
		}
	}

	write("first")
	d.Signal(syscall.SIGHUP)
	a.run(`new=$(sed -n 2p /run/disks); for n in $(seq 900); do dd if=$new of=/dev/null bs=4096 count=1 iflag=direct 2>/dev/null || exit 0; sleep 0.1; done
		die "the disk that was taken away still answers"`)
	a.run("fill 245 7")
	a.run(`: >/run/fio.stop; for n in $(seq 900); do [ -e /run/fio.status ] && break; sleep 0.2; done
		[ "$(cat /run/fio.status)" = 0 ] || die "fio: $(cat /run/fio)"`)
}
