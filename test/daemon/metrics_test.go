package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metricsql"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"gopkg.in/yaml.v3"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
)

const (
	metricsOne = "iqn.2026-11.org.isantarget.test:one"
	metricsTwo = "iqn.2026-11.org.isantarget.test:two"
)

// measured is a daemon that is scraped.
type measured struct {
	*Daemon
	t    *testing.T
	http *http.Client
}

func startMeasured(t *testing.T) *measured {
	dir := t.TempDir()
	state := filepath.Join(dir, "state")
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("a secret of the other target"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "san.toml")
	text := fmt.Sprintf(`
state = %q
[limits]
nop-interval = "1h" # a session that rests a while, on a machine that is busy, answers no NOP-In
[[portal-group]]
tag = 1
listen = ["127.0.0.1:%d"]
[[store]]
name = "tank"
path = %q
[[lun]]
name = "quick"
store = "tank"
size = "16MiB"
[[lun]]
name = "slow"
store = "tank"
size = "16MiB"
[[lun.layer]]
kind = "fault"
faults = ["delay=300ms on=read"]
[[lun]]
name = "wiped"
store = "tank"
size = "16MiB"
sanitize-rate = "1MiB"
[[target]]
name = %q
luns = { 0 = "quick", 1 = "slow", 2 = "wiped" }
[[target.rule]]
label = "one"
initiators = [%q, %q]
[[target]]
name = %q
luns = { 0 = "quick" }
access = "open"
[[target.rule]]
label = "secret"
initiators = [%q]
chap = { user = "two", secret-file = %q }
`, state, FreePort(t), dir, metricsOne, initiatorNamed("one"), initiatorNamed("two"), metricsTwo, initiatorNamed("guest"), secret)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d := &measured{Daemon: Start(t, Config{File: file}), t: t}
	d.http = &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(state, "admin.sock"))
	}}}
	t.Cleanup(d.http.CloseIdleConnections)
	return d
}

func initiatorNamed(name string) string { return "iqn.2026-11.org.isantarget.test:initiator-" + name }

func (d *measured) login(target, name string, chap *initiator.CHAP) (*initiator.Connection, error) {
	d.t.Helper()
	c, err := initiator.Dial(d.Address(), initiator.Options{ReadBuffer: 64 << 10})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { c.Close() })
	return c, c.Login(initiator.Login{InitiatorName: initiatorNamed(name), TargetName: target, SessionType: "Normal", ISID: initiator.RandomISID(), CHAP: chap})
}

func (d *measured) session(target, name string) *initiator.Connection {
	d.t.Helper()
	c, err := d.login(target, name, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	return c
}

// scrape is all that is told, as text and by name.
func (d *measured) scrape() (string, map[string]*dto.MetricFamily) {
	d.t.Helper()
	response, err := d.http.Get("http://daemon/metrics")
	if err != nil {
		d.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != 200 {
		d.t.Fatalf("%s %v\n%s", response.Status, err, text)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(text)))
	if err != nil {
		d.t.Fatal(err)
	}
	return string(text), families
}

// value adds up the series of a family that have these labels, "name=value"; of a histogram
// the sums, and with count the counts. there says whether there is any.
func value(f *dto.MetricFamily, count bool, labels ...string) (sum float64, there bool) {
	for _, m := range f.GetMetric() {
		all := true
		for _, want := range labels {
			name, v, _ := strings.Cut(want, "=")
			all = all && slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool { return l.GetName() == name && l.GetValue() == v })
		}
		if !all {
			continue
		}
		there = true
		switch {
		case m.Histogram != nil && count:
			sum += float64(m.Histogram.GetSampleCount())
		case m.Histogram != nil:
			sum += m.Histogram.GetSampleSum()
		case m.Counter != nil:
			sum += m.Counter.GetValue()
		default:
			sum += m.Gauge.GetValue()
		}
	}
	return sum, there
}

