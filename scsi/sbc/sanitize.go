package sbc

import (
	"encoding/binary"
	"fmt"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/scsi"
)

// The service actions of SANITIZE (SBC-3 table 87). There is no CRYPTOGRAPHIC
// ERASE (03h): nothing here is encrypted.
const (
	sanitizeOverwrite  = 0x01
	sanitizeBlockErase = 0x02
	exitFailureMode    = 0x1f
)

const (
	overwriteHeader = 4 // of the parameter list of OVERWRITE, before the pattern
	overwriteInvert = 0x80
	overwriteCount  = 0x1f
	sanitizeImmed   = 0x80
	sanitizeAUSE    = 0x20 // allow unrestricted sanitize exit
)

// sanitizeOperations are the rows of SANITIZE. They are alone when they begin, so
// that no older command acts on the medium any more.
func (d *Device) sanitizeOperations() []scsi.Operation {
	row := func(name string, action byte, length byte, traits scsi.Traits, execute func(*scsi.Command) error) scsi.Operation {
		return scsi.Operation{
			Name: name, Opcode: 0x48, ServiceAction: uint16(action), HasServiceAction: true,
			Usage:    []byte{0x48, sanitizeImmed | sanitizeAUSE | action, 0, 0, 0, 0, 0, length, length, 0},
			Timeouts: scsi.CommandTimeouts{Nominal: 60, Recommended: 24 * 3600},
			Conflict: scsi.ConflictAlways, Order: scsi.Alone, Traits: scsi.WithoutMedium | scsi.DuringSanitize | traits,
			Execute: execute,
		}
	}
	return []scsi.Operation{
		row("SANITIZE (OVERWRITE)", sanitizeOverwrite, 0xff, scsi.Writes, d.overwrite),
		row("SANITIZE (BLOCK ERASE)", sanitizeBlockErase, 0, scsi.Writes, d.blockErase),
		row("SANITIZE (EXIT FAILURE MODE)", exitFailureMode, 0, 0, d.exitFailureMode),
	}
}

// overwrite is SANITIZE with the OVERWRITE service action (SBC-3 5.25.2.2).
func (d *Device) overwrite(c *scsi.Command) error {
	m, err := d.beginSanitize(c)
	if err != nil {
		return err
	}
	n := int(c.CDB.Uint16(7))
	if n <= overwriteHeader || n > overwriteHeader+d.blockSize {
		return scsi.InvalidFieldInCDB(7, scsi.WholeByte)
	}
	p, err := c.ParameterList(n)
	if err != nil {
		return err
	}
	length := int(binary.BigEndian.Uint16(p[2:])) // INITIALIZATION PATTERN LENGTH
	switch {
	case p[0]&^(overwriteInvert|overwriteCount) != 0: // TEST
		return scsi.InvalidFieldInParameterList(0, 6)
	case p[0]&overwriteCount == 0:
		return scsi.InvalidFieldInParameterList(0, 4)
	case p[1] != 0:
		return scsi.InvalidFieldInParameterList(1, scsi.WholeByte)
	case length == 0 || length > n-overwriteHeader:
		return scsi.InvalidFieldInParameterList(2, scsi.WholeByte)
	}
	return d.sanitizeFor(c, m, sanitization{
		Action: sanitizeOverwrite, Passes: int(p[0] & overwriteCount), Invert: p[0]&overwriteInvert != 0,
		Pattern: append([]byte(nil), p[overwriteHeader:overwriteHeader+length]...),
	})
}

// blockErase is SANITIZE with the BLOCK ERASE service action (SBC-3 5.25.2.3):
// the space of all blocks is given back, as far as the store can; they read as zeros.
func (d *Device) blockErase(c *scsi.Command) error {
	m, err := d.beginSanitize(c)
	if err != nil {
		return err
	}
	return d.sanitizeFor(c, m, sanitization{Action: sanitizeBlockErase, Passes: 1})
}

// exitFailureMode is SANITIZE with the EXIT FAILURE MODE service action (SBC-3
// 5.25.2.5): the unit is as ready as its blocks may be undefined. Only an operation
// that was begun with AUSE may be left so.
func (d *Device) exitFailureMode(c *scsi.Command) error {
	return d.sanitize.leave()
}

// beginSanitize is begin for SANITIZE, which is taken in failure mode as well.
func (d *Device) beginSanitize(c *scsi.Command) (*backstore.Medium, error) {
	if s := d.Ready(); s != nil && s.Code != scsi.ASCSanitizeCommandFailed {
		return nil, s
	}
	if d.sanitize.restricted() && c.CDB.Byte(1)&sanitizeAUSE != 0 {
		return nil, scsi.InvalidFieldInCDB(1, 5)
	}
	m, err := d.begin(c)
	if err != nil {
		return nil, err
	}
	if d.isReadOnly(m) {
		return nil, scsi.DataProtect(scsi.ASCWriteProtected)
	}
	return m, nil
}

// sanitizeFor starts s. It goes on in the background whatever becomes of the
// command: neither task management nor a reset nor the end of the nexus stops it
// (SBC-3 4.11). Without IMMED the command waits for it.
func (d *Device) sanitizeFor(c *scsi.Command, m *backstore.Medium, s sanitization) error {
	s.Unrestricted, s.Place = c.CDB.Byte(1)&sanitizeAUSE != 0, d.place
	finished, err := d.startSanitize(m, s)
	if err != nil {
		return err
	}
	c.StandAside() // the others are to hear at once what goes on
	if c.CDB.Byte(1)&sanitizeImmed != 0 {
		return nil
	}
	select {
	case <-finished:
	case <-c.Done():
		return scsi.ErrAborted
	}
	if sense := d.sanitize.sense(); sense != nil {
		return sense
	}
	return nil
}

// startSanitize makes a record of s and works it off. The record comes first: a
// daemon that is killed meanwhile goes on when it is started again.
func (d *Device) startSanitize(m *backstore.Medium, s sanitization) (finished <-chan struct{}, err error) {
	done := make(chan struct{})
	if err := d.sanitize.start(s, d.offset(d.capacity(m))*int64(s.Passes)); err != nil {
		return nil, fmt.Errorf("sanitize: %w", err)
	}
	d.tokens.changed(everything())
	d.background.start(func() {
		defer close(done)
		d.runSanitize(m, s)
	})
	return done, nil
}
