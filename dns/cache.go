package dns

import (
	"context"
	"net"
	"sync"
	"time"
)

// An Event is something that an operator should know of.
type Event struct {
	Urgent bool // it needs somebody; else it says how things are
	Text   string
}

// Options are what a Cache is made with.
type Options struct {
	Tell    func(Event) // what has become of a host
	Changed func()      // addresses of a host have changed; the lookups of this host wait for its return

	Interval time.Duration // from one lookup of a name to the next; 0: a minute
}

const (
	// interval is the time from one lookup of a name to the next.
	interval = time.Minute
	// lookupBound is how long one lookup may take.
	lookupBound = 10 * time.Second
	// maxLookups at once; the others wait.
	maxLookups = 16
)

// A Cache looks up the hosts that it watches, again and again. Its methods may be called at
// once from many goroutines.
type Cache struct {
	options Options
	slots   chan struct{} // one for each lookup that is under way
	running sync.WaitGroup

	mu      sync.Mutex
	server  string
	watched map[string]watch // by name
}

// A watch is a host that is looked up.
type watch struct {
	host *Host
	stop context.CancelFunc
}

// New makes a cache that watches nothing.
func New(o Options) *Cache {
	if o.Interval == 0 {
		o.Interval = interval
	}
	return &Cache{options: o, slots: make(chan struct{}, maxLookups), watched: map[string]watch{}}
}

// Host is the host of this name: the one that is watched, or a new one of which nothing is known.
func (c *Cache) Host(name string) *Host {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w, ok := c.watched[name]; ok {
		return w.host
	}
	return newHost(name)
}

// Watch looks up hosts from now on, and no others. Those that are new are asked for at once.
// server is the DNS server to ask, an address and a port; empty: as the system does. It waits
// for nothing.
func (c *Cache) Watch(server string, hosts []*Host) {
	c.mu.Lock()
	defer c.mu.Unlock()
	wanted := map[string]*Host{}
	for _, h := range hosts {
		wanted[h.name] = h
	}
	for name, w := range c.watched {
		if wanted[name] != w.host || server != c.server {
			w.stop()
			delete(c.watched, name)
		}
	}
	c.server = server
	for name, h := range wanted {
		if _, ok := c.watched[name]; ok {
			continue
		}
		ctx, stop := context.WithCancel(context.Background())
		c.watched[name] = watch{h, stop}
		c.running.Go(func() { c.watch(ctx, h, server) })
	}
}

// Close watches nothing any more, and returns when the last lookup has ended.
func (c *Cache) Close() {
	c.Watch("", nil)
	c.running.Wait()
}

// watch looks h up until ctx ends.
func (c *Cache) watch(ctx context.Context, h *Host, server string) {
	tick := time.NewTicker(c.options.Interval)
	defer tick.Stop()
	for {
		if c.lookUp(ctx, h, server) && ctx.Err() == nil {
			c.options.Changed()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Ask looks up those of hosts that nobody watches and that have never been, once, by server.
// It returns when something is known of all, or when ctx ends. What is watched learns nothing
// from it: server may be one that will never be configured.
func (c *Cache) Ask(ctx context.Context, server string, hosts []*Host) {
	var all sync.WaitGroup
	for _, h := range hosts {
		if c.watches(h) {
			all.Go(func() {
				select {
				case <-h.asked:
				case <-ctx.Done():
				}
			})
			continue
		}
		select {
		case <-h.asked:
		default:
			all.Go(func() { c.lookUp(ctx, h, server) })
		}
	}
	all.Wait()
}

func (c *Cache) watches(h *Host) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.watched[h.name].host == h
}

// lookUp looks h up once, by server; changed: its addresses are others now.
func (c *Cache) lookUp(ctx context.Context, h *Host, server string) (changed bool) {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return false
	}
	within, cancel := context.WithTimeout(ctx, lookupBound)
	defer cancel()
	a := ask(within, server, h.name)
	if ctx.Err() != nil {
		return false // it says nothing about the host
	}
	changed, events := h.learn(a, time.Now())
	h.settled.Do(func() { close(h.asked) })
	for _, e := range events {
		c.options.Tell(e)
	}
	return changed
}

// resolver asks server, or whom the system asks.
func resolver(server string) *net.Resolver {
	r := &net.Resolver{PreferGo: true} // it ends when its context does
	if server != "" {
		r.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, server)
		}
	}
	return r
}
