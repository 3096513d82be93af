package scsi

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
)

// An operationTable finds the row of a CDB. It does not change.
type operationTable struct {
	rows    []Operation // ascending by operation code, then by service action
	opcodes [256]opcodeEntry
}

// An opcodeEntry is what the table has for one operation code: one row, or one
// for each service action.
type opcodeEntry struct {
	row     *Operation
	actions []Operation
}

// newOperationTable makes a table of rows; it says which row contradicts itself.
func newOperationTable(rows []Operation) (*operationTable, error) {
	t := &operationTable{rows: slices.Clone(rows)}
	slices.SortFunc(t.rows, func(a, b Operation) int {
		return cmp.Or(cmp.Compare(a.Opcode, b.Opcode), cmp.Compare(a.ServiceAction, b.ServiceAction))
	})
	for i := range t.rows {
		op := &t.rows[i]
		if err := op.validate(); err != nil {
			return nil, err
		}
		e := &t.opcodes[op.Opcode]
		switch first := i == 0 || t.rows[i-1].Opcode != op.Opcode; {
		case first && !op.HasServiceAction:
			e.row = op
		case first:
			e.actions = t.rows[i : i+1]
		case e.row != nil || !op.HasServiceAction || t.rows[i-1].ServiceAction == op.ServiceAction:
			return nil, fmt.Errorf("scsi: row %s has the operation code of %s", op.Name, t.rows[i-1].Name)
		default:
			e.actions = e.actions[:len(e.actions)+1]
		}
	}
	return t, nil
}

// validate says what contradicts itself in a row.
func (op *Operation) validate() error {
	switch n := len(op.Usage); {
	case n != 6 && n != 10 && n != 12 && n != 16 && !(n > 16 && op.Opcode == variableLength):
		return fmt.Errorf("scsi: row %s: CDB usage data has %d bytes", op.Name, n)
	case op.Usage[0] != op.Opcode:
		return fmt.Errorf("scsi: row %s: CDB usage data begins with %02Xh, not with the operation code %02Xh", op.Name, op.Usage[0], op.Opcode)
	case op.HasServiceAction && CDB(op.Usage).ServiceAction() != op.ServiceAction:
		return fmt.Errorf("scsi: row %s: CDB usage data has the service action %02Xh, not %02Xh", op.Name, CDB(op.Usage).ServiceAction(), op.ServiceAction)
	case op.Execute == nil:
		return fmt.Errorf("scsi: row %s has nothing to execute", op.Name)
	case op.Order == ExclusiveExtent && op.Extent == nil:
		return fmt.Errorf("scsi: row %s is ordered by an extent that it does not have", op.Name)
	}
	return nil
}

// find is the row of cdb, or nil.
func (t *operationTable) find(cdb CDB) *Operation {
	e := &t.opcodes[cdb.Opcode()]
	if e.row != nil || e.actions == nil {
		return e.row
	}
	action := cdb.ServiceAction()
	for i := range e.actions {
		if e.actions[i].ServiceAction == action {
			return &e.actions[i]
		}
	}
	return nil
}

// hasOpcode tells whether there is a row with the operation code of cdb.
func (t *operationTable) hasOpcode(cdb CDB) bool {
	e := &t.opcodes[cdb.Opcode()]
	return e.row != nil || e.actions != nil
}

// checkCDB checks cdb, which is not longer than the row has it, against the row
// (SPC-4 4.2.5). What is wrong comes back with a field pointer.
func (op *Operation) checkCDB(cdb CDB) error {
	n := len(op.Usage)
	if op.Opcode == variableLength && int(cdb.Byte(7)) != n-8 {
		return InvalidFieldInCDB(7, WholeByte)
	}
	if len(cdb) < n {
		return InvalidFieldInCDB(len(cdb), WholeByte)
	}
	if cdb.NACA() {
		return InvalidFieldInCDB(controlOffset(op.Opcode, n), nacaBit)
	}
	for i, b := range cdb {
		if b &^= op.Usage[i]; b != 0 && !op.lengthOrAction(i) {
			return InvalidFieldInCDB(i, bits.Len8(b)-1)
		}
	}
	return nil
}

// lengthOrAction tells whether byte i of a variable length CDB is one that has
// been compared whole: ADDITIONAL CDB LENGTH or SERVICE ACTION.
func (op *Operation) lengthOrAction(i int) bool {
	return op.Opcode == variableLength && (i == 7 || i == 8 || i == 9)
}
