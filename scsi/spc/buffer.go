package spc

import (
	"slices"
	"sync"

	"github.com/isantarget/isantarget/scsi"
)

// The modes of READ BUFFER and WRITE BUFFER that are done (SPC-4 tables 226 and
// 338). The MODE field stands where other commands have a service action, and
// the command table treats it as one (SPC-4 table 292).
const (
	modeDescriptor           = 0x03
	modeEchoBuffer           = 0x0a
	modeEchoBufferDescriptor = 0x0b
)

const (
	echoCapacity = 4096 // bytes of an echo buffer: the most there may be
	echoNexuses  = 16   // nexuses that have data in one at a time
	echoKnown    = 256  // nexuses that are remembered to have written
)

// echoBuffers are the echo buffers of a logical unit: one for each nexus. Only the
// last few that were written keep their data; to the others it is as if another
// nexus had overwritten theirs, and they are told so (EBOS).
type echoBuffers struct {
	mu      sync.Mutex
	buffers []echoBuffer // oldest first
}

type echoBuffer struct {
	nexus *scsi.Nexus
	data  []byte // nil: overwritten
}

func newEchoBuffers() *echoBuffers { return &echoBuffers{} }

// row is the row of one mode of READ BUFFER or WRITE BUFFER. BUFFER ID and BUFFER
// OFFSET may have any value, for the modes of the echo buffer ignore them; those modes
// are let through in every access state.
func (e *echoBuffers) row(name string, opcode, mode byte, conflict scsi.Conflict, traits scsi.Traits, execute func(*scsi.Command) error) scsi.Operation {
	access := scsi.InEveryState
	if mode == modeDescriptor {
		access = 0
	}
	return scsi.Operation{
		Name: name, Opcode: opcode, ServiceAction: uint16(mode), HasServiceAction: true,
		Usage:    []byte{opcode, mode, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0},
		Timeouts: brief(), Conflict: conflict, Access: access, Traits: traits | scsi.WithoutMedium,
		Execute: execute,
	}
}

// write is WRITE BUFFER in the mode write data to echo buffer (SPC-4 6.49.9).
func (e *echoBuffers) write(c *scsi.Command) error {
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
	if len(e.buffers) >= echoKnown {
		e.buffers = slices.Delete(e.buffers, 0, 1)
	}
	e.buffers = append(e.buffers, echoBuffer{c.Nexus, append([]byte{}, list...)})
	if oldest := len(e.buffers) - 1 - echoNexuses; oldest >= 0 {
		e.buffers[oldest].data = nil
	}
	return nil
}

// read is READ BUFFER in the mode read data from echo buffer (SPC-4 6.18.6).
func (e *echoBuffers) read(c *scsi.Command) error {
	data, err := e.of(c.Nexus)
	if err != nil {
		return err
	}
	return c.ReturnData(data, int(c.CDB.Uint24(6)))
}

// of is what n has written.
func (e *echoBuffers) of(n *scsi.Nexus) ([]byte, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, b := range e.buffers {
		if b.nexus == n && b.data != nil {
			return b.data, nil
		} else if b.nexus == n {
			return nil, scsi.AbortedCommand(scsi.ASCEchoBufferOverwritten)
		}
	}
	return nil, scsi.IllegalRequest(scsi.ASCCommandSequenceError)
}

// echoBufferDescriptor is READ BUFFER in the mode of that name (SPC-4 6.18.7).
func echoBufferDescriptor(c *scsi.Command) error {
	const ebos = 0x01
	return c.ReturnData([]byte{ebos, 0, echoCapacity >> 8, echoCapacity & 0xff}, int(c.CDB.Uint24(6)))
}

// noBuffer is READ BUFFER in descriptor mode (SPC-4 6.18.5): there is no buffer
// but the echo buffers, so OFFSET BOUNDARY and BUFFER CAPACITY are zero.
func noBuffer(c *scsi.Command) error {
	return c.ReturnData(make([]byte, 4), int(c.CDB.Uint24(6)))
}
