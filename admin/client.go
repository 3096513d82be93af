package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/job"
	"github.com/isantarget/isantarget/provision"
)

// pollEvery is how often a client that waits for a job looks.
const pollEvery = 200 * time.Millisecond

// A Client asks a daemon. Its methods wait for the answer until their context ends;
// their errors are the daemon's, or say that none answers.
type Client struct {
	socket string // or the URL
	base   string // of requests
	token  string // empty: by the socket none is wanted
	http   http.Client
}

// NewClient makes a client for the daemon at a socket. It does not connect yet.
func NewClient(socket string) *Client {
	c := &Client{socket: socket, base: "http://isantarget"}
	c.http.Transport = &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return dial(socket) },
	}
	return c
}

// Close gives back the connections that are kept.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Sessions lists the sessions.
func (c *Client) Sessions(ctx context.Context) (list []provision.SessionStatus, err error) {
	err = c.do(ctx, http.MethodGet, "/sessions", nil, &list)
	return list, err
}

// Logout ends a session.
func (c *Client) Logout(ctx context.Context, tsih uint16) error {
	return c.do(ctx, http.MethodDelete, "/sessions/"+strconv.Itoa(int(tsih)), nil, nil)
}

// LUNs lists the LUNs.
func (c *Client) LUNs(ctx context.Context) (list []provision.LUNStatus, err error) {
	err = c.do(ctx, http.MethodGet, "/luns", nil, &list)
	return list, err
}

// SetAccessState changes the access state of a target port group of a LUN.
func (c *Client) SetAccessState(ctx context.Context, lun string, group uint16, state string) error {
	return c.do(ctx, http.MethodPut, "/luns/"+url.PathEscape(lun)+"/access-states/"+strconv.Itoa(int(group)), accessState{state}, nil)
}

// Stores lists the stores, and the folders of images that are in none.
func (c *Client) Stores(ctx context.Context) (list []provision.StoreStatus, err error) {
	err = c.do(ctx, http.MethodGet, "/stores", nil, &list)
	return list, err
}

// Snapshots lists the snapshots of a LUN or, with an empty name, of all.
func (c *Client) Snapshots(ctx context.Context, lun string) (list []provision.SnapshotStatus, err error) {
	path := "/snapshots"
	if lun != "" {
		path = "/luns/" + url.PathEscape(lun) + path
	}
	err = c.do(ctx, http.MethodGet, path, nil, &list)
	return list, err
}

// Snapshot is the snapshot of a LUN with this name.
func (c *Client) Snapshot(ctx context.Context, lun, name string) (s provision.SnapshotStatus, err error) {
	err = c.do(ctx, http.MethodGet, "/luns/"+url.PathEscape(lun)+"/snapshots/"+url.PathEscape(name), nil, &s)
	return s, err
}

// TakeSnapshots takes a snapshot of each of the LUNs, all at one point in time. Without
// a name the time is one.
func (c *Client) TakeSnapshots(ctx context.Context, luns []string, name string) (taken provision.SnapshotsTaken, err error) {
	err = c.do(ctx, http.MethodPost, "/snapshots", takeRequest{luns, name}, &taken)
	return taken, err
}

// DeleteSnapshot begins to delete a snapshot, which is a job.
func (c *Client) DeleteSnapshot(ctx context.Context, lun, name string) (s job.Status, err error) {
	err = c.do(ctx, http.MethodDelete, "/luns/"+url.PathEscape(lun)+"/snapshots/"+url.PathEscape(name), nil, &s)
	return s, err
}

// Rollback makes a LUN what it was when the snapshot was taken.
func (c *Client) Rollback(ctx context.Context, lun, snapshot string, force bool) error {
	return c.do(ctx, http.MethodPost, "/luns/"+url.PathEscape(lun)+"/rollback", rollbackRequest{snapshot, force}, nil)
}

// Clone makes an image for a LUN called name of the snapshot of a LUN or, where none is
// named, of what the LUN holds now.
func (c *Client) Clone(ctx context.Context, lun, snapshot, name, path string) (made provision.CloneStatus, err error) {
	err = c.do(ctx, http.MethodPost, "/luns/"+url.PathEscape(lun)+"/clone", cloneRequest{snapshot, name, path}, &made)
	return made, err
}

