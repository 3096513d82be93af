package target

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/isantarget/isantarget/iscsi"
)

// maxLoginText bounds the text of one login request, continued or not.
const maxLoginText = 64 << 10

// maxLoginRequests bounds the requests of one login; open-iscsi needs five.
const maxLoginRequests = 64

// A login is the login phase of one connection (RFC 7143 6.3).
type login struct {
	c         *Connection
	request   iscsi.LoginRequest
	first     iscsi.LoginRequest // of the connection; its ISID, TSIH and CID must stay
	requests  int
	stage     iscsi.Stage
	text      []byte // of a request that goes on
	statSN    uint32
	told      bool // the target portal group tag
	initiator iscsi.Name
	node      *Node
	joining   *Session // TSIH was not 0: the session to add the connection to
	chap      chap
	negotiation
}

// login runs the login phase; nil: the connection is in the full feature phase
// of c.session.
func (c *Connection) login() error {
	l := &login{c: c, negotiation: *newNegotiation(c.entity.limits.ConnectionsPerSession)}
	l.chap.guesses, l.chap.from = &c.entity.guesses, c.remote.Addr()
	c.conn.SetDeadline(time.Now().Add(c.entity.limits.LoginTimeout))
	for {
		err := l.step()
		var r *refusal
		switch {
		case errors.As(err, &r):
			c.entity.logins.refuse(r.status)
			l.logRefusal(r)
			l.respond(iscsi.LoginResponse{Status: r.status}, nil)
			return err
		case err != nil:
			if l.requests > 0 || !errors.Is(err, io.EOF) {
				c.log.WithError(err).Info("connection ended before the login was complete")
			}
			return err
		case c.session != nil:
			// The connection may have been closed meanwhile, by a reinstatement. The
			// session has it all the same: the reader is to find out and tear it down.
			c.conn.SetDeadline(time.Time{})
			if c.session.discovery {
				c.entity.logins.discovery.Add(1)
			} else {
				c.entity.logins.normal.Add(1)
			}
			return nil
		}
	}
}

func (l *login) logRefusal(r *refusal) {
	fields := logrus.Fields{"status": r.status.String()}
	if l.initiator != "" {
		fields["initiator"] = l.initiator
	}
	if l.node != nil {
		fields["target"] = l.node.name
	}
	l.c.log.WithFields(fields).WithField("event", "login-refused").Warnf("login refused: %s", r.why)
}

// step takes one request and answers it.
func (l *login) step() error {
	whole, err := l.read()
	if err != nil {
		return err
	}
	if !whole {
		return l.respond(iscsi.LoginResponse{CSG: l.request.CSG}, nil)
	}
	pairs, err := iscsi.ParseText(l.text, iscsi.TextLimits{})
	l.text = nil
	if err != nil {
		return refuse(iscsi.LoginInitiatorError, "%v", err)
	}
	if l.initiator == "" {
		if err := l.identify(pairs); err != nil {
			return err
		}
	}
	return l.negotiate(pairs)
}

// read reads one Login Request; whole is false while its text goes on.
func (l *login) read() (whole bool, err error) {
	c := l.c
	if _, err := io.ReadFull(c.reader, c.header[:]); err != nil {
		return false, err
	}
	if l.requests++; l.requests > maxLoginRequests {
		return false, refuse(iscsi.LoginInitiatorError, "more than %d requests in one login", maxLoginRequests)
	}
	if o := c.header.Opcode(); o != iscsi.OpLoginRequest {
		return false, refuse(iscsi.LoginInvalidDuringLogin, "%v during the login phase", o)
	}
	n := c.header.DataSegmentLength()
	if n > defaultMaxRecvDataSegmentLength || c.header.TotalAHSLength() > 0 {
		return false, refuse(iscsi.LoginInitiatorError, "a Login Request with %d bytes of text and %d of additional headers; at most %d and 0 (RFC 7143 11.12)",
			n, c.header.TotalAHSLength(), defaultMaxRecvDataSegmentLength)
	}
	if err := l.request.Unmarshal(&c.header); err != nil {
		return false, refuse(iscsi.LoginInitiatorError, "%v", err)
	}
	if err := l.checkRequest(); err != nil {
		return false, err
	}
	text := make([]byte, n+iscsi.Pad(n))
	if _, err := io.ReadFull(c.reader, text); err != nil {
		return false, err
	}
	l.text = append(l.text, text[:n]...)
	if len(l.text) > maxLoginText {
		return false, refuse(iscsi.LoginOutOfResources, "more than %d bytes of text in one request", maxLoginText)
	}
	return !l.request.Continue, nil
}

