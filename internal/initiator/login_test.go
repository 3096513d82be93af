package initiator

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/isantarget/isantarget/iscsi"
)

// loginTarget answers Login Requests with what answer makes of them, until it
// answers with a refusal or the transit to the full feature phase.
func loginTarget(answer func(r iscsi.LoginRequest, keys map[string]string) (iscsi.LoginResponse, string)) func(*Connection) error {
	return func(c *Connection) error {
		for sn := uint32(7); ; sn++ {
			p, err := c.Receive()
			if err != nil {
				return err
			}
			var r iscsi.LoginRequest
			if err := r.Unmarshal(&p.BHS); err != nil {
				return err
			}
			keys := map[string]string{}
			pairs, _ := iscsi.ParseText(p.Data, iscsi.TextLimits{}) // a piece of a text is none
			for _, kv := range pairs {
				keys[kv.Key] = kv.Value
			}
			m, text := answer(r, keys)
			m.ISID, m.InitiatorTaskTag, m.StatSN, m.ExpCmdSN, m.MaxCmdSN = r.ISID, r.InitiatorTaskTag, sn, r.CmdSN, r.CmdSN+31
			if err := reply(c, &m, []byte(strings.ReplaceAll(text, " ", "\x00"))); err != nil {
				return err
			}
			if m.Status != iscsi.LoginSuccess || m.Transit && m.NSG == iscsi.FullFeaturePhase {
				return nil
			}
		}
	}
}

// follow goes along with every request.
func follow(r iscsi.LoginRequest) iscsi.LoginResponse {
	m := iscsi.LoginResponse{Transit: r.Transit, CSG: r.CSG, NSG: r.NSG}
	if r.NSG == iscsi.FullFeaturePhase {
		m.TSIH = 9
	}
	return m
}

func TestLoginPutsAnswersIntoForce(t *testing.T) {
	var got map[string]string
	c := converse(t, loginTarget(func(r iscsi.LoginRequest, keys map[string]string) (iscsi.LoginResponse, string) {
		if r.CSG == iscsi.SecurityNegotiation {
			got = keys
			return follow(r), "AuthMethod=None TargetPortalGroupTag=1 "
		}
		return follow(r), "HeaderDigest=CRC32C InitialR2T=No MaxBurstLength=0x1000 FirstBurstLength=Irrelevant MaxRecvDataSegmentLength=4096 "
	}))
	err := c.Login(Login{InitiatorName: "iqn.2001-04.com.example:a", TargetName: "iqn.2001-04.com.example:b", CmdSN: 41, Keys: []iscsi.KeyValue{
		{Key: "HeaderDigest", Value: "CRC32C"}, {Key: "InitialR2T", Value: "No"}, {Key: "MaxBurstLength", Value: "8192"},
		{Key: "FirstBurstLength", Value: "512"}, {Key: "MaxRecvDataSegmentLength", Value: "65536"}}})
	if err != nil {
		t.Fatal(err)
	}
	p, s := c.Session.Parameters, c.Session
	if !c.Digests.Header || c.Digests.Data || p.InitialR2T || p.MaxBurstLength != 4096 || p.FirstBurstLength != 4096 || c.MaxSend != 4096 || c.MaxRecv != 65536 || p.PortalGroupTag != "1" {
		t.Errorf("%+v, %+v", c, p)
	}
	if s.TSIH != 9 || s.CmdSN != 41 || s.ExpCmdSN != 41 || s.MaxCmdSN != 72 || c.ExpStatSN != 9 || s.ISID.Type() != iscsi.ISIDRandom {
		t.Errorf("%+v, ExpStatSN %d", s, c.ExpStatSN)
	}
	if got["InitiatorName"] != "iqn.2001-04.com.example:a" || got["TargetName"] != "iqn.2001-04.com.example:b" || got["AuthMethod"] != "None" {
		t.Errorf("the first request had %v", got)
	}
}

func TestLoginSplitsText_RFC7143_11_12_2(t *testing.T) {
	var pieces int
	c := converse(t, loginTarget(func(r iscsi.LoginRequest, keys map[string]string) (iscsi.LoginResponse, string) {
		if r.Continue {
			pieces++
			return iscsi.LoginResponse{CSG: r.CSG}, ""
		}
		return follow(r), ""
	}))
	if err := c.Login(Login{InitiatorName: "iqn.2001-04.com.example:a", SkipSecurity: true, Split: 10}); err != nil {
		t.Fatal(err)
	}
	if pieces != 3 { // 40 bytes: three pieces that go on, one that does not
		t.Errorf("%d pieces", pieces)
	}
}