// Targets lists the targets.
func (c *Client) Targets(ctx context.Context) (list []provision.TargetStatus, err error) {
	err = c.do(ctx, http.MethodGet, "/targets", nil, &list)
	return list, err
}

// Reservations tells what is reserved.
func (c *Client) Reservations(ctx context.Context) (list []provision.ReservationStatus, err error) {
	err = c.do(ctx, http.MethodGet, "/reservations", nil, &list)
	return list, err
}

// Reservation tells what is reserved of a LUN.
func (c *Client) Reservation(ctx context.Context, lun string) (r provision.ReservationStatus, err error) {
	err = c.do(ctx, http.MethodGet, "/reservations/"+url.PathEscape(lun), nil, &r)
	return r, err
}

// ClearReservations ends every registration and reservation of a LUN.
func (c *Client) ClearReservations(ctx context.Context, lun string) error {
	return c.do(ctx, http.MethodDelete, "/reservations/"+url.PathEscape(lun), nil, nil)
}

// LUN tells all of one LUN.
func (c *Client) LUN(ctx context.Context, name string) (d provision.LUNDetail, err error) {
	err = c.do(ctx, http.MethodGet, "/luns/"+url.PathEscape(name), nil, &d)
	return d, err
}

// Defragment begins to move the image of a LUN into fewer pieces. What it answers is the
// job.
func (c *Client) Defragment(ctx context.Context, lun string) (s job.Status, err error) {
	err = c.do(ctx, http.MethodPost, "/luns/"+url.PathEscape(lun)+"/defragment", nil, &s)
	return s, err
}

// Verify begins to read all that is allocated of a LUN, at rate bytes of a second at most
// ("50MiB"); empty: nothing bounds it. What it answers is the job.
func (c *Client) Verify(ctx context.Context, lun, rate string) (s job.Status, err error) {
	err = c.do(ctx, http.MethodPost, "/luns/"+url.PathEscape(lun)+"/verify", pace{rate}, &s)
	return s, err
}

// Copy begins to make another LUN that holds what one holds. What it answers is the job.
func (c *Client) Copy(ctx context.Context, lun string, want provision.Copying) (s job.Status, err error) {
	err = c.do(ctx, http.MethodPost, "/luns/"+url.PathEscape(lun)+"/copy", want, &s)
	return s, err
}

// Grow begins to make a LUN bigger: to a size, by one ("+10GiB"), or, if it is empty, to
// that of what lies below. What it answers is the job.
func (c *Client) Grow(ctx context.Context, lun, size string) (s job.Status, err error) {
	err = c.do(ctx, http.MethodPost, "/luns/"+url.PathEscape(lun)+"/grow", newSize{size}, &s)
	return s, err
}

// Shrink begins to make the image of a LUN smaller, which loses what lies behind size: it
// is refused unless lossAllowed. What it answers is the job.
func (c *Client) Shrink(ctx context.Context, lun, size string, lossAllowed bool) (s job.Status, err error) {
	err = c.do(ctx, http.MethodPost, "/luns/"+url.PathEscape(lun)+"/shrink", smallerSize{size, lossAllowed}, &s)
	return s, err
}

// Jobs lists the jobs.
func (c *Client) Jobs(ctx context.Context) (list []job.Status, err error) {
	err = c.do(ctx, http.MethodGet, "/jobs", nil, &list)
	return list, err
}

// Job is the job of this id.
func (c *Client) Job(ctx context.Context, id string) (s job.Status, err error) {
	err = c.do(ctx, http.MethodGet, "/jobs/"+url.PathEscape(id), nil, &s)
	return s, err
}

// CancelJob asks a job to end, and does not wait for that.
func (c *Client) CancelJob(ctx context.Context, id string) error {
	return c.do(ctx, http.MethodDelete, "/jobs/"+url.PathEscape(id), nil, nil)
}

