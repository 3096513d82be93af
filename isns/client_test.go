package isns

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	alpha = "iqn.2026-11.org.isantarget.test:alpha"
	beta  = "iqn.2026-11.org.isantarget.test:beta"
	gamma = "iqn.2026-11.org.isantarget.test:gamma"
)

// quick is a pace for tests.
func quick() pace {
	return pace{dial: 30 * time.Second, exchange: 30 * time.Second, withdraw: 30 * time.Second, first: 10 * time.Millisecond, last: 50 * time.Millisecond, settled: time.Hour, quiet: 10 * time.Millisecond}
}

// hasty is a pace for servers that do not answer.
func hasty() pace {
	p := quick()
	p.exchange, p.withdraw = 300*time.Millisecond, 300*time.Millisecond
	return p
}

// A teller keeps what a client tells.
type teller struct {
	mu   sync.Mutex
	list []Event
}

func (l *teller) tell(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, e)
}

// count counts the events with a word.
func (l *teller) count(word string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.list {
		if strings.Contains(e.Text, word) {
			n++
		}
	}
	return n
}

func portal(t *testing.T, at string, tag uint16) Portal {
	t.Helper()
	return Portal{netip.MustParseAddrPort(at), tag}
}

// two are two targets, the second of which one portal does not lead to.
func two(t *testing.T) Registration {
	return Registration{Entity: "e", Nodes: []Node{
		{Name: alpha, Alias: "first", Portals: []Portal{portal(t, "127.0.0.1:3260", 1), portal(t, "127.0.0.1:3261", 2)}},
		{Name: beta, Portals: []Portal{portal(t, "127.0.0.1:3261", 2)}},
	}}
}

const hasTwo = "e map[" + alpha + ":first " + beta + ":-] [127.0.0.1:3260 127.0.0.1:3261] map[" +
	alpha + " 127.0.0.1:3260:1 " + alpha + " 127.0.0.1:3261:2 " + beta + " 127.0.0.1:3260:- " + beta + " 127.0.0.1:3261:2]"

const hasNothing = " map[] [] map[]"

func start(t *testing.T, s *fakeServer, o Options) (*Client, *teller) {
	t.Helper()
	return startAt(t, s, o, quick())
}

func startAt(t *testing.T, s *fakeServer, o Options, p pace) (*Client, *teller) {
	t.Helper()
	told := &teller{}
	o.Server, o.Tell = s.address(), told.tell
	c := newClient(o, p)
	t.Cleanup(c.Close)
	return c, told
}

func TestRegistration_RFC4171_5_6_5_1(t *testing.T) {
	s := startServer(t)
	c, told := start(t, s, Options{})
	c.Register(two(t))
	eventually(t, "all is registered", func() bool { return s.has() == hasTwo })
	eventually(t, "it is told", func() bool { return c.Status().State == Registered })
	if st := c.Status(); len(st.Nodes) != 2 || len(st.Portals) != 2 || st.Problem != "" {
		t.Errorf("status: %+v", st)
	}

	// beta goes with its portal, gamma comes, alpha has another alias and tag.
	c.Register(Registration{Entity: "e", Nodes: []Node{
		{Name: gamma, Portals: []Portal{portal(t, "127.0.0.1:3260", 9)}},
		{Name: alpha, Alias: "renamed", Portals: []Portal{portal(t, "127.0.0.1:3260", 9)}},
	}})
	want := "e map[" + alpha + ":renamed " + gamma + ":-] [127.0.0.1:3260] map[" + alpha + " 127.0.0.1:3260:9 " + gamma + " 127.0.0.1:3260:9]"
	eventually(t, "the change is registered", func() bool { return s.has() == want })

	// All are others.
	c.Register(Registration{Entity: "e", Nodes: []Node{{Name: beta, Portals: []Portal{portal(t, "127.0.0.1:3262", 1)}}}})
	want = "e map[" + beta + ":-] [127.0.0.1:3262] map[" + beta + " 127.0.0.1:3262:1]"
	eventually(t, "others are registered", func() bool { return s.has() == want })

	c.Register(Registration{Entity: "e"})
	eventually(t, "nothing is registered", func() bool { return s.has() == hasNothing && c.Status().State == Idle })
	c.Register(two(t))
	eventually(t, "all is registered anew", func() bool { return s.has() == hasTwo })
	c.Close()
	if got := s.has(); got != hasNothing {
		t.Errorf("after Close: %s", got)
	}
	if len(told.list) != 0 {
		t.Errorf("told: %v", told.list)
	}
}

