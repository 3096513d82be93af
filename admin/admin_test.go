package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"
	"go.uber.org/goleak"

	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/job"
	"github.com/isantarget/isantarget/provision"
)

// A fake is a daemon that remembers what it was told.
type fake struct {
	mu    sync.Mutex
	calls []string
	log   *logrus.Logger // of its server
	sound bool           // without the bug
	err   error
}

func (f *fake) call(format string, args ...any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
	return f.err
}

func (f *fake) Sessions() ([]provision.SessionStatus, error) {
	return []provision.SessionStatus{{TSIH: 7, Initiator: "iqn.x"}}, f.call("sessions")
}
func (f *fake) Logout(_ context.Context, tsih uint16) error { return f.call("logout %d", tsih) }
func (f *fake) LUNs() ([]provision.LUNStatus, error) {
	return []provision.LUNStatus{{Name: "a"}}, f.call("luns")
}
func (f *fake) SetAccessState(lun string, group uint16, state string) error {
	return f.call("access %s %d %s", lun, group, state)
}
func (f *fake) Faults(lun string) ([]provision.FaultStatus, error) {
	return []provision.FaultStatus{{Fault: "torn", Met: 3, Struck: 1}}, f.call("faults %s", lun)
}
func (f *fake) SetFaults(lun string, words []string) error {
	return f.call("set faults %s %q", lun, words)
}
func (f *fake) Recover(_ context.Context, lun string, r provision.Recovery) error {
	return f.call("recover %s %v", lun, r)
}
func (f *fake) Stores() ([]provision.StoreStatus, error) {
	return []provision.StoreStatus{{Name: "tank"}}, f.call("stores")
}
func (f *fake) Counters() (provision.LoadStatus, error) {
	return provision.LoadStatus{Uptime: 7, LUNs: []provision.LUNLoad{{Name: "disk"}}}, f.call("load")
}
func (f *fake) Meters() (provision.Meters, error) { return provision.Meters{}, f.call("meters") }
func (f *fake) Snapshots(lun string) ([]provision.SnapshotStatus, error) {
	return []provision.SnapshotStatus{{LUN: lun, Name: "noon"}}, f.call("snapshots %q", lun)
}
func (f *fake) Snapshot(lun, name string) (provision.SnapshotStatus, error) {
	return provision.SnapshotStatus{LUN: lun, Name: name}, f.call("snapshot %s %s", lun, name)
}
func (f *fake) TakeSnapshots(_ context.Context, luns []string, name string) (provision.SnapshotsTaken, error) {
	return provision.SnapshotsTaken{Name: name, LUNs: luns}, f.call("take %v %s", luns, name)
}
func (f *fake) DeleteSnapshot(lun, name string) (job.Status, error) {
	return job.Status{ID: "7", Object: lun}, f.call("delete snapshot %s %s", lun, name)
}
func (f *fake) Rollback(_ context.Context, lun, snapshot string, force bool) error {
	return f.call("rollback %s %s %v", lun, snapshot, force)
}
func (f *fake) Clone(_ context.Context, lun, snapshot, clone, path string) (provision.CloneStatus, error) {
	return provision.CloneStatus{Path: path}, f.call("clone %s %q %s %q", lun, snapshot, clone, path)
}
func (f *fake) Targets() ([]provision.TargetStatus, error) {
	if err := f.call("targets"); err != nil {
		return nil, err
	}
	if f.sound {
		return nil, nil
	}
	panic("a bug")
}
func (f *fake) Reservations(lun string) ([]provision.ReservationStatus, error) {
	return []provision.ReservationStatus{{LUN: "a"}}, f.call("reservations %s", lun)
}
func (f *fake) ClearReservations(lun string) error { return f.call("clear %s", lun) }
func (f *fake) LUN(name string) (provision.LUNDetail, error) {
	return provision.LUNDetail{Extents: 7, LUNStatus: provision.LUNStatus{Alerts: []string{}, Faults: []string{}, Paths: []provision.PathStatus{}},
		Maps: []provision.LUNMap{}, Sessions: []provision.LUNUser{}}, f.call("lun %s", name)
}
func (f *fake) Allocation(_ context.Context, lun string, cells int) (provision.AllocationMap, error) {
	return provision.AllocationMap{Mapped: []int{}, Anchored: []int{}}, f.call("map %s %d", lun, cells)
}
func (f *fake) Defragment(lun string) (job.Status, error) {
	return job.Status{ID: "4"}, f.call("defragment %s", lun)
}
func (f *fake) Verify(lun, rate string) (job.Status, error) {
	return job.Status{ID: "6"}, f.call("verify %s %s", lun, rate)
}
func (f *fake) Copy(lun string, c provision.Copying) (job.Status, error) {
	return job.Status{ID: "7"}, f.call("copy %s@%s %s", lun, c.Snapshot, c.Name)
}
func (f *fake) Grow(lun, size string) (job.Status, error) {
	return job.Status{ID: "3"}, f.call("grow %s %s", lun, size)
}
func (f *fake) Shrink(lun, size string, lossAllowed bool) (job.Status, error) {
	return job.Status{ID: "5"}, f.call("shrink %s %s %v", lun, size, lossAllowed)
}
func (f *fake) Jobs() []job.Status {
	f.call("jobs")
	return []job.Status{{ID: "1"}}
}
func (f *fake) Job(id string) (job.Status, error) {
	return job.Status{ID: id, State: job.Done}, f.call("job %s", id)
}
func (f *fake) CancelJob(id string) error { return f.call("cancel %s", id) }
func (f *fake) Reload(context.Context) (Change, error) {
	return Change{Changes: []string{"LUN b added"}}, f.call("reload")
}

