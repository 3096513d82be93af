package guess

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// The memory of guesses is bounded, and keeps those who have guessed most.
func TestGuessesAreBounded(t *testing.T) {
	now := time.Now()
	g := &Guesses{Now: func() time.Time { return now }}
	here := netip.MustParseAddr("192.0.2.1")
	for range Free {
		g.Wrong(Of(here, "host"))
	}
	for i := range 4 * Most {
		now = now.Add(time.Millisecond)
		g.Wrong(Of(here, fmt.Sprint("user", i)))
		if i%Most == Most/2 { // who fills the memory with users that there are not does not get at it
			g.Wrong(Of(here, "host"))
			if g.Pause(Of(here, "host")) == 0 {
				t.Errorf("after %d others a guesser is forgotten", i)
			}
		}
	}
	if g.Len() > Most {
		t.Errorf("%d guessers are remembered, at most %d should be", g.Len(), Most)
	}
	now = now.Add(Kept + time.Second)
	g.Wrong(Of(netip.MustParseAddr("192.0.2.9"), "host"))
	if g.Len() != 1 {
		t.Errorf("%d guessers are remembered long after", g.Len())
	}
}
