package sbc

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isantarget/isantarget/scsi"
	"github.com/isantarget/isantarget/scsi/spc"
)

const (
	maximumRanges        = 64        // range descriptors of one POPULATE TOKEN or WRITE USING TOKEN
	maximumTokenTransfer = 256 << 30 // bytes that one command or token is about
	optimalTokenTransfer = 64 << 20
	defaultTokenTimeout  = 300 // seconds without use after which a token expires
	maximumTokenTimeout  = 24 * 3600
	maximumTokens        = 256 // of a unit, those that have ended and are remembered included
)

// The fields of a ROD token (SPC-4 5.17.6).
const (
	tokenLength       = 512
	tokenLengthField  = tokenLength - 8 // ROD TOKEN LENGTH
	tokenIdentifier   = 8
	tokenCreator      = 16 // CREATOR LOGICAL UNIT DESCRIPTOR, a CSCD descriptor
	tokenBytes        = 48 // NUMBER OF BYTES REPRESENTED, sixteen bytes
	tokenDeviceType   = 96 // device type specific data: that of a block device
	tokenSecret       = tokenLength - 64
	tokenSecretLength = 64
	cscdLength        = 32
)

// tokens are the ROD tokens that stand for blocks of a unit. They are of the type
// point in time copy - change vulnerable: nothing is copied when one is made, and
// it ends when one of its blocks is written. So what a token gives is what was
// there when it was made, or an error.
type tokens struct {
	live atomic.Int32 // those that have not ended; the writers' question
	mu   sync.Mutex
	all  []*token // oldest first
}

// A token is a ROD token. Nobody can make one up: its identifier and secret are
// random.
type token struct {
	image   [tokenLength]byte
	extents []scsi.Extent // in the order of the ROD
	bounds  scsi.Extent   // all of them, and what is between
	blocks  uint64
	timeout time.Duration
	expires time.Time
	ended   scsi.SenseCode // why it is not to be used; 0 while it may
}

// add makes a token for extents of lu.
func (t *tokens) add(lu *scsi.LogicalUnit, blockSize int, extents []scsi.Extent, timeout time.Duration) *token {
	x := &token{extents: extents, timeout: timeout, expires: time.Now().Add(timeout)}
	low, high := extents[0].LBA, uint64(0)
	for _, e := range extents {
		x.blocks += e.Blocks
		low, high = min(low, e.LBA), max(high, e.LBA+e.Blocks)
	}
	x.bounds = scsi.Extent{LBA: low, Blocks: high - low}
	binary.BigEndian.PutUint32(x.image[:], spc.PointInTimeVulnerable)
	binary.BigEndian.PutUint16(x.image[6:], tokenLengthField)
	rand.Read(x.image[tokenIdentifier : tokenIdentifier+8]) // never fails
	spc.AppendCSCD(x.image[:tokenCreator], lu, blockSize)
	binary.BigEndian.PutUint64(x.image[tokenBytes+8:], x.blocks*uint64(blockSize))
	binary.BigEndian.PutUint32(x.image[tokenDeviceType:], uint32(blockSize))
	rand.Read(x.image[tokenSecret:])
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire()
	t.makeRoom()
	t.all = append(t.all, x)
	t.live.Add(1)
	return x
}

// makeRoom drops the oldest token that has ended, or else the oldest, where there
// is no room for one more. t.mu is held.
func (t *tokens) makeRoom() {
	if len(t.all) < maximumTokens {
		return
	}
	i := max(slices.IndexFunc(t.all, func(x *token) bool { return x.ended != 0 }), 0)
	t.end(t.all[i], scsi.ASCInvalidTokenOperationTokenCancelled)
	t.all = slices.Delete(t.all, i, i+1)
}

// end ends x, if it has not ended. t.mu is held.
func (t *tokens) end(x *token, why scsi.SenseCode) {
	if x.ended == 0 {
		x.ended = why
		t.live.Add(-1)
	}
}

// expire ends the tokens that nobody has used in time. t.mu is held.
func (t *tokens) expire() {
	now := time.Now()
	for _, x := range t.all {
		if now.After(x.expires) {
			t.end(x, scsi.ASCInvalidTokenOperationTokenExpired)
		}
	}
}

// changed ends the tokens that stand for a block of e. It is called before the
// block is written: who has read it since finds the token ended afterwards.
func (t *tokens) changed(e scsi.Extent) {
	if t.live.Load() == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire()
	for _, x := range t.all {
		if x.ended == 0 && x.bounds.Overlaps(e) && slices.ContainsFunc(x.extents, e.Overlaps) {
			t.end(x, scsi.ASCInvalidTokenOperationTokenRevoked)
		}
	}
}

// find is the token with this image, and counts as its use. It must be exactly
// the one that was made.
func (t *tokens) find(image []byte) (*token, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire()
	for _, x := range t.all {
		if string(x.image[tokenIdentifier:tokenIdentifier+8]) != string(image[tokenIdentifier:tokenIdentifier+8]) {
			continue
		}
		if subtle.ConstantTimeCompare(x.image[:], image) == 0 {
			return nil, scsi.IllegalRequest(scsi.ASCInvalidTokenOperationTokenCorrupt)
		}
		x.expires = time.Now().Add(x.timeout)
		return x, x.err()
	}
	return nil, scsi.IllegalRequest(scsi.ASCInvalidTokenOperationTokenUnknown)
}

// err says why x is not to be used. tokens.mu is held.
func (x *token) err() error {
	if x.ended != 0 {
		return scsi.IllegalRequest(x.ended)
	}
	return nil
}

// valid is err without the lock held, and counts as a use.
func (t *tokens) valid(x *token) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	x.expires = time.Now().Add(x.timeout)
	return x.err()
}

// delete ends x at the wish of who used it.
func (t *tokens) delete(x *token) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end(x, scsi.ASCInvalidTokenOperationTokenDeleted)
}

// everything is the extent that all blocks are in.
func everything() scsi.Extent { return wholeMedium(nil) }

// changing is op with its tokens ended first: what it is about to write is not what
// they stand for. One that waits for its data calls dataArrived then.
func (d *Device) changing(op scsi.Operation) scsi.Operation {
	execute, extent := op.Execute, op.Extent
	op.Execute = func(c *scsi.Command) error {
		if d.tokens.live.Load() > 0 {
			if extent == nil {
				d.tokens.changed(everything())
			} else {
				d.tokens.changed(extent(c.CDB))
			}
		}
		return execute(c)
	}
	return op
}

// dataArrived ends the tokens that were made of the blocks of c while it waited for the
// data that it is about to write: others pass it then (scsi.Command.StepBack).
func (d *Device) dataArrived(c *scsi.Command) {
	if d.tokens.live.Load() > 0 {
		d.tokens.changed(c.Extent())
	}
}
