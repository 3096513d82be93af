package protocol_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
)

// The same initiator port logs in again: the old session ends, with all its tasks,
// before the new one begins (6.3.5).
func TestSessionReinstatement_RFC7143_6_3_5(t *testing.T) {
	d := serve(t, standard)
	bystander(t, d)
	l := offer("ImmediateData=No", "MaxConnections=2")
	l.ISID = initiator.RandomISID()
	old := ready(t, d, l)
	second := old.join(d, 1, initiator.Login{})
	old.good(write(0, fill('o', 1)))
	w := write(0, fill('x', 1))
	w.HoldData = true
	held := old.start(w)
	if err := held.WaitR2T(1); err != nil {
		t.Fatal(err)
	}
	again := ready(t, d, l)
	if again.Session.TSIH == old.Session.TSIH {
		t.Errorf("both sessions have TSIH %04x", again.Session.TSIH)
	}
	old.closed()
	second.closed()
	if err := held.Answer(held.R2Ts[0]); err == nil {
		_ = old.WaitClosed()
	}
	again.wantBlock(0, 'o')
	again.good(write(0, fill('n', 1)))
	again.wantBlock(0, 'n')
}

// Another ISID, or another initiator with the same ISID, is another session (4.4.3).
func TestSessionsBeside_RFC7143_4_4_3(t *testing.T) {
	d := serve(t, standard)
	isid := initiator.RandomISID()
	one := ready(t, d, normal(func(l *initiator.Login) { l.ISID = isid }))
	two := ready(t, d, normal(func(l *initiator.Login) { l.ISID = initiator.RandomISID() }))
	three := ready(t, d, normal(func(l *initiator.Login) { l.ISID, l.InitiatorName = isid, bob }))
	seen := map[uint16]bool{}
	for _, p := range []*peer{one, two, three} {
		p.alive()
		seen[p.Session.TSIH] = true
	}
	if len(seen) != 3 {
		t.Errorf("TSIHs: %v", seen)
	}
}

// A lost connection ends its session at ErrorRecoveryLevel 0; the port comes back as
// if nothing had been, and its unfinished write is not done (6.3.5, 7.1.5).
func TestSessionLoss_RFC7143_7_1_5(t *testing.T) {
	d := serve(t, standard)
	for name, lose := range map[string]func(*peer) error{
		"close": func(p *peer) error { return p.Close() },
		"reset": func(p *peer) error { return p.Reset() },
		"half":  func(p *peer) error { return p.CloseWrite() },
		"in a PDU": func(p *peer) error {
			if err := p.SendBytes([]byte{0x01, 0x81, 0}); err != nil {
				return err
			}
			return p.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := offer("ImmediateData=No")
			l.ISID = initiator.RandomISID()
			p := ready(t, d, l)
			p.good(write(0, fill('o', 1)))
			w := write(0, fill('x', 1))
			w.HoldData = true
			if err := p.start(w).WaitR2T(1); err != nil {
				t.Fatal(err)
			}
			if err := lose(p); err != nil {
				t.Fatal(err)
			}
			ready(t, d, l).wantBlock(0, 'o')
		})
	}
}

// Up to four connections make a session; the fifth does not get in (4.4.2, 13.2).
func TestMaxConnections_RFC7143_13_2(t *testing.T) {
	d := serve(t, standard)
	for _, agreed := range []int{1, 2, 4} {
		p := ready(t, d, offer(fmt.Sprint("MaxConnections=", agreed)))
		all := []*peer{p}
		for cid := 1; cid < agreed; cid++ {
			all = append(all, p.join(d, uint16(cid), initiator.Login{}))
		}
		c := dial(t, d)
		wantRefusal(t, c.JoinSession(p.Connection, 9, initiator.Login{}), iscsi.LoginTooManyConnections)
		for _, c := range all {
			c.alive()
		}
	}
}

