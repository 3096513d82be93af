package target

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/iscsi"
)

// fill fills the way from c to its peer, who does not read.
func (c *Connection) fill(t *testing.T) {
	t.Helper()
	for full := 0; full < 20; {
		err := c.raw.Control(func(fd uintptr) {
			n, err := unix.Write(int(fd), make([]byte, 1<<16))
			if full++; err == nil && n > 0 {
				full = 0
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if full > 0 {
			time.Sleep(time.Millisecond)
		}
	}
}

// A peer that takes nothing, not even R2T, does not hold up who fences it.
func TestResetOfDeafPeer_RFC7143_11_5_1(t *testing.T) {
	r := newRig(t, 1<<20)
	deaf := r.connection(t)
	other := r.another(t, func(p *iscsi.LoginRequest) { p.ISID[1] = 2 })
	if s := other.loginStatus(t); s != iscsi.LoginSuccess {
		t.Fatal(s)
	}
	deaf.fill(t)
	var h iscsi.BHS
	r.command(t, &h, 0x2a, 0, 8, []byte{})
	for !deaf.session.stillWaitsForData(deaf) {
		time.Sleep(time.Millisecond)
	}
	p := iscsi.TaskManagementRequest{Immediate: true, Function: iscsi.LogicalUnitReset, InitiatorTaskTag: 9, ReferencedTaskTag: iscsi.ReservedTag, CmdSN: other.cmdSN}
	p.Marshal(&h)
	h.SetDataSegmentLength(0)
	if _, err := other.conn.Write(h[:]); err != nil {
		t.Fatal(err)
	}
	var answer iscsi.TaskManagementResponse
	if err := answer.Unmarshal(other.receive(t)); err != nil || answer.Response != iscsi.FunctionComplete {
		t.Fatalf("LOGICAL UNIT RESET beside a peer that does not read: %v, %v", answer.Response, err)
	}
	r.conn.Close()
}
