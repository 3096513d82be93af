package protocol_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
)

// secrets are those of the users in the tests' configurations.
var secrets = map[string]string{
	"alice": "alice's secret, 24 bytes", "bob": "bob's secret", "san": "the disk's own", "finder": "who seeks finds",
}

// secretFiles replaces $user by a file with the user's secret.
func secretFiles(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	for user, secret := range secrets {
		file := filepath.Join(dir, user)
		if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		text = strings.ReplaceAll(text, "$"+user, file)
	}
	return text
}

// guarded is the standard target behind CHAP, with mutual CHAP for who asks.
const guarded = standard + `
chap = { user = "alice", secret-file = "$alice" }
mutual-chap = { user = "san", secret-file = "$san" }
`

func withCHAP(c initiator.CHAP) initiator.Login {
	return normal(func(l *initiator.Login) { l.CHAP = &c })
}

// One way and both ways, with each hash and both encodings (12.1.3, IANA 5 to 8).
func TestCHAP_RFC7143_12_1_3(t *testing.T) {
	d := serve(t, secretFiles(t, guarded))
	for _, algorithm := range []string{initiator.CHAPMD5, initiator.CHAPSHA1, initiator.CHAPSHA256, initiator.CHAPSHA3256} {
		for _, mutual := range []bool{false, true} {
			for _, base64 := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s mutual=%v base64=%v", algorithm, mutual, base64), func(t *testing.T) {
					c := initiator.CHAP{User: "alice", Secret: secrets["alice"], Algorithms: []string{algorithm}, Base64: base64}
					if mutual {
						c.TargetUser, c.TargetSecret = "san", secrets["san"]
					}
					login(t, d, withCHAP(c)).alive()
					for name, bad := range map[string]initiator.CHAP{
						"secret": {User: "alice", Secret: secrets["alice"] + "x", Algorithms: c.Algorithms, Base64: base64},
						"user":   {User: fmt.Sprint("bob ", algorithm, mutual, base64), Secret: secrets["alice"], Algorithms: c.Algorithms, Base64: base64},
					} {
						p := dial(t, d)
						err := p.Login(withCHAP(bad))
						t.Run("wrong "+name, func(t *testing.T) { wantRefusal(t, err, iscsi.LoginAuthenticationFailure) })
						p.closed()
					}
				})
			}
		}
	}
}

// The target takes the initiator's first choice that it can compute.
func TestCHAPAlgorithm_RFC7143_12_1_3(t *testing.T) {
	d := serve(t, secretFiles(t, guarded))
	for offered, want := range map[string]string{"8,7,6,5": "8", "5,8": "5", "99,7": "7", "250,6,5": "6"} {
		c := initiator.CHAP{User: "alice", Secret: secrets["alice"], Algorithms: strings.Split(offered, ",")}
		p := dial(t, d)
		if err := p.Login(normal(func(l *initiator.Login) { l.CHAP = &c })); err != nil || c.Chosen != want {
			t.Errorf("CHAP_A=%s: chosen %q, %v; want %s", offered, c.Chosen, err, want)
		}
	}
	p := dial(t, d)
	wantRefusal(t, p.Login(withCHAP(initiator.CHAP{User: "alice", Secret: secrets["alice"], Algorithms: []string{"99"}})), iscsi.LoginAuthenticationFailure)
}

// An initiator that wants the target proven notices one that is not (12.1.3).
func TestCHAPMutualWrongSecret_RFC7143_12_1_3(t *testing.T) {
	d := serve(t, secretFiles(t, guarded))
	err := dial(t, d).Login(withCHAP(initiator.CHAP{User: "alice", Secret: secrets["alice"], TargetSecret: "not the disk's secret"}))
	if !errors.Is(err, initiator.ErrTargetNotAuthentic) {
		t.Errorf("login: %v", err)
	}
}

