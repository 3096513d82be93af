package metrics

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isantarget/isantarget/meter"
	"github.com/isantarget/isantarget/provision"
	"github.com/isantarget/isantarget/scsi"
	"github.com/isantarget/isantarget/target"
)

// histogram tells times, with each bucket or, where step is 2, each second one.
func (s *scrape) histogram(d *prometheus.Desc, t meter.Times, step int, labels ...string) {
	buckets := make(map[float64]uint64, meter.Buckets)
	sum := uint64(0)
	for i, n := range t.Buckets[:meter.Buckets-1] {
		if sum += n; i%step == 0 {
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
		s.histogram(s.f.lunDuration, r.Duration, 1, labels...)
		s.failures(s.f.lunErrors, r.Failures, m.Name, r.Name)
	}
	for d := range m.Count.Phases {
		for p, times := range m.Count.Phases[d] {
			s.histogram(s.f.lunPhase, times, 2, m.Name, meter.Direction(d).String(), meter.Phase(p).String())
		}
	}
	s.gauge(s.f.lunOpen, float64(m.Open), m.Name)
	s.gauge(s.f.lunLost, truth(m.Lost), m.Name)
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
func (s *scrape) flow(f *flowFamilies, c *meter.FlowCount, open int, labels ...string) {
	for d := range c.By {
		one := &c.By[d]
		with := append(append([]string{}, labels...), meter.Direction(d).String())
		s.counter(f.commands, float64(one.Duration.Count()), with...)
		s.counter(f.bytes, float64(one.Bytes), with...)
		s.histogram(f.duration, one.Duration, 2, with...)
		for p, spent := range one.Spent {
			s.counter(f.phase, spent.Seconds(), append(append([]string{}, with...), meter.Phase(p).String())...)
		}
	}
	s.failures(f.errors, c.Failures, labels...)
	s.gauge(f.open, float64(open), labels...)
}

func (s *scrape) targetMeter(m *provision.TargetMeter) {
	s.flow(&s.f.targetFlow, &m.Count, m.Open, m.Name)
	s.gauge(s.f.targetSessions, float64(m.Sessions), m.Name)
	s.counter(s.f.targetLost, float64(m.SessionsLost), m.Name)
}

// sessionMeters tells of each session whose initiator somebody vouches for. Anybody may
// call himself anything where a target is open to all.
func (s *scrape) sessionMeters(list []provision.SessionMeter) {
	for i := range list {
		if m := &list[i]; m.Known {
			s.flow(&s.f.sessionFlow, &m.Count, m.Open, m.Target, m.Initiator, strconv.Itoa(int(m.TSIH)))
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
