package provision

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/isantarget/isantarget/dns"
	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
)

// A nameServer is a DNS server on loopback that does as it is told.
type nameServer struct {
	t  *testing.T
	at string

	mu      sync.Mutex
	socket  net.PacketConn // nil: it is away
	records map[string][]string
	answers int            // more of a name's A records that are given, then it fails; negative: all
	given   map[string]int // queries for A records of a name that had an answer
	failed  map[string]int // that had SERVFAIL
	silence chan struct{}  // answers wait for it to be closed; nil: they do not wait
	asked   chan string    // names that it was asked for, as far as somebody listens
}

func newNameServer(t *testing.T) *nameServer {
	s := &nameServer{t: t, at: "127.0.0.1:0", records: map[string][]string{}, answers: -1, given: map[string]int{}, failed: map[string]int{}, asked: make(chan string, 1)}
	s.open()
	t.Cleanup(s.close)
	return s
}

func (s *nameServer) open() {
	s.t.Helper()
	socket, err := net.ListenPacket("udp", s.at)
	if err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	s.socket, s.at = socket, socket.LocalAddr().String()
	s.mu.Unlock()
	go func() {
		for {
			message := make([]byte, 1500)
			n, from, err := socket.ReadFrom(message)
			if err != nil {
				return
			}
			go s.answer(socket, message[:n], from)
		}
	}()
}

func (s *nameServer) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.socket != nil {
		s.socket.Close()
		s.socket = nil
	}
}

// set has a name have these addresses, and says what becomes of the next queries.
func (s *nameServer) set(name string, answers int, addresses ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records[name], s.answers = addresses, answers
}

func (s *nameServer) counts(name string) (given, failed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.given[name], s.failed[name]
}

func (s *nameServer) answer(socket net.PacketConn, query []byte, from net.Addr) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil || len(m.Questions) != 1 {
		s.t.Errorf("query % x: %v", query, err)
		return
	}
	q := m.Questions[0]
	name := strings.TrimSuffix(q.Name.String(), ".")
	select {
	case s.asked <- name:
	default:
	}
	s.mu.Lock()
	silence := s.silence
	s.mu.Unlock()
	if silence != nil {
		<-silence
	}
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	s.fill(&m, q, name)
	packed, err := m.Pack()
	if err != nil {
		s.t.Error(err)
		return
	}
	socket.WriteTo(packed, from) // who asked may have gone
}

// fill is what the server says to q.
func (s *nameServer) fill(m *dnsmessage.Message, q dnsmessage.Question, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q.Type == dnsmessage.TypePTR {
		s.t.Errorf("it is asked for the PTR record %s", name)
	}
	if s.answers == 0 {
		m.RCode = dnsmessage.RCodeServerFailure
		if q.Type == dnsmessage.TypeA {
			s.failed[name]++
		}
		return
	}
	if q.Type != dnsmessage.TypeA {
		return // there is no AAAA record
	}
	if s.answers > 0 {
		s.answers--
	}
	s.given[name]++
	if len(s.records[name]) == 0 {
		m.RCode = dnsmessage.RCodeNameError
	}
	for _, a := range s.records[name] {
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
			Body:   &dnsmessage.AResource{A: netip.MustParseAddr(a).As4()},
		})
	}
}

// startNamed serves a target with rules, whose hosts s knows, to all of loopback.
func startNamed(t *testing.T, s *nameServer, dir, rules string) *daemon {
	t.Helper()
	d := newDaemon()
	o := d.hostOptions()
	o.Interval = 20 * time.Millisecond
	d.hosts = dns.New(o)
	d.report = d.apply(t, dir, withHosts(s, rules))
	t.Cleanup(func() { d.stop(t) })
	return d
}

func withHosts(s *nameServer, rules string) string {
	return fmt.Sprintf("dns = { server = %q }\n", s.at) + inventory("a") + rules
}

func byHost(hosts string) string { return fmt.Sprintf("[[target.rule]]\nhosts = [%q]\n", hosts) }

