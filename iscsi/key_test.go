package iscsi

import (
	"strings"
	"testing"
)

// The keys of clauses 12 and 13, written out a second time: who may send each, when,
// for what, and what holds without it.
func TestKeyRules_RFC7143_13(t *testing.T) {
	const (
		io, lo, fff, all = InitializeOnly, LeadingOnly, FullFeaturePhaseOnly, AnyPhase
		sw, co           = SessionWide, ConnectionOnly
		never            = NeverSent
	)
	want := map[string]struct {
		kind              KeyKind
		initiator, target KeyUse
		scope             KeyScope
		byDefault         string
	}{
		"AuthMethod": {KeyList, io, io, co, ""},
		"CHAP_A":     {KeyPrivateList, io, io, co, ""}, "CHAP_I": {KeyNumber, io, io, co, ""}, "CHAP_C": {KeyBinary, io, io, co, ""},
		"CHAP_N": {KeyText, io, io, co, ""}, "CHAP_R": {KeyBinary, io, io, co, ""},
		"HeaderDigest": {KeyList, io, io, co, "None"}, "DataDigest": {KeyList, io, io, co, "None"},
		"MaxConnections": {KeyMinimum, lo, lo, sw, "1"},
		"SendTargets":    {KeyText, fff, never, sw, ""},
		"TargetName":     {KeyText, io, fff, sw, ""},
		"InitiatorName":  {KeyText, io, never, sw, ""},
		"TargetAlias":    {KeyText, never, all, sw, ""}, "InitiatorAlias": {KeyText, all, never, sw, ""},
		"TargetAddress": {KeyText, never, all, sw, ""}, "TargetPortalGroupTag": {KeyNumber, never, io, sw, ""},
		"InitialR2T": {KeyOr, lo, lo, sw, "Yes"}, "ImmediateData": {KeyAnd, lo, lo, sw, "Yes"},
		"MaxRecvDataSegmentLength": {KeyNumber, all, all, co, "8192"},
		"MaxBurstLength":           {KeyMinimum, lo, lo, sw, "262144"}, "FirstBurstLength": {KeyMinimum, lo, lo, sw, "65536"},
		"DefaultTime2Wait": {KeyMaximum, lo, lo, sw, "2"}, "DefaultTime2Retain": {KeyMinimum, lo, lo, sw, "20"},
		"MaxOutstandingR2T": {KeyMinimum, lo, lo, sw, "1"},
		"DataPDUInOrder":    {KeyOr, lo, lo, sw, "Yes"}, "DataSequenceInOrder": {KeyOr, lo, lo, sw, "Yes"},
		"ErrorRecoveryLevel": {KeyMinimum, lo, lo, sw, "0"},
		"SessionType":        {KeyChoice, lo, never, sw, "Normal"},
		"TaskReporting":      {KeyList, lo, lo, sw, "RFC3720"}, "iSCSIProtocolLevel": {KeyMinimum, lo, lo, sw, "1"},
		"OFMarker": {KeyAnd, io, io, co, "No"}, "IFMarker": {KeyAnd, io, io, co, "No"},
		"OFMarkInt": {KeyRange, io, io, co, ""}, "IFMarkInt": {KeyRange, io, io, co, ""},
	}
	seen := map[string]bool{}
	for _, got := range KeyRules() {
		w, ok := want[got.Name]
		if !ok || seen[got.Name] {
			t.Errorf("%s: not expected, or twice", got.Name)
			continue
		}
		seen[got.Name] = true
		if got.Kind != w.kind || got.Initiator != w.initiator || got.Target != w.target || got.Scope != w.scope || got.Default != w.byDefault {
			t.Errorf("%s: got %+v\nwant %+v", got.Name, got, w)
		}
		if found, ok := LookupKey(got.Name); !ok || found != got {
			t.Errorf("LookupKey(%q): %+v, %v", got.Name, found, ok)
		}
		if _, ok := LookupKey(strings.ToLower(got.Name)); ok {
			t.Errorf("%q is found in lower case", got.Name)
		}
		if got.Clause == "" || !strings.HasPrefix(got.Clause, "12") && !strings.HasPrefix(got.Clause, "13.") {
			t.Errorf("%s names the clause %q", got.Name, got.Clause)
		}
	}
	for name := range want {
		if !seen[name] {
			t.Errorf("%s is missing", name)
		}
	}
}

