package meter

import (
	"maps"
	"slices"
	"sync"
)

// A Unit counts what a logical unit does. It may outlive the unit: one that takes the
// place of another goes on counting where that has ended.
type Unit struct {
	mu   sync.Mutex // not taken by what counts
	rows map[string]*Row
}

// NewUnit makes a Unit that has counted nothing.
func NewUnit() *Unit { return &Unit{rows: map[string]*Row{}} }

// Row is where the commands of a name are counted. Asked again it is the same one. The
// caller bounds how many names there are.
func (u *Unit) Row(name string, d Direction) *Row {
	u.mu.Lock()
	defer u.mu.Unlock()
	r := u.rows[name]
	if r == nil {
		r = &Row{name: name, direction: d}
		u.rows[name] = r
	}
	return r
}

// UnitCount is what a Unit has counted.
type UnitCount struct {
	Rows []RowCount // of commands that have come, by name
}

// Count is what has been counted until now.
func (u *Unit) Count() UnitCount {
	var c UnitCount
	for _, r := range u.list() {
		if one, there := r.count(); there {
			c.Rows = append(c.Rows, one)
		}
	}
	return c
}

func (u *Unit) list() []*Row {
	u.mu.Lock()
	defer u.mu.Unlock()
	list := make([]*Row, 0, len(u.rows))
	for _, name := range slices.Sorted(maps.Keys(u.rows)) {
		list = append(list, u.rows[name])
	}
	return list
}

// Flow is what the rows have counted, by direction.
func (c *UnitCount) Flow() (f FlowCount) {
	for i := range c.Rows {
		r := &c.Rows[i]
		f.By[r.Direction].Add(&r.StreamCount)
		f.Failures.Add(r.Failures)
	}
	return f
}
