package provision

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/dns"
	"github.com/isantarget/isantarget/target"
)

// host is the host of this name, the same one wherever a rule names it.
func (s *secrets) host(name configs.Host) *dns.Host {
	if s.hosts[name] == nil {
		s.hosts[name] = s.known.Host(string(name))
	}
	return s.hosts[name]
}

// hostOptions have p told of what becomes of hosts.
func (p *Provisioner) hostOptions() dns.Options {
	log := p.log.WithField("event", "dns")
	return dns.Options{
		Changed: p.moved,
		Tell: func(e dns.Event) {
			if e.Urgent {
				log.Warn(e.Text)
				return
			}
			log.Info(e.Text)
		},
	}
}

// moved decides again over the sessions of each target that has hosts in its rules.
func (p *Provisioner) moved() {
	r := p.now.Load()
	if r == nil {
		return
	}
	var all sync.WaitGroup
	for _, n := range r.plan.nodes {
		node := r.nodes[n.name]
		if node != nil && slices.ContainsFunc(n.rules, func(r rulePlan) bool { return len(r.Hosts) > 0 }) {
			all.Go(node.Redecide)
		}
	}
	all.Wait()
}

// hostPatience is how long a change waits for names that are new.
const hostPatience = 2 * time.Second

// askHosts has the hosts of a plan that nobody has asked for yet looked up by a server,
// before it is decided by them over sessions that are there. It returns what is in doubt.
func (p *Provisioner) askHosts(ctx context.Context, server configs.Resolver, next *plan) (doubts []string) {
	within, cancel := context.WithTimeout(ctx, hostPatience)
	defer cancel()
	p.hosts.Ask(within, string(server), next.hosts)
	for _, h := range next.hosts {
		if doubt := h.Doubt(); doubt != "" {
			doubts = append(doubts, doubt)
		}
	}
	slices.Sort(doubts)
	return doubts
}

// meet asks for the hosts that are new, for the sake of sessions that go on.
func (c *change) meet(ctx context.Context) error {
	if c.before == nil {
		return nil // nobody is here; who comes waits for the first answer
	}
	c.warnings = append(c.warnings, c.askHosts(ctx, c.plan.DNS.Server, c.plan)...)
	return nil
}

var _ target.Host = (*dns.Host)(nil)