// checkRequest checks what must hold from one request to the next.
func (l *login) checkRequest() error {
	p := &l.request
	if l.requests == 1 {
		if p.VersionMin > iscsi.VersionRFC7143 {
			return refuse(iscsi.LoginUnsupportedVersion, "the initiator speaks iSCSI versions %d to %d, this target 0", p.VersionMin, p.VersionMax)
		}
		l.first = *p
		l.stage = p.CSG
		l.statSN = p.ExpStatSN
		return nil
	}
	switch {
	case p.CSG != l.stage:
		return refuse(iscsi.LoginInitiatorError, "a request of stage %v in stage %v (RFC 7143 6.3)", p.CSG, l.stage)
	case p.ISID != l.first.ISID || p.TSIH != l.first.TSIH || p.CID != l.first.CID:
		return refuse(iscsi.LoginInitiatorError, "ISID, TSIH or CID changed during the login (RFC 7143 11.12)")
	}
	return nil
}

// identify reads who the initiator is and what it wants, from its first whole
// request, and finds the rules that decide (RFC 7143 6.3).
func (l *login) identify(pairs []iscsi.KeyValue) error {
	name, ok := find(pairs, "InitiatorName")
	if !ok {
		return refuse(iscsi.LoginMissingParameter, "InitiatorName is missing from the first request")
	}
	initiator, err := iscsi.ParseName(name)
	if err != nil {
		return refuse(iscsi.LoginInitiatorError, "InitiatorName: %v", err)
	}
	l.initiator = initiator
	l.alias, _ = find(pairs, "InitiatorAlias")
	switch kind, ok := find(pairs, "SessionType"); {
	case !ok || kind == "Normal":
	case kind == "Discovery":
		l.discovery = true
	default:
		return refuse(iscsi.LoginSessionTypeUnsupported, "SessionType=%q: want Normal or Discovery", kind)
	}
	if l.discovery {
		return l.identifyDiscovery()
	}
	return l.identifyNode(pairs)
}

func find(pairs []iscsi.KeyValue, key string) (string, bool) {
	for _, kv := range pairs {
		if kv.Key == key {
			return kv.Value, true
		}
	}
	return "", false
}

func (l *login) identifyDiscovery() error {
	if l.first.TSIH != 0 {
		return refuse(iscsi.LoginCannotIncludeInSession, "a discovery session has one connection (RFC 7143 4.3)")
	}
	// What it is told of is decided without waiting, while it reads nothing else.
	l.awaitHosts(slices.Collect(maps.Values(*l.c.entity.nodes.Load()))...)
	auth := l.c.entity.discovery.Load()
	l.chap.candidates = []Rule{{Label: "discovery", CHAP: auth.CHAP, Mutual: auth.Mutual}}
	return nil
}

func (l *login) identifyNode(pairs []iscsi.KeyValue) error {
	value, ok := find(pairs, "TargetName")
	if !ok {
		return refuse(iscsi.LoginMissingParameter, "TargetName is missing from the first request of a normal session")
	}
	name, err := iscsi.ParseName(value)
	if err != nil {
		return refuse(iscsi.LoginNotFound, "TargetName: %v", err)
	}
	n := l.c.entity.node(name)
	if n == nil {
		return refuse(iscsi.LoginNotFound, "there is no target %q here", name)
	}
	if !n.serves(l.c.group) {
		return refuse(iscsi.LoginNotFound, "target %q is not served by portal group %d of this address; add the group to the target", name, l.c.group.tag)
	}
	l.node = n
	l.awaitHosts(n)
	l.chap.candidates = n.admitting(l.initiator, l.c.remote.Addr())
	if len(l.chap.candidates) == 0 {
		return refuse(iscsi.LoginAuthorizationFailure, "no access rule of target %q admits initiator %s from %v: add one, or set access = \"open\" to let everybody in%s", name, l.initiator, l.c.remote.Addr(), n.doubts(l.initiator))
	}
	if l.first.TSIH != 0 {
		return l.identifySession()
	}
	return nil
}

// identifySession finds the session that the connection wants to join.
func (l *login) identifySession() error {
	s := l.c.entity.session(l.first.TSIH)
	if s == nil || s.node != l.node || s.initiator != l.initiator || s.isid != l.first.ISID || s.group != l.c.group {
		return refuse(iscsi.LoginSessionDoesNotExist, "this initiator port has no session with TSIH %d", l.first.TSIH)
	}
	l.joining = s
	l.leading = false
	l.session = s.parameters
	return nil
}

