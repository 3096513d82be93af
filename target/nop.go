package target

import (
	"errors"

	"github.com/isantarget/isantarget/iscsi"
)

// onNopOut is RFC 7143 11.18: an answer to our NOP-In, or a ping to be echoed.
func (c *Connection) onNopOut() error {
	var p iscsi.NopOut
	if err := p.Unmarshal(&c.header); err != nil {
		return c.rejectFatal(iscsi.RejectInvalidPDUField, err)
	}
	data, err := c.readText()
	if errors.Is(err, errDataDigest) {
		c.reject(iscsi.RejectDataDigestError)
		return nil
	}
	if err != nil {
		return err
	}
	return c.sequenced(p.Immediate, p.CmdSN, data, func() {
		if p.InitiatorTaskTag != iscsi.ReservedTag {
			c.echo(p.InitiatorTaskTag, data[:min(len(data), int(c.maxSend.Load()))])
		}
	})
}

func (c *Connection) echo(tag uint32, data []byte) {
	c.transmit.add(item{kind: itemMessage, message: &message{
		data: data,
		marshal: func(h *iscsi.BHS, sn serialNumbers) {
			p := iscsi.NopIn{InitiatorTaskTag: tag, TargetTransferTag: iscsi.ReservedTag, StatSN: sn.stat, ExpCmdSN: sn.exp, MaxCmdSN: sn.max}
			p.Marshal(h)
		},
	}})
}

// sendPing asks the peer for a sign of life (RFC 7143 11.19).
func (c *Connection) sendPing() {
	ttt := c.nextTransferTag()
	c.transmit.add(item{kind: itemMessage, message: &message{
		keepsStatSN: true,
		marshal: func(h *iscsi.BHS, sn serialNumbers) {
			p := iscsi.NopIn{InitiatorTaskTag: iscsi.ReservedTag, TargetTransferTag: ttt, StatSN: sn.stat, ExpCmdSN: sn.exp, MaxCmdSN: sn.max}
			p.Marshal(h)
		},
	}})
	c.transmit.flush(false)
}