// The target answers no challenge that is its own, on this connection or on another,
// and answers none before the initiator is proven (9.2.1).
func TestCHAPReflection_RFC7143_9_2_1(t *testing.T) {
	d := serve(t, secretFiles(t, guarded))
	p := dial(t, d)
	err := p.Login(withCHAP(initiator.CHAP{User: "alice", Reflect: true}))
	wantRefusal(t, err, iscsi.LoginAuthenticationFailure)
	noResponse(t, p, err)

	// The challenge with the right response: still no answer to one's own challenge.
	p = dial(t, d)
	var challenge, id string
	err = p.Login(withCHAP(initiator.CHAP{User: "alice", Secret: secrets["alice"], TargetSecret: secrets["san"],
		EditKeys: func(step string, kv []iscsi.KeyValue) []iscsi.KeyValue {
			if step == "response" {
				challenge, id = lastKey(p, "CHAP_C"), lastKey(p, "CHAP_I")
				kv = replace(replace(kv, "CHAP_C", challenge), "CHAP_I", id)
			}
			return kv
		}}))
	wantRefusal(t, err, iscsi.LoginAuthenticationFailure)
	noResponse(t, p, err)

	// The other encoding of the same bytes is the same challenge.
	p = dial(t, d)
	err = p.Login(withCHAP(initiator.CHAP{User: "alice", Secret: secrets["alice"], TargetSecret: secrets["san"],
		EditKeys: func(step string, kv []iscsi.KeyValue) []iscsi.KeyValue {
			if step == "response" {
				raw, err := iscsi.ParseBinary(lastKey(p, "CHAP_C"), 1024)
				if err != nil {
					t.Error(err)
				}
				kv = replace(kv, "CHAP_C", iscsi.FormatBase64(raw))
			}
			return kv
		}}))
	wantRefusal(t, err, iscsi.LoginAuthenticationFailure)
	noResponse(t, p, err)
}

// lastKey is a key of the target's answers so far.
func lastKey(p *peer, key string) (value string) {
	for _, s := range p.Steps {
		if v, ok := s.Keys[key]; ok {
			value = v
		}
	}
	return value
}

func replace(kv []iscsi.KeyValue, key, value string) []iscsi.KeyValue {
	for i := range kv {
		if kv[i].Key == key {
			kv[i].Value = value
		}
	}
	return kv
}

// noResponse demands that the target has told nothing computed with its secret.
func noResponse(t *testing.T, p *peer, err error) {
	t.Helper()
	var r *initiator.Refusal
	if errors.As(err, &r) && r.Keys["CHAP_R"] != "" {
		t.Errorf("the refusal bears CHAP_R=%s", r.Keys["CHAP_R"])
	}
	if v := lastKey(p, "CHAP_R"); v != "" {
		t.Errorf("the target answered CHAP_R=%s", v)
	}
}

// What CHAP demands in each step, left out or spoiled (12.1.3).
func TestCHAPSteps_RFC7143_12_1_3(t *testing.T) {
	d := serve(t, secretFiles(t, guarded))
	without := func(key string) func(string, []iscsi.KeyValue) []iscsi.KeyValue {
		return func(_ string, kv []iscsi.KeyValue) []iscsi.KeyValue {
			return slices.DeleteFunc(kv, func(kv iscsi.KeyValue) bool { return kv.Key == key })
		}
	}
	with := func(key, value string) func(string, []iscsi.KeyValue) []iscsi.KeyValue {
		return func(_ string, kv []iscsi.KeyValue) []iscsi.KeyValue { return replace(kv, key, value) }
	}
	added := func(step string, extra ...string) func(string, []iscsi.KeyValue) []iscsi.KeyValue {
		return func(s string, kv []iscsi.KeyValue) []iscsi.KeyValue {
			if s == step {
				kv = append(kv, pairs(extra...)...)
			}
			return kv
		}
	}
	for name, edit := range map[string]func(string, []iscsi.KeyValue) []iscsi.KeyValue{
		"no CHAP_A": without("CHAP_A"), "no CHAP_N": without("CHAP_N"), "no CHAP_R": without("CHAP_R"),
		"empty CHAP_A": with("CHAP_A", ""), "CHAP_A of letters": with("CHAP_A", "MD5"), "CHAP_A out of range": with("CHAP_A", "256"),
		"CHAP_R no binary": with("CHAP_R", "12345"), "CHAP_R too short": with("CHAP_R", "0x00"), "CHAP_R too long": with("CHAP_R", "0x"+strings.Repeat("00", 64)),
		"CHAP_R empty": with("CHAP_R", "0x"), "CHAP_R bad base64": with("CHAP_R", "0bAAAA="), "CHAP_N empty": with("CHAP_N", ""),
		"CHAP_R at once": added("method", "CHAP_N=alice", "CHAP_R=0x00"), "CHAP_R with CHAP_A": added("algorithm", "CHAP_N=alice", "CHAP_R=0x00"),
		"AuthMethod again": added("response", "AuthMethod=None"), "CHAP_A again": added("response", "CHAP_A=5"),
	} {
		t.Run(name, func(t *testing.T) {
			p := dial(t, d)
			err := p.Login(withCHAP(initiator.CHAP{User: "alice", Secret: secrets["alice"], EditKeys: edit}))
			var r *initiator.Refusal
			if !errors.As(err, &r) || r.Status.Class() != iscsi.LoginClassInitiatorError {
				t.Fatalf("login: %v", err)
			}
			p.closed()
		})
	}
	for name, edit := range map[string]func(string, []iscsi.KeyValue) []iscsi.KeyValue{
		"no CHAP_I": without("CHAP_I"), "no CHAP_C": without("CHAP_C"), "CHAP_I 256": with("CHAP_I", "256"), "CHAP_C no binary": with("CHAP_C", "xyz"),
		"CHAP_C of 1025 bytes": with("CHAP_C", "0x"+strings.Repeat("5a", 1025)), "CHAP_C empty": with("CHAP_C", "0x"),
	} {
		t.Run("mutual, "+name, func(t *testing.T) {
			p := dial(t, d)
			if err := p.Login(withCHAP(initiator.CHAP{User: "alice", Secret: secrets["alice"], TargetSecret: secrets["san"], EditKeys: edit})); err == nil {
				t.Error("the login succeeded, the target proven to nobody")
			}
			if v := lastKey(p, "CHAP_R"); v != "" {
				t.Errorf("the target answered CHAP_R=%s", v)
			}
		})
	}
	login(t, d, withCHAP(initiator.CHAP{User: "alice", Secret: secrets["alice"]})).alive()
}

