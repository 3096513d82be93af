package scsi

import "slices"

// The service actions of PERSISTENT RESERVE OUT (SPC-4 5.13), as the methods of a
// unit. Each happens whole or not at all: when it returns nil its outcome is durable
// where APTPL asks for that, and every command that comes later meets it. An error is
// a Status or *Sense for the initiator, ErrAborted, or why it could not be recorded.

// A reservationChange is a service action at work on a copy of what is.
type reservationChange struct {
	persistent
	me      registrant
	tell    map[registrant]SenseCode // the unit attentions to establish
	aborted map[registrant]bool      // who loses commands by PREEMPT AND ABORT
	same    bool                     // nothing has changed
}

// alter runs change and makes its outcome durable and visible. It gives the nexuses
// that lose their commands.
func (lu *LogicalUnit) alter(c *Command, change func(*reservationChange) error) (aborted map[*Nexus]bool, err error) {
	lu.reserving.Lock()
	defer lu.reserving.Unlock()
	if c.Aborted() {
		return nil, ErrAborted
	}
	before := lu.reservations.Load()
	switch {
	case before.lost != nil:
		return nil, notReadyWithoutRecord()
	case before.reservedBy != nil:
		return nil, ReservationConflict // by RESERVE, since this command was let in
	}
	x := reservationChange{persistent: before.clone(), me: c.Nexus.registrant(), tell: map[registrant]SenseCode{}}
	if err := change(&x); err != nil || x.same {
		return nil, err
	}
	if err := lu.saveReservations(&before.persistent, &x.persistent); err != nil {
		return nil, err
	}
	return lu.settle(&x), nil
}

// settle publishes what x has made and tells who is to know.
func (lu *LogicalUnit) settle(x *reservationChange) (aborted map[*Nexus]bool) {
	lu.mu.Lock()
	defer lu.mu.Unlock()
	now := *lu.reservations.Load() // RESERVE may have ended since
	now.persistent, now.lost = x.persistent, nil
	lu.publishReservations(now)
	aborted = map[*Nexus]bool{}
	for n, a := range *lu.nexuses.Load() {
		name := n.registrant()
		if code, ok := x.tell[name]; ok {
			lu.establish(a, code)
		}
		if x.aborted[name] {
			aborted[n] = true
		}
	}
	return aborted
}

// mine is the registration of the nexus that asks, which must know its key.
func (x *reservationChange) mine(key uint64) (int, error) {
	i := x.find(x.me)
	if i < 0 || x.registrations[i].key != key {
		return 0, ReservationConflict
	}
	return i, nil
}

// tellRegistered establishes code for every registered nexus but the one that asks.
func (x *reservationChange) tellRegistered(code SenseCode) {
	for _, r := range x.registrations {
		if r.registrant != x.me {
			x.tell[r.registrant] = code
		}
	}
}

// releaseReservation ends the reservation.
func (x *reservationChange) releaseReservation() {
	x.kind = 0
	for i := range x.registrations {
		x.registrations[i].holder = false
	}
}

// add registers r, or gives it another key.
func (x *reservationChange) add(r registration) error {
	if i := x.find(r.registrant); i >= 0 {
		x.registrations[i].key = r.key
		return nil
	}
	if len(x.registrations) >= maxRegistrations {
		return IllegalRequest(ASCInsufficientRegistrationResources)
	}
	x.registrations = append(x.registrations, r)
	return nil
}

// remove takes r, which may be registered, out (SPC-4 5.13.11.2.3). What it held
// alone is released, and those who shared it hear of that.
func (x *reservationChange) remove(r registrant) {
	i := x.find(r)
	if i < 0 {
		return
	}
	holder := x.registrations[i].holder
	x.registrations = slices.Delete(x.registrations, i, i+1)
	delete(x.tell, r)
	switch was := x.kind; {
	case was == 0:
	case was.AllRegistrants():
		if len(x.registrations) == 0 {
			x.releaseReservation()
		}
	case holder:
		x.releaseReservation()
		if was.registrants() {
			x.tellRegistered(ASCReservationsReleased)
		}
	}
}

// A RegisterRequest is REGISTER, or REGISTER AND IGNORE EXISTING KEY (SPC-4 6.16.3).
type RegisterRequest struct {
	Key            uint64 // RESERVATION KEY
	NewKey         uint64 // SERVICE ACTION RESERVATION KEY; zero unregisters
	IgnoreKey      bool   // REGISTER AND IGNORE EXISTING KEY
	AllTargetPorts bool   // ALL_TG_PT
	ThroughLoss    bool   // APTPL
	// Initiators are to be registered beside the one that asks (SPEC_I_PT).
	Initiators []InitiatorPort
	Specified  bool // SPEC_I_PT
}

