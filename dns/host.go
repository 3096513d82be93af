package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// misses is how many good lookups in a row an address must be missing from before it
	// goes: servers that share names out answer in turns.
	misses = 2
	// trust is how long what is known stays good for newcomers while lookups fail.
	trust = time.Hour
	// maxAddresses of one name; who has more is no single host.
	maxAddresses = 64
)

// A Host is a name and what is known of its addresses. Its methods may be called at once from
// many goroutines, and wait for nothing.
type Host struct {
	name    string // first, for two that are compared field by field differ here
	seen    atomic.Pointer[knowledge]
	asked   chan struct{} // closed after the first lookup, good or not
	settled sync.Once     // closes asked

	mu       sync.Mutex
	absent   map[netip.Addr]int // addresses that are known, and from how many good lookups each was missing
	lastGood time.Time          // zero: never
	told     bool               // that nobody new is let in
}

// knowledge does not change.
type knowledge struct {
	addresses []netip.Addr
	until     time.Time // when newcomers are not let in any more; zero: nothing is known
	problem   string    // why the last lookup failed; empty: it did not
}

func newHost(name string) *Host {
	h := &Host{name: name, asked: make(chan struct{}), absent: map[netip.Addr]int{}}
	h.seen.Store(&knowledge{problem: "it has not been looked up yet"})
	return h
}

// Name is the name of the host.
func (h *Host) Name() string { return h.name }

// Contains tells whether a is an address of the host, for somebody who is there since then:
// what is known of a name that cannot be looked up any more is too old for newcomers
// before it is for those who are there already.
func (h *Host) Contains(a netip.Addr, since time.Time) bool {
	k := h.seen.Load()
	return since.Before(k.until) && slices.Contains(k.addresses, a.Unmap())
}

// Asked is closed when the first lookup has come to its end.
func (h *Host) Asked() <-chan struct{} { return h.asked }

// Doubt says why the host may be unknown; empty: its last lookup went well.
func (h *Host) Doubt() string {
	if k := h.seen.Load(); k.problem != "" {
		return fmt.Sprintf("host %s: %s", h.name, k.problem)
	}
	return ""
}

// An answer is what one lookup found.
type answer struct {
	addresses     []netip.Addr
	noFour, noSix bool  // this family could not be asked for: what is missing may be there all the same
	err           error // nothing was found
}

// ask looks name up by server, both families on their own: net.Resolver asked for both hides the
// failure of one, and its addresses would be taken for gone.
func ask(ctx context.Context, server, name string) answer {
	r := resolver(server)
	if strings.Contains(name, ".") {
		name += "." // or a search domain could answer in its place
	}
	var four, six []netip.Addr
	var errFour, errSix error
	var both sync.WaitGroup
	both.Go(func() { four, errFour = r.LookupNetIP(ctx, "ip4", name) })
	both.Go(func() { six, errSix = r.LookupNetIP(ctx, "ip6", name) })
	both.Wait()
	var a answer
	for _, found := range slices.Concat(four, six) {
		a.addresses = append(a.addresses, found.Unmap())
	}
	a.noFour, a.noSix = failed(errFour), failed(errSix)
	switch {
	case len(a.addresses) > maxAddresses:
		a = answer{err: fmt.Errorf("it has %d addresses; at most %d can be one host's", len(a.addresses), maxAddresses)}
	case len(a.addresses) > 0:
	case a.noFour:
		a.err = worded(errFour, server)
	case a.noSix:
		a.err = worded(errSix, server)
	default:
		a.err = errors.New("there is no such name, or it has no address")
	}
	return a
}

// worded names the server that was asked, which package net takes for the one of this host,
// and the name as it is known.
func worded(err error, server string) error {
	var e *net.DNSError
	if errors.As(err, &e) {
		e.Name = strings.TrimSuffix(e.Name, ".")
		if server != "" {
			e.Server = server
		}
	}
	return err
}

// failed tells of an error that is not the answer that there is nothing. An AddrError is such
// an answer: the hosts file has the name, with addresses of the other family.
func failed(err error) bool {
	var none *net.AddrError
	var e *net.DNSError
	return err != nil && !errors.As(err, &none) && !(errors.As(err, &e) && e.IsNotFound)
}

// learn takes what a lookup has found, and says in words what has changed.
func (h *Host) learn(a answer, now time.Time) (changed bool, events []Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := h.seen.Load()
	next := *before
	say := func(urgent bool, format string, args ...any) {
		events = append(events, Event{Urgent: urgent, Text: "host " + h.name + fmt.Sprintf(format, args...)})
	}
	if a.err != nil {
		next.problem = "it cannot be looked up: " + a.err.Error()
		switch {
		case h.lastGood.IsZero() && !h.told:
			h.told = true
			say(true, " cannot be looked up, and nobody is let in by this name: %v", a.err)
		case h.lastGood.IsZero():
		case !now.Before(before.until) && !h.told:
			h.told = true
			say(true, " could not be looked up for %v, and nobody new is let in by this name from now on: %v", trust, a.err)
		case before.problem == "":
			say(true, " cannot be looked up; what is known of it is good until %s: %v", before.until.Format(time.TimeOnly), a.err)
		}
		h.seen.Store(&next)
		return false, events
	}
	if before.problem != "" && !h.lastGood.IsZero() {
		say(false, " can be looked up again")
	}
	next.problem, next.until, h.told = "", now.Add(trust), false
	expired := !now.Before(before.until)
	h.lastGood = now
	came, went := h.account(a)
	next.addresses = h.addresses()
	if len(came) > 0 {
		say(false, " has come to the address %s", words(came))
	}
	if len(went) > 0 {
		say(false, " has left the address %s", words(went))
	}
	h.seen.Store(&next)
	return len(came) > 0 || len(went) > 0 || expired, events
}

// account notes which addresses are there. h.mu is held.
func (h *Host) account(a answer) (came, went []netip.Addr) {
	for _, found := range a.addresses {
		if _, known := h.absent[found]; !known {
			came = append(came, found)
		}
		h.absent[found] = 0
	}
	for known := range h.absent {
		if slices.Contains(a.addresses, known) || known.Is4() && a.noFour || known.Is6() && a.noSix {
			continue
		}
		// A name that changes at each lookup is not remembered without bound.
		if h.absent[known]++; h.absent[known] >= misses || len(h.absent) > 2*maxAddresses {
			delete(h.absent, known)
			went = append(went, known)
		}
	}
	return came, went
}

// addresses are those that are known, in order. h.mu is held.
func (h *Host) addresses() (all []netip.Addr) {
	for a := range h.absent {
		all = append(all, a)
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return all
}

func words(addresses []netip.Addr) string {
	slices.SortFunc(addresses, netip.Addr.Compare)
	list := make([]string, len(addresses))
	for i, a := range addresses {
		list[i] = a.String()
	}
	return strings.Join(list, ", ")
}
