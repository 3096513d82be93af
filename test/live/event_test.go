package live

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/test/daemon"
)

// heard is what has come on a stream of events.
type heard struct {
	mu   sync.Mutex
	list []admin.Event
}

// hear opens a stream over the network, by a token to read, of all that has happened.
func (g *gate) hear() *heard {
	g.t.Helper()
	client, err := admin.NewRemoteClient(admin.Remote{URL: "http://" + g.address, Token: readToken})
	if err != nil {
		g.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	h, done := &heard{}, make(chan error)
	go func() {
		done <- client.Events(ctx, 0, func(e admin.Event) error {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.list = append(h.list, e)
			return nil
		})
	}()
	g.t.Cleanup(func() {
		cancel()
		<-done
		client.Close()
	})
	return h
}

func (h *heard) all() []admin.Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.list)
}

// A happening is an event that has to come.
type happening struct {
	kind, level, message string
	field, value         string // empty: any
}

func (h *heard) has(want happening) bool {
	return slices.ContainsFunc(h.all(), func(e admin.Event) bool {
		return e.Kind == want.kind && e.Level == want.level && strings.Contains(e.Message, want.message) && strings.Contains(e.Fields[want.field], want.value)
	})
}

// insist executes a command until it is no unit attention: initiators hear of thresholds too.
func insist(t *testing.T, c *initiator.Connection, cmd initiator.Command) *initiator.Result {
	t.Helper()
	for {
		r := execute(t, c, cmd)
		if key, _ := r.SenseCode(); key != 6 {
			return r
		}
	}
}

// TestEventsOfAllKinds: whatever an operator should know of comes on the stream, as it happens:
// who comes, is refused, goes and is lost; thresholds, jobs, errors, changes, the servers that
// are asked, and who changes what.
func TestEventsOfAllKinds(t *testing.T) {
	t.Parallel()
	g := open(t)
	h := g.hear()
	var c *initiator.Connection
	for _, step := range []struct {
		do   func()
		come []happening
	}{
		{func() {
			// Nobody answers at these ports.
			g.more += fmt.Sprintf("[isns]\nserver = \"127.0.0.1:1\"\n[dns]\nserver = \"127.0.0.1:1\"\n[[rule]]\nname = \"by-host\"\ntarget = %q\nhosts = [\"pve1.test\"]\n", daemon.Target)
			g.write(strings.Replace(g.text(rule{alice, []string{"a"}}), "space-threshold = 0\n", "space-threshold = 50\n[[lun.layer]]\nkind = \"fault\"\n", 1))
			g.want(ask{method: "POST", path: "/reload", token: writeToken}, 200, "")
		}, []happening{
			{"admin", "info", "POST /reload", "token", "the-write"},
			{"change", "info", "LUN a has new settings", "", ""},
			{"isns", "warning", "the iSNS server 127.0.0.1:1", "", ""},
			{"dns", "warning", "lookup pve1.test on 127.0.0.1:1: ", "", ""},
		}},
		{func() {
			g.want(ask{method: "GET", path: "/status", token: "wrong-0123456789abcdef"}, 401, "")
			g.want(ask{method: "POST", path: "/login", body: `{"token": "` + writeToken + `"}`, header: map[string]string{"Content-Type": "application/json"}}, 200, "")
		}, []happening{
			{"admin-refused", "warning", "a wrong token", "from", "127.0.0.1"},
			{"admin-login", "info", "logged in to the web page", "token", "the-write"},
		}},
		{func() {
			c = g.login(alice, iscsi.ISID{0x80, 1})
			attentions(t, c, 1)
			g.login(alice, iscsi.ISID{0x80, 2}).Close()
			leaving := g.login(alice, iscsi.ISID{0x80, 3})
			if _, err := leaving.Logout(iscsi.CloseSession, 0); err != nil {
				t.Error(err)
			}
			stranger, err := initiator.Dial(fmt.Sprintf("127.0.0.1:%d", g.port), initiator.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer stranger.Close()
			if err := stranger.Login(initiator.Login{InitiatorName: bob, TargetName: daemon.Target, SessionType: "Normal", ISID: iscsi.ISID{0x80, 4}}); err == nil {
				t.Error("bob is let in")
			}
		}, []happening{
			{"login", "info", "logged in", "initiator", alice},
			{"session-lost", "warning", "without a logout", "initiator", alice},
			{"logout", "info", "logged out", "initiator", alice},
			{"login-refused", "warning", "no access rule", "initiator", bob},
		}},
		{func() {
			const blocks = 512 // 256 KiB
			for i := range 20 {
				if r := insist(t, c, initiator.Command{CDB: rw(0x2a, uint32(i*blocks), blocks), Write: make([]byte, blocks*block)}); r.Status != 0 {
					t.Fatalf("WRITE: %02x, % x", r.Status, r.Sense)
				}
			}
		}, []happening{{"space", "warning", "the LUN has taken", "lun", "a"}}},
		{func() {
			if status, printed := g.command("lun grow", "a", "16MiB"); status != 0 {
				t.Errorf("lun grow: %d %s", status, printed)
			}
		}, []happening{
			{"job", "info", "grow: done", "lun", "a"},
			{"space", "info", "below its threshold", "lun", "a"},
		}},
		{func() {
			if status, printed := g.command("lun fault set", "a", "error=EIO on=sync"); status != 0 {
				t.Errorf("lun fault set: %d %s", status, printed)
			}
			insist(t, c, initiator.Command{CDB: rw(0x2a, 0, 1), Write: make([]byte, block)})
			if r := insist(t, c, initiator.Command{CDB: []byte{0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0}}); r.Status != 2 {
				t.Errorf("SYNCHRONIZE CACHE that fails: status %02x", r.Status)
			}
		}, []happening{
			{"warning", "warning", "breaks on purpose from now on", "lun", "a"},
			{"error", "error", "a flush of the LUN has failed", "lun", "a"},
		}},
		{func() {
			for _, words := range []string{"lun fault clear", "lun recover --accept-loss"} {
				if status, printed := g.command(words, "a"); status != 0 {
					t.Errorf("%s: %d %s", words, status, printed)
				}
			}
		}, []happening{{"warning", "warning", "the LUN is served", "lun", "a"}}},
	} {
		step.do()
		for _, want := range step.come {
			eventually(t, fmt.Sprintf("the event %+v", want), func() bool { return h.has(want) })
		}
	}
	for i, e := range h.all() { // none is missing
		if e.ID != uint64(i+1) || e.Time.IsZero() {
			t.Errorf("event %d is %+v", i+1, e)
		}
	}
}
