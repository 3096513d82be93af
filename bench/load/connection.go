package load

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/scsi"
)

// silence is how long a target may leave commands unanswered.
const silence = 10 * time.Second

// receiveBytes is what one recv may bring.
const receiveBytes = 256 << 10

// A slot is a command in flight. Its number is the Initiator Task Tag.
type slot struct {
	data  []byte
	start time.Duration
	block int64 // in units of Options.Block
	write bool
	got   int // bytes of Data-In
}

// A connection is one session of one TCP connection.
type connection struct {
	g     *generator
	index int
	fd    int

	// What the login agreed on.
	digests    bool
	maxSend    int // the target's MaxRecvDataSegmentLength
	firstBurst int
	immediate  bool
	initialR2T bool

	cmdSN, maxCmdSN, expStatSN uint32

	slots []slot
	free  []uint32
	next  int64 // block of the next sequential command
	done  uint64

	out     outbox
	waiting bool // for room in the socket
	sense   [64]byte
	in      inbox
}

// An inbox puts PDUs together from what the socket gives.
type inbox struct {
	memory []byte
	header [iscsi.BHSLength + iscsi.DigestLength]byte
	have   int // bytes of header
	need   int // bytes a header has
	left   int // bytes of the data segment still to come
	tail   [iscsi.DigestLength]byte
	short  int // bytes of the data digest still to come
	digest iscsi.Digest
	into   []byte // where data goes; nil: nowhere
}

func (c *connection) bhs() *iscsi.BHS { return (*iscsi.BHS)(c.in.header[:iscsi.BHSLength]) }

// dial connects to ADDR:PORT. The socket blocks, but for calls that say they do not.
func dial(address string) (int, error) {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return 0, fmt.Errorf("address: %w", err)
	}
	var sa unix.Sockaddr = &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
	family := unix.AF_INET6
	if a.Addr().Is4() {
		sa, family = &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}, unix.AF_INET
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("socket: %w", err)
	}
	timeout := unix.NsecToTimeval(silence.Nanoseconds())
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout))
	for err == nil {
		if err = unix.Connect(fd, sa); err != unix.EINTR {
			break
		}
		err = nil
	}
	if err != nil {
		unix.Close(fd)
		return 0, fmt.Errorf("connect to %s: %w", address, err)
	}
	return fd, nil
}

// recv takes what has come, waiting for it if flags say so. n is 0 when nothing has.
func (c *connection) recv(flags uintptr) (n int, err error) {
	call := unix.Syscall6
	if flags&unix.MSG_DONTWAIT != 0 {
		call = unix.RawSyscall6
	}
	r, _, errno := call(unix.SYS_RECVFROM, uintptr(c.fd), uintptr(unsafe.Pointer(&c.in.memory[0])), uintptr(len(c.in.memory)), flags, 0, 0)
	switch {
	case errno == unix.EINTR:
		return 0, nil
	case errno == unix.EAGAIN && flags&unix.MSG_DONTWAIT != 0:
		return 0, nil
	case errno == unix.EAGAIN:
		return 0, fmt.Errorf("no answer for %v, with %d commands in flight", silence, len(c.slots)-len(c.free))
	case errno != 0:
		return 0, fmt.Errorf("recv: %w", errno)
	case r == 0:
		return 0, errors.New("the target closed the connection")
	}
	return int(r), nil
}

// feed takes n bytes of the inbox's memory apart.
func (c *connection) feed(n int) error {
	in := &c.in
	for p := in.memory[:n]; len(p) > 0; {
		switch {
		case in.have < in.need:
			k := copy(in.header[in.have:in.need], p)
			in.have += k
			p = p[k:]
			if in.have == in.need {
				if err := c.begin(); err != nil {
					return err
				}
			}
		case in.left > 0:
			k := min(in.left, len(p))
			if c.digests {
				in.digest = in.digest.Update(p[:k])
			}
			if in.into != nil {
				in.into = in.into[copy(in.into, p[:k]):]
			}
			in.left -= k
			p = p[k:]
		case in.short > 0:
			k := copy(in.tail[len(in.tail)-in.short:], p)
			in.short -= k
			p = p[k:]
			if in.short == 0 && iscsi.DigestFrom(in.tail[:]) != in.digest {
				return errors.New("data digest error")
			}
		}
		if in.have == in.need && in.left == 0 && in.short == 0 {
			in.have = 0
			if err := c.end(); err != nil {
				return err
			}
		}
	}
	return nil
}

