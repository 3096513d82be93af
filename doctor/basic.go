package doctor

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/isantarget/isantarget/scsi"
)

func basicChecks() []Check {
	return []Check{
		{
			ID: "inquiry", For: []Consumer{Everybody}, scope: ofUnit, run: checkInquiry,
			Title:  "standard INQUIRY data tells of a disk, SPC-3 or later, with command queueing and printable names",
			Breaks: "hosts take it for something else, send one command at a time, or do not ask for VPD pages",
			Remedy: "update the target",
		}, {
			ID: "ready", For: []Consumer{Everybody, Multipath}, scope: ofUnit, run: checkReady,
			Title:  "TEST UNIT READY answers GOOD, each unit attention is told once, and INQUIRY does not stumble over it (SAM-5 5.14)",
			Breaks: "multipath's checker holds every path for failed; hosts find no disk",
			Remedy: "see what the unit waits for: a medium, a format, a path in another access state",
		}, {
			ID: "capacity", For: []Consumer{Everybody}, scope: ofUnit, run: checkCapacity,
			Title:  "READ CAPACITY (10) and (16) agree",
			Breaks: "a disk of more than 2 TiB is cut, or hosts disagree where it ends",
			Remedy: "update the target",
		}, {
			ID: "last-block", For: []Consumer{Everybody}, scope: ofUnit, run: checkLastBlock,
			Title:  "READ (16) reads the last block as READ (10) does, and what lies behind it is refused with LBA OUT OF RANGE",
			Breaks: "the backup GPT, which is in the last blocks, is lost; partitions beyond 2 TiB cannot be read; errors are taken for data",
			Remedy: "update the target; see that the image is as long as the target says",
		}, {
			ID: "large-read", For: []Consumer{Everybody}, scope: ofUnit, run: checkLargeRead,
			Title:  "a READ of 1 MiB, or of MAXIMUM TRANSFER LENGTH, brings what small ones bring",
			Breaks: "sequential reading, backups, boot: hosts ask for as much as block limits allow",
			Remedy: "set max_sectors_kb of the hosts below what works; update the target",
		}, {
			ID: "invalid-field", For: []Consumer{Everybody, VMware}, scope: ofUnit, run: checkInvalidField,
			Title:  "what is not supported is refused with ILLEGAL REQUEST",
			Breaks: "hosts find out by asking: they believe in what is not there, or reset the unit",
			Remedy: "update the target",
		}, {
			ID: "request-sense", For: []Consumer{Everybody}, scope: ofUnit, run: checkRequestSense,
			Title:  "REQUEST SENSE answers with sense data, and nothing is wrong",
			Breaks: "hosts read it after errors, and see none or an old one",
			Remedy: "update the target",
		}, {
			ID: "mode-sense", For: []Consumer{WindowsCluster, Everybody}, scope: ofUnit, run: checkModeSense,
			Title:  "MODE SENSE (6) and (10) agree, and have the caching page",
			Breaks: "hosts do not learn whether the disk is write protected or has a volatile cache: flushes are left out, Windows warns, and a loss of power loses data",
			Remedy: "update the target",
		}, {
			ID: "flush", For: []Consumer{Everybody}, scope: ofUnit, run: checkFlush,
			Title:  "a disk that tells of a volatile cache knows SYNCHRONIZE CACHE (10) and (16)",
			Breaks: "file systems and databases flush, and nothing is flushed: a loss of power loses what was committed",
			Remedy: "switch the write cache off in the target (WCE = 0)",
		}, {
			ID: "verify", For: []Consumer{Everybody}, scope: ofUnit, run: checkVerify,
			Title:  "VERIFY that is told to compare finds a difference",
			Breaks: "what checks after writing is told that all is well",
			Remedy: "read back and compare on the host",
		},
	}
}

func checkInquiry(x *examination) (string, error) {
	data, err := x.inquiry(standard)
	if err != nil {
		return "", err
	}
	vendor, product, revision := string(data[8:16]), string(data[16:32]), string(data[32:36])
	var wrong []string
	if data[0] != 0 {
		wrong = append(wrong, fmt.Sprintf("peripheral qualifier and device type are %02Xh, those of a disk are 00h", data[0]))
	}
	if data[2] < 5 {
		wrong = append(wrong, fmt.Sprintf("VERSION is %d, SPC-3 is 5", data[2]))
	}
	if data[3]&0xf != 2 {
		wrong = append(wrong, fmt.Sprintf("RESPONSE DATA FORMAT is %d, not 2", data[3]&0xf))
	}
	if data[7]&2 == 0 {
		wrong = append(wrong, "CMDQUE is 0: no command queueing")
	}
	if n := int(data[4]) + 5; n > 255 || n > len(data) {
		if len(data) < min(n, 255) {
			wrong = append(wrong, fmt.Sprintf("ADDITIONAL LENGTH is %d with %d bytes behind it", data[4], len(data)-5))
		}
	}
	for _, text := range []string{vendor, product, revision} {
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) || strings.TrimSpace(vendor) == "" {
			wrong = append(wrong, fmt.Sprintf("the names %q, %q, %q are not printable ASCII", vendor, product, revision))
			break
		}
	}
	if len(wrong) > 0 {
		return "", errors.New(strings.Join(wrong, "; "))
	}
	return fmt.Sprintf("%s %s %s", strings.TrimSpace(vendor), strings.TrimSpace(product), strings.TrimSpace(revision)), nil
}

