package initiator

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/isantarget/isantarget/iscsi"
)

// ErrTargetNotAuthentic says that the target did not prove to know the mutual CHAP secret.
var ErrTargetNotAuthentic = errors.New("the target does not know the mutual CHAP secret")

// maxLoginSteps bounds how often the target may ask for one more exchange.
const maxLoginSteps = 16

// A Login says how a connection logs in. Its zero values are what a well-behaved
// initiator does.
type Login struct {
	InitiatorName string // "": the key is left out
	TargetName    string // "": the key is left out
	SessionType   string // "": the key is left out, which means Normal
	ISID          iscsi.ISID
	TSIH          uint16
	CID           uint16
	CmdSN         uint32
	ExpStatSN     uint32
	VersionMin    uint8
	VersionMax    uint8

	// Keys are offered in the operational stage.
	Keys []iscsi.KeyValue

	CHAP         *CHAP
	AuthMethod   string // "": CHAP when there is one, else None
	SkipSecurity bool   // begin with the operational stage
	OneStage     bool   // go from the security stage to the full feature phase, keys and all

	// Split cuts texts into PDUs of so many bytes, chained by the C bit (RFC 7143 11.12.2).
	Split int

	// Edit changes a request on its way out; n counts them from 0.
	Edit func(n int, p *PDU) Faults
}

// A Refusal is a Login Response that does not say success.
type Refusal struct {
	Status iscsi.LoginStatus
	Keys   map[string]string
}

func (r *Refusal) Error() string { return fmt.Sprintf("the target refuses the login: %v", r.Status) }

// A LoginStep is one answer of the target, its pieces put together.
type LoginStep struct {
	Response iscsi.LoginResponse // of the last piece
	Pairs    []iscsi.KeyValue
	Keys     map[string]string
	Pieces   int
}

// RandomISID returns an ISID of the random type (RFC 7143 11.12.5).
func RandomISID() iscsi.ISID {
	n := rand.Uint64()
	return iscsi.ISID{0x80, byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24), byte(n >> 32)}
}

// An exchange is a login under way.
type exchange struct {
	c    *Connection
	l    *Login
	itt  uint32
	sent int
}

// Login leads the connection through the login phase. A target that says no gives a
// *Refusal. With a TSIH it joins the session that Join put the connection into.
func (c *Connection) Login(l Login) error {
	s := c.Session
	if l.ISID == (iscsi.ISID{}) {
		l.ISID = RandomISID()
	}
	s.InitiatorName, s.TargetName, s.ISID, c.CID = l.InitiatorName, l.TargetName, l.ISID, l.CID
	e := &exchange{c: c, l: &l, itt: s.NextTag()}
	c.ExpStatSN = l.ExpStatSN
	c.Steps = nil
	if err := e.run(); err != nil {
		return err
	}
	final := &c.Steps[len(c.Steps)-1].Response
	if final.TSIH == 0 {
		return violation("11.13.3", "TSIH is 0 in the final Login Response")
	}
	if l.TSIH == 0 {
		s.TSIH, s.CmdSN, s.ExpCmdSN, s.MaxCmdSN = final.TSIH, l.CmdSN, final.ExpCmdSN, final.MaxCmdSN
	} else if final.TSIH != l.TSIH {
		return violation("11.13.3", "TSIH %04x in the answer to a login with %04x", final.TSIH, l.TSIH)
	}
	return e.settle()
}

// Join makes c a further connection of the session of leading. The login that
// follows must bear the TSIH and the ISID of the session; Rejoin does both.
func (c *Connection) Join(leading *Connection) { c.Session = leading.Session }

// JoinSession logs c in as a further connection of leading's session, or as the one
// that takes the place of a connection with the same cid.
func (c *Connection) JoinSession(leading *Connection, cid uint16, l Login) error {
	c.Join(leading)
	s := leading.Session
	l.InitiatorName, l.TargetName, l.ISID, l.TSIH, l.CID, l.CmdSN = s.InitiatorName, s.TargetName, s.ISID, s.TSIH, cid, s.CmdSN
	return c.Login(l)
}

