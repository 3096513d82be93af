package provision

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/isns"
)

// A registrar keeps what is served registered with an iSNS server, if there is one.
type registrar struct {
	mu     sync.Mutex   // who writes holds Provisioner.applying as well
	client *isns.Client // nil: there is no server
	config configs.ISNS
	entity string
}

// An ISNSStatus is how the iSNS server is that keeps our registration.
type ISNSStatus struct {
	Server  string    `json:"server"`
	Entity  string    `json:"entity"` // the Entity Identifier under which we are registered
	State   string    `json:"state"`  // connecting, registered, away, or idle: there is nothing to register
	Since   time.Time `json:"since"`
	Problem string    `json:"problem"` // what is not as it should be; empty: nothing
	Portals []string  `json:"portals"` // that are registered
	Targets []string  `json:"targets"` // likewise
	Period  float64   `json:"period"`  // seconds of silence after which the server forgets us; 0: it has not said
	Inquiry bool      `json:"inquiry"` // it has asked lately whether we are there (ESI)
	Heard   uint64    `json:"heard"`   // inquiries and notices since the start
}

// identify finds the name by which an iSNS server is to know us, if there is one.
func (c *change) identify() (err error) {
	if c.plan.ISNS.Server != "" {
		c.next.network, err = c.next.state.EntityIdentifier()
	}
	return err
}

// register has an iSNS server know what r serves. It waits for nothing but, for a moment, the
// withdrawal from a server that is not ours any more. One Apply at a time calls it.
func (g *registrar) register(p *Provisioner, r *running) {
	want := r.plan.ISNS
	if g.client == nil || g.config != want {
		g.withdraw()
		if want.Server == "" {
			return
		}
		g.set(newISNSClient(p, want), want, r.network)
	}
	g.client.Register(r.registration())
}

func newISNSClient(p *Provisioner, c configs.ISNS) *isns.Client {
	log := p.log.WithField("event", "isns")
	return isns.NewClient(isns.Options{
		Server: string(c.Server), Period: c.Period, Inquiry: c.Inquiry, Port: uint16(c.Port),
		Tell: func(e isns.Event) {
			if e.Urgent {
				log.Warn(e.Text)
				return
			}
			log.Info(e.Text)
		},
	})
}

// set notes the client there is, for those who ask how it is.
func (g *registrar) set(client *isns.Client, config configs.ISNS, entity string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.client, g.config, g.entity = client, config, entity
}

// withdraw takes everything out of the iSNS server. It is bounded, whatever that does.
func (g *registrar) withdraw() {
	client := g.client
	if client == nil {
		return
	}
	g.set(nil, configs.ISNS{}, "")
	client.Close()
}

// registration is what initiators are to find in an iSNS server.
func (r *running) registration() isns.Registration {
	all := isns.Registration{Entity: r.network}
	for i, t := range r.plan.Targets {
		n := isns.Node{Name: string(r.plan.nodes[i].name), Alias: t.Alias}
		for _, p := range r.portalsOf(t) {
			for _, at := range p.listens() {
				n.Portals = append(n.Portals, isns.Portal{Address: at, Tag: uint16(p.tag)})
			}
		}
		all.Nodes = append(all.Nodes, n)
	}
	return all
}

// listens are the addresses of p; that of all addresses of both versions is two.
func (p portal) listens() []netip.AddrPort {
	a, ok := p.listener.Addr().(*net.TCPAddr)
	if !ok {
		return nil
	}
	at := netip.AddrPortFrom(a.AddrPort().Addr().Unmap(), uint16(a.Port))
	if at.Addr() == netip.IPv6Unspecified() && p.network == "tcp" {
		return []netip.AddrPort{netip.AddrPortFrom(netip.IPv4Unspecified(), at.Port()), at}
	}
	return []netip.AddrPort{at}
}

// ISNS is how the iSNS server is that keeps our registration; nil: there is none.
func (p *Provisioner) ISNS() *ISNSStatus {
	g := &p.registrar
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.client == nil {
		return nil
	}
	s := g.client.Status()
	out := &ISNSStatus{
		Server: string(g.config.Server), Entity: g.entity, State: string(s.State), Since: s.Since, Problem: s.Problem,
		Portals: []string{}, Targets: slices.Concat([]string{}, s.Nodes), Period: s.Period.Seconds(), Inquiry: s.Inquiry, Heard: s.Heard,
	}
	for _, at := range s.Portals {
		out.Portals = append(out.Portals, at.String())
	}
	return out
}
