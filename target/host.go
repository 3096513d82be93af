package target

import (
	"strings"
	"time"

	"github.com/isantarget/isantarget/iscsi"
)

// awaitHosts waits until it is known of the hosts of nodes whether they let the initiator in;
// for all together not longer than Limits.HostBound. No lock is held.
func (l *login) awaitHosts(nodes ...*Node) {
	initiator, from := l.initiator, l.c.remote.Addr()
	bound := time.NewTimer(l.c.entity.limits.HostBound)
	defer bound.Stop()
	for _, n := range nodes {
		for _, r := range n.shape.Load().rules {
			if !r.names(initiator) {
				continue
			}
			if r.anywhere() || r.near(from) {
				if r.CHAP == nil {
					break // no rule behind it is asked; see admitting
				}
				continue
			}
			for _, h := range r.Hosts {
				select {
				case <-h.Asked():
				case <-bound.C:
					return
				}
			}
		}
	}
}

// doubts says which hosts of the rules that name the initiator are not known, and why.
func (n *Node) doubts(initiator iscsi.Name) string {
	var b strings.Builder
	for _, r := range n.shape.Load().rules {
		for _, h := range r.Hosts {
			if doubt := h.Doubt(); doubt != "" && r.names(initiator) {
				b.WriteString("; " + doubt + " (" + r.Label + ")")
			}
		}
	}
	return b.String()
}
