package metrics

import (
	"errors"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/job"
	"github.com/isantarget/isantarget/meter"
	"github.com/isantarget/isantarget/provision"
	"github.com/isantarget/isantarget/target"
)

// A fake knows something of everything.
type fake struct{ err error }

func (f fake) Meters() (provision.Meters, error) {
	u := meter.NewUnit()
	var session, node, all meter.Flow
	var tally meter.Tally
	for i, r := range []*meter.Row{u.Row("READ (10)", meter.Read), u.Row("WRITE (10)", meter.Write), u.Row("INQUIRY", meter.Other)} {
		var w meter.Stopwatch
		w.Start(0)
		w.Lap(meter.Store, 100_000)
		tally.Add(meter.Account{Row: r, Session: &session, Target: &node, All: &all}, &w, 512, meter.Outcome(i))
	}
	tally.Publish()
	return provision.Meters{
		LUNs:    []provision.LUNMeter{{Name: "vm1", Count: u.Count(), Open: 1, Lost: true}},
		Targets: []provision.TargetMeter{{Name: "iqn.2026-11.org.example:a", Count: node.Count(), Sessions: 2}},
		Sessions: []provision.SessionMeter{
			{TSIH: 1, Target: "iqn.2026-11.org.example:a", Initiator: "iqn.2026-11.org.example:known", Known: true, Count: session.Count()},
			{TSIH: 2, Target: "iqn.2026-11.org.example:a", Initiator: "iqn.2026-11.org.example:anybody", Count: session.Count()},
		},
		Logins: target.LoginCount{Normal: 3, Refused: map[iscsi.LoginStatus]uint64{iscsi.LoginNotFound: 1}},
		Jobs:   map[job.End]uint64{{Kind: "grow", State: job.Failed}: 1},
	}, f.err
}

func (f fake) LUNs() ([]provision.LUNStatus, error) {
	return []provision.LUNStatus{{Name: "vm1", Size: 1 << 30, Paths: []provision.PathStatus{{State: "standby"}, {State: "standby"}}}}, f.err
}

func (f fake) Stores() ([]provision.StoreStatus, error) {
	return []provision.StoreStatus{
		{Name: "tank", Path: "/srv/\xff", SpaceThreshold: 80, Images: []provision.ImageStatus{{LUN: "vm1", Allocated: 7}}},
		{Path: "/srv/bare"}, {Name: "gone", Unknown: "why"},
	}, f.err
}

func (f fake) Reservations(string) ([]provision.ReservationStatus, error) {
	holders := []provision.RegistrationStatus{{Initiator: "iqn.a", Holder: true}, {Initiator: "iqn.b", Holder: true}}
	return []provision.ReservationStatus{
		{LUN: "vm1", Type: "WRITE EXCLUSIVE", Registrations: holders[:1]}, {LUN: "vm2", Type: "EXCLUSIVE ACCESS, ALL REGISTRANTS", Registrations: holders}, {LUN: "vm3", ReservedBy: "iqn.c"},
	}, f.err
}

func (f fake) Jobs() []job.Status {
	return []job.Status{{ID: "1", Kind: "grow", Object: "vm1", Phase: "taking space", State: job.Running, Done: 1, Total: 4, Left: 9}, {ID: "2", Kind: "grow", State: job.Done}}
}

func (f fake) Version() string { return "1.0" }

func collector(err error) *Collector {
	return New(fake{err}, func() map[string]uint64 { return map[string]uint64{"login": 3} })
}

