package admin

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"
)

var errEnough = errors.New("enough")

// listen gives the next n events behind an id. begun is called when it listens.
func listen(t *testing.T, c *Client, after int64, n int, begun func()) (list []Event) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- c.Events(ctx, after, func(e Event) error {
			if list = append(list, e); len(list) == n {
				return errEnough
			}
			return nil
		})
	}()
	begun()
	if err := <-ended; !errors.Is(err, errEnough) {
		t.Fatalf("after %d of %d events: %v", len(list), n, err)
	}
	return list
}

// TestEvents: what is logged is told as it happens, and again to who comes back.
func TestEvents(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	t.Run("stream", func(t *testing.T) {
		f := &fake{}
		socket, _ := serve(t, f)
		c := NewClient(socket)
		defer c.Close()
		f.log.WithFields(logrus.Fields{"event": "login", "initiator": "iqn.x\n", "tsih": 7}).Info("logged in")
		list := listen(t, c, 99, 3, func() { // behind one of another daemon: all
			f.log.Debug("not told")
			f.log.WithError(errors.New("broken")).Error("it\nfailed")
			f.log.Warn("beware")
		})
		if e := list[0]; e.ID != 1 || e.Kind != "login" || e.Level != "info" || e.Fields["initiator"] != "iqn.x\n" || e.Fields["tsih"] != "7" || e.Fields["event"] != "" {
			t.Errorf("%+v", e)
		}
		if e := list[1]; e.ID != 2 || e.Kind != "error" || e.Message != "it\nfailed" || e.Fields["error"] != "broken" {
			t.Errorf("%+v", e)
		}
		if again := listen(t, c, 2, 1, func() {}); again[0].ID != 3 || again[0].Kind != "warning" {
			t.Errorf("%+v", again)
		}
		if status, said := request(t, socket, "GET", "/events?after=x", ""); status != 400 || said != `"x" is not the id of an event` {
			t.Errorf("%d %s", status, said)
		}
		// Shutdown does not wait for those who listen.
		go c.Events(t.Context(), 0, func(Event) error { return nil })
		f.log.Info("last")
	})
}

// TestEventsAreKept: who comes back hears what he has missed, or how much of it is gone.
func TestEventsAreKept(t *testing.T) {
	e := NewEvents()
	for i := range keptEvents + 10 {
		e.Fire(&logrus.Entry{Level: logrus.InfoLevel, Message: fmt.Sprint(i + 1)})
	}
	list, lost, _, _ := e.after(5)
	if len(list) != keptEvents || lost != 5 || list[0].ID != 11 || list[0].Message != "11" {
		t.Errorf("%d events, the first %+v, %d lost", len(list), list[0], lost)
	}
	if list, lost, _, _ := e.after(keptEvents + 8); len(list) != 2 || lost != 0 {
		t.Errorf("%d events, %d lost", len(list), lost)
	}
	if list, _, _, _ := e.after(1 << 60); len(list) != keptEvents { // the daemon is another one
		t.Errorf("%d events behind one that is yet to come", len(list))
	}
}
