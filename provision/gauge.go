package provision

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/scsi"
	"github.com/isantarget/isantarget/scsi/sbc"
)

const (
	// gaugeInterval is how often space is looked at. Commands pay nothing for it.
	gaugeInterval = time.Second

	// hysteresis is by how many points of 100 use must fall below a threshold before
	// the next crossing of it is told.
	hysteresis = 2

	// roomAgain is how much there must be before a LUN that ran out of space is said
	// to have some again, if not a hundredth of the file system.
	roomAgain = 1 << 30
)

// A gauge looks after the space below what runs.
type gauge struct {
	*Provisioner
	end  chan struct{} // closed: it is to end
	done chan struct{} // closed: it has

	levels map[string]*level // what is compared with a threshold, by what it is
	luns   map[string]*sight // by name
	short  bool              // there is no reserve for records
}

// A level is use that is compared with a threshold, in percent.
type level struct {
	store, lun string // whose it is: one of them
	threshold  int
	above      bool
}

// A sight is what was last seen of a LUN.
type sight struct {
	device     *sbc.Device
	thresholds sbc.Thresholds
	refused    uint64 // writes that found no space
	full       bool   // and since then there has not been enough
}

// startGauge begins to look, until stop.
func (p *Provisioner) startGauge() *gauge {
	g := &gauge{Provisioner: p, end: make(chan struct{}), done: make(chan struct{}), levels: map[string]*level{}, luns: map[string]*sight{}}
	go g.run()
	return g
}

func (g *gauge) run() {
	defer close(g.done)
	tick := time.NewTicker(gaugeInterval)
	defer tick.Stop()
	for {
		select {
		case <-g.end:
			return
		case <-tick.C:
			if r := g.now.Load(); r != nil {
				g.measure(r)
				g.refill(r)
			}
		}
	}
}

// stop ends the gauge, and waits for no file system longer than a look does.
func (g *gauge) stop() {
	close(g.end)
	<-g.done
}

// measure compares what is used with the thresholds, and tells of what has changed.
func (g *gauge) measure(r *running) {
	g.forget(r)
	for _, p := range r.pools(false) {
		rose := map[string]int{} // by owner
		for i, u := range p.units {
			owner, threshold := r.plan.poolThreshold(u.config)
			up, seen := rose[owner.key(p.Pool)]
			if !seen {
				up = g.compare(owner.key(p.Pool), owner, p.Filled(), threshold)
				rose[owner.key(p.Pool)] = up
				g.tellPool(owner, u, p, threshold, up)
			}
			g.measureOne(u, p, p.promises[i], threshold, up > 0)
		}
	}
}

// refill makes the space whole again that is kept for records of the state directory.
func (g *gauge) refill(r *running) {
	err := r.state.Refill()
	if short := err != nil; short != g.short {
		g.short = short
		if short {
			g.tellEvent(Event{Urgent: true, Text: fmt.Sprintf("%v; make room on the file system of %s: reservations and other records may not be kept", err, r.state.Path())})
			return
		}
		g.tellEvent(Event{Text: "the space that is kept for records is whole again"})
	}
}

// forget drops what is not there any more.
func (g *gauge) forget(r *running) {
	for key, l := range g.levels {
		gone := r.units[l.lun] == nil
		for _, s := range r.plan.Stores {
			gone = gone && s.Name != l.store
		}
		if gone {
			delete(g.levels, key)
		}
	}
	for name := range g.luns {
		if r.units[name] == nil {
			delete(g.luns, name)
		}
	}
}

// poolThreshold is the threshold for the file system of the image of l, and whose it
// is: the store's, or that of an image with a bare path.
func (p *plan) poolThreshold(l configs.LUN) (owner level, percent int) {
	if s, ok := p.StoreOf(l); ok {
		return level{store: s.Name}, s.SpaceThreshold
	}
	return level{lun: l.Name}, l.SpaceThreshold
}

// key names what is compared: use of a pool, or of a LUN where that is empty.
func (l level) key(pool string) string { return l.store + "\x00" + l.lun + "\x00" + pool }

