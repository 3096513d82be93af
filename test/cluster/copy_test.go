package cluster

import (
	"bytes"
	"encoding/binary"
	"os"
	"testing"

	"github.com/isantarget/isantarget/test/daemon"
	"github.com/isantarget/isantarget/test/guest"
)

// sector is the logical block length of the disks here.
const sector = 512

// compareAndWrite: it writes what it should, or nothing, and says where the first difference is.
func compareAndWrite(t *testing.T, g *guest.Guest) {
	const at = 24 // blocks
	argument, image := lun(t, "disk", "64MiB")
	a := login(t, g, daemon.Start(t, daemon.Config{LUNs: []string{argument}}), nameOne, 1)
	want := func(value byte, blocks int) {
		t.Helper()
		if got := part(t, image, at*sector, 8*sector); !bytes.Equal(got, append(bytes.Repeat([]byte{value}, blocks*sector), make([]byte, (8-blocks)*sector)...)) {
			t.Fatalf("the image does not hold %d blocks of %#02x and then nothing:\n% x", blocks, value, got)
		}
	}
	a.run(`bytes() { head -c "$2" /dev/zero | tr '\0' "\\$1"; } # bytes OCTAL COUNT
		{ bytes 0 512; bytes 21 512; } >/run/first
		{ bytes 21 100; bytes 22 412; bytes 23 512; } >/run/differs
		{ bytes 21 512; bytes 0 1536; bytes 24 2048; } >/run/four`)
	a.run("sg_compare_and_write --in=/run/first --lba=%d $disk", at)
	want(0o21, 1)
	if status, out := a.try("sg_compare_and_write --in=/run/differs --lba=%d -v $disk 2>&1", at); status != 14 { // SG_LIB_CAT_MISCOMPARE
		t.Fatalf("a difference ended with status %d, want a miscompare:\n%s", status, out)
	} else {
		contains(t, out, "Miscompare during verify operation", "Info fld=0x64")
	}
	want(0o21, 1)
	a.run("sg_compare_and_write --in=/run/four --num=4 --xferlen=4096 --lba=%d $disk", at)
	want(0o24, 4)
}

// copyOffload: between two disks of one target, by EXTENDED COPY and by a token, and the bytes do not come to the node.
func copyOffload(t *testing.T, g *guest.Guest) {
	const mib = 1 << 20
	const skip, count = 3 * mib / sector, 4 * mib / sector // of the source, in blocks
	source, from := lun(t, "source", "64MiB")
	destination, to := lun(t, "destination", "64MiB")
	a := login(t, g, daemon.Start(t, daemon.Config{LUNs: []string{source, destination}}), nameOne, 2)
	a.run(`echo 'second=${disks#* }
		written() { awk "{ print \$7 }" /sys/block/${second##*/}/stat; }' >>/run/functions
		dd if=/dev/urandom of=$disk bs=512 seek=%d count=%d oflag=direct iflag=fullblock status=none`, skip, count)
	offloaded := func(seek int64, copies func()) {
		t.Helper()
		copies()
		a.run(`[ "$(written)" = 0 ] || die "the node itself has written $(written) sectors"`)
		if !bytes.Equal(part(t, from, skip*sector, count*sector), part(t, to, seek*sector, count*sector)) {
			t.Fatalf("blocks %d to %d of the destination differ from the source", seek, seek+count)
		}
		for _, beside := range []int64{seek - 1, seek + count} {
			if !bytes.Equal(part(t, to, beside*sector, sector), make([]byte, sector)) {
				t.Fatalf("there is something beside the destination, in block %d", beside)
			}
		}
	}
	const first, second = 16 * mib / sector, 32 * mib / sector
	offloaded(first, func() {
		a.run("ddpt --xcopy if=$disk of=$second bs=512 skip=%d seek=%d count=%d 2>&1", skip, first, count)
	})
	offloaded(second, func() { byToken(a, g, skip, second, count) })
}

// byToken copies by POPULATE TOKEN and WRITE USING TOKEN (SBC-3 5.7 and 5.50). The ddpt of Debian 12 puts the range
// descriptors of both one byte before their place, so the parameter lists are made here.
func byToken(a *node, g *guest.Guest, skip, seek uint64, count uint32) {
	a.t.Helper()
	descriptor := func(list []byte, lba uint64) []byte {
		return append(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(list, lba), count), 0, 0, 0, 0)
	}
	send := func(name, action, to string, list []byte) {
		a.t.Helper()
		binary.BigEndian.PutUint16(list, uint16(len(list)-2))
		if err := os.WriteFile(g.Shared(name), list, 0o600); err != nil {
			a.t.Fatal(err)
		}
		a.run("sg_raw -s %d -i /lab/%s %s 83 %s 00 00 00 00 00 00 00 07 00 00 %02x %02x 00 00 2>&1", len(list), name, to, action, len(list)>>8, len(list)&0xff)
	}
	send("populate", "10", "$disk", descriptor([]byte{15: 16}, skip))
	a.run("sg_raw -r 1024 -o /lab/information $disk 84 07 00 00 00 07 00 00 00 00 00 00 04 00 00 00 2>&1")
	information, err := os.ReadFile(g.Shared("information"))
	if err != nil {
		a.t.Fatal(err)
	}
	token := information[32+int(information[13])+6:][:512] // SPC-4 6.30
	send("write", "11", "$second", descriptor(append(append(make([]byte, 16), token...), 0, 0, 0, 0, 0, 0, 0, 16), seek))
}

// part returns bytes of an image.
func part(t *testing.T, image string, offset, length int64) []byte {
	t.Helper()
	f, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, length)
	if _, err := f.ReadAt(b, offset); err != nil {
		t.Fatal(err)
	}
	return b
}
