package provision

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/isantarget/isantarget/configs"
)

// inherited is a socket as systemd hands it over, and a way to look whether it is still open in systemd's hands.
func inherited(t *testing.T, network, address string) (*net.TCPListener, *os.File) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(); kept.Close() })
	return l.(*net.TCPListener), kept
}

// refused tells whether whoever connects is sent away before some time has gone by.
func refused(t *testing.T, address string, bound time.Duration) bool {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatalf("the socket is not open: %v", err)
	}
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(bound))
	_, err = conn.Read(make([]byte, 1))
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

// answers fails unless whoever accepts on l meets who connects.
func answers(t *testing.T, l net.Listener, address string) {
	t.Helper()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(conn, "x")
			conn.Close()
		}
	}()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Fatalf("nobody answers: %v", err)
	}
}

// A socket is lent to a portal, comes back from it, is refused meanwhile, and stays open.
func TestSocketsAreLent(t *testing.T) {
	one, _ := inherited(t, "tcp", "127.0.0.1:0")
	address := one.Addr().String()
	s := newSockets([]*net.TCPListener{one})
	for range 3 {
		l := s.take(configs.Portal(address))
		if l == nil {
			t.Fatal("the portal does not get the socket of its address")
		}
		if s.take(configs.Portal(address)) != nil {
			t.Fatal("two portals have one socket")
		}
		answers(t, l, address)
		if left := s.refuse(); len(left) != 0 {
			t.Fatalf("%v is refused, but a portal has it", left)
		}
		l.Close()
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Fatalf("after Close, Accept says %v", err)
		}
		if left := s.refuse(); len(left) != 1 || !refused(t, address, 20*time.Second) {
			t.Fatalf("nobody has the socket and nobody refuses; left: %v", left)
		}
	}
	s.release()
	if refused(t, address, 200*time.Millisecond) { // it waits for the next process
		t.Fatal("a connection is refused at the end of the process")
	}
}

// Only the socket that a portal would have bound is taken for it.
func TestSocketsAreEqual(t *testing.T) {
	dual, _ := inherited(t, "tcp", ":0")
	four, _ := inherited(t, "tcp4", "0.0.0.0:0")
	local, _ := inherited(t, "tcp", "127.0.0.1:0")
	six, _ := inherited(t, "tcp6", "[::]:0")
	s := newSockets([]*net.TCPListener{dual, four, local, six})
	port := func(l *net.TCPListener) string {
		_, p, _ := net.SplitHostPort(l.Addr().String())
		return p
	}
	for address, want := range map[string]bool{
		":" + port(dual): true, "0.0.0.0:" + port(dual): false, "[::]:" + port(dual): false, "127.0.0.1:" + port(dual): false,
		"0.0.0.0:" + port(four): true, ":" + port(four): false,
		"127.0.0.1:" + port(local): true, "127.0.0.2:" + port(local): false,
		"[::]:" + port(six): true, ":" + port(six): false,
	} {
		l := s.take(configs.Portal(address))
		if (l != nil) != want {
			t.Errorf("a portal on %s gets a socket: %v", address, l != nil)
		}
		if l != nil {
			l.Close()
		}
	}
}
