package protocol_test

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/test/daemon"
)

// Who connects and does not log in is sent away after a while, however slowly he
// speaks; who has logged in does not notice (6.3).
func TestSilentLogin_RFC7143_6_3(t *testing.T) {
	t.Parallel() // it waits
	d := serve(t, "[limits]\nlogin-timeout = \"8s\"\n"+standard)
	bystander(t, d)
	silent, half, slow := dial(t, d), dial(t, d), dial(t, d)
	if err := half.SendBytes(loginRequest()[:20]); err != nil {
		t.Fatal(err)
	}
	wire := loginRequest()
	for sent := 0; ; sent++ { // a byte every 200 ms: 48 of them take longer than the login may
		if err := slow.SendBytes(wire[sent%len(wire) : sent%len(wire)+1]); err != nil {
			break
		}
		if sent > 300 {
			t.Fatal("a login of a byte every 200 ms goes on for ever")
		}
		time.Sleep(200 * time.Millisecond)
	}
	silent.closed()
	half.closed()
	slow.closed()
}

// Hundreds of connections that say nothing keep nobody out: not who has a session, and
// not who comes to log in.
func TestHalfOpenLogins(t *testing.T) {
	d := serve(t, "[limits]\nconnections = 50\n"+standard)
	bystander(t, d)
	for range 400 {
		c, err := net.Dial("tcp", d.Address())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	for range 20 {
		ready(t, d, normal(nil)).alive()
	}
}

// A peer that stops in the middle of a PDU stops only himself.
func TestSilentInPDU(t *testing.T) {
	d := serve(t, standard)
	p := ready(t, d, offer("InitialR2T=No", "MaxConnections=2"))
	other := ready(t, d, normal(func(l *initiator.Login) { l.InitiatorName = bob }))
	w := initiator.PDU{Data: fill('x', 8)}
	h := iscsi.SCSICommand{Final: true, Write: true, Attribute: iscsi.AttributeSimple, InitiatorTaskTag: 9, Length: 8 * blockSize, CmdSN: p.Session.CmdSN}
	copy(h.CDB[:], write10(0, 8))
	h.Marshal(&w.BHS)
	wire := w.Encode(p.Digests, 0)
	if err := p.SendBytes(wire[:len(wire)-100]); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		other.alive()
	}
	other.wantBlock(0, 0)
	if err := p.SendBytes(wire[len(wire)-100:]); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(within); other.block(0)[0] != 'x'; {
		if time.Now().After(end) {
			t.Fatal("the write was not done once it was whole")
		}
	}
}

// A peer that asks for more than he reads fills his own socket and his own memory,
// and nobody else's: others read, write and log in beside him.
func TestPeerThatDoesNotRead(t *testing.T) {
	t.Parallel() // it waits
	d := serve(t, "[limits]\nmemory = \"32MiB\"\nnop-interval = \"1s\"\nnop-timeout = \"10s\"\n"+standard)
	var deaf []*peer
	for range 8 {
		c, err := initiator.Dial(d.Address(), initiator.Options{ReadBuffer: 4096})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		p := &peer{c, t}
		if err := p.Login(offer("MaxRecvDataSegmentLength=65536")); err != nil {
			t.Fatal(err)
		}
		p.settle()
		for range 100 {
			p.start(initiator.Command{CDB: read10(0, 2048), Read: 2048 * blockSize, IgnoreWindow: true})
		}
		deaf = append(deaf, p)
	}
	other := ready(t, d, normal(func(l *initiator.Login) { l.InitiatorName = bob }))
	data := noise(4, 256)
	for i := range 40 {
		other.good(write(uint32(i*256), data))
		other.good(initiator.Command{CDB: read10(uint32(i*256), 256), Read: len(data)})
	}
	if rss := residentBytes(t, d); rss > 256<<20 {
		t.Errorf("the daemon takes %d MiB, 32 MiB are allowed for data and 80 MiB of disks are in memory", rss>>20)
	}
	left := make(chan error, len(deaf))
	for _, p := range deaf { // they do not answer pings either, and are dropped
		go func() { left <- p.WaitClosed() }()
	}
	for range deaf {
		for ended := false; !ended; {
			select {
			case err := <-left:
				if err != nil {
					t.Error(err)
				}
				ended = true
			case <-time.After(100 * time.Millisecond):
				other.alive()
			}
		}
	}
	other.alive()
}

// A peer that never sends the data he announced holds up nobody else, and not his own
// pings and aborts (11.8).
func TestPeerThatDoesNotAnswerR2T(t *testing.T) {
	d := serve(t, "[limits]\nmemory = \"32MiB\"\n"+standard)
	other := ready(t, d, normal(func(l *initiator.Login) { l.InitiatorName = bob }))
	p := ready(t, d, offer("ImmediateData=No", "MaxBurstLength=1048576"))
	var held []*initiator.Task
	for i := range uint32(64) {
		w := write(i*1000, make([]byte, 1<<20))
		w.HoldData = true
		held = append(held, p.start(w))
	}
	data := noise(5, 256)
	for i := range 40 {
		other.good(write(uint32(i*256), data))
		if i%8 == 0 {
			p.alivePing()
		}
	}
	for _, task := range held {
		if status, err := p.Abort(task); err != nil || status != iscsi.FunctionComplete {
			t.Fatalf("ABORT TASK: %v, %v", status, err)
		}
		task.Forget()
	}
	p.alive()
	p.good(write(0, data))
}

// alivePing is a ping alone.
func (p *peer) alivePing() {
	p.t.Helper()
	if _, err := p.Ping(nil, true); err != nil {
		p.t.Fatal(err)
	}
}

// residentBytes is what the daemon holds in memory.
func residentBytes(t *testing.T, d *daemon.Daemon) (n int64) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.PID()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &n); err == nil {
			return n << 10
		}
	}
	t.Fatalf("no VmRSS in %q", text)
	return 0
}