func TestOnlyWhatChangesIsRegisteredAgain_RFC4171_5_6_5_1(t *testing.T) {
	s := startServer(t)
	c, _ := start(t, s, Options{})
	c.Register(two(t))
	eventually(t, "all is registered", func() bool { return c.Status().State == Registered })
	var again []string
	s.mu.Lock()
	s.refuse = func(m Message, all []Attribute) Status {
		if m.Function == DevAttrReg {
			for _, a := range all[1:] {
				if text, ok := a.Text(); ok && a.Tag == NodeName {
					again = append(again, text)
				}
			}
			if m.Flags&Replace != 0 {
				again = append(again, "replace")
			}
		}
		return Successful
	}
	s.mu.Unlock()
	r := two(t)
	r.Nodes = append(r.Nodes, Node{Name: gamma, Portals: []Portal{portal(t, "127.0.0.1:3260", 1)}})
	c.Register(r)
	eventually(t, "the third is registered", func() bool { return len(c.Status().Nodes) == 3 })
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(again, []string{gamma}) { // whose initiators would be told else
		t.Errorf("registered again: %v", again)
	}
}

func TestManyTargets_RFC4171_5_1(t *testing.T) {
	s := startServer(t)
	c, _ := start(t, s, Options{})
	r := Registration{Entity: "e"}
	for i := range 300 {
		n := Node{Name: fmt.Sprintf("iqn.2026-11.org.isantarget.test:%s-%d", strings.Repeat("x", 150), i)}
		for p := range 4 {
			n.Portals = append(n.Portals, portal(t, fmt.Sprintf("127.0.0.1:%d", 3260+p), uint16(p+1)))
		}
		r.Nodes = append(r.Nodes, n)
	}
	c.Register(r)
	eventually(t, "all is registered", func() bool { return c.Status().State == Registered })
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.nodes) != 300 || len(s.groups) != 1200 || len(s.portals) != 4 {
		t.Errorf("%d nodes, %d groups, %d portals", len(s.nodes), len(s.groups), len(s.portals))
	}
	if s.largest > maxPayload {
		t.Errorf("a message of %d bytes, which is more than one PDU", s.largest)
	}
}

func TestPortalsOfOtherHosts(t *testing.T) {
	host := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("::1"), netip.MustParseAddr("2001:db8::1")}
	for _, c := range []struct {
		portal string
		local  bool
		host   []netip.Addr
		want   string
	}{
		{"192.0.2.1:3260", false, host, "[192.0.2.1:3260]"},
		{"127.0.0.1:3260", false, host, "[]"},
		{"127.0.0.1:3260", true, host, "[127.0.0.1:3260]"},
		{"[::1]:3260", false, host, "[]"},
		{"0.0.0.0:3260", false, host, "[192.0.2.1:3260 198.51.100.1:3260]"},
		{"0.0.0.0:3260", true, host, "[192.0.2.1:3260 198.51.100.1:3260]"},
		{"[::]:3260", false, host, "[[2001:db8::1]:3260]"},
		{"0.0.0.0:3260", true, host[:1], "[127.0.0.1:3260]"},
		{"0.0.0.0:3260", false, host[:1], "[]"},
	} {
		if got := fmt.Sprint(portal(t, c.portal, 1).expand(c.local, c.host)); got != c.want {
			t.Errorf("%s, server here %v: %s, want %s", c.portal, c.local, got, c.want)
		}
	}
}

func TestRegistrationPeriod_RFC4171_6_2_6(t *testing.T) {
	s := startServer(t)
	s.behave(func() { s.period = 2 })
	c, told := start(t, s, Options{})
	c.Register(two(t))
	eventually(t, "it has asked for itself after the registration, and again", func() bool { return s.count(DevAttrQry) >= 9 })
	if p := c.Status().Period; p != 2*time.Second {
		t.Errorf("period %v, and the server has said 2 s", p)
	}
	subscriptions := s.count(SCNReg)
	s.forget()
	// They come last: what is lost before belongs to the same loss.
	eventually(t, "what was lost is registered again", func() bool { return s.has() == hasTwo && s.count(SCNReg) >= subscriptions+2 })
	s.lose(beta)
	eventually(t, "the node that was lost is registered again", func() bool { return s.has() == hasTwo })
	if n := told.count("lost our registration"); n < 2 {
		t.Errorf("told %d times: %v", n, told.list)
	}
}