func (f *fake) Version() string    { return "1.0" }
func (f *fake) Warnings() []string { return nil }
func (f *fake) ISNS() *provision.ISNSStatus {
	return &provision.ISNSStatus{Server: "192.0.2.1:3205", State: "registered", Portals: []string{}, Targets: []string{}}
}
func (f *fake) Apply(_ context.Context, file string) (Change, error) {
	return Change{}, f.call("apply %s", file)
}
func (f *fake) Forecast(name, dir, text string) (provision.Forecast, error) {
	return provision.Forecast{Warnings: []string{"w"}}, f.call("forecast %s %s %s", name, dir, text)
}
func (f *fake) Export() (configs.Config, error) {
	return configs.Config{State: "/state"}, f.call("export")
}
func (f *fake) Objects(t configs.Table) []provision.ObjectStatus {
	f.call("objects %s", t)
	o, _ := configs.ObjectFromJSON(t, []byte(`{"name": "a"}`))
	return []provision.ObjectStatus{{Table: t, Name: "a", Object: o}}
}
func (f *fake) Object(t configs.Table, name string) (provision.ObjectStatus, error) {
	o, _ := configs.ObjectFromJSON(t, []byte(`{"name": "a"}`))
	return provision.ObjectStatus{Table: t, Name: name, Version: "v1", Object: o}, f.call("object %s %s", t, name)
}
func (f *fake) Edit(_ context.Context, b provision.Batch) (Change, error) {
	for _, p := range b.Puts {
		if err := f.call("put %s %q", p.Object, p.Version); err != nil {
			return Change{}, err
		}
	}
	for _, d := range b.Deletes {
		if err := f.call("delete %s %s %q", d.Table, d.Name, d.Version); err != nil {
			return Change{}, err
		}
	}
	return Change{}, f.err
}

// serve answers for f until the test ends.
func serve(t *testing.T, f *fake) (socket string, log *test.Hook) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), SocketName)
	l, err := Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	logger, hook := test.NewNullLogger()
	logger.SetLevel(logrus.DebugLevel)
	f.log = logger
	s := NewServer(f, logger, nil)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(socket); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the socket is still there: %v", err)
		}
	})
	return socket, hook
}

