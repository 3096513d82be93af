package initiator

import (
	"bytes"
	"testing"

	"github.com/isantarget/isantarget/iscsi"
)

func TestPDUComesBack(t *testing.T) {
	for _, d := range []Digests{{}, {Header: true}, {Data: true}, {Header: true, Data: true}} {
		for n := range 9 {
			p := PDU{AHS: iscsi.AppendExtendedCDB(nil, []byte("0123456789abcdef")), Data: bytes.Repeat([]byte{7}, n)}
			p.BHS.SetOpcode(iscsi.OpNopIn)
			wire := p.Encode(d, 0)
			if len(wire)%4 != 0 {
				t.Fatalf("%+v, %d bytes: %d bytes on the wire", d, n, len(wire))
			}
			got, err := readPDU(bytes.NewReader(wire), d, 8192)
			if err != nil || !bytes.Equal(got.Data, p.Data) || !bytes.Equal(got.AHS, p.AHS) || got.BHS.Opcode() != iscsi.OpNopIn {
				t.Fatalf("%+v, %d bytes: %+v, %v", d, n, got, err)
			}
			for cut := 1; cut < len(wire); cut++ {
				if _, err := readPDU(bytes.NewReader(wire[:cut]), d, 8192); err == nil {
					t.Fatalf("%+v: the first %d of %d bytes passed", d, cut, len(wire))
				}
			}
		}
	}
}

// Every fault that Send can make shows on the other side.
func TestFaultsShow_RFC7143_11_2_3(t *testing.T) {
	both := Digests{Header: true, Data: true}
	for name, c := range map[string]struct {
		faults Faults
		clause string
		what   string
	}{
		"header digest": {BadHeaderDigest, "11.2.3", "header digest"},
		"data digest":   {BadDataDigest, "11.2.3", "data digest"},
		"padding":       {FilledPadding, "11.1", "padding"},
	} {
		p := PDU{Data: []byte("abc")}
		_, err := readPDU(bytes.NewReader(p.Encode(both, c.faults)), both, 8192)
		t.Run(name, func(t *testing.T) { wantViolation(t, err, c.clause, c.what) })
	}
	p := PDU{Data: []byte("abcde")}
	if got := len(p.Encode(Digests{}, NoPadding)); got != iscsi.BHSLength+5 {
		t.Errorf("%d bytes without padding", got)
	}
	p.BHS.SetDataSegmentLength(1234)
	wire := p.Encode(Digests{}, LengthsAsGiven)
	if h := iscsi.BHS(wire[:iscsi.BHSLength]); h.DataSegmentLength() != 1234 {
		t.Errorf("the header says %d bytes", h.DataSegmentLength())
	}
	_, err := readPDU(bytes.NewReader(wire), Digests{}, 1000)
	wantViolation(t, err, "13.12", "1234 bytes")
}
