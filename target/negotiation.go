package target

import (
	"fmt"
	"slices"

	"github.com/isantarget/isantarget/iscsi"
)

const (
	// defaultMaxRecvDataSegmentLength holds until the initiator declares another (RFC 7143 13.12).
	defaultMaxRecvDataSegmentLength = 8192
	// maxRecvDataSegmentLength is what we declare.
	maxRecvDataSegmentLength = 256 << 10
	// What we offer for the bursts. FirstBurstLength bounds what an initiator may
	// send without being asked; MaxBurstLength lets one R2T ask for a whole command.
	offeredFirstBurst = 256 << 10
	offeredMaxBurst   = MaxTransfer
)

// sessionParameters are what the leading login of a session agreed on (RFC 7143 13).
type sessionParameters struct {
	maxConnections    int
	initialR2T        bool
	immediateData     bool
	firstBurst        int // bytes
	maxBurst          int // bytes
	maxOutstandingR2T int
	time2Wait         int // seconds
	time2Retain       int // seconds
}

// A negotiation is the operational text negotiation of one connection (RFC 7143
// 6.2, 13). It starts from the defaults and answers the initiator's keys by the
// rule that iscsi.KeyRule gives for each; it originates none itself but the
// declaration of MaxRecvDataSegmentLength.
type negotiation struct {
	leading        bool // the first connection of its session
	discovery      bool
	maxConnections int // what we offer
	session        sessionParameters
	digests        digests
	maxSend        int
	declared       bool // our MaxRecvDataSegmentLength has been told
	seen           map[string]bool
	names          map[string]string // who asks for what, as declared first
	alias          string
}

func newNegotiation(maxConnections int) *negotiation {
	return &negotiation{
		leading: true, maxConnections: maxConnections, maxSend: defaultMaxRecvDataSegmentLength,
		session: sessionParameters{
			maxConnections: 1, initialR2T: true, immediateData: true, firstBurst: 64 << 10,
			maxBurst: 256 << 10, maxOutstandingR2T: 1, time2Wait: 2, time2Retain: 20,
		},
		seen: map[string]bool{}, names: map[string]string{},
	}
}

// repeats tells whether kv says once more, unchanged, who the initiator is and
// what it wants. RFC 7143 6.3 forbids that too, but libiscsi does it in the
// operational stage when we wanted no CHAP, and it changes nothing.
func (n *negotiation) repeats(kv iscsi.KeyValue) bool {
	switch kv.Key {
	case "InitiatorName", "InitiatorAlias", "TargetName", "SessionType":
		if first, ok := n.names[kv.Key]; ok {
			return first == kv.Value
		}
		n.names[kv.Key] = kv.Value
	}
	return false
}

// A refusal ends a login: the status for the initiator, and for the log why and
// what to change.
type refusal struct {
	status iscsi.LoginStatus
	why    string
}

func (r *refusal) Error() string { return fmt.Sprintf("login refused, %v: %s", r.status, r.why) }

func refuse(status iscsi.LoginStatus, format string, args ...any) error {
	return &refusal{status, fmt.Sprintf(format, args...)}
}

// answer answers the keys of one request. FirstBurstLength comes last, for
// whether it means anything depends on two others.
func (n *negotiation) answer(request []iscsi.KeyValue) ([]iscsi.KeyValue, error) {
	var answers []iscsi.KeyValue
	ordered := slices.Clone(request)
	slices.SortStableFunc(ordered, func(a, b iscsi.KeyValue) int {
		return boolToInt(a.Key == "FirstBurstLength") - boolToInt(b.Key == "FirstBurstLength")
	})
	for _, kv := range ordered {
		if n.repeats(kv) {
			continue
		}
		if n.seen[kv.Key] {
			return nil, refuse(iscsi.LoginInitiatorError, "key %s was negotiated twice (RFC 7143 6.3)", kv.Key)
		}
		n.seen[kv.Key] = true
		value, err := n.answerKey(kv)
		if err != nil {
			return nil, err
		}
		if value != "" {
			answers = append(answers, iscsi.KeyValue{Key: kv.Key, Value: value})
		}
	}
	return answers, nil
}

func boolToInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// answerKey is the answer to one key; "" for a declaration, which has none.
func (n *negotiation) answerKey(kv iscsi.KeyValue) (string, error) {
	rule, known := iscsi.LookupKey(kv.Key)
	switch {
	case !known:
		return iscsi.AnswerNotUnderstood, nil
	case kv.Value == iscsi.AnswerNotUnderstood || kv.Value == iscsi.AnswerIrrelevant || kv.Value == iscsi.AnswerReject:
		return "", nil // about a key of ours; we can do without any of them
	case rule.Obsolete != "":
		return rule.Obsolete, nil
	case rule.Initiator == iscsi.NeverSent:
		return "", refuse(iscsi.LoginInitiatorError, "key %s is not for an initiator to send (RFC 7143 %s)", kv.Key, rule.Clause)
	case rule.Initiator == iscsi.FullFeaturePhaseOnly:
		return "", refuse(iscsi.LoginInvalidDuringLogin, "key %s is not for the login phase (RFC 7143 %s)", kv.Key, rule.Clause)
	case rule.Initiator == iscsi.LeadingOnly && !n.leading:
		return n.unlessDeclared(rule, iscsi.AnswerReject), nil
	case !rule.IsRelevant(n.discovery, n.session.initialR2T, n.session.immediateData):
		return n.unlessDeclared(rule, iscsi.AnswerIrrelevant), nil
	}
	switch rule.Kind {
	case iscsi.KeyList:
		return n.chooseFromList(rule, kv.Value), nil
	case iscsi.KeyAnd, iscsi.KeyOr:
		return n.decideBoolean(rule, kv.Value), nil
	case iscsi.KeyMinimum, iscsi.KeyMaximum:
		return n.decideNumber(rule, kv.Value), nil
	case iscsi.KeyNumber:
		return n.declareNumber(rule, kv.Value)
	}
	return "", nil // declared text that the login itself has read
}

func (n *negotiation) unlessDeclared(rule iscsi.KeyRule, answer string) string {
	if rule.Kind.Negotiated() {
		return answer
	}
	return ""
}

// chooseFromList takes the initiator's first choice that we can do.
func (n *negotiation) chooseFromList(rule iscsi.KeyRule, value string) string {
	offered, err := iscsi.ParseList(value, 64)
	if err != nil {
		return iscsi.AnswerReject
	}
	can := []string{"CRC32C", "None"}
	if rule.Name == "TaskReporting" {
		can = []string{"RFC3720"}
	}
	for _, v := range offered {
		if !slices.Contains(can, v) {
			continue
		}
		switch rule.Name {
		case "HeaderDigest":
			n.digests.header = v == "CRC32C"
		case "DataDigest":
			n.digests.data = v == "CRC32C"
		}
		return v
	}
	return iscsi.AnswerReject
}

func (n *negotiation) decideBoolean(rule iscsi.KeyRule, value string) string {
	theirs, err := iscsi.ParseBoolean(value)
	if err != nil {
		return iscsi.AnswerReject
	}
	// Ours: data in order always (Yes of an OR), everything else as the
	// initiator likes it (No of an OR, Yes of an AND).
	result := theirs
	switch rule.Name {
	case "InitialR2T":
		n.session.initialR2T = result
	case "ImmediateData":
		n.session.immediateData = result
	case "DataPDUInOrder", "DataSequenceInOrder":
		result = true
	}
	return iscsi.FormatBoolean(result)
}

func (n *negotiation) decideNumber(rule iscsi.KeyRule, value string) string {
	theirs, err := iscsi.ParseNumber(value)
	if err != nil || !rule.InRange(theirs) {
		return iscsi.AnswerReject
	}
	p := &n.session
	var into *int
	var ours int
	switch rule.Name {
	case "MaxConnections":
		into, ours = &p.maxConnections, n.maxConnections
	case "MaxBurstLength":
		into, ours = &p.maxBurst, offeredMaxBurst
	case "FirstBurstLength":
		into, ours = &p.firstBurst, offeredFirstBurst
		if n.seen["MaxBurstLength"] { // FirstBurstLength must not exceed it (13.14)
			ours = min(ours, p.maxBurst)
		}
	case "MaxOutstandingR2T":
		into, ours = &p.maxOutstandingR2T, maxOutstandingR2T
	case "DefaultTime2Wait":
		into = &p.time2Wait
	case "DefaultTime2Retain":
		into = &p.time2Retain // no task outlives its connection
	case "ErrorRecoveryLevel":
		into = new(int)
	case "iSCSIProtocolLevel":
		into, ours = new(int), 1
	default:
		return iscsi.AnswerReject
	}
	if rule.Kind == iscsi.KeyMinimum {
		*into = min(int(theirs), ours)
	} else {
		*into = max(int(theirs), ours)
	}
	return iscsi.FormatNumber(uint64(*into))
}

func (n *negotiation) declareNumber(rule iscsi.KeyRule, value string) (string, error) {
	theirs, err := iscsi.ParseNumber(value)
	if err != nil || !rule.InRange(theirs) {
		return "", refuse(iscsi.LoginInitiatorError, "%s=%q: want a number from %d to %d (RFC 7143 %s)", rule.Name, value, rule.Min, rule.Max, rule.Clause)
	}
	if rule.Name == "MaxRecvDataSegmentLength" {
		n.maxSend = int(theirs)
	}
	return "", nil
}

// declare appends our own MaxRecvDataSegmentLength, once.
func (n *negotiation) declare(answers []iscsi.KeyValue) []iscsi.KeyValue {
	if n.declared {
		return answers
	}
	n.declared = true
	return append(answers, iscsi.KeyValue{Key: "MaxRecvDataSegmentLength", Value: iscsi.FormatNumber(maxRecvDataSegmentLength)})
}

// settled are the parameters in force; a first burst is never longer than a burst.
func (n *negotiation) settled() sessionParameters {
	p := n.session
	p.firstBurst = min(p.firstBurst, p.maxBurst)
	return p
}
