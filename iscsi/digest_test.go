package iscsi

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// The examples of RFC 3720 B.4, bytes as they stand on the wire.
func TestDigest_RFC3720_B_4(t *testing.T) {
	ascending, descending := make([]byte, 32), make([]byte, 32)
	for i := range ascending {
		ascending[i], descending[i] = byte(i), byte(31-i)
	}
	read := BHS{0: 0x01, 1: 0xc0, 16: 0x14, 22: 0x04, 27: 0x14, 31: 0x18, 32: 0x28, 40: 0x02}
	for _, c := range []struct {
		name  string
		bytes []byte
		wire  string
	}{
		{"zeros", make([]byte, 32), "aa36918a"},
		{"ones", bytes.Repeat([]byte{0xff}, 32), "43aba862"},
		{"incrementing", ascending, "4e79dd46"},
		{"decrementing", descending, "5cdb3f11"},
		{"SCSI Read (10) command", read[:], "563a96d9"},
		{"nothing", nil, "00000000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			want, _ := hex.DecodeString(c.wire)
			whole := Digest(0).Update(c.bytes)
			if got := whole.Append(nil); !bytes.Equal(got, want) {
				t.Errorf("on the wire: %x, want %x", got, want)
			}
			for cut := range c.bytes {
				if got := Digest(0).Update(c.bytes[:cut]).Update(c.bytes[cut:]); got != whole {
					t.Fatalf("cut at %d: %08x, whole %08x", cut, got, whole)
				}
			}
			if got := DigestFrom(want); got != whole || CRC32C(c.bytes) != uint32(whole) {
				t.Errorf("DigestFrom %08x, CRC32C %08x, want %08x", got, CRC32C(c.bytes), whole)
			}
			var put [4]byte
			if whole.Put(put[:]); !bytes.Equal(put[:], want) {
				t.Errorf("Put wrote %x, want %x", put, want)
			}
		})
	}
}

// The data digest covers the padding (RFC 7143 11.2.3).
func TestDigestUpdatePadding(t *testing.T) {
	for n := range 9 {
		p := bytes.Repeat([]byte{7}, n)
		padded := append(append([]byte(nil), p...), make([]byte, Pad(n))...)
		if got, want := Digest(0).Update(p).UpdatePadding(n), Digest(0).Update(padded); got != want {
			t.Errorf("%d bytes: %08x, want %08x", n, got, want)
		}
	}
}

func TestDigestAllocatesNothing(t *testing.T) {
	p := make([]byte, 4096)
	if n := testing.AllocsPerRun(100, func() { Digest(0).Update(p).UpdatePadding(1) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