// Where the bits of the PERSISTENT RESERVE OUT parameter list stand (SPC-4 6.16.3).
const (
	parameterNewKey = 8
	parameterBits   = 20
	bitSpecIPT      = 3
	bitAPTPL        = 0
)

// Register registers, unregisters, or changes the key of the nexus of c (SPC-4
// 5.13.7, tables 71 and 72).
func (lu *LogicalUnit) Register(c *Command, q RegisterRequest) error {
	if q.ThroughLoss && lu.keeper == nil {
		return InvalidFieldInParameterList(parameterBits, bitAPTPL)
	}
	if q.Specified && q.IgnoreKey {
		return InvalidFieldInParameterList(parameterBits, bitSpecIPT)
	}
	own, others, err := lu.registering(c.Nexus, q)
	if err != nil {
		return err
	}
	_, err = lu.alter(c, func(x *reservationChange) error { return x.register(q, own, others) })
	return err
}

// registering are the nexuses that q speaks of: those of the initiator that asks,
// and those of the initiators that it specifies.
func (lu *LogicalUnit) registering(n *Nexus, q RegisterRequest) (own, others []registration, err error) {
	lu.mu.Lock()
	defer lu.mu.Unlock()
	ports := []*TargetPort{n.TargetPort}
	if q.AllTargetPorts && n.TargetPort != nil {
		ports = lu.portsOf(n.TargetPort.Device)
	}
	for _, p := range ports {
		own = append(own, newRegistration(n.Initiator, p, q.NewKey))
	}
	for _, i := range q.Initiators {
		known := lu.initiatorPorts(i)
		if len(known) == 0 {
			return nil, nil, IllegalRequest(ASCInvalidFieldInParameterList)
		}
		for _, t := range known {
			for _, p := range ports {
				others = append(others, newRegistration(t, p, q.NewKey))
			}
		}
	}
	return own, others, nil
}

func newRegistration(t TransportID, p *TargetPort, key uint64) registration {
	r := registration{registrant: via(t, p), key: key}
	if p != nil {
		r.relativeID = p.RelativeID
	}
	return r
}

// initiatorPorts are the ports that i means. lu.mu is held.
func (lu *LogicalUnit) initiatorPorts(i InitiatorPort) (ports []TransportID) {
	if !i.AnyISID {
		return []TransportID{i.TransportID}
	}
	for n := range *lu.nexuses.Load() {
		if n.Initiator.Name == i.Name && !slices.Contains(ports, n.Initiator) {
			ports = append(ports, n.Initiator)
		}
	}
	slices.SortFunc(ports, func(a, b TransportID) int { return slices.Compare(a.ISID[:], b.ISID[:]) })
	return ports
}

// register is Register. With ALL_TG_PT it is as if the command had come through each
// port; if it would fail on one it fails.
func (x *reservationChange) register(q RegisterRequest, own, others []registration) error {
	any := false
	for _, r := range own {
		i := x.find(r.registrant)
		switch any = any || i >= 0; {
		case q.IgnoreKey:
		case i < 0 && q.Key != 0, i >= 0 && x.registrations[i].key != q.Key:
			return ReservationConflict
		}
	}
	if q.Specified && any {
		return InvalidFieldInParameterList(parameterBits, bitSpecIPT)
	}
	if q.NewKey == 0 {
		if !any {
			x.same = true // not registered, and not to be
			return nil
		}
		for _, r := range own {
			x.remove(r.registrant)
		}
	} else if err := x.registerAll(own, others); err != nil {
		return err
	}
	x.generation++
	x.throughLoss = q.ThroughLoss
	return nil
}

// registerAll registers own and others, of whom none may have another key already.
func (x *reservationChange) registerAll(own, others []registration) error {
	for _, r := range own {
		if err := x.add(r); err != nil {
			return err
		}
	}
	keys := make(map[registrant]uint64, len(x.registrations)+len(others)) // there may be thousands
	for _, r := range x.registrations {
		keys[r.registrant] = r.key
	}
	for _, r := range others {
		switch key, registered := keys[r.registrant]; {
		case registered && key != r.key:
			return ReservationConflict
		case registered:
		case len(x.registrations) >= maxRegistrations:
			return IllegalRequest(ASCInsufficientRegistrationResources)
		default:
			keys[r.registrant] = r.key
			x.registrations = append(x.registrations, r)
		}
	}
	return nil
}

