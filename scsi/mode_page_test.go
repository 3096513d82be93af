package scsi

import (
	"bytes"
	"errors"
	"slices"
	"testing"
)

// modeRig is a unit with a page 08h whose byte 2 can change, a subpage 08h/01h
// that cannot be saved, and page 0Ah of every unit.
type modeRig struct {
	lu      *LogicalUnit
	d       *fakeDevice
	keeper  *fakeKeeper
	a, b    *Nexus
	applied [][]byte
	fail    error // what Apply of 08h answers
}

func newModeRig(t *testing.T, keeper *fakeKeeper) *modeRig {
	t.Helper()
	r := &modeRig{keeper: keeper, a: newNexus("a"), b: newNexus("b")}
	r.d = &fakeDevice{pages: []ModePage{
		{
			Code: 0x08, Default: []byte{2: 0x04, 5: 0x80}, Changeable: []byte{2: 0x0f, 5: 0},
			Check: func(p []byte) error {
				if p[2] == 0x0f {
					return InvalidFieldInParameterList(2, 3)
				}
				return nil
			},
			Apply: func(p []byte) error {
				if r.fail != nil {
					return r.fail
				}
				r.applied = append(r.applied, slices.Clone(p))
				return nil
			},
		},
		{Code: 0x08, Subcode: 0x01, Default: []byte{7: 0}, Changeable: []byte{7: 0xff}, Unsavable: true},
	}}
	var k Keeper
	if keeper != nil {
		k = keeper
	}
	r.lu = newUnit(t, r.d, k, r.a, r.b)
	return r
}

func (r *modeRig) page(code, subcode byte, pc PageControl) []byte {
	return r.lu.AppendModePages(nil, code, subcode, pc)
}

func (r *modeRig) select2(t *testing.T, value byte, save bool) error {
	t.Helper()
	return r.lu.SelectModePages(r.a, []ModeValues{{Page: []byte{0x08, 4, value, 0, 0, 0x80}, Offset: 4}}, save)
}

func TestModePagesInOrder_SPC4_6_13(t *testing.T) {
	r := newModeRig(t, &fakeKeeper{})
	if got, want := r.page(0x3f, 0, CurrentValues)[:2], []byte{0x88, 4}; !bytes.Equal(got, want) {
		t.Errorf("page 3Fh begins with %X, want %X", got, want)
	}
	var codes []byte
	for b := r.page(0x3f, 0xff, DefaultValues); len(b) > 0; {
		n := 2 + int(b[1])
		if PageHeader(b[0]) == 4 {
			n = 4 + int(b[3])
		}
		codes, b = append(codes, b[0]), b[n:]
	}
	// PS on what can be saved, SPF on the subpage.
	if want := []byte{0x88, 0x48, 0x8a, 0x9c}; !bytes.Equal(codes, want) {
		t.Errorf("pages %X, want %X", codes, want)
	}
	if got, want := r.page(0x08, 0, ChangeableValues), []byte{0x88, 4, 0x0f, 0, 0, 0}; !bytes.Equal(got, want) {
		t.Errorf("changeable values %X, want %X", got, want)
	}
	if len(r.page(0x01, 0, CurrentValues)) != 0 || len(r.page(0x0a, 1, CurrentValues)) != 0 {
		t.Error("a page is there that nobody has")
	}
}

func TestModeSelectChangesAndTells_SPC4_6_11(t *testing.T) {
	r := newModeRig(t, nil)
	if err := r.select2(t, 0x05, false); err != nil {
		t.Fatal(err)
	}
	if got := r.page(0x08, 0, CurrentValues); got[2] != 0x05 || got[0] != 0x08 {
		t.Errorf("current values %X", got)
	}
	if got := r.page(0x08, 0, DefaultValues); got[2] != 0x04 {
		t.Errorf("defaults have changed: %X", got)
	}
	if got := r.applied[len(r.applied)-1]; len(r.applied) != 2 || got[2] != 0x05 {
		t.Errorf("Apply was called with %X", r.applied)
	}
	if _, depth := r.lu.PendingAttention(r.a); depth != 0 {
		t.Error("who changed the page is told so")
	}
	if code, _ := r.lu.PendingAttention(r.b); code != ASCModeParametersChanged {
		t.Errorf("the other nexus has %v pending", code)
	}
	r.lu.TakeAttention(r.b)
	if err := r.select2(t, 0x05, false); err != nil {
		t.Fatal(err)
	}
	if _, depth := r.lu.PendingAttention(r.b); depth != 0 || len(r.applied) != 2 {
		t.Error("no change is told as one")
	}
}

