package isns

import "errors"

// A Change says what has become of a node (RFC 4171 6.4.4).
type Change uint32

// The changes of a State Change Notification, and what one registers for.
const (
	InitiatorAndSelf Change = 1 << 7 // only news of initiators, and of the node itself
	ObjectRemoved    Change = 1 << 4
	ObjectAdded      Change = 1 << 3
	ObjectUpdated    Change = 1 << 2
)

// allChanges is what a target wants to hear of.
const allChanges = InitiatorAndSelf | ObjectRemoved | ObjectAdded | ObjectUpdated

// A nodeChange is one change of a State Change Notification.
type nodeChange struct {
	change Change
	node   string
}

// A stateChange is a State Change Notification (RFC 4171 5.6.5.8).
type stateChange struct {
	destination string
	changes     []nodeChange
}

var errNotice = errors.New("isns: this is no State Change Notification (RFC 4171 5.6.5.8)")

// unmarshal reads the payload of an SCN. What stands behind a node, its Discovery Domains,
// is for management stations.
func (s *stateChange) unmarshal(payload []byte) error {
	all, err := ParseAttributes(payload)
	if err != nil {
		return err
	}
	if len(all) < 2 || all[0].Tag != NodeName || all[1].Tag != Timestamp {
		return errNotice
	}
	var ok bool
	if s.destination, ok = all[0].Text(); !ok {
		return errNotice
	}
	bits, due := uint32(0), false // a node is due behind its bitmap
	for _, a := range all[2:] {
		switch {
		case a.Tag == SCNBitmap:
			if bits, ok = a.Number(); !ok || due {
				return errNotice
			}
			due = true
		case due:
			node, ok := a.Text()
			if !ok || a.Tag != NodeName {
				return errNotice
			}
			s.changes = append(s.changes, nodeChange{Change(bits), node})
			due = false
		}
	}
	if due {
		return errNotice
	}
	return nil
}

// An inquiry is an Entity Status Inquiry (RFC 4171 5.6.5.13).
type inquiry struct {
	entity     string
	attributes []Attribute // all of it, for the answer
}

func (q *inquiry) unmarshal(payload []byte) (err error) {
	if q.attributes, err = ParseAttributes(payload); err != nil {
		return err
	}
	for _, a := range q.attributes {
		if a.Tag == EntityIdentifier {
			var ok bool
			if q.entity, ok = a.Text(); ok {
				return nil
			}
		}
	}
	return errors.New("isns: an Entity Status Inquiry without an entity (RFC 4171 5.6.5.13)")
}
