package load

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
)

// What we offer. Segments of 256 KiB let a read of 1 MiB come in four.
const offeredSegment = 256 << 10

// A stream is the socket during the login, when simplicity counts.
type stream int

func (s stream) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(int(s), p)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return 0, fmt.Errorf("no answer for %v", silence)
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// login opens the session: the security stage, then the operational one.
func (c *connection) login() error {
	fd, err := dial(c.g.Address)
	if err != nil {
		return err
	}
	c.fd = fd
	c.cmdSN = 1
	digest := "None"
	if c.g.Digests {
		digest = "CRC32C"
	}
	// A name of its own for every few connections, for targets that bound the sessions of an initiator.
	name := fmt.Sprintf("iqn.2026-11.org.isantarget.bench:load-%d", c.index/8)
	if c.g.Initiator != "" {
		name = c.g.Initiator
	}
	keys, err := c.authenticate([]iscsi.KeyValue{
		{Key: "InitiatorName", Value: name}, {Key: "SessionType", Value: "Normal"}, {Key: "TargetName", Value: c.g.Target},
	})
	if err != nil {
		return err
	}
	more, err := c.stage(iscsi.LoginOperationalNegotiation, []iscsi.KeyValue{
		{Key: "HeaderDigest", Value: digest}, {Key: "DataDigest", Value: digest}, {Key: "InitialR2T", Value: "No"}, {Key: "ImmediateData", Value: "Yes"},
		{Key: "MaxRecvDataSegmentLength", Value: strconv.Itoa(offeredSegment)}, {Key: "FirstBurstLength", Value: "262144"},
		{Key: "MaxBurstLength", Value: "1048576"}, {Key: "MaxOutstandingR2T", Value: "1"}, {Key: "MaxConnections", Value: "1"},
		{Key: "ErrorRecoveryLevel", Value: "0"}, {Key: "DefaultTime2Wait", Value: "2"}, {Key: "DefaultTime2Retain", Value: "0"},
		{Key: "DataPDUInOrder", Value: "Yes"}, {Key: "DataSequenceInOrder", Value: "Yes"},
	})
	if err != nil {
		return err
	}
	return c.agree(append(keys, more...))
}

// agree takes over what was negotiated.
func (c *connection) agree(keys []iscsi.KeyValue) error {
	said := map[string]string{
		"MaxRecvDataSegmentLength": "8192", "FirstBurstLength": "65536", "ImmediateData": "Yes", "InitialR2T": "Yes", "HeaderDigest": "None", "DataDigest": "None",
	}
	for _, k := range keys {
		said[k.Key] = k.Value
	}
	number := func(key string) (n int) {
		if n, _ = strconv.Atoi(said[key]); n < sector {
			n = sector
		}
		return n &^ (sector - 1)
	}
	c.maxSend, c.firstBurst = number("MaxRecvDataSegmentLength"), number("FirstBurstLength")
	c.immediate, c.initialR2T = said["ImmediateData"] == "Yes", said["InitialR2T"] == "Yes"
	c.digests = said["HeaderDigest"] == "CRC32C" && said["DataDigest"] == "CRC32C"
	if c.digests != c.g.Digests || said["HeaderDigest"] != said["DataDigest"] {
		return fmt.Errorf("the target agrees to HeaderDigest=%s and DataDigest=%s", said["HeaderDigest"], said["DataDigest"])
	}
	c.in.need = iscsi.BHSLength
	if c.digests {
		c.in.need += iscsi.DigestLength
	}
	return nil
}

// stage sends the keys of a login stage and asks to go on, until the target does.
func (c *connection) stage(csg iscsi.Stage, keys []iscsi.KeyValue) ([]iscsi.KeyValue, error) {
	nsg := iscsi.LoginOperationalNegotiation
	if csg == nsg {
		nsg = iscsi.FullFeaturePhase
	}
	text := iscsi.AppendText(nil, keys...)
	var answers []iscsi.KeyValue
	for range 5 {
		said, transit, err := c.step(csg, &nsg, text)
		if err != nil {
			return nil, err
		}
		answers = append(answers, said...)
		if transit {
			return answers, nil
		}
		text = nil
	}
	return nil, errors.New("the target does not end the login stage")
}