// WaitForJob returns when the job has ended, with how. show, if it is not nil, hears
// how it is meanwhile.
func (c *Client) WaitForJob(ctx context.Context, id string, show func(job.Status)) (job.Status, error) {
	for {
		s, err := c.Job(ctx, id)
		if err != nil || s.State.Final() {
			return s, err
		}
		if show != nil {
			show(s)
		}
		select {
		case <-ctx.Done():
			return s, c.explain(ctx.Err())
		case <-time.After(pollEvery):
		}
	}
}

// Reload has the daemon apply its configuration file again.
func (c *Client) Reload(ctx context.Context) (done Changed, err error) {
	err = c.do(ctx, http.MethodPost, "/reload", nil, &done)
	return done, err
}

// Objects lists the objects of the configuration that are in a table.
func (c *Client) Objects(ctx context.Context, table configs.Table) (list []Object, err error) {
	err = c.do(ctx, http.MethodGet, "/config/"+string(table), nil, &list)
	return list, err
}

// Object is the object of this name.
func (c *Client) Object(ctx context.Context, table configs.Table, name string) (o Object, err error) {
	err = c.do(ctx, http.MethodGet, "/config/"+string(table)+"/"+url.PathEscape(name), nil, &o)
	return o, err
}

// Edit makes changes of objects, all or none of them.
func (c *Client) Edit(ctx context.Context, b Batch) (done Changed, err error) {
	err = c.do(ctx, http.MethodPost, "/changes", b, &done)
	return done, err
}

// Apply has the daemon apply a file, if it is its configuration file.
func (c *Client) Apply(ctx context.Context, file string) (done Changed, err error) {
	err = c.do(ctx, http.MethodPost, "/apply", application{file}, &done)
	return done, err
}

// Forecast says what the configuration file would change if it said text. name and dir
// are as for [configs.Parse].
func (c *Client) Forecast(ctx context.Context, name, dir, text string) (f provision.Forecast, err error) {
	err = c.do(ctx, http.MethodPost, "/plan", candidate{name, dir, text}, &f)
	return f, err
}

// Export is the whole configuration that runs, as a TOML file.
func (c *Client) Export(ctx context.Context) (string, error) {
	var text string
	err := c.do(ctx, http.MethodGet, "/config?format=toml", nil, &text)
	return text, err
}

// ExportJSON is the same as JSON.
func (c *Client) ExportJSON(ctx context.Context) (json.RawMessage, error) {
	var text json.RawMessage
	err := c.do(ctx, http.MethodGet, "/config", nil, &text)
	return text, err
}

// do sends a request with body as JSON, if it is not nil, and reads the answer into
// out, if that is not nil.
func (c *Client) do(ctx context.Context, method, path string, body, out any) error {
	response, err := c.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if out == nil {
		return nil
	}
	if text, ok := out.(*string); ok { // not JSON
		b, err := io.ReadAll(response.Body)
		*text = string(b)
		return err
	}
	if err := json.NewDecoder(response.Body).Decode(out); err != nil {
		return fmt.Errorf("the answer of the daemon at %s cannot be read: %w", c.socket, err)
	}
	return nil
}

// send is do without the answer, whose body the caller closes.
func (c *Client) send(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var sent io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		sent = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, sent)
	if err != nil {
		return nil, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		r.Header.Set("Authorization", bearer+c.token)
	}
	response, err := c.http.Do(r)
	if err != nil {
		return nil, c.explain(err)
	}
	if response.StatusCode == http.StatusOK {
		return response, nil
	}
	defer response.Body.Close()
	var said struct {
		Error string `json:"error"`
	}
	if err := json.NewDecoder(response.Body).Decode(&said); err != nil || said.Error == "" {
		return nil, fmt.Errorf("the daemon at %s answers %s", c.socket, response.Status)
	}
	return nil, errors.New(said.Error)
}

// explain says why there is no answer.
func (c *Client) explain(err error) error {
	if IsURL(c.socket) {
		return c.explainRemote(err)
	}
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("gave up waiting for the daemon at %s", c.socket)
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no daemon answers at %s: start one, or say where its state is with --state DIR or --socket FILE", c.socket)
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return fmt.Errorf("not allowed to use %s: run this as the user of the daemon, or have its group given to you", c.socket)
	}
	return fmt.Errorf("the daemon at %s does not answer: %w", c.socket, bare(err))
}