// await scrapes until a series comes to want: a command is counted a moment after its answer.
func (d *measured) await(want float64, name string, labels ...string) {
	d.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		_, all := d.scrape()
		got, there := value(all[name], true, labels...)
		if got == want && there {
			return
		}
		if time.Now().After(deadline) {
			d.t.Fatalf("%s %q is %v (there: %v), want %v", name, labels, got, there, want)
		}
	}
}

// do executes a command, and says with which status and sense key it ended.
func (d *measured) do(c *initiator.Connection, cmd initiator.Command) (status, key uint8) {
	d.t.Helper()
	r, err := c.Execute(cmd)
	if err != nil {
		d.t.Fatal(err)
	}
	key, _ = r.SenseCode()
	return r.Status, key
}

// TestMetrics drives known commands, and finds exactly those.
func TestMetrics(t *testing.T) {
	d := startMeasured(t)
	c := d.session(metricsOne, "one")
	for lun := range uint8(3) {
		if _, key := d.do(c, initiator.Command{LUN: initiator.LUN(lun), CDB: make([]byte, 6)}); key != 6 { // POWER ON
			t.Fatalf("LUN %d: sense key %x of the first command", lun, key)
		}
	}
	for i := range byte(10) {
		if status, _ := d.do(c, initiator.Command{CDB: cdb10(0x2a, i, 8), Write: make([]byte, 4096)}); status != 0 {
			t.Fatalf("WRITE (10): %02x", status)
		}
	}
	for i := range byte(7) {
		d.do(c, initiator.Command{CDB: cdb10(0x28, i, 16), Read: 8192})
		d.do(c, initiator.Command{CDB: []byte{0x88, 0, 0, 0, 0, 0, 0, 0, 0, i, 0, 0, 0, 1, 0, 0}, Read: 512})
	}
	if _, key := d.do(c, initiator.Command{CDB: []byte{0x28, 0, 0xff, 0, 0, 0, 0, 0, 1, 0}, Read: 512}); key != 5 {
		t.Fatalf("a read behind the end: sense key %x", key)
	}
	d.do(c, initiator.Command{CDB: []byte{0x12, 0, 0, 0, 36, 0}, Read: 36})

	// The other session meets a reservation.
	other := d.session(metricsOne, "two")
	d.do(other, initiator.Command{CDB: make([]byte, 6)})
	key := []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0}
	d.do(c, initiator.Command{CDB: []byte{0x5f, 0, 0, 0, 0, 0, 0, 0, 24, 0}, Write: key})
	d.do(c, initiator.Command{CDB: []byte{0x5f, 1, 1, 0, 0, 0, 0, 0, 24, 0}, Write: append(slices.Clone(key[8:16]), make([]byte, 16)...)})
	for range 3 {
		if status, _ := d.do(other, initiator.Command{CDB: cdb10(0x2a, 0, 1), Write: make([]byte, 512)}); status != 0x18 {
			t.Fatalf("a write beside the reservation: %02x", status)
		}
	}

	d.await(13, "isantarget_lun_commands_total", "lun=quick", "command=WRITE (10)")
	d.await(1, "isantarget_lun_commands_total", "lun=quick", "command=INQUIRY")
	d.await(2, "isantarget_lun_command_errors_total", "lun=quick", "command=TEST UNIT READY")
	_, all := d.scrape()
	one := []string{"target=" + metricsOne, "initiator=" + initiatorNamed("one")}
	for _, want := range []struct {
		n      float64
		name   string
		labels []string
	}{
		{13, "isantarget_lun_command_duration_seconds", []string{"lun=quick", "command=WRITE (10)"}},
		{8, "isantarget_lun_commands_total", []string{"lun=quick", "command=READ (10)", "direction=read"}},
		{7, "isantarget_lun_commands_total", []string{"lun=quick", "command=READ (16)", "direction=read"}},
		{7 * 8192, "isantarget_lun_data_bytes_total", []string{"lun=quick", "command=READ (10)"}},
		{7 * 512, "isantarget_lun_data_bytes_total", []string{"lun=quick", "command=READ (16)"}},
		{10*4096 + 3*512, "isantarget_lun_data_bytes_total", []string{"lun=quick", "command=WRITE (10)"}},
		{36, "isantarget_lun_data_bytes_total", []string{"lun=quick", "command=INQUIRY"}},
		{1, "isantarget_lun_command_errors_total", []string{"lun=quick", "command=READ (10)", "status=CHECK CONDITION", "sense_key=ILLEGAL REQUEST"}},
		{2, "isantarget_lun_command_errors_total", []string{"lun=quick", "command=TEST UNIT READY", "sense_key=UNIT ATTENTION"}},
		{3, "isantarget_lun_command_errors_total", []string{"lun=quick", "command=WRITE (10)", "status=RESERVATION CONFLICT"}},
		{15, "isantarget_lun_phase_duration_seconds", []string{"lun=quick", "direction=read", "phase=store"}},
		{13, "isantarget_lun_phase_duration_seconds", []string{"lun=quick", "command=WRITE (10)", "phase=queue"}},
		{13, "isantarget_target_phase_duration_seconds", []string{"target=" + metricsOne, "direction=write", "phase=network"}},
		{10, "isantarget_session_phase_duration_seconds", append(one, "direction=write", "phase=store")},
		{10, "isantarget_session_commands_total", append(one, "direction=write")},
		{15, "isantarget_session_commands_total", append(one, "direction=read")},
		{7*8192 + 7*512, "isantarget_session_data_bytes_total", append(one, "direction=read")},
		{10 * 4096, "isantarget_session_data_bytes_total", append(one, "direction=write")},
		{3, "isantarget_session_command_errors_total", append(one, "sense_key=UNIT ATTENTION")},
		{3, "isantarget_session_command_errors_total", []string{"initiator=" + initiatorNamed("two"), "status=RESERVATION CONFLICT"}},
		{13, "isantarget_target_commands_total", []string{"target=" + metricsOne, "direction=write"}},
		{10*4096 + 3*512, "isantarget_target_data_bytes_total", []string{"target=" + metricsOne, "direction=write"}},
		{0, "isantarget_target_commands_total", []string{"target=" + metricsTwo}},
		{1, "isantarget_lun_reservation_info", []string{"lun=quick", "holder=" + initiatorNamed("one")}},
		{16 << 20, "isantarget_lun_size_bytes", []string{"lun=slow"}},
		{1, "isantarget_lun_ready", []string{"lun=quick"}},
		{0, "isantarget_lun_writes_lost", []string{"lun=quick"}},
		{48 << 20, "isantarget_store_promised_bytes", []string{"store=tank"}},
		{2, "isantarget_target_sessions", []string{"target=" + metricsOne}},
	} {
		if got, there := value(all[want.name], true, want.labels...); got != want.n || !there {
			t.Errorf("%s %q is %v (there: %v), want %v", want.name, want.labels, got, there, want.n)
		}
	}

	d.measurePhases(c)
	d.measureSessions(c, other)
	d.measureJobs()
	d.measureNames()
}

