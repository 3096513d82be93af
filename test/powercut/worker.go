package powercut

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
)

// A Worker writes to the blocks of its ledger, which nobody else writes to.
type Worker struct {
	*Ledger
	Address, Target, Name string
	LUN                   uint8
	WriteThrough          bool // the unit has no write cache: every write is durable when it is answered
	Chances               *rand.Rand

	c *initiator.Connection
	// Commands counts what was answered with GOOD; Wrong is what was read and cannot be.
	Commands int
	Wrong    []string
	// Patience is how many commands may fail in a row before Run ends; 0: three.
	Patience int
}

// Login logs in, and takes the unit attentions of the new nexus.
func (w *Worker) Login() error {
	w.Close()
	c, err := initiator.Dial(w.Address, initiator.Options{Timeout: time.Minute}) // guests are slow on a busy machine
	if err != nil {
		return err
	}
	w.c = c
	if err := c.Login(initiator.Login{InitiatorName: w.Name, TargetName: w.Target, SessionType: "Normal", ISID: initiator.RandomISID()}); err != nil {
		return err
	}
	for range 20 {
		r, err := c.Execute(initiator.Command{LUN: initiator.LUN(w.LUN), CDB: make([]byte, 6)})
		if err != nil {
			return err
		}
		if key, _ := r.SenseCode(); r.Status == 0 || key != 6 {
			return nil
		}
	}
	return fmt.Errorf("nothing but unit attentions")
}

// Close drops the connection.
func (w *Worker) Close() {
	if w.c != nil {
		w.c.Close()
		w.c = nil
	}
}

// A request is a command on its way.
type request struct {
	task    *initiator.Task
	at, n   int // blocks
	value   Value
	durable bool
}

// Run works until stop, or until the unit or the connection does not serve any more.
func (w *Worker) Run(stop *atomic.Bool) {
	patience := max(w.Patience, 3)
	for failures := 0; !stop.Load() && failures < patience; {
		var ok bool
		var err error
		switch w.Chances.IntN(8) {
		case 0:
			ok, err = w.synchronize()
		case 1:
			ok, err = w.look()
		default:
			ok, err = w.batch(1 + w.Chances.IntN(8))
		}
		if err != nil {
			return
		}
		if failures++; ok {
			failures = 0
		}
	}
}

func (w *Worker) synchronize() (ok bool, err error) {
	r, err := w.c.Execute(w.flush())
	if err != nil || r.Status != 0 {
		return false, err
	}
	w.Commands++
	w.Flushed()
	return true, nil
}

// look reads some blocks while nothing is on its way to them.
func (w *Worker) look() (ok bool, err error) {
	n := 1 + w.Chances.IntN(min(w.Blocks(), 64))
	at := w.Chances.IntN(w.Blocks() - n + 1)
	r, err := w.c.Execute(w.read(at, n))
	if err != nil || r.Status != 0 {
		return false, err
	}
	w.Commands++
	w.Wrong = append(w.Wrong, w.Holds(at, r.Data)...)
	return true, nil
}

// read is READ (16) of n blocks from the block at on.
func (w *Worker) read(at, n int) initiator.Command {
	cdb := make([]byte, 16)
	cdb[0] = 0x88
	binary.BigEndian.PutUint64(cdb[2:], uint64(w.First)+uint64(at))
	binary.BigEndian.PutUint32(cdb[10:], uint32(n))
	return initiator.Command{LUN: initiator.LUN(w.LUN), CDB: cdb, Read: n * w.BlockSize}
}

func (w *Worker) flush() initiator.Command {
	cdb := []byte{0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	if w.Chances.IntN(2) == 0 {
		cdb = append([]byte{0x91}, make([]byte, 15)...)
	}
	return initiator.Command{LUN: initiator.LUN(w.LUN), CDB: cdb}
}

// batch sends some commands to blocks of their own and waits for all of them.
func (w *Worker) batch(size int) (ok bool, err error) {
	var sent []request
	share := w.Blocks() / size
	for i := range size {
		n := 1 + w.Chances.IntN(min(share, 24))
		r, err := w.send(i*share+w.Chances.IntN(share-n+1), n)
		if err != nil {
			return false, err
		}
		sent = append(sent, r)
	}
	ok = true
	for _, r := range sent {
		result, err := r.task.Wait()
		if err != nil {
			return false, err
		}
		if result.Status != 0 {
			ok = false
			continue
		}
		w.Commands++
		w.Acknowledged(r.at, r.n, r.value, r.durable || w.WriteThrough)
	}
	return ok, nil
}

// send writes n blocks from the block at on, in one of the ways that there are.
func (w *Worker) send(at, n int) (request, error) {
	r := request{at: at, n: n, value: w.Next()}
	lba := w.First + uint32(at)
	cdb := make([]byte, 16)
	binary.BigEndian.PutUint64(cdb[2:], uint64(lba))
	binary.BigEndian.PutUint32(cdb[10:], uint32(n))
	data := make([]byte, n*w.BlockSize)
	switch w.Chances.IntN(10) {
	case 0: // WRITE SAME (16)
		cdb[0] = 0x93
		data = data[:w.BlockSize]
		w.StampSame(data, r.value)
	case 1: // WRITE SAME (16) with UNMAP: zeros
		cdb[0], cdb[1] = 0x93, 8
		data, r.value = data[:w.BlockSize], 0
	case 2: // WRITE (16) with FUA
		cdb[0], cdb[1], r.durable = 0x8a, 8, true
		w.Stamp(data, at, r.value)
	case 3: // WRITE AND VERIFY (16)
		cdb[0], cdb[1], r.durable = 0x8e, 2, true
		w.Stamp(data, at, r.value)
	case 4: // UNMAP: zeros
		r.value = 0
		cdb = []byte{0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0}
		data = make([]byte, 24)
		binary.BigEndian.PutUint16(data, 22)
		binary.BigEndian.PutUint16(data[2:], 16)
		binary.BigEndian.PutUint64(data[8:], uint64(lba))
		binary.BigEndian.PutUint32(data[16:], uint32(n))
	default: // WRITE (16)
		cdb[0] = 0x8a
		w.Stamp(data, at, r.value)
	}
	w.Sent(at, n, r.value)
	var err error
	r.task, err = w.c.Start(initiator.Command{LUN: initiator.LUN(w.LUN), CDB: cdb, Write: data, Attribute: iscsi.AttributeSimple})
	return r, err
}

// Check reads all blocks and says what is wrong with them.
func (w *Worker) Check() (wrong []string, err error) {
	all, err := w.Read()
	if err != nil {
		return nil, err
	}
	return w.Verify(all), nil
}

// Read reads all blocks.
func (w *Worker) Read() (all []byte, err error) {
	const piece = 128 // blocks
	for at := 0; at < w.Blocks(); at += piece {
		n := min(piece, w.Blocks()-at)
		for tries := 0; ; tries++ {
			r, err := w.c.Execute(w.read(at, n))
			if err != nil {
				return nil, err
			}
			if r.Status == 0 {
				all = append(all, r.Data...)
				break
			}
			if key, code := r.SenseCode(); tries == 20 || key != 6 && (len(r.Sense) == 0 || r.Sense[0]&0x7f != 0x71) { // not told for the past
				return nil, fmt.Errorf("READ of block %d: status %02x, sense %x/%04x", w.First+uint32(at), r.Status, key, code)
			}
		}
	}
	return all, nil
}
