package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	stdlog "log"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/job"
	"github.com/isantarget/isantarget/provision"
)

// The bounds of a request.
const (
	maxBody   = 4 << 20 // a configuration of thousands of LUNs
	maxHeader = 16 << 10

	headerBound = 10 * time.Second
	readBound   = 10 * time.Second // of its body
	writeBound  = 10 * time.Second // of its answer
	idleBound   = 60 * time.Second
	pageBound   = 60 * time.Second // of a file of the page
	maxLogin    = 4 << 10          // of its body
)

// A Daemon is what the plane looks at and changes.
type Daemon interface {
	Sessions() ([]provision.SessionStatus, error)
	Logout(ctx context.Context, tsih uint16) error
	LUNs() ([]provision.LUNStatus, error)
	SetAccessState(lun string, group uint16, state string) error
	Recover(ctx context.Context, lun string, allowed provision.Recovery) error
	Faults(lun string) ([]provision.FaultStatus, error)
	SetFaults(lun string, words []string) error
	Stores() ([]provision.StoreStatus, error)
	Counters() (provision.LoadStatus, error)
	Meters() (provision.Meters, error)
	Snapshots(lun string) ([]provision.SnapshotStatus, error)
	Snapshot(lun, name string) (provision.SnapshotStatus, error)
	TakeSnapshots(ctx context.Context, luns []string, name string) (provision.SnapshotsTaken, error)
	DeleteSnapshot(lun, name string) (job.Status, error)
	Rollback(ctx context.Context, lun, snapshot string, force bool) error
	Clone(ctx context.Context, lun, snapshot, clone, path string) (provision.CloneStatus, error)
	Targets() ([]provision.TargetStatus, error)
	Reservations(lun string) ([]provision.ReservationStatus, error)
	ClearReservations(lun string) error
	LUN(name string) (provision.LUNDetail, error)
	Allocation(ctx context.Context, lun string, cells int) (provision.AllocationMap, error)
	Grow(lun, size string) (job.Status, error)
	Shrink(lun, size string, lossAllowed bool) (job.Status, error)
	Defragment(lun string) (job.Status, error)
	Verify(lun, rate string) (job.Status, error)
	Copy(lun string, c provision.Copying) (job.Status, error)
	Jobs() []job.Status
	Job(id string) (job.Status, error)
	CancelJob(id string) error
	Version() string
	// Warnings are what is probably not meant of the configuration that runs.
	Warnings() []string
	// ISNS is how the iSNS server is that keeps our registration; nil: there is none.
	ISNS() *provision.ISNSStatus
	// Reload applies the configuration file again. A *Refusal has changed nothing.
	Reload(ctx context.Context) (Change, error)

	// Apply is Reload, if file is the configuration file of the daemon.
	Apply(ctx context.Context, file string) (Change, error)
	// Forecast says what Reload would change if the configuration file, called name and in
	// dir, said text.
	Forecast(name, dir, text string) (provision.Forecast, error)
	// Export is the whole configuration that runs, with serials.
	Export() (configs.Config, error)

	// Objects are those of the configuration, of a table; Object is the one of a name.
	Objects(configs.Table) []provision.ObjectStatus
	Object(table configs.Table, name string) (provision.ObjectStatus, error)
	// Edit makes changes of objects, all or none of them. An error has changed nothing.
	Edit(context.Context, provision.Batch) (Change, error)
}

// A Change is what a change has done, in words, and the objects that were put.
type Change struct {
	Changes  []string                 `json:"changes"`
	Warnings []string                 `json:"warnings"`
	Objects  []provision.ObjectStatus `json:"objects,omitempty"`
}

// A Refusal is why a change was not made.
type Refusal struct{ Err error }

// Error is that of what is wrong.
func (r *Refusal) Error() string { return r.Err.Error() }

// Unwrap is what is wrong.
func (r *Refusal) Unwrap() error { return r.Err }

// A Server answers requests, on a socket and, as a [provision.Companion], over the network.
type Server struct {
	http    http.Server // on the socket
	streams atomic.Int32
	events  *Events
	daemon  Daemon
	log     *logrus.Entry

	mux    *http.ServeMux
	scopes map[string]configs.Scope // of patterns
	page   map[string]pageFile      // by path
	origin *http.CrossOriginProtection

	access access
	mu     sync.Mutex
	door   *door // nil: it is not heard over the network
	doors  sync.WaitGroup
}