func checkReady(x *examination) (string, error) {
	x.b.drop()
	if _, err := x.b.connection(); err != nil {
		return "", err
	}
	if _, err := x.b.execute("INQUIRY", inquiryCommand()); err != nil {
		return "", fmt.Errorf("the first command of a new session: %w", err)
	}
	heard, err := x.b.hear()
	if err != nil {
		return "", err
	}
	again, err := x.b.hear()
	if err != nil {
		return "", err
	}
	if len(again) > 0 {
		return "", fmt.Errorf("the unit attention %v is told again", again[0])
	}
	if len(heard) > 0 {
		return fmt.Sprintf("ready after %v", heard), nil
	}
	return "ready", nil
}

func checkCapacity(x *examination) (string, error) {
	c, err := x.capacity()
	if err != nil {
		return "", err
	}
	if !c.long {
		return "", errors.New("there is no READ CAPACITY (16)")
	}
	want := uint32(0xffffffff)
	if c.blocks <= 0xffffffff {
		want = uint32(c.blocks - 1)
	}
	if c.shortSaid != want {
		return "", fmt.Errorf("READ CAPACITY (10) says that the last block is %d, (16) says %d", c.shortSaid, c.blocks-1)
	}
	return fmt.Sprintf("%d blocks of %d bytes", c.blocks, c.size), nil
}

func checkLastBlock(x *examination) (string, error) {
	c, err := x.capacity()
	if err != nil {
		return "", err
	}
	last, err := x.a.run("READ (16) of the last block", blockCDB(0x88, 0, c.blocks-1, 1), nil, c.size)
	if err != nil {
		return "", err
	}
	if len(last) != c.size {
		return "", fmt.Errorf("READ (16) of the last block brings %d bytes of %d", len(last), c.size)
	}
	if c.blocks <= 1<<32 {
		short, err := x.a.run("READ (10) of the last block", blockCDB10(0x28, 0, c.blocks-1, 1), nil, c.size)
		if err != nil {
			return "", err
		}
		if !bytes.Equal(short, last) {
			return "", errors.New("READ (10) and READ (16) bring different data of the last block")
		}
	}
	for _, beyond := range []struct {
		lba    uint64
		blocks int
	}{{c.blocks, 1}, {c.blocks - 1, 2}} {
		name := fmt.Sprintf("READ (16) of %d blocks at %d, the unit having %d", beyond.blocks, beyond.lba, c.blocks)
		_, err := x.a.run(name, blockCDB(0x88, 0, beyond.lba, beyond.blocks), nil, beyond.blocks*c.size)
		if err == nil {
			return "", errors.New(name + " ends with GOOD")
		}
		if !hasCode(err, scsi.KeyIllegalRequest, scsi.ASCLogicalBlockAddressOutOfRange) {
			return "", err
		}
	}
	return "", nil
}

func checkLargeRead(x *examination) (string, error) {
	c, err := x.capacity()
	if err != nil {
		return "", err
	}
	blocks := uint64(pieceBytes / c.size)
	if page, err := x.inquiry(0xb0); err == nil {
		if most := uint64(uint32At(page, 8)); most > 0 {
			blocks = min(blocks, most)
		}
	}
	if blocks = min(blocks, c.blocks, 0xffff); blocks == 0 {
		return "", notChecked("the unit has no whole block of it")
	}
	n := int(blocks)
	large, err := x.a.read(0, n)
	if err != nil {
		return "", err
	}
	for _, at := range []int{0, n / 2, n - 1} {
		small, err := x.a.read(uint64(at), 1)
		if err != nil {
			return "", err
		}
		if !bytes.Equal(small, large[at*c.size:(at+1)*c.size]) {
			return "", fmt.Errorf("block %d differs, read alone and among %d", at, n)
		}
	}
	return fmt.Sprintf("%d KiB at once", n*c.size>>10), nil
}

func checkInvalidField(x *examination) (string, error) {
	// 7Fh is a reserved page code, 1Fh of 5Eh a reserved service action.
	for _, try := range []struct {
		name string
		cdb  []byte
	}{
		{"INQUIRY of the reserved VPD page 7Fh", []byte{0x12, 1, 0x7f, 0, 252, 0}},
		{"PERSISTENT RESERVE IN with a reserved service action", []byte{0x5e, 0x1f, 0, 0, 0, 0, 0, 0, 252, 0}},
	} {
		_, err := x.a.run(try.name, try.cdb, nil, 252)
		var c *condition
		switch {
		case err == nil:
			return "", errors.New(try.name + " ends with GOOD")
		case errors.As(err, &c) && (c.key == scsi.KeyIllegalRequest || c.status == scsi.ReservationConflict):
		default:
			return "", err
		}
	}
	return "", nil
}