// TestConventions: names, units and help are as Prometheus wants them, and every family that
// is described is told.
func TestConventions(t *testing.T) {
	c := collector(nil)
	problems, err := testutil.CollectAndLint(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(c)
	told, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if len(told) != len(c.f.all()) {
		t.Errorf("%d families are told, %d described", len(told), len(c.f.all()))
	}
	for _, f := range told {
		if !strings.HasPrefix(f.GetName(), "isantarget_") {
			t.Errorf("%s is not called ours", f.GetName())
		}
	}
}

// TestScrape: what is told is what is, and nothing of whoever nobody vouches for.
func TestScrape(t *testing.T) {
	text := scraped(t, collector(nil))
	for _, want := range []string{
		`isantarget_lun_commands_total{command="READ (10)",direction="read",lun="vm1"} 1`,
		`isantarget_lun_command_duration_seconds_bucket{command="READ (10)",direction="read",lun="vm1",le="0.000131072"} 1`,
		`isantarget_lun_command_duration_seconds_bucket{command="READ (10)",direction="read",lun="vm1",le="6.5536e-05"} 0`,
		`isantarget_lun_command_duration_seconds_sum{command="READ (10)",direction="read",lun="vm1"} 0.0001`,
		`isantarget_lun_command_errors_total{command="INQUIRY",lun="vm1",sense_key="RECOVERED ERROR",status="CHECK CONDITION"} 1`,
		`isantarget_session_commands_total{direction="read",initiator="iqn.2026-11.org.example:known",target="iqn.2026-11.org.example:a",tsih="1"} 1`,
		`isantarget_lun_phase_duration_seconds_bucket{command="READ (10)",direction="read",lun="vm1",phase="store",le="0.000131072"} 1`,
		`isantarget_lun_phase_duration_seconds_bucket{command="READ (10)",direction="read",lun="vm1",phase="store",le="3.2768e-05"} 0`,
		`isantarget_lun_phase_duration_seconds_sum{command="INQUIRY",direction="other",lun="vm1",phase="store"} 0.0001`,
		`isantarget_target_phase_duration_seconds_bucket{direction="write",phase="store",target="iqn.2026-11.org.example:a",le="0.000131072"} 1`,
		`isantarget_target_phase_duration_seconds_bucket{direction="write",phase="queue",target="iqn.2026-11.org.example:a",le="8.192e-06"} 1`,
		`isantarget_session_phase_duration_seconds_bucket{direction="read",initiator="iqn.2026-11.org.example:known",phase="store",target="iqn.2026-11.org.example:a",tsih="1",le="3.2768e-05"} 0`,
		`isantarget_session_phase_duration_seconds_sum{direction="read",initiator="iqn.2026-11.org.example:known",phase="store",target="iqn.2026-11.org.example:a",tsih="1"} 0.0001`,
		`isantarget_lun_paths{lun="vm1",state="standby"} 2`,
		`isantarget_lun_reservation_info{holder="iqn.a",kind="WRITE EXCLUSIVE",lun="vm1"} 1`,
		`isantarget_lun_reservation_info{holder="",kind="EXCLUSIVE ACCESS, ALL REGISTRANTS",lun="vm2"} 1`,
		`isantarget_lun_reservation_info{holder="iqn.c",kind="RESERVE",lun="vm3"} 1`,
		`isantarget_lun_writes_lost{lun="vm1"} 1`,
		"isantarget_store_space_threshold_ratio{path=\"/srv/\uFFFD\",store=\"tank\"} 0.8",
		`isantarget_job_progress_ratio{job="1",kind="grow",object="vm1"} 0.25`,
		`isantarget_jobs_ended_total{kind="grow",state="failed"} 1`,
		`isantarget_serving 1`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("the scrape has no line %s", want)
		}
	}
	if strings.Contains(text, "anybody") || strings.Contains(text, `store="gone"`) {
		t.Error("the scrape tells of what it should not")
	}
	if !strings.Contains(text, "\ngo_goroutines ") || !strings.Contains(text, "\nprocess_resident_memory_bytes ") {
		t.Error("the scrape does not tell of the process")
	}
}

// TestScrape_ManySessions: up to as many as allowed, sessions have all their buckets told; of more
// there are counts and sums.
func TestScrape_ManySessions(t *testing.T) {
	for _, sessions := range []int{detailed, detailed + 1} {
		text := scraped(t, New(crowd{sessions: sessions}, func() map[string]uint64 { return nil }))
		if n := strings.Count(text, "\nisantarget_session_phase_duration_seconds_sum{"); n != sessions*meter.Directions*meter.Phases {
			t.Errorf("%d sessions have %d sums of phases", sessions, n)
		}
		want := 0
		if sessions <= detailed {
			want = sessions
		}
		for family, each := range map[string]int{"phase": meter.Phases, "command": 1} {
			line := regexp.MustCompile(`\nisantarget_session_` + family + `_duration_seconds_bucket{direction="read",[^}]*,le="0.000131072"} 1\b`)
			if n := len(line.FindAllString(text, -1)); n != want*each {
				t.Errorf("of %d sessions %d buckets of the %s are told, want %d", sessions, n, family, want*each)
			}
		}
		t.Logf("%d sessions are %d KiB of text, %d lines", sessions, len(text)>>10, strings.Count(text, "\n"))
	}
}

// A crowd has many sessions, all of them known.
type crowd struct {
	fake
	sessions int
}

func (c crowd) Meters() (provision.Meters, error) {
	m, err := c.fake.Meters()
	one := m.Sessions[0]
	m.Sessions = nil
	for i := range c.sessions {
		one.TSIH = uint16(i + 1)
		m.Sessions = append(m.Sessions, one)
	}
	return m, err
}

// TestScrape_NothingIsServed: a daemon that starts or stops answers all the same.
func TestScrape_NothingIsServed(t *testing.T) {
	text := scraped(t, collector(errors.New("stopped")))
	if !strings.Contains(text, "\nisantarget_serving 0\n") || !strings.Contains(text, "\ngo_goroutines ") || strings.Contains(text, "isantarget_lun") {
		t.Error(text)
	}
}

func scraped(t *testing.T, c *Collector) string {
	t.Helper()
	w := httptest.NewRecorder()
	Handler(c).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return w.Body.String()
}