func TestLoginJudges(t *testing.T) {
	offer := Login{SkipSecurity: true, Keys: []iscsi.KeyValue{{Key: "MaxConnections", Value: "4"}}}
	for name, c := range map[string]struct {
		edit         func(*iscsi.LoginResponse)
		text         string
		clause, what string
	}{
		"no answer":          {nil, "", "6.2", "MaxConnections"},
		"TSIH 0":             {func(m *iscsi.LoginResponse) { m.TSIH = 0 }, "MaxConnections=1 ", "11.13.3", "TSIH"},
		"value out of range": {nil, "MaxConnections=0 ", "13.2", "MaxConnections"},
		"another stage":      {func(m *iscsi.LoginResponse) { m.Transit, m.CSG = false, 0 }, "MaxConnections=1 ", "11.13", "CSG"},
		"another version":    {func(m *iscsi.LoginResponse) { m.VersionActive = 1 }, "MaxConnections=1 ", "11.13.2", "version"},
		"no text":            {nil, "MaxConnections ", "6.1", "="},
	} {
		t.Run(name, func(t *testing.T) {
			con := converse(t, func(target *Connection) error {
				err := loginTarget(func(r iscsi.LoginRequest, _ map[string]string) (iscsi.LoginResponse, string) {
					m := follow(r)
					if c.edit != nil {
						c.edit(&m)
					}
					return m, c.text
				})(target)
				if IsClosed(err) {
					return nil
				}
				return err
			})
			err := con.Login(offer)
			con.Close()
			wantViolation(t, err, c.clause, c.what)
		})
	}
}

func TestLoginRefusal_RFC7143_11_13_5(t *testing.T) {
	c := converse(t, loginTarget(func(iscsi.LoginRequest, map[string]string) (iscsi.LoginResponse, string) {
		return iscsi.LoginResponse{Status: iscsi.LoginMovedTemporarily}, "TargetAddress=127.0.0.1:1,1 "
	}))
	var r *Refusal
	if err := c.Login(Login{}); !errors.As(err, &r) || r.Status != iscsi.LoginMovedTemporarily || r.Keys["TargetAddress"] != "127.0.0.1:1,1" {
		t.Errorf("%v", err)
	}
}

func TestCHAPBothWays_RFC7143_12_1_3(t *testing.T) {
	for _, algorithm := range []string{CHAPMD5, CHAPSHA1, CHAPSHA256, CHAPSHA3256} {
		for _, secret := range []string{"the target knows", "the target does not"} {
			t.Run(algorithm+" "+secret, func(t *testing.T) {
				challenge := []byte("a challenge")
				var failed error
				c := converse(t, loginTarget(func(r iscsi.LoginRequest, keys map[string]string) (iscsi.LoginResponse, string) {
					switch {
					case keys["AuthMethod"] != "":
						return follow(r), "AuthMethod=CHAP "
					case keys["CHAP_A"] != "":
						return follow(r), fmt.Sprintf("CHAP_A=%s CHAP_I=3 CHAP_C=%s ", algorithm, iscsi.FormatBase64(challenge))
					}
					want, _ := CHAPResponse(algorithm, 3, "own secret", challenge)
					if keys["CHAP_R"] != iscsi.FormatHex(want) || keys["CHAP_N"] != "user" || keys["CHAP_I"] == "3" {
						failed = fmt.Errorf("%v", keys)
					}
					theirs, _ := iscsi.ParseBinary(keys["CHAP_C"], 64)
					id, _ := iscsi.ParseNumber(keys["CHAP_I"])
					answer, _ := CHAPResponse(algorithm, byte(id), "the target knows", theirs)
					return follow(r), "CHAP_N=disk CHAP_R=" + iscsi.FormatHex(answer) + " "
				}))
				chap := &CHAP{User: "user", Secret: "own secret", TargetUser: "disk", TargetSecret: secret, Algorithms: []string{"9", algorithm}}
				err := c.Login(Login{CHAP: chap, OneStage: true})
				if secret == "the target knows" && err != nil || secret != "the target knows" && !errors.Is(err, ErrTargetNotAuthentic) {
					t.Errorf("login: %v", err)
				}
				if failed != nil || chap.Chosen != algorithm {
					t.Errorf("the target received %v; chosen %q", failed, chap.Chosen)
				}
			})
		}
	}
}