// compare is 1 if use has come to the threshold since the last look, -1 if it has
// fallen well below it, else 0.
func (g *gauge) compare(key string, of level, filled float64, threshold int) int {
	l := g.levels[key]
	if l == nil || l.threshold != threshold {
		of.threshold = threshold
		l = &of
		g.levels[key] = l
	}
	switch limit := float64(threshold); {
	case threshold == 0:
	case !l.above && filled >= limit:
		l.above = true
		return 1
	case l.above && filled < limit-min(hysteresis, limit/2):
		l.above = false
		return -1
	}
	return 0
}

// tellPool tells of a file system that has crossed a threshold.
func (g *gauge) tellPool(owner level, u *unit, p *pool, threshold, up int) {
	e := Event{Urgent: up > 0, Store: owner.store, LUN: owner.lun}
	where := "the file system of " + filepath.Dir(u.config.Path)
	switch {
	case up > 0:
		e.Text = fmt.Sprintf("%s is %.0f %% full (threshold %d %%): %s are left of %s", where, p.Filled(), threshold, amount(p.Available), amount(p.Capacity))
	case up < 0:
		e.Text = fmt.Sprintf("%s is below its threshold of %d %% again: %s are left", where, threshold, amount(p.Available))
	default:
		return
	}
	g.tellEvent(e)
}

// measureOne does it for one LUN. notify says that its file system has crossed a threshold.
func (g *gauge) measureOne(u *unit, p *pool, image promise, poolThreshold int, notify bool) {
	name, s := u.config.Name, g.luns[u.config.Name]
	if s == nil || s.device != u.device {
		s = &sight{device: u.device}
		g.luns[name] = s
	}
	own := u.config.SpaceThreshold
	if u.config.Provisioning == configs.Fixed || image.size <= 0 {
		own = 0 // it has all it will ever have
	}
	s.show(u, image, poolThreshold, own, p.Capacity)
	used := 100 * float64(image.Used) / float64(max(image.size, 1))
	of := level{lun: name}
	switch g.compare(of.key(""), of, used, own) {
	case 1:
		notify = true
		g.tellEvent(Event{Urgent: true, LUN: name, Text: fmt.Sprintf("the LUN has taken %.0f %% of its size (threshold %d %%)", used, own)})
	case -1:
		g.tellEvent(Event{LUN: name, Text: fmt.Sprintf("the LUN is below its threshold of %d %% again", own)})
	}
	if notify && u.device.TellsThresholds() {
		u.lu.Attention(scsi.ASCThinProvisioningSoftThresholdReached, nil, nil)
	}
	g.lookForRefusals(u, p, s)
}

// show gives the device its thresholds. A file system whose size changes a little all
// the time is no reason to tell everybody of other thresholds.
func (s *sight) show(u *unit, image promise, pool, own int, capacity int64) {
	var t sbc.Thresholds
	if pool > 0 {
		t.Available = capacity / 100 * int64(100-pool)
	}
	if own > 0 {
		t.Used = image.size / 100 * int64(own)
	}
	old := s.thresholds
	if d := t.Available - old.Available; t.Used == old.Used && (t.Available == 0) == (old.Available == 0) && max(d, -d) <= old.Available/100 {
		return
	}
	s.thresholds = t
	if u.device.SetThresholds(t) {
		u.lu.Attention(scsi.ASCModeParametersChanged, nil, nil)
	}
}

// lookForRefusals tells of writes that found no space, and when there is some again.
func (g *gauge) lookForRefusals(u *unit, p *pool, s *sight) {
	refused := u.device.Refused()
	more := refused > s.refused
	s.refused = refused
	switch name := u.config.Name; {
	case more && !s.full:
		s.full = true
		g.tellEvent(Event{Urgent: true, Store: u.config.Store, LUN: name, Text: fmt.Sprintf(
			"the LUN has no space for what is written: the file system of %s has %s left; overwriting and reading go on, and so does the rest when there is room", filepath.Dir(u.config.Path), amount(p.Available))})
	case !more && s.full && p.Available >= min(roomAgain, p.Capacity/100):
		s.full = false
		g.tellEvent(Event{Store: u.config.Store, LUN: name, Text: fmt.Sprintf("the LUN has space again: %s are left", amount(p.Available))})
	}
}