// PersistentReserve is RESERVE (SPC-4 5.13.9): the nexus of c, which is registered
// with key, makes a reservation of the whole unit.
func (lu *LogicalUnit) PersistentReserve(c *Command, key uint64, kind ReservationType) error {
	_, err := lu.alter(c, func(x *reservationChange) error {
		i, err := x.mine(key)
		if err != nil {
			return err
		}
		switch {
		case x.kind == 0:
			x.kind = kind
			x.registrations[i].holder = !kind.AllRegistrants()
			return nil
		case x.kind == kind && x.holds(i):
			x.same = true
			return nil
		}
		return ReservationConflict
	})
	return err
}

// PersistentRelease is RELEASE (SPC-4 5.13.11.2.2). wholeUnit tells that SCOPE is
// LU_SCOPE, which is that of every reservation.
func (lu *LogicalUnit) PersistentRelease(c *Command, key uint64, kind ReservationType, wholeUnit bool) error {
	_, err := lu.alter(c, func(x *reservationChange) error {
		i, err := x.mine(key)
		switch {
		case err != nil:
			return err
		case !x.holds(i):
			x.same = true
			return nil
		case x.kind != kind || !wholeUnit:
			return IllegalRequest(ASCInvalidReleaseOfPersistentReservation)
		}
		x.releaseReservation()
		if kind.registrants() {
			x.tellRegistered(ASCReservationsReleased)
		}
		return nil
	})
	return err
}

// PersistentClear is CLEAR (SPC-4 5.13.11.2.6): no reservation and no registration
// is left.
func (lu *LogicalUnit) PersistentClear(c *Command, key uint64) error {
	_, err := lu.alter(c, func(x *reservationChange) error {
		if _, err := x.mine(key); err != nil {
			return err
		}
		x.clear()
		return nil
	})
	return err
}

func (x *reservationChange) clear() {
	x.tellRegistered(ASCReservationsPreempted)
	x.registrations, x.kind = nil, 0
	x.generation++
}

// ClearReservations is the operator's CLEAR: it needs no key, every registered nexus
// hears of it, RESERVE is ended too, and a unit whose record was lost is ready again.
func (lu *LogicalUnit) ClearReservations() error {
	lu.reserving.Lock()
	defer lu.reserving.Unlock()
	before := lu.reservations.Load()
	x := reservationChange{persistent: before.clone(), tell: map[registrant]SenseCode{}}
	for _, r := range x.registrations {
		x.tell[r.registrant] = ASCReservationsPreempted
	}
	x.registrations, x.kind = nil, 0
	x.generation++
	recorded := before.persistent
	recorded.throughLoss = recorded.throughLoss || before.lost != nil
	if err := lu.saveReservations(&recorded, &x.persistent); err != nil {
		return err
	}
	lu.settle(&x)
	lu.endReserve(nil)
	return nil
}

// A PreemptRequest is PREEMPT, or PREEMPT AND ABORT (SPC-4 5.13.11.2.4).
type PreemptRequest struct {
	Key       uint64 // RESERVATION KEY
	Victim    uint64 // SERVICE ACTION RESERVATION KEY: whose registrations are removed
	Type      ReservationType
	WholeUnit bool // SCOPE is LU_SCOPE
	Abort     bool // PREEMPT AND ABORT
}

// Preempt removes the registrations with the key Victim, and takes over the reservation
// if that key holds it. With Abort the commands of those who lose it are aborted, c itself
// not among them, and when it returns nil none of them can act any more; if they hang for
// longer than HangBound the reservations have changed all the same, and the initiator hears
// TIMEOUT ON LOGICAL UNIT.
func (lu *LogicalUnit) Preempt(c *Command, q PreemptRequest) error {
	aborted, err := lu.alter(c, func(x *reservationChange) error { return x.preempt(q) })
	if err != nil || !q.Abort || len(aborted) == 0 {
		return err
	}
	// lu.reserving is free again: a command that is to be aborted may wait for it.
	affected := func(o *Command) bool { return o != c && aborted[o.Nexus] }
	if lu.abort(c.Nexus, affected, lu.tellCleared) != FunctionComplete {
		return HardwareError(ASCTimeoutOnLogicalUnit)
	}
	return nil
}

