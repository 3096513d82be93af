package isns

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Port is the TCP port that IANA gave to iSNS (RFC 4171 5.2.2).
const Port = 3205

const (
	version    = 1
	headerSize = 12

	// maxPayload is what one PDU carries: its length is a multiple of four in 16 bits.
	maxPayload = 65532
	// maxMessage bounds a message of several PDUs. What we ask for is answered in less.
	maxMessage = 256 << 10
)

// Flags of a PDU (RFC 4171 5.1.4).
type Flags uint16

// The flags.
const (
	FromClient    Flags = 1 << 15
	FromServer    Flags = 1 << 14
	Authenticated Flags = 1 << 13 // an authentication block stands behind the payload
	Replace       Flags = 1 << 12 // of DevAttrReg: what was registered before is to go
	LastPDU       Flags = 1 << 11
	FirstPDU      Flags = 1 << 10
)

// A Message is a request or an answer: one PDU, or several (RFC 4171 5.1).
type Message struct {
	Function    Function
	Flags       Flags // but FirstPDU and LastPDU
	Transaction uint16
	Payload     []byte // a multiple of four bytes
}

// Append appends m as it goes over the wire.
func (m *Message) Append(to []byte) []byte {
	left, flags := m.Payload, m.Flags&^LastPDU|FirstPDU
	for sequence := uint16(0); ; sequence++ {
		part := left[:min(len(left), maxPayload)]
		left = left[len(part):]
		if len(left) == 0 {
			flags |= LastPDU
		}
		for _, field := range []uint16{version, uint16(m.Function), uint16(len(part)), uint16(flags), m.Transaction, sequence} {
			to = binary.BigEndian.AppendUint16(to, field)
		}
		to = append(to, part...)
		if len(left) == 0 {
			return to
		}
		flags &^= FirstPDU
	}
}

// ReadMessage reads one message, of up to 256 KiB. io.EOF: there is none.
func ReadMessage(r io.Reader) (Message, error) {
	var m Message
	for sequence := uint16(0); ; sequence++ {
		var h [headerSize]byte
		if _, err := io.ReadFull(r, h[:]); err != nil {
			if errors.Is(err, io.EOF) && sequence > 0 {
				err = io.ErrUnexpectedEOF
			}
			return Message{}, err
		}
		last, n, err := m.header(&h, sequence)
		if err != nil {
			return Message{}, err
		}
		at := len(m.Payload)
		if at+n > maxMessage {
			return Message{}, fmt.Errorf("isns: a message of more than %d bytes", maxMessage)
		}
		m.Payload = append(m.Payload, make([]byte, n)...)
		if _, err := io.ReadFull(r, m.Payload[at:]); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return Message{}, err
		}
		if last {
			return m, nil
		}
	}
}

// header reads the header of a PDU of m: whether it is the last one, and how many bytes
// follow.
func (m *Message) header(h *[headerSize]byte, sequence uint16) (last bool, n int, err error) {
	field := func(i int) uint16 { return binary.BigEndian.Uint16(h[2*i:]) }
	function, flags := Function(field(1)), Flags(field(3))
	n = int(field(2))
	switch {
	case field(0) != version:
		return false, 0, fmt.Errorf("isns: version %d instead of %d (RFC 4171 5.1.1)", field(0), version)
	case n%4 != 0:
		return false, 0, fmt.Errorf("isns: a PDU of %d bytes, which is no multiple of 4 (RFC 4171 5.1.3)", n)
	case flags&Authenticated != 0:
		return false, 0, errors.New("isns: the message is signed, and this client knows no keys")
	case flags&FirstPDU != 0 != (sequence == 0), field(5) != sequence:
		return false, 0, fmt.Errorf("isns: PDU %d of a message came where %d was due (RFC 4171 5.1.6)", field(5), sequence)
	case sequence > 0 && (function != m.Function || field(4) != m.Transaction):
		return false, 0, fmt.Errorf("isns: %v came in the middle of %v", function, m.Function)
	case sequence > 0 && n == 0:
		return false, 0, errors.New("isns: an empty PDU that continues a message")
	}
	m.Function, m.Transaction = function, field(4)
	m.Flags = flags &^ (FirstPDU | LastPDU)
	return flags&LastPDU != 0, n, nil
}

// request is the payload of a request (RFC 4171 5.6.1): who asks, the key of what it is
// about, and what is to be done with it. A DevDereg has no key, but the delimiter.
func request(source string, key, operating []Attribute) []byte {
	p := AppendAttributes(nil, Text(NodeName, source))
	p = AppendAttributes(p, key...)
	p = AppendAttributes(p, Empty(Delimiter))
	return AppendAttributes(p, operating...)
}

// A response is the payload of an answer (RFC 4171 5.7.1).
type response struct {
	status    Status
	key       []Attribute // up to the delimiter
	operating []Attribute // behind it
}

func (r *response) unmarshal(payload []byte) error {
	if len(payload) < 4 {
		return errors.New("isns: an answer without a status (RFC 4171 5.7.1)")
	}
	r.status = Status(binary.BigEndian.Uint32(payload))
	all, err := ParseAttributes(payload[4:])
	if err != nil {
		if r.status != Successful {
			return nil // what stands behind an error need not be understood
		}
		return err
	}
	r.key, r.operating = all, nil
	for i, a := range all {
		if a.Tag == Delimiter {
			r.key, r.operating = all[:i], all[i+1:]
			break
		}
	}
	return nil
}

// answer is the payload of our answer to a request of the server.
func answer(status Status, attributes ...Attribute) []byte {
	return AppendAttributes(binary.BigEndian.AppendUint32(nil, uint32(status)), attributes...)
}
