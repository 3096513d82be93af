package target

import "testing"

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
	for range 10 * stuckLooks {
		if err := look(); err != nil {
			t.Fatalf("of a peer for whom nothing waits: %v", err)
		}
	}
	for !c.transmit.stalled() {
		c.fill(t)
		c.sendPing()
	}
	for range stuckLooks + 1 {
		if err := look(); err != nil {
			if err != errStalledPeer {
				t.Fatal(err)
			}
			return
		}
	}
	t.Error("nobody notices a peer that takes nothing")
}
