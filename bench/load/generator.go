package load

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/bench/machine"
)

// A generator is one run.
type generator struct {
	Options
	run         uint64
	blockSize   int64 // of the unit, bytes
	first       int64 // block of Options.Block bytes where the part that is used begins
	blocks      int64 // of Options.Block bytes
	readShare   int
	random      *rand.PCG
	connections []*connection
	began       time.Time
	from, to    time.Duration // what is measured, on our clock
	latency     histogram
	errors      uint64
	firstError  string
	total       uint64 // commands that have ended
	reads       uint64 // of those measured
	told        time.Duration
	toldTotal   uint64
	inFlight    int
	stamps      stamps
	drained     bool  // no new commands are made
	readBack    int64 // the next block to be read back; -1: not yet
	epoll       int
	events      [64]unix.EpollEvent
	at          time.Duration // when what is being dealt with had come
}

// Run logs in, makes the load and tells what it saw. It needs a process of its own for an honest figure of its CPU,
// and does not return the memory it takes.
func Run(o Options) (Result, error) {
	if err := o.check(); err != nil {
		return Result{}, err
	}
	g := &generator{Options: o, run: rand.Uint64(), random: rand.NewPCG(rand.Uint64(), rand.Uint64()), began: time.Now(), epoll: -1, readBack: -1}
	g.readShare, _ = o.Mode.readShare()
	if o.ReadShare != nil {
		g.readShare = *o.ReadShare
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := g.enter(); err != nil {
		return Result{}, err
	}
	defer g.close()
	if err := g.prepare(); err != nil {
		return Result{}, err
	}
	if o.Mode == Idle {
		return g.idle()
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // there is nothing to collect
	return g.measure()
}

// enter goes to the network namespace where the target is.
func (g *generator) enter() error {
	if g.Namespace == 0 {
		return nil
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", g.Namespace))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("entering a network namespace: %w", err)
	}
	return nil
}

func (g *generator) prepare() error {
	for i := range g.Connections {
		c := &connection{g: g, index: i, fd: -1}
		g.connections = append(g.connections, c)
		c.out = newOutbox(g.Depth*(g.Block/8192+4) + 4)
		c.in.memory = make([]byte, receiveBytes)
		if err := c.login(); err != nil {
			return err
		}
		if err := c.ready(); err != nil {
			return err
		}
		if i == 0 {
			size, block, err := c.capacity()
			if err != nil {
				return err
			}
			if size, err = g.part(size); err != nil {
				return err
			}
			g.blockSize, g.blocks = block, size/int64(g.Block)
			if int64(g.Block)%block != 0 || g.blocks < int64(2*g.Depth*g.Connections) {
				return fmt.Errorf("a unit of %d bytes in blocks of %d is too small or too coarse for this load", size, block)
			}
		}
		c.next = g.blocks / int64(g.Connections) * int64(i)
		c.slots = make([]slot, g.Depth)
		for n := range c.slots {
			c.slots[n].data = make([]byte, g.Block)
			for k := range c.slots[n].data {
				c.slots[n].data[k] = byte(k*7 + n)
			}
			c.free = append(c.free, uint32(n))
		}
	}
	if g.Verify {
		g.stamps = stamps{run: g.run, generations: make([]uint32, g.blocks), busy: make([]bool, g.blocks)}
	}
	return g.watch()
}

// part is how many bytes of a unit of size bytes are used.
func (g *generator) part(size int64) (int64, error) {
	if g.First >= size || g.Length > size-g.First {
		return 0, fmt.Errorf("the part that is to be used ends behind the unit of %d bytes", size)
	}
	g.first = g.First / int64(g.Block)
	if g.Length > 0 {
		return g.Length, nil
	}
	return size - g.First, nil
}

// watch has epoll look at the connections if there are several.
func (g *generator) watch() (err error) {
	if g.Connections == 1 {
		return nil
	}
	if g.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	for i, c := range g.connections {
		if err := unix.EpollCtl(g.epoll, unix.EPOLL_CTL_ADD, c.fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}); err != nil {
			return fmt.Errorf("epoll: %w", err)
		}
	}
	return nil
}

func (g *generator) close() {
	for _, c := range g.connections {
		if c.fd >= 0 {
			unix.Close(c.fd)
		}
	}
	if g.epoll >= 0 {
		unix.Close(g.epoll)
	}
}

func (g *generator) now() time.Duration { return time.Since(g.began) }

// choose decides what the next command of c does; false: nothing now.
func (g *generator) choose(c *connection, s *slot) bool {
	if g.drained || !g.pick(c, s) {
		return false
	}
	if g.Verify {
		g.stamps.busy[s.block] = true
		if s.write {
			g.stamps.write(s.data, s.block)
		}
	}
	g.inFlight++
	return true
}

func (g *generator) pick(c *connection, s *slot) bool {
	if g.readBack >= 0 {
		for g.readBack < g.blocks && g.stamps.generations[g.readBack] == 0 {
			g.readBack++
		}
		s.write, s.block = false, g.readBack
		g.readBack++
		return s.block < g.blocks
	}
	r := g.random.Uint64()
	s.write = int(r>>32%100) >= g.readShare
	for range 100 {
		if g.Mode.sequential() {
			s.block = c.next
			c.next = (c.next + 1) % g.blocks
		} else {
			s.block = int64(g.random.Uint64() % uint64(g.blocks))
		}
		if !g.Verify || !g.stamps.busy[s.block] {
			return true
		}
	}
	return false
}

// ended books a command.
func (g *generator) ended(c *connection, s *slot, good bool) {
	g.inFlight--
	if g.Verify {
		g.stamps.busy[s.block] = false
		if good && !s.write {
			g.stamps.check(s.data, s.block)
		}
	}
	if !good {
		g.errors++
	}
	g.total++
	if now := g.at; now >= g.from && now < g.to {
		c.done++
		if !s.write {
			g.reads++
		}
		g.latency.add(now - s.start)
	}
}

// measure runs the load: warm-up, measured time, and what is in flight then.
func (g *generator) measure() (Result, error) {
	g.from, g.to = 1<<62, 1<<62
	for _, c := range g.connections {
		if err := g.refill(c); err != nil {
			return Result{}, err
		}
	}
	if err := g.until(g.now() + g.WarmUp); err != nil {
		return Result{}, err
	}
	before, err := machine.SampleCPU(g.Observe)
	if err != nil {
		return Result{}, err
	}
	g.from = g.now()
	if err := g.until(g.from + g.Time); err != nil {
		return Result{}, err
	}
	after, err := machine.SampleCPU(g.Observe)
	if err != nil {
		return Result{}, err
	}
	g.to = g.now()
	r := g.result(after.Sub(before), (g.to - g.from).Seconds())
	if g.Observe != 0 {
		if r.TargetResident, err = machine.ResidentBytes(g.Observe); err != nil {
			return r, err
		}
	}
	err = g.drain()
	r.Errors, r.FirstError, r.Total, r.Verified, r.Corrupt = g.errors, g.firstError, g.total, g.stamps.checked, g.stamps.corrupt
	return r, err
}

// drain waits for what is in flight, and reads back what was written if that is to be verified.
func (g *generator) drain() error {
	g.drained = true
	for g.inFlight > 0 {
		if err := g.turn(); err != nil {
			return err
		}
	}
	if !g.Verify {
		return nil
	}
	g.drained, g.readBack = false, 0
	for _, c := range g.connections {
		if err := g.refill(c); err != nil {
			return err
		}
	}
	for g.inFlight > 0 {
		if err := g.turn(); err != nil {
			return err
		}
	}
	return nil
}

func (g *generator) until(end time.Duration) error {
	for g.now() < end {
		if err := g.turn(); err != nil {
			return err
		}
		if g.Progress != nil && g.at-g.told >= time.Second {
			g.tell()
		}
		select {
		case <-g.Stop:
			return nil
		default:
		}
	}
	return nil
}

// tell says how it goes.
func (g *generator) tell() {
	p := Progress{WarmUp: g.from > g.at, Elapsed: g.at, P99: float64(g.latency.percentile(0.99).Nanoseconds()) / 1e3, Errors: g.errors}
	if !p.WarmUp {
		p.Elapsed -= g.from
	}
	p.PerSecond = float64(g.total-g.toldTotal) / (g.at - g.told).Seconds()
	p.BytesPerSecond = p.PerSecond * float64(g.Block)
	g.told, g.toldTotal = g.at, g.total
	g.Progress(p)
}

func (g *generator) result(used machine.CPU, seconds float64) Result {
	h := &g.latency
	micros := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
	r := Result{
		Seconds: seconds, Commands: h.count, Reads: g.reads, Writes: h.count - g.reads, PerSecond: float64(h.count) / seconds, BytesPerSecond: float64(h.count) * float64(g.Block) / seconds,
		Mean: micros(h.mean()), P50: micros(h.percentile(0.5)), P99: micros(h.percentile(0.99)), P999: micros(h.percentile(0.999)), Max: micros(h.max),
		LoadCPU: used.Self / seconds, TargetCPU: used.Process / seconds, OtherCPU: used.Other() / seconds, Stolen: used.Stolen / seconds,
	}
	if h.count > 0 {
		r.TargetMicros = used.Process * 1e6 / float64(h.count)
		slowest := h.count
		for _, c := range g.connections {
			slowest = min(slowest, c.done)
		}
		r.Slowest = float64(slowest) * float64(g.Connections) / float64(h.count)
	}
	return r
}

// idle keeps the sessions and does nothing.
func (g *generator) idle() (Result, error) {
	before, err := machine.SampleCPU(g.Observe)
	if err != nil {
		return Result{}, err
	}
	start := g.now()
	time.Sleep(g.Time)
	after, err := machine.SampleCPU(g.Observe)
	if err != nil {
		return Result{}, err
	}
	r := g.result(after.Sub(before), (g.now() - start).Seconds())
	if g.Observe != 0 {
		r.TargetResident, err = machine.ResidentBytes(g.Observe)
	}
	return r, err
}