// phaseDelay is in no bucket of a phase whose bound is below it: they are 134 ms and 537 ms.
const phaseDelay = 300 * time.Millisecond

// A place is where the phases of a command are counted: its row, its target, its session.
type place struct {
	of     string // as in isantarget_OF_phase_duration_seconds
	labels []string
}

func placesOf(lun, command, direction string) []place {
	with := "direction=" + direction
	return []place{
		{"lun", []string{"lun=" + lun, "command=" + command, with}},
		{"target", []string{"target=" + metricsOne, with}},
		{"session", []string{"target=" + metricsOne, "initiator=" + initiatorNamed("one"), with}},
	}
}

// waited is how long commands of a place were in a phase together, and how many of them longer
// than the bound below phaseDelay.
func (p place) waited(all map[string]*dto.MetricFamily, phase string) (seconds float64, long uint64) {
	labels := append(slices.Clone(p.labels), "phase="+phase)
	f := all["isantarget_"+p.of+"_phase_duration_seconds"]
	seconds, _ = value(f, false, labels...)
	for _, m := range f.GetMetric() {
		one := &dto.MetricFamily{Metric: []*dto.Metric{m}}
		if _, there := value(one, true, labels...); !there {
			continue
		}
		short := uint64(0)
		for _, b := range m.Histogram.GetBucket() {
			if b.GetUpperBound() < phaseDelay.Seconds() {
				short = max(short, b.GetCumulativeCount())
			}
		}
		long += m.Histogram.GetSampleCount() - short
	}
	return seconds, long
}

