package isns

import (
	"errors"
	"fmt"
	"net"
)

func isClosed(err error) bool { return errors.Is(err, net.ErrClosed) }

// hear takes what somebody says who was not asked, and is the answer to it; nil: none is due.
// It may be called from several goroutines.
func (c *Client) hear(m Message) *Message {
	if m.Function.IsResponse() {
		return nil
	}
	reply := &Message{Function: m.Function.Response(), Flags: FromClient, Transaction: m.Transaction}
	switch m.Function {
	case ESI:
		var q inquiry
		if q.unmarshal(m.Payload) != nil || !c.isEntity(q.entity) {
			return nil // ESIRsp knows no other status than success (RFC 4171 5.7.5.13)
		}
		c.listeners.heard.Add(1)
		c.listeners.inquired.Add(1)
		reply.Payload = answer(Successful, q.attributes...)
	case SCN:
		var s stateChange
		if s.unmarshal(m.Payload) != nil {
			reply.Payload = answer(MessageFormatError)
			break
		}
		if !c.isOurs(s.destination) {
			reply.Payload = answer(NoSuchEntry, Text(NodeName, s.destination))
			break
		}
		c.listeners.heard.Add(1)
		c.noteUsed(s.destination)
		for _, change := range s.changes {
			c.honour(s.destination, change)
		}
		reply.Payload = answer(Successful, Text(NodeName, s.destination))
	default:
		reply.Payload = answer(MessageNotSupported)
	}
	return reply
}

// honour does what follows from a change: of our own nodes, that we look what the server has,
// as upon any notice; of others, that it is told.
func (c *Client) honour(destination string, n nodeChange) {
	if c.isOurs(n.node) {
		return // what has gone is registered again when we look, which noteUsed brings about
	}
	what := ""
	switch {
	case len(n.node) > 223: // no iSCSI name (RFC 7143 4.2.7.1)
	case n.change&ObjectRemoved != 0:
		what = "has left, or is in no discovery domain any more with"
	case n.change&ObjectAdded != 0:
		what = "is now in a discovery domain with"
	default: // it says nothing new of itself, as it does to stay registered
		return
	}
	if c.listeners.mayTell() {
		c.options.Tell(Event{Text: fmt.Sprintf("the iSNS server says that %q %s %s", n.node, what, destination)})
	}
}

// noteUsed notes that a notice has come for a node of ours, so that the next ones can.
func (c *Client) noteUsed(name string) {
	c.mu.Lock()
	c.used[name] = struct{}{}
	c.mu.Unlock()
	signal(c.noticed)
}

func (c *Client) isEntity(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return name != "" && name == c.want.Entity
}

// isOurs tells whether a node is, or was, one of ours.
func (c *Client) isOurs(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, is := c.ours[name]
	return is
}
