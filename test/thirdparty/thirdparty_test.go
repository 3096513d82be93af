package thirdparty

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/test/daemon"
)

func TestMain(m *testing.M) { os.Exit(daemon.Main(m)) }

const (
	blockSize = 512
	mib       = 1 << 20
	unitSize  = 64 * mib
	patience  = 2 * time.Minute

	configuration = "thirdparty.toml" // beside the images
)

// The statuses and sense that come up (SAM-5 5.3.1, SPC-4 annex D).
const (
	good           = 0x00
	checkCondition = 0x02
	copyAborted    = 0x0a
	unitAttention  = 0x06
	sanitizing     = 0x041b
)

// serve starts a daemon with two LUNs, and gives the paths of their images.
func serve(t *testing.T, more string) (d *daemon.Daemon, images []string) {
	t.Helper()
	dir := t.TempDir()
	text := fmt.Sprintf("state = %q\nlimits = { nop-interval = \"1h\" }\n[[portal-group]]\ntag = 1\nlisten = [\"127.0.0.1:%d\"]\n", filepath.Join(dir, "state"), daemon.FreePort(t))
	for _, name := range []string{"a", "b"} {
		images = append(images, filepath.Join(dir, name+".img"))
		text += fmt.Sprintf("[[lun]]\nname = %q\npath = %q\nsize = \"%dMiB\"\n%s\n", name, images[len(images)-1], unitSize/mib, more)
	}
	text += fmt.Sprintf("[[target]]\nname = %q\naccess = \"loopback\"\nluns = { 0 = \"a\", 1 = \"b\" }\n", daemon.Target)
	file := filepath.Join(dir, configuration)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return daemon.Start(t, daemon.Config{File: file}), images
}

// A host is a logged-in initiator that has heard its unit attentions.
type host struct {
	*initiator.Connection
	t *testing.T
}

func login(t *testing.T, d *daemon.Daemon, name string) *host {
	t.Helper()
	u, err := url.Parse(d.URL(0))
	if err != nil {
		t.Fatal(err)
	}
	c, err := initiator.Dial(u.Host, initiator.Options{Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	h := &host{c, t}
	if err := c.Login(initiator.Login{InitiatorName: "iqn.2026-11.org.isantarget.test:" + name, TargetName: daemon.Target, SessionType: "Normal"}); err != nil {
		t.Fatal(err)
	}
	for lun := range uint8(2) {
		h.run(lun, make([]byte, 6), nil, 0)
	}
	return h
}

// run executes a command; of a unit attention it hears on the way.
func (h *host) run(lun uint8, cdb, out []byte, in int) *initiator.Result {
	h.t.Helper()
	for {
		r, err := h.Execute(initiator.Command{LUN: initiator.LUN(lun), CDB: cdb, Write: out, Read: in})
		if err != nil {
			h.t.Fatalf("% x: %v", cdb, err)
		}
		if key, _ := r.SenseCode(); r.Status != checkCondition || key != unitAttention {
			return r
		}
	}
}

func (h *host) good(lun uint8, cdb, out []byte, in int) []byte {
	h.t.Helper()
	r := h.run(lun, cdb, out, in)
	if r.Status != good {
		key, code := r.SenseCode()
		h.t.Fatalf("% x ends with status %02xh, sense %x/%04x", cdb, r.Status, key, code)
	}
	return r.Data
}

// write10 writes p at lba, a mebibyte at a time.
func (h *host) write10(lun uint8, lba uint32, p []byte) {
	h.t.Helper()
	for ; len(p) > 0; lba += mib / blockSize {
		piece := p[:min(len(p), mib)]
		h.good(lun, read10(0x2a, lba, len(piece)), piece, 0)
		p = p[len(piece):]
	}
}

func read10(opcode byte, lba uint32, n int) []byte {
	c := make([]byte, 10)
	c[0] = opcode
	binary.BigEndian.PutUint32(c[2:], lba)
	binary.BigEndian.PutUint16(c[7:], uint16(n/blockSize))
	return c
}

// thirdParty is the CDB of an OUT (83h) or IN (84h) command of copies.
func thirdParty(opcode, action byte, n int) []byte {
	c := make([]byte, 16)
	c[0], c[1] = opcode, action
	binary.BigEndian.PutUint32(c[10:], uint32(n))
	return c
}

// designator is the NAA designator of a unit, from VPD page 83h.
func (h *host) designator(lun uint8) []byte {
	h.t.Helper()
	page := h.good(lun, []byte{0x12, 1, 0x83, 2, 0, 0}, nil, 512)
	for p := page[4:]; len(p) >= 4 && len(p) >= 4+int(p[3]); p = p[4+int(p[3]):] {
		if p[1]&0x3f == 0x03 {
			return p[:4+int(p[3])]
		}
	}
	h.t.Fatal("no NAA designator")
	return nil
}

// copyList is the parameter list that copies n pieces of 65535 blocks or fewer
// from LUN 0 to LUN 1, each to its own place.
func (h *host) copyList(blocks int) []byte {
	p := make([]byte, 16)
	p[3] = 64
	for lun := range uint8(2) {
		d := make([]byte, 32)
		name := h.designator(lun)
		d[0], d[4], d[5], d[7] = 0xe4, name[0], name[1], name[3]
		copy(d[8:], name[4:])
		p = append(p, d...)
	}
	for at := 0; at < blocks; {
		n := min(blocks-at, 0xffff)
		d := make([]byte, 28)
		d[0], d[3], d[7] = 0x02, 24, 1
		binary.BigEndian.PutUint16(d[10:], uint16(n))
		binary.BigEndian.PutUint64(d[12:], uint64(at))
		binary.BigEndian.PutUint64(d[20:], uint64(at))
		p = append(p, d...)
		at += n
	}
	binary.BigEndian.PutUint32(p[8:], uint32(len(p)-16-64))
	return p
}

// data is n bytes that differ from block to block.
func data(n int, seed byte) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i) ^ byte(i>>9)*31 ^ byte(i>>17) ^ seed
	}
	return p
}

