package provision

import (
	"slices"
	"sync"
	"time"
)

// An Event is something that the operator should know of, and that initiators may
// have been told.
type Event struct {
	Time   time.Time `json:"time"`
	Urgent bool      `json:"urgent"` // it needs somebody; else it says that all is well again
	Store  string    `json:"store"`  // empty: of no store
	LUN    string    `json:"lun"`    // empty: of no single LUN
	Text   string    `json:"text"`
}

// keptEvents is how many events are remembered.
const keptEvents = 256

// An eventLog keeps the last events.
type eventLog struct {
	mu   sync.Mutex
	list []Event // from the oldest
}

func (l *eventLog) add(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.list) == keptEvents {
		l.list = slices.Delete(l.list, 0, 1)
	}
	l.list = append(l.list, e)
}

// all are those that fit, from the newest.
func (l *eventLog) all(fits func(Event) bool) []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := []Event{}
	for _, e := range slices.Backward(l.list) {
		if fits(e) {
			list = append(list, e)
		}
	}
	return list
}

// tellEvent remembers e, and has it logged.
func (p *Provisioner) tellEvent(e Event) {
	e.Time = time.Now()
	p.events.add(e)
	log := p.log.WithField("event", "space")
	if e.Store != "" {
		log = log.WithField("store", e.Store)
	}
	if e.LUN != "" {
		log = log.WithField("lun", e.LUN)
	}
	if e.Urgent {
		log.Warn(e.Text)
		return
	}
	log.Info(e.Text)
}