// loginFrom logs in from a loopback address.
func (d *daemon) loginFrom(t *testing.T, who, from string) (*initiator.Connection, error) {
	t.Helper()
	c, err := initiator.Dial(d.report.Targets[0].Portals[0], initiator.Options{Local: &net.TCPAddr{IP: net.ParseIP(from)}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, c.Login(initiator.Login{InitiatorName: who, TargetName: name, SessionType: "Normal", ISID: initiator.RandomISID()})
}

func (d *daemon) admitted(t *testing.T, who, from string) *initiator.Connection {
	t.Helper()
	c, err := d.loginFrom(t, who, from)
	if err != nil {
		t.Fatalf("login of %s from %s: %v", who, from, err)
	}
	if got := reportLUNs(t, c); got != "0" {
		t.Fatalf("REPORT LUNS: %s", got)
	}
	return c
}

func (d *daemon) refused(t *testing.T, who, from string) {
	t.Helper()
	_, err := d.loginFrom(t, who, from)
	var r *initiator.Refusal
	if !errors.As(err, &r) || r.Status != iscsi.LoginAuthorizationFailure {
		t.Fatalf("login of %s from %s: %v, want it refused", who, from, err)
	}
}

// logged tells whether a line of the log has these words.
func (d *daemon) logged(words string) bool {
	for _, e := range d.log.AllEntries() {
		if strings.Contains(e.Message, words) {
			return true
		}
	}
	return false
}

// TestHostMoves: who comes from an address of the host gets in, and is logged out when two
// answers in a row lack the address; not before.
func TestHostMoves(t *testing.T) {
	s := newNameServer(t)
	s.set("pve1.test", -1, "127.0.0.2", "127.0.0.3")
	d := startNamed(t, s, t.TempDir(), byHost("PVE1.test."))
	moving, staying := d.admitted(t, alice, "127.0.0.2"), d.admitted(t, bob, "127.0.0.3")
	d.refused(t, alice, "127.0.0.4")

	s.set("pve1.test", 1, "127.0.0.4", "127.0.0.3")
	_, before := s.counts("pve1.test")
	eventually(t, "failures after the one good answer", func() bool { _, n := s.counts("pve1.test"); return n > before+4 })
	d.admitted(t, alice, "127.0.0.4")
	if got := reportLUNs(t, moving); got != "0" {
		t.Fatalf("REPORT LUNS after one answer without the address: %s", got)
	}
	d.admitted(t, alice, "127.0.0.2").Close()

	s.set("pve1.test", -1, "127.0.0.4", "127.0.0.3")
	if err := moving.WaitClosed(); err != nil {
		t.Errorf("who was at the old address: %v", err)
	}
	d.refused(t, alice, "127.0.0.2")
	if got := reportLUNs(t, staying); got != "0" {
		t.Errorf("REPORT LUNS of who is at an address that has stayed: %s", got)
	}
	if !d.logged("has left the address 127.0.0.2") {
		t.Error("the log does not say that the host has left 127.0.0.2")
	}
}

// TestNameServerIsAway: sessions go on, and what is known lets initiators in.
func TestNameServerIsAway(t *testing.T) {
	s := newNameServer(t)
	s.set("pve1.test", -1, "127.0.0.2")
	d := startNamed(t, s, t.TempDir(), byHost("pve1.test"))
	c := d.admitted(t, alice, "127.0.0.2")
	s.close()
	eventually(t, "a word in the log", func() bool { return d.logged("what is known of it is good until") })
	d.admitted(t, bob, "127.0.0.2")
	s.open()
	s.set("pve1.test", -1) // no such name: somebody's mistake, for all that we know
	eventually(t, "the name is known to be gone", func() bool {
		return strings.Contains(d.hosts.Host("pve1.test").Doubt(), "no such name")
	})
	d.admitted(t, bob, "127.0.0.2").Close()
	s.set("pve1.test", -1, "127.0.0.2")
	eventually(t, "another word in the log", func() bool { return d.logged("can be looked up again") })
	if got := reportLUNs(t, c); got != "0" {
		t.Errorf("REPORT LUNS: %s", got)
	}
}

// TestNameServerIsSilent: who needs it is refused after a while, and the log says why; others get
// in meanwhile, and changes come to their end, as does the stop. Once it answers he gets in.
func TestNameServerIsSilent(t *testing.T) {
	dir, s := t.TempDir(), newNameServer(t)
	silence := make(chan struct{})
	s.silence = silence
	s.set("pve1.test", -1, "127.0.0.2")
	rules := fmt.Sprintf("[[target.rule]]\ninitiators = [%q]\n", bob) + byHost("pve1.test")
	d := startNamed(t, s, dir, rules)
	late := make(chan error, 1)
	go func() {
		c, err := initiator.Dial(d.report.Targets[0].Portals[0], initiator.Options{Local: &net.TCPAddr{IP: net.ParseIP("127.0.0.2")}})
		if err == nil {
			defer c.Close()
			err = c.Login(initiator.Login{InitiatorName: alice, TargetName: name, SessionType: "Normal", ISID: initiator.RandomISID()})
		}
		late <- err
	}()
	c := d.admitted(t, bob, "127.0.0.2")
	err := <-late
	var r *initiator.Refusal
	if !errors.As(err, &r) || r.Status != iscsi.LoginAuthorizationFailure {
		t.Fatalf("login while nothing is known: %v, want it refused", err)
	}
	if !d.logged("let everybody in; host pve1.test: ") || !d.logged("(rule 2)") {
		t.Error("the log does not say why")
	}
	if r := d.apply(t, dir, withHosts(s, rules+byHost("pve2.test"))); len(r.Warnings) != 2 || !strings.HasPrefix(r.Warnings[1], "host pve2.test: ") {
		t.Errorf("warnings %q, want one for each host", r.Warnings)
	}
	if got := reportLUNs(t, c); got != "0" {
		t.Errorf("REPORT LUNS: %s", got)
	}

	s.mu.Lock()
	s.silence = nil
	s.mu.Unlock()
	close(silence)
	eventually(t, "the host is known", func() bool {
		return d.hosts.Host("pve1.test").Contains(netip.MustParseAddr("127.0.0.2"), time.Now())
	})
	d.admitted(t, alice, "127.0.0.2")

	again := make(chan struct{})
	s.mu.Lock()
	s.silence = again
	s.mu.Unlock()
	select {
	case <-s.asked: // before
	default:
	}
	<-s.asked
	d.stop(t)
	close(again)
}

// TestRuleComesToAHost: a change to a rule by a name that is new is decided with its
// addresses, and so is what plan says of it.
func TestRuleComesToAHost(t *testing.T) {
	dir, s := t.TempDir(), newNameServer(t)
	s.set("pve1.test", -1, "127.0.0.2")
	d := startNamed(t, s, dir, "[[target.rule]]\nnetworks = [\"127.0.0.0/8\"]\n")
	c, other := d.admitted(t, alice, "127.0.0.2"), d.admitted(t, bob, "127.0.0.3")
	next := withHosts(s, byHost("pve1.test"))
	f, err := d.forecast(parse(t, dir, next))
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Sessions) != 1 || f.Sessions[0].Initiator != bob || !strings.Contains(f.Sessions[0].Effects[0], "logged out") {
		t.Errorf("forecast %+v, want %s logged out", f.Sessions, bob)
	}
	liar := newNameServer(t)
	f, err = d.forecast(parse(t, dir, withHosts(liar, byHost("pve1.test"))))
	if err != nil || len(f.Sessions) != 1 || len(liar.asked) > 0 {
		t.Errorf("forecast %+v, %v; the server of a file that is only looked at was asked: %v", f, err, len(liar.asked) > 0)
	}
	if r := d.apply(t, dir, next); len(r.Warnings) > 0 || !slices.Contains(r.Changes, "target "+name+" changed") {
		t.Errorf("warnings %q, changes %q", r.Warnings, r.Changes)
	}
	if err := other.WaitClosed(); err != nil {
		t.Errorf("who is not on the host: %v", err)
	}
	if got := reportLUNs(t, c); got != "0" {
		t.Errorf("REPORT LUNS: %s", got)
	}
	if r := d.apply(t, dir, next); len(r.Changes) > 0 {
		t.Errorf("the same again: %q", r.Changes)
	}
	r := d.apply(t, dir, withHosts(s, byHost("pve1.test")+byHost("nobody.test")))
	if want := "host nobody.test: it cannot be looked up: there is no such name, or it has no address"; !slices.Contains(r.Warnings, want) {
		t.Errorf("warnings %q, want %q", r.Warnings, want)
	}
	d.refused(t, bob, "127.0.0.3")
}
