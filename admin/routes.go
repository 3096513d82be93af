package admin

import (
	"net/http"
	"path/filepath"
	"strconv"
	"time"

	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/metrics"
	"github.com/isantarget/isantarget/provision"
)

// A route answers a request with a value, or an error.
type route func(*http.Request) (any, error)

// done is the answer to what is done and tells no more.
type done struct{}

// table is all that can be asked for and is answered at once, by its pattern.
func (s *Server) table() map[string]route {
	return map[string]route{
		"GET /openapi.json":                       s.document,
		"GET /status":                             s.status,
		"GET /load":                               func(*http.Request) (any, error) { return s.daemon.Counters() },
		"GET /sessions":                           func(*http.Request) (any, error) { return s.daemon.Sessions() },
		"DELETE /sessions/{tsih}":                 s.logoutSession,
		"GET /login":                              s.caller,
		"GET /luns":                               func(*http.Request) (any, error) { return s.daemon.LUNs() },
		"PUT /luns/{lun}/access-states/{group}":   s.setAccessState,
		"GET /luns/{lun}":                         func(r *http.Request) (any, error) { return s.daemon.LUN(r.PathValue("lun")) },
		"GET /luns/{lun}/map":                     s.allocation,
		"POST /luns/{lun}/defragment":             func(r *http.Request) (any, error) { return s.daemon.Defragment(r.PathValue("lun")) },
		"POST /luns/{lun}/recover":                s.recover,
		"GET /luns/{lun}/faults":                  s.faults,
		"PUT /luns/{lun}/faults":                  s.setFaults,
		"POST /luns/{lun}/verify":                 s.verify,
		"POST /luns/{lun}/copy":                   s.copy,
		"GET /stores":                             func(*http.Request) (any, error) { return s.daemon.Stores() },
		"GET /snapshots":                          func(*http.Request) (any, error) { return s.daemon.Snapshots("") },
		"POST /snapshots":                         s.takeSnapshots,
		"GET /luns/{lun}/snapshots":               func(r *http.Request) (any, error) { return s.daemon.Snapshots(r.PathValue("lun")) },
		"GET /luns/{lun}/snapshots/{snapshot}":    s.snapshot,
		"DELETE /luns/{lun}/snapshots/{snapshot}": s.deleteSnapshot,
		"POST /luns/{lun}/rollback":               s.rollback,
		"POST /luns/{lun}/clone":                  s.clone,
		"GET /targets":                            func(*http.Request) (any, error) { return s.daemon.Targets() },
		"GET /reservations":                       func(*http.Request) (any, error) { return s.daemon.Reservations("") },
		"GET /reservations/{lun}":                 s.reservations,
		"DELETE /reservations/{lun}":              s.clearReservations,
		"POST /luns/{lun}/grow":                   s.grow,
		"POST /luns/{lun}/shrink":                 s.shrink,
		"GET /jobs":                               func(*http.Request) (any, error) { return s.daemon.Jobs(), nil },
		"GET /jobs/{job}":                         func(r *http.Request) (any, error) { return s.daemon.Job(r.PathValue("job")) },
		"DELETE /jobs/{job}":                      func(r *http.Request) (any, error) { return done{}, s.daemon.CancelJob(r.PathValue("job")) },
		"POST /reload":                            func(r *http.Request) (any, error) { return s.daemon.Reload(r.Context()) },
		"POST /apply":                             s.apply,
		"POST /plan":                              s.plan,
		"GET /config":                             func(*http.Request) (any, error) { return s.daemon.Export() },
		"GET /config/{table}":                     s.objects,
		"POST /config/{table}":                    s.createObject,
		"GET /config/{table}/{name}":              s.object,
		"PUT /config/{table}/{name}":              s.putObject,
		"DELETE /config/{table}/{name}":           s.deleteObject,
		"POST /changes":                           s.change,
	}
}

// What needs no token.
const (
	loginPattern  = "POST /login"
	logoutPattern = "POST /logout"
)

// routes are all that can be asked for.
func (s *Server) routes() *http.ServeMux {
	mux := http.NewServeMux()
	for pattern, do := range s.table() {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			v, err := do(r)
			if err != nil {
				fail(w, statusOf(err), err)
				return
			}
			if c, ok := v.(configs.Config); ok && r.URL.Query().Get("format") == "toml" {
				send(w, http.StatusOK, "application/toml", []byte(c.TOML()))
				return
			}
			if o, ok := v.(provision.ObjectStatus); ok {
				w.Header().Set("ETag", strconv.Quote(o.Version))
			}
			answer(w, http.StatusOK, v)
		})
	}
	mux.HandleFunc("GET /events", s.stream)
	mux.HandleFunc(loginPattern, s.login)
	mux.HandleFunc(logoutPattern, s.logout)
	scrape := metrics.Handler(metrics.New(s.daemon, s.events.Counts))
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).SetWriteDeadline(time.Now().Add(2 * writeBound)) // half of it for a file system that hangs
		scrape.ServeHTTP(w, r)
	})
	return mux
}