// A default is a value that the key may have.
func TestKeyDefaults_RFC7143_13(t *testing.T) {
	for _, r := range KeyRules() {
		if r.Default == "" {
			continue
		}
		switch r.Kind {
		case KeyMinimum, KeyMaximum, KeyNumber:
			if n, err := ParseNumber(r.Default); err != nil || !r.InRange(n) {
				t.Errorf("%s: %d, %v", r.Name, n, err)
			}
			if r.InRange(r.Max+1) || r.Min > 0 && r.InRange(r.Min-1) || !r.InRange(r.Min) || !r.InRange(r.Max) {
				t.Errorf("%s: the range %d to %d does not hold", r.Name, r.Min, r.Max)
			}
		case KeyAnd, KeyOr:
			if _, err := ParseBoolean(r.Default); err != nil {
				t.Errorf("%s: %v", r.Name, err)
			}
		case KeyList, KeyChoice:
			if !strings.Contains(","+r.Values+",", ","+r.Default+",") {
				t.Errorf("%s: %q is none of %q", r.Name, r.Default, r.Values)
			}
		default:
			t.Errorf("%s has a default, but its kind has none", r.Name)
		}
	}
}

func TestKeyIsRelevant_RFC7143_13(t *testing.T) {
	discovery := map[string]bool{"MaxConnections": true, "InitialR2T": true, "ImmediateData": true, "MaxBurstLength": true, "FirstBurstLength": true,
		"MaxOutstandingR2T": true, "DataPDUInOrder": true, "DataSequenceInOrder": true, "TaskReporting": true, "iSCSIProtocolLevel": true}
	for _, r := range KeyRules() {
		if got := r.IsRelevant(true, false, true); got == discovery[r.Name] {
			t.Errorf("%s in a discovery session: relevant is %v", r.Name, got)
		}
		for _, c := range []struct{ initialR2T, immediateData bool }{{false, false}, {false, true}, {true, false}, {true, true}} {
			unsolicited := !c.initialR2T || c.immediateData
			want := r.Name != "FirstBurstLength" || unsolicited
			if got := r.IsRelevant(false, c.initialR2T, c.immediateData); got != want {
				t.Errorf("%s with InitialR2T %v, ImmediateData %v: relevant is %v", r.Name, c.initialR2T, c.immediateData, got)
			}
		}
	}
}

// Clause 12 lists what may come in the SecurityNegotiation stage.
func TestKeyStage_RFC7143_12(t *testing.T) {
	want := map[string]KeyStage{"AuthMethod": SecurityStage, "CHAP_A": SecurityStage, "CHAP_I": SecurityStage, "CHAP_C": SecurityStage,
		"CHAP_N": SecurityStage, "CHAP_R": SecurityStage, "SessionType": AnyStage, "InitiatorName": AnyStage, "TargetName": AnyStage,
		"TargetAddress": AnyStage, "InitiatorAlias": AnyStage, "TargetAlias": AnyStage, "TargetPortalGroupTag": AnyStage}
	for _, r := range KeyRules() {
		if r.Stage != want[r.Name] {
			t.Errorf("%s: stage %d, want %d", r.Name, r.Stage, want[r.Name])
		}
	}
}

// A marker key is never NotUnderstood: 13.25.
func TestObsoleteKeys_RFC7143_13_25(t *testing.T) {
	for name, want := range map[string]string{"OFMarker": "No", "IFMarker": "No", "OFMarkInt": AnswerReject, "IFMarkInt": AnswerReject} {
		if r, ok := LookupKey(name); !ok || r.Obsolete != want {
			t.Errorf("%s: %+v, %v", name, r, ok)
		}
	}
}

func TestPrivateKeys_RFC7143_13_22(t *testing.T) {
	for name, want := range map[string]bool{"X-com.example.key": true, "X#NodeArchitecture": true, "x-a": false, "MaxConnections": false, "": false} {
		if got := IsPrivateKey(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
		if _, ok := LookupKey(name); ok && want {
			t.Errorf("%q has a rule", name)
		}
	}
}

func TestKeyKindNegotiated_RFC7143_6_2(t *testing.T) {
	for _, r := range KeyRules() {
		declared := r.Kind == KeyText || r.Kind == KeyNumber || r.Kind == KeyBinary || r.Kind == KeyChoice
		if r.Kind.Negotiated() == declared {
			t.Errorf("%s: negotiated is %v", r.Name, r.Kind.Negotiated())
		}
		if r.Kind.Negotiated() && r.Initiator != r.Target {
			t.Errorf("%s is negotiated by one side only", r.Name)
		}
	}
}