func (x *reservationChange) preempt(q PreemptRequest) error {
	if _, err := x.mine(q.Key); err != nil {
		return err
	}
	all := x.kind.AllRegistrants()
	if q.Victim == 0 && !all {
		return InvalidFieldInParameterList(parameterNewKey, WholeByte)
	}
	takesOver := all && q.Victim == 0
	if !all {
		takesOver = slices.ContainsFunc(x.registrations, func(r registration) bool { return r.holder && r.key == q.Victim })
	}
	var victims []registrant
	x.aborted = map[registrant]bool{}
	for _, r := range x.registrations {
		switch {
		case r.key != q.Victim && !(all && q.Victim == 0):
		case r.registrant == x.me && takesOver:
			if r.key == q.Victim { // it preempts itself, and keeps its registration
				x.aborted[r.registrant] = true
			}
		default:
			victims = append(victims, r.registrant)
			x.aborted[r.registrant] = true
		}
	}
	if !takesOver && len(victims) == 0 {
		return ReservationConflict
	}
	x.generation++
	if !takesOver {
		x.removePreempted(victims)
		return nil
	}
	return x.takeOver(q, victims)
}

// takeOver preempts the reservation (SPC-4 5.13.11.2.4.3).
func (x *reservationChange) takeOver(q PreemptRequest, victims []registrant) error {
	switch {
	case !q.WholeUnit:
		return InvalidFieldInCDB(2, WholeByte)
	case !q.Type.Valid():
		return InvalidFieldInCDB(2, 3)
	}
	was := x.kind
	x.releaseReservation()
	x.removePreempted(victims)
	x.kind = q.Type
	x.registrations[x.find(x.me)].holder = !q.Type.AllRegistrants()
	if was != q.Type {
		x.tellRegistered(ASCReservationsReleased)
	}
	return nil
}

// removePreempted removes registrations (SPC-4 5.13.11.2.4.4).
func (x *reservationChange) removePreempted(victims []registrant) {
	for _, v := range victims {
		x.remove(v)
	}
	for _, v := range victims {
		if v != x.me {
			x.tell[v] = ASCRegistrationsPreempted
		}
	}
}

// A MoveRequest is REGISTER AND MOVE (SPC-4 6.16.4).
type MoveRequest struct {
	Key         uint64 // RESERVATION KEY
	NewKey      uint64 // SERVICE ACTION RESERVATION KEY: that of the new holder
	Unregister  bool   // UNREG: who moves it is registered no more
	ThroughLoss bool   // APTPL
	RelativeID  uint16 // the target port of the new holder
	Initiator   InitiatorPort
}

// Where the fields of the REGISTER AND MOVE parameter list stand.
const (
	moveAPTPL      = 17
	moveRelativeID = 18
	// MoveTransportID is the byte at which the TransportID begins.
	MoveTransportID = 24
)

// RegisterAndMove registers another nexus and gives it the reservation (SPC-4 5.13.8).
func (lu *LogicalUnit) RegisterAndMove(c *Command, q MoveRequest) error {
	if q.ThroughLoss && lu.keeper == nil {
		return InvalidFieldInParameterList(moveAPTPL, bitAPTPL)
	}
	_, err := lu.alter(c, func(x *reservationChange) error {
		i, err := x.mine(q.Key)
		switch {
		case err != nil:
			return err
		case x.kind == 0:
			return InvalidFieldInCDB(1, 4)
		case x.kind.AllRegistrants() || !x.registrations[i].holder:
			return ReservationConflict
		case q.NewKey == 0:
			return InvalidFieldInParameterList(parameterNewKey, WholeByte)
		}
		to, err := lu.destination(c.Nexus, q)
		if err != nil {
			return err
		}
		return x.move(q, to)
	})
	return err
}

// destination is the nexus to which the reservation goes.
func (lu *LogicalUnit) destination(n *Nexus, q MoveRequest) (registration, error) {
	lu.mu.Lock()
	defer lu.mu.Unlock()
	var ports []*TargetPort
	if n.TargetPort != nil {
		ports = lu.portsOf(n.TargetPort.Device)
	}
	i := slices.IndexFunc(ports, func(p *TargetPort) bool { return p.RelativeID == q.RelativeID })
	if i < 0 {
		return registration{}, InvalidFieldInParameterList(moveRelativeID, WholeByte)
	}
	known := lu.initiatorPorts(q.Initiator)
	if len(known) != 1 || known[0] == n.Initiator {
		return registration{}, InvalidFieldInParameterList(MoveTransportID, WholeByte)
	}
	return newRegistration(known[0], ports[i], q.NewKey), nil
}

func (x *reservationChange) move(q MoveRequest, to registration) error {
	if err := x.add(to); err != nil {
		return err
	}
	kind := x.kind
	x.releaseReservation()
	if q.Unregister {
		x.remove(x.me)
	}
	x.kind = kind
	x.registrations[x.find(to.registrant)].holder = true
	x.generation++
	x.throughLoss = q.ThroughLoss
	return nil
}