// begin looks at a whole header.
func (c *connection) begin() error {
	in, h := &c.in, c.bhs()
	if c.digests && iscsi.Digest(0).Update(h[:]) != iscsi.DigestFrom(in.header[iscsi.BHSLength:]) {
		return errors.New("header digest error")
	}
	if h.TotalAHSLength() != 0 {
		return fmt.Errorf("%v with additional headers", h.Opcode())
	}
	n := h.DataSegmentLength()
	in.left, in.short, in.digest, in.into = n+iscsi.Pad(n), 0, 0, nil
	if c.digests && n > 0 {
		in.short = iscsi.DigestLength
	}
	if h.Opcode() == iscsi.OpSCSIResponse {
		c.sense = [64]byte{}
		in.into = c.sense[:]
	}
	if h.Opcode() != iscsi.OpDataIn {
		return nil
	}
	s, err := c.slot(h.InitiatorTaskTag())
	if err != nil {
		return err
	}
	off := int(binary.BigEndian.Uint32(h[40:]))
	if s.write || off != s.got || off+n > c.g.Block || n%4 != 0 {
		return fmt.Errorf("Data-In of %d bytes at %d, where %d of %d have come", n, off, s.got, c.g.Block)
	}
	if c.g.Verify {
		in.into = s.data[off : off+n]
	}
	return nil
}

func (c *connection) slot(tag uint32) (*slot, error) {
	if int64(tag) >= int64(len(c.slots)) {
		return nil, fmt.Errorf("an answer with the unknown task tag %#x", tag)
	}
	return &c.slots[tag], nil
}

// end takes a PDU that has come as a whole.
func (c *connection) end() error {
	h := c.bhs()
	if sn := binary.BigEndian.Uint32(h[32:]); int32(sn-c.maxCmdSN) > 0 {
		c.maxCmdSN = sn
	}
	switch h.Opcode() {
	case iscsi.OpDataIn:
		s, _ := c.slot(h.InitiatorTaskTag())
		s.got += h.DataSegmentLength()
		if h[1]&1 == 0 {
			return nil
		}
		return c.status(h, s.got == c.g.Block)
	case iscsi.OpSCSIResponse:
		return c.status(h, h[2] == 0)
	case iscsi.OpR2T:
		s, err := c.slot(h.InitiatorTaskTag())
		if err != nil {
			return err
		}
		off, n := int(binary.BigEndian.Uint32(h[40:])), int(binary.BigEndian.Uint32(h[44:]))
		if !s.write || off+n > len(s.data) {
			return fmt.Errorf("R2T of %d bytes at %d for a transfer of %d", n, off, len(s.data))
		}
		c.dataOut(h.InitiatorTaskTag(), h.TargetTransferTag(), off, n)
	case iscsi.OpNopIn:
		c.answerPing(h)
	case iscsi.OpAsyncMessage:
	default:
		return fmt.Errorf("an unexpected %v, byte 2 is %#x", h.Opcode(), h[2])
	}
	return nil
}

// status ends a command.
func (c *connection) status(h *iscsi.BHS, whole bool) error {
	tag := h.InitiatorTaskTag()
	s, err := c.slot(tag)
	if err != nil {
		return err
	}
	c.expStatSN = binary.BigEndian.Uint32(h[24:]) + 1
	good := whole && h[3] == 0 && h[1]&6 == 0 && (s.write || s.got == c.g.Block)
	if !good && c.g.firstError == "" {
		c.g.firstError = c.ending(h, s)
	}
	c.free = append(c.free, tag)
	c.g.ended(c, s, good)
	return nil
}

