package iscsi

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

// pdu is what every PDU struct can do through its pointer.
type pdu[P any] interface {
	*P
	Unmarshal(*BHS) error
	Marshal(*BHS)
}

// hexBHS reads a header written as twelve words of hexadecimal.
func hexBHS(t testing.TB, s string) (h BHS) {
	t.Helper()
	p, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil || len(p) != len(h) {
		t.Fatalf("a header of %d bytes in the test: %v", len(p), err)
	}
	return BHS(p)
}

// testPDU holds a PDU to its layout. golden is value as it stands on the wire; fields
// has a 1 for every bit that belongs to a field of the struct, so that the reserved
// bits are the zeros.
func testPDU[P comparable, T pdu[P]](t *testing.T, value P, golden, fields string) {
	wire, mask := hexBHS(t, golden), hexBHS(t, fields)
	t.Run("Marshal", func(t *testing.T) {
		h := BHS{0: 0xff, 4: 0xff, 47: 0xff} // what stood there before must not shine through
		T(&value).Marshal(&h)
		if h != wire {
			t.Errorf("got  %x\nwant %x", h, wire)
		}
	})
	t.Run("Unmarshal", func(t *testing.T) {
		var got P
		if err := T(&got).Unmarshal(&wire); err != nil || got != value {
			t.Errorf("got %+v, %v\nwant %+v", got, err, value)
		}
		if n := testing.AllocsPerRun(10, func() { _ = T(&got).Unmarshal(&wire) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
	t.Run("Reserved", func(t *testing.T) { // RFC 7143 11: reserved bits are ignored by the receiver
		for i := range wire {
			for bit := byte(1); bit != 0; bit <<= 1 {
				h := wire
				h[i] ^= bit
				var got P
				err := T(&got).Unmarshal(&h)
				if reserved := mask[i]&bit == 0; reserved != (err == nil && got == value) {
					t.Errorf("byte %d bit %02x: reserved is %v, got %+v, %v", i, bit, reserved, got, err)
				}
			}
		}
	})
	t.Run("Opcode", func(t *testing.T) {
		for o := range Opcode(0x40) {
			if o == wire.Opcode() {
				continue
			}
			h := wire
			h.SetOpcode(o)
			var got P
			wantFieldError(t, T(&got).Unmarshal(&h), "Opcode")
		}
	})
}

// fuzzPDU checks that whatever a PDU takes from the wire, it gives back.
func fuzzPDU[P comparable, T pdu[P]](f *testing.F, golden ...string) {
	var opcode Opcode
	for _, s := range golden {
		h := hexBHS(f, s)
		opcode = h.Opcode()
		f.Add(h[:])
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		var h, again BHS
		copy(h[:], wire)
		h.SetOpcode(opcode)
		var p, q P
		if err := T(&p).Unmarshal(&h); err != nil {
			var field *FieldError
			if !errors.As(err, &field) || field.Field == "" || field.PDU == "" || field.Clause == "" {
				t.Fatalf("an error without a field: %#v", err)
			}
			return
		}
		T(&p).Marshal(&again)
		if err := T(&q).Unmarshal(&again); err != nil || p != q {
			t.Fatalf("%+v came back as %+v, %v", p, q, err)
		}
		if again.DataSegmentLength() != 0 || again.TotalAHSLength() != 0 {
			t.Fatalf("Marshal invented a segment: %x", again)
		}
	})
}

// illegal checks that a header is refused for one field.
func illegal[P any, T pdu[P]](t *testing.T, field, wire string) {
	t.Helper()
	h := hexBHS(t, wire)
	var p P
	wantFieldError(t, T(&p).Unmarshal(&h), field)
}

func wantFieldError(t *testing.T, err error, field string) {
	t.Helper()
	var e *FieldError
	if !errors.As(err, &e) || e.Field != field {
		t.Errorf("got error %v, want one about the field %q", err, field)
		return
	}
	if !strings.Contains(e.Error(), "RFC 7143 ") || e.Reason == "" {
		t.Errorf("%q names no clause or no reason", e)
	}
}

// The places of the common fields (RFC 7143 11.2.1).
func TestBHS_RFC7143_11_2_1(t *testing.T) {
	var h BHS
	h.SetOpcode(OpTextRequest)
	h.SetImmediate(true)
	h.SetFinal(true)
	h.SetTotalAHSLength(1020)
	h.SetDataSegmentLength(0x123456)
	h.SetLUN(0x0102030405060708)
	h.SetInitiatorTaskTag(0xa1a2a3a4)
	want := hexBHS(t, "44800000 ff123456 01020304 05060708 a1a2a3a4 00000000 00000000 00000000 00000000 00000000 00000000 00000000")
	if h != want {
		t.Fatalf("got  %x\nwant %x", h, want)
	}
	if h.Opcode() != OpTextRequest || !h.Immediate() || !h.Final() || h.TotalAHSLength() != 1020 ||
		h.DataSegmentLength() != 0x123456 || h.LUN() != 0x0102030405060708 || h.InitiatorTaskTag() != 0xa1a2a3a4 {
		t.Errorf("a field does not come back: %x", h)
	}
	h.SetOpcode(OpReject)
	if !h.Immediate() || h.Opcode() != OpReject {
		t.Errorf("SetOpcode touched the I bit: %02x", h[0])
	}
	h.SetImmediate(false)
	h.SetFinal(false)
	if h.Immediate() || h.Final() || h.Opcode() != OpReject {
		t.Errorf("I or F did not go away: %x", h[:2])
	}
}

func TestBHSRefusesLengthsThatDoNotFit(t *testing.T) {
	for name, set := range map[string]func(*BHS){
		"AHS 3":      func(h *BHS) { h.SetTotalAHSLength(3) },
		"AHS 1024":   func(h *BHS) { h.SetTotalAHSLength(1024) },
		"AHS -4":     func(h *BHS) { h.SetTotalAHSLength(-4) },
		"data 16Mi":  func(h *BHS) { h.SetDataSegmentLength(1 << 24) },
		"data below": func(h *BHS) { h.SetDataSegmentLength(-1) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("a length that does not fit was cut off in silence")
				}
			}()
			set(new(BHS))
		})
	}
}