func TestModeSelectRefuses_SPC4_6_11(t *testing.T) {
	r := newModeRig(t, nil)
	good := []byte{0x08, 4, 0x01, 0, 0, 0x80}
	tests := []struct {
		name  string
		pages []ModeValues
		field FieldPointer
	}{
		{"unknown page", []ModeValues{{[]byte{0x01, 0}, 4}}, FieldPointer{Byte: 4, Bit: 5, HasBit: true}},
		{"unknown subpage", []ModeValues{{[]byte{0x48, 2, 0, 0}, 4}}, FieldPointer{Byte: 4, Bit: 5, HasBit: true}},
		{"short page", []ModeValues{{good[:5], 4}}, FieldPointer{Byte: 5}},
		{"short subpage", []ModeValues{{[]byte{0x48, 1, 0, 1, 0}, 4}}, FieldPointer{Byte: 6}},
		{"not changeable", []ModeValues{{good, 4}, {[]byte{0x08, 4, 0x01, 0x30, 0, 0x80}, 20}}, FieldPointer{Byte: 23, Bit: 5, HasBit: true}},
		{"refused by Check", []ModeValues{{[]byte{0x08, 4, 0x0f, 0, 0, 0x80}, 20}}, FieldPointer{Byte: 22, Bit: 3, HasBit: true}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := r.lu.SelectModePages(r.a, test.pages, false)
			var s *Sense
			if !errors.As(err, &s) || s.Code != ASCInvalidFieldInParameterList || s.Field == nil || *s.Field != test.field {
				t.Errorf("%v, want a pointer to %v", err, test.field)
			}
			if got := r.page(0x08, 0, CurrentValues); got[2] != 0x04 {
				t.Errorf("a refused list has changed the page to %X", got)
			}
		})
	}
}

func TestModeSelectIsAllOrNothing(t *testing.T) {
	r := newModeRig(t, &fakeKeeper{})
	control := r.page(controlPage, 0, CurrentValues)
	control[4] |= swpBit
	both := []ModeValues{{control, 4}, {[]byte{0x08, 4, 0x01, 0, 0, 0x80}, 16}}

	r.fail = errStore
	if err := r.lu.SelectModePages(r.a, both, false); !errors.Is(err, errStore) {
		t.Fatalf("Apply has failed, and MODE SELECT says %v", err)
	}
	r.fail = nil
	r.keeper.fail = errStore
	if err := r.lu.SelectModePages(r.a, both, true); !errors.Is(err, errStore) {
		t.Fatalf("Save has failed, and MODE SELECT says %v", err)
	}
	if r.lu.WriteProtected() || r.page(0x08, 0, CurrentValues)[2] != 0x04 || r.page(controlPage, 0, SavedValues)[4] != 0 {
		t.Error("a MODE SELECT that failed has changed something")
	}
	if got := r.applied[len(r.applied)-1]; got[2] != 0x04 {
		t.Errorf("the device was left with %X", got)
	}
	if _, depth := r.lu.PendingAttention(r.b); depth != 0 {
		t.Error("a change that did not happen was told")
	}
}

func TestSavedModePagesOutliveTheUnit(t *testing.T) {
	keeper := &fakeKeeper{}
	r := newModeRig(t, keeper)
	if err := r.select2(t, 0x05, true); err != nil {
		t.Fatal(err)
	}
	if err := r.select2(t, 0x06, false); err != nil {
		t.Fatal(err)
	}
	sub := ModeValues{[]byte{0x48, 1, 0, 4, 0, 0, 0, 9}, 4}
	if err := r.lu.SelectModePages(r.a, []ModeValues{sub}, true); err != nil {
		t.Fatal(err)
	}
	// SP saves every savable page, so 06h is saved now.
	if got := r.page(0x08, 0, SavedValues); got[2] != 0x06 {
		t.Errorf("saved values %X", got)
	}
	if got := r.page(0x08, 1, SavedValues); got[7] != 0 || got[0] != 0x48 {
		t.Errorf("a page that cannot be saved has the saved values %X", got)
	}
	again := newModeRig(t, keeper)
	if got := again.page(0x08, 0, CurrentValues); got[2] != 0x06 || again.applied[0][2] != 0x06 {
		t.Errorf("after a restart the page is %X", got)
	}
	if err := again.select2(t, 0x01, false); err != nil {
		t.Fatal(err)
	}
	if got := again.lu.Manage(LogicalUnitReset, again.a, 0); got != FunctionComplete {
		t.Fatal(got)
	}
	if got := again.page(0x08, 0, CurrentValues); got[2] != 0x06 {
		t.Errorf("after a reset the page is %X, want the saved values", got)
	}
	// A record of an older version: what cannot change any more is not taken from it.
	keeper.records["0123456789abcdef/mode"] = []byte(`[{"page":8,"subpage":0,"values":"iAT/////"},{"page":62,"values":"AA=="}]`)
	if got := newModeRig(t, keeper).page(0x08, 0, CurrentValues); !bytes.Equal(got, []byte{0x88, 4, 0x0f, 0, 0, 0x80}) {
		t.Errorf("an old record made the page %X", got)
	}
	keeper.records["0123456789abcdef/mode"] = []byte(`[{`)
	if _, err := NewLogicalUnit(Identity{Serial: "0123456789abcdef"}, r.d, keeper); err == nil {
		t.Error("a damaged record is taken as none")
	}
}