func TestServerThatShowsNothing_RFC4171_5_6_5_2(t *testing.T) {
	s := startServer(t)
	s.behave(func() { s.period, s.hide = 1, true }) // the targets are in no discovery domain
	c, told := start(t, s, Options{})
	c.Register(two(t))
	eventually(t, "the registration is said again", func() bool { return s.count(DevAttrReg) >= 3 })
	if len(told.list) != 0 {
		t.Errorf("told: %v", told.list)
	}
}

func TestServerGoesAndComes(t *testing.T) {
	s := startServer(t)
	c, told := start(t, s, Options{})
	c.Register(two(t))
	eventually(t, "all is registered", func() bool { return s.has() == hasTwo })
	at := s.address()
	s.stop()
	eventually(t, "its absence is told", func() bool { return c.Status().State == Away && told.count("does not have") == 1 })
	if c.Status().Problem == "" {
		t.Error("status does not say why")
	}
	s.listen(at)
	eventually(t, "all is registered again, and told", func() bool { return s.has() == hasTwo && told.count("again") > 0 && c.Status().State == Registered })
}

func TestStateChangeIsHonoured_RFC4171_5_6_5_8(t *testing.T) {
	s := startServer(t)
	c, told := start(t, s, Options{Period: time.Hour})
	c.Register(two(t))
	eventually(t, "all is registered", func() bool { return c.Status().State == Registered })
	s.mu.Lock()
	port := s.portals["127.0.0.1:3260"][SCNPort]
	s.mu.Unlock()
	say := func(payload []byte, function Function) response {
		t.Helper()
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		m := Message{Function: function, Flags: FromServer, Transaction: 77, Payload: payload}
		if _, err := conn.Write(m.Append(nil)); err != nil {
			t.Fatal(err)
		}
		conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		reply, err := ReadMessage(conn)
		if err != nil || reply.Function != function.Response() || reply.Transaction != 77 {
			t.Fatalf("answered by %+v, %v", reply, err)
		}
		var r response
		if err := r.unmarshal(reply.Payload); err != nil {
			t.Fatal(err)
		}
		return r
	}
	notice := func(to, of string, change Change) []byte {
		return AppendAttributes(nil, Text(NodeName, to), Attribute{Timestamp, make([]byte, 8)}, Number(SCNBitmap, uint32(change)), Text(NodeName, of))
	}
	s.forget()
	if r := say(notice(alpha, beta, ObjectRemoved), SCN); r.status != Successful || len(r.key) != 1 {
		t.Errorf("a notice is answered by %+v", r)
	}
	eventually(t, "what is gone is registered again, an hour before its time", func() bool { return s.has() == hasTwo })
	say(notice(alpha, "iqn.2026-11.org.isantarget.test:initiator", ObjectAdded), SCN)
	if told.count("is now in a discovery domain with "+alpha) != 1 {
		t.Errorf("told: %v", told.list)
	}
	if r := say(notice("iqn.2026-11.org.isantarget.test:nobody", beta, ObjectRemoved), SCN); r.status != NoSuchEntry {
		t.Errorf("a notice for somebody else is answered by %+v", r)
	}
	if r := say([]byte{0, 0, 0, 1}, SCN); r.status != MessageFormatError {
		t.Errorf("nonsense is answered by %+v", r)
	}
	for range 100 {
		say(notice(alpha, "iqn.2026-11.org.isantarget.test:flood", ObjectAdded), SCN)
	}
	if n := told.count("flood"); n > toldChanges {
		t.Errorf("%d of 100 notices are told", n)
	}
}

func TestEntityStatusInquiry_RFC4171_5_6_5_13(t *testing.T) {
	s := startServer(t)
	c, _ := start(t, s, Options{Inquiry: 7 * time.Second})
	c.Register(two(t))
	eventually(t, "all is registered", func() bool { return c.Status().State == Registered })
	s.mu.Lock()
	p := s.portals["127.0.0.1:3261"]
	s.mu.Unlock()
	if p[ESIInterval] != 7 || p[ESIPort] == 0 || p[ESIPort] != p[SCNPort] {
		t.Fatalf("the portal is registered as %v", p)
	}
	ask := func(entity string) ([]byte, error) {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", p[ESIPort]))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		m := Message{Function: ESI, Flags: FromServer, Transaction: 3, Payload: AppendAttributes(nil,
			Attribute{Timestamp, make([]byte, 8)}, Text(EntityIdentifier, entity), Address(PortalAddress, netip.MustParseAddr("127.0.0.1")), Number(PortalPort, 3261))}
		if _, err := conn.Write(m.Append(nil)); err != nil {
			t.Fatal(err)
		}
		conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		reply, err := ReadMessage(conn)
		if err == nil && string(reply.Payload) != string(answer(Successful))+string(m.Payload) {
			err = fmt.Errorf("answered by %x", reply.Payload)
		}
		return reply.Payload, err
	}
	if _, err := ask("e"); err != nil {
		t.Error(err)
	}
	if !c.Status().Inquiry {
		t.Error("status does not know of the inquiry")
	}
	if reply, err := ask("another"); err == nil {
		t.Errorf("an inquiry for somebody else is answered by %x", reply)
	}
}