// Who joins must be the one whose session it is, through the same portal group, with
// all the proof that the leading connection gave (6.3.1).
func TestJoinForbidden_RFC7143_6_3_1(t *testing.T) {
	d := serve(t, secretFiles(t, guarded))
	chap := func() *initiator.CHAP { return &initiator.CHAP{User: "alice", Secret: secrets["alice"]} }
	l := offer("MaxConnections=4")
	l.CHAP = chap()
	p := ready(t, d, l)
	s := p.Session
	attempt := func(edit func(*initiator.Login)) error {
		l := normal(func(l *initiator.Login) { l.ISID, l.TSIH, l.CID, l.CHAP = s.ISID, s.TSIH, 1, chap() })
		edit(&l)
		return dial(t, d).Login(l)
	}
	wantRefusal(t, attempt(func(l *initiator.Login) { l.InitiatorName = bob }), iscsi.LoginSessionDoesNotExist)
	wantRefusal(t, attempt(func(l *initiator.Login) { l.ISID[5]++ }), iscsi.LoginSessionDoesNotExist)
	wantRefusal(t, attempt(func(l *initiator.Login) { l.TSIH++ }), iscsi.LoginSessionDoesNotExist)
	wantRefusal(t, attempt(func(l *initiator.Login) { l.CHAP = nil }), iscsi.LoginAuthenticationFailure)
	wantRefusal(t, attempt(func(l *initiator.Login) { l.CHAP.Secret = "no such secret" }), iscsi.LoginAuthenticationFailure)
	wantRefusal(t, attempt(func(l *initiator.Login) { l.SkipSecurity, l.CHAP = true, nil }), iscsi.LoginAuthenticationFailure)
	p.alive()
}

// Names are no proof: who proves to be another user does not get to the LUNs of a
// session by its initiator name, its ISID and its TSIH (6.3.1, 9.2.1).
func TestJoinAsAnotherUser_RFC7143_6_3_1(t *testing.T) {
	d := serve(t, secretFiles(t, `
[[target]]
name = "`+target+`"
luns = { 0 = "a" }
[[target.rule]]
chap = { user = "alice", secret-file = "$alice" }
[[target.rule]]
chap = { user = "bob", secret-file = "$bob" }
luns = { 0 = "b" }
`))
	as := func(user string) func(*initiator.Login) {
		return func(l *initiator.Login) {
			l.CHAP = &initiator.CHAP{User: user, Secret: secrets[user]}
			l.Keys = pairs("MaxConnections=4")
		}
	}
	for _, user := range []string{"alice", "bob"} {
		p := login(t, d, normal(as(user)))
		for _, other := range []string{"alice", "bob"} {
			l := normal(as(other))
			l.ISID, l.TSIH, l.CID, l.Keys = p.Session.ISID, p.Session.TSIH, 1, nil
			err := dial(t, d).Login(l)
			if other == user && err != nil {
				t.Errorf("%s joins the session of %s: %v", other, user, err)
			}
			if other != user {
				wantRefusal(t, err, iscsi.LoginAuthenticationFailure)
			}
		}
		p.alive()
	}
}

// The connection of a session that comes back under its CID takes the place of the
// old one: the others go on, the session and its numbers stay (6.3.4).
func TestConnectionReinstatement_RFC7143_6_3_4(t *testing.T) {
	d := serve(t, standard)
	p := ready(t, d, offer("MaxConnections=4", "ImmediateData=No"))
	old := p.join(d, 1, initiator.Login{})
	old.good(write(0, fill('o', 1)))
	w := write(0, fill('x', 1))
	w.HoldData = true
	held := old.start(w)
	if err := held.WaitR2T(1); err != nil {
		t.Fatal(err)
	}
	again := p.join(d, 1, initiator.Login{})
	old.closed()
	again.alive()
	p.alive()
	if again.Session.TSIH != p.Session.TSIH {
		t.Error("it is another session")
	}
	p.wantBlock(0, 'o')
	again.good(write(0, fill('n', 1)))
	p.wantBlock(0, 'n')
}

// So too when it was the only one (6.3.4).
func TestOnlyConnectionReinstated_RFC7143_6_3_4(t *testing.T) {
	d := serve(t, standard)
	p := ready(t, d, normal(nil))
	again := p.join(d, 0, initiator.Login{})
	p.closed()
	again.alive()
}

// CmdSN is one count over all connections: what is missing may come over another
// (4.2.2.1).
func TestCmdSNOverConnections_RFC7143_4_2_2_1(t *testing.T) {
	d := serve(t, standard)
	p := ready(t, d, offer("MaxConnections=4"))
	all := []*peer{p, p.join(d, 1, initiator.Login{}), p.join(d, 2, initiator.Login{}), p.join(d, 3, initiator.Login{})}
	for round := range byte(25) {
		sn := p.Session.CmdSN
		var tasks [4]*initiator.Task
		for i, c := range all { // the first number goes last
			ahead := uint32(3 - i)
			w := write(5, fill(round*4+byte(ahead), 1))
			w.CmdSN, w.Attribute = new(sn+ahead), iscsi.AttributeOrdered
			tasks[i] = c.start(w)
		}
		p.Session.CmdSN = sn + 4
		for i, c := range all {
			c.wait(tasks[i])
		}
		all[round%4].wantBlock(5, round*4+3)
	}
}