func TestControlModePage_SPC4_7_5_8(t *testing.T) {
	n := newNexus("a")
	d := &fakeDevice{rows: []Operation{row(0, Inline|Writes, good), row(1, Inline, func(*Command) error { return InvalidFieldInCDB(2, 7) })}}
	lu := newUnit(t, d, nil, n)
	set := func(index int, bits byte) error {
		page := lu.AppendModePages(nil, controlPage, 0, DefaultValues)
		page[index] ^= bits
		return lu.SelectModePages(n, []ModeValues{{Page: page}}, false)
	}
	if page := lu.AppendModePages(nil, controlPage, 0, CurrentValues); !bytes.Equal(page, []byte{0x0a, 0x0a, 0, 0x10, 0, 0x40, 0, 0, 0, 0, 0, 0}) {
		t.Errorf("control mode page %X", page)
	}
	d.syncErr = errStore
	if err := set(4, swpBit); !errors.Is(err, errStore) || lu.WriteProtected() {
		t.Errorf("write protection over a cache that cannot be written: %v", err)
	}
	d.syncErr = nil
	if err := set(4, swpBit); err != nil || d.syncs != 2 {
		t.Errorf("write protection: %v, %d syncs", err, d.syncs)
	}
	do(t, lu, n, 0, 0, 0, 0, 0, 0).wantSense(t, KeyDataProtect, ASCWriteProtected)
	if err := set(2, dSenseBit); err != nil {
		t.Fatal(err)
	}
	do(t, lu, n, 0, 0, 0, 0, 0, 0).wantStatus(t, Good)
	if c := do(t, lu, n, 1, 0, 0, 0, 0, 0); c.Sense[0] != 0x72 || c.Sense[1] != 5 {
		t.Errorf("with D_SENSE the sense data are %X", c.Sense)
	}
	for _, fixed := range []struct {
		index int
		bits  byte
	}{{2, 0x20}, {3, 0x10}, {3, 0x06}, {4, 0x30}} {
		if err := set(fixed.index, fixed.bits); err == nil {
			t.Errorf("byte %d bits %02X can be changed", fixed.index, fixed.bits)
		}
	}
}