func TestClientAndServer(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	t.Run("calls", func(t *testing.T) {
		f := &fake{}
		socket, _ := serve(t, f)
		c := NewClient(socket)
		defer c.Close()
		ctx := t.Context()
		check := func(err error) {
			t.Helper()
			if err != nil {
				t.Error(err)
			}
		}
		s, err := c.Sessions(ctx)
		if check(err); len(s) != 1 || s[0].TSIH != 7 {
			t.Errorf("sessions %+v", s)
		}
		check(c.Logout(ctx, 65535))
		l, err := c.LUNs(ctx)
		if check(err); len(l) != 1 || l[0].Name != "a" {
			t.Errorf("LUNs %+v", l)
		}
		check(c.SetAccessState(ctx, "a/b c", 3, "standby"))
		stores, err := c.Stores(ctx)
		if check(err); len(stores) != 1 || stores[0].Name != "tank" {
			t.Errorf("stores %+v", stores)
		}
		faults, err := c.Faults(ctx, "a")
		if check(err); len(faults) != 1 || faults[0].Struck != 1 {
			t.Errorf("faults %+v", faults)
		}
		check(c.SetFaults(ctx, "a", []string{"torn", "error=EIO on=read"}))
		check(c.SetFaults(ctx, "a", nil))
		check(c.Recover(ctx, "a", provision.Recovery{TakeImage: true}))
		r, err := c.Reservations(ctx)
		if check(err); len(r) != 1 || r[0].LUN != "a" {
			t.Errorf("reservations %+v", r)
		}
		check(c.ClearReservations(ctx, "ä"))
		detail, err := c.LUN(ctx, "a b")
		if check(err); detail.Extents != 7 {
			t.Errorf("LUN %+v", detail)
		}
		moved, err := c.Defragment(ctx, "a b")
		if check(err); moved.ID != "4" {
			t.Errorf("defragmenting is job %+v", moved)
		}
		grown, err := c.Grow(ctx, "a b", "+1GiB")
		if check(err); grown.ID != "3" {
			t.Errorf("growing is job %+v", grown)
		}
		shrunk, err := c.Shrink(ctx, "a b", "1GiB", true)
		if check(err); shrunk.ID != "5" {
			t.Errorf("shrinking is job %+v", shrunk)
		}
		verified, err := c.Verify(ctx, "a b", "1MiB")
		if check(err); verified.ID != "6" {
			t.Errorf("verifying is job %+v", verified)
		}
		copied, err := c.Copy(ctx, "a b", provision.Copying{Name: "c", Snapshot: "noon"})
		if check(err); copied.ID != "7" {
			t.Errorf("copying is job %+v", copied)
		}
		jobs, err := c.Jobs(ctx)
		if check(err); len(jobs) != 1 || jobs[0].ID != "1" {
			t.Errorf("jobs %+v", jobs)
		}
		ended, err := c.WaitForJob(ctx, "a/1", nil)
		if check(err); ended.ID != "a/1" || ended.State != job.Done {
			t.Errorf("job %+v", ended)
		}
		check(c.CancelJob(ctx, "2"))
		change, err := c.Reload(ctx)
		if check(err); len(change.Changes) != 1 {
			t.Errorf("change %+v", change)
		}
		want := "sessions,logout 65535,luns,access a/b c 3 standby,stores,faults a,set faults a [\"torn\" \"error=EIO on=read\"],set faults a [],recover a to serve the image that is there now,reservations ,clear ä,lun a b,defragment a b,grow a b +1GiB,shrink a b 1GiB true,verify a b 1MiB,copy a b@noon c,jobs,job a/1,cancel 2,reload"
		if got := strings.Join(f.calls, ","); got != want {
			t.Errorf("calls\n%s\nwant\n%s", got, want)
		}
	})
}

// request sends method and path with a body, and gives the status and the error in
// the answer, which must be JSON.
func request(t *testing.T, socket, method, path, body string) (int, string) {
	t.Helper()
	status, text := exchange(t, socket, method, path, body)
	var said struct{ Error string }
	json.Unmarshal([]byte(text), &said)
	return status, said.Error
}

