package hostile

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
)

// Thousands of connections that say nothing, or half of a login, fill neither the table of
// connections nor memory; who has something to say gets in all the while.
func TestHalfOpenLogins(t *testing.T) {
	r := start(t)
	whole := loginRequest(false, iscsi.AppendText(nil, key("InitiatorName", alice), key("TargetName", node)))
	for i := range 3000 {
		c := r.dial()
		if _, err := c.Write(whole[:i%len(whole)]); err != nil && i == 0 {
			t.Fatal(err)
		}
		if i%500 == 499 {
			r.login(alice).Close()
			r.goesOn(5)
		}
	}
	r.bounded()
	r.goesOn(20)
}

// Peers that speak by the byte, in every phase, cost what a connection costs.
func TestSpeakByTheByte(t *testing.T) {
	r := startPatient(t, patient)
	var slow []net.Conn
	var wires [][]byte
	for range 40 {
		slow = append(slow, r.dial())
		wires = append(wires, loginRequest(false, iscsi.AppendText(nil, key("InitiatorName", alice), key("TargetName", node), key("MaxRecvDataSegmentLength", "512"))))
	}
	for i := range wires[0] {
		for n, c := range slow {
			if _, err := c.Write(wires[n][i : i+1]); err != nil {
				t.Fatalf("byte %d: %v", i, err)
			}
		}
	}
	// They are in the full feature phase. A WRITE of 256 KiB whose data comes by the byte.
	h := header(&iscsi.SCSICommand{Final: true, Write: true, Attribute: iscsi.AttributeSimple, InitiatorTaskTag: 7, Length: 256 << 10, CmdSN: 1}, cdb10(0x2a, 16<<10, 512))
	h.SetDataSegmentLength(64 << 10)
	for i := range len(h) + 500 {
		b := byte('x')
		if i < len(h) {
			b = h[i]
		}
		for _, c := range slow {
			if _, err := c.Write([]byte{b}); err != nil {
				t.Fatalf("byte %d of the command: %v", i, err)
			}
		}
	}
	r.bounded()
	r.goesOn(50)
}

// Garbage in place of PDUs ends the connection that sends it, and nothing else.
func TestGarbage(t *testing.T) {
	r := start(t)
	random := rand.NewChaCha8([32]byte{1})
	var logins, sessions []net.Conn
	noise := make([]byte, 256<<10)
	for i := range 100 {
		_, _ = random.Read(noise) // never fails
		c := r.dial()
		if i%2 == 0 {
			logins = append(logins, c)
		} else {
			sessions = append(sessions, c)
			if _, err := c.Write(loginRequest(false, iscsi.AppendText(nil, key("InitiatorName", alice), key("TargetName", node)))); err != nil {
				t.Fatal(err)
			}
			// Opcodes that exist, with everything else random.
			for at := 0; at < len(noise); at += 48 {
				noise[at] = []byte{0x00, 0x01, 0x02, 0x04, 0x05, 0x06, 0x10, 0x3f, 0x40, 0x41, 0x42}[i/2%11]
				noise[at+4] = 0
			}
		}
		wire := bytes.Clone(noise)
		go func() {
			_, _ = c.Write(wire) // it is cut short by the end of the connection
			_ = c.(*net.TCPConn).CloseWrite()
		}()
		if i%20 == 19 {
			r.goesOn(2)
		}
	}
	for _, c := range append(logins, sessions...) {
		ends(t, c)
	}
	r.bounded()
	r.goesOn(20)
}

