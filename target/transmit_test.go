package target

import (
	"testing"

	"github.com/isantarget/isantarget/iscsi"
)

// A peer that sends long pings and reads nothing is not read any more once a
// bounded amount of echoes waits for it.
func TestDeafPeerIsNotRead(t *testing.T) {
	r := newRig(t, 1<<20)
	var c *Connection
	r.entity.mu.Lock()
	for c = range r.entity.connections {
	}
	r.entity.mu.Unlock()
	const size = 128 << 10
	p := iscsi.NopOut{Immediate: true, InitiatorTaskTag: 7, TargetTransferTag: iscsi.ReservedTag, CmdSN: r.cmdSN}
	var h iscsi.BHS
	p.Marshal(&h)
	h.SetDataSegmentLength(size)
	pdu := append(h[:], make([]byte, size)...)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for range 1000 {
			if _, err := r.conn.Write(pdu); err != nil {
				return // the end of the test
			}
		}
	}()
	// The socket buffers fill, and then the queue.
	for waiting := false; !waiting; {
		c.transmit.mu.Lock()
		waiting = c.transmit.full()
		if c.transmit.bytes > maxQueuedBytes+size {
			t.Errorf("%d bytes of echoes wait, the bound is %d", c.transmit.bytes, maxQueuedBytes)
		}
		c.transmit.mu.Unlock()
	}
	select {
	case <-sent:
		t.Error("128 MiB of pings were taken from a peer that reads nothing")
	default:
	}
	r.conn.Close()
	<-sent
}