// What a server cannot do is left out.
func TestServersThatLackSomething_RFC4171_5_4(t *testing.T) {
	has := func(all []Attribute, tag Tag) bool {
		return slices.ContainsFunc(all, func(a Attribute) bool { return a.Tag == tag })
	}
	for _, c := range []struct {
		name   string
		refuse func(Message, []Attribute) Status
		want   string
	}{
		{"inquiries", func(m Message, all []Attribute) Status {
			if has(all, ESIPort) {
				return ESINotAvailable
			}
			return Successful
		}, hasTwo},
		{"portal groups", func(m Message, all []Attribute) Status {
			if has(all, GroupTag) {
				return RegistrationFeatureNotSupported
			}
			return Successful
		}, hasTwo[:strings.LastIndex(hasTwo, "map[")] + "map[]"},
		{"notices", func(m Message, all []Attribute) Status {
			if m.Function == SCNReg {
				return SCNRegistrationRejected
			}
			return Successful
		}, hasTwo},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := startServer(t)
			s.behave(func() { s.refuse = c.refuse })
			client, _ := start(t, s, Options{Inquiry: time.Minute})
			client.Register(two(t))
			eventually(t, "all else is registered", func() bool { return s.has() == c.want && client.Status().State == Registered })
		})
	}
}

// A portal that a server cannot ask is taken out by it; so it is not to ask any more.
func TestFirewallBeforeInquiries_RFC4171_5_6_5_13(t *testing.T) {
	s := startServer(t)
	s.behave(func() { s.period = 2 })
	c, told := start(t, s, Options{Inquiry: time.Second})
	c.Register(two(t))
	eventually(t, "all is registered", func() bool { return c.Status().State == Registered })
	time.Sleep(2500 * time.Millisecond) // it has tried more than twice by then
	s.mu.Lock()
	s.portals = map[string]map[Tag]uint32{}
	s.mu.Unlock()
	eventually(t, "the portals are registered again, without", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.portals) == 2 && s.portals["127.0.0.1:3260"][ESIPort] == 0 && s.portals["127.0.0.1:3260"][SCNPort] != 0
	})
	if told.count("firewall") != 1 {
		t.Errorf("told: %v", told.list)
	}
}