// negotiate answers one whole request.
func (l *login) negotiate(pairs []iscsi.KeyValue) error {
	answers, err := l.answerSecurity(pairs)
	if err != nil {
		return err
	}
	operational := slices.DeleteFunc(slices.Clone(pairs), isSecurityKey)
	more, err := l.answer(operational)
	if err != nil {
		return err
	}
	answers = append(answers, more...)
	if l.stage == iscsi.LoginOperationalNegotiation {
		answers = l.declare(answers)
	}
	if !l.told && l.node != nil {
		l.told = true
		answers = append(answers, iscsi.KeyValue{Key: "TargetPortalGroupTag", Value: iscsi.FormatNumber(uint64(l.c.group.tag))})
		if alias := l.node.shape.Load().alias; alias != "" {
			answers = append(answers, iscsi.KeyValue{Key: "TargetAlias", Value: alias})
		}
	}
	response := iscsi.LoginResponse{CSG: l.stage}
	if l.request.Transit {
		if err := l.mayLeave(); err != nil {
			return err
		}
		if l.stage != iscsi.SecurityNegotiation || !l.chapPending() {
			response.Transit, response.NSG = true, l.request.NSG
			l.stage = l.request.NSG
		}
	}
	if response.Transit && l.stage == iscsi.FullFeaturePhase {
		return l.enter(response, answers)
	}
	return l.respond(response, answers)
}

func isSecurityKey(kv iscsi.KeyValue) bool {
	rule, ok := iscsi.LookupKey(kv.Key)
	return ok && rule.Stage == iscsi.SecurityStage
}

// answerSecurity answers the keys of the security negotiation.
func (l *login) answerSecurity(pairs []iscsi.KeyValue) ([]iscsi.KeyValue, error) {
	keys := map[string]string{}
	for _, kv := range pairs {
		if !isSecurityKey(kv) {
			continue
		}
		if _, twice := keys[kv.Key]; twice {
			return nil, refuse(iscsi.LoginInitiatorError, "key %s comes twice", kv.Key)
		}
		keys[kv.Key] = kv.Value
	}
	if l.stage != iscsi.SecurityNegotiation {
		if len(keys) > 0 {
			return nil, refuse(iscsi.LoginInitiatorError, "a security key outside SecurityNegotiation (RFC 7143 12)")
		}
		if l.chap.required() && l.chap.step != authenticated {
			return nil, refuse(iscsi.LoginAuthenticationFailure, "the access rule %q demands CHAP and the initiator skips authentication: set its CHAP user and secret", l.chap.candidates[0].Label)
		}
		return nil, nil
	}
	if l.chap.step == chapAlgorithm || l.chap.step == chapAnswer || keys["AuthMethod"] != "" {
		return l.chap.handle(keys)
	}
	if len(keys) > 0 {
		return nil, refuse(iscsi.LoginInitiatorError, "a CHAP key where none is due (RFC 7143 12.1.3)")
	}
	return nil, nil
}

// chapPending tells whether the exchange of proofs has begun and not ended.
func (l *login) chapPending() bool {
	return l.chap.step == chapAlgorithm || l.chap.step == chapAnswer
}

// mayLeave refuses to leave the security stage without the proof that is
// demanded.
func (l *login) mayLeave() error {
	if l.stage == iscsi.SecurityNegotiation && l.chap.required() && l.chap.step == chapMethod {
		return refuse(iscsi.LoginAuthenticationFailure, "the access rule %q demands CHAP and the initiator offers no AuthMethod: set its CHAP user and secret", l.chap.candidates[0].Label)
	}
	return nil
}

// respond sends one Login Response, its text cut into continued PDUs when it is
// longer than the initiator takes.
func (l *login) respond(p iscsi.LoginResponse, answers []iscsi.KeyValue) error {
	c := l.c
	p.VersionMax, p.VersionActive = iscsi.VersionRFC7143, iscsi.VersionRFC7143
	p.ISID, p.InitiatorTaskTag = l.request.ISID, l.request.InitiatorTaskTag
	p.StatSN = l.statSN
	p.ExpCmdSN = l.request.CmdSN
	p.MaxCmdSN = p.ExpCmdSN + uint32(c.entity.limits.CommandWindow) - 1
	switch s := c.session; {
	case s != nil:
		p.TSIH = s.tsih
		p.ExpCmdSN, p.MaxCmdSN = s.window.exp.Load(), s.window.max.Load()
	case l.joining != nil:
		p.TSIH = l.joining.tsih
		p.ExpCmdSN, p.MaxCmdSN = l.joining.window.exp.Load(), l.joining.window.max.Load()
	}
	text := iscsi.AppendText(nil, answers...)
	if len(text) > defaultMaxRecvDataSegmentLength {
		return fmt.Errorf("login response of %d bytes", len(text))
	}
	var h iscsi.BHS
	p.Marshal(&h)
	h.SetDataSegmentLength(len(text))
	l.statSN++
	var out bytes.Buffer
	out.Write(h[:])
	out.Write(text)
	out.Write(make([]byte, iscsi.Pad(len(text))))
	_, err := c.conn.Write(out.Bytes())
	return err
}

