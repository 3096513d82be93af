package isns

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func unhex(t testing.TB, words string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(words), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A DevDereg of the entity "e1" by the node "iqn.a", byte for byte.
const deregistration = "0001 0004 0024 8c00 0007 0000" +
	"00000020 00000008 69716e2e 61000000" + // source
	"00000000 00000000" + // delimiter
	"00000001 00000004 65310000" // operating: the entity

func TestMessage_RFC4171_5_1(t *testing.T) {
	want := unhex(t, deregistration)
	m := Message{Function: DevDereg, Flags: FromClient, Transaction: 7, Payload: request("iqn.a", nil, []Attribute{Text(EntityIdentifier, "e1")})}
	if got := m.Append(nil); !bytes.Equal(got, want) {
		t.Errorf("written as\n%x, want\n%x", got, want)
	}
	got, err := ReadMessage(bytes.NewReader(want))
	if err != nil || !reflect.DeepEqual(got, m) {
		t.Errorf("read as %+v, %v; want %+v", got, err, m)
	}
	for n := range want {
		_, err := ReadMessage(bytes.NewReader(want[:n]))
		if n == 0 && err != io.EOF || n > 0 && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("the first %d bytes: %v", n, err)
		}
	}
}

func TestMessageOfSeveralPDUs_RFC4171_5_1_6(t *testing.T) {
	for _, n := range []int{0, 4, maxPayload, maxPayload + 4, 2 * maxPayload, maxMessage} {
		m := Message{Function: DevAttrQry.Response(), Flags: FromServer, Transaction: 65535, Payload: bytes.Repeat([]byte{1, 2, 3, 4}, n/4)}
		r := bytes.NewReader(m.Append([]byte{}))
		got, err := ReadMessage(r)
		if err != nil || !bytes.Equal(got.Payload, m.Payload) || got.Function != m.Function || got.Flags != m.Flags || got.Transaction != m.Transaction || r.Len() != 0 {
			t.Errorf("%d bytes come back as %d, %v", n, len(got.Payload), err)
		}
	}
}

func TestMessageIllegal_RFC4171_5_1(t *testing.T) {
	one := "0001 8001 0004 4c00 0001 0000 00000000"
	for _, c := range []struct{ name, wire string }{
		{"another version", strings.Replace(one, "0001", "0002", 1)},
		{"no multiple of four", strings.Replace(one, "0004", "0003", 1)},
		{"a signature", strings.Replace(one, "4c00", "6c00", 1)},
		{"no first PDU", strings.Replace(one, "4c00", "4800", 1)},
		{"a sequence that does not begin at 0", strings.Replace(one, "0001 0000", "0001 0001", 1)},
		{"another message between", "0001 8001 0004 4400 0001 0000 00000000 0001 8002 0004 4800 0001 0001 00000000"},
		{"another transaction between", "0001 8001 0004 4400 0001 0000 00000000 0001 8001 0004 4800 0002 0001 00000000"},
		{"a gap", "0001 8001 0004 4400 0001 0000 00000000 0001 8001 0004 4800 0001 0002 00000000"},
		{"two beginnings", "0001 8001 0004 4400 0001 0000 00000000 0001 8001 0004 4c00 0001 0001 00000000"},
		{"empty PDUs without end", "0001 8001 0000 4400 0001 0000 0001 8001 0000 4000 0001 0001"},
	} {
		if m, err := ReadMessage(bytes.NewReader(unhex(t, c.wire))); err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: read as %+v, %v", c.name, m, err)
		}
	}
	long := Message{Function: DevAttrQry.Response(), Payload: make([]byte, maxMessage+4)}
	if _, err := ReadMessage(bytes.NewReader(long.Append(nil))); err == nil {
		t.Error("a message without bound is read")
	}
}