func (e *exchange) run() error {
	l := e.l
	names := e.names()
	stage, next := iscsi.SecurityNegotiation, iscsi.LoginOperationalNegotiation
	if l.SkipSecurity {
		return e.transit(next, iscsi.FullFeaturePhase, append(names, l.Keys...))
	}
	if l.OneStage {
		next, names = iscsi.FullFeaturePhase, append(names, l.Keys...)
	}
	method := l.AuthMethod
	if method == "" {
		method = "None"
		if l.CHAP != nil {
			method = "CHAP"
		}
	}
	names = append(names, iscsi.KeyValue{Key: "AuthMethod", Value: method})
	if l.CHAP == nil {
		if err := e.transit(stage, next, names); err != nil {
			return err
		}
	} else if err := e.authenticate(next, names); err != nil {
		return err
	}
	if l.OneStage {
		return nil
	}
	return e.transit(next, iscsi.FullFeaturePhase, l.Keys)
}

func (e *exchange) names() (pairs []iscsi.KeyValue) {
	for _, kv := range []iscsi.KeyValue{{Key: "InitiatorName", Value: e.l.InitiatorName}, {Key: "SessionType", Value: e.l.SessionType}, {Key: "TargetName", Value: e.l.TargetName}} {
		if kv.Value != "" {
			pairs = append(pairs, kv)
		}
	}
	return pairs
}

func (e *exchange) authenticate(next iscsi.Stage, names []iscsi.KeyValue) error {
	step, err := e.step(iscsi.SecurityNegotiation, nil, e.l.CHAP.edit("method", names...)...)
	if err != nil {
		return err
	}
	if step.Keys["AuthMethod"] != "CHAP" {
		return fmt.Errorf("the target chose AuthMethod=%q, CHAP was wanted", step.Keys["AuthMethod"])
	}
	if err := e.l.CHAP.authenticate(e, next); err != nil {
		return err
	}
	if last := &e.c.Steps[len(e.c.Steps)-1]; !last.Response.Transit {
		return e.transit(iscsi.SecurityNegotiation, next, nil)
	}
	return nil
}

// transit offers pairs and asks for the transit until the target goes along.
func (e *exchange) transit(stage, next iscsi.Stage, pairs []iscsi.KeyValue) error {
	for range maxLoginSteps {
		step, err := e.step(stage, &next, pairs...)
		if err != nil {
			return err
		}
		if step.Response.Transit {
			return nil
		}
		pairs = nil
	}
	return violation("6.3", "no transit from %v to %v after %d requests", stage, next, maxLoginSteps)
}

// step sends pairs, in pieces if the login wants that, and receives the answer. next
// asks for a transit.
func (e *exchange) step(stage iscsi.Stage, next *iscsi.Stage, pairs ...iscsi.KeyValue) (*LoginStep, error) {
	text := iscsi.AppendText(nil, pairs...)
	for e.l.Split > 0 && len(text) > e.l.Split {
		if err := e.send(iscsi.LoginRequest{Continue: true, CSG: stage}, text[:e.l.Split]); err != nil {
			return nil, err
		}
		text = text[e.l.Split:]
		r, data, err := e.receive()
		if err != nil {
			return nil, err
		}
		if r.Transit || r.Continue || len(data) != 0 {
			return nil, violation("11.12.2", "a piece of text was answered with T %v, C %v, %q", r.Transit, r.Continue, data)
		}
	}
	request := iscsi.LoginRequest{CSG: stage}
	if next != nil {
		request.Transit, request.NSG = true, *next
	}
	if err := e.send(request, text); err != nil {
		return nil, err
	}
	return e.collect(stage, request)
}

// collect receives an answer with all its pieces.
func (e *exchange) collect(stage iscsi.Stage, request iscsi.LoginRequest) (*LoginStep, error) {
	var step LoginStep
	var text []byte
	for {
		r, data, err := e.receive()
		if err != nil {
			return nil, err
		}
		text = append(text, data...)
		step.Pieces++
		step.Response = r
		if !r.Continue {
			break
		}
		if step.Pieces == maxLoginSteps {
			return nil, violation("11.13.7", "an answer in more than %d pieces", maxLoginSteps)
		}
		if err := e.send(iscsi.LoginRequest{CSG: stage}, nil); err != nil {
			return nil, err
		}
	}
	r := &step.Response
	switch {
	case r.CSG != stage:
		return nil, violation("11.13", "CSG is %v in the answer to a request in %v", r.CSG, stage)
	case r.Transit && (!request.Transit || r.NSG > request.NSG):
		return nil, violation("11.13.6", "transit to %v, asked for was %v (%v)", r.NSG, request.NSG, request.Transit)
	}
	var err error
	if step.Pairs, err = iscsi.ParseText(text, iscsi.TextLimits{}); err != nil {
		return nil, violation("6.1", "%v", err)
	}
	step.Keys = map[string]string{}
	for _, kv := range step.Pairs {
		step.Keys[kv.Key] = kv.Value
	}
	e.c.Steps = append(e.c.Steps, step)
	return &step, nil
}

