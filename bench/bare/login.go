package bare

import (
	"io"
	"strconv"

	"github.com/isantarget/isantarget/iscsi"
)

// login says yes to whatever is asked, stage by stage, until the full feature phase.
func (c *connection) login(w io.Writer) error {
	for {
		if _, err := io.ReadFull(c.reader, c.header[:]); err != nil {
			return err
		}
		var p iscsi.LoginRequest
		if err := p.Unmarshal(&c.header); err != nil {
			return err
		}
		n := c.header.DataSegmentLength()
		if _, err := c.reader.Discard(n + iscsi.Pad(n)); err != nil {
			return err
		}
		c.expSN = p.CmdSN
		answer := iscsi.LoginResponse{
			Transit: p.Transit, CSG: p.CSG, NSG: p.NSG, ISID: p.ISID, TSIH: 1, InitiatorTaskTag: p.InitiatorTaskTag,
			StatSN: c.statSN, ExpCmdSN: c.expSN, MaxCmdSN: c.expSN + window - 1,
		}
		c.statSN++
		var text []byte
		if p.CSG == iscsi.LoginOperationalNegotiation {
			text = iscsi.AppendText(nil, iscsi.KeyValue{Key: "HeaderDigest", Value: "None"}, iscsi.KeyValue{Key: "DataDigest", Value: "None"},
				iscsi.KeyValue{Key: "InitialR2T", Value: "No"}, iscsi.KeyValue{Key: "ImmediateData", Value: "Yes"},
				iscsi.KeyValue{Key: "MaxRecvDataSegmentLength", Value: strconv.Itoa(segment)}, iscsi.KeyValue{Key: "FirstBurstLength", Value: strconv.Itoa(segment)})
		} else {
			text = iscsi.AppendText(nil, iscsi.KeyValue{Key: "TargetPortalGroupTag", Value: "1"}, iscsi.KeyValue{Key: "AuthMethod", Value: "None"})
		}
		var h iscsi.BHS
		answer.Marshal(&h)
		h.SetDataSegmentLength(len(text))
		out := append(append(h[:], text...), make([]byte, iscsi.Pad(len(text)))...)
		if _, err := w.Write(out); err != nil {
			return err
		}
		if p.Transit && p.NSG == iscsi.FullFeaturePhase {
			return nil
		}
	}
}