func TestPad_RFC7143_11_1(t *testing.T) {
	for n, want := range []int{0, 3, 2, 1, 0, 3, 2, 1, 0} {
		if got := Pad(n); got != want {
			t.Errorf("Pad(%d) = %d, want %d", n, got, want)
		}
	}
}

// Requests and responses have each other's bit 5 (RFC 7143 11.2.1.2), and each opcode a name.
func TestOpcode_RFC7143_11_2_1_2(t *testing.T) {
	requests := []Opcode{OpNopOut, OpSCSICommand, OpTaskManagementRequest, OpLoginRequest, OpTextRequest, OpDataOut, OpLogoutRequest, OpSNACKRequest}
	responses := []Opcode{OpNopIn, OpSCSIResponse, OpTaskManagementResponse, OpLoginResponse, OpTextResponse, OpDataIn, OpLogoutResponse, OpR2T, OpAsyncMessage, OpReject}
	names := map[string]bool{}
	for _, o := range append(requests, responses...) {
		names[o.String()] = true
		if strings.HasPrefix(o.String(), "opcode") {
			t.Errorf("%02x has no name", uint8(o))
		}
	}
	if len(names) != len(requests)+len(responses) {
		t.Errorf("two opcodes share a name: %v", names)
	}
	for _, o := range requests {
		if o.FromTarget() {
			t.Errorf("%v is a request", o)
		}
	}
	for _, o := range responses {
		if !o.FromTarget() {
			t.Errorf("%v is a response", o)
		}
	}
	if got := Opcode(0x1c).String(); got != "opcode 1Ch" {
		t.Errorf("an opcode without a name is %q", got)
	}
}
