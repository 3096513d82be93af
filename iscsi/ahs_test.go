package iscsi

import (
	"bytes"
	"errors"
	"testing"
)

// A 32-byte CDB: AHSLength is the CDB length less 15, and one byte is reserved.
func TestExtendedCDB_RFC7143_11_2_2_3(t *testing.T) {
	tail := []byte{16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31}
	ahs := AppendExtendedCDB(nil, tail)
	want := append([]byte{0x00, 0x11, 0x01, 0x00}, tail...)
	if !bytes.Equal(ahs, want) {
		t.Fatalf("on the wire %x, want %x", ahs, want)
	}
	got, err := ExtendedCDB(ahs)
	if err != nil || !bytes.Equal(got, tail) {
		t.Fatalf("%x, %v", got, err)
	}
	for n := 1; n < len(ahs); n++ {
		var field *FieldError
		if got, err := ExtendedCDB(ahs[:n]); !errors.As(err, &field) || got != nil {
			t.Errorf("the first %d bytes gave %x, %v", n, got, err)
		}
	}
	if n := testing.AllocsPerRun(10, func() { _, _ = ExtendedCDB(ahs) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestExtendedCDBLengths_RFC7143_11_2_2_3(t *testing.T) {
	for n := 1; n <= MaxExtendedCDBLength; n++ {
		tail := bytes.Repeat([]byte{byte(n)}, n)
		ahs := AppendExtendedCDB(nil, tail)
		if len(ahs)%4 != 0 {
			t.Fatalf("%d bytes of CDB make %d bytes of AHS", n, len(ahs))
		}
		if got, err := ExtendedCDB(ahs); err != nil || !bytes.Equal(got, tail) {
			t.Fatalf("%d bytes: %x, %v", n, got, err)
		}
	}
	for name, ahs := range map[string][]byte{
		"no byte of CDB": AppendAHS(nil, AHSExtendedCDB, []byte{0}),
		"nothing at all": AppendAHS(nil, AHSExtendedCDB, nil),
		"261 bytes":      AppendAHS(nil, AHSExtendedCDB, make([]byte, MaxExtendedCDBLength+2)),
		"two of them":    AppendExtendedCDB(AppendExtendedCDB(nil, []byte{1, 2, 3, 4}), []byte{5}),
		"length FFFFh":   {0xff, 0xff, 0x01, 0x00},
	} {
		if got, err := ExtendedCDB(ahs); err == nil {
			t.Errorf("%s: taken as %x", name, got)
		}
	}
}

func TestAHSSequence_RFC7143_11_2_2(t *testing.T) {
	ahs := AppendAHS(nil, 60, []byte("xyz")) // outside iSCSI: skipped
	ahs = AppendAHS(ahs, AHSBidirectionalReadLength, []byte{0, 0x01, 0x02, 0x03, 0x04})
	ahs = AppendExtendedCDB(ahs, []byte("tail"))
	if got, err := ExtendedCDB(ahs); err != nil || string(got) != "tail" {
		t.Errorf("extended CDB %q, %v", got, err)
	}
	if n, ok, err := BidirectionalReadLength(ahs); err != nil || !ok || n != 0x01020304 {
		t.Errorf("read length %#x, %v, %v", n, ok, err)
	}
	ahs[2] |= 0xc0 // the two high bits of the type are reserved
	if s, _, err := NextAHS(ahs); err != nil || s.Type != 60 || string(s.Data) != "xyz" {
		t.Errorf("%+v, %v", s, err)
	}
	if got, err := ExtendedCDB(nil); got != nil || err != nil {
		t.Errorf("no AHS gave %x, %v", got, err)
	}
	if n, ok, err := BidirectionalReadLength(nil); n != 0 || ok || err != nil {
		t.Errorf("no AHS gave %d, %v, %v", n, ok, err)
	}
	for _, bad := range [][]byte{
		AppendAHS(nil, AHSBidirectionalReadLength, []byte{0, 1, 2, 3}),
		AppendAHS(nil, AHSBidirectionalReadLength, []byte{0, 1, 2, 3, 4, 5}),
		{0, 9, 2, 0}, {0},
	} {
		if n, ok, err := BidirectionalReadLength(bad); err == nil || ok || n != 0 {
			t.Errorf("%x gave %d, %v", bad, n, ok)
		}
	}
}

func TestAppendAHSRefusesTooMuch(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("an AHS longer than any PDU was made")
		}
	}()
	AppendAHS(nil, 60, make([]byte, MaxAHSLength))
}

// What the segments hold is what they were made of, and reading them ends.
func FuzzAHS(f *testing.F) {
	f.Add(AppendExtendedCDB(nil, []byte("0123456789abcdef")))
	f.Add(AppendAHS(AppendAHS(nil, 60, []byte("x")), AHSBidirectionalReadLength, []byte{0, 0, 0, 2, 0}))
	f.Add([]byte{0, 0, 0})
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) > MaxAHSLength {
			return
		}
		var again []byte
		for rest := p; len(rest) > 0; {
			s, next, err := NextAHS(rest)
			if err != nil {
				if _, err := ExtendedCDB(p); err == nil {
					t.Fatalf("ExtendedCDB took %x, NextAHS does not", p)
				}
				return
			}
			if len(next) >= len(rest) {
				t.Fatal("no step forward")
			}
			again = AppendAHS(again, s.Type, s.Data)
			rest = next
		}
		if len(again) < len(p) || len(again)-len(p) > 3 { // at most the padding of the last one was missing
			t.Fatalf("%x came back as %x", p, again)
		}
		tail, err := ExtendedCDB(p)
		tailAgain, errAgain := ExtendedCDB(again)
		if !bytes.Equal(tail, tailAgain) || (err == nil) != (errAgain == nil) || len(tail) > MaxExtendedCDBLength {
			t.Fatalf("%x, %v and %x, %v", tail, err, tailAgain, errAgain)
		}
	})
}
