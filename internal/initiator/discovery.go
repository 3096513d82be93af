package initiator

import (
	"github.com/isantarget/isantarget/iscsi"
)

// A Target is one entry of a SendTargets answer (RFC 7143 appendix C).
type Target struct {
	Name      string
	Addresses []string // "address:port,tag"
}

// SendTargets asks for the targets: "All", a name, or "" for the one of this session.
func (c *Connection) SendTargets(which string) ([]Target, error) {
	pairs, err := c.Text(0, iscsi.KeyValue{Key: "SendTargets", Value: which})
	if err != nil {
		return nil, err
	}
	var targets []Target
	for _, kv := range pairs {
		switch {
		case kv.Key == "TargetName":
			targets = append(targets, Target{Name: kv.Value})
		case kv.Key == "TargetAddress" && len(targets) > 0:
			last := &targets[len(targets)-1]
			last.Addresses = append(last.Addresses, kv.Value)
		case kv.Key == "TargetAlias" && len(targets) > 0:
		default:
			if err := c.judge(violation("appendix C", "%s=%s in a SendTargets answer", kv.Key, kv.Value)); err != nil {
				return nil, err
			}
		}
	}
	return targets, nil
}
