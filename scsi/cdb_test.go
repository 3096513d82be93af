package scsi

import "testing"

func TestCDBAccessorsAreTotal(t *testing.T) {
	whole := CDB{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef}
	if got := whole.Uint64(0); got != 0x0123456789abcdef {
		t.Errorf("Uint64: %#x", got)
	}
	if got := whole.Uint24(1); got != 0x234567 {
		t.Errorf("Uint24: %#x", got)
	}
	// What is beyond the end reads as zero, whatever the width.
	for n := range len(whole) + 1 {
		c := whole[:n]
		var want uint64
		for i := range 8 {
			want = want<<8 | uint64(c.Byte(i))
		}
		if got := c.Uint64(0); got != want {
			t.Errorf("Uint64 of %d bytes: %#x, want %#x", n, got, want)
		}
		if got := c.Uint32(2); got != uint32(want>>16) {
			t.Errorf("Uint32 of %d bytes: %#x, want %#x", n, got, uint32(want>>16))
		}
		if got := c.Uint16(5); got != uint16(want>>8) {
			t.Errorf("Uint16 of %d bytes: %#x, want %#x", n, got, uint16(want>>8))
		}
	}
	if CDB(nil).Byte(-1) != 0 || CDB(nil).Control() != 0 || CDB(nil).ServiceAction() != 0 {
		t.Error("an empty CDB has bytes")
	}
}

func TestCDBServiceActionAndControl_SPC4_4_2_5(t *testing.T) {
	read32 := make(CDB, 32)
	read32[0], read32[1], read32[8], read32[9] = 0x7f, 0x04, 0x01, 0x09
	if got := read32.ServiceAction(); got != 0x109 {
		t.Errorf("service action of a variable length CDB: %#x", got)
	}
	if !read32.NACA() {
		t.Error("NACA of a variable length CDB is not seen in byte 1")
	}
	in := CDB{0x9e, 0xf0 | 0x10, 15: 0x04}
	if got := in.ServiceAction(); got != 0x10 {
		t.Errorf("service action: %#x", got)
	}
	if !in.NACA() {
		t.Error("NACA is not seen in the last byte")
	}
}

func FuzzCDB(f *testing.F) {
	f.Add([]byte{0x28, 0, 0, 0}, 3)
	f.Add([]byte{0x7f}, -9)
	f.Fuzz(func(_ *testing.T, b []byte, i int) {
		c := CDB(b)
		i %= 1 << 20
		_, _, _, _, _ = c.Byte(i), c.Uint16(i), c.Uint24(i), c.Uint32(i), c.Uint64(i)
		_, _, _ = c.ServiceAction(), c.Control(), c.NACA()
	})
}
