package outage

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
)

// What of the NBD protocol is spoken here (doc/proto.md of NetworkBlockDevice/nbd): the
// fixed newstyle handshake with NBD_OPT_GO, and simple replies.
const (
	nbdMagic        = 0x4e42444d41474943 // "NBDMAGIC"
	nbdOptionMagic  = 0x49484156454f5054 // "IHAVEOPT"
	nbdAnswerMagic  = 0x0003e889045565a9
	nbdRequestMagic = 0x25609513
	nbdReplyMagic   = 0x67446698

	nbdFixedNewstyle, nbdNoZeroes = 1, 2 // handshake flags

	nbdOptAbort, nbdOptGo = 2, 7

	nbdAck, nbdInfo, nbdUnsupported = 1, 3, 1<<31 + 1
	nbdInfoExport                   = 0

	nbdHasFlags, nbdSendFlush, nbdSendFUA = 1, 4, 8 // transmission flags

	nbdRead, nbdWrite, nbdDisconnect, nbdFlush = 0, 1, 2, 3
	nbdCommandFUA                              = 1

	nbdEIO = 5

	nbdMost = 32 << 20 // bytes of a request
)

// Serve serves a disk to whoever connects, until the listener is closed. Requests of a
// connection are carried out one after the other: that of the cache is the only order
// that there is.
func Serve(l net.Listener, d *Disk) error {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		// A connection ends with its client, which may be killed at any point.
		go func() {
			defer c.Close()
			_ = serveConnection(c, d)
		}()
	}
}

type nbdConnection struct {
	r *bufio.Reader
	w *bufio.Writer
	d *Disk
}

func serveConnection(c net.Conn, d *Disk) error {
	n := nbdConnection{r: bufio.NewReaderSize(c, 1<<16), w: bufio.NewWriterSize(c, 1<<16), d: d}
	if err := n.handshake(); err != nil {
		return err
	}
	for {
		if err := n.request(); err == errOff {
			_, err = io.Copy(io.Discard, n.r) // no answer, until the client is gone
			return err
		} else if err != nil {
			return err
		}
	}
}

func (n nbdConnection) send(words ...any) error {
	for _, w := range words {
		if err := binary.Write(n.w, binary.BigEndian, w); err != nil {
			return err
		}
	}
	return n.w.Flush()
}

func (n nbdConnection) handshake() error {
	if err := n.send(uint64(nbdMagic), uint64(nbdOptionMagic), uint16(nbdFixedNewstyle|nbdNoZeroes)); err != nil {
		return err
	}
	var flags uint32
	if err := binary.Read(n.r, binary.BigEndian, &flags); err != nil {
		return err
	}
	for {
		var option struct {
			Magic          uint64
			Number, Length uint32
		}
		if err := binary.Read(n.r, binary.BigEndian, &option); err != nil {
			return err
		}
		if option.Magic != nbdOptionMagic || option.Length > 1<<16 {
			return fmt.Errorf("NBD option %+v", option)
		}
		if _, err := io.CopyN(io.Discard, n.r, int64(option.Length)); err != nil {
			return err
		}
		answer := func(kind uint32, words ...any) error {
			length := 0
			for _, w := range words {
				length += binary.Size(w)
			}
			return n.send(append([]any{uint64(nbdAnswerMagic), option.Number, kind, uint32(length)}, words...)...)
		}
		switch option.Number {
		case nbdOptGo:
			transmission := uint16(nbdHasFlags | nbdSendFlush | nbdSendFUA)
			return errors.Join(answer(nbdInfo, uint16(nbdInfoExport), uint64(n.d.Size()), transmission), answer(nbdAck))
		case nbdOptAbort:
			return errors.Join(answer(nbdAck), io.EOF)
		}
		if err := answer(nbdUnsupported); err != nil {
			return err
		}
	}
}

func (n nbdConnection) request() error {
	var r struct {
		Magic       uint32
		Flags, Kind uint16
		Handle      uint64
		Offset      int64
		Length      uint32
	}
	if err := binary.Read(n.r, binary.BigEndian, &r); err != nil {
		return err
	}
	if r.Magic != nbdRequestMagic || r.Length > nbdMost {
		return fmt.Errorf("NBD request %+v", r)
	}
	var data []byte
	var err error
	switch r.Kind {
	case nbdRead:
		data = make([]byte, r.Length)
		_, err = n.d.ReadAt(data, r.Offset)
	case nbdWrite:
		p := make([]byte, r.Length)
		if _, err := io.ReadFull(n.r, p); err != nil {
			return err
		}
		err = n.d.WriteAt(p, r.Offset, r.Flags&nbdCommandFUA != 0)
	case nbdFlush:
		err = n.d.Flush()
	case nbdDisconnect:
		return io.EOF
	default:
		err = errors.ErrUnsupported
	}
	if err == errOff {
		return err
	}
	failure := uint32(0)
	if err != nil {
		data, failure = nil, nbdEIO
	}
	return n.send(uint32(nbdReplyMagic), failure, r.Handle, data)
}