// Who must prove himself gets nowhere without (12.1).
func TestCHAPSkipped_RFC7143_6_3(t *testing.T) {
	d := serve(t, secretFiles(t, guarded))
	for name, edit := range map[string]func(*initiator.Login){
		"None":                func(l *initiator.Login) { l.AuthMethod = "None" },
		"no security stage":   func(l *initiator.Login) { l.SkipSecurity = true },
		"straight to the end": func(l *initiator.Login) { l.OneStage = true },
		"empty list":          func(l *initiator.Login) { l.AuthMethod = "," },
		"transit before proof": func(l *initiator.Login) {
			l.CHAP = &initiator.CHAP{User: "alice"}
			l.Edit = func(n int, p *initiator.PDU) initiator.Faults {
				if n == 1 {
					p.BHS[1] = 0x81 // T, to the operational stage, with CHAP_A
				}
				if n == 2 {
					p.BHS[1], p.Data = 0x87, nil
				}
				return 0
			}
		},
		"operational request in mid-proof": func(l *initiator.Login) {
			l.CHAP = &initiator.CHAP{User: "alice"}
			l.Edit = func(n int, p *initiator.PDU) initiator.Faults {
				if n == 2 {
					p.BHS[1], p.Data = 0x87, nil
				}
				return 0
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := dial(t, d)
			err := p.Login(normal(edit))
			var r *initiator.Refusal
			if !errors.As(err, &r) || r.Status.Class() != iscsi.LoginClassInitiatorError {
				t.Fatalf("login: %v", err)
			}
			p.closed()
		})
	}
}

// Each user has his own rule, name and LUNs.
func TestCHAPUsers_RFC7143_12_1_3(t *testing.T) {
	d := serve(t, secretFiles(t, `
[[target]]
name = "`+target+`"
luns = { 0 = "a", 1 = "b" }
[[target.rule]]
initiators = ["`+alice+`"]
chap = { user = "alice", secret-file = "$alice" }
[[target.rule]]
initiators = ["`+bob+`"]
chap = { user = "bob", secret-file = "$bob" }
luns = { 0 = "b" }
`))
	as := func(name, user string) error {
		return dial(t, d).Login(normal(func(l *initiator.Login) {
			l.InitiatorName, l.CHAP = name, &initiator.CHAP{User: user, Secret: secrets[user]}
		}))
	}
	for name, user := range map[string]string{alice: "alice", bob: "bob"} {
		if err := as(name, user); err != nil {
			t.Errorf("%s as %s: %v", name, user, err)
		}
	}
	wantRefusal(t, as(alice, "bob"), iscsi.LoginAuthenticationFailure)
	wantRefusal(t, as(bob, "alice"), iscsi.LoginAuthenticationFailure)
	// A mutual challenge that the rule has no secret for is refused, not ignored.
	err := dial(t, d).Login(withCHAP(initiator.CHAP{User: "alice", Secret: secrets["alice"], TargetSecret: secrets["san"]}))
	wantRefusal(t, err, iscsi.LoginAuthenticationFailure)
}
