package spc

import (
	"strings"
	"testing"

	"github.com/isantarget/isantarget/scsi"
)

// TestConflictsAreThoseOfTheStandard holds the rows to SPC-4 table 65 (columns write
// exclusive and exclusive access) and, for RESERVE, to SPC-2 table 9.
func TestConflictsAreThoseOfTheStandard_SPC4_5_13_1(t *testing.T) {
	const allowed, conflict = false, true
	table := map[string]struct{ writeExclusive, exclusiveAccess, reserve bool }{
		"INQUIRY":                          {allowed, allowed, allowed},
		"LOG SENSE":                        {allowed, allowed, allowed},
		"MODE SELECT":                      {conflict, conflict, conflict},
		"MODE SENSE":                       {allowed, conflict, conflict},
		"READ BUFFER":                      {allowed, conflict, conflict},
		"RECEIVE DIAGNOSTIC RESULTS":       {allowed, conflict, conflict},
		"RELEASE":                          {allowed, allowed, allowed},
		"REPORT LUNS":                      {allowed, allowed, allowed},
		"REPORT SUPPORTED OPERATION CODES": {allowed, conflict, conflict},
		"REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS": {allowed, conflict, conflict},
		"REPORT TARGET PORT GROUPS":                  {allowed, allowed, allowed},
		"SET TARGET PORT GROUPS":                     {conflict, conflict, conflict},
		"REQUEST SENSE":                              {allowed, allowed, allowed},
		"RESERVE":                                    {conflict, conflict, conflict},
		"SEND DIAGNOSTIC":                            {conflict, conflict, conflict},
		"TEST UNIT READY":                            {allowed, allowed, conflict},
		"WRITE BUFFER":                               {conflict, conflict, conflict},
	}
	words := map[scsi.Conflict]struct{ writeExclusive, exclusiveAccess, reserve bool }{
		scsi.Allowed:           {allowed, allowed, allowed},
		scsi.ConflictOnWrite:   {allowed, conflict, conflict},
		scsi.ConflictAlways:    {conflict, conflict, conflict},
		scsi.ConflictOnReserve: {allowed, allowed, conflict},
	}
	for _, row := range Operations() {
		name, _, _ := strings.Cut(row.Name, " (")
		want, ok := table[name]
		if !ok {
			t.Errorf("%s is not in the table", row.Name)
			continue
		}
		if got := words[row.Conflict]; got != want {
			t.Errorf("%s conflicts as %+v, want %+v", row.Name, got, want)
		}
	}
}
