package iscsi

import "strings"

// A KeyKind says what values a key has and how two sides agree on one (RFC 7143 6.2).
type KeyKind uint8

// The kinds of keys. A negotiated key is answered with the result; a declared one
// is not answered.
const (
	KeyList        KeyKind = iota // negotiated: values in order of preference, the answer is one of them
	KeyAnd                        // negotiated boolean: Yes when both say Yes
	KeyOr                         // negotiated boolean: Yes when either says Yes
	KeyMinimum                    // negotiated number: the smaller one
	KeyMaximum                    // negotiated number: the larger one
	KeyRange                      // negotiated "low~high": the answer is one number in it
	KeyText                       // declared text
	KeyNumber                     // declared number
	KeyBinary                     // declared bytes in hexadecimal or base64
	KeyChoice                     // declared text, one of Values
	KeyPrivateList                // a list of numbers, as CHAP_A has it: the answer is one of them
)

// Negotiated reports whether the key is answered; otherwise it is declared.
func (k KeyKind) Negotiated() bool { return k <= KeyRange || k == KeyPrivateList }

// A KeyUse says when a side may send a key (RFC 7143 13).
type KeyUse uint8

// When a side may send a key.
const (
	NeverSent            KeyUse = iota
	InitializeOnly              // IO: while any connection logs in
	LeadingOnly                 // LO: while the leading connection of a session logs in
	FullFeaturePhaseOnly        // FFPO: only after the login
	AnyPhase                    // ALL
)

// A KeyScope says what a key is agreed for.
type KeyScope uint8

// What a key is agreed for.
const (
	SessionWide    KeyScope = iota // SW
	ConnectionOnly                 // CO
)

// A KeyStage says in which stage of the login a key may come (RFC 7143 12, 13).
type KeyStage uint8

// In which stages of the login a key may come.
const (
	OperationalStage KeyStage = iota // LoginOperationalNegotiation only
	SecurityStage                    // SecurityNegotiation only
	AnyStage
)

// A KeyIrrelevance says when a key has no meaning and is answered Irrelevant.
type KeyIrrelevance uint8

// When a key has no meaning.
const (
	AlwaysRelevant    KeyIrrelevance = iota
	DiscoverySession                 // when SessionType is Discovery
	NoUnsolicitedData                // so too, and when InitialR2T is Yes and ImmediateData is No
)

// Values that answer a key instead of a result (RFC 7143 6.2).
const (
	AnswerReject        = "Reject"        // the offer is not acceptable; the parameter keeps its value
	AnswerIrrelevant    = "Irrelevant"    // the key has no meaning here
	AnswerNotUnderstood = "NotUnderstood" // the key is not known
)

// A KeyRule is all that is known of a key.
type KeyRule struct {
	Name       string
	Kind       KeyKind
	Initiator  KeyUse // when the initiator may send it
	Target     KeyUse // when the target may send it
	Stage      KeyStage
	Scope      KeyScope
	Irrelevant KeyIrrelevance
	Min, Max   uint64 // of a number, both allowed
	Default    string // the value before any negotiation; "" when there is none
	Values     string // of a list or choice: the registered values, joined by commas
	MaxLength  int    // bytes of the value; 0: 255 (RFC 7143 6.1)
	Obsolete   string // the answer to an offer of a key that RFC 7143 13.25 has taken away
	Clause     string // of RFC 7143
}

// MaxValueLength returns the most bytes a value of the key has on the wire.
func (r KeyRule) MaxValueLength() int {
	if r.MaxLength == 0 {
		return 255
	}
	return r.MaxLength
}

// IsRelevant reports whether the key has a meaning in a session of that type; the
// booleans initialR2T and immediateData are those in force (RFC 7143 13).
func (r KeyRule) IsRelevant(discovery, initialR2T, immediateData bool) bool {
	switch r.Irrelevant {
	case DiscoverySession:
		return !discovery
	case NoUnsolicitedData:
		return !discovery && (!initialR2T || immediateData)
	}
	return true
}

// InRange reports whether n is a value the key may have.
func (r KeyRule) InRange(n uint64) bool { return r.Min <= n && n <= r.Max }

// LookupKey returns the rule of a key. Keys are compared as they are written, upper
// and lower case are different (RFC 7143 6.1). An unknown one, among them all
// private ones (X-, X#), is answered NotUnderstood.
func LookupKey(name string) (KeyRule, bool) {
	for i := range keyTable {
		if keyTable[i].Name == name {
			return keyTable[i], true
		}
	}
	return KeyRule{}, false
}

