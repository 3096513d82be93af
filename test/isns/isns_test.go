package isns

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/isns"
	"github.com/isantarget/isantarget/test/daemon"
)

func TestMain(m *testing.M) { os.Exit(daemon.Main(m)) }

const (
	alpha = "iqn.2026-11.org.isantarget.test:alpha"
	beta  = "iqn.2026-11.org.isantarget.test:beta"
	gamma = "iqn.2026-11.org.isantarget.test:gamma"
	host  = "iqn.2026-11.org.isantarget.test:host" // an initiator
)

// A rig is a daemon that registers with a server.
type rig struct {
	*server
	*daemon.Daemon
	*admin.Client
	t      *testing.T
	dir    string
	ports  [2]int
	socket string
}

// serve starts a daemon with two targets: alpha at both portals, beta at the second one.
func serve(t *testing.T, s *server, settings string) *rig {
	t.Helper()
	dir := t.TempDir()
	r := &rig{server: s, t: t, dir: dir, ports: [2]int{daemon.FreePort(t), daemon.FreePort(t)}, socket: filepath.Join(dir, "state", admin.SocketName)}
	file := filepath.Join(dir, "san.toml")
	text := fmt.Sprintf(`state = "state"
[isns]
server = %q
%s
[[portal-group]]
tag = 1
listen = ["127.0.0.1:%d"]
[[portal-group]]
tag = 22
listen = ["127.0.0.2:%d"]
[[target]]
name = %q
alias = "the first"
access = "open"
[[target]]
name = %q
portal-groups = [22]
access = "open"
`, s.address(), settings, r.ports[0], r.ports[1], alpha, beta)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r.Daemon = daemon.Start(t, daemon.Config{File: file})
	r.Client = admin.NewClient(r.socket)
	t.Cleanup(r.Client.Close)
	return r
}

func (r *rig) portal(i int) string { return fmt.Sprintf("%d/tcp", r.ports[i]) }

func (r *rig) command(words ...string) string {
	r.t.Helper()
	status, printed := daemon.Run(r.t, append(words, "--socket", r.socket)...)
	if status != 0 {
		r.t.Fatalf("isantarget %v: status %d\n%s", words, status, printed)
	}
	return printed
}

// nodes are the names of the targets that the server has.
func (r *rig) nodes() (names []string) {
	for _, o := range r.kept() {
		if strings.Contains(o, "node type = Target") {
			names = append(names, strings.Split(o, `"`)[1])
		}
	}
	slices.Sort(names)
	return names
}

func (r *rig) awaitNodes(want ...string) {
	r.t.Helper()
	eventually(r.t, fmt.Sprintf("the server has %q", want), func() bool { return slices.Equal(r.nodes(), want) })
}

// awaitState waits for what GET /status says.
func (r *rig) awaitState(want isns.State) {
	r.t.Helper()
	eventually(r.t, fmt.Sprintf("status says %s", want), func() bool {
		s, err := r.Status(r.t.Context())
		return err == nil && s.ISNS != nil && s.ISNS.State == string(want)
	})
}

// awaitLog waits until the daemon has logged a text n times.
func (r *rig) awaitLog(text string, n int) {
	r.t.Helper()
	eventually(r.t, fmt.Sprintf("%q is logged %d times", text, n), func() bool { return strings.Count(r.Log(), text) >= n })
}