// A candidate is the body of a request for a plan.
type candidate struct {
	Name string `json:"name"` // of the file, for errors
	Dir  string `json:"dir"`  // where relative paths start: absolute
	Text string `json:"text"` // TOML
}

func (s *Server) plan(r *http.Request) (any, error) {
	var want candidate
	if err := decode(r, &want); err != nil {
		return nil, err
	}
	if !filepath.IsAbs(want.Dir) {
		return nil, &requestError{"dir, where relative paths start, has to be absolute"}
	}
	return s.daemon.Forecast(want.Name, want.Dir, want.Text)
}

// An application is the body of a request to apply a file.
type application struct {
	File string `json:"file"` // absolute
}

func (s *Server) apply(r *http.Request) (any, error) {
	var want application
	if err := decode(r, &want); err != nil {
		return nil, err
	}
	if !filepath.IsAbs(want.File) {
		return nil, &requestError{"file has to be an absolute path"}
	}
	return s.daemon.Apply(r.Context(), want.File)
}

// number reads a number of 16 bits in the path of r.
func number(r *http.Request, name string) (uint16, error) {
	n, err := strconv.ParseUint(r.PathValue(name), 10, 16)
	if err != nil {
		return 0, &requestError{strconv.Quote(r.PathValue(name)) + " is not a number from 0 to 65535"}
	}
	return uint16(n), nil
}

func (s *Server) logoutSession(r *http.Request) (any, error) {
	tsih, err := number(r, "tsih")
	if err != nil {
		return nil, err
	}
	return done{}, s.daemon.Logout(r.Context(), tsih)
}

// An accessState is the body of a request for one.
type accessState struct {
	State string `json:"state"`
}

func (s *Server) setAccessState(r *http.Request) (any, error) {
	group, err := number(r, "group")
	if err != nil {
		return nil, err
	}
	var want accessState
	if err := decode(r, &want); err != nil {
		return nil, err
	}
	return done{}, s.daemon.SetAccessState(r.PathValue("lun"), group, want.State)
}

// defaultCells is how many cells an allocation map has where nobody says.
const defaultCells = 512

func (s *Server) allocation(r *http.Request) (any, error) {
	cells := defaultCells
	if word := r.URL.Query().Get("cells"); word != "" {
		n, err := strconv.Atoi(word)
		if err != nil {
			return nil, &requestError{"cells=" + strconv.Quote(word) + " is not a number"}
		}
		cells = n
	}
	return s.daemon.Allocation(r.Context(), r.PathValue("lun"), cells)
}

// A newSize is the body of a request for one.
type newSize struct {
	Size string `json:"size"`
}

func (s *Server) grow(r *http.Request) (any, error) {
	var want newSize
	if err := decode(r, &want); err != nil {
		return nil, err
	}
	return s.daemon.Grow(r.PathValue("lun"), want.Size)
}

// A smallerSize is the body of a request for one.
type smallerSize struct {
	Size          string `json:"size"`
	AllowDataLoss bool   `json:"allow-data-loss"` // of what lies behind it
}

func (s *Server) shrink(r *http.Request) (any, error) {
	var want smallerSize
	if err := decode(r, &want); err != nil {
		return nil, err
	}
	return s.daemon.Shrink(r.PathValue("lun"), want.Size, want.AllowDataLoss)
}

// A pace is the body of a request for a verification.
type pace struct {
	Rate string `json:"rate,omitempty"` // bytes of a second at most
}

func (s *Server) verify(r *http.Request) (any, error) {
	var want pace
	if err := decode(r, &want); err != nil {
		return nil, err
	}
	return s.daemon.Verify(r.PathValue("lun"), want.Rate)
}

func (s *Server) copy(r *http.Request) (any, error) {
	var want provision.Copying
	if err := decode(r, &want); err != nil {
		return nil, err
	}
	return s.daemon.Copy(r.PathValue("lun"), want)
}

func (s *Server) reservations(r *http.Request) (any, error) {
	list, err := s.daemon.Reservations(r.PathValue("lun"))
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

func (s *Server) clearReservations(r *http.Request) (any, error) {
	return done{}, s.daemon.ClearReservations(r.PathValue("lun"))
}
