package metrics

import (
	"runtime"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isantarget/isantarget/job"
	"github.com/isantarget/isantarget/provision"
)

// A Source is what a collector asks.
type Source interface {
	Meters() (provision.Meters, error)
	LUNs() ([]provision.LUNStatus, error)
	Stores() ([]provision.StoreStatus, error)
	Reservations(lun string) ([]provision.ReservationStatus, error)
	Jobs() []job.Status
	Version() string
}

// A Collector makes metrics of a Source. Its methods may be called at once from many
// goroutines.
type Collector struct {
	source Source
	events func() map[string]uint64
	f      families
}

var _ prometheus.Collector = (*Collector)(nil)

// New makes a collector; events counts events by kind.
func New(source Source, events func() map[string]uint64) *Collector {
	return &Collector{source: source, events: events, f: newFamilies()}
}

// Describe is prometheus.Collector.
func (c *Collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range c.f.all() {
		to <- d
	}
}

// Collect is prometheus.Collector. While nothing is served there is little to tell.
func (c *Collector) Collect(to chan<- prometheus.Metric) {
	s := scrape{to: to, f: &c.f}
	s.gauge(c.f.build, 1, c.source.Version(), runtime.Version())
	for kind, n := range c.events() {
		s.counter(c.f.events, float64(n), kind)
	}
	s.jobs(c.source.Jobs())
	m, err := c.source.Meters()
	if err != nil {
		s.gauge(c.f.serving, 0)
		return
	}
	s.gauge(c.f.serving, 1)
	for i := range m.LUNs {
		s.lunMeter(&m.LUNs[i])
	}
	for i := range m.Targets {
		s.targetMeter(&m.Targets[i])
	}
	s.sessionMeters(m.Sessions)
	s.logins(m.Logins)
	for end, n := range m.Jobs {
		s.counter(c.f.jobsEnded, float64(n), end.Kind, string(end.State))
	}
	c.conditions(&s)
}

// conditions tells how LUNs and stores are. What cannot be had is left out: the daemon
// ends, or a file system hangs.
func (c *Collector) conditions(s *scrape) {
	if luns, err := c.source.LUNs(); err == nil {
		for i := range luns {
			s.lun(&luns[i])
		}
	}
	if list, err := c.source.Reservations(""); err == nil {
		for i := range list {
			s.reservation(&list[i])
		}
	}
	if stores, err := c.source.Stores(); err == nil {
		for i := range stores {
			s.store(&stores[i])
		}
	}
}

// A scrape is one answer to Prometheus.
type scrape struct {
	to chan<- prometheus.Metric
	f  *families
}

func (s *scrape) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s.to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, valid(labels)...)
}

func (s *scrape) counter(d *prometheus.Desc, v float64, labels ...string) {
	s.to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, valid(labels)...)
}

// valid has labels, which are paths and names, as UTF-8.
func valid(labels []string) []string {
	for i, l := range labels {
		labels[i] = strings.ToValidUTF8(l, "\uFFFD")
	}
	return labels
}

func truth(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
