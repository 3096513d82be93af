package spc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/isantarget/isantarget/scsi"
)

// The model: persistent reservations as the clauses of SPC-4 5.13 say them, one
// nexus and one rule after the other. It is slow and knows nothing of the unit.
type model struct {
	keys       map[int]uint64 // by nexus
	holder     int            // if the type is 1, 3, 5 or 6
	kind       scsi.ReservationType
	generation uint32
	aptpl      bool
	attentions map[int][]scsi.SenseCode
}

// modelNexuses are three initiators, each through two ports: nexus n is initiator
// n/2 through port n%2.
const modelNexuses = 6

func (m *model) clone() *model {
	c := *m
	c.keys, c.attentions = maps.Clone(m.keys), map[int][]scsi.SenseCode{}
	return &c
}

func allRegistrants(kind scsi.ReservationType) bool { return kind == 7 || kind == 8 }

// holders are the nexuses that hold the reservation.
func (m *model) holders() []int {
	switch {
	case m.kind == 0:
		return nil
	case allRegistrants(m.kind):
		return slices.Sorted(maps.Keys(m.keys))
	}
	return []int{m.holder}
}

func (m *model) tell(n int, code scsi.SenseCode) {
	if !slices.Contains(m.attentions[n], code) {
		m.attentions[n] = append(m.attentions[n], code)
	}
}

func (m *model) tellOthers(me int, code scsi.SenseCode) {
	for n := range m.keys {
		if n != me {
			m.tell(n, code)
		}
	}
}

// unregister is 5.13.11.2.3 for nexus n, asked for by me.
func (m *model) unregister(n, me int) {
	held := slices.Contains(m.holders(), n)
	delete(m.keys, n)
	switch {
	case !held:
	case allRegistrants(m.kind):
		if len(m.keys) == 0 {
			m.kind = 0
		}
	default:
		if m.kind == 5 || m.kind == 6 {
			m.tellOthers(me, scsi.ASCReservationsReleased)
		}
		m.kind = 0
	}
}

// A request is one PERSISTENT RESERVE OUT.
type request struct {
	me          int
	action      byte
	kind        scsi.ReservationType
	key, newKey uint64
	aptpl       bool
	allPorts    bool
	specified   []int // initiators of SPEC_I_PT
	to          int   // REGISTER AND MOVE
	unregister  bool
}

// do is what r does to the model, and how it ends.
func (m *model) do(r request) error {
	key, registered := m.keys[r.me]
	if r.action != 0 && r.action != 6 && (!registered || key != r.key) {
		return scsi.ReservationConflict
	}
	switch r.action {
	case 0, 6:
		return m.register(r)
	case 1:
		switch {
		case m.kind == 0:
			m.kind, m.holder = r.kind, r.me
		case !slices.Contains(m.holders(), r.me) || m.kind != r.kind:
			return scsi.ReservationConflict
		}
		return nil
	case 2:
		if !slices.Contains(m.holders(), r.me) {
			return nil
		}
		if m.kind != r.kind {
			return scsi.IllegalRequest(scsi.ASCInvalidReleaseOfPersistentReservation)
		}
		if m.kind >= 5 {
			m.tellOthers(r.me, scsi.ASCReservationsReleased)
		}
		m.kind = 0
		return nil
	case 3:
		m.tellOthers(r.me, scsi.ASCReservationsPreempted)
		m.keys, m.kind = map[int]uint64{}, 0
		m.generation++
		return nil
	case 7:
		return m.move(r)
	}
	return m.preempt(r)
}

func (m *model) register(r request) error {
	own := []int{r.me}
	if r.allPorts {
		own = []int{r.me &^ 1, r.me | 1}
	}
	any := false
	for _, n := range own {
		key, registered := m.keys[n]
		any = any || registered
		if r.action == 0 && key != r.key { // not registered: zero
			return scsi.ReservationConflict
		}
	}
	if any && r.specified != nil {
		return scsi.InvalidFieldInParameterList(20, 3)
	}
	if r.newKey == 0 && !any {
		return nil
	}
	var others []int
	for _, i := range r.specified {
		for _, n := range own {
			others = append(others, i*2+n%2)
		}
	}
	if r.newKey != 0 {
		for _, n := range others {
			if key, registered := m.keys[n]; registered && key != r.newKey && !slices.Contains(own, n) {
				return scsi.ReservationConflict
			}
		}
	}
	for _, n := range own {
		if r.newKey == 0 {
			m.unregister(n, r.me)
		} else {
			m.keys[n] = r.newKey
		}
	}
	if r.newKey != 0 {
		for _, n := range others {
			m.keys[n] = r.newKey
		}
	}
	m.generation++
	m.aptpl = r.aptpl
	return nil
}