func content(t *testing.T, image string) []byte {
	t.Helper()
	p, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestExtendedCopy_SPC4_6_4(t *testing.T) {
	d, images := serve(t, "")
	h := login(t, d, "a")
	h.write10(0, 0, data(3*mib, 1))
	h.write10(0, 50*mib/blockSize, data(mib, 2))
	h.write10(1, 10*mib/blockSize, data(2*mib, 3))
	list := h.copyList(unitSize / blockSize)
	h.good(0, thirdParty(0x83, 0, len(list)), list, 0)
	h.good(1, []byte{0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0}, nil, 0)
	if !bytes.Equal(content(t, images[0]), content(t, images[1])) {
		t.Error("the copy differs")
	}
	if held := daemon.Allocated(t, images[1]); held > 8*mib {
		t.Errorf("a copy of 4 MiB in 64 holds %d KiB", held>>10)
	}
}

// A fenced host cannot write by way of another unit: when PREEMPT AND ABORT is
// answered, nothing of its copy lands any more.
func TestCopyOfAFencedHost(t *testing.T) {
	d, images := serve(t, "")
	victim, fencer := login(t, d, "victim"), login(t, d, "fencer")
	register := func(h *host, key byte) {
		p := make([]byte, 24)
		p[15] = key
		h.good(1, []byte{0x5f, 0, 0, 0, 0, 0, 0, 0, 24, 0}, p, 0)
	}
	victim.write10(0, 0, data(unitSize, 1))
	register(victim, 1)
	register(fencer, 2)
	reserve := make([]byte, 24)
	reserve[7] = 1
	victim.good(1, []byte{0x5f, 1, 5, 0, 0, 0, 0, 0, 24, 0}, reserve, 0) // write exclusive, registrants only
	list := victim.copyList(unitSize / blockSize)
	// Many copies one after the other, so that one is under way.
	var tasks []*initiator.Task
	for range 8 {
		task, err := victim.Start(initiator.Command{CDB: thirdParty(0x83, 0, len(list)), Write: list})
		if err != nil {
			t.Fatal(err)
		}
		tasks = append(tasks, task)
		list[0]++ // a list identifier of its own
	}
	preempt := make([]byte, 24)
	preempt[7], preempt[15] = 2, 1
	fencer.good(1, []byte{0x5f, 5, 5, 0, 0, 0, 0, 0, 24, 0}, preempt, 0)
	fencer.write10(1, 0, make([]byte, unitSize))
	for _, task := range tasks {
		r, err := task.Wait()
		if err != nil {
			t.Fatal(err)
		}
		if key, _ := r.SenseCode(); r.Status != good && (r.Status != checkCondition || key != copyAborted && key != unitAttention) {
			t.Errorf("a copy ends with status %02xh, sense key %x", r.Status, key)
		}
	}
	if !bytes.Equal(content(t, images[1]), make([]byte, unitSize)) {
		t.Error("a copy of the fenced host landed after PREEMPT AND ABORT was answered")
	}
	if r := victim.run(0, thirdParty(0x83, 0, len(list)), list, 0); r.Status == good {
		t.Error("the fenced host may copy")
	}
}

// A token that one host made is used by another, and ends with its blocks.
func TestToken_SBC3_4_29(t *testing.T) {
	d, images := serve(t, "")
	maker, user := login(t, d, "maker"), login(t, d, "user")
	maker.write10(0, 0, data(mib, 1))
	populate := make([]byte, 32)
	populate[1], populate[15] = 30, 16
	binary.BigEndian.PutUint64(populate[16:], 8)
	binary.BigEndian.PutUint32(populate[24:], 1000)
	maker.good(0, thirdParty(0x83, 0x10, len(populate)), populate, 0)
	information := maker.good(0, thirdParty(0x84, 0x07, 1024), nil, 1024)
	if len(information) != 32+4+2+512 {
		t.Fatalf("RECEIVE ROD TOKEN INFORMATION: % x", information)
	}
	use := make([]byte, 552)
	binary.BigEndian.PutUint16(use, 550)
	copy(use[16:], information[38:])
	use[535] = 16
	binary.BigEndian.PutUint64(use[536:], 4096)
	binary.BigEndian.PutUint32(use[544:], 1000)
	user.good(1, thirdParty(0x83, 0x11, len(use)), use, 0)
	user.good(1, []byte{0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0}, nil, 0)
	want := data(mib, 1)[8*blockSize : 1008*blockSize]
	if !bytes.Equal(content(t, images[1])[4096*blockSize:][:len(want)], want) {
		t.Error("the token gave other blocks")
	}
	maker.write10(0, 1007, make([]byte, blockSize))
	r := user.run(1, thirdParty(0x83, 0x11, len(use)), use, 0)
	if key, code := r.SenseCode(); r.Status != checkCondition || key != 0x05 || code != 0x2306 {
		t.Errorf("a token whose blocks have changed: status %02xh, sense %x/%04x", r.Status, key, code)
	}
}

// A sanitize operation goes on after the daemon was killed, and until it has ended
// nothing can be read or written.
func TestSanitizeOutlivesTheDaemon_SBC3_4_11(t *testing.T) {
	const slow, quick = `sanitize-rate = "1MiB"`, `sanitize-rate = "64MiB"`
	d, images := serve(t, slow)
	h := login(t, d, "a")
	h.write10(0, 0, data(unitSize, 1))
	h.good(0, []byte{0x48, 0x81, 0, 0, 0, 0, 0, 0, 5, 0}, []byte{1, 0, 0, 1, 0x3c}, 0)
	d.Kill()
	if p := content(t, images[0]); bytes.Count(p[unitSize-mib:], []byte{0x3c}) == mib {
		t.Fatal("it was done before the daemon could be killed")
	}
	d.Restart()
	h = login(t, d, "a")
	if r := h.run(0, read10(0x28, 0, blockSize), nil, blockSize); r.Status == good {
		t.Error("the unit was ready at once")
	}
	d.Kill() // and once more, for the rest at another rate
	file := filepath.Join(filepath.Dir(images[0]), configuration)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, bytes.ReplaceAll(text, []byte(slow), []byte(quick)), 0o600); err != nil {
		t.Fatal(err)
	}
	d.Restart()
	h = login(t, d, "a")
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		r := h.run(0, read10(0x28, 0, blockSize), nil, blockSize)
		if r.Status == good {
			break
		}
		_, code := r.SenseCode()
		if code != sanitizing || time.Now().After(deadline) {
			t.Fatalf("READ ends with status %02xh, sense %04x", r.Status, code)
		}
	}
	if p := content(t, images[0]); bytes.Count(p, []byte{0x3c}) != unitSize {
		t.Error("the medium holds something else than the pattern")
	}
	h.write10(0, 0, data(mib, 2))
	h.good(0, []byte{0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0}, nil, 0)
	d.Stop()
	d.Restart()
	if p := login(t, d, "a").good(0, read10(0x28, 0, mib), nil, mib); !bytes.Equal(p, data(mib, 2)) {
		t.Error("it was done once more after it had succeeded")
	}
}