// ending says how a command ended that did not end well.
func (c *connection) ending(h *iscsi.BHS, s *slot) string {
	name := "READ (10)"
	if s.write {
		name = "WRITE (10)"
	}
	r := initiator.Result{Status: h[3]}
	if n := int(binary.BigEndian.Uint16(c.sense[:])); h.Opcode() == iscsi.OpSCSIResponse && n <= len(c.sense)-2 {
		r.Sense = c.sense[2 : 2+n]
	}
	key, code := r.SenseCode()
	text := fmt.Sprintf("%s of block %d: status %v", name, c.g.first+s.block, scsi.Status(r.Status))
	switch {
	case h.Opcode() == iscsi.OpSCSIResponse && h[2] != 0:
		return fmt.Sprintf("%s of block %d: iSCSI response %02Xh", name, c.g.first+s.block, h[2])
	case r.Sense != nil && key != 0:
		return fmt.Sprintf("%s, %v, %v", text, scsi.SenseKey(key), scsi.SenseCode(code))
	case r.Status == 0:
		return fmt.Sprintf("%s, and %d of %d bytes", text, s.got, c.g.Block)
	}
	return text
}

func (c *connection) answerPing(h *iscsi.BHS) {
	ttt := h.TargetTransferTag()
	if ttt == iscsi.ReservedTag {
		return
	}
	p := iscsi.NopOut{Immediate: true, LUN: h.LUN(), InitiatorTaskTag: iscsi.ReservedTag, TargetTransferTag: ttt, CmdSN: c.cmdSN, ExpStatSN: c.expStatSN}
	var answer iscsi.BHS
	p.Marshal(&answer)
	c.out.pdu(&answer, nil, c.digests)
}

// pump fills the connection up with commands.
func (c *connection) pump(now time.Duration) {
	for len(c.free) > 0 && int32(c.maxCmdSN-c.cmdSN) >= 0 {
		tag := c.free[len(c.free)-1]
		s := &c.slots[tag]
		if !c.g.choose(c, s) {
			return
		}
		c.free = c.free[:len(c.free)-1]
		s.start = now
		c.issue(tag, s)
	}
}

// issue queues a READ (10) or WRITE (10) with the data it may send unasked.
func (c *connection) issue(tag uint32, s *slot) {
	n := c.g.Block
	s.got = 0
	p := iscsi.SCSICommand{
		Final: true, Read: !s.write, Write: s.write, Attribute: iscsi.AttributeSimple, LUN: uint64(c.g.LUN) << 48,
		InitiatorTaskTag: tag, Length: uint32(n), CmdSN: c.cmdSN, ExpStatSN: c.expStatSN,
	}
	p.CDB[0] = 0x28
	binary.BigEndian.PutUint32(p.CDB[2:], uint32((c.g.first+s.block)*int64(n)/c.g.blockSize))
	binary.BigEndian.PutUint16(p.CDB[7:], uint16(int64(n)/c.g.blockSize))
	immediate, unsolicited := 0, 0
	if s.write {
		p.CDB[0] = 0x2a
		if c.immediate {
			immediate = min(n, c.firstBurst, c.maxSend)
		}
		if !c.initialR2T {
			unsolicited = min(n, c.firstBurst) - immediate
		}
		p.Final = unsolicited == 0
	}
	c.cmdSN++
	var h iscsi.BHS
	p.Marshal(&h)
	c.out.pdu(&h, s.data[:immediate], c.digests)
	if unsolicited > 0 {
		c.dataOut(tag, iscsi.ReservedTag, immediate, unsolicited)
	}
}

// dataOut queues a sequence of Data-Out PDUs.
func (c *connection) dataOut(tag, ttt uint32, off, n int) {
	s := &c.slots[tag]
	for sn := uint32(0); n > 0; sn++ {
		part := min(n, c.maxSend)
		p := iscsi.DataOut{
			Final: part == n, LUN: uint64(c.g.LUN) << 48, InitiatorTaskTag: tag, TargetTransferTag: ttt,
			ExpStatSN: c.expStatSN, DataSN: sn, BufferOffset: uint32(off),
		}
		var h iscsi.BHS
		p.Marshal(&h)
		c.out.pdu(&h, s.data[off:off+part], c.digests)
		off, n = off+part, n-part
	}
}