// exchange is request with all of the answer.
func exchange(t *testing.T, socket, method, path, body string) (int, string) {
	t.Helper()
	c := NewClient(socket)
	defer c.Close()
	r, err := http.NewRequest(method, "http://isantarget"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := c.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.Header.Get("Content-Type") != "application/json" || !json.Valid(text) {
		t.Errorf("%s %s: %s: %q is not JSON", method, path, response.Header.Get("Content-Type"), text)
	}
	return response.StatusCode, string(text)
}

func TestBadRequests(t *testing.T) {
	f := &fake{}
	socket, log := serve(t, f)
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/", "", 404, "there is nothing at /"},
		{"GET", "/session", "", 404, "there is nothing at /session"},
		{"POST", "/sessions", "", 405, "POST is not for /sessions; allowed: GET, HEAD"},
		{"GET", "/reload", "", 405, "GET is not for /reload; allowed: POST"},
		{"DELETE", "/sessions/x", "", 400, `"x" is not a number from 0 to 65535`},
		{"DELETE", "/sessions/65536", "", 400, `"65536" is not a number from 0 to 65535`},
		{"DELETE", "/sessions/-1", "", 400, `"-1" is not a number from 0 to 65535`},
		{"PUT", "/luns/a/access-states/1", "", 400, "is not the JSON that is wanted: EOF"},
		{"PUT", "/luns/a/access-states/1", "standby", 400, "is not the JSON that is wanted: invalid character"},
		{"PUT", "/luns/a/access-states/1", `{"stat": "standby"}`, 400, `unknown field "stat"`},
		{"PUT", "/luns/a/access-states/1", `{"state": 1}`, 400, "cannot unmarshal number"},
		{"PUT", "/luns/a/access-states/1", `{"state": "standby"}{}`, 400, "something stands behind it"},
		{"PUT", "/luns/a/access-states/1", `{"state": "` + strings.Repeat("x", maxBody) + `"}`, 413, "longer than 4194304 bytes"},
		{"POST", "/reload", strings.Repeat("x", maxBody+1), 413, "longer than 4194304 bytes"},
		{"GET", "/targets", "", 500, "a bug of isantarget"},
	} {
		status, said := request(t, socket, c.method, c.path, c.body)
		if status != c.status || !strings.Contains(said, c.want) {
			t.Errorf("%s %s %.30q: %d %q, want %d %q", c.method, c.path, c.body, status, said, c.status, c.want)
		}
	}
	if len(f.calls) != 1 {
		t.Errorf("the daemon was told %q, want nothing but what has panicked", f.calls)
	}
	if e := log.LastEntry(); e == nil || !strings.Contains(e.Message, "GET /targets: panic: a bug") {
		t.Errorf("the log of the panic: %v", e)
	}
}

func TestErrorsOfTheDaemon(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
	}{
		{&provision.UnknownError{What: "LUN", Name: "b", Known: []string{"a"}}, 404},
		{&provision.WordError{Word: "tron", Err: errors.New("is not known")}, 400},
		{&provision.RecoveryError{LUN: "a", Err: errors.New("there is nothing to recover")}, 422},
		{provision.ErrStopped, 503},
		{provision.ErrEnded, 503},
		{&provision.StaleError{Object: "LUN a", Version: "v"}, 412},
		{fmt.Errorf("LUN a: %w", provision.ErrNoVersion), 428},
		{&Refusal{errors.New("san.toml:3: lun.size: is none")}, 422},
		{errors.New("anything else"), 500},
	} {
		f := &fake{err: c.err}
		socket, _ := serve(t, f)
		if status, said := request(t, socket, "DELETE", "/reservations/b", ""); status != c.status || said != c.err.Error() {
			t.Errorf("%v: %d %q", c.err, status, said)
		}
		client := NewClient(socket)
		if err := client.ClearReservations(t.Context(), "b"); err == nil || err.Error() != c.err.Error() {
			t.Errorf("the client says %v, want %v", err, c.err)
		}
		client.Close()
	}
}