// KeyRules returns a copy of every rule.
func KeyRules() []KeyRule { return append([]KeyRule(nil), keyTable[:]...) }

// IsPrivateKey reports whether a key is a private or public extension by its name:
// X-, or X# with a registered name (RFC 7143 13.22, 13.26).
func IsPrivateKey(name string) bool {
	return strings.HasPrefix(name, "X-") || strings.HasPrefix(name, "X#")
}

const (
	listLength   = 2048 // bytes of a list of values
	binaryLength = 8192 // bytes of 1024 or more bytes in hexadecimal, with room
	maxSegment   = 1<<24 - 1
)

// keyTable is the law of keys: a literal that nothing changes.
var keyTable = [...]KeyRule{
	// Security (RFC 7143 12).
	{Name: "AuthMethod", Kind: KeyList, Initiator: InitializeOnly, Target: InitializeOnly, Stage: SecurityStage, Scope: ConnectionOnly,
		Values: "KRB5,SRP,CHAP,None", MaxLength: listLength, Clause: "12"},
	{Name: "CHAP_A", Kind: KeyPrivateList, Initiator: InitializeOnly, Target: InitializeOnly, Stage: SecurityStage, Scope: ConnectionOnly,
		Max: 255, MaxLength: listLength, Clause: "12.1.3"},
	{Name: "CHAP_I", Kind: KeyNumber, Initiator: InitializeOnly, Target: InitializeOnly, Stage: SecurityStage, Scope: ConnectionOnly,
		Max: 255, Clause: "12.1.3"},
	{Name: "CHAP_C", Kind: KeyBinary, Initiator: InitializeOnly, Target: InitializeOnly, Stage: SecurityStage, Scope: ConnectionOnly,
		MaxLength: binaryLength, Clause: "12.1.3"},
	{Name: "CHAP_N", Kind: KeyText, Initiator: InitializeOnly, Target: InitializeOnly, Stage: SecurityStage, Scope: ConnectionOnly,
		Clause: "12.1.3"},
	{Name: "CHAP_R", Kind: KeyBinary, Initiator: InitializeOnly, Target: InitializeOnly, Stage: SecurityStage, Scope: ConnectionOnly,
		MaxLength: binaryLength, Clause: "12.1.3"},

	// Names and addresses.
	{Name: "SessionType", Kind: KeyChoice, Initiator: LeadingOnly, Stage: AnyStage,
		Default: "Normal", Values: "Discovery,Normal", Clause: "13.21"},
	{Name: "InitiatorName", Kind: KeyText, Initiator: InitializeOnly, Stage: AnyStage, Clause: "13.5"},
	{Name: "TargetName", Kind: KeyText, Initiator: InitializeOnly, Target: FullFeaturePhaseOnly, Stage: AnyStage, Clause: "13.4"},
	{Name: "InitiatorAlias", Kind: KeyText, Initiator: AnyPhase, Stage: AnyStage, Clause: "13.7"},
	{Name: "TargetAlias", Kind: KeyText, Target: AnyPhase, Stage: AnyStage, Clause: "13.6"},
	{Name: "TargetAddress", Kind: KeyText, Target: AnyPhase, Stage: AnyStage, MaxLength: 300, Clause: "13.8"},
	{Name: "TargetPortalGroupTag", Kind: KeyNumber, Target: InitializeOnly, Stage: AnyStage, Max: 65535, Clause: "13.9"},
	{Name: "SendTargets", Kind: KeyText, Initiator: FullFeaturePhaseOnly, Clause: "13.3"},

	// Of a connection.
	{Name: "HeaderDigest", Kind: KeyList, Initiator: InitializeOnly, Target: InitializeOnly, Scope: ConnectionOnly,
		Default: "None", Values: "CRC32C,None", MaxLength: listLength, Clause: "13.1"},
	{Name: "DataDigest", Kind: KeyList, Initiator: InitializeOnly, Target: InitializeOnly, Scope: ConnectionOnly,
		Default: "None", Values: "CRC32C,None", MaxLength: listLength, Clause: "13.1"},
	{Name: "MaxRecvDataSegmentLength", Kind: KeyNumber, Initiator: AnyPhase, Target: AnyPhase, Scope: ConnectionOnly,
		Min: 512, Max: maxSegment, Default: "8192", Clause: "13.12"},

	// Of a session.
	{Name: "MaxConnections", Kind: KeyMinimum, Initiator: LeadingOnly, Target: LeadingOnly, Irrelevant: DiscoverySession,
		Min: 1, Max: 65535, Default: "1", Clause: "13.2"},
	{Name: "InitialR2T", Kind: KeyOr, Initiator: LeadingOnly, Target: LeadingOnly, Irrelevant: DiscoverySession,
		Default: "Yes", Clause: "13.10"},
	{Name: "ImmediateData", Kind: KeyAnd, Initiator: LeadingOnly, Target: LeadingOnly, Irrelevant: DiscoverySession,
		Default: "Yes", Clause: "13.11"},
	{Name: "MaxBurstLength", Kind: KeyMinimum, Initiator: LeadingOnly, Target: LeadingOnly, Irrelevant: DiscoverySession,
		Min: 512, Max: maxSegment, Default: "262144", Clause: "13.13"},
	{Name: "FirstBurstLength", Kind: KeyMinimum, Initiator: LeadingOnly, Target: LeadingOnly, Irrelevant: NoUnsolicitedData,
		Min: 512, Max: maxSegment, Default: "65536", Clause: "13.14"},
	{Name: "DefaultTime2Wait", Kind: KeyMaximum, Initiator: LeadingOnly, Target: LeadingOnly,
		Max: 3600, Default: "2", Clause: "13.15"},
	{Name: "DefaultTime2Retain", Kind: KeyMinimum, Initiator: LeadingOnly, Target: LeadingOnly,
		Max: 3600, Default: "20", Clause: "13.16"},
	{Name: "MaxOutstandingR2T", Kind: KeyMinimum, Initiator: LeadingOnly, Target: LeadingOnly, Irrelevant: DiscoverySession,
		Min: 1, Max: 65535, Default: "1", Clause: "13.17"},
	{Name: "DataPDUInOrder", Kind: KeyOr, Initiator: LeadingOnly, Target: LeadingOnly, Irrelevant: DiscoverySession,
		Default: "Yes", Clause: "13.18"},
	{Name: "DataSequenceInOrder", Kind: KeyOr, Initiator: LeadingOnly, Target: LeadingOnly, Irrelevant: DiscoverySession,
		Default: "Yes", Clause: "13.19"},
	{Name: "ErrorRecoveryLevel", Kind: KeyMinimum, Initiator: LeadingOnly, Target: LeadingOnly,
		Max: 2, Default: "0", Clause: "13.20"},
	{Name: "TaskReporting", Kind: KeyList, Initiator: LeadingOnly, Target: LeadingOnly, Irrelevant: DiscoverySession,
		Default: "RFC3720", Values: "RFC3720,ResponseFence,FastAbort", MaxLength: listLength, Clause: "13.23"},
	{Name: "iSCSIProtocolLevel", Kind: KeyMinimum, Initiator: LeadingOnly, Target: LeadingOnly, Irrelevant: DiscoverySession,
		Max: 31, Default: "1", Clause: "13.24"},

	// Markers of RFC 3720, which RFC 7143 took away. 13.25 forbids NotUnderstood; for
	// the booleans it prefers Reject and allows No, which older initiators offer
	// themselves and so cannot fail on.
	{Name: "OFMarker", Kind: KeyAnd, Initiator: InitializeOnly, Target: InitializeOnly, Scope: ConnectionOnly,
		Default: "No", Obsolete: "No", Clause: "13.25"},
	{Name: "IFMarker", Kind: KeyAnd, Initiator: InitializeOnly, Target: InitializeOnly, Scope: ConnectionOnly,
		Default: "No", Obsolete: "No", Clause: "13.25"},
	{Name: "OFMarkInt", Kind: KeyRange, Initiator: InitializeOnly, Target: InitializeOnly, Scope: ConnectionOnly,
		Min: 1, Max: 65535, Obsolete: AnswerReject, Clause: "13.25"},
	{Name: "IFMarkInt", Kind: KeyRange, Initiator: InitializeOnly, Target: InitializeOnly, Scope: ConnectionOnly,
		Min: 1, Max: 65535, Obsolete: AnswerReject, Clause: "13.25"},
}
