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

// An Account is where a command is counted. Row is nil of a command that no logical unit
// has seen. Of All the phases have a sum only: nobody asks it for more, and every
// processor writes to it.
type Account struct {
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

func (m *marks) add(bucket int) {
	m.hit |= 1 << bucket
	m.buckets[bucket]++
}

// take takes the first bucket that is not empty, and how many there are in it. There is one.
func (m *marks) take() (bucket int, n uint64) {
	bucket = bits.TrailingZeros32(m.hit)
	n = uint64(m.buckets[bucket])
	m.hit &= m.hit - 1
	m.buckets[bucket] = 0
	return bucket, n
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
		p.phases[i].add(phaseBucketOf(w.spent[i]))
	}
	p.total.add(bucketOf(w.total()))
	if o != Good {
		a.fail(d, o)
	}
}

// fail counts an error at once: it is rare.
func (a *Account) fail(d Direction, o Outcome) {
	if a.Row != nil {
		a.Row.made().fail(o)
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
	list := [...]*stream{&a.All.by[d], &a.Session.by[d], &a.Target.by[d], nil}
	all := list[:3]
	if a.Row != nil {
		list[3] = &a.Row.made().stream
		all = list[:]
	}
	for _, s := range all {
		if p.bytes > 0 {
			s.bytes.Add(p.bytes)
		}
		for i, spent := range p.spent {
			s.phases[i].sum.Add(int64(spent))
		}
	}
	for p.total.hit != 0 {
		bucket, n := p.total.take()
		for _, s := range all {
			s.buckets[bucket].Add(n)
		}
	}
	for i := range p.phases {
		for p.phases[i].hit != 0 {
			bucket, n := p.phases[i].take()
			for _, s := range all[1:] {
				s.phases[i].buckets[bucket].Add(n)
			}
		}
	}
	p.account, p.count, p.bytes, p.spent = Account{}, 0, 0, [Phases]time.Duration{}
}
