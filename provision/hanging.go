package provision

import (
	"maps"
	"slices"
	"sync"

	"github.com/sirupsen/logrus"
)

// hangingUnits are units that were removed while their stores hung, or commands in
// them. Each is closed when that has ended.
type hangingUnits struct {
	mu    sync.Mutex
	units map[*unit]struct{}
}

// await waits for the end of u in the background.
func (h *hangingUnits) await(u *unit, end func() error, log *logrus.Entry) {
	h.mu.Lock()
	if h.units == nil {
		h.units = map[*unit]struct{}{}
	}
	h.units[u] = struct{}{}
	h.mu.Unlock()
	go func() {
		err := end()
		h.mu.Lock()
		delete(h.units, u)
		h.mu.Unlock()
		entry := log.WithField("lun", u.config.Name)
		if err != nil {
			entry.WithError(err).Error("the removed LUN, which hung, is closed")
			return
		}
		entry.Info("the removed LUN, which hung, is synced and closed")
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