func TestAttributes_RFC4171_5_3_1(t *testing.T) {
	all := []Attribute{
		Text(NodeName, "iqn.2026-11.org.example:disk"), Text(NodeAlias, ""), Text(EntityIdentifier, "abc"), Text(EntityIdentifier, "abcd"),
		Number(GroupTag, 0x01020304), Address(PortalAddress, netip.MustParseAddr("192.0.2.1")), Address(PortalAddress, netip.MustParseAddr("2001:db8::1")), Empty(Delimiter),
	}
	wire := AppendAttributes(nil, all...)
	got, err := ParseAttributes(wire)
	if err != nil || len(got) != len(all) {
		t.Fatalf("%v, %v", got, err)
	}
	for i, a := range all {
		if got[i].Tag != a.Tag || !bytes.Equal(got[i].Value, a.Value) {
			t.Errorf("attribute %d is %v, want %v", i, got[i], a)
		}
		if len(a.Value)%4 != 0 {
			t.Errorf("attribute %d has %d bytes", i, len(a.Value))
		}
	}
	for i, want := range []string{"iqn.2026-11.org.example:disk", "", "abc", "abcd"} {
		if text, ok := got[i].Text(); !ok || text != want {
			t.Errorf("text %d is %q, want %q", i, text, want)
		}
	}
	if n, ok := got[4].Number(); !ok || n != 0x01020304 {
		t.Errorf("the number is %x", n)
	}
	if want := unhex(t, "00000000 00000000 0000ffff c0000201"); !bytes.Equal(got[5].Value, want) {
		t.Errorf("192.0.2.1 is written as %x (RFC 4171 6.3.1)", got[5].Value)
	}
	for i, want := range map[int]string{5: "192.0.2.1", 6: "2001:db8::1"} {
		if a, ok := got[i].Address(); !ok || a.String() != want {
			t.Errorf("address %d is %v, want %s", i, a, want)
		}
	}
	whole := map[int]bool{0: true}
	for n := range all {
		whole[len(AppendAttributes(nil, all[:n]...))] = true
	}
	for n := range wire {
		if _, err := ParseAttributes(wire[:n]); (err == nil) != whole[n] {
			t.Errorf("the first %d bytes: %v", n, err)
		}
	}
	for _, c := range []struct{ name, wire string }{
		{"five bytes", "00000020 00000005 61000000 00000000"},
		{"more bytes than there are", "00000020 fffffffc 61000000"},
	} {
		if a, err := ParseAttributes(unhex(t, c.wire)); err == nil {
			t.Errorf("%s are read as %v", c.name, a)
		}
	}
	if _, ok := (Attribute{NodeName, []byte("abcd")}).Text(); ok {
		t.Error("a text without an end is one")
	}
}

// scnWire is a notice for "iqn.a": "iqn.b" was added, and with a Discovery Domain behind it "iqn.c" removed.
const scnWire = "00000020 00000008 69716e2e 61000000 00000004 00000008 00000000 00000001" +
	"00000023 00000004 00000008 00000020 00000008 69716e2e 62000000" +
	"00000023 00000004 00000010 00000020 00000008 69716e2e 63000000 00000811 00000004 00000001"

func TestStateChangeNotification_RFC4171_5_6_5_8(t *testing.T) {
	var s stateChange
	if err := s.unmarshal(unhex(t, scnWire)); err != nil {
		t.Fatal(err)
	}
	if want := (stateChange{"iqn.a", []nodeChange{{ObjectAdded, "iqn.b"}, {ObjectRemoved, "iqn.c"}}}); !reflect.DeepEqual(s, want) {
		t.Errorf("read as %+v, want %+v", s, want)
	}
	for _, wrong := range []string{
		"",
		"00000020 00000008 69716e2e 61000000",
		"00000020 00000004 61626364 00000004 00000008 00000000 00000001", // no end of the text
		"00000020 00000008 69716e2e 61000000 00000004 00000008 00000000 00000001 00000023 00000004 00000008",
		"00000020 00000008 69716e2e 61000000 00000004 00000008 00000000 00000001 00000023 00000000",
	} {
		if err := new(stateChange).unmarshal(unhex(t, wrong)); err == nil {
			t.Errorf("%q is taken for a notice", wrong)
		}
	}
}

func FuzzMessage(f *testing.F) {
	f.Add(unhex(f, deregistration))
	f.Add(unhex(f, "0001 8001 0004 4400 0001 0000 00000000 0001 8001 0004 4800 0001 0001 00000000"))
	f.Fuzz(func(t *testing.T, wire []byte) {
		r := bytes.NewReader(wire)
		m, err := ReadMessage(r)
		if err != nil {
			return
		}
		again, err := ReadMessage(bytes.NewReader(m.Append(nil)))
		if err != nil || again.Function != m.Function || again.Transaction != m.Transaction || again.Flags != m.Flags || !bytes.Equal(again.Payload, m.Payload) {
			t.Fatalf("%+v comes back as %+v, %v", m, again, err)
		}
		var answered response
		if err := answered.unmarshal(m.Payload); err == nil {
			answered.strike(missed{"a": true})
		}
	})
}

func FuzzNotice(f *testing.F) {
	f.Add(unhex(f, scnWire))
	f.Add(AppendAttributes(nil, Attribute{Timestamp, make([]byte, 8)}, Text(EntityIdentifier, "e"), Address(PortalAddress, netip.IPv6Loopback()), Number(PortalPort, 3260)))
	f.Fuzz(func(t *testing.T, payload []byte) {
		c := &Client{options: Options{Tell: func(Event) {}}, want: Registration{Entity: "e", Nodes: []Node{{Name: "iqn.a"}}}, ours: map[string]struct{}{"iqn.a": {}}, used: map[string]struct{}{}, noticed: make(chan struct{}, 1)}
		for _, function := range []Function{SCN, ESI} {
			reply := c.hear(Message{Function: function, Payload: payload})
			if function == SCN && reply == nil {
				t.Fatal("a notice is not answered")
			}
			if reply != nil && len(reply.Payload) > len(payload)+512 {
				t.Fatalf("%d bytes are answered with %d", len(payload), len(reply.Payload))
			}
		}
	})
}
