package target

import (
	"slices"

	"github.com/isantarget/isantarget/iscsi"
)

// maxText bounds the text of one exchange, which an initiator may continue over
// several requests.
const maxText = 64 << 10

// A textExchange is a text negotiation in the full feature phase that takes
// more than one PDU (RFC 7143 7.2): what has been said, or what is left to say.
type textExchange struct {
	open    bool
	tag     uint32 // Initiator Task Tag
	ttt     uint32
	request []byte
	answer  []byte // what has not been sent yet
}

// onText is RFC 7143 11.10.
func (c *Connection) onText() error {
	var p iscsi.TextRequest
	if err := p.Unmarshal(&c.header); err != nil {
		return c.rejectFatal(iscsi.RejectInvalidPDUField, err)
	}
	text, err := c.readText()
	if err == errDataDigest {
		c.reject(iscsi.RejectDataDigestError)
		return nil
	}
	if err != nil {
		return err
	}
	header := c.header
	return c.sequenced(p.Immediate, p.CmdSN, text, func() { c.handleText(&p, &header, text) })
}

// handleText takes one request in its turn. The reader of another connection may
// bring one that came early.
func (c *Connection) handleText(p *iscsi.TextRequest, header *iscsi.BHS, text []byte) {
	c.texting.Lock()
	defer c.texting.Unlock()
	x := &c.text
	switch {
	case p.TargetTransferTag == iscsi.ReservedTag:
		// A new exchange; it replaces one that was not ended (RFC 7143 11.10.4).
		*x = textExchange{open: true, tag: p.InitiatorTaskTag}
	case !x.open || p.InitiatorTaskTag != x.tag || p.TargetTransferTag != x.ttt:
		c.rejectHeader(iscsi.RejectProtocolError, header)
		return
	}
	if len(x.answer) > 0 {
		c.sendText(p.Final)
		return
	}
	x.request = append(x.request, text...)
	if len(x.request) > maxText {
		*x = textExchange{}
		c.rejectHeader(iscsi.RejectLongOperation, header)
		return
	}
	if p.Continue {
		c.sendText(false)
		return
	}
	pairs, err := iscsi.ParseText(x.request, iscsi.TextLimits{})
	if err != nil {
		*x = textExchange{}
		c.log.WithError(err).Warn("text request refused")
		c.rejectHeader(iscsi.RejectProtocolError, header)
		return
	}
	x.request = nil
	x.answer = iscsi.AppendText(nil, c.answerText(pairs)...)
	c.sendText(p.Final)
}

// sendText sends the next piece of the answer.
func (c *Connection) sendText(initiatorDone bool) {
	x := &c.text
	n := min(len(x.answer), int(c.maxSend.Load()))
	piece := x.answer[:n]
	x.answer = x.answer[n:]
	p := iscsi.TextResponse{
		Final: initiatorDone && len(x.answer) == 0, Continue: len(x.answer) > 0,
		InitiatorTaskTag: x.tag, TargetTransferTag: iscsi.ReservedTag,
	}
	if p.Final {
		*x = textExchange{}
	} else {
		x.ttt = c.nextTransferTag()
		p.TargetTransferTag = x.ttt
	}
	c.transmit.add(item{kind: itemMessage, message: &message{
		data: piece,
		marshal: func(h *iscsi.BHS, sn serialNumbers) {
			p.StatSN, p.ExpCmdSN, p.MaxCmdSN = sn.stat, sn.exp, sn.max
			p.Marshal(h)
		},
	}})
}

// answerText answers the keys of a text request in the full feature phase.
func (c *Connection) answerText(pairs []iscsi.KeyValue) []iscsi.KeyValue {
	var answers []iscsi.KeyValue
	for _, kv := range pairs {
		rule, known := iscsi.LookupKey(kv.Key)
		switch {
		case !known:
			answers = append(answers, iscsi.KeyValue{Key: kv.Key, Value: iscsi.AnswerNotUnderstood})
		case kv.Key == "SendTargets":
			answers = append(answers, c.sendTargets(kv.Value)...)
		case kv.Key == "MaxRecvDataSegmentLength":
			if n, err := iscsi.ParseNumber(kv.Value); err == nil && rule.InRange(n) {
				c.maxSend.Store(int32(n))
			} else {
				answers = append(answers, iscsi.KeyValue{Key: kv.Key, Value: iscsi.AnswerReject})
			}
		case rule.Initiator == iscsi.AnyPhase:
			// a declaration that needs no answer
		default:
			answers = append(answers, iscsi.KeyValue{Key: kv.Key, Value: iscsi.AnswerReject})
		}
	}
	return answers
}

// sendTargets answers SendTargets (RFC 7143 Appendix C): the nodes this
// initiator may log in to, with the addresses it can reach.
func (c *Connection) sendTargets(value string) []iscsi.KeyValue {
	s := c.session
	var nodes []*Node
	switch {
	case value == "All" && s.discovery:
		for _, n := range *c.entity.nodes.Load() {
			nodes = append(nodes, n)
		}
		slices.SortFunc(nodes, func(a, b *Node) int {
			if a.name < b.name {
				return -1
			}
			return 1
		})
	case value == "All":
		return []iscsi.KeyValue{{Key: "SendTargets", Value: iscsi.AnswerReject}}
	case value == "" && !s.discovery:
		nodes = []*Node{s.node}
	default:
		if name, err := iscsi.ParseName(value); err == nil {
			if n := c.entity.node(name); n != nil && (s.discovery || n == s.node) {
				nodes = []*Node{n}
			}
		}
	}
	var answers []iscsi.KeyValue
	for _, n := range nodes {
		answers = append(answers, n.describe(c)...)
	}
	return answers
}

// describe is TargetName and the TargetAddresses of n for the peer of c; nothing
// if it may not log in.
func (n *Node) describe(c *Connection) []iscsi.KeyValue {
	if len(n.admitting(c.session.initiator, c.remote.Addr())) == 0 {
		return nil
	}
	var addresses []iscsi.KeyValue
	for _, g := range n.shape.Load().groups {
		for _, a := range g.reachable(c.local, c.remote) {
			value := a.String() + "," + iscsi.FormatNumber(uint64(g.tag))
			addresses = append(addresses, iscsi.KeyValue{Key: "TargetAddress", Value: value})
		}
	}
	if len(addresses) == 0 {
		return nil
	}
	return append([]iscsi.KeyValue{{Key: "TargetName", Value: string(n.name)}}, addresses...)
}