// hostile are servers that are wrong.
func hostile() map[string]func(net.Conn) {
	reply := func(conn net.Conn, change func(*Message)) {
		for {
			m, err := ReadMessage(conn)
			if err != nil {
				return
			}
			m.Function, m.Payload = m.Function.Response(), answer(Successful)
			change(&m)
			if _, err := conn.Write(m.Append(nil)); err != nil {
				return
			}
		}
	}
	flood := func(m Message) func(net.Conn) {
		return func(conn net.Conn) {
			go io.Copy(io.Discard, conn) // ends with conn
			for wire := m.Append(nil); ; {
				if _, err := conn.Write(wire); err != nil {
					return
				}
			}
		}
	}
	endless := Message{Function: DevAttrReg.Response(), Transaction: 1, Payload: make([]byte, maxPayload+4)}
	return map[string]func(net.Conn){
		"hangs":                     func(conn net.Conn) { io.Copy(io.Discard, conn) },
		"reads nothing":             func(conn net.Conn) { time.Sleep(2 * time.Second) },
		"closes":                    func(net.Conn) {},
		"closes after the request":  func(conn net.Conn) { ReadMessage(conn) },
		"says garbage":              func(conn net.Conn) { conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")); io.Copy(io.Discard, conn) },
		"counts transactions wrong": func(conn net.Conn) { reply(conn, func(m *Message) { m.Transaction++ }) },
		"answers another question":  func(conn net.Conn) { reply(conn, func(m *Message) { m.Function = SCN.Response() }) },
		"answers without a status":  func(conn net.Conn) { reply(conn, func(m *Message) { m.Payload = nil }) },
		"answers with half a tag":   func(conn net.Conn) { reply(conn, func(m *Message) { m.Payload = append(m.Payload, 0, 0, 0, 1) }) },
		"refuses":                   func(conn net.Conn) { reply(conn, func(m *Message) { m.Payload = answer(12) }) },
		"promises no time at all": func(conn net.Conn) {
			reply(conn, func(m *Message) { m.Payload = answer(0, Empty(Delimiter), Number(RegistrationPeriod, 0xffffffff)) })
		},
		"floods inquiries":           flood(Message{Function: ESI, Payload: AppendAttributes(nil, Attribute{Timestamp, make([]byte, 8)}, Text(EntityIdentifier, "e"))}),
		"floods notices":             flood(Message{Function: SCN, Payload: AppendAttributes(nil, Text(NodeName, alpha), Attribute{Timestamp, make([]byte, 8)}, Number(SCNBitmap, 0x10), Text(NodeName, beta))}),
		"floods answers":             flood(Message{Function: DevAttrReg.Response(), Transaction: 9, Payload: answer(Successful)}),
		"floods unknown functions":   flood(Message{Function: 0x7fff}),
		"answers without an end":     flood(Message{Function: endless.Function, Payload: make([]byte, maxMessage+4)}),
		"sends a header and no more": func(conn net.Conn) { conn.Write(endless.Append(nil)[:headerSize]); io.Copy(io.Discard, conn) },
	}
}

// However a server behaves, the client can be closed at once, is there again when the server
// is good again, and has kept neither memory nor goroutines.
func TestHostileServers(t *testing.T) {
	for name, serve := range hostile() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t)
			s.behave(func() { s.serve = serve })
			c, told := startAt(t, s, Options{}, hasty())
			c.Register(two(t))
			for tries := 0; tries < 3; { // connections
				before := tries
				eventually(t, "it comes again", func() bool {
					s.mu.Lock()
					defer s.mu.Unlock()
					tries = len(s.conns)
					return tries > before || c.Status().State == Registered
				})
				if c.Status().State == Registered { // it believes a server that says that all is done
					break
				}
			}
			if n := told.count("does not have"); n > 1 {
				t.Errorf("it is told %d times that the server is away", n)
			}
			s.behave(func() { s.serve = nil })
			eventually(t, "all is registered", func() bool { return s.has() == hasTwo })
		})
		t.Run(name+", at the end", func(t *testing.T) {
			t.Parallel()
			s := startServer(t)
			c, _ := startAt(t, s, Options{}, hasty())
			c.Register(two(t))
			eventually(t, "all is registered", func() bool { return c.Status().State == Registered })
			s.behave(func() { s.serve = serve })
			closed := make(chan struct{})
			go func() { c.Close(); close(closed) }()
			select {
			case <-closed:
			case <-time.After(time.Minute):
				t.Fatal("Close hangs")
			}
		})
	}
}

// Whoever connects to where notices are heard can neither keep the server out nor take memory.
func TestHearingIsBounded(t *testing.T) {
	s := startServer(t)
	c, _ := start(t, s, Options{})
	c.Register(two(t))
	eventually(t, "all is registered", func() bool { return c.Status().State == Registered })
	s.mu.Lock()
	at := fmt.Sprintf("127.0.0.1:%d", s.portals["127.0.0.1:3260"][SCNPort])
	s.mu.Unlock()
	var conns []net.Conn
	defer func() {
		for _, conn := range conns {
			conn.Close()
		}
	}()
	before := runtime.NumGoroutine()
	for range 200 {
		conn, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
		conn.Write([]byte{0, 1, 0, 8, 0xff, 0xfc}) // the beginning of a large message
	}
	last := conns[len(conns)-1]
	m := Message{Function: SCN, Payload: AppendAttributes(nil, Text(NodeName, alpha), Attribute{Timestamp, make([]byte, 8)})}
	conn, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.Write(m.Append(nil))
	conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	if reply, err := ReadMessage(conn); err != nil || reply.Function != SCN.Response() {
		t.Fatalf("a notice behind 200 strangers: %+v, %v", reply, err)
	}
	eventually(t, "the strangers are gone but for a few", func() bool { return runtime.NumGoroutine() <= before+maxHearings+4 })
	last.SetReadDeadline(time.Now().Add(20 * time.Second))
	last.Write([]byte("garbage that is no header"))
	if _, err := io.ReadAll(last); err != nil && strings.Contains(err.Error(), "timeout") {
		t.Error("who says garbage is kept")
	}
}
