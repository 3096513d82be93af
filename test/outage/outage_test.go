package outage

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/test/daemon"
	"github.com/isantarget/isantarget/test/peer"
	"github.com/isantarget/isantarget/test/powercut"
)

// cuts is how often the power of a machine is cut.
func cuts(t *testing.T) int {
	t.Helper()
	if text := os.Getenv("ISANTARGET_TEST_OUTAGES"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if testing.Short() {
		return 1
	}
	return 2
}

const size = 1 << 20 // bytes of a LUN that blocks are written to

// arguments are those of the daemon. blockSize is that of the third LUN.
func arguments(blockSize int) []string {
	return []string{
		"serve", "--state", "/disk/state", "--ready-file", "/tmp/ready", "--portal", "10.0.2.15:3260", "--target", daemon.Target, "--access", "open",
		"--lun", fmt.Sprintf("sparse=/disk/sparse.img,size=%d", size),
		"--lun", fmt.Sprintf("fixed=/disk/fixed.img,size=%d,provisioning=fixed,write-cache=off", size),
		"--lun", fmt.Sprintf("direct=/disk/direct.img,size=%d,direct,block-size=%d", size, blockSize),
		"--lun", "growing=/disk/growing.img,size=1MiB,provisioning=fixed",
	}
}

// witnesses are all there are for a daemon with [arguments].
func witnesses(seed uint64, blockSizeOfThird int) []witness {
	all := []witness{
		&registration{lun: 3}, &objects{}, &growth{lun: 3, name: "growing", count: count{acknowledged: 1, sent: 1}}, &snapshots{name: "sparse"},
	}
	for lun, blockSize := range []int{512, 512, blockSizeOfThird} {
		const workers = 2
		share := size / blockSize / workers
		for i := range workers {
			all = append(all, blocks{&powercut.Worker{
				Ledger: powercut.NewLedger(uint32(i*share), share, blockSize), Target: daemon.Target, LUN: uint8(lun), WriteThrough: lun == 1,
				Name: fmt.Sprintf("iqn.2026-11.org.isantarget.test:worker%d-%d", lun, i), Chances: rand.New(rand.NewPCG(seed, uint64(lun*workers+i))),
			}})
		}
	}
	return all
}

// begin has all witnesses meet the daemon.
func begin(t *testing.T, m *machine, plane *admin.Client, all []witness) {
	t.Helper()
	for _, w := range all {
		if err := w.begin(m.address, plane); err != nil {
			t.Fatalf("%T: %v", w, err)
		}
	}
}

// some are those that work before a cut: seldom all, since each has the disk flushed for all.
func some(chances *rand.Rand, all []witness) []witness {
	few := slices.Clone(all)
	chances.Shuffle(len(few), func(i, j int) { few[i], few[j] = few[j], few[i] })
	return few[:1+chances.IntN(len(few))]
}

// work has all work until pull returns, and a moment more.
func work(all []witness, pull func()) {
	var stop atomic.Bool
	var running sync.WaitGroup
	for _, w := range all {
		running.Go(func() { w.work(&stop) })
	}
	pull()
	stop.Store(true)
	running.Wait()
}

// check has all say what is wrong. A session that is lost, as on a machine so busy that
// each side takes the other for dead, is opened anew.
func check(t *testing.T, cycle string, m *machine, plane *admin.Client, all []witness) {
	t.Helper()
	for _, w := range all {
		wrong, err := w.check()
		for tries := 0; err != nil && tries < 3; tries++ {
			if err = w.begin(m.address, plane); err == nil {
				wrong, err = w.check()
			}
		}
		if err != nil {
			t.Fatalf("%s, %T: %v", cycle, w, err)
		}
		for _, one := range wrong[:min(len(wrong), 10)] {
			t.Errorf("%s, %T: %s", cycle, w, one)
		}
	}
}

// quiet holds the daemon to having nothing to complain of: after a cut no flush has failed.
func quiet(t *testing.T, plane *admin.Client) {
	t.Helper()
	list, err := plane.LUNs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range list {
		if l.NotReady != "" || len(l.Alerts) > 0 {
			t.Errorf("LUN %s: not ready %q, alerts %q", l.Name, l.NotReady, l.Alerts)
		}
	}
}

func need(t *testing.T) {
	t.Helper()
	peer.Need(t, "qemu-system-x86", "mmdebstrap", "e2fsprogs", "xfsprogs", "cpio", "xz-utils")
	if os.Geteuid() != 0 {
		t.Skip("building the guest's kernel needs root")
	}
}

// TestOutage: the power of a machine that serves is cut, again and again. What was acknowledged is there; and after a
// clean stop all of it, whatever the disk had not been told to keep.
func TestOutage(t *testing.T) {
	need(t)
	a := build(t)
	for kind, blockSize := range map[string]int{"ext4": 4096, "xfs": 512} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			outage(t, newMachine(t, a, kind, arguments(blockSize)...), blockSize)
		})
	}
	t.Run("Liar", func(t *testing.T) {
		t.Parallel()
		liar(t, newMachine(t, a, "ext4", arguments(512)...))
	})
}

