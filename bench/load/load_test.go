package load

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/isantarget/isantarget/bench/bare"
)

// serve runs the bare server on an image of size bytes.
func serve(t *testing.T, size int64) (address, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "image")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- bare.Serve(l, f) }()
	t.Cleanup(func() {
		l.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String(), path
}

func options(address string, mode Mode) Options {
	return Options{
		Address: address, Target: "iqn.2026-11.org.isantarget.bench:bare", Mode: mode, Block: 4096, Depth: 8, Connections: 1,
		WarmUp: 10 * time.Millisecond, Time: 50 * time.Millisecond, Observe: os.Getpid(),
	}
}

// runUntil runs for longer and longer until there is enough: on a busy machine a moment may
// go by without a command.
func runUntil(o Options, enough func(Result) bool) (r Result, err error) {
	for r, err = Run(o); err == nil && r.Errors == 0 && !enough(r) && o.Time < time.Minute; r, err = Run(o) {
		o.Time *= 4
	}
	return r, err
}

// Every mode moves data, with one connection and with several, and what it counts fits together.
func TestRun(t *testing.T) {
	address, _ := serve(t, 64<<20)
	for _, mode := range []Mode{Read, Write, RandRead, RandWrite, RandRW} {
		for _, connections := range []int{1, 3} {
			for _, block := range []int{4096, 256 << 10} {
				o := options(address, mode)
				o.Connections, o.Block = connections, block
				r, err := runUntil(o, func(r Result) bool { return r.Commands > 0 })
				if err != nil {
					t.Fatalf("%s of %d bytes over %d connections: %v", mode, block, connections, err)
				}
				if r.Commands == 0 || r.Errors != 0 || r.P50 <= 0 || r.P50 > r.P99 || r.P99 > r.P999 || r.P999 > r.Max || r.Slowest < 0 || r.Slowest > 1 || r.TargetResident == 0 {
					t.Errorf("%s of %d bytes over %d connections: %+v", mode, block, connections, r)
				}
			}
		}
	}
}

func TestVerify(t *testing.T) {
	address, path := serve(t, 8<<20)
	o := options(address, RandRW)
	o.Verify, o.Connections = true, 2
	r, err := runUntil(o, func(r Result) bool { return r.Verified > 0 })
	if err != nil || r.Verified == 0 || r.Corrupt != 0 || r.Errors != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	// What was not written by the run is found.
	stop := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		for zeros := make([]byte, 8<<20); ; {
			select {
			case <-stop:
				return
			default:
				if _, err := f.WriteAt(zeros, 0); err != nil {
					t.Error(err)
					return
				}
			}
		}
	}()
	// On a busy machine the zeros may come to nothing between two of its writes.
	for deadline := time.Now().Add(time.Minute); err == nil && r.Corrupt == 0 && time.Now().Before(deadline); {
		r, err = Run(o)
	}
	close(stop)
	<-stopped
	if err != nil || r.Corrupt == 0 {
		t.Errorf("an image that somebody zeroes all the time verifies: %+v, %v", r, err)
	}
}

func TestIdle(t *testing.T) {
	address, _ := serve(t, 8<<20)
	o := options(address, Idle)
	o.Connections, o.Depth = 5, 1
	r, err := Run(o)
	if err != nil || r.Commands != 0 || r.TargetResident == 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestRefusals(t *testing.T) {
	address, _ := serve(t, 8<<20)
	for name, change := range map[string]func(*Options){
		"mode": func(o *Options) { o.Mode = "trim" }, "block": func(o *Options) { o.Block = 100 }, "depth": func(o *Options) { o.Depth = 0 },
		"time": func(o *Options) { o.Time = 0 }, "address": func(o *Options) { o.Address = "nowhere" }, "port": func(o *Options) { o.Address = "127.0.0.1:1" },
		"digests": func(o *Options) { o.Digests = true }, "unit": func(o *Options) { o.Block = 16 << 20 }, "process": func(o *Options) { o.Observe = 1 << 30 },
		"namespace": func(o *Options) { o.Namespace = 1 << 30 },
	} {
		o := options(address, RandRead)
		change(&o)
		if r, err := Run(o); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}
