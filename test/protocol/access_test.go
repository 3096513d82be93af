package protocol_test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/test/daemon"
)

// reportLUNs returns the first bytes of the LUNs that an initiator sees.
func (p *peer) reportLUNs() string {
	p.t.Helper()
	data := p.good(initiator.Command{CDB: []byte{0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0}, Read: 256}).Data
	return fmt.Sprintf("%x", data[8:])
}

// Each initiator has his own LUN map: what is behind a number, and what is not there
// (LUN masking; RFC 7143 4.4.3, SAM-5 4.7).
func TestLUNMaps(t *testing.T) {
	d := serve(t, `
[[target]]
name = "`+target+`"
luns = { 0 = "a", 1 = "b" }
[[target.rule]]
initiators = ["`+alice+`"]
[[target.rule]]
initiators = ["`+strings.ToUpper(bob)+`"]
luns = { 0 = "b", 7 = "a" }
`)
	a := ready(t, d, normal(nil))
	b := ready(t, d, normal(func(l *initiator.Login) { l.InitiatorName = bob }))
	if got := a.reportLUNs(); got != "00000000000000000001000000000000" {
		t.Errorf("alice sees %s", got)
	}
	if got := b.reportLUNs(); got != "00000000000000000007000000000000" {
		t.Errorf("bob sees %s", got)
	}
	b.run(initiator.Command{LUN: initiator.LUN(7), CDB: testUnitReady()}) // its unit attention
	a.good(write(0, fill('a', 1)))
	b.good(write(0, fill('b', 1)))
	a.wantBlock(0, 'a')
	if got := b.good(initiator.Command{LUN: initiator.LUN(7), CDB: read10(0, 1), Read: blockSize}).Data[0]; got != 'a' {
		t.Errorf("bob's LUN 7 has %c", got)
	}
	for p, lun := range map[*peer]uint8{a: 7, b: 1} {
		r := p.run(initiator.Command{LUN: initiator.LUN(lun), CDB: testUnitReady()})
		if key, code := r.SenseCode(); key != senseIllegalRequest || code != 0x2500 {
			t.Errorf("LUN %d, which is another's: status %02x, sense %x %04x", lun, r.Status, key, code)
		}
	}
}

// outside returns an address of this host that is not the loopback's.
func outside(t *testing.T) string {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if ip, ok := a.(*net.IPNet); ok && !ip.IP.IsLoopback() && ip.IP.To4() != nil {
			return ip.IP.String()
		}
	}
	t.Skip("this host has no IPv4 address beside the loopback's")
	return ""
}

// Without a rule a target is for this host alone: others are not let in, and hear
// nothing of it. Through a portal on every address each sees the one it came by.
func TestLoopbackOnly_RFC7143_C(t *testing.T) {
	ip, port := outside(t), daemon.FreePort(t)
	d := serveFile(t, fmt.Sprintf(`
[[portal-group]]
tag = 1
listen = ["0.0.0.0:%d"]
[[target]]
name = "%s"
luns = { 0 = "a", 1 = "b" }
[[target]]
name = "iqn.2026-11.org.isantarget.test:open"
access = "open"
luns = { 0 = "b" }
`, port, target))
	for from, want := range map[string][]string{
		"127.0.0.1": {"iqn.2026-11.org.isantarget.test:disk", fmt.Sprintf("  127.0.0.1:%d,1", port), "iqn.2026-11.org.isantarget.test:open", fmt.Sprintf("  127.0.0.1:%d,1", port)},
		ip:          {"iqn.2026-11.org.isantarget.test:open", fmt.Sprintf("  %s:%d,1", ip, port)},
	} {
		c, err := initiator.Dial(fmt.Sprintf("%s:%d", from, port), initiator.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.Login(initiator.Login{InitiatorName: alice, SessionType: "Discovery"}); err != nil {
			t.Fatal(err)
		}
		wantNames(t, (&peer{c, t}).sendTargets("All"), want...)
	}
	c, err := initiator.Dial(fmt.Sprintf("%s:%d", ip, port), initiator.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	wantRefusal(t, c.Login(normal(nil)), iscsi.LoginAuthorizationFailure)
	_ = d
}

// A session may span the portals of one group, and not those of two (4.4.1).
func TestPortalGroups_RFC7143_4_4_1(t *testing.T) {
	ports := []int{daemon.FreePort(t), daemon.FreePort(t), daemon.FreePort(t)}
	d := serveFile(t, fmt.Sprintf(`
[[portal-group]]
tag = 1
listen = ["127.0.0.1:%d", "127.0.0.1:%d"]
[[portal-group]]
tag = 2
listen = ["127.0.0.1:%d"]
`, ports[0], ports[1], ports[2])+standard)
	p := ready(t, d, offer("MaxConnections=4"))
	over := func(port int) *peer {
		c, err := initiator.Dial(fmt.Sprintf("127.0.0.1:%d", port), initiator.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return &peer{c, t}
	}
	same := over(ports[1])
	if err := same.JoinSession(p.Connection, 1, initiator.Login{}); err != nil {
		t.Errorf("another portal of the group: %v", err)
	}
	same.alive()
	wantRefusal(t, over(ports[2]).JoinSession(p.Connection, 2, initiator.Login{}), iscsi.LoginSessionDoesNotExist)
	// The same initiator port through another group is another nexus beside the first.
	other := over(ports[2])
	if err := other.Login(normal(func(l *initiator.Login) { l.ISID = p.Session.ISID })); err != nil {
		t.Fatal(err)
	}
	if got := other.Answers["TargetPortalGroupTag"]; got != "2" {
		t.Errorf("TargetPortalGroupTag=%s", got)
	}
	other.alive()
	p.alive()
}
