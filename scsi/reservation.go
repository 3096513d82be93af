package scsi

import "fmt"

// ReservationType is the TYPE of a persistent reservation (SPC-4 6.15.3.4).
type ReservationType uint8

// The types. Holder means the I_T nexus that holds the reservation; with an all
// registrants type every registered nexus does.
const (
	WriteExclusive                 ReservationType = 1 // the holder alone writes
	ExclusiveAccess                ReservationType = 3 // the holder alone reads and writes
	WriteExclusiveRegistrantsOnly  ReservationType = 5 // who is registered writes
	ExclusiveAccessRegistrantsOnly ReservationType = 6 // who is registered reads and writes
	WriteExclusiveAllRegistrants   ReservationType = 7
	ExclusiveAccessAllRegistrants  ReservationType = 8
)

// Valid tells whether t is one of the six.
func (t ReservationType) Valid() bool {
	return t == WriteExclusive || t == ExclusiveAccess || t >= WriteExclusiveRegistrantsOnly && t <= ExclusiveAccessAllRegistrants
}

// registrants tells whether whoever is registered may do what the holder may.
func (t ReservationType) registrants() bool { return t >= WriteExclusiveRegistrantsOnly }

// AllRegistrants tells whether whoever is registered is a holder.
func (t ReservationType) AllRegistrants() bool { return t >= WriteExclusiveAllRegistrants }

// readable tells whether everybody may read.
func (t ReservationType) readable() bool {
	return t == WriteExclusive || t == WriteExclusiveRegistrantsOnly || t == WriteExclusiveAllRegistrants
}

// String is the name of SPC-4.
func (t ReservationType) String() string {
	switch t {
	case WriteExclusive:
		return "Write Exclusive"
	case ExclusiveAccess:
		return "Exclusive Access"
	case WriteExclusiveRegistrantsOnly:
		return "Write Exclusive - Registrants Only"
	case ExclusiveAccessRegistrantsOnly:
		return "Exclusive Access - Registrants Only"
	case WriteExclusiveAllRegistrants:
		return "Write Exclusive - All Registrants"
	case ExclusiveAccessAllRegistrants:
		return "Exclusive Access - All Registrants"
	}
	return fmt.Sprintf("reservation type %Xh", uint8(t))
}

// reservations is all that a unit knows of RESERVE and of persistent reservations
// at one moment. It does not change: a new one replaces it (LogicalUnit.publishReservations),
// so that commands read it without a lock.
type reservations struct {
	persistent
	reservedBy *Nexus // the holder of RESERVE (SPC-2), or nil
	// lost says why the record of persistent reservations cannot be trusted: who was
	// kept out is not known any more, so nobody is let in.
	lost error

	// What follows is worked out by publishReservations.

	active  bool               // it says anything of any command
	index   map[registrant]int // into registrations
	nexuses map[*Nexus]int     // the same for those that are known
}

// refuse says why op of n, with this CDB, may not be executed: the conflicts of
// SPC-4 5.13.1 (tables 65 and 66), SBC-3 4.17 (table 13) and SPC-2 5.5.1 as the row
// has them.
func (r *reservations) refuse(op *Operation, n *Nexus, cdb CDB) error {
	how := op.Conflict
	if !r.active && how != ConflictUnlessRegistered {
		return nil
	}
	if r.lost != nil && how >= ConflictOnAnyReserve {
		return notReadyWithoutRecord()
	}
	if op.Harmless != nil && op.Harmless(cdb) {
		how = Allowed
	}
	if r.conflicts(how, n) {
		return ReservationConflict
	}
	return nil
}

// conflicts tells whether a command that meets reservations in this way conflicts
// when it comes from n.
func (r *reservations) conflicts(how Conflict, n *Nexus) bool {
	i, registered := r.nexuses[n]
	switch how {
	case Allowed:
		return false
	case ConflictOnAnyReserve:
		return r.reservedBy != nil
	case ConflictUnlessRegistered:
		return r.reservedBy != nil || !registered
	case ConflictOnRegistration:
		return len(r.registrations) > 0 && !r.compatible(n)
	}
	switch {
	case r.reservedBy != nil && r.reservedBy != n:
		return true
	case r.kind == 0, how == ConflictOnReserve, how == ConflictOnWrite && r.kind.readable():
		return false
	}
	return !registered || !r.kind.registrants() && !r.registrations[i].holder
}

// compatible tells whether RESERVE and RELEASE of n do nothing and end with GOOD
// (SPC-4 5.13.3): n holds the persistent reservation, or is registered and the
// reservation is for registrants.
func (r *reservations) compatible(n *Nexus) bool {
	i, registered := r.nexuses[n]
	return registered && r.kind != 0 && (r.kind.registrants() || r.registrations[i].holder)
}

// publishReservations makes r what commands see. lu.mu is held.
func (lu *LogicalUnit) publishReservations(r reservations) {
	r.active = r.reservedBy != nil || len(r.registrations) > 0 || r.lost != nil
	r.index = make(map[registrant]int, len(r.registrations))
	for i := range r.registrations {
		r.index[r.registrations[i].registrant] = i
	}
	r.nexuses = map[*Nexus]int{}
	if len(r.registrations) > 0 {
		for n := range *lu.nexuses.Load() {
			if i, ok := r.index[n.registrant()]; ok {
				r.nexuses[n] = i
			}
		}
	}
	lu.reservations.Store(&r)
}

// Reserve is RESERVE of SPC-2 (7.21) without extents and third parties: n holds
// the whole unit, and commands of others whose row conflicts end with
// RESERVATION CONFLICT. It gives ReservationConflict if another nexus holds it, or
// if any is registered for persistent reservations: n itself must then be one for
// which RESERVE does nothing (SPC-4 5.13.3). While a change of persistent reservations
// is being recorded it waits, or where it may not it gives ErrWouldBlock.
func (lu *LogicalUnit) Reserve(n *Nexus, mayBlock bool) error {
	if mayBlock {
		lu.reserving.Lock()
	} else if !lu.reserving.TryLock() {
		return ErrWouldBlock
	}
	defer lu.reserving.Unlock()
	lu.mu.Lock()
	defer lu.mu.Unlock()
	r := *lu.reservations.Load()
	switch {
	case len(r.registrations) > 0 && r.compatible(n), r.reservedBy == n:
		return nil
	case len(r.registrations) > 0, r.reservedBy != nil:
		return ReservationConflict
	}
	r.reservedBy = n
	lu.publishReservations(r)
	return nil
}

// Release is RELEASE of SPC-2 (7.16). From a nexus that holds no reservation it
// does nothing, which is no error.
func (lu *LogicalUnit) Release(n *Nexus) {
	if lu.ReservedBy() == n {
		lu.endReserve(n)
	}
}

// endReserve ends the RESERVE of n, or of whoever holds it if n is nil.
func (lu *LogicalUnit) endReserve(n *Nexus) {
	lu.mu.Lock()
	defer lu.mu.Unlock()
	r := *lu.reservations.Load()
	if r.reservedBy != nil && (n == nil || r.reservedBy == n) {
		r.reservedBy = nil
		lu.publishReservations(r)
	}
}

// ReservedBy is the nexus that holds the unit by RESERVE, or nil.
func (lu *LogicalUnit) ReservedBy() *Nexus { return lu.reservations.Load().reservedBy }