// enter makes the session, or joins it, and sends the last response.
func (l *login) enter(p iscsi.LoginResponse, answers []iscsi.KeyValue) error {
	c := l.c
	c.cid = l.first.CID
	c.maxSend.Store(int32(l.maxSend))
	var s *Session
	var err error
	if l.joining != nil {
		s, err = l.join()
	} else {
		s, err = l.begin()
	}
	if err != nil {
		return err
	}
	c.entity.belongs(c)
	c.log = s.log.WithFields(logrus.Fields{"connection": c.cid, "from": c.remote.String(), "portal": c.local.String()})
	c.session = s
	// Before the response, or the target could not speak to an initiator that has it:
	// what it says meanwhile waits in the transmit queue.
	s.speakOver(c)
	err = l.respond(p, answers)
	// From here on, for the last response was still sent without.
	c.digests = l.digests
	c.transmit.open(l.statSN, l.digests)
	c.log.WithFields(logrus.Fields{
		"event": "login", "rule": s.ruleLabel(), "header-digest": l.digests.header, "data-digest": l.digests.data,
	}).Info("logged in")
	if err != nil {
		c.fail(err) // receive will find it closed and tear the session down
	}
	return nil
}

// begin makes the session of a leading connection.
func (l *login) begin() (*Session, error) {
	c, e := l.c, l.c.entity
	rule := l.chap.proven
	if rule == nil {
		rule = &l.chap.candidates[0]
	}
	s := &Session{
		entity: e, node: l.node, group: c.group, initiator: l.initiator, alias: l.alias, isid: l.first.ISID,
		discovery: l.discovery, rule: rule.Label, parameters: l.settled(), since: time.Now(),
		connections: []*Connection{c}, done: make(chan struct{}),
	}
	s.memory.open(e)
	s.window.start(l.first.CmdSN, e.limits.CommandWindow)
	if err := e.addSession(s); err != nil {
		return nil, err
	}
	s.log = c.log.WithFields(logrus.Fields{"initiator": s.initiator, "isid": s.isid.String(), "tsih": s.tsih})
	if s.discovery {
		s.log = s.log.WithField("session", "discovery")
		return s, nil
	}
	s.log = s.log.WithField("target", s.node.name)
	if rule.CHAP != nil {
		s.proof = rule.CHAP.User
	}
	if err := s.node.enter(s); err != nil {
		e.removeSession(s)
		close(s.done)
		return nil, err
	}
	return s, nil
}

// join adds the connection to the session of its TSIH. One with the same CID is
// replaced (connection reinstatement, RFC 7143 6.3.4).
func (l *login) join() (*Session, error) {
	s, c := l.joining, l.c
	old, err := s.join(c, l.first.CID)
	if err != nil {
		return nil, err
	}
	if err := l.mayJoin(s); err != nil {
		s.unjoin(c)
		return nil, err
	}
	if old != nil {
		old.finish(errReinstated)
		select {
		case <-old.gone:
		case <-time.After(c.entity.limits.HangBound):
			s.unjoin(c)
			return nil, refuse(iscsi.LoginServiceUnavailable, "the connection with CID %d that is to be replaced still hangs", l.first.CID)
		}
	}
	return s, nil
}

// mayJoin decides over s with the connection among the others, by the rules as they
// are now: they must let it in with what it has proven, and to what the session sees.
func (l *login) mayJoin(s *Session) error {
	rule, err := s.node.shape.Load().decide(s)
	switch {
	case err != nil:
		return refuse(iscsi.LoginAuthorizationFailure, "%v", err)
	case !rule.Units.Equal(s.units.Load()):
		return refuse(iscsi.LoginAuthorizationFailure, "access rule %q would admit a session with this connection, and the one that it wants to join was admitted to other LUNs", rule.Label)
	case rule.CHAP != nil && (l.chap.proven == nil || l.chap.proven.CHAP == nil || l.chap.proven.CHAP.User != rule.CHAP.User):
		return refuse(iscsi.LoginAuthenticationFailure, "it has not proven to be the CHAP user %q, as the session has that it wants to join", rule.CHAP.User)
	}
	return nil
}