func (e *exchange) send(r iscsi.LoginRequest, text []byte) error {
	l := e.l
	r.VersionMax, r.VersionMin = l.VersionMax, l.VersionMin
	r.ISID, r.TSIH, r.CID, r.CmdSN = l.ISID, l.TSIH, l.CID, l.CmdSN
	r.InitiatorTaskTag, r.ExpStatSN = e.itt, e.c.ExpStatSN
	p := PDU{Data: text}
	r.Marshal(&p.BHS)
	var faults Faults
	if l.Edit != nil {
		faults = l.Edit(e.sent, &p)
	}
	e.sent++
	return e.c.Send(&p, faults)
}

func (e *exchange) receive() (r iscsi.LoginResponse, data []byte, err error) {
	p, err := e.c.Receive()
	if err != nil {
		return r, nil, err
	}
	if p.BHS.Opcode() == iscsi.OpReject {
		var reject iscsi.Reject
		if err := reject.Unmarshal(&p.BHS); err != nil {
			return r, nil, err
		}
		return r, nil, fmt.Errorf("the target rejects a Login Request: %v", reject.Reason)
	}
	if err := r.Unmarshal(&p.BHS); err != nil {
		return r, nil, err
	}
	first := len(e.c.Steps) == 0 && e.c.ExpStatSN == e.l.ExpStatSN
	switch {
	case r.Status.Class() != iscsi.LoginClassSuccess:
		refusal := &Refusal{Status: r.Status, Keys: map[string]string{}}
		pairs, _ := iscsi.ParseText(p.Data, iscsi.TextLimits{})
		for _, kv := range pairs {
			refusal.Keys[kv.Key] = kv.Value
		}
		return r, nil, refusal
	case r.InitiatorTaskTag != e.itt:
		return r, nil, violation("11.13", "task tag %08x in the answer to %08x", r.InitiatorTaskTag, e.itt)
	case r.ISID != e.l.ISID:
		return r, nil, violation("11.13", "ISID %v in the answer to %v", r.ISID, e.l.ISID)
	case !first && r.StatSN != e.c.ExpStatSN:
		if err := e.c.judge(violation("4.2.2.2", "StatSN %d of a Login Response, expected %d", r.StatSN, e.c.ExpStatSN)); err != nil {
			return r, nil, err
		}
	case r.VersionActive != iscsi.VersionRFC7143:
		return r, nil, violation("11.13.2", "active version %d", r.VersionActive)
	}
	e.c.ExpStatSN = r.StatSN + 1
	return r, p.Data, nil
}

// settle puts the answers into force and checks that none is missing.
func (e *exchange) settle() error {
	c, s := e.c, e.c.Session
	answers := map[string]string{}
	for _, step := range c.Steps {
		for _, kv := range step.Pairs {
			answers[kv.Key] = kv.Value
			if kv.Key == "MaxRecvDataSegmentLength" {
				n, err := iscsi.ParseNumber(kv.Value)
				if err != nil {
					return violation("13.12", "%s=%s", kv.Key, kv.Value)
				}
				c.MaxSend = int(n)
			}
			if err := c.judge(s.Parameters.take(kv)); err != nil {
				return err
			}
		}
	}
	for _, kv := range e.l.Keys {
		rule, known := iscsi.LookupKey(kv.Key)
		if _, ok := answers[kv.Key]; !ok && (!known || rule.Kind.Negotiated()) {
			if err := c.judge(violation("6.2", "no answer to %s=%s", kv.Key, kv.Value)); err != nil {
				return err
			}
		}
		if n, err := iscsi.ParseNumber(kv.Value); kv.Key == "MaxRecvDataSegmentLength" && err == nil {
			c.MaxRecv = int(n)
		}
	}
	s.Parameters.FirstBurstLength = min(s.Parameters.FirstBurstLength, s.Parameters.MaxBurstLength) // 13.14
	c.Answers = answers
	c.Digests = Digests{Header: answers["HeaderDigest"] == "CRC32C", Data: answers["DataDigest"] == "CRC32C"}
	return nil
}