func outage(t *testing.T, m *machine, blockSize int) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	chances := rand.New(rand.NewPCG(seed, 99))
	all, plane := witnesses(seed, blockSize), m.plane()
	n := cuts(t)
	m.on()
	// Until the disk has lost something: that depends on chance, and on how much a busy machine has done.
	for cycle := 0; cycle < n || m.disk.Lost == 0 && cycle < n+20; cycle++ {
		changes, patience := 1+chances.IntN(250), time.Duration(1+chances.IntN(10))*time.Second
		if cycle >= n {
			changes, patience = 1+chances.IntN(20), time.Minute
		}
		begin(t, m, plane, all)
		work(some(chances, all), func() {
			select {
			case <-m.disk.Strike(changes):
			case <-time.After(patience): // the moment is the test's, not a wait
			}
			m.cut(chances)
		})
		m.on()
		begin(t, m, plane, all)
		check(t, fmt.Sprintf("cut %d", cycle), m, plane, all)
		quiet(t, plane)
		if t.Failed() {
			return
		}
	}
	work(all, func() { time.Sleep(500 * time.Millisecond) }) // how much they do is of no matter
	m.stop()
	for _, w := range all {
		w.flushed()
	}
	m.off()
	if err := m.disk.Cut(chances, 0); err != nil {
		t.Fatal(err)
	}
	m.on()
	begin(t, m, plane, all)
	check(t, "after a clean stop", m, plane, all)
	quiet(t, plane)
	for _, w := range all {
		t.Log(w.tell())
	}
	t.Logf("%d cuts found something in the disk's cache: %d writes, %d flushes, %d units lost", m.disk.Cuts, m.disk.Writes, m.disk.Flushes, m.disk.Lost)
	if m.disk.Lost == 0 {
		t.Error("the disk has lost nothing: that is no loss of power")
	}
}

// liar: a disk that does not carry out its flushes is found out. Without this the other
// tests prove nothing.
func liar(t *testing.T, m *machine) {
	all, plane := witnesses(1, 512), m.plane()
	m.on()
	if err := m.disk.Flush(); err != nil {
		t.Fatal(err)
	}
	begin(t, m, plane, all)
	lies := m.disk.Lie(50)
	work(all, func() {
		select {
		case <-lies:
		case <-time.After(3 * time.Minute):
			t.Error("nobody asks for flushes")
		}
		m.off()
	})
	if err := m.disk.Cut(rand.New(rand.NewPCG(1, 1)), 0.5); err != nil {
		t.Fatal(err)
	}
	if err := m.start(); err != nil {
		return // nor can the file system be mounted
	}
	for _, w := range all {
		if w.begin(m.address, plane) != nil {
			return
		}
		if wrong, err := w.check(); err != nil || len(wrong) > 0 {
			return
		}
	}
	t.Error("the disk has lied about its flushes, and nothing was missed")
}
