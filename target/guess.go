package target

import (
	"net/netip"
	"sync"
	"time"
)

// Who answers CHAP wrongly may be guessing. From one place, for one user, the first few
// wrong answers cost nothing, for people mistype; after that there is a pause before the
// next one is looked at, twice as long each time. Other places are not slowed, so nobody
// can keep a user out by guessing for it elsewhere.
const (
	freeGuesses  = 8
	firstPause   = time.Second
	longestPause = 30 * time.Second
	guessMemory  = 10 * time.Minute // after which a wrong answer is forgotten
	maxGuessers  = 1024             // places and users that are remembered
)

// A guesser is a place and a user that it says to be.
type guesser struct {
	from netip.Prefix // the address, or the network that one host can have (IPv6)
	user string
}

func guesserOf(from netip.Addr, user string) guesser {
	bits := from.BitLen()
	if from.Is6() {
		bits = 64
	}
	p, _ := from.Prefix(bits) // an address that is none has none, and is a place of its own
	return guesser{p, user}
}

// A guessing is what is known of one guesser.
type guessing struct {
	wrong int
	last  time.Time
	until time.Time // answers are not looked at before
}

// guesses is the memory of wrong answers.
type guesses struct {
	now func() time.Time // nil: time.Now

	mu sync.Mutex
	of map[guesser]*guessing
}

func (g *guesses) clock() time.Time {
	if g.now != nil {
		return g.now()
	}
	return time.Now()
}

// pause is how long an answer of who is not to be looked at yet; 0: it is.
func (g *guesses) pause(who guesser) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	x := g.of[who]
	if x == nil {
		return 0
	}
	return max(x.until.Sub(g.clock()), 0)
}

// wrong notes a wrong answer.
func (g *guesses) wrong(who guesser) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.clock()
	x := g.of[who]
	if x == nil || now.Sub(x.last) > guessMemory {
		x = &guessing{}
		if g.of == nil {
			g.of = map[guesser]*guessing{}
		}
		if len(g.of) >= maxGuessers && g.of[who] == nil {
			g.forgetOne(now)
		}
		g.of[who] = x
	}
	x.wrong++
	x.last = now
	if over := x.wrong - freeGuesses; over >= 0 {
		x.until = now.Add(min(firstPause<<min(over, 10), longestPause))
	}
}

// right forgets the wrong answers of who.
func (g *guesses) right(who guesser) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.of, who)
}

// forgetOne makes room: what is old goes, and the oldest in any case. g.mu is held.
func (g *guesses) forgetOne(now time.Time) {
	var oldest guesser
	var last time.Time
	for who, x := range g.of {
		if now.Sub(x.last) > guessMemory {
			delete(g.of, who)
			continue
		}
		if last.IsZero() || x.last.Before(last) {
			oldest, last = who, x.last
		}
	}
	if len(g.of) >= maxGuessers {
		delete(g.of, oldest)
	}
}
