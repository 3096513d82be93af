package protocol_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
)

// All ways through the stages, in one PDU a step or in many (6.3, 11.12.2).
func TestLoginStages_RFC7143_6_3(t *testing.T) {
	d := serve(t, standard)
	keys := pairs("HeaderDigest=None", "DataDigest=None", "InitialR2T=No", "ImmediateData=Yes", "MaxRecvDataSegmentLength=65536", "MaxBurstLength=262144",
		"FirstBurstLength=65536", "DefaultTime2Wait=2", "DefaultTime2Retain=0", "MaxOutstandingR2T=1", "MaxConnections=1", "ErrorRecoveryLevel=0")
	for _, split := range []int{0, 1, 7, 100} {
		for name, edit := range map[string]func(*initiator.Login){
			"security, operational": func(*initiator.Login) {},
			"operational only":      func(l *initiator.Login) { l.SkipSecurity = true },
			"security only":         func(l *initiator.Login) { l.OneStage = true },
			"no keys":               func(l *initiator.Login) { l.Keys = nil },
			"no session type":       func(l *initiator.Login) { l.SessionType = "" },
			"several methods":       func(l *initiator.Login) { l.AuthMethod = "KRB5,CHAP,None" },
		} {
			if split == 1 && !strings.Contains(name, "no keys") {
				continue // a PDU a byte: more requests than any initiator needs
			}
			t.Run(fmt.Sprintf("%s, pieces of %d", name, split), func(t *testing.T) {
				p := dial(t, d)
				l := normal(func(l *initiator.Login) {
					l.Keys, l.Split = keys, split
					edit(l)
				})
				err := p.Login(l)
				if split == 1 {
					var r *initiator.Refusal
					if !errors.As(err, &r) {
						t.Errorf("a login of hundreds of PDUs: %v", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				p.alive()
			})
		}
	}
}

// The first response of a normal session bears the portal group tag (13.9).
func TestLoginPortalGroupTag_RFC7143_13_9(t *testing.T) {
	d := serve(t, standard+"alias = \"a disk\"\n")
	for _, skip := range []bool{false, true} {
		p := login(t, d, normal(func(l *initiator.Login) { l.SkipSecurity = skip }))
		if got := p.Steps[0].Keys["TargetPortalGroupTag"]; got != "1" {
			t.Errorf("the first response has TargetPortalGroupTag=%q", got)
		}
		if got := p.Answers["TargetAlias"]; got != "a disk" {
			t.Errorf("TargetAlias=%q", got)
		}
	}
}

// Every way to be refused, and its status (11.13.5).
func TestLoginRefused_RFC7143_11_13_5(t *testing.T) {
	d := serve(t, standard+`
[[target]]
name = "iqn.2026-11.org.isantarget.test:private"
luns = { 0 = "b" }
[[target.rule]]
initiators = ["`+bob+`"]
`)
	bystander(t, d)
	first := func(edit func(*iscsi.BHS)) func(int, *initiator.PDU) initiator.Faults {
		return func(n int, p *initiator.PDU) initiator.Faults {
			if n == 0 {
				edit(&p.BHS)
			}
			return 0
		}
	}
	second := func(edit func(*iscsi.BHS)) func(int, *initiator.PDU) initiator.Faults {
		return func(n int, p *initiator.PDU) initiator.Faults {
			if n == 1 {
				edit(&p.BHS)
			}
			return 0
		}
	}
	for name, c := range map[string]struct {
		want iscsi.LoginStatus
		edit func(*initiator.Login)
	}{
		"no initiator name":    {iscsi.LoginMissingParameter, func(l *initiator.Login) { l.InitiatorName = "" }},
		"no target name":       {iscsi.LoginMissingParameter, func(l *initiator.Login) { l.TargetName = "" }},
		"no name of a node":    {iscsi.LoginInitiatorError, func(l *initiator.Login) { l.InitiatorName = "my host" }},
		"unknown target":       {iscsi.LoginNotFound, func(l *initiator.Login) { l.TargetName = "iqn.2026-11.org.isantarget.test:none" }},
		"malformed target":     {iscsi.LoginNotFound, func(l *initiator.Login) { l.TargetName = "none" }},
		"not admitted":         {iscsi.LoginAuthorizationFailure, func(l *initiator.Login) { l.TargetName = "iqn.2026-11.org.isantarget.test:private" }},
		"session type":         {iscsi.LoginSessionTypeUnsupported, func(l *initiator.Login) { l.SessionType = "Other" }},
		"version":              {iscsi.LoginUnsupportedVersion, func(l *initiator.Login) { l.VersionMin, l.VersionMax = 1, 1 }},
		"TSIH of no session":   {iscsi.LoginSessionDoesNotExist, func(l *initiator.Login) { l.TSIH = 0xfff0 }},
		"CHAP where none is":   {iscsi.LoginAuthenticationFailure, func(l *initiator.Login) { l.AuthMethod = "CHAP" }},
		"unknown method":       {iscsi.LoginAuthenticationFailure, func(l *initiator.Login) { l.AuthMethod = "SPKM1" }},
		"segment length 511":   {iscsi.LoginInitiatorError, func(l *initiator.Login) { l.Keys = pairs("MaxRecvDataSegmentLength=511") }},
		"segment length 16Mi":  {iscsi.LoginInitiatorError, func(l *initiator.Login) { l.Keys = pairs("MaxRecvDataSegmentLength=16777216") }},
		"key twice":            {iscsi.LoginInitiatorError, func(l *initiator.Login) { l.Keys = pairs("InitialR2T=Yes", "InitialR2T=No") }},
		"a key of the target":  {iscsi.LoginInitiatorError, func(l *initiator.Login) { l.Keys = pairs("TargetPortalGroupTag=1") }},
		"SendTargets in login": {iscsi.LoginInvalidDuringLogin, func(l *initiator.Login) { l.Keys = pairs("SendTargets=All") }},
		"text without =": {iscsi.LoginInitiatorError, func(l *initiator.Login) {
			l.Edit = func(_ int, p *initiator.PDU) initiator.Faults { p.Data = append(p.Data, "nonsense\x00"...); return 0 }
		}},
		"reserved stage":     {iscsi.LoginInitiatorError, func(l *initiator.Login) { l.Edit = first(func(h *iscsi.BHS) { h[1] = 0x88 | 3 }) }},
		"transit to stage 2": {iscsi.LoginInitiatorError, func(l *initiator.Login) { l.Edit = first(func(h *iscsi.BHS) { h[1] = 0x82 }) }},
		"transit to itself":  {iscsi.LoginInitiatorError, func(l *initiator.Login) { l.Edit = first(func(h *iscsi.BHS) { h[1] = 0x80 }) }},
		"T and C":            {iscsi.LoginInitiatorError, func(l *initiator.Login) { l.Edit = first(func(h *iscsi.BHS) { h[1] |= 0x40 }) }},
		"back to security":   {iscsi.LoginInitiatorError, func(l *initiator.Login) { l.Edit = second(func(h *iscsi.BHS) { h[1] = 0x81 }) }},
		"another ISID":       {iscsi.LoginInitiatorError, func(l *initiator.Login) { l.Edit = second(func(h *iscsi.BHS) { h[13]++ }) }},
		"another TSIH":       {iscsi.LoginInitiatorError, func(l *initiator.Login) { l.Edit = second(func(h *iscsi.BHS) { h[15]++ }) }},
		"another CID":        {iscsi.LoginInitiatorError, func(l *initiator.Login) { l.Edit = second(func(h *iscsi.BHS) { h[21]++ }) }},
		"an additional header": {iscsi.LoginInitiatorError, func(l *initiator.Login) {
			l.Edit = func(_ int, p *initiator.PDU) initiator.Faults { p.AHS = make([]byte, 8); return 0 }
		}},
		"9000 bytes of text": {iscsi.LoginInitiatorError, func(l *initiator.Login) { l.Keys = pairs("X-a=" + strings.Repeat("x", 9000)) }},
		"another PDU":        {iscsi.LoginInvalidDuringLogin, func(l *initiator.Login) { l.Edit = second(func(h *iscsi.BHS) { h[0] = 0x40 }) }},
	} {
		t.Run(name, func(t *testing.T) {
			p := dial(t, d)
			wantRefusal(t, p.Login(normal(c.edit)), c.want)
			p.closed() // a refused login ends the connection: 11.13.5
		})
	}
}

// A version above ours is no reason to refuse one who speaks ours too (11.12.4).
func TestLoginVersion_RFC7143_11_12_4(t *testing.T) {
	d := serve(t, standard)
	login(t, d, normal(func(l *initiator.Login) { l.VersionMax = 0xff })).alive()
}

// Text that never ends is bounded, not kept (6.2).
func TestLoginEndlessText_RFC7143_11_12_2(t *testing.T) {
	d := serve(t, standard)
	bystander(t, d)
	p := dial(t, d)
	err := p.Login(normal(func(l *initiator.Login) {
		l.Keys, l.Split = pairs("X-a="+strings.Repeat("x", 1<<20)), 8000
	}))
	var r *initiator.Refusal
	if !errors.As(err, &r) || r.Status.Class() == iscsi.LoginClassSuccess {
		t.Errorf("1 MiB of login text: %v", err)
	}
	p.closed()
}

// A login that asks for no transit for ever is ended (6.3).
func TestLoginEndless_RFC7143_6_3(t *testing.T) {
	d := serve(t, standard)
	p := dial(t, d)
	err := p.Login(normal(func(l *initiator.Login) {
		l.Edit = func(n int, p *initiator.PDU) initiator.Faults { p.BHS[1] &^= 0x80; return 0 }
	}))
	if err == nil {
		t.Fatal("a login without transit was accepted")
	}
	for range 1000 {
		if err = p.SendBytes(loginRequest()); err != nil {
			break
		}
		if _, err = p.Receive(); err != nil {
			break
		}
	}
	if !initiator.IsClosed(err) {
		t.Errorf("after 1000 more requests: %v", err)
	}
}

func loginRequest() []byte {
	var p initiator.PDU
	(&iscsi.LoginRequest{CSG: iscsi.LoginOperationalNegotiation}).Marshal(&p.BHS)
	return p.Encode(initiator.Digests{}, 0)
}

// A Login Request in the full feature phase is a protocol error (6.3).
func TestLoginAgain_RFC7143_6_3(t *testing.T) {
	d := serve(t, standard)
	bystander(t, d)
	p := ready(t, d, normal(nil))
	if err := p.SendBytes(loginRequest()); err != nil {
		t.Fatal(err)
	}
	p.closed()
}

// Names are compared in their normal form (4.2.7).
func TestLoginNames_RFC7143_4_2_7(t *testing.T) {
	d := serve(t, standard)
	login(t, d, normal(func(l *initiator.Login) {
		l.TargetName = strings.ToUpper(target)
		l.InitiatorName = strings.ToUpper(alice)
	})).alive()
	for _, name := range []string{"eui.02004567A425678D", "naa.62004567BA64678D0123456789ABCDEF", "iqn.2001-04.com.example:" + strings.Repeat("n", 199)} {
		login(t, d, normal(func(l *initiator.Login) { l.InitiatorName = name })).alive()
	}
}
