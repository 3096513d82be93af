package bare

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/iscsi"
)

const (
	// segment is our MaxRecvDataSegmentLength, and the least that we expect of the initiator's.
	segment = 256 << 10
	// bySendfile is from how many bytes on a read leaves by sendfile.
	bySendfile = 64 << 10
	window     = 128
	blockSize  = 512
)

// Serve answers every connection that l accepts with the image, until l is closed.
func Serve(l net.Listener, image *os.File) error {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			_ = serve(conn, image) // the initiator sees that the connection is gone
		}()
	}
}

// A connection has what is on its way.
type connection struct {
	image  *os.File
	reader *bufio.Reader
	raw    syscall.RawConn
	header iscsi.BHS
	statSN uint32
	expSN  uint32

	frames  [window]iscsi.BHS // headers of the batch
	buffers [window][]byte    // data of the batch
	used    int
	vectors []unix.Iovec
	sent    int // vectors that are gone
	fd      int // of the image
}

func serve(conn net.Conn, image *os.File) error {
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	c := &connection{image: image, reader: bufio.NewReaderSize(conn, 64<<10), raw: raw, statSN: 1, fd: int(image.Fd())}
	if err := c.login(conn); err != nil {
		return err
	}
	for {
		if c.reader.Buffered() < len(c.header) || c.used == window {
			if err := c.flush(); err != nil {
				return err
			}
		}
		if _, err := io.ReadFull(c.reader, c.header[:]); err != nil {
			return err
		}
		if c.header.Opcode() != iscsi.OpSCSICommand {
			return fmt.Errorf("bare: %v", c.header.Opcode())
		}
		if err := c.command(); err != nil {
			return err
		}
	}
}

// command runs the command in c.header.
func (c *connection) command() error {
	h := &c.header
	c.expSN = binary.BigEndian.Uint32(h[24:]) + 1
	off := int64(binary.BigEndian.Uint32(h[34:])) * blockSize
	n := int(binary.BigEndian.Uint16(h[39:])) * blockSize
	switch h[32] {
	case 0x28:
		if n >= bySendfile {
			return c.sendFile(off, n)
		}
		p := c.buffer(n)
		if _, err := unix.Preadv2(c.fd, [][]byte{p}, off, unix.RWF_NOWAIT); err != nil {
			if _, err := c.image.ReadAt(p, off); err != nil {
				return err
			}
		}
		c.dataIn(p)
	case 0x2a:
		p := c.buffer(n)
		if h.DataSegmentLength() != n {
			return errors.New("bare: a write must bring its data as immediate data")
		}
		if _, err := io.ReadFull(c.reader, p); err != nil {
			return err
		}
		if _, err := c.image.WriteAt(p, off); err != nil {
			return err
		}
		c.response()
	case 0x25:
		info, err := c.image.Stat()
		if err != nil {
			return err
		}
		p := c.buffer(8)
		binary.BigEndian.PutUint32(p, uint32(info.Size()/blockSize-1))
		binary.BigEndian.PutUint32(p[4:], blockSize)
		c.dataIn(p)
	default:
		c.response()
	}
	return nil
}

// buffer is memory for the data of the next answer.
func (c *connection) buffer(n int) []byte {
	if cap(c.buffers[c.used]) < n {
		c.buffers[c.used] = make([]byte, n)
	}
	return c.buffers[c.used][:n]
}

// answer begins the header of the next answer.
func (c *connection) answer(op iscsi.Opcode) *iscsi.BHS {
	h := &c.frames[c.used]
	c.used++
	*h = iscsi.BHS{}
	h.SetOpcode(op)
	h[1] = 0x80
	copy(h[16:20], c.header[16:20])
	binary.BigEndian.PutUint32(h[24:], c.statSN)
	binary.BigEndian.PutUint32(h[28:], c.expSN)
	binary.BigEndian.PutUint32(h[32:], c.expSN+window-1)
	return h
}

// dataIn queues data with the status in the same PDU.
func (c *connection) dataIn(p []byte) {
	h := c.answer(iscsi.OpDataIn)
	h[1] |= 1
	binary.BigEndian.PutUint32(h[20:], iscsi.ReservedTag)
	h.SetDataSegmentLength(len(p))
	c.statSN++
	c.queue(h[:])
	c.queue(p)
}

func (c *connection) response() {
	h := c.answer(iscsi.OpSCSIResponse)
	c.statSN++
	c.queue(h[:])
}

// sendFile answers a read with data that never comes to us.
func (c *connection) sendFile(off int64, n int) error {
	if err := c.flush(); err != nil {
		return err
	}
	for done := 0; done < n; {
		part := min(n-done, segment)
		h := c.answer(iscsi.OpDataIn)
		binary.BigEndian.PutUint32(h[20:], iscsi.ReservedTag)
		binary.BigEndian.PutUint32(h[36:], uint32(done/segment))
		binary.BigEndian.PutUint32(h[40:], uint32(done))
		h.SetDataSegmentLength(part)
		if done += part; done == n {
			h[1] |= 1
			c.statSN++
		} else {
			h[1] = 0
		}
		if err := c.send(h[:], unix.MSG_MORE); err != nil {
			return err
		}
		if err := c.splice(off, part); err != nil {
			return err
		}
		off += int64(part)
		c.used = 0
	}
	return nil
}

func (c *connection) send(p []byte, flags int) error {
	return c.write(func(fd int) (bool, error) {
		n, err := unix.SendmsgN(fd, p, nil, nil, flags)
		if err == nil {
			p = p[n:]
		}
		return len(p) == 0, err
	})
}

func (c *connection) splice(off int64, n int) error {
	return c.write(func(fd int) (bool, error) {
		sent, err := unix.Sendfile(fd, c.fd, &off, n)
		if err == nil && sent == 0 {
			return false, io.ErrUnexpectedEOF
		}
		n -= max(sent, 0)
		return n == 0, err
	})
}

// flush sends the batch with one writev, if the socket takes it.
func (c *connection) flush() error {
	if len(c.vectors) == 0 {
		return nil
	}
	c.sent = 0
	err := c.write(c.writev)
	c.vectors, c.used = c.vectors[:0], 0
	return err
}

func (c *connection) writev(fd int) (done bool, err error) {
	v := c.vectors[c.sent:]
	r, _, errno := unix.RawSyscall(unix.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(&v[0])), uintptr(len(v)))
	if errno != 0 {
		return false, errno
	}
	for n := uint64(r); n > 0; {
		v := &c.vectors[c.sent]
		if n < v.Len {
			v.Base = (*byte)(unsafe.Add(unsafe.Pointer(v.Base), n))
			v.Len -= n
			break
		}
		n -= v.Len
		c.sent++
	}
	return c.sent == len(c.vectors), nil
}

func (c *connection) queue(p []byte) {
	c.vectors = append(c.vectors, unix.Iovec{Base: unsafe.SliceData(p), Len: uint64(len(p))})
}

// write calls f until it is done, waiting for room in the socket in between.
func (c *connection) write(f func(fd int) (done bool, err error)) error {
	var failed error
	err := c.raw.Write(func(fd uintptr) bool {
		for {
			done, err := f(int(fd))
			switch {
			case err == unix.EINTR:
			case err == unix.EAGAIN:
				return false
			case err != nil:
				failed = err
				return true
			case done:
				return true
			}
		}
	})
	return errors.Join(err, failed)
}