func (m *model) preempt(r request) error {
	all := allRegistrants(m.kind)
	if r.newKey == 0 && !all {
		return scsi.InvalidFieldInParameterList(8, scsi.WholeByte)
	}
	matches := func(n int) bool { return m.keys[n] == r.newKey }
	preempts := !all && m.kind != 0 && m.keys[m.holder] == r.newKey
	if all && r.newKey == 0 {
		preempts = true
		matches = func(int) bool { return true }
	}
	var victims []int
	for n := range m.keys {
		if matches(n) && !(preempts && n == r.me) {
			victims = append(victims, n)
		}
	}
	if !preempts && len(victims) == 0 {
		return scsi.ReservationConflict
	}
	before := m.kind
	if preempts {
		m.kind = 0
	}
	for _, n := range victims {
		m.unregister(n, r.me)
	}
	m.attentions = map[int][]scsi.SenseCode{}
	for _, n := range victims {
		if n != r.me {
			m.tell(n, scsi.ASCRegistrationsPreempted)
		}
	}
	if preempts {
		m.kind, m.holder = r.kind, r.me
		if before != r.kind {
			m.tellOthers(r.me, scsi.ASCReservationsReleased)
		}
	}
	m.generation++
	return nil
}

func (m *model) move(r request) error {
	switch {
	case m.kind == 0:
		return scsi.InvalidFieldInCDB(1, 4)
	case allRegistrants(m.kind) || m.holder != r.me:
		return scsi.ReservationConflict
	case r.newKey == 0:
		return scsi.InvalidFieldInParameterList(8, scsi.WholeByte)
	case r.to/2 == r.me/2:
		return scsi.InvalidFieldInParameterList(24, scsi.WholeByte)
	}
	m.keys[r.to], m.holder = r.newKey, r.to
	if r.unregister {
		delete(m.keys, r.me)
	}
	m.generation++
	m.aptpl = r.aptpl
	return nil
}

// conflicts is what a write or a read of n meets.
func (m *model) conflicts(n int, write bool) bool {
	_, registered := m.keys[n]
	switch {
	case m.kind == 0, !write && (m.kind == 1 || m.kind == 5 || m.kind == 7):
		return false
	case m.kind >= 5:
		return !registered
	}
	return m.holder != n
}

// A recorder is a keeper that fails when told to.
type recorder struct {
	records map[string][]byte
	fail    bool
}

func (k *recorder) Load(_ scsi.Identity, kind string) ([]byte, error) { return k.records[kind], nil }
func (k *recorder) Save(_ scsi.Identity, kind string, record []byte) error {
	if k.fail {
		return errors.New("no space left on device")
	}
	k.records[kind] = slices.Clone(record)
	return nil
}

// A modelRig is a unit beside the model.
type modelRig struct {
	*rig
	t       *testing.T
	keeper  *recorder
	nexuses []*scsi.Nexus
}

func newModelRig(t *testing.T) *modelRig {
	r := &modelRig{t: t, keeper: &recorder{records: map[string][]byte{}}}
	for n := range modelNexuses {
		r.nexuses = append(r.nexuses, &scsi.Nexus{
			Initiator:  modelInitiator(n / 2),
			TargetPort: &scsi.TargetPort{Device: "iqn.2026-11.test:disk", Group: uint16(n%2 + 1), RelativeID: uint16(n%2 + 1)},
		})
	}
	r.start()
	return r
}

func modelInitiator(i int) scsi.TransportID {
	return scsi.TransportID{Name: fmt.Sprintf("iqn.2026-11.test:host%d", i), ISID: [6]byte{0x80, 5: byte(i)}}
}

// start makes the unit anew, as after a loss of power, with new nexuses of the old names.
func (r *modelRig) start() {
	good := func(*scsi.Command) error { return nil }
	r.rig = newRig(r.t, r.keeper,
		scsi.Operation{Name: "READ", Opcode: 0x08, Usage: []byte{0x08, 0, 0, 0, 0, 0}, Conflict: scsi.ConflictOnWrite, Execute: good},
		scsi.Operation{Name: "WRITE", Opcode: 0x0a, Usage: []byte{0x0a, 0, 0, 0, 0, 0}, Conflict: scsi.ConflictAlways, Execute: good},
	)
	r.lu.Report = func(err error) {
		if !r.keeper.fail {
			r.t.Error(err)
		}
	}
	for n, old := range r.nexuses {
		again := *old
		r.nexuses[n] = &again
		r.lu.Attach(&again)
		r.lu.TakeAttention(&again)
	}
}

// send executes q.
func (r *modelRig) send(q request) *scsi.Command {
	list := binary.BigEndian.AppendUint64(nil, q.key)
	list = binary.BigEndian.AppendUint64(list, q.newKey)
	list = append(list, make([]byte, 8)...)
	if q.action == 7 {
		list = modelInitiator(q.to / 2).Append(list)
		if q.aptpl {
			list[17] |= 1
		}
		if q.unregister {
			list[17] |= 2
		}
		list[19] = byte(q.to%2 + 1)
		binary.BigEndian.PutUint32(list[20:], uint32(len(list)-24))
	} else {
		for bit, set := range map[uint]bool{0: q.aptpl, 2: q.allPorts, 3: q.specified != nil} {
			if set {
				list[20] |= 1 << bit
			}
		}
	}
	if q.specified != nil {
		list = append(list, 0, 0, 0, 0)
		for _, i := range q.specified {
			list = modelInitiator(i).Append(list)
		}
		binary.BigEndian.PutUint32(list[24:], uint32(len(list)-28))
	}
	cdb := []byte{0x5f, q.action, byte(q.kind), 0, 0, 0, 0, byte(len(list) >> 8), byte(len(list)), 0}
	return r.rig.send(r.lu, r.nexuses[q.me], list, cdb)
}