// authenticate runs the security stage: by CHAP with MD5 (RFC 7143 12.1.3), if there is a secret.
func (c *connection) authenticate(keys []iscsi.KeyValue) ([]iscsi.KeyValue, error) {
	const csg = iscsi.SecurityNegotiation
	if c.g.Secret == "" {
		return c.stage(csg, append(keys, iscsi.KeyValue{Key: "AuthMethod", Value: "None"}))
	}
	if _, _, err := c.step(csg, nil, iscsi.AppendText(nil, append(keys, iscsi.KeyValue{Key: "AuthMethod", Value: "CHAP"})...)); err != nil {
		return nil, err
	}
	said, _, err := c.step(csg, nil, iscsi.AppendText(nil, iscsi.KeyValue{Key: "CHAP_A", Value: initiator.CHAPMD5}))
	if err != nil {
		return nil, err
	}
	answers := map[string]string{}
	for _, kv := range said {
		answers[kv.Key] = kv.Value
	}
	id, err := iscsi.ParseNumber(answers["CHAP_I"])
	if err != nil || answers["CHAP_A"] != initiator.CHAPMD5 {
		return nil, fmt.Errorf("the target does not run CHAP with MD5: CHAP_A=%s, CHAP_I=%s", answers["CHAP_A"], answers["CHAP_I"])
	}
	challenge, err := iscsi.ParseBinary(answers["CHAP_C"], 1024)
	if err != nil {
		return nil, fmt.Errorf("CHAP_C: %w", err)
	}
	response, err := initiator.CHAPResponse(initiator.CHAPMD5, byte(id), c.g.Secret, challenge)
	if err != nil {
		return nil, err
	}
	return c.stage(csg, []iscsi.KeyValue{{Key: "CHAP_N", Value: c.g.User}, {Key: "CHAP_R", Value: iscsi.FormatHex(response)}})
}

// step sends one Login Request, and gives what its answer says and whether the stage is
// over. nsg asks for that.
func (c *connection) step(csg iscsi.Stage, nsg *iscsi.Stage, text []byte) (said []iscsi.KeyValue, transit bool, err error) {
	p := iscsi.LoginRequest{
		CSG: csg, ISID: iscsi.ISID{0x80, byte(c.index >> 8), byte(c.index), 0, byte(c.g.run >> 8), byte(c.g.run)},
		InitiatorTaskTag: 0, CmdSN: c.cmdSN, ExpStatSN: c.expStatSN,
	}
	if nsg != nil {
		p.Transit, p.NSG = true, *nsg
	}
	var h iscsi.BHS
	p.Marshal(&h)
	answer, data, err := c.exchange(&h, text)
	if err != nil {
		return nil, false, err
	}
	var r iscsi.LoginResponse
	if err := r.Unmarshal(answer); err != nil {
		return nil, false, err
	}
	if r.Status != iscsi.LoginSuccess {
		return nil, false, fmt.Errorf("login refused: %v", r.Status)
	}
	c.expStatSN, c.maxCmdSN = r.StatSN+1, r.MaxCmdSN
	said, err = iscsi.ParseText(data, iscsi.TextLimits{})
	return said, r.Transit, err
}