func TestNewLogicalUnitRefusesContradictions(t *testing.T) {
	rows := map[string][]Operation{
		"two rows for a code":   {row(0, 0, good), row(0, 0, good)},
		"usage of another code": {{Name: "X", Opcode: 1, Usage: make([]byte, 6), Execute: good}},
		"no function":           {{Name: "X", Usage: make([]byte, 6)}},
		"odd length":            {{Name: "X", Usage: make([]byte, 7), Execute: good}},
		"no extent":             {{Name: "X", Usage: make([]byte, 6), Order: ExclusiveExtent, Execute: good}},
		"wrong service action":  {{Name: "X", Opcode: 0x9e, ServiceAction: 3, HasServiceAction: true, Usage: []byte{0x9e, 4, 15: 0}, Execute: good}},
		"action and none":       {{Name: "X", Opcode: 0x9e, Usage: []byte{0x9e, 15: 0}, Execute: good}, {Name: "Y", Opcode: 0x9e, ServiceAction: 4, HasServiceAction: true, Usage: []byte{0x9e, 4, 15: 0}, Execute: good}},
	}
	for name, r := range rows {
		if _, err := NewLogicalUnit(Identity{Serial: "x"}, &fakeDevice{rows: r}, nil); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	pages := map[string][]ModePage{
		"two pages":       {{Code: 8, Default: make([]byte, 4)}, {Code: 8, Default: make([]byte, 4)}},
		"short":           {{Code: 8, Default: make([]byte, 1)}},
		"mask of another": {{Code: 8, Default: make([]byte, 4), Changeable: make([]byte, 5)}},
		"all pages":       {{Code: 0x3f, Default: make([]byte, 4)}},
		"control":         {{Code: controlPage, Default: make([]byte, 12)}},
	}
	for name, p := range pages {
		if _, err := NewLogicalUnit(Identity{Serial: "x"}, &fakeDevice{pages: p}, nil); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestModePagesAreReadWhileTheyChange: a MODE SELECT that waits for the medium holds up
// nobody who asks for a page on the goroutine that reads a connection.
func TestModePagesAreReadWhileTheyChange(t *testing.T) {
	n := newNexus("a")
	var lu *LogicalUnit
	var seen []byte
	d := &fakeDevice{pages: []ModePage{{Code: 8, Default: make([]byte, 4), Changeable: []byte{3: 0xff}, Apply: func([]byte) error {
		if lu != nil {
			seen = lu.AppendModePages(nil, 8, 0, CurrentValues)
		}
		return nil
	}}}}
	lu = newUnit(t, d, nil, n)
	if err := lu.SelectModePages(n, []ModeValues{{Page: []byte{8, 2, 0, 9}}}, false); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(seen, []byte{8, 2, 0, 0}) {
		t.Errorf("while the page changed it was %X", seen)
	}
}

func TestResetTellsOfAPageThatStays(t *testing.T) {
	r := newModeRig(t, nil)
	if err := r.select2(t, 0x01, false); err != nil {
		t.Fatal(err)
	}
	var told error
	r.lu.Report = func(err error) { told = err }
	r.fail = errStore
	if got := r.lu.Manage(LogicalUnitReset, r.a, 0); got != FunctionComplete {
		t.Fatal(got)
	}
	if !errors.Is(told, errStore) || r.page(0x08, 0, CurrentValues)[2] != 0x01 {
		t.Errorf("Report heard %v; the page is %X", told, r.page(0x08, 0, CurrentValues))
	}
}

// FuzzModeRecord: no record of saved mode pages changes what initiators may not, or breaks
// anything; what cannot be read is no unit.
func FuzzModeRecord(f *testing.F) {
	for _, s := range []string{
		``, `null`, `[]`, `{}`, `[{"page":8,"subpage":0,"values":"CAQDAAAA"}]`, `[{"page":8,"subpage":0,"values":"//////8="}]`, `[{"page":8,"subpage":1,"values":"SAEABP////8="}]`,
		`[{"page":10,"subpage":0,"values":"CgoEAAAAAAAAAAAA"},{"page":10,"subpage":0,"values":"CgoAAAAAAAAAAAAA"}]`, `[{"page":255,"values":null}]`, `[{"page":8,"values":""}]`, `[{"page":-1}]`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, record []byte) {
		const serial = "0123456789abcdef"
		k := &fakeKeeper{records: map[string][]byte{serial + "/" + modeRecord: record}}
		d := &fakeDevice{pages: []ModePage{
			{Code: 0x08, Default: []byte{2: 0x04, 5: 0x80}, Changeable: []byte{2: 0x0f, 5: 0}},
			{Code: 0x08, Subcode: 0x01, Default: []byte{7: 0}, Changeable: []byte{7: 0xff}, Unsavable: true},
		}}
		lu, err := NewLogicalUnit(Identity{Serial: serial}, d, k)
		if err != nil {
			return
		}
		now, mask, want := lu.AppendModePages(nil, 0x3f, 0xff, CurrentValues), lu.AppendModePages(nil, 0x3f, 0xff, ChangeableValues), lu.AppendModePages(nil, 0x3f, 0xff, DefaultValues)
		if len(now) != len(want) || len(now) != len(mask) {
			t.Fatalf("% x, by default % x", now, want)
		}
		header := 0
		for i := range now {
			if i == header {
				n := PageHeader(now[i])
				header += n + int(now[i+n-1])
				continue // PS is no value
			}
			if now[i]&^mask[i] != want[i]&^mask[i] {
				t.Errorf("byte %d is %02x, by default %02x, and of it %02x can be changed", i, now[i], want[i], mask[i])
			}
		}
	})
}