// Who has waited: the commands together, or one of them alone.
const (
	together = false
	alone    = true
)

// waits judges that what do does has made commands wait for phaseDelay in a phase, and that this
// is told of each place. What do starts is counted when it returns.
func (d *measured) waits(phase string, places []place, one bool, do func()) {
	t := d.t
	t.Helper()
	_, before := d.scrape()
	do()
	_, after := d.scrape()
	for _, p := range places {
		s, long := p.waited(after, phase)
		s0, long0 := p.waited(before, phase)
		if s-s0 < phaseDelay.Seconds() || one && long == long0 {
			t.Errorf("%s %q: %v s more in phase %s, %d commands that took long; want %v", p.of, p.labels, s-s0, phase, long-long0, phaseDelay)
		}
		whole := "isantarget_" + p.of + "_command_duration_seconds"
		sum, _ := value(after["isantarget_"+p.of+"_phase_duration_seconds"], false, p.labels...)
		if total, _ := value(after[whole], false, p.labels...); math.Abs(sum-total) > 1e-6 {
			t.Errorf("%s %q: %v s in all, %v s in the phases", p.of, p.labels, total, sum)
		}
	}
}

// measurePhases: a slow store is told as the store's time, a slow initiator as the network's, and
// what waits behind another command as the queue's; of the command, the target and the session.
func (d *measured) measurePhases(c *initiator.Connection) {
	t := d.t
	d.waits("store", placesOf("slow", "READ (10)", "read"), alone, func() {
		d.do(c, initiator.Command{LUN: initiator.LUN(1), CDB: cdb10(0x28, 0, 1), Read: 512})
		d.await(1, "isantarget_lun_phase_duration_seconds", "lun=slow", "command=READ (10)", "phase=store")
	})

	// More than the sockets take, and who reads is slow.
	const reads = 32
	d.waits("network", placesOf("quick", "READ (10)", "read"), together, func() {
		var tasks []*initiator.Task
		for range reads {
			tasks = append(tasks, d.start(c, initiator.Command{CDB: []byte{0x28, 0, 0, 0, 0, 0, 0, 8, 0, 0}, Read: 1 << 20}))
		}
		for _, task := range tasks {
			time.Sleep(phaseDelay / 8) // those behind it wait as long
			d.finish(task)
		}
		d.await(15+reads, "isantarget_lun_phase_duration_seconds", "lun=quick", "direction=read", "phase=network")
	})

	// A write whose data its initiator keeps.
	d.waits("network", placesOf("slow", "WRITE (16)", "write"), alone, func() {
		none := 0
		task := d.start(c, initiator.Command{
			LUN: initiator.LUN(1), CDB: []byte{0x8a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0}, Write: make([]byte, 512),
			ImmediateData: &none, UnsolicitedData: &none, HoldData: true,
		})
		if err := task.WaitR2T(1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(phaseDelay)
		if err := task.Answer(task.R2Ts[0]); err != nil {
			t.Fatal(err)
		}
		d.finish(task)
		d.await(1, "isantarget_lun_phase_duration_seconds", "lun=slow", "command=WRITE (16)", "phase=network")
	})

	// An ORDERED write behind a read that hangs in the store.
	socket := admin.NewClient(filepath.Join(filepath.Dir(d.configFile()), "state", "admin.sock"))
	defer socket.Close()
	if err := socket.SetFaults(t.Context(), "slow", []string{"delay=1h on=read"}); err != nil {
		t.Fatal(err)
	}
	d.waits("queue", placesOf("slow", "WRITE (10)", "write"), alone, func() {
		read := d.start(c, initiator.Command{LUN: initiator.LUN(1), CDB: cdb10(0x28, 0, 1), Read: 512})
		write := d.start(c, initiator.Command{LUN: initiator.LUN(1), CDB: cdb10(0x2a, 0, 1), Write: make([]byte, 512), Attribute: iscsi.AttributeOrdered})
		d.await(2, "isantarget_lun_open_commands", "lun=slow")
		time.Sleep(phaseDelay)
		if err := socket.SetFaults(t.Context(), "slow", nil); err != nil {
			t.Fatal(err)
		}
		d.finish(read, write)
		d.await(1, "isantarget_lun_phase_duration_seconds", "lun=slow", "command=WRITE (10)", "phase=queue")
	})
}

func (d *measured) start(c *initiator.Connection, cmd initiator.Command) *initiator.Task {
	d.t.Helper()
	task, err := c.Start(cmd)
	if err != nil {
		d.t.Fatal(err)
	}
	return task
}

func (d *measured) finish(tasks ...*initiator.Task) {
	d.t.Helper()
	for _, task := range tasks {
		if r, err := task.Wait(); err != nil || r.Status != 0 {
			d.t.Fatalf("%+v, %v", r, err)
		}
	}
}

// measureSessions: sessions of anybody make no series, and those of others end with them.
func (d *measured) measureSessions(c, other *initiator.Connection) {
	t := d.t
	anybody := d.session(metricsTwo, "anybody")
	d.do(anybody, initiator.Command{CDB: make([]byte, 6)})
	if _, err := d.login(metricsTwo, "guest", &initiator.CHAP{User: "two", Secret: "a wrong secret of its"}); err == nil {
		t.Error("a wrong secret lets an initiator in")
	}
	if _, err := d.login("iqn.2026-11.org.isantarget.test:nowhere", "one", nil); err == nil {
		t.Error("there is a target called nowhere")
	}
	d.await(1, "isantarget_target_commands_total", "target="+metricsTwo, "direction=other")
	d.await(1, "isantarget_chap_failures_total")
	d.await(1, "isantarget_logins_refused_total", "reason="+iscsi.LoginNotFound.String())
	d.await(3, "isantarget_logins_total", "session=normal")
	if text, _ := d.scrape(); strings.Contains(text, "anybody") || strings.Contains(text, "nowhere") {
		t.Error("who is let in whatever he calls himself has a series of his own")
	}
	if _, err := c.Logout(iscsi.CloseSession, 0); err != nil {
		t.Fatal(err)
	}
	other.Close()
	d.await(0, "isantarget_target_sessions", "target="+metricsOne)
	d.await(1, "isantarget_target_sessions_lost_total", "target="+metricsOne)
	if _, all := d.scrape(); all["isantarget_session_commands_total"] != nil {
		t.Error("sessions that have ended are told of")
	}
	d.await(15, "isantarget_target_commands_total", "target="+metricsOne, "direction=write")
}

// measureJobs: a job that has ended, and one that runs.
func (d *measured) measureJobs() {
	t := d.t
	socket := admin.NewClient(filepath.Join(filepath.Dir(d.configFile()), "state", "admin.sock"))
	defer socket.Close()
	if _, err := socket.Grow(t.Context(), "slow", "17MiB"); err != nil {
		t.Fatal(err)
	}
	d.await(1, "isantarget_jobs_ended_total", "kind=grow", "state=done")
	d.await(17<<20, "isantarget_lun_size_bytes", "lun=slow")

	c := d.session(metricsOne, "one")
	good(t, c, initiator.Command{LUN: initiator.LUN(2), CDB: make([]byte, 6)})
	// SANITIZE, OVERWRITE, IMMED
	good(t, c, initiator.Command{LUN: initiator.LUN(2), CDB: []byte{0x48, 0x81, 0, 0, 0, 0, 0, 0, 8, 0}, Write: []byte{1, 0, 0, 4, 0xaa, 0xaa, 0xaa, 0xaa}})
	d.await(1, "isantarget_jobs")
	if _, all := d.scrape(); all["isantarget_job_progress_ratio"] == nil {
		t.Error("the progress of SANITIZE is not told")
	}
	d.await(0, "isantarget_lun_ready", "lun=wiped")
	d.await(0, "isantarget_session_commands_total", "initiator="+initiatorNamed("one"), "direction=read") // it has series again
}

func (d *measured) configFile() string { return d.args[slices.Index(d.args, "--config")+1] }

// measureNames: what the dashboard and the alert rules ask for is there, and they parse.
func (d *measured) measureNames() {
	t := d.t
	text, all := d.scrape()
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "isantarget_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	if err != nil {
		t.Error(err)
	}
	expressions := alertExpressions(t)
	for where, e := range dashboardExpressions(t) {
		expressions[where] = e
	}
	if len(expressions) < 40 {
		t.Errorf("%d expressions are too few", len(expressions))
	}
	variable := regexp.MustCompile(`\[\$__\w+\]`)
	for where, text := range expressions {
		e, err := metricsql.Parse(variable.ReplaceAllString(text, "[5m]"))
		if err != nil {
			t.Errorf("%s: %v", where, err)
			continue
		}
		metricsql.VisitAll(e, func(e metricsql.Expr) {
			m, ok := e.(*metricsql.MetricExpr)
			if !ok {
				return
			}
			for _, filters := range m.LabelFilterss {
				if complaint := lacks(all, filters); complaint != "" {
					t.Errorf("%s: %s", where, complaint)
				}
			}
		})
	}
}

