package scsi

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
)

// reservationRecord is the kind of record in which persistent reservations outlive
// the process (SPC-4 5.13.5).
const reservationRecord = "reservation"

// reservationRecordVersion is the only one so far.
const reservationRecordVersion = 1

// sealedRecord is the record: what is recorded, and the SHA-256 of its bytes, for
// a record that was damaged must not pass for one that lets everybody in.
type sealedRecord struct {
	Version      int             `json:"version"`
	SHA256       string          `json:"sha256"`
	Reservations json.RawMessage `json:"reservations"`
}

// recordedReservations are registrations in their order, and the reservation. Without
// APTPL nothing is recorded but that.
type recordedReservations struct {
	APTPL         bool                   `json:"aptpl"`
	Type          ReservationType        `json:"type"` // 0: there is no reservation
	Registrations []recordedRegistration `json:"registrations"`
}

type recordedRegistration struct {
	Initiator  string `json:"initiator"`
	ISID       string `json:"isid"` // hexadecimal
	Target     string `json:"target"`
	Group      uint16 `json:"group"`       // portal group tag
	RelativeID uint16 `json:"relative-id"` // relative target port identifier
	Key        string `json:"key"`         // hexadecimal
	Holder     bool   `json:"holder,omitempty"`
}

// record is p for the keeper.
func (p *persistent) record() ([]byte, error) {
	r := recordedReservations{APTPL: p.throughLoss}
	if p.throughLoss {
		r.Type = p.kind
		for _, x := range p.registrations {
			r.Registrations = append(r.Registrations, recordedRegistration{
				Initiator: x.initiator.Name, ISID: hex.EncodeToString(x.initiator.ISID[:]),
				Target: x.device, Group: x.group, RelativeID: x.relativeID,
				Key: fmt.Sprintf("%016x", x.key), Holder: x.holder,
			})
		}
	}
	body, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	return json.Marshal(sealedRecord{reservationRecordVersion, hex.EncodeToString(sum[:]), body})
}

// unrecord reads what record has written.
func unrecord(record []byte) (p persistent, err error) {
	var sealed sealedRecord
	if err := json.Unmarshal(record, &sealed); err != nil {
		return p, err
	}
	if sealed.Version != reservationRecordVersion {
		return p, fmt.Errorf("it has version %d, and this program knows %d", sealed.Version, reservationRecordVersion)
	}
	if sum := sha256.Sum256(sealed.Reservations); hex.EncodeToString(sum[:]) != sealed.SHA256 {
		return p, fmt.Errorf("its checksum is wrong")
	}
	var r recordedReservations
	d := json.NewDecoder(bytes.NewReader(sealed.Reservations))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return p, err
	}
	p.throughLoss, p.kind = r.APTPL, r.Type
	holders, known := 0, map[registrant]bool{}
	for _, x := range r.Registrations {
		one, err := x.registration()
		if err != nil {
			return persistent{}, err
		}
		if known[one.registrant] {
			return persistent{}, fmt.Errorf("%v is registered twice", one.initiator)
		}
		known[one.registrant] = true
		if one.holder {
			holders++
		}
		p.registrations = append(p.registrations, one)
	}
	return p, p.validate(holders)
}

// registration is x, if it can be.
func (x recordedRegistration) registration() (registration, error) {
	one := registration{
		registrant: registrant{TransportID{Name: x.Initiator}, x.Target, x.Group},
		relativeID: x.RelativeID, holder: x.Holder,
	}
	key, err := strconv.ParseUint(x.Key, 16, 64)
	if err != nil || key == 0 {
		return one, fmt.Errorf("the reservation key %q of %s cannot be", x.Key, x.Initiator)
	}
	one.key = key
	if len(x.ISID) != 2*len(one.initiator.ISID) || !parseISID(&one.initiator.ISID, x.ISID) {
		return one, fmt.Errorf("the ISID %q of %s cannot be", x.ISID, x.Initiator)
	}
	return one, nil
}

// validate says what contradicts itself in p, which has this many holders.
func (p *persistent) validate(holders int) error {
	want := 0
	if p.kind != 0 && !p.kind.AllRegistrants() {
		want = 1
	}
	switch {
	case p.kind != 0 && !p.kind.Valid():
		return fmt.Errorf("there is no %v", p.kind)
	case holders != want, p.kind != 0 && len(p.registrations) == 0:
		return fmt.Errorf("%v of %d registrants with %d holders cannot be", p.kind, len(p.registrations), holders)
	}
	return nil
}

// loadReservations brings back what is recorded. A record that cannot be read or
// trusted keeps the unit from becoming ready: somebody may be meant to be kept out.
func (lu *LogicalUnit) loadReservations(keeper Keeper) {
	var r reservations
	lu.keeper = keeper
	if keeper != nil && !lu.absent {
		record, err := keeper.Load(lu.Identity, reservationRecord)
		if err == nil && record != nil {
			r.persistent, err = unrecord(record)
		}
		if err != nil {
			r = reservations{lost: fmt.Errorf("the record of persistent reservations cannot be trusted (%w): the unit is not ready until the operator has cleared its reservations", err)}
		}
	}
	lu.publishReservations(r)
}

// notReadyWithoutRecord is what a unit says whose record is lost.
func notReadyWithoutRecord() *Sense {
	return NotReady(ASCLogicalUnitNotReadyManualInterventionRequired)
}

// saveReservations makes p durable, if it or what it follows is to be.
func (lu *LogicalUnit) saveReservations(before, p *persistent) error {
	if !before.throughLoss && !p.throughLoss {
		return nil
	}
	record, err := p.record()
	if err == nil {
		err = lu.keeper.Save(lu.Identity, reservationRecord, record)
	}
	if err != nil {
		return fmt.Errorf("the change of the persistent reservations was not recorded and is not done: %w", err)
	}
	return nil
}

// ReservationsRecordable tells whether persistent reservations can outlive the
// process (PTPL_C).
func (lu *LogicalUnit) ReservationsRecordable() bool { return lu.keeper != nil }
