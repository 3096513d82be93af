package guess

import (
	"net/netip"
	"sync"
	"time"
)

// Who answers wrongly may be guessing. From one place, for one user, the first few
// wrong answers cost nothing, for people mistype; after that there is a pause before the
// next one is looked at, twice as long each time. Other places are not slowed, so nobody
// can keep a user out by guessing for it elsewhere.
const (
	Free         = 8 // wrong answers that cost nothing
	firstPause   = time.Second
	LongestPause = 30 * time.Second
	Kept         = 10 * time.Minute // after which a wrong answer is forgotten
	Most         = 1024             // places and users that are remembered
)

// A Guesser is a place and a user that it says to be.
type Guesser struct {
	from netip.Prefix // the address, or the network that one host can have (IPv6)
	user string
}

// Of is who answers as user from an address. The user may be empty.
func Of(from netip.Addr, user string) Guesser {
	bits := from.BitLen()
	if from.Is6() {
		bits = 64
	}
	p, _ := from.Prefix(bits) // an address that is none has none, and is a place of its own
	return Guesser{p, user}
}

// A guessing is what is known of one guesser.
type guessing struct {
	wrong int
	last  time.Time
	until time.Time // answers are not looked at before
}

// Guesses is the memory of wrong answers. Its zero value remembers none. Its methods may
// be called at once from many goroutines.
type Guesses struct {
	Now func() time.Time // nil: time.Now

	mu sync.Mutex
	of map[Guesser]*guessing

	wrong uint64
}

// Count is how many wrong answers there were.
func (g *Guesses) Count() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.wrong
}

func (g *Guesses) clock() time.Time {
	if g.Now != nil {
		return g.Now()
	}
	return time.Now()
}

// Len is how many guessers are remembered.
func (g *Guesses) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.of)
}

// Pause is how long an answer of who is not to be looked at yet; 0: it is.
func (g *Guesses) Pause(who Guesser) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	x := g.of[who]
	if x == nil {
		return 0
	}
	return max(x.until.Sub(g.clock()), 0)
}

// Wrong notes a wrong answer.
func (g *Guesses) Wrong(who Guesser) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.wrong++
	now := g.clock()
	x := g.of[who]
	if x == nil || now.Sub(x.last) > Kept {
		x = &guessing{}
		if g.of == nil {
			g.of = map[Guesser]*guessing{}
		}
		if len(g.of) >= Most && g.of[who] == nil {
			g.forgetOne(now)
		}
		g.of[who] = x
	}
	x.wrong++
	x.last = now
	if over := x.wrong - Free; over >= 0 {
		x.until = now.Add(min(firstPause<<min(over, 10), LongestPause))
	}
}

// Right forgets the wrong answers of who.
func (g *Guesses) Right(who Guesser) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.of, who)
}

// forgetOne makes room: what is old goes, and in any case who has guessed least, the oldest
// of these. So nobody has his guesses forgotten by guessing once for many users that there
// are not. g.mu is held.
func (g *Guesses) forgetOne(now time.Time) {
	var least Guesser
	var found *guessing
	for who, x := range g.of {
		if now.Sub(x.last) > Kept {
			delete(g.of, who)
			continue
		}
		if found == nil || x.wrong < found.wrong || x.wrong == found.wrong && x.last.Before(found.last) {
			least, found = who, x
		}
	}
	if len(g.of) >= Most {
		delete(g.of, least)
	}
}
