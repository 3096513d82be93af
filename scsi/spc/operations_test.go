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
		"REPORT LUNS":                      {allowed, allowed, allowed},
		"REPORT SUPPORTED OPERATION CODES": {allowed, conflict, conflict},
		"REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS": {allowed, conflict, conflict},
		"REPORT TARGET PORT GROUPS":                  {allowed, allowed, allowed},
		"SET TARGET PORT GROUPS":                     {conflict, conflict, conflict},
		"REQUEST SENSE":                              {allowed, allowed, allowed},
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
	// Those that make reservations have rules of their own (SPC-4 table 66, 5.13.3).
	own := map[string]scsi.Conflict{
		"RESERVE":                          scsi.ConflictOnRegistration,
		"RELEASE":                          scsi.ConflictOnRegistration,
		"PERSISTENT RESERVE IN":            scsi.ConflictOnAnyReserve,
		"PERSISTENT RESERVE OUT, REGISTER": scsi.ConflictOnAnyReserve,
		"PERSISTENT RESERVE OUT, REGISTER AND IGNORE EXISTING KEY": scsi.ConflictOnAnyReserve,
		"PERSISTENT RESERVE OUT":                                   scsi.ConflictUnlessRegistered,
	}
	for _, row := range Operations() {
		name, _, _ := strings.Cut(row.Name, " (")
		command, _, _ := strings.Cut(name, ",")
		how, ok := own[name]
		if !ok {
			how, ok = own[command]
		}
		if ok {
			if row.Conflict != how {
				t.Errorf("%s conflicts as %v, want %v", row.Name, row.Conflict, how)
			}
			continue
		}
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
