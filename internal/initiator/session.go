package initiator

import (
	"fmt"

	"github.com/isantarget/isantarget/iscsi"
)

// A Session is what the connections of one session share. A Connection that has
// not logged in has one of its own; Connection.Join puts it into another's.
type Session struct {
	InitiatorName, TargetName string
	ISID                      iscsi.ISID
	TSIH                      uint16
	Parameters                Parameters

	CmdSN    uint32 // of the next request that is not immediate
	ExpCmdSN uint32 // as the target said last
	MaxCmdSN uint32 // as the target said last
	ITT      uint32 // of the next request
}

// NextTag takes the next initiator task tag.
func (s *Session) NextTag() uint32 {
	tag := s.ITT
	s.ITT++
	if s.ITT == iscsi.ReservedTag {
		s.ITT = 0
	}
	return tag
}

// take returns the CmdSN of a request; an immediate one leaves the count as it is
// (RFC 7143 4.2.2.1).
func (s *Session) take(immediate bool) uint32 {
	sn := s.CmdSN
	if !immediate {
		s.CmdSN++
	}
	return sn
}

// windowOpen reports whether the target takes the next request.
func (s *Session) windowOpen() bool {
	return iscsi.SerialNumber(s.CmdSN).LessEqual(iscsi.SerialNumber(s.MaxCmdSN))
}

// advance takes the ExpCmdSN and MaxCmdSN of a PDU into account. Older ones, which
// another connection may have overtaken, are ignored (RFC 7143 4.2.2.1).
func (s *Session) advance(expCmdSN, maxCmdSN uint32) error {
	exp, last := iscsi.SerialNumber(expCmdSN), iscsi.SerialNumber(maxCmdSN)
	if last.Less(exp - 1) {
		return nil // to be ignored, says 4.2.2.1
	}
	if iscsi.SerialNumber(s.CmdSN).Less(exp) {
		return violation("4.2.2.1", "ExpCmdSN %d acknowledges more than was sent: the next CmdSN is %d", expCmdSN, s.CmdSN)
	}
	if iscsi.SerialNumber(s.ExpCmdSN).Less(exp) {
		s.ExpCmdSN = expCmdSN
	}
	if iscsi.SerialNumber(s.MaxCmdSN).Less(last) {
		s.MaxCmdSN = maxCmdSN
	}
	return nil
}

// Parameters are the operational parameters in force (RFC 7143 13).
type Parameters struct {
	MaxConnections     int
	InitialR2T         bool
	ImmediateData      bool
	MaxBurstLength     int
	FirstBurstLength   int
	DefaultTime2Wait   int
	DefaultTime2Retain int
	MaxOutstandingR2T  int
	ErrorRecoveryLevel int
	HeaderDigest       string
	DataDigest         string
	PortalGroupTag     string
	TargetAlias        string
}

// DefaultParameters are those that hold before any negotiation.
func DefaultParameters() Parameters {
	return Parameters{
		MaxConnections: 1, InitialR2T: true, ImmediateData: true, MaxBurstLength: 262144, FirstBurstLength: 65536,
		DefaultTime2Wait: 2, DefaultTime2Retain: 20, MaxOutstandingR2T: 1, HeaderDigest: "None", DataDigest: "None",
	}
}

// take puts the target's answer to a key into force. Answers that are no values
// change nothing.
func (p *Parameters) take(kv iscsi.KeyValue) error {
	switch kv.Value {
	case iscsi.AnswerReject, iscsi.AnswerIrrelevant, iscsi.AnswerNotUnderstood:
		return nil
	}
	numbers := map[string]*int{
		"MaxConnections": &p.MaxConnections, "MaxBurstLength": &p.MaxBurstLength, "FirstBurstLength": &p.FirstBurstLength,
		"DefaultTime2Wait": &p.DefaultTime2Wait, "DefaultTime2Retain": &p.DefaultTime2Retain,
		"MaxOutstandingR2T": &p.MaxOutstandingR2T, "ErrorRecoveryLevel": &p.ErrorRecoveryLevel,
	}
	booleans := map[string]*bool{"InitialR2T": &p.InitialR2T, "ImmediateData": &p.ImmediateData}
	texts := map[string]*string{"HeaderDigest": &p.HeaderDigest, "DataDigest": &p.DataDigest,
		"TargetPortalGroupTag": &p.PortalGroupTag, "TargetAlias": &p.TargetAlias}
	if n := numbers[kv.Key]; n != nil {
		v, err := iscsi.ParseNumber(kv.Value)
		if rule, _ := iscsi.LookupKey(kv.Key); err != nil || !rule.InRange(v) {
			return violation(rule.Clause, "%s=%s", kv.Key, kv.Value)
		}
		*n = int(v)
	}
	if b := booleans[kv.Key]; b != nil {
		v, err := iscsi.ParseBoolean(kv.Value)
		if err != nil {
			return violation("6.1", "%s=%s", kv.Key, kv.Value)
		}
		*b = v
	}
	if s := texts[kv.Key]; s != nil {
		*s = kv.Value
	}
	return nil
}

// String says which session it is.
func (s *Session) String() string {
	return fmt.Sprintf("%s,i,%v TSIH %04x with %s", s.InitiatorName, s.ISID, s.TSIH, s.TargetName)
}