// NewServer makes a server for d, with the files of the web page; nil: it has none. What
// is logged from now on are its events.
func NewServer(d Daemon, log *logrus.Logger, page fs.FS) *Server {
	s := &Server{daemon: d, log: logrus.NewEntry(log), events: NewEvents(), scopes: scopes(), page: readPage(page), origin: http.NewCrossOriginProtection()}
	log.AddHook(s.events)
	s.mux = s.routes()
	s.http = http.Server{
		Handler: s.handler(nil), MaxHeaderBytes: maxHeader, ReadHeaderTimeout: headerBound, IdleTimeout: idleBound,
		ErrorLog: stdlog.New(complaints{s.log}, "", 0),
	}
	s.http.RegisterOnShutdown(s.events.end)
	return s
}

// Handler answers requests, wherever they come from.
func (s *Server) Handler() http.Handler { return s.http.Handler }

// Serve answers on l until Shutdown, and closes l.
func (s *Server) Serve(l net.Listener) error {
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Shutdown takes no more requests, and waits for those under way until ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	return errors.Join(err, s.http.Close(), s.shutDoor(ctx))
}

// complaints are what net/http complains of: it is about peers, not about us.
type complaints struct{ log *logrus.Entry }

func (c complaints) Write(p []byte) (int, error) {
	c.log.Debugf("admin plane: %s", p)
	return len(p), nil
}

// handler answers requests that come through a door, or, if that is nil, by the socket. A
// panic does not end the daemon.
func (s *Server) handler(d *door) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != nil {
				s.log.Errorf("admin plane: %s %s: panic: %v\n%s", r.Method, r.URL.Path, p, debug.Stack())
				fail(w, http.StatusInternalServerError, errors.New("a bug of isantarget: the log has more; please report it"))
			}
		}()
		protect(w.Header())
		handler, pattern := s.mux.Handler(r)
		if pattern == "" && s.servePage(w, r) {
			return
		}
		r, err := s.letIn(r, d, pattern)
		if err != nil {
			s.refuse(w, r, err)
			return
		}
		bound := int64(maxBody)
		if pattern == loginPattern {
			bound = maxLogin
		}
		if err := readBody(w, r, bound); err != nil {
			fail(w, statusOf(err), err)
			return
		}
		if pattern != "" {
			s.mux.ServeHTTP(w, r)
			return
		}
		s.answerMisdirected(w, r, handler)
	})
}

// letIn gives a request for what a pattern stands for its pass, or says why it has none.
func (s *Server) letIn(r *http.Request, d *door, pattern string) (*http.Request, error) {
	if err := named(r, d); err != nil {
		return r, err
	}
	if err := s.origin.Check(r); err != nil {
		return r, &accessError{status: http.StatusForbidden, what: "this request was sent by a page of another site, and changes something: " + err.Error()}
	}
	if pattern == loginPattern || pattern == logoutPattern {
		if d != nil && r.ContentLength != 0 && !isJSON(r) {
			return r, &accessError{status: http.StatusUnsupportedMediaType, what: "the body has to be application/json"}
		}
		return r, nil
	}
	p := pass{name: unnamed, scope: configs.WriteScope, held: context.Background(), streams: &s.streams, touch: func() {}}
	if d != nil {
		var err error
		if p, err = s.access.admit(r, d); err != nil {
			return r, err
		}
		peerOf(r).known.Store(true)
	}
	scope := s.scopeOf(pattern)
	if !p.may(scope) {
		return r, &accessError{status: http.StatusForbidden, what: fmt.Sprintf("token %s is only to read; this wants one with the scope write", p.name)}
	}
	if d != nil && scope != configs.ReadScope {
		s.log.WithFields(logrus.Fields{"event": "admin", "token": p.name, "from": fromOf(r).String()}).Infof("%s %s", r.Method, r.URL.Path)
	}
	return r.WithContext(context.WithValue(r.Context(), passKey{}, p)), nil
}

