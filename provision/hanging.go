package provision

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/sirupsen/logrus"
)

// hangingUnits are units that were removed while commands hung in their stores.
// Each is closed when they have ended.
type hangingUnits struct {
	mu    sync.Mutex
	units map[*unit]struct{}
}

// await closes u once nothing hangs in it any more, in the background.
func (h *hangingUnits) await(u *unit, log *logrus.Entry) {
	h.mu.Lock()
	if h.units == nil {
		h.units = map[*unit]struct{}{}
	}
	h.units[u] = struct{}{}
	h.mu.Unlock()
	go func() {
		if u.lu.Idle(context.Background()) != nil {
			return
		}
		err := u.shut()
		h.mu.Lock()
		delete(h.units, u)
		h.mu.Unlock()
		entry := log.WithField("lun", u.config.Name)
		if err != nil {
			entry.WithError(err).Error("the removed LUN, in which commands hung, is closed")
			return
		}
		entry.Info("the removed LUN, in which commands hung, is synced and closed")
	}()
}

// names are those of the units, sorted.
func (h *hangingUnits) names() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var names []string
	for u := range maps.Keys(h.units) {
		names = append(names, u.config.Name)
	}
	slices.Sort(names)
	return names
}

// holder is the unit that holds the image at path; empty: none does.
func (h *hangingUnits) holder(path string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	for u := range h.units {
		if u.config.Path == path {
			return u.config.Name
		}
	}
	return ""
}