func checkRequestSense(x *examination) (string, error) {
	if _, err := x.a.hear(); err != nil && !answered(err) {
		return "", err
	}
	data, err := x.a.run("REQUEST SENSE", []byte{0x03, 0, 0, 0, 252, 0}, nil, 252)
	if err != nil {
		return "", err
	}
	if byteAt(data, 0)&0x7e != 0x70 || len(data) < 8 {
		return "", fmt.Errorf("REQUEST SENSE brings %d bytes that are no sense data", len(data))
	}
	if key := scsi.SenseKey(byteAt(data, 2) & 0xf); key != scsi.KeyNoSense {
		return "", fmt.Errorf("REQUEST SENSE tells of %v, with nothing having failed", key)
	}
	return "", nil
}

// modePages takes MODE SENSE data apart: the device-specific parameter, and the pages by code.
func modePages(data []byte, header, parameter, descriptors int) (byte, map[byte][]byte, error) {
	if len(data) < header {
		return 0, nil, fmt.Errorf("%d bytes of mode parameters", len(data))
	}
	length := int(data[descriptors])
	if header == 8 {
		length = int(uint16At(data, descriptors))
	}
	if header+length > len(data) {
		return 0, nil, fmt.Errorf("BLOCK DESCRIPTOR LENGTH %d in %d bytes of mode parameters", length, len(data))
	}
	pages := map[byte][]byte{}
	for p := data[header+length:]; len(p) >= 2; {
		n := 2 + int(p[1])
		if p[0]&0x40 != 0 {
			n = 4 + int(uint16At(p, 2))
		}
		if n > len(p) {
			return 0, nil, fmt.Errorf("mode page %02Xh of %d bytes reaches beyond the %d that came", p[0]&0x3f, n, len(p))
		}
		if p[0]&0x40 == 0 {
			pages[p[0]&0x3f] = p[:n]
		}
		p = p[n:]
	}
	return data[parameter], pages, nil
}

func (x *examination) modeSense6() (byte, map[byte][]byte, error) {
	data, err := x.a.run("MODE SENSE (6)", []byte{0x1a, 0, 0x3f, 0, 255, 0}, nil, 255)
	if err != nil {
		return 0, nil, err
	}
	parameter, pages, err := modePages(data, 4, 2, 3)
	if err != nil {
		return 0, nil, fmt.Errorf("MODE SENSE (6): %w", err)
	}
	return parameter, pages, nil
}

func checkModeSense(x *examination) (string, error) {
	short, pages, err := x.modeSense6()
	if err != nil {
		return "", err
	}
	data, err := x.a.run("MODE SENSE (10)", []byte{0x5a, 0, 0x3f, 0, 0, 0, 0, 4, 0, 0}, nil, 1024)
	if err != nil {
		return "", err
	}
	long, pages10, err := modePages(data, 8, 3, 6)
	switch {
	case err != nil:
		return "", fmt.Errorf("MODE SENSE (10): %w", err)
	case short != long:
		return "", fmt.Errorf("the device-specific parameter is %02Xh by MODE SENSE (6), and %02Xh by (10)", short, long)
	case len(pages[0x08]) < 3 || len(pages10[0x08]) < 3:
		return "", errors.New("the caching mode page (08h) is missing")
	}
	words := []string{"writable", "no FUA", "no volatile cache"}
	if short&0x80 != 0 {
		words[0] = "write protected"
	}
	if short&0x10 != 0 {
		words[1] = "FUA"
	}
	if pages[0x08][2]&4 != 0 {
		words[2] = "a volatile cache"
	}
	return strings.Join(words, ", "), nil
}

func checkFlush(x *examination) (string, error) {
	_, pages, err := x.modeSense6()
	if err != nil && !answered(err) {
		return "", err
	}
	cached := byteAt(pages[0x08], 2)&4 != 0
	for name, cdb := range map[string][]byte{
		"SYNCHRONIZE CACHE (10)": {0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"SYNCHRONIZE CACHE (16)": {0x91, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
	} {
		if _, err := x.a.run(name, cdb, nil, 0); err != nil && (cached || !unsupported(err)) {
			return "", err
		}
	}
	return "", nil
}

func checkVerify(x *examination) (string, error) {
	c, err := x.capacity()
	if err != nil {
		return "", err
	}
	data, err := x.a.read(0, 1)
	if err != nil {
		return "", err
	}
	cdb := blockCDB10(0x2f, 0x02, 0, 1) // BYTCHK 01b
	if _, err := x.a.run("VERIFY (10)", cdb, data, 0); unsupported(err) {
		return "", notChecked("there is no VERIFY that compares")
	} else if err != nil {
		return "", fmt.Errorf("with what is there: %w", err)
	}
	data[c.size/2] ^= 0x40
	_, err = x.a.run("VERIFY (10)", cdb, data, 0)
	switch {
	case err == nil:
		return "", errors.New("VERIFY (10) with another byte than is there ends with GOOD: it compares nothing")
	case !hasCode(err, scsi.KeyMiscompare, scsi.ASCMiscompareDuringVerifyOperation):
		return "", err
	}
	return "a difference of one bit is found", nil
}