// TestGarbage: what is no HTTP ends its connection, and nobody else's.
func TestGarbage(t *testing.T) {
	socket, _ := serve(t, &fake{})
	for _, sent := range []string{
		"\x00\x01\x02\x03\r\n\r\n",
		"GET /sessions HTTP/9.9\r\n\r\n",
		"GET /sessions HTTP/1.1\r\n\r\n", // no Host
		"GET /sessions HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n",
		"POST /reload HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
		"POST /reload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		strings.Repeat("A", 1<<20),
	} {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		io.WriteString(conn, sent) // it may be refused before its end
		answer, _ := io.ReadAll(conn)
		if line, _, _ := bytes.Cut(answer, []byte("\r\n")); len(line) > 0 && !bytes.Contains(line, []byte(" 4")) && !bytes.Contains(line, []byte(" 505")) {
			t.Errorf("%.60q is answered with %q", sent, line)
		}
		conn.Close()
		if status, _ := request(t, socket, "GET", "/sessions", ""); status != 200 {
			t.Errorf("after %.60q: status %d", sent, status)
		}
	}
}

func TestManyCallersAtOnce(t *testing.T) {
	f := &fake{}
	socket, _ := serve(t, f)
	const callers, calls = 10, 20
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			c := NewClient(socket)
			defer c.Close()
			for range calls {
				if _, err := c.LUNs(t.Context()); err != nil {
					t.Error(err)
				}
				if err := c.Logout(t.Context(), uint16(i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if len(f.calls) != 2*callers*calls {
		t.Errorf("%d calls arrived, want %d", len(f.calls), 2*callers*calls)
	}
}

func TestSocket(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, SocketName)
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != fs.ModeSocket|0o660 {
		t.Errorf("%v, %v, want a socket with mode 0660", info.Mode(), err)
	}
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "another daemon answers at "+path) {
		t.Errorf("a second one: %v", err)
	}
	l.Close()

	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	left.Close() // as if its daemon was killed
	if l, err = Listen(path); err != nil {
		t.Fatalf("over one that was left: %v", err)
	}
	l.Close()

	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "move it away") {
		t.Errorf("over a file: %v", err)
	}
}

// TestLongPath: the address of a socket has 107 bytes, a path may have more.
func TestLongPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("x", 120))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, SocketName)
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := dial(path)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	l.Close()
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestNoDaemon(t *testing.T) {
	socket := filepath.Join(t.TempDir(), SocketName)
	c := NewClient(socket)
	_, err := c.Sessions(t.Context())
	if want := "no daemon answers at " + socket + ": start one, or say where its state is with --state DIR or --socket FILE"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Sessions(ctx); err == nil || !strings.Contains(err.Error(), "gave up waiting") {
		t.Errorf("cancelled: %v", err)
	}
}

// FuzzRequest: no request does anything but what it says, and every answer is JSON.
func FuzzRequest(f *testing.F) {
	f.Add("PUT", "/luns/a/access-states/1", []byte(`{"state":"standby"}`))
	f.Add("DELETE", "/sessions/1", []byte{})
	f.Add("GET", "//reservations/../%2e%2e", []byte("x"))
	log, _ := test.NewNullLogger()
	f.Fuzz(func(t *testing.T, method, path string, body []byte) {
		r, err := http.NewRequest(method, "http://isantarget/", bytes.NewReader(body))
		if err != nil {
			return
		}
		r.URL.Path = "/" + strings.TrimPrefix(path, "/")
		var d fake
		d.err = errors.New("no")
		w := &answerRecorder{header: http.Header{}}
		s := NewServer(&d, log, nil)
		s.http.Handler.ServeHTTP(w, r)
		redirect := w.status == http.StatusMovedPermanently || w.status == http.StatusTemporaryRedirect
		if w.status < 400 && !redirect || !redirect && method != "HEAD" && !json.Valid(w.body.Bytes()) {
			t.Errorf("%s %q: %d %q", method, path, w.status, w.body.String())
		}
	})
}

// An answerRecorder keeps an answer.
type answerRecorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answerRecorder) Header() http.Header         { return a.header }
func (a *answerRecorder) Write(p []byte) (int, error) { return a.body.Write(p) }
func (a *answerRecorder) WriteHeader(status int)      { a.status = status }
