package scsi

import "github.com/isantarget/isantarget/meter"

// countWith has commands counted in m. The unit is not used yet.
func (lu *LogicalUnit) countWith(m *meter.Unit) {
	lu.meter = m
	lu.odd = m.Row("unknown", meter.Other)
	for i := range lu.table.rows {
		op := &lu.table.rows[i]
		op.row = m.Row(op.Name, op.Direction)
	}
}

// Count is what the unit has done: see package meter.
func (lu *LogicalUnit) Count() meter.UnitCount { return lu.meter.Count() }

// Open is how many commands are in the task set.
func (lu *LogicalUnit) Open() int {
	lu.tasks.mu.Lock()
	defer lu.tasks.mu.Unlock()
	return lu.tasks.count
}

// Meter is where c is counted when its answer is out: nil if no unit has seen it.
func (c *Command) Meter() *meter.Row {
	switch {
	case c.unit == nil:
		return nil
	case c.operation == nil:
		return c.unit.odd
	}
	return c.operation.row
}

// The outcomes beside CHECK CONDITION, which are those from 1 on, by sense key.
const (
	outcomeBusy meter.Outcome = 17 + iota
	outcomeReservationConflict
	outcomeTaskSetFull
	outcomeACAActive
	outcomeTaskAborted
	outcomeSilent
	outcomeOdd
)

// Outcome is how c, which has ended, did so: by its status, and its sense key.
func (c *Command) Outcome() meter.Outcome {
	if c.Silent {
		return outcomeSilent
	}
	switch c.Status {
	case Good, ConditionMet:
		return meter.Good
	case CheckCondition:
		return 1 + meter.Outcome(senseKeyOf(c.Sense))
	case Busy:
		return outcomeBusy
	case ReservationConflict:
		return outcomeReservationConflict
	case TaskSetFull:
		return outcomeTaskSetFull
	case ACAActive:
		return outcomeACAActive
	case TaskAborted:
		return outcomeTaskAborted
	}
	return outcomeOdd
}

// senseKeyOf reads the SENSE KEY field of sense data in either format (SPC-4 4.5).
func senseKeyOf(sense []byte) SenseKey {
	at := 2
	if len(sense) > 0 && sense[0]&0x7f >= 0x72 {
		at = 1
	}
	if len(sense) <= at {
		return KeyNoSense
	}
	return SenseKey(sense[at] & 0xf)
}

// OutcomeName says what an outcome is: the status, and with CHECK CONDITION the sense key.
// Both are empty of one that there is not.
func OutcomeName(o meter.Outcome) (status, key string) {
	switch o {
	case meter.Good:
		return Good.Error(), ""
	case outcomeBusy:
		return Busy.Error(), ""
	case outcomeReservationConflict:
		return ReservationConflict.Error(), ""
	case outcomeTaskSetFull:
		return TaskSetFull.Error(), ""
	case outcomeACAActive:
		return ACAActive.Error(), ""
	case outcomeTaskAborted:
		return TaskAborted.Error(), ""
	case outcomeSilent: // task management aborted it, and its initiator gets no answer
		return "none", ""
	case outcomeOdd:
		return "unknown", ""
	}
	if o < outcomeBusy {
		return CheckCondition.Error(), SenseKey(o - 1).String()
	}
	return "", ""
}
