package metrics

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isantarget/isantarget/meter"
	"github.com/isantarget/isantarget/provision"
	"github.com/isantarget/isantarget/scsi"
	"github.com/isantarget/isantarget/target"
)

// How many buckets of times a histogram tells.
const (
	each   = 1 // of them
	second = 2 // every second one, as phases are counted
	none   = 0 // but the last, which takes any time: how many there were, and their sum
)

// histogram tells times, with the buckets that step says.
func (s *scrape) histogram(d *prometheus.Desc, t *meter.Times, step int, labels ...string) {
	buckets := make(map[float64]uint64, meter.Buckets)
	sum := uint64(0)
	for i, n := range t.Buckets[:meter.Buckets-1] {
		if sum += n; step != none && i%step == 0 {
			buckets[meter.Bound(i).Seconds()] = sum
		}
	}
	s.to <- prometheus.MustNewConstHistogram(d, t.Count(), t.Sum.Seconds(), buckets, valid(labels)...)
}

// lunMeter tells what a LUN has done.
func (s *scrape) lunMeter(m *provision.LUNMeter) {
	for i := range m.Count.Rows {
		r := &m.Count.Rows[i]
		labels := []string{m.Name, r.Name, r.Direction.String()}
		s.counter(s.f.lunCommands, float64(r.Duration.Count()), labels...)
		s.counter(s.f.lunBytes, float64(r.Bytes), labels...)
		s.histogram(s.f.lunDuration, &r.Duration, each, labels...)
		s.phases(s.f.lunPhase, &r.StreamCount, second, labels)
		s.failures(s.f.lunErrors, r.Failures, m.Name, r.Name)
	}
	s.gauge(s.f.lunOpen, float64(m.Open), m.Name)
	s.gauge(s.f.lunLost, truth(m.Lost), m.Name)
}

// phases tells into what the time of commands was divided, if there were any.
func (s *scrape) phases(d *prometheus.Desc, c *meter.StreamCount, step int, labels []string) {
	if c.Duration.Count() == 0 {
		return
	}
	for p := range c.Phases {
		s.histogram(d, &c.Phases[p], step, append(append([]string{}, labels...), meter.Phase(p).String())...)
	}
}

// failures tells how commands have ended, but well.
func (s *scrape) failures(d *prometheus.Desc, f meter.Failures, labels ...string) {
	for o, n := range f {
		if n > 0 {
			status, key := scsi.OutcomeName(meter.Outcome(o))
			s.counter(d, float64(n), append(append([]string{}, labels...), status, key)...)
		}
	}
}

// flow tells what a target or a session has done.
func (s *scrape) flow(f *flowFamilies, c *meter.FlowCount, open, step int, labels ...string) {
	for d := range c.By {
		one := &c.By[d]
		with := append(append([]string{}, labels...), meter.Direction(d).String())
		s.counter(f.commands, float64(one.Duration.Count()), with...)
		s.counter(f.bytes, float64(one.Bytes), with...)
		s.histogram(f.duration, &one.Duration, step, with...)
		s.phases(f.phase, one, step, with)
	}
	s.failures(f.errors, c.Failures, labels...)
	s.gauge(f.open, float64(open), labels...)
}

func (s *scrape) targetMeter(m *provision.TargetMeter) {
	s.flow(&s.f.targetFlow, &m.Count, m.Open, second, m.Name)
	s.gauge(s.f.targetSessions, float64(m.Sessions), m.Name)
	s.counter(s.f.targetLost, float64(m.SessionsLost), m.Name)
}

// detailed is how many sessions can have all of their buckets told: that is 5 MB of text,
// and a Prometheus of its usual settings begins to mind the series.
const detailed = 128

// sessionMeters tells of each session whose initiator somebody vouches for. Anybody may
// call himself anything where a target is open to all. Of more sessions than detailed
// allows, histograms have no buckets.
func (s *scrape) sessionMeters(list []provision.SessionMeter) {
	known := 0
	for i := range list {
		if list[i].Known {
			known++
		}
	}
	step := second
	if known > detailed {
		step = none
	}
	for i := range list {
		if m := &list[i]; m.Known {
			s.flow(&s.f.sessionFlow, &m.Count, m.Open, step, m.Target, m.Initiator, strconv.Itoa(int(m.TSIH)))
		}
	}
}

// logins tells of logins.
func (s *scrape) logins(l target.LoginCount) {
	s.counter(s.f.logins, float64(l.Normal), "normal")
	s.counter(s.f.logins, float64(l.Discovery), "discovery")
	s.counter(s.f.chapFailures, float64(l.CHAPFailures))
	for status, n := range l.Refused {
		s.counter(s.f.loginsRefused, float64(n), status.String())
	}
}