// lacks says what of a selector there is not.
func lacks(all map[string]*dto.MetricFamily, filters []metricsql.LabelFilter) string {
	name := filters[0].Value
	if filters[0].Label != "__name__" {
		return "a selector without a name"
	}
	if name == "up" {
		return "" // Prometheus's own
	}
	f := all[name]
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if base := all[strings.TrimSuffix(name, suffix)]; base.GetType() == dto.MetricType_HISTOGRAM && strings.HasSuffix(name, suffix) {
			f = base
		}
	}
	if f == nil {
		return "there is no metric " + name
	}
	for _, filter := range filters[1:] {
		own := slices.ContainsFunc(f.Metric[0].GetLabel(), func(l *dto.LabelPair) bool { return l.GetName() == filter.Label })
		if !own && filter.Label != "instance" && filter.Label != "job" {
			return name + " has no label " + filter.Label
		}
	}
	return ""
}

func alertExpressions(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../../configs/prometheus/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Name  string `yaml:"name"`
			Rules []struct {
				Alert       string            `yaml:"alert"`
				Expr        string            `yaml:"expr"`
				For         model.Duration    `yaml:"for"`
				Labels      map[string]string `yaml:"labels"`
				Annotations map[string]string `yaml:"annotations"`
			} `yaml:"rules"`
		} `yaml:"groups"`
	}
	reader := yaml.NewDecoder(strings.NewReader(string(text)))
	reader.KnownFields(true)
	if err := reader.Decode(&file); err != nil {
		t.Fatal(err)
	}
	expressions := map[string]string{}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if r.Alert == "" || expressions[r.Alert] != "" || r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("rule %q lacks something, or is there twice", r.Alert)
			}
			expressions[r.Alert] = r.Expr
		}
	}
	return expressions
}

func dashboardExpressions(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../../configs/grafana/isantarget.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			ID      int
			Title   string
			Type    string
			Targets []struct{ Expr, RefID string }
		}
		Templating struct {
			List []struct {
				Name, Type string
				Query      any
			}
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	expressions, ids := map[string]string{}, map[int]bool{}
	for _, p := range board.Panels {
		if ids[p.ID] || p.Title == "" || p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %d, %q, is there twice, or lacks something", p.ID, p.Title)
		}
		ids[p.ID] = true
		for _, q := range p.Targets {
			expressions[fmt.Sprintf("panel %q %s", p.Title, q.RefID)] = q.Expr
		}
	}
	for _, v := range board.Templating.List {
		if q, ok := v.Query.(map[string]any); ok {
			metric, _, _ := strings.Cut(strings.TrimPrefix(q["query"].(string), "label_values("), ",")
			expressions["variable "+v.Name] = metric
		}
	}
	return expressions
}
