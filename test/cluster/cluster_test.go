package cluster

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isantarget/isantarget/test/daemon"
	"github.com/isantarget/isantarget/test/guest"
	"github.com/isantarget/isantarget/test/peer"
)

func TestMain(m *testing.M) { os.Exit(daemon.Main(m)) }

// block is the unit in which the tests write and look.
const block = 4096

// TestCluster boots two guests and runs each scenario in them, against a daemon of its own.
func TestCluster(t *testing.T) {
	peer.Need(t, "qemu-system-x86", "mmdebstrap", "e2fsprogs", "cpio", "xz-utils")
	if os.Geteuid() != 0 {
		t.Skip("building the guest needs root")
	}
	one, two := guest.BootPair(t, guest.Build(t))
	t.Run("PersistentReservations", func(t *testing.T) { persistentReservations(t, one, two) })
	t.Run("Multipath", func(t *testing.T) { multipath(t, one, two) })
	t.Run("Fencing", func(t *testing.T) { fencing(t, one, two) })
	t.Run("OneNode", func(t *testing.T) { // each guest for itself, at the same time
		t.Run("AsymmetricAccess", func(t *testing.T) {
			t.Parallel()
			asymmetricAccess(t, one)
		})
		t.Run("Disks", func(t *testing.T) {
			t.Parallel()
			t.Run("CompareAndWrite", func(t *testing.T) { compareAndWrite(t, two) })
			t.Run("CopyOffload", func(t *testing.T) { copyOffload(t, two) })
			t.Run("LUNsComingAndGoing", func(t *testing.T) { comingAndGoing(t, two) })
		})
	})
	t.Run("OCFS2", func(t *testing.T) { ocfs2(t, one, two) }) // the last: it ends the second guest
}

// The names of the initiators.
const (
	nameOne = "iqn.2026-11.org.isantarget.test:one"
	nameTwo = "iqn.2026-11.org.isantarget.test:two"
)

// A node is a guest that is logged in.
type node struct {
	*guest.Shell
	t    *testing.T
	name string
}

// nodeFunctions are what the commands of a node may call besides the functions of the guest's library.
const nodeFunctions = `
# pr ARGUMENTS: sg_persist, behind the unit attentions that are pending.
pr() {
	local n
	for n in 1 2 3 4; do sg_turs "$disk" >/dev/null 2>&1 && break; done
	sg_persist --no-inquiry "$@" "$disk"
}
# fill OCTAL BLOCK: writes a block of this byte past the cache.
fill() { head -c 4096 /dev/zero | tr '\0' "\\$1" | dd of="$disk" bs=4096 count=1 seek=$2 oflag=direct iflag=fullblock conv=notrunc status=none; }
`

// login logs a guest in to all portals of a daemon. Its commands find the disks in $disks, and the first in $disk; there
// must be as many as expected.
func login(t *testing.T, g *guest.Guest, d *daemon.Daemon, name string, expected int, settings ...string) *node {
	t.Helper()
	n := &node{Shell: g.Shell(t, map[string]string{"PORTAL": d.Address(), "INITIATOR": name}), t: t, name: name}
	n.Run(fmt.Sprintf(`
		start_iscsid node.session.timeo.replacement_timeout=120 %s
		iscsiadm -m discovery -t sendtargets -p "$PORTAL" >/dev/null && iscsiadm -m node -l >/dev/null || die "login"
		wait_disks %d >/run/disks || die "the disks are: $(disks)"
		cat >/run/functions <<'END'%sEND
		echo "disks='$(xargs </run/disks)' disk=$(head -1 /run/disks)" >>/run/functions`, quoted(settings), expected, nodeFunctions))
	return n
}

// quoted are words for a shell.
func quoted(words []string) string {
	var b strings.Builder
	for _, w := range words {
		fmt.Fprintf(&b, " '%s'", w)
	}
	return b.String()
}

// run runs a command that must succeed and returns what it printed.
func (n *node) run(format string, args ...any) string {
	n.t.Helper()
	return n.Run(". /run/functions\n" + fmt.Sprintf(format, args...))
}

// try runs a command.
func (n *node) try(format string, args ...any) (status int, printed string) {
	n.t.Helper()
	return n.Try(". /run/functions\n" + fmt.Sprintf(format, args...))
}

// write writes a block of bytes of one value; it must succeed, and the image must hold them.
func (n *node) write(image string, at int64, value byte) {
	n.t.Helper()
	n.run("fill %o %d", value, at)
	if got := read(n.t, image, at); !bytes.Equal(got, bytes.Repeat([]byte{value}, block)) {
		n.t.Fatalf("block %d of the image begins with % x, but %s wrote %#02x and heard of no error", at, got[:16], n.name, value)
	}
}

// refused writes likewise; it must end with a reservation conflict, and the image must not change.
func (n *node) refused(image string, at int64, value byte) {
	n.t.Helper()
	before := read(n.t, image, at)
	status, out := n.try("fill %o %d", value, at)
	// What the kernel makes of the status RESERVATION CONFLICT, and of nothing else: EBADE.
	if status == 0 || !strings.Contains(out, "Invalid exchange") {
		n.t.Fatalf("a write of %s ended with status %d, want a reservation conflict\n%s", n.name, status, out)
	}
	if !bytes.Equal(read(n.t, image, at), before) {
		n.t.Fatalf("a write of %s was refused, but the block changed", n.name)
	}
}

// read returns a block of an image.
func read(t testing.TB, image string, at int64) []byte {
	t.Helper()
	f, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, block)
	if _, err := f.ReadAt(b, at*block); err != nil {
		t.Fatal(err)
	}
	return b
}

// lun is a --lun of a new sparse image, and the image's path.
func lun(t *testing.T, name, size string) (argument, image string) {
	image = filepath.Join(t.TempDir(), name+".img")
	return name + "=" + image + ",size=" + size, image
}

// contains ends the test unless text has each of the words.
func contains(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Fatalf("there is no %q in\n%s", w, text)
		}
	}
}

// lacks ends the test if text has one of the words.
func lacks(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if strings.Contains(text, w) {
			t.Fatalf("there is %q in\n%s", w, text)
		}
	}
}
