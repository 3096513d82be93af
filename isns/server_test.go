package isns

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A fakeServer is an iSNS server that can be wrong on purpose. It knows one entity.
type fakeServer struct {
	t    *testing.T
	l    net.Listener
	runs sync.WaitGroup

	mu sync.Mutex
	// serve is what it does with a connection; nil: it is a good server.
	serve func(net.Conn)
	// refuse is the status of the answer to a request; nil: it does what it is asked for.
	refuse func(Message, []Attribute) Status
	// hide has it show nothing that it has.
	hide     bool
	period   uint32
	requests []Function
	lost     bool // something that was registered, of which the client does not know yet
	largest  int  // payload, in bytes
	entity   string
	nodes    map[string]string // with their aliases
	portals  map[string]map[Tag]uint32
	groups   map[string]string // "node portal" -> tag, "-": NULL
	conns    []net.Conn
}

func startServer(t *testing.T) *fakeServer {
	t.Helper()
	s := &fakeServer{t: t}
	s.forget()
	s.listen("127.0.0.1:0")
	t.Cleanup(s.stop)
	return s
}

func (s *fakeServer) listen(at string) {
	var l net.Listener
	eventually(s.t, "nobody else has its port", func() bool { // a connection may have been given it, while the server was away
		var err error
		if l, err = net.Listen("tcp", at); err != nil && !errors.Is(err, syscall.EADDRINUSE) {
			s.t.Fatal(err)
		}
		return err == nil
	})
	s.l = l
	s.runs.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns = append(s.conns, conn)
			serve := s.serve
			if serve == nil {
				serve = s.good
			}
			s.runs.Go(func() { defer conn.Close(); serve(conn) })
			s.mu.Unlock()
		}
	})
}

func (s *fakeServer) address() string { return s.l.Addr().String() }

// stop ends the server; what it has goes.
func (s *fakeServer) stop() {
	s.l.Close()
	s.mu.Lock()
	for _, c := range s.conns {
		c.Close()
	}
	s.conns = nil
	s.mu.Unlock()
	s.runs.Wait()
	s.forget()
}

// forget is the loss of all that was registered.
func (s *fakeServer) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entity, s.nodes, s.portals, s.groups = "", map[string]string{}, map[string]map[Tag]uint32{}, map[string]string{}
	s.lost = true
}

// lose is the loss of one node.
func (s *fakeServer) lose(node string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.nodes, node)
	s.lost = true
}

// count counts the requests of a function.
func (s *fakeServer) count(f Function) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.requests {
		if r == f {
			n++
		}
	}
	return n
}

// behave changes how it behaves, and ends the connections there are.
func (s *fakeServer) behave(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	for _, c := range s.conns {
		c.Close()
	}
	s.conns = nil
}

func (s *fakeServer) good(conn net.Conn) {
	for {
		m, err := ReadMessage(conn)
		if err != nil {
			return
		}
		if m.Function.IsResponse() {
			continue
		}
		all, err := ParseAttributes(m.Payload)
		if err != nil {
			s.t.Errorf("%v cannot be read: %v", m.Function, err)
			return
		}
		reply := Message{Function: m.Function.Response(), Flags: FromServer, Transaction: m.Transaction, Payload: s.handle(m, all)}
		if _, err := conn.Write(reply.Append(nil)); err != nil {
			return
		}
	}
}

func (s *fakeServer) handle(m Message, all []Attribute) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, m.Function)
	s.largest = max(s.largest, len(m.Payload))
	if s.refuse != nil {
		if status := s.refuse(m, all); status != Successful {
			return answer(status)
		}
	}
	i := slices.IndexFunc(all, func(a Attribute) bool { return a.Tag == Delimiter })
	if source, ok := all[0].Text(); i < 0 || !ok || all[0].Tag != NodeName {
		s.t.Errorf("%v by %q without a source or a delimiter", m.Function, source)
		return answer(MessageFormatError)
	} else if m.Function != DevAttrReg && m.Function != DevAttrQry && !s.lost && s.entity != "" && s.nodes[source] == "" {
		s.t.Errorf("%v by %q, which is not registered", m.Function, source)
	}
	key, operating := all[1:i], all[i+1:]
	switch m.Function {
	case DevAttrReg:
		if m.Flags&Replace != 0 {
			s.entity, s.nodes, s.portals, s.groups = "", map[string]string{}, map[string]map[Tag]uint32{}, map[string]string{}
		}
		s.register(operating)
		return answer(Successful, append(slices.Clone(key), Empty(Delimiter), Number(RegistrationPeriod, s.period))...)
	case DevAttrQry:
		return answer(Successful, append(append(slices.Clone(key), Empty(Delimiter)), s.query(key[0])...)...)
	case DevDereg:
		s.deregister(operating)
	}
	return answer(Successful, key...)
}

// register takes attributes in their order: a key begins an object.
func (s *fakeServer) register(operating []Attribute) {
	var node, portal string
	var at netip.Addr
	for _, a := range operating {
		text, _ := a.Text()
		n, _ := a.Number()
		switch a.Tag {
		case EntityIdentifier:
			s.entity = text
		case PortalAddress, GroupAddress:
			at, _ = a.Address()
		case PortalPort:
			portal = netip.AddrPortFrom(at, uint16(n)).String()
			s.portals[portal] = map[Tag]uint32{}
		case ESIInterval, ESIPort, SCNPort:
			s.portals[portal][a.Tag] = n
		case NodeName:
			node = text
			s.nodes[node] = "-"
		case NodeAlias:
			if text != "" {
				s.nodes[node] = text
			}
		case GroupNode:
			node = text
		case GroupPort:
			portal = netip.AddrPortFrom(at, uint16(n)).String()
		case GroupTag:
			s.groups[node+" "+portal] = "-"
			if len(a.Value) > 0 {
				s.groups[node+" "+portal] = fmt.Sprint(n)
			}
		}
	}
}

func (s *fakeServer) query(key Attribute) (found []Attribute) {
	if s.hide {
		return nil
	}
	name, _ := key.Text()
	switch {
	case key.Tag == EntityIdentifier && name == s.entity:
		found = append(found, key)
		for _, p := range slices.Sorted(maps.Keys(s.portals)) {
			at := netip.MustParseAddrPort(p)
			found = append(found, Address(PortalAddress, at.Addr()), Number(PortalPort, uint32(at.Port())))
		}
	case key.Tag == NodeName && s.nodes[name] != "":
		found = append(found, key)
	}
	return found
}

func (s *fakeServer) deregister(operating []Attribute) {
	var at netip.Addr
	for _, a := range operating {
		text, _ := a.Text()
		n, _ := a.Number()
		switch a.Tag {
		case EntityIdentifier:
			if text == s.entity {
				s.entity, s.nodes, s.portals, s.groups = "", map[string]string{}, map[string]map[Tag]uint32{}, map[string]string{}
			}
		case NodeName:
			delete(s.nodes, text)
			maps.DeleteFunc(s.groups, func(k, _ string) bool { return k[:min(len(text)+1, len(k))] == text+" " })
		case PortalAddress:
			at, _ = a.Address()
		case PortalPort:
			p := netip.AddrPortFrom(at, uint16(n)).String()
			delete(s.portals, p)
			maps.DeleteFunc(s.groups, func(k, _ string) bool { return k[max(0, len(k)-len(p)-1):] == " "+p })
		}
	}
}

// has is what the server has, in words.
func (s *fakeServer) has() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprint(s.entity, " ", s.nodes, " ", slices.Sorted(maps.Keys(s.portals)), " ", s.groups)
}

// eventually waits until what is true.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not after two minutes: %s", what)
		}
	}
}
