package protocol_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
)

// Random logins made of real keys, values and stages, by one who does not know the
// secret: none ever arrives in the full feature phase, and every request is answered
// or the connection ends (6.3, 12.1).
func TestLoginWalk_RFC7143_6_3(t *testing.T) {
	d := serve(t, secretFiles(t, guarded))
	rng := rand.New(rand.NewPCG(12, 1))
	values := []string{"", "0", "1", "5", "8", "5,6,7,8", "255", "256", "Yes", "No", "None", "CHAP", "CHAP,None", "KRB5", "CRC32C", "Normal", "Discovery", "512", "65536",
		"0x00", "0x" + "ab", "0bAAAA", "alice", "bob", "san", alice, bob, target, "Reject", "Irrelevant", "NotUnderstood", "All", "1~2"}
	rules := iscsi.KeyRules()
	text := func(n int) (kv []iscsi.KeyValue) {
		if n == 0 && rng.IntN(8) > 0 {
			kv = pairs("InitiatorName="+alice, "TargetName="+target, "AuthMethod="+values[rng.IntN(len(values))])
		}
		for range rng.IntN(5) {
			kv = append(kv, iscsi.KeyValue{Key: rules[rng.IntN(len(rules))].Name, Value: values[rng.IntN(len(values))]})
		}
		return kv
	}
	for walk := range 500 {
		p := dial(t, d)
		stage, isid := iscsi.SecurityNegotiation, initiator.RandomISID()
		var said []string
		for n := range 8 {
			r := iscsi.LoginRequest{CSG: stage, Transit: rng.IntN(2) == 0, ISID: isid, NSG: iscsi.FullFeaturePhase, ExpStatSN: p.ExpStatSN}
			if r.Transit && stage == iscsi.SecurityNegotiation && rng.IntN(2) == 0 {
				r.NSG = iscsi.LoginOperationalNegotiation
			}
			if rng.IntN(20) == 0 {
				r.CSG = iscsi.LoginOperationalNegotiation
			}
			pdu := initiator.PDU{Data: iscsi.AppendText(nil, text(n)...)}
			said = append(said, string(pdu.Data))
			r.Marshal(&pdu.BHS)
			if p.Send(&pdu, 0) != nil {
				break
			}
			answer, err := p.Receive()
			if initiator.IsClosed(err) {
				break
			}
			if err != nil {
				t.Fatalf("walk %d: %v after %q", walk, err, said)
			}
			var m iscsi.LoginResponse
			if err := m.Unmarshal(&answer.BHS); err != nil {
				t.Fatalf("walk %d: %v", walk, err)
			}
			discovers := containsPair(said[0], "SessionType=Discovery")
			if m.Status == iscsi.LoginSuccess && m.Transit && m.NSG == iscsi.FullFeaturePhase && !discovers {
				t.Fatalf("walk %d: logged in without the secret by %q", walk, said)
			}
			if m.Status != iscsi.LoginSuccess || m.Transit && m.NSG == iscsi.FullFeaturePhase {
				break
			}
			if m.Transit {
				stage = m.NSG
			}
		}
		p.Close()
	}
	login(t, d, withCHAP(initiator.CHAP{User: "alice", Secret: secrets["alice"]})).alive()
}

func containsPair(text, pair string) bool {
	kv, _ := iscsi.ParseText([]byte(text), iscsi.TextLimits{})
	return slices.ContainsFunc(kv, func(kv iscsi.KeyValue) bool { return kv.Key+"="+kv.Value == pair })
}

// A session whose connections come, go, come back and are logged out by one another
// in random order, with data over all of them (6.3.1, 6.3.4, 11.14).
func TestConnectionWalk_RFC7143_6_3_4(t *testing.T) {
	d := serve(t, standard)
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 4))
		p := ready(t, d, offer("MaxConnections=4", "ImmediateData=No", "MaxBurstLength=4096"))
		all := map[uint16]*peer{0: p}
		some := func() (uint16, *peer) {
			cids := slices.Sorted(func(yield func(uint16) bool) {
				for cid := range all {
					if !yield(cid) {
						return
					}
				}
			})
			cid := cids[rng.IntN(len(cids))]
			return cid, all[cid]
		}
		last := byte(0)
		for step := range byte(80) {
			cid, c := some()
			switch rng.IntN(5) {
			case 0: // a new connection, or one in the place of an old
				cid = uint16(rng.IntN(4))
				old := all[cid]
				_, leading := some()
				all[cid] = leading.join(d, cid, initiator.Login{Keys: pairs(digestOffers[[]string{"none", "both"}[rng.IntN(2)]]...)})
				if old != nil {
					old.closed()
				}
			case 1: // one logs out another
				if len(all) == 1 {
					continue
				}
				_, over := some()
				if r, err := over.Logout(iscsi.CloseConnection, cid); err != nil || r.Response != iscsi.LogoutClosed {
					t.Fatalf("seed %d, step %d: %v, %v", seed, step, r, err)
				}
				c.closed()
				delete(all, cid)
			default:
				c.good(write(uint32(seed), fill(step, 1)))
				last = step
			}
			_, c = some()
			c.wantBlock(uint32(seed), last)
		}
		_, c := some()
		if r, err := c.Logout(iscsi.CloseSession, 0); err != nil || r.Response != iscsi.LogoutClosed {
			t.Fatalf("%v, %v", r, err)
		}
		for _, c := range all {
			c.closed()
		}
	}
}