// Sessions that ask for all the memory there is, by WRITEs whose R2Ts they never answer
// and by READs whose data they never take, hold up themselves.
func TestHoarders(t *testing.T) {
	r := start(t)
	const hoarders, window = 12, 128
	for i := range hoarders {
		c := r.login(fmt.Sprint(alice, i), key("MaxRecvDataSegmentLength", "512"), key("InitialR2T", "Yes"), key("MaxBurstLength", "16776192"))
		for n := range window - 1 {
			cmd := initiator.Command{CDB: cdb10(0x28, 0, 8192), Read: 4 << 20}
			if n%2 == 0 {
				cmd = initiator.Command{CDB: cdb10(0x2a, 16<<10, 8192), Write: hoard, ImmediateData: new(int)}
			}
			if n%16 == 0 {
				cmd.Attribute = iscsi.AttributeOrdered // and would hold up the others by their order
			}
			if _, err := c.Start(cmd); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.goesOn(50)
	r.bounded()
	other := r.login(bob + "2")
	if got, err := execute(other, initiator.Command{CDB: cdb10(0x28, 0, 128), Read: 64 << 10}); err != nil || got.Status != 0 {
		t.Errorf("a session that comes later: %v, %v", got, err)
	}
}

// hoard is what a WRITE of 4 MiB promises. It is never sent.
var hoard = make([]byte, 4<<20)

// Each end of the range of MaxRecvDataSegmentLength works, and what is beyond is refused.
func TestSegmentLengths_RFC7143_13_12(t *testing.T) {
	r := start(t)
	for _, length := range []string{"512", "16777215"} {
		c := r.login(alice, key("MaxRecvDataSegmentLength", length))
		data := bytes.Repeat([]byte(length[:1]+"-a block of its own"), 1<<20)[:2<<20]
		for _, cmd := range []initiator.Command{{CDB: cdb10(0x2a, 16<<10, 4096), Write: data}, {CDB: cdb10(0x28, 16<<10, 4096), Read: len(data)}} {
			got, err := execute(c, cmd)
			if err != nil || got.Status != 0 || cmd.Read > 0 && !bytes.Equal(got.Data, data) {
				t.Fatalf("MaxRecvDataSegmentLength=%s: %x: %v", length, cmd.CDB, err)
			}
		}
		c.Close()
	}
	for _, length := range []string{"0", "511", "16777216", "4294967296", "-1", "0x", strings.Repeat("9", 8000)} {
		c := r.dial()
		if _, err := c.Write(loginRequest(false, iscsi.AppendText(nil, key("InitiatorName", alice), key("TargetName", node), key("MaxRecvDataSegmentLength", length)))); err != nil {
			t.Fatal(err)
		}
		var answer iscsi.LoginResponse
		var h iscsi.BHS
		c.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.ReadFull(c, h[:]); err != nil {
			t.Fatalf("%.20s: %v", length, err)
		}
		if err := answer.Unmarshal(&h); err != nil || answer.Status == iscsi.LoginSuccess {
			t.Errorf("MaxRecvDataSegmentLength=%.20s: %v, %v", length, answer.Status, err)
		}
		ends(t, c)
	}
	r.goesOn(10)
	r.bounded()
}

// Text without end, in the login and in the full feature phase: names that are too long,
// keys that are too many, values that are never complete.
func TestGiantText_RFC7143_6_1(t *testing.T) {
	r := start(t)
	long := strings.Repeat("k", 8000)
	for name, text := range map[string]string{
		"a key":            long + "=x\x00",
		"a value":          "InitiatorName=" + long + "\x00",
		"a key of a value": "InitiatorName=" + alice + "\x00TargetName=" + node + "\x00X-" + long[:500] + "=" + long[:6000] + "\x00",
		"many keys":        strings.Repeat("X-a=b\x00", 1300),
		"nothing but NUL":  strings.Repeat("\x00", 8000),
		"no end":           long,
	} {
		c := r.dial()
		if _, err := c.Write(loginRequest(false, []byte(text))); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_ = c.(*net.TCPConn).CloseWrite()
		ends(t, c)
	}
	// A login whose text goes on and on.
	for range 20 {
		c := r.dial()
		go func() {
			for {
				if _, err := c.Write(loginRequest(true, []byte(long))); err != nil {
					return
				}
			}
		}()
		ends(t, c)
	}
	// Text requests whose text goes on and on are ended, each with its own.
	for i := range 20 {
		c := r.login(fmt.Sprint(alice, i))
		ttt := uint32(iscsi.ReservedTag)
		refused := false
		for n := range 100 {
			var h iscsi.BHS
			p := iscsi.TextRequest{Immediate: true, Continue: true, InitiatorTaskTag: 99, TargetTransferTag: ttt, CmdSN: c.Session.CmdSN}
			p.Marshal(&h)
			if err := c.Send(&initiator.PDU{BHS: h, Data: []byte(long)}, 0); err != nil {
				t.Fatal(err)
			}
			answer, err := c.Receive()
			if err != nil {
				t.Fatalf("request %d: %v", n, err)
			}
			if answer.BHS.Opcode() != iscsi.OpTextResponse {
				refused = true
				break
			}
			var text iscsi.TextResponse
			if err := text.Unmarshal(&answer.BHS); err != nil {
				t.Fatal(err)
			}
			ttt = text.TargetTransferTag
		}
		if !refused {
			t.Error("a text of 800 kB is taken")
		}
	}
	r.bounded()
	r.goesOn(20)
}

// Additional headers of every length and kind: what is wrong ends the session that sends
// it, and what is unknown is nobody's business.
func TestAdditionalHeaders_RFC7143_11_2_2(t *testing.T) {
	r := start(t)
	for i := range 120 {
		c := r.login(fmt.Sprint(alice, i%10))
		ahs := bytes.Repeat([]byte{byte(i), byte(i * 7), byte(i * 13), byte(i * 31)}, 255)[:4*(1+i*2%255)]
		if i%3 == 0 {
			clear(ahs) // entries without length, and without end
		}
		h := header(&iscsi.SCSICommand{Final: true, Read: true, Attribute: iscsi.AttributeSimple, InitiatorTaskTag: 5, Length: 512, CmdSN: c.Session.CmdSN}, cdb10(0x28, 0, 1))
		h[4] = byte(len(ahs) / 4)
		if err := c.SendBytes(append(h[:], ahs...)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Receive(); err != nil && !initiator.IsClosed(err) {
			t.Errorf("%d bytes of additional headers: %v", len(ahs), err)
		}
		c.Close()
	}
	r.bounded()
	r.goesOn(20)
}

// header is the header of a command.
func header(p *iscsi.SCSICommand, cdb []byte) iscsi.BHS {
	var h iscsi.BHS
	copy(p.CDB[:], cdb)
	p.Marshal(&h)
	return h
}

// Thousands of functions, pings, logouts of others and commands, of peers that read none
// of the answers.
func TestFloods(t *testing.T) {
	r := start(t)
	goroutines := runtime.NumGoroutine()
	ping := make([]byte, 48+(64<<10))
	for i := range 40 {
		c := r.dial()
		if _, err := c.Write(loginRequest(false, iscsi.AppendText(nil, key("InitiatorName", fmt.Sprint(alice, i)), key("TargetName", node), key("MaxRecvDataSegmentLength", "262144")))); err != nil {
			t.Fatal(err)
		}
		var h iscsi.BHS
		flood := func() []byte {
			switch i % 4 {
			case 0:
				// Those that harm nobody else: a reset is no attack, for who is aborted tries again.
				functions := []iscsi.TaskManagementFunction{iscsi.AbortTask, iscsi.AbortTaskSet, iscsi.QueryTaskSet}
				p := iscsi.TaskManagementRequest{Immediate: true, Function: functions[i/4%3], InitiatorTaskTag: 3, ReferencedTaskTag: iscsi.ReservedTag, CmdSN: 1}
				p.Marshal(&h)
				return h[:]
			case 1:
				p := iscsi.NopOut{Immediate: true, InitiatorTaskTag: 4, TargetTransferTag: iscsi.ReservedTag, CmdSN: 1}
				p.Marshal(&h)
				h.SetDataSegmentLength(64 << 10)
				copy(ping, h[:])
				return ping
			case 2:
				p := iscsi.LogoutRequest{Immediate: true, Reason: iscsi.CloseConnection, CID: 77, InitiatorTaskTag: 5, CmdSN: 1}
				p.Marshal(&h)
				return h[:]
			}
			p := iscsi.SCSICommand{Immediate: true, Final: true, Read: true, Attribute: iscsi.AttributeHeadOfQueue, InitiatorTaskTag: 6, Length: 1 << 20, CmdSN: 1}
			h = header(&p, cdb10(0x28, 0, 2048))
			return h[:]
		}
		for range 3000 {
			c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)) // it takes no more: as it should
			if _, err := c.Write(flood()); err != nil {
				break
			}
		}
	}
	r.bounded()
	// A reader, a writer, and what is immediate, for each connection.
	if n := runtime.NumGoroutine() - goroutines; n > 40*(2+2*16) {
		t.Errorf("%d goroutines more than before", n)
	}
	r.goesOn(50)
}

// More connections and sessions than are allowed: the ones that are there stay, the others
// hear that it is too much.
func TestTooManySessions(t *testing.T) {
	r := startPatient(t, patient)
	in, refused := 0, 0
	for i := range connections + 100 {
		c, err := initiator.Dial(r.address, initiator.Options{Timeout: patience})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if err := c.Login(initiator.Login{InitiatorName: fmt.Sprint(alice, i/90), TargetName: node, SessionType: "Normal", ISID: initiator.RandomISID()}); err != nil {
			refused++
			continue
		}
		in++
	}
	if in != connections-1 || refused != 101 {
		t.Errorf("%d sessions beside the bystander's, %d refused; %d connections are allowed", in, refused, connections)
	}
	r.bounded()
	r.goesOn(20)
}
