package target

import (
	"testing"
	"time"

	"github.com/isantarget/isantarget/iscsi"
)

// A peer that goes on talking and takes nothing is no better than a dead one: it keeps
// the memory of what waits for it.
func TestTalkingPeerThatTakesNothing(t *testing.T) {
	r := newRig(t, 1<<20)
	c := r.connection(t)
	var k keepAlive
	look := func() error {
		c.received.Add(1)
		_, _, err := k.look(c)
		return err
	}
	c.settle()
	for range 10 * stuckLooks {
		if err := look(); err != nil {
			t.Fatalf("of a peer for whom nothing waits: %v", err)
		}
	}
	for {
		if stalled, _ := c.transmit.stalled(); stalled {
			break
		}
		c.fill(t)
		c.sendPing()
	}
	k.period = c.entity.limits.NopInterval
	for range 10 * stuckLooks { // one that takes much is slow, not stuck
		c.sent.Add(1 << 20)
		if err := look(); err != nil {
			t.Fatalf("of a peer that takes something: %v", err)
		}
	}
	for range stuckLooks + 1 {
		c.sent.Add(100) // a little now and then does not help it
		if err := look(); err != nil {
			if err != errStalledPeer {
				t.Fatal(err)
			}
			return
		}
	}
	t.Error("nobody notices a peer that takes nothing")
}

// settle waits until nothing is being written: who has written the last answer may not
// have put the pen down yet.
func (c *Connection) settle() {
	for {
		if stalled, _ := c.transmit.stalled(); !stalled {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// A peer that sends the data of a command by the byte does not keep its memory either.
func TestPeerThatTricklesData(t *testing.T) {
	r := newRig(t, 1<<20)
	c := r.connection(t)
	k := keepAlive{period: c.entity.limits.NopInterval}
	look := func(bytes uint64) error {
		c.received.Add(1)
		c.arrived.Add(bytes)
		_, _, err := k.look(c)
		return err
	}
	var h iscsi.BHS
	p := iscsi.SCSICommand{Final: true, Write: true, Attribute: iscsi.AttributeSimple, InitiatorTaskTag: r.cmdSN, Length: 4096, CmdSN: r.cmdSN}
	p.CDB[0], p.CDB[8] = 0x2a, 8
	p.Marshal(&h)
	if _, err := r.conn.Write(h[:]); err != nil {
		t.Fatal(err)
	}
	if o := r.receive(t).Opcode(); o != iscsi.OpR2T {
		t.Fatalf("%v where an R2T was due", o)
	}
	c.settle()
	looks := int(dataOutTimeout/c.entity.limits.NopInterval) + 1
	for range 10 * looks { // of a peer with a slow line, or one that works at other commands
		if err := look(1 << 20); err != nil {
			t.Fatalf("of a peer that sends data: %v", err)
		}
	}
	for i := range looks {
		if err := look(100); err != nil {
			if err != errNoDataOut || i < looks-2 {
				t.Fatalf("look %d: %v", i, err)
			}
			return
		}
	}
	t.Error("nobody notices a peer that sends next to nothing")
}
