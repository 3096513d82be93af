package initiator

import (
	"errors"
	"fmt"
	"io"

	"github.com/isantarget/isantarget/iscsi"
)

// A PDU is a header with what follows it, digests and padding aside.
type PDU struct {
	BHS  iscsi.BHS
	AHS  []byte // with its padding
	Data []byte // without its padding
}

// Faults are what is wrong with the form of a PDU that is sent, as a set of bits.
type Faults uint

// The faults that Send knows.
const (
	BadHeaderDigest Faults = 1 << iota // its bits are turned over
	BadDataDigest                      // its bits are turned over
	NoPadding                          // the data segment ends where its bytes end
	FilledPadding                      // the padding is not zero; the digest covers it
	LengthsAsGiven                     // DataSegmentLength and TotalAHSLength stay as the header has them
)

// An Edit changes a PDU on its way out and says with which faults it leaves.
type Edit func(p *PDU) Faults

// apply runs e, if there is one.
func (e Edit) apply(p *PDU) Faults {
	if e == nil {
		return 0
	}
	return e(p)
}

// Digests says which digests a connection has agreed on.
type Digests struct {
	Header, Data bool
}

// Encode returns p as it stands on the wire.
func (p *PDU) Encode(d Digests, faults Faults) []byte {
	h := p.BHS
	if faults&LengthsAsGiven == 0 {
		h.SetTotalAHSLength(len(p.AHS))
		h.SetDataSegmentLength(len(p.Data))
	}
	wire := append(h[:], p.AHS...)
	if d.Header {
		digest := iscsi.Digest(iscsi.CRC32C(wire))
		if faults&BadHeaderDigest != 0 {
			digest = ^digest
		}
		wire = digest.Append(wire)
	}
	if len(p.Data) == 0 {
		return wire
	}
	start := len(wire)
	wire = append(wire, p.Data...)
	if faults&NoPadding == 0 {
		var fill byte
		if faults&FilledPadding != 0 {
			fill = 0xa5
		}
		for range iscsi.Pad(len(p.Data)) {
			wire = append(wire, fill)
		}
	}
	if d.Data {
		digest := iscsi.Digest(iscsi.CRC32C(wire[start:]))
		if faults&BadDataDigest != 0 {
			digest = ^digest
		}
		wire = digest.Append(wire)
	}
	return wire
}

// readPDU reads one PDU. limit bounds its data segment: longer ones are a violation,
// not an allocation.
func readPDU(r io.Reader, d Digests, limit int) (*PDU, error) {
	p := new(PDU)
	if _, err := io.ReadFull(r, p.BHS[:]); err != nil {
		return nil, err
	}
	p.AHS = make([]byte, p.BHS.TotalAHSLength())
	if err := readRest(r, p.AHS); err != nil {
		return nil, err
	}
	if d.Header {
		if err := readDigest(r, iscsi.Digest(0).Update(p.BHS[:]).Update(p.AHS), "header digest"); err != nil {
			return nil, err
		}
	}
	n := p.BHS.DataSegmentLength()
	if n > limit {
		return nil, violation("13.12", "%v with %d bytes of data, MaxRecvDataSegmentLength is %d", p.BHS.Opcode(), n, limit)
	}
	if n == 0 {
		return p, nil
	}
	padded := make([]byte, n+iscsi.Pad(n))
	if err := readRest(r, padded); err != nil {
		return nil, err
	}
	p.Data = padded[:n:n]
	for _, b := range padded[n:] {
		if b != 0 {
			return nil, violation("11.1", "%v with padding %#x", p.BHS.Opcode(), padded[n:])
		}
	}
	if d.Data {
		return p, readDigest(r, iscsi.Digest(0).Update(padded), "data digest")
	}
	return p, nil
}

func readDigest(r io.Reader, want iscsi.Digest, what string) error {
	var wire [iscsi.DigestLength]byte
	if err := readRest(r, wire[:]); err != nil {
		return err
	}
	if got := iscsi.DigestFrom(wire[:]); got != want {
		return violation("11.2.3", "%s %08x, computed %08x", what, uint32(got), uint32(want))
	}
	return nil
}

// readRest fills p from a PDU under way: its end is unexpected.
func readRest(r io.Reader, p []byte) error {
	_, err := io.ReadFull(r, p)
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("the target closed within a PDU: %w", io.ErrUnexpectedEOF)
	}
	return err
}