// A ping that came early is answered when another connection brings what was missing,
// at once, though nothing more comes over its own (4.2.2.1).
func TestEarlyPingOverConnections_RFC7143_4_2_2_1(t *testing.T) {
	d := serve(t, "[limits]\nnop-interval = \"10m\"\n"+standard) // a NOP-In would take the answer along
	p := ready(t, d, offer("MaxConnections=2"))
	other := p.join(d, 1, initiator.Login{})
	sn := p.Session.CmdSN
	p.Session.CmdSN = sn + 1
	early, err := p.StartPing([]byte("early"), false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Ping(nil, true); err != nil { // it has arrived
		t.Fatal(err)
	}
	other.good(initiator.Command{CDB: testUnitReady(), CmdSN: new(sn)})
	if answer, err := early.Await(); err != nil || string(answer.Data) != "early" {
		t.Fatalf("%v, %v", answer, err)
	}
}

// Answers come over the connection of their command, each with its own StatSN, and
// all connections work at once (4.2.5.1, 4.2.2.2).
func TestConnectionAllegiance_RFC7143_4_2_5_1(t *testing.T) {
	d := serve(t, standard)
	p := ready(t, d, offer("MaxConnections=4", "HeaderDigest=CRC32C"))
	keys := [][]string{{"DataDigest=CRC32C", "MaxRecvDataSegmentLength=4096"}, {"HeaderDigest=CRC32C"}, {}}
	all := []*peer{p}
	for i, k := range keys { // digests and segment lengths are each connection's own
		all = append(all, p.join(d, uint16(i+1), initiator.Login{Keys: pairs(k...)}))
	}
	for round := range 10 {
		var tasks []*initiator.Task
		for i, c := range all {
			w := write(uint32(i*100), noise(uint64(round*4+i), 50))
			tasks = append(tasks, c.start(w))
		}
		for i, c := range all {
			c.wait(tasks[i])
		}
		for i, c := range all {
			got := c.good(initiator.Command{CDB: read10(uint32((3-i)*100), 50), Read: 50 * blockSize})
			if string(got.Data) != string(noise(uint64(round*4+3-i), 50)) {
				t.Fatalf("connection %d reads other data", i)
			}
		}
	}
	// Data-Out over another connection than the command's belongs to no task there.
	w := write(0, fill('x', 1))
	w.ImmediateData, w.HoldData = new(0), true
	held := p.start(w)
	if err := held.WaitR2T(1); err != nil {
		t.Fatal(err)
	}
	stray := initiator.PDU{Data: fill('y', 1)}
	(&iscsi.DataOut{Final: true, InitiatorTaskTag: held.Tag, TargetTransferTag: held.R2Ts[0].TargetTransferTag}).Marshal(&stray.BHS)
	if err := all[3].Send(&stray, 0); err != nil {
		t.Fatal(err)
	}
	if err := held.Answer(held.R2Ts[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := held.Wait(); err == nil {
		p.wantBlock(0, 'x')
	} else if !initiator.IsClosed(err) { // a target may end the session for that
		t.Error(err)
	}
}

// A connection that logs out leaves the others alone; the last one takes the session
// with it (11.14).
func TestLogoutOfConnections_RFC7143_11_14(t *testing.T) {
	d := serve(t, standard)
	p := ready(t, d, offer("MaxConnections=4"))
	one, two := p.join(d, 1, initiator.Login{}), p.join(d, 2, initiator.Login{})
	logout := func(over *peer, reason iscsi.LogoutReason, cid uint16, want iscsi.LogoutStatus) {
		t.Helper()
		r, err := over.Logout(reason, cid)
		if err != nil || r.Response != want {
			t.Fatalf("%v, CID %d: %v, %v", reason, cid, r.Response, err)
		}
	}
	logout(one, iscsi.CloseConnection, 1, iscsi.LogoutClosed) // itself
	one.closed()
	logout(p, iscsi.CloseConnection, 2, iscsi.LogoutClosed) // another
	two.closed()
	logout(p, iscsi.CloseConnection, 77, iscsi.LogoutCIDNotFound)
	logout(p, iscsi.RemoveConnectionForRecovery, 0, iscsi.LogoutRecoveryNotSupported)
	p.alive()
	three := p.join(d, 1, initiator.Login{}) // the place is free again
	three.alive()
	logout(three, iscsi.CloseSession, 0, iscsi.LogoutClosed)
	three.closed()
	p.closed()
	wantRefusal(t, dial(t, d).JoinSession(p.Connection, 4, initiator.Login{}), iscsi.LoginSessionDoesNotExist)
}

// A session logs out with commands open: they end without an answer, and do nothing
// after it (11.14.1).
func TestLogoutWithTasks_RFC7143_11_14_1(t *testing.T) {
	d := serve(t, standard)
	p := ready(t, d, offer("ImmediateData=No"))
	p.good(write(0, fill('o', 1)))
	w := write(0, fill('x', 1))
	w.HoldData = true
	held := p.start(w)
	if err := held.WaitR2T(1); err != nil {
		t.Fatal(err)
	}
	if r, err := p.Logout(iscsi.CloseSession, 0); err != nil || r.Response != iscsi.LogoutClosed {
		t.Fatalf("%v, %v", r, err)
	}
	if held.Done() {
		t.Error("the write was answered")
	}
	p.closed()
	ready(t, d, normal(nil)).wantBlock(0, 'o')
}

// A reason that does not exist is refused (11.14.1).
func TestLogoutReason_RFC7143_11_14_1(t *testing.T) {
	d := serve(t, standard)
	bystander(t, d)
	p := ready(t, d, normal(nil))
	if _, err := p.Logout(3, 0); !errors.Is(err, initiator.ErrRejected) && !initiator.IsClosed(err) {
		t.Errorf("%v", err)
	}
}

// One initiator may have so many sessions and the target so many connections; what is
// given back can be used again.
func TestLimits(t *testing.T) {
	d := serve(t, "[limits]\nconnections = 6\nsessions-per-initiator = 3\n"+standard)
	var all []*peer
	for range 3 {
		all = append(all, login(t, d, normal(nil)))
	}
	wantRefusal(t, dial(t, d).Login(normal(nil)), iscsi.LoginOutOfResources)
	asBob := normal(func(l *initiator.Login) { l.InitiatorName = bob })
	all = append(all, login(t, d, asBob))
	silent := []*peer{dial(t, d), dial(t, d)} // no login: a connection all the same
	for _, p := range silent {                // who says nothing makes room, the oldest first
		all = append(all, login(t, d, asBob))
		p.closed()
	}
	one := dial(t, d)
	if err := one.Login(asBob); !initiator.IsClosed(err) {
		t.Errorf("the seventh connection: %v", err)
	}
	for _, p := range all {
		p.alive()
	}
	for _, p := range all[2:] {
		p.Close()
	}
	for end := time.Now().Add(within); ; { // the target notices when it reads
		err := dial(t, d).Login(normal(nil))
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%v after the others were given back: %v", within, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// A nexus that was lost hears of it when it is back (SAM-5 6.3.4, SPC-4 5.14).
func TestNexusLossAttention_RFC7143_6_3_5(t *testing.T) {
	d := serve(t, standard)
	l := normal(func(l *initiator.Login) { l.ISID = initiator.RandomISID() })
	p := ready(t, d, l)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	again := login(t, d, l)
	again.wantAttention(0x2907, 0x2900)
	again.good(initiator.Command{CDB: testUnitReady()})
}

// What a connection brought and what waits for its turn goes with the connection
// when that logs out or is replaced: it does not act later, and its number is not
// missing (11.14.1, 6.3.4).
func TestWaitingGoesWithConnection_RFC7143_11_14_1(t *testing.T) {
	d := serve(t, standard)
	for name, end := range map[string]func(p, c *peer){
		"logout": func(p, c *peer) {
			if r, err := p.Logout(iscsi.CloseConnection, 1); err != nil || r.Response != iscsi.LogoutClosed {
				p.t.Fatalf("%v, %v", r, err)
			}
		},
		"reinstatement": func(p, c *peer) { p.join(d, 1, initiator.Login{}).alivePing() },
	} {
		t.Run(name, func(t *testing.T) {
			p := ready(t, d, offer("MaxConnections=2"))
			c := p.join(d, 1, initiator.Login{})
			p.good(write(0, fill('o', 1)))
			sn := p.Session.CmdSN
			early := write(0, fill('x', 1))
			early.CmdSN = new(sn + 1)
			p.Session.CmdSN = sn + 2
			c.start(early)
			c.alivePing()
			end(p, c)
			c.closed()
			p.wait(p.start(initiator.Command{CDB: testUnitReady(), CmdSN: &sn}))
			p.alive()
			p.wantBlock(0, 'o')
		})
	}
}