// TestOpenISNS: what initiators find is what is served, whatever happens to server and daemon.
func TestOpenISNS_RFC4171_5_6_5_1(t *testing.T) {
	t.Parallel()
	s := startServer(t, "RegistrationPeriod = 10m", "ESIMinInterval = 1s", "ESIMaxInterval = 1m", "SCNTimeout = 5")
	r := serve(t, s, `inquiry-interval = "1s"`)
	r.awaitState(isns.Registered)

	// The objects.
	entities := r.list("entities")
	if len(entities) != 1 || !strings.Contains(entities[0], `Entity identifier = "isantarget-`) || !strings.Contains(entities[0], "Entity protocol = iSCSI (2)") {
		t.Errorf("entities: %q", entities)
	}
	wantNodes := []string{
		`iSCSI name = "` + alpha + `", iSCSI node type = Target, iSCSI alias = "the first"`,
		`iSCSI name = "` + beta + `", iSCSI node type = Target, iSCSI alias = <empty>`,
	}
	if nodes := r.list("nodes"); !slices.Equal(nodes, wantNodes) {
		t.Errorf("nodes:\n%s", strings.Join(nodes, "\n"))
	}
	portals := r.list("portals")
	for i, want := range []string{"address = 127.0.0.1, Portal TCP/UDP port = " + r.portal(0) + ", ", "address = 127.0.0.2, Portal TCP/UDP port = " + r.portal(1) + ", "} {
		if len(portals) != 2 || !strings.Contains(portals[i], want) || !strings.Contains(portals[i], "ESI interval = 1, ") || !strings.Contains(portals[i], "SCN port = ") {
			t.Fatalf("portals:\n%s", strings.Join(portals, "\n"))
		}
	}
	group := func(node, address, port string, tag int) string {
		return fmt.Sprintf("Portal group name = %q, Portal group address = %s, Portal group port = %s, Portal group tag = %d", node, address, port, tag)
	}
	groups := r.list("portal-groups") // the one with the tag NULL, of beta at the first portal, is not told
	if want := []string{group(alpha, "127.0.0.1", r.portal(0), 1), group(alpha, "127.0.0.2", r.portal(1), 22), group(beta, "127.0.0.2", r.portal(1), 22)}; !slices.Equal(groups, want) {
		t.Errorf("portal groups:\n%s", strings.Join(groups, "\n"))
	}

	// The server asks whether we are there, and is answered.
	eventually(t, "status says that the server inquires", func() bool {
		s, err := r.Status(t.Context())
		return err == nil && s.ISNS.Inquiry && s.ISNS.Heard >= 3
	})
	if printed := r.command("status"); !strings.Contains(printed, "iSNS server "+s.address()+": registered since ") || !strings.Contains(printed, ", targets: 2, portals: 2\n") {
		t.Errorf("status prints\n%s", printed)
	}

	// What comes and goes.
	r.command("target", "create", gamma, "--access", "open")
	r.awaitNodes(alpha, beta, gamma)
	r.command("target", "delete", "--yes", gamma)
	r.awaitNodes(alpha, beta)
	if strings.Contains(r.Log(), "says that") {
		t.Error("our own targets are told of")
	}

	// An initiator that shares our discovery domain is told of, and finds the targets.
	var came time.Time
	eventually(t, "the daemon is told of an initiator", func() bool {
		if time.Since(came) > 10*time.Second { // again, for a notice may come where none is heard yet
			s.admin("--deregister", "iscsi-name="+host)
			s.admin("--register", "initiator="+host, "portal=127.0.0.3:860")
			came = time.Now()
		}
		return strings.Contains(r.Log(), fmt.Sprintf(`says that \"%s\" is now in a discovery domain with `, host))
	})
	if found := strings.Join(objects(s.admin("--query", "iscsi-node-type=target")), "\n"); !strings.Contains(found, alpha) || !strings.Contains(found, beta) {
		t.Errorf("an initiator that asks finds\n%s", found)
	}

	// What others take out is there again long before the registration period is over.
	s.as(alpha, "--deregister", "iscsi-name="+beta)
	r.awaitLog("has lost our registration, or part of it; it is registered again", 1)
	r.awaitNodes(alpha, beta)

	// The server crashes, and has forgotten us when it comes back.
	s.kill()
	r.awaitState(isns.Away)
	r.awaitLog("does not have our registration", 1)
	s.lose()
	s.start()
	r.awaitNodes(alpha, beta)
	r.awaitState(isns.Registered)
	r.awaitLog("has our registration again", 1)
	if again := r.list("portal-groups"); !slices.Equal(again, groups) {
		t.Errorf("after its crash the server has the portal groups\n%s", strings.Join(again, "\n"))
	}

	// We crash: the next process takes the place of what was left.
	r.Kill()
	r.Restart()
	r.awaitState(isns.Registered)
	r.awaitNodes(alpha, beta)
	eventually(t, "there is one entity, under the same name", func() bool {
		return slices.Equal(slices.DeleteFunc(r.kept(), func(o string) bool { return !strings.HasPrefix(o, "Entity identifier") }), entities)
	})

	// And at the end nothing is left, but of the initiator.
	r.Stop()
	if nodes, portals := r.list("nodes"), r.list("portals"); len(nodes) != 0 || len(portals) != 0 {
		t.Errorf("after the stop the server has the nodes %q and the portals %q", nodes, portals)
	}
}

// TestRegistrationPeriod: who is there stays, beyond the period, and who is gone goes.
func TestRegistrationPeriod_RFC4171_6_2_6(t *testing.T) {
	t.Parallel()
	s := startServer(t, "RegistrationPeriod = 15s", "ESIRetries = 0")
	r := serve(t, s, `registration-period = "1h"`)
	r.awaitState(isns.Registered)
	if s, err := r.Status(t.Context()); err != nil || s.ISNS.Period != 15 {
		t.Errorf("status: %+v, %v, and the server has said 15 s", s.ISNS, err)
	}
	time.Sleep(32 * time.Second) // the daemon would notice that it was forgotten
	if nodes := r.list("nodes"); len(nodes) != 2 || strings.Contains(r.Log(), "lost our registration") {
		t.Errorf("after more than two periods the server has %q, or has had less", nodes)
	}
	r.Kill()
	eventually(t, "the server has forgotten us", func() bool { return len(r.list("nodes")) == 0 })
	r.Restart()
	r.awaitNodes(alpha, beta)

	// A server that hangs does not hold up the end.
	s.cmd.Process.Signal(stopSignal)
	r.Stop()
	s.cmd.Process.Signal(goSignal)
}
