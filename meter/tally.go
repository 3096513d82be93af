package meter

import (
	"math/bits"
	"time"
)

// A Tally collects commands that have ended, until they are published. One goroutine at
// a time uses it. The zero Tally is empty.
type Tally struct {
	parts [Directions]part
}

// An Account is where a command is counted. Unit and Row are nil of a command that no
// logical unit has seen.
type Account struct {
	Unit    *Unit
	Row     *Row
	Session *Flow
	Target  *Flow
	All     *Flow
}

// A part is what a Tally has of one direction: commands of one account.
type part struct {
	account Account
	count   int
	bytes   uint64
	spent   [Phases]time.Duration
	phases  [Phases]marks
	total   marks
}

// marks are the buckets of one histogram, and which of them are not empty.
type marks struct {
	hit     uint32
	buckets [Buckets]uint32
}

func (m *marks) add(d time.Duration) {
	i := bucketOf(d)
	m.hit |= 1 << i
	m.buckets[i]++
}

// publish adds the marks to histograms, and clears them.
func (m *marks) publish(to ...*buckets) {
	for ; m.hit != 0; m.hit &= m.hit - 1 {
		i := bits.TrailingZeros32(m.hit)
		for _, h := range to {
			h[i].Add(uint64(m.buckets[i]))
		}
		m.buckets[i] = 0
	}
}

// Add counts a command that has ended by o, with bytes of data over the network. It
// publishes what it had of another account.
func (t *Tally) Add(a Account, w *Stopwatch, bytes int, o Outcome) {
	d := Other
	if a.Row != nil {
		d = a.Row.direction
	}
	p := &t.parts[d]
	if p.count > 0 && p.account != a {
		p.publish(d)
	}
	p.account = a
	p.count++
	p.bytes += uint64(bytes)
	for i := range p.phases {
		p.spent[i] += w.spent[i]
		p.phases[i].add(w.spent[i])
	}
	p.total.add(w.total())
	if o != Good {
		a.fail(d, o)
	}
}

// fail counts an error at once: it is rare.
func (a *Account) fail(d Direction, o Outcome) {
	if a.Row != nil {
		a.Row.fail(o)
	}
	for _, f := range [...]*Flow{a.Session, a.Target, a.All} {
		f.by[d].errors.Add(1)
		f.outcomes[o].Add(1)
	}
}

// Publish has all that was added counted.
func (t *Tally) Publish() {
	for d := range t.parts {
		if p := &t.parts[d]; p.count > 0 {
			p.publish(Direction(d))
		}
	}
}

func (p *part) publish(d Direction) {
	a := &p.account
	session, target, all := &a.Session.by[d], &a.Target.by[d], &a.All.by[d]
	for _, s := range [...]*stream{session, target, all} {
		if p.bytes > 0 {
			s.bytes.Add(p.bytes)
		}
		for i, spent := range p.spent {
			s.spent[i].Add(int64(spent))
		}
	}
	if a.Row == nil {
		p.total.publish(&session.buckets, &target.buckets, &all.buckets)
		for i := range p.phases {
			p.phases[i].publish()
		}
	} else {
		if p.bytes > 0 {
			a.Row.bytes.Add(p.bytes)
		}
		a.Row.duration.sum.Add(int64(p.spent[Queue] + p.spent[Store] + p.spent[Network]))
		p.total.publish(&session.buckets, &target.buckets, &all.buckets, &a.Row.duration.buckets)
		for i := range p.phases {
			h := &a.Unit.phases[d][i]
			h.sum.Add(int64(p.spent[i]))
			p.phases[i].publish(&h.buckets)
		}
	}
	p.account, p.count, p.bytes, p.spent = Account{}, 0, 0, [Phases]time.Duration{}
}
