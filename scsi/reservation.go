package scsi

// Reserve is RESERVE of SPC-2 (7.21) without extents and third parties: n holds
// the whole unit, and commands of others whose row conflicts end with
// RESERVATION CONFLICT. It gives ReservationConflict if another nexus holds it.
func (lu *LogicalUnit) Reserve(n *Nexus) error {
	if lu.reservedBy.CompareAndSwap(nil, n) || lu.reservedBy.Load() == n {
		return nil
	}
	return ReservationConflict
}

// Release is RELEASE of SPC-2 (7.16). From a nexus that holds no reservation it
// does nothing, which is no error.
func (lu *LogicalUnit) Release(n *Nexus) { lu.reservedBy.CompareAndSwap(n, nil) }

// ReservedBy is the nexus that holds the unit by RESERVE, or nil.
func (lu *LogicalUnit) ReservedBy() *Nexus { return lu.reservedBy.Load() }
