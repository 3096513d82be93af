package target

import (
	"maps"
	"sync"
	"sync/atomic"

	"github.com/isantarget/isantarget/iscsi"
)

// LoginCount is how many logins there were, and how they ended. The numbers only grow.
type LoginCount struct {
	Normal, Discovery uint64                       // connections that have come to the full feature phase
	Refused           map[iscsi.LoginStatus]uint64 // by what the initiator was told
	CHAPFailures      uint64                       // wrong answers to a challenge
}

// logins are a LoginCount that grows.
type logins struct {
	normal, discovery atomic.Uint64

	mu      sync.Mutex
	refused map[iscsi.LoginStatus]uint64
}

func (l *logins) refuse(status iscsi.LoginStatus) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refused == nil {
		l.refused = map[iscsi.LoginStatus]uint64{}
	}
	l.refused[status]++
}

// LoginCount is how many logins there were until now.
func (e *Entity) LoginCount() LoginCount {
	l := &e.logins
	l.mu.Lock()
	defer l.mu.Unlock()
	return LoginCount{Normal: l.normal.Load(), Discovery: l.discovery.Load(), CHAPFailures: e.guesses.Count(), Refused: maps.Clone(l.refused)}
}