// exchange sends a PDU without digests and reads the next one.
func (c *connection) exchange(h *iscsi.BHS, data []byte) (*iscsi.BHS, []byte, error) {
	h.SetDataSegmentLength(len(data))
	p := append(append([]byte(nil), h[:]...), data...)
	p = append(p, make([]byte, iscsi.Pad(len(data)))...)
	if n, err := unix.Write(c.fd, p); err != nil || n != len(p) {
		return nil, nil, fmt.Errorf("write of a login PDU: %w", errors.Join(err, io.ErrShortWrite))
	}
	answer := new(iscsi.BHS)
	if _, err := io.ReadFull(stream(c.fd), answer[:]); err != nil {
		return nil, nil, fmt.Errorf("login: %w", err)
	}
	n := answer.DataSegmentLength()
	data = make([]byte, n+iscsi.Pad(n))
	if _, err := io.ReadFull(stream(c.fd), data); err != nil {
		return nil, nil, fmt.Errorf("login: %w", err)
	}
	return answer, data[:n], nil
}

// A probe is a command that is sent alone, before the load.
type probe struct {
	status byte
	data   []byte
	ended  bool
}

// ask runs a command that reads up to n bytes, outside of the load.
func (c *connection) ask(cdb []byte, n int) (*probe, error) {
	const tag = 0xfffe
	p := iscsi.SCSICommand{Final: true, Read: n > 0, Attribute: iscsi.AttributeSimple, LUN: uint64(c.g.LUN) << 48, InitiatorTaskTag: tag, Length: uint32(n), CmdSN: c.cmdSN, ExpStatSN: c.expStatSN}
	copy(p.CDB[:], cdb)
	c.cmdSN++
	var h iscsi.BHS
	p.Marshal(&h)
	c.out.pdu(&h, nil, c.digests)
	if empty, err := c.out.flush(c.fd); err != nil || !empty {
		return nil, fmt.Errorf("send of a command: %w", errors.Join(err, io.ErrShortWrite))
	}
	var a probe
	for deadline := time.Now().Add(silence); !a.ended; {
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("no answer to command %#x", cdb[0])
		}
		if err := c.answerTo(&a); err != nil {
			return nil, err
		}
	}
	return &a, nil
}

// answerTo reads one PDU that belongs to a probe.
func (c *connection) answerTo(a *probe) error {
	if _, err := io.ReadFull(stream(c.fd), c.in.header[:c.in.need]); err != nil {
		return err
	}
	h := *c.bhs()
	n := h.DataSegmentLength()
	data := make([]byte, n+iscsi.Pad(n))
	if c.digests && n > 0 {
		data = append(data, c.in.tail[:]...)
	}
	if _, err := io.ReadFull(stream(c.fd), data); err != nil {
		return err
	}
	if sn := binary.BigEndian.Uint32(h[32:]); int32(sn-c.maxCmdSN) > 0 {
		c.maxCmdSN = sn
	}
	switch h.Opcode() {
	case iscsi.OpDataIn:
		a.data = append(a.data, data[:n]...)
		a.ended = h[1]&1 != 0
	case iscsi.OpSCSIResponse:
		a.ended = true
	}
	if a.ended {
		a.status = h[3]
		c.expStatSN = binary.BigEndian.Uint32(h[24:]) + 1
	}
	return nil
}

// ready takes the unit attentions that a new session finds.
func (c *connection) ready() error {
	for range 10 {
		a, err := c.ask(make([]byte, 6), 0) // TEST UNIT READY
		if err != nil {
			return err
		}
		if a.status == 0 {
			return nil
		}
	}
	return errors.New("the logical unit does not become ready")
}

// capacity asks for the size of the unit and of its blocks, in bytes.
func (c *connection) capacity() (size, block int64, err error) {
	a, err := c.ask([]byte{0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 8) // READ CAPACITY (10)
	if err != nil {
		return 0, 0, err
	}
	if a.status != 0 || len(a.data) < 8 {
		return 0, 0, fmt.Errorf("READ CAPACITY (10): status %#x and %d bytes", a.status, len(a.data))
	}
	block = int64(binary.BigEndian.Uint32(a.data[4:]))
	if block < sector || block > 1<<16 {
		return 0, 0, fmt.Errorf("blocks of %d bytes", block)
	}
	return (int64(binary.BigEndian.Uint32(a.data)) + 1) * block, block, nil
}
