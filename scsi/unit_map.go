package scsi

import (
	"maps"
	"slices"
)

// A UnitMap is the task router (SAM-5 4.5.7) of one I_T nexus: which logical
// unit answers under which LUN. It does not change; a new map replaces it whole.
type UnitMap struct {
	units  map[LUN]*LogicalUnit
	luns   []LUN
	absent *LogicalUnit
}

// NewUnitMap makes a map of units. absent answers for every LUN that is not in
// it (SPC-4 6.6.2: peripheral qualifier 011b).
func NewUnitMap(absent *LogicalUnit, units map[LUN]*LogicalUnit) *UnitMap {
	return &UnitMap{units: maps.Clone(units), luns: slices.Sorted(maps.Keys(units)), absent: absent}
}

// Find is the logical unit of lun; never nil.
func (m *UnitMap) Find(lun LUN) *LogicalUnit {
	if lu, ok := m.units[lun]; ok {
		return lu
	}
	return m.absent
}

// Has tells whether lun is mapped.
func (m *UnitMap) Has(lun LUN) bool {
	_, ok := m.units[lun]
	return ok
}

// Equal tells whether o has the same units under the same LUNs.
func (m *UnitMap) Equal(o *UnitMap) bool { return maps.Equal(m.units, o.units) }

// Leads tells whether a LUN of the map is that of lu.
func (m *UnitMap) Leads(lu *LogicalUnit) bool {
	for _, u := range m.units {
		if u == lu {
			return true
		}
	}
	return false
}

// LUNs are the mapped LUNs in ascending order, for REPORT LUNS. The caller must not change them.
func (m *UnitMap) LUNs() []LUN { return m.luns }

// Units calls f for each logical unit, the one that answers for absent LUNs not among them.
func (m *UnitMap) Units(f func(LUN, *LogicalUnit)) {
	for _, l := range m.luns {
		f(l, m.units[l])
	}
}