// compare holds the unit to the model, and takes the attentions.
func (r *modelRig) compare(m *model, what string) {
	r.t.Helper()
	report := r.lu.Reservations()
	keys := map[int]uint64{}
	for _, x := range report.Registrations {
		n := slices.IndexFunc(r.nexuses, func(n *scsi.Nexus) bool { return n.Initiator == x.Initiator && *n.TargetPort == x.TargetPort })
		keys[n] = x.Key
		if x.Holder != slices.Contains(m.holders(), n) {
			r.t.Fatalf("%s: nexus %d is holder: %v", what, n, x.Holder)
		}
	}
	if !maps.Equal(keys, m.keys) || report.Type != m.kind || report.ThroughLoss != m.aptpl || report.Generation != m.generation {
		r.t.Fatalf("%s:\nunit  %v, %v, APTPL %v, generation %d\nmodel %v, %v, APTPL %v, generation %d", what,
			keys, report.Type, report.ThroughLoss, report.Generation, m.keys, m.kind, m.aptpl, m.generation)
	}
	for n, nexus := range r.nexuses {
		var got []scsi.SenseCode
		for s := r.lu.TakeAttention(nexus); s != nil; s = r.lu.TakeAttention(nexus) {
			got = append(got, s.Code)
		}
		if want := m.attentions[n]; !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) {
			r.t.Fatalf("%s: nexus %d hears %v, want %v", what, n, got, want)
		}
		for opcode, write := range map[byte]bool{0x08: false, 0x0a: true} {
			c := r.rig.send(r.lu, nexus, nil, []byte{opcode, 0, 0, 0, 0, 0})
			want := scsi.Good
			if m.conflicts(n, write) {
				want = scsi.ReservationConflict
			}
			if c.Status != want {
				r.t.Fatalf("%s: %02Xh of nexus %d: %v, want %v", what, opcode, n, c.Status, want)
			}
		}
	}
}

// random is a request that makes sense more often than not.
func (m *model) random(rng *rand.Rand) request {
	key := func() uint64 { return uint64(rng.IntN(4)) } // few, so that nexuses share them
	q := request{
		me: rng.IntN(modelNexuses), action: []byte{0, 0, 0, 1, 1, 1, 2, 3, 4, 4, 5, 6, 6, 7, 7}[rng.IntN(15)],
		kind: []scsi.ReservationType{1, 3, 5, 6, 7, 8}[rng.IntN(6)],
		key:  key(), newKey: key(), to: rng.IntN(modelNexuses), unregister: rng.IntN(2) == 0, aptpl: rng.IntN(2) == 0,
	}
	if rng.IntN(5) > 0 {
		q.key = m.keys[q.me]
	}
	if q.action == 2 && m.kind != 0 && rng.IntN(4) > 0 {
		q.kind = m.kind
	}
	if q.action == 0 || q.action == 6 {
		q.allPorts = rng.IntN(4) == 0
		if q.action == 0 && rng.IntN(4) == 0 {
			q.specified = rng.Perm(modelNexuses / 2)[:1+rng.IntN(2)]
		}
	}
	return q
}

// TestRandomReservations lets nexuses do anything in any order, loses power now and
// then, and now and then the record cannot be written.
func TestRandomReservations_SPC4_5_13(t *testing.T) {
	const rounds, steps = 30, 200
	for round := range rounds {
		rng := rand.New(rand.NewPCG(uint64(round), 5))
		r := newModelRig(t)
		m := &model{keys: map[int]uint64{}}
		for step := range steps {
			if rng.IntN(40) == 0 {
				r.start()
				m = m.afterPowerLoss()
				r.compare(m, fmt.Sprintf("round %d step %d: power", round, step))
				continue
			}
			q := m.random(rng)
			next := m.clone()
			want := next.do(q)
			if want != nil {
				next = m.clone()
			}
			r.keeper.fail = rng.IntN(20) == 0
			if r.keeper.fail && want == nil && (m.aptpl || next.aptpl) && !m.same(next) {
				next, want = m.clone(), scsi.HardwareError(scsi.ASCInternalTargetFailure)
			}
			wantError(t, r.send(q), want)
			r.keeper.fail = false
			r.compare(next, fmt.Sprintf("round %d step %d: %+v", round, step, q))
			m = next
		}
	}
}

// same tells whether nothing has changed that would have to be recorded.
func (m *model) same(o *model) bool {
	return m.generation == o.generation && m.kind == o.kind
}

// afterPowerLoss is what is left when power comes back.
func (m *model) afterPowerLoss() *model {
	c := m.clone()
	c.generation = 0
	if !c.aptpl {
		c.keys, c.kind = map[int]uint64{}, 0
	}
	return c
}
