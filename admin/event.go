package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

const (
	keptEvents = 1024             // that a client which comes back can still have
	keepAlive  = 15 * time.Second // silence after which a sign of life is sent
)

// An Event is something that has happened, as the log tells it, whatever level is logged.
type Event struct {
	ID      uint64            `json:"id"` // counts up from 1 since the daemon has started
	Time    time.Time         `json:"time"`
	Kind    string            `json:"kind"`  // login, login-refused, logout, session-lost, change, ...; else the level
	Level   string            `json:"level"` // error, warning, info
	Message string            `json:"message"`
	Fields  map[string]string `json:"fields"` // initiator, target, lun, ...
}

// Events are what has happened of late. It is a hook of a log: an entry that has a field
// "event" is of that kind. Its methods may be called at once from many goroutines.
type Events struct {
	mu     sync.Mutex
	last   uint64
	ring   [keptEvents]Event
	counts map[string]uint64 // by kind
	more   chan struct{}     // closed when there is another event
	ended  bool
}

// NewEvents makes events of which none has happened.
func NewEvents() *Events { return &Events{more: make(chan struct{}), counts: map[string]uint64{}} }

var _ logrus.Hook = (*Events)(nil)

// Levels are those of which events are made.
func (e *Events) Levels() []logrus.Level {
	return []logrus.Level{logrus.PanicLevel, logrus.FatalLevel, logrus.ErrorLevel, logrus.WarnLevel, logrus.InfoLevel}
}

// Fire makes an event of an entry of the log.
func (e *Events) Fire(entry *logrus.Entry) error {
	one := Event{Time: entry.Time, Kind: entry.Level.String(), Level: entry.Level.String(), Message: entry.Message, Fields: map[string]string{}}
	for key, v := range entry.Data {
		if key == "event" {
			one.Kind = fmt.Sprint(v)
		} else {
			one.Fields[key] = fmt.Sprint(v)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.last++
	one.ID = e.last
	e.counts[one.Kind]++ // kinds are words of the program, so there are few
	e.ring[e.last%keptEvents] = one
	close(e.more)
	e.more = make(chan struct{})
	return nil
}

// Counts is how many there were of each kind.
func (e *Events) Counts() map[string]uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.counts)
}

// after are the events behind that of an id that are still kept, how many are not, and a
// channel that is closed when there is another one.
func (e *Events) after(id uint64) (list []Event, lost uint64, more <-chan struct{}, ended bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if id > e.last {
		id = 0 // of a daemon before this one
	}
	first := id + 1
	if e.last >= keptEvents && first < e.last-keptEvents+1 {
		first = e.last - keptEvents + 1
		lost = first - id - 1
	}
	for n := first; n <= e.last; n++ {
		list = append(list, e.ring[n%keptEvents])
	}
	return list, lost, e.more, e.ended
}

// end ends all streams.
func (e *Events) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.ended {
		e.ended = true
		close(e.more)
		e.more = make(chan struct{})
	}
}

// lastID is the event behind which a client wants to go on; without one it is the newest.
func (e *Events) lastID(r *http.Request) (uint64, error) {
	word := r.Header.Get("Last-Event-ID")
	if q := r.URL.Query().Get("after"); q != "" {
		word = q
	}
	if word == "" {
		e.mu.Lock()
		defer e.mu.Unlock()
		return e.last, nil
	}
	id, err := strconv.ParseUint(word, 10, 64)
	if err != nil {
		return 0, &requestError{strconv.Quote(word) + " is not the id of an event"}
	}
	return id, nil
}

// errManyStreams: a client has to wait for others to go.
var errManyStreams = errors.New("too many clients listen to events")

// stream sends events as they happen (server-sent events), until the client goes, its leave
// or the server ends, or the client takes nothing for too long.
func (s *Server) stream(w http.ResponseWriter, r *http.Request) {
	id, err := s.events.lastID(r)
	if err != nil {
		fail(w, statusOf(err), err)
		return
	}
	p := passOf(r)
	defer p.streams.Add(-1)
	if p.streams.Add(1) > maxStreams {
		fail(w, http.StatusServiceUnavailable, errManyStreams)
		return
	}
	var closing <-chan struct{}
	if d := doorOf(r); d != nil {
		closing = d.closing
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	c := http.NewResponseController(w)
	for {
		list, lost, more, ended := s.events.after(id)
		c.SetWriteDeadline(time.Now().Add(writeBound))
		if lost > 0 {
			fmt.Fprintf(w, "event: lost\ndata: %d\n\n", lost)
		}
		for _, one := range list {
			text, _ := json.Marshal(one)
			c.SetWriteDeadline(time.Now().Add(writeBound)) // who takes them slowly is not deaf
			fmt.Fprintf(w, "id: %d\nevent: %s\ndata: %s\n\n", one.ID, one.Kind, text)
			id = one.ID
		}
		if c.Flush() != nil || ended {
			return
		}
		alive := time.NewTimer(keepAlive)
		select {
		case <-more:
		case <-r.Context().Done():
			return
		case <-p.held.Done(): // its token was revoked, or it has logged out
			return
		case <-closing:
			return
		case <-alive.C:
			p.touch()
			c.SetWriteDeadline(time.Now().Add(writeBound))
			fmt.Fprint(w, ": alive\n\n")
		}
		alive.Stop()
	}
}

// Events calls show for each event behind that of an id, of those that are kept, and for
// those that come, until ctx ends or the daemon does; its error says which. A negative id
// stands for the newest.
func (c *Client) Events(ctx context.Context, after int64, show func(Event) error) error {
	path := "/events"
	if after >= 0 {
		path += "?after=" + strconv.FormatInt(after, 10)
	}
	response, err := c.send(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 1<<20)
	for kind := ""; lines.Scan(); {
		line := lines.Text()
		if name, ok := strings.CutPrefix(line, "event: "); ok {
			kind = name
		}
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue
		}
		one := Event{Kind: "lost", Level: "warning", Message: data + " events were not kept", Time: time.Now()}
		if kind != "lost" {
			if err := json.Unmarshal([]byte(data), &one); err != nil {
				return fmt.Errorf("an event cannot be read: %w", err)
			}
		}
		if err := show(one); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errors.Join(errors.New("the daemon has ended the stream of events"), lines.Err())
}
