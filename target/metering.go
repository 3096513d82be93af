package target

import "github.com/isantarget/isantarget/meter"

// lap books the time since the last lap on p: whoever waits calls it when the wait ends,
// and before it begins.
func (t *task) lap(p meter.Phase) { t.Watch.Lap(p, meter.Now()) }

// count counts the commands among the first n items of what is being sent: the socket
// has their answers.
func (q *transmitQueue) count(n int) {
	b := q.batch
	if b.counted >= n {
		return
	}
	now := meter.Now()
	for ; b.counted < n; b.counted++ {
		if i := &q.current[b.counted]; i.kind == itemTask {
			i.task.Watch.Lap(meter.Network, now)
			i.task.count(&q.tally)
		}
	}
}

// count adds t, which has ended, to a tally.
func (t *task) count(tally *meter.Tally) {
	s := t.session
	a := meter.Account{Row: t.Meter(), Session: &s.flow, Target: &s.node.flow, All: &s.entity.flow}
	tally.Add(a, &t.Watch, t.moved(), t.Outcome())
}

// countAlone counts t, whose answer is not sent. One that no logical unit was given
// is none that has ended.
func (t *task) countAlone() {
	if !t.given.Load() {
		return
	}
	t.lap(meter.Network)
	var tally meter.Tally
	t.out.mu.Lock() // the reader may still throw data away
	t.count(&tally)
	t.out.mu.Unlock()
	tally.Publish()
}

// moved is how many bytes of data have gone over the network for t.
func (t *task) moved() int { return len(t.dataIn()) + t.out.received }