// scopeOf is what a token has to be for, to have what a pattern stands for.
func (s *Server) scopeOf(pattern string) configs.Scope {
	if scope, ok := s.scopes[pattern]; ok {
		return scope
	}
	if pattern == "" { // there is nothing
		return configs.ReadScope
	}
	return description{}.scope(pattern)
}

// answerMisdirected puts the errors of mux into our form.
func (s *Server) answerMisdirected(w http.ResponseWriter, r *http.Request, handler http.Handler) {
	said := unsent{}
	handler.ServeHTTP(said, r)
	if allow := said.Header().Get("Allow"); allow != "" {
		w.Header().Set("Allow", allow)
		fail(w, http.StatusMethodNotAllowed, fmt.Errorf("%s is not for %s; allowed: %s", r.Method, r.URL.Path, allow))
		return
	}
	fail(w, http.StatusNotFound, fmt.Errorf("there is nothing at %s", r.URL.Path))
}

// readBody reads all of the body of r, so that nobody waits for it later.
func readBody(w http.ResponseWriter, r *http.Request, bound int64) error {
	if r.ContentLength == 0 {
		return nil
	}
	c := http.NewResponseController(w)
	c.SetReadDeadline(time.Now().Add(readBound))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bound))
	c.SetReadDeadline(time.Time{})
	r.Body = io.NopCloser(bytes.NewReader(body))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return fmt.Errorf("the body of the request is longer than %d bytes: %w", bound, err)
	case err != nil:
		return &requestError{fmt.Sprintf("the body of the request did not come: %v", err)}
	}
	return nil
}

// unsent takes the header of an answer that mux gives by itself, and sends nothing.
type unsent http.Header

func (u unsent) Header() http.Header         { return http.Header(u) }
func (u unsent) Write(p []byte) (int, error) { return len(p), nil }
func (u unsent) WriteHeader(int)             {}

// statusOf is the HTTP status of an error.
func statusOf(err error) int {
	var (
		unknown *provision.UnknownError
		refusal *Refusal
		request *requestError
		word    *provision.WordError
		refused *provision.RecoveryError
		large   *http.MaxBytesError
		busy    *job.BusyError
		ended   *provision.JobEndedError
		clash   *provision.ClashError
		stale   *provision.StaleError
		unfit   *provision.RefusedError
		snap    *provision.SnapshotError
		cells   *provision.CellsError
	)
	switch {
	case errors.As(err, &busy), errors.As(err, &ended), errors.As(err, &clash), errors.As(err, &snap):
		return http.StatusConflict
	case errors.As(err, &stale):
		return http.StatusPreconditionFailed
	case errors.Is(err, provision.ErrNoVersion):
		return http.StatusPreconditionRequired
	case errors.As(err, &large):
		return http.StatusRequestEntityTooLarge
	case errors.As(err, &request), errors.As(err, &word), errors.As(err, &cells):
		return http.StatusBadRequest
	case errors.As(err, &unknown):
		return http.StatusNotFound
	case errors.As(err, &refusal), errors.As(err, &refused), errors.As(err, &unfit):
		return http.StatusUnprocessableEntity
	case errors.Is(err, provision.ErrStopped), errors.Is(err, provision.ErrEnded):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// fail answers with an error.
func fail(w http.ResponseWriter, status int, err error) {
	answer(w, status, struct {
		Error string `json:"error"`
	}{err.Error()})
}

func answer(w http.ResponseWriter, status int, v any) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	e.Encode(v)
	send(w, status, "application/json", b.Bytes())
}

// send sends an answer; if the peer is gone there is nobody to tell.
func send(w http.ResponseWriter, status int, kind string, body []byte) {
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeBound))
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(body)
}

// A requestError is a request that makes no sense.
type requestError struct{ what string }

func (e *requestError) Error() string { return e.what }

// decode reads the body of r, which is one JSON object with the fields of v.
func decode(r *http.Request, v any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil && d.Decode(&struct{}{}) != io.EOF {
		err = errors.New("something stands behind it")
	}
	if err != nil {
		return &requestError{fmt.Sprintf("the body of the request is not the JSON that is wanted: %v", err)}
	}
	return nil
}
