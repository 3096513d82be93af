package scsi

import (
	"slices"
	"testing"
)

func TestAttentionPrecedence_SAM5_6_2(t *testing.T) {
	const (
		powerOn = ASCPowerOnOccurred
		reset   = ASCBusDeviceResetFunctionOccurred
		loss    = ASCITNexusLossOccurred
		mode    = ASCModeParametersChanged
		luns    = ASCReportedLUNsDataHasChanged
	)
	tests := []struct{ established, want []SenseCode }{
		{[]SenseCode{mode, luns, mode}, []SenseCode{mode, luns}},
		{[]SenseCode{mode, loss}, []SenseCode{loss, mode}},
		{[]SenseCode{loss, reset}, []SenseCode{reset}},
		{[]SenseCode{reset, loss}, []SenseCode{reset}},
		{[]SenseCode{mode, powerOn, reset, loss, luns}, []SenseCode{powerOn, mode, luns}},
		{[]SenseCode{powerOn, ASCPowerOnResetOrBusDeviceResetOccurred}, []SenseCode{ASCPowerOnResetOrBusDeviceResetOccurred}},
	}
	for _, test := range tests {
		n := newNexus("a")
		lu := newUnit(t, &fakeDevice{}, nil, n)
		for _, code := range test.established {
			lu.Attention(code, nil, nil)
		}
		var got []SenseCode
		for s := lu.TakeAttention(n); s != nil; s = lu.TakeAttention(n) {
			if s.Key != KeyUnitAttention {
				t.Errorf("sense key %v", s.Key)
			}
			got = append(got, s.Code)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%v became %v, want %v", test.established, got, test.want)
		}
		if lu.attentive.Load() != 0 {
			t.Error("a nexus counts as attentive that has nothing pending")
		}
	}
}

func TestAttentionGoesToWhomItConcerns(t *testing.T) {
	a, b, c := newNexus("a"), newNexus("b"), newNexus("c")
	lu := newUnit(t, &fakeDevice{}, nil, a, b, c)
	lu.NexusLost(c)
	lu.Attention(ASCCapacityDataHasChanged, nil, a)
	lu.Attention(ASCModeParametersChanged, b, nil)
	for _, want := range []struct {
		nexus *Nexus
		codes []SenseCode
	}{
		{a, nil},
		{b, []SenseCode{ASCCapacityDataHasChanged, ASCModeParametersChanged}},
		{c, []SenseCode{ASCITNexusLossOccurred, ASCCapacityDataHasChanged}}, // for its return
	} {
		if code, depth := lu.PendingAttention(want.nexus); depth != len(want.codes) || depth > 0 && code != want.codes[0] {
			t.Errorf("%s has %d pending, the first %v; want %v", want.nexus.Initiator.Name, depth, code, want.codes)
		}
	}
	lu.ClearAttention(ASCCapacityDataHasChanged, b)
	lu.ClearAttention(ASCCapacityDataHasChanged, a)
	if code, depth := lu.PendingAttention(b); code != ASCModeParametersChanged || depth != 1 {
		t.Errorf("ClearAttention left %d, first %v", depth, code)
	}
}

func TestAttentionsAreBounded(t *testing.T) {
	n := newNexus("a")
	lu := newUnit(t, &fakeDevice{}, nil, n)
	for i := range 1000 {
		lu.Attention(SenseCode(0x3f00+i), n, nil)
	}
	if _, depth := lu.PendingAttention(n); depth > maxAttentions {
		t.Errorf("%d attentions are pending", depth)
	}
}

func TestAttachAgainKeepsWhatIsPending(t *testing.T) {
	n := newNexus("a")
	lu := newUnit(t, &fakeDevice{rows: []Operation{row(0, Inline, good)}}, nil, n)
	lu.Attach(n)
	do(t, lu, n, 0, 0, 0, 0, 0, 0).wantStatus(t, Good)
}
