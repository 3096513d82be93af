package protocol_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/test/daemon"
)

func discover(t *testing.T, d *daemon.Daemon, name string, keys ...string) *peer {
	t.Helper()
	return login(t, d, initiator.Login{InitiatorName: name, SessionType: "Discovery", Keys: pairs(keys...)})
}

func (p *peer) sendTargets(which string) (names []string) {
	p.t.Helper()
	found, err := p.SendTargets(which)
	if err != nil {
		p.t.Fatalf("SendTargets=%s: %v", which, err)
	}
	for _, f := range found {
		names = append(names, f.Name)
		for _, a := range f.Addresses {
			names = append(names, "  "+a)
		}
	}
	return names
}

func wantNames(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// An initiator hears of what it may use, with the addresses that lead there, and of
// nothing else (appendix C).
func TestSendTargets_RFC7143_C(t *testing.T) {
	one, two := daemon.FreePort(t), daemon.FreePort(t)
	d := serveFile(t, fmt.Sprintf(`
[[portal-group]]
tag = 1
listen = ["127.0.0.1:%d", "127.0.0.2:%d"]
[[portal-group]]
tag = 7
listen = ["127.0.0.3:%d"]
`, one, one, two)+standard+`
[[target]]
name = "iqn.2026-11.org.isantarget.test:second"
portal-groups = [7]
access = "open"
luns = { 0 = "b" }
[[target]]
name = "iqn.2026-11.org.isantarget.test:of-bob"
luns = { 0 = "b" }
[[target.rule]]
initiators = ["`+bob+`"]
[[target]]
name = "iqn.2026-11.org.isantarget.test:of-elsewhere"
luns = { 0 = "b" }
[[target.rule]]
networks = ["192.0.2.0/24"]
`)
	open := []string{target,
		fmt.Sprintf("  127.0.0.1:%d,1", one), fmt.Sprintf("  127.0.0.2:%d,1", one), fmt.Sprintf("  127.0.0.3:%d,7", two)}
	second := []string{"iqn.2026-11.org.isantarget.test:second", fmt.Sprintf("  127.0.0.3:%d,7", two)}
	ofBob := append([]string{"iqn.2026-11.org.isantarget.test:of-bob"}, open[1:]...)

	wantNames(t, discover(t, d, alice).sendTargets("All"), append(open, second...)...)
	wantNames(t, discover(t, d, bob).sendTargets("All"), slices.Concat(open, ofBob, second)...)
	wantNames(t, discover(t, d, alice).sendTargets(target), open...)
	wantNames(t, discover(t, d, alice).sendTargets("iqn.2026-11.org.isantarget.test:of-bob"))
	wantNames(t, discover(t, d, alice).sendTargets("iqn.2026-11.org.isantarget.test:none"))

	// In a normal session an initiator may ask for that target alone.
	p := ready(t, d, normal(nil))
	wantNames(t, p.sendTargets(""), open...)
	wantNames(t, p.sendTargets(target), open...)
	wantNames(t, p.sendTargets("iqn.2026-11.org.isantarget.test:second"))
	answer, err := p.Text(0, iscsi.KeyValue{Key: "SendTargets", Value: "All"})
	if err != nil || len(answer) != 1 || answer[0].Value != iscsi.AnswerReject {
		t.Errorf("SendTargets=All in a normal session: %v, %v", answer, err)
	}
	p.alive()
}

func TestSendTargetsIPv6_RFC7143_C(t *testing.T) {
	port := daemon.FreePort(t)
	d := serveFile(t, fmt.Sprintf("[[portal-group]]\ntag = 1\nlisten = [\"[::1]:%d\"]\n", port)+standard)
	wantNames(t, discover(t, d, alice).sendTargets("All"), target, fmt.Sprintf("  [::1]:%d,1", port))
	ready(t, d, normal(nil)).alive()
}

// A long answer comes in pieces that the initiator can take (11.11.2).
func TestSendTargetsInPieces_RFC7143_11_11_2(t *testing.T) {
	const count = 200
	var text strings.Builder
	var want []string
	for i := range count {
		name := fmt.Sprintf("iqn.2026-11.org.isantarget.test:disk-%03d", i)
		fmt.Fprintf(&text, "[[target]]\nname = %q\naccess = \"open\"\nluns = { 0 = \"a\" }\n", name)
		want = append(want, name)
	}
	d := serve(t, text.String())
	for _, length := range []string{"512", "8192", "65536"} {
		found, err := discover(t, d, alice, "MaxRecvDataSegmentLength="+length).SendTargets("All")
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, f := range found {
			names = append(names, f.Name)
			if len(f.Addresses) != 1 {
				t.Errorf("%s has addresses %q", f.Name, f.Addresses)
			}
		}
		wantNames(t, names, want...)
	}
}

// A discovery session is for discovery: no SCSI, no task management; ping, text and
// logout work (4.3).
func TestDiscoverySession_RFC7143_4_3(t *testing.T) {
	d := serve(t, standard)
	p := discover(t, d, alice)
	if _, err := p.Execute(initiator.Command{CDB: testUnitReady()}); !errors.Is(err, initiator.ErrRejected) {
		t.Errorf("a SCSI command: %v", err)
	}
	p = discover(t, d, alice)
	if _, err := p.Manage(iscsi.TaskManagementRequest{Immediate: true, Function: iscsi.LogicalUnitReset}); !errors.Is(err, initiator.ErrRejected) {
		t.Errorf("task management: %v", err)
	}
	p = discover(t, d, alice)
	if got, err := p.Ping([]byte("x"), false); err != nil || string(got) != "x" {
		t.Errorf("ping: %q, %v", got, err)
	}
	if r, err := p.Logout(iscsi.CloseSession, 0); err != nil || r.Response != iscsi.LogoutClosed {
		t.Errorf("logout: %v, %v", r, err)
	}
	p.closed()
}

// Who must prove himself to discover, must (12.1).
func TestDiscoveryCHAP_RFC7143_12(t *testing.T) {
	d := serve(t, secretFiles(t, `
[discovery]
chap = { user = "finder", secret-file = "$finder" }
mutual-chap = { user = "san", secret-file = "$san" }
`)+standard)
	wantRefusal(t, dial(t, d).Login(initiator.Login{InitiatorName: alice, SessionType: "Discovery"}), iscsi.LoginAuthenticationFailure)
	for _, chap := range []initiator.CHAP{
		{User: "finder", Secret: secrets["finder"]},
		{User: "finder", Secret: secrets["finder"], TargetUser: "san", TargetSecret: secrets["san"]},
	} {
		p := login(t, d, initiator.Login{InitiatorName: alice, SessionType: "Discovery", CHAP: &chap})
		if names := p.sendTargets("All"); len(names) != 2 || names[0] != target {
			t.Errorf("found %q", names)
		}
	}
}

// Digests, more than one text exchange, and a TSIH where none can be (4.3, 13.1).
func TestDiscoveryDetails_RFC7143_4_3(t *testing.T) {
	d := serve(t, standard)
	for _, keys := range digestOffers {
		p := discover(t, d, alice, keys...)
		for range 3 {
			if names := p.sendTargets("All"); len(names) != 2 {
				t.Errorf("%q", names)
			}
		}
	}
	for _, tsih := range []uint16{1, 0xffff} {
		err := dial(t, d).Login(initiator.Login{InitiatorName: alice, SessionType: "Discovery", TSIH: tsih})
		var r *initiator.Refusal
		if !errors.As(err, &r) || r.Status.Class() != iscsi.LoginClassInitiatorError {
			t.Errorf("discovery with TSIH %d: %v", tsih, err)
		}
	}
}
