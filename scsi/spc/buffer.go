package spc

import (
	"slices"
	"sync"

	"github.com/isantarget/isantarget/scsi"
)

// The modes of READ BUFFER and WRITE BUFFER that are done (SPC-4 tables 217 and 283).
const (
	modeDescriptor           = 0x03
	modeEchoBuffer           = 0x0a
	modeEchoBufferDescriptor = 0x0b
)

const (
	echoCapacity = 4096 // bytes of an echo buffer
	echoNexuses  = 16   // nexuses that have one at a time
)

// echoBuffers are the echo buffers of a logical unit: one for each nexus (EBOS),
// for a few nexuses at a time. One more takes the place of the oldest, whose
// nexus is told so when it reads.
type echoBuffers struct {
	mu      sync.Mutex
	buffers []echoBuffer // oldest first
}

type echoBuffer struct {
	nexus *scsi.Nexus
	data  []byte
}

func newEchoBuffers() *echoBuffers { return &echoBuffers{} }

// writeBuffer is WRITE BUFFER (SPC-4 6.49).
func (e *echoBuffers) writeBuffer(c *scsi.Command) error {
	if c.CDB.Byte(1)&0x1f != modeEchoBuffer {
		return scsi.InvalidFieldInCDB(1, 4)
	}
	n := int(c.CDB.Uint24(6))
	if n > echoCapacity {
		return scsi.InvalidFieldInCDB(6, scsi.WholeByte)
	}
	list, err := c.ParameterList(n)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.buffers = slices.DeleteFunc(e.buffers, func(b echoBuffer) bool { return b.nexus == c.Nexus })
	if len(e.buffers) >= echoNexuses {
		e.buffers = slices.Delete(e.buffers, 0, 1)
	}
	e.buffers = append(e.buffers, echoBuffer{c.Nexus, slices.Clone(list)})
	return nil
}

// readBuffer is READ BUFFER (SPC-4 6.18).
func (e *echoBuffers) readBuffer(c *scsi.Command) error {
	allocation := int(c.CDB.Uint24(6))
	switch c.CDB.Byte(1) & 0x1f {
	case modeDescriptor:
		// No buffer is there but the echo buffer: OFFSET BOUNDARY and BUFFER CAPACITY are zero.
		return c.ReturnData(make([]byte, 4), allocation)
	case modeEchoBufferDescriptor:
		const ebos = 0x01
		return c.ReturnData([]byte{ebos, 0, echoCapacity >> 8, echoCapacity & 0xff}, allocation)
	case modeEchoBuffer:
		data, err := e.read(c.Nexus)
		if err != nil {
			return err
		}
		return c.ReturnData(data, allocation)
	}
	return scsi.InvalidFieldInCDB(1, 4)
}

// read is what n has written. Without that it is COMMAND SEQUENCE ERROR, which also
// answers a nexus that has lost its buffer to others.
func (e *echoBuffers) read(n *scsi.Nexus) ([]byte, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, b := range e.buffers {
		if b.nexus == n {
			return b.data, nil
		}
	}
	return nil, scsi.IllegalRequest(scsi.ASCCommandSequenceError)
}
