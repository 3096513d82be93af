package scsi

import "testing"

func TestReserveConflicts_SPC2_table_9(t *testing.T) {
	a, b := newNexus("a"), newNexus("b")
	d := &fakeDevice{}
	for conflict := Allowed; conflict <= ConflictOnReserve; conflict++ {
		r := row(byte(conflict), Inline, good)
		r.Conflict = conflict
		d.rows = append(d.rows, r)
	}
	lu := newUnit(t, d, nil, a, b)
	for range 2 { // again by the holder too
		if err := lu.Reserve(a, true); err != nil {
			t.Fatal(err)
		}
	}
	if err := lu.Reserve(b, true); err != ReservationConflict {
		t.Errorf("RESERVE by another: %v", err)
	}
	lu.Release(b) // does nothing
	for conflict := Allowed; conflict <= ConflictOnReserve; conflict++ {
		do(t, lu, a, byte(conflict), 0, 0, 0, 0, 0).wantStatus(t, Good)
		want := ReservationConflict
		if conflict == Allowed {
			want = Good
		}
		do(t, lu, b, byte(conflict), 0, 0, 0, 0, 0).wantStatus(t, want)
	}
	lu.Release(a)
	do(t, lu, b, byte(ConflictAlways), 0, 0, 0, 0, 0).wantStatus(t, Good)
	if lu.Reserve(b, true) != nil || lu.ReservedBy() != b {
		t.Error("a released unit cannot be reserved")
	}
}
