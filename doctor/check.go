package doctor

import (
	"errors"
	"fmt"
)

// A Consumer is who needs what a check is about.
type Consumer string

// The consumers, in the order they are shown.
const (
	Host           Consumer = "this host" // the daemon, and where it runs
	Everybody      Consumer = "everybody" // a disk by SPC-4 and SBC-3
	OpenISCSI      Consumer = "open-iscsi"
	Multipath      Consumer = "multipath"
	VMware         Consumer = "VMware"
	WindowsCluster Consumer = "Windows cluster"
	FenceSCSI      Consumer = "fence_scsi"
)

// Consumers lists them in the order they are shown.
func Consumers() []Consumer {
	return []Consumer{Host, Everybody, OpenISCSI, Multipath, VMware, WindowsCluster, FenceSCSI}
}

// A Verdict is what became of a check.
type Verdict string

// The verdicts. NotChecked is none: why stands in Finding.Found.
const (
	Pass       Verdict = "pass"
	Fail       Verdict = "fail"
	NotChecked Verdict = "not checked"
)

// scope is what a check looks at.
type scope uint8

const (
	ofPortal scope = iota
	ofTarget
	ofUnit
)

// need is what a check must be allowed.
type need uint8

const (
	reading   need = iota
	writing        // blocks, which are put back
	reserving      // reservations, which are given back
	resetting      // the unit, whose other users hear of it
)

// A Check is a row of the table: all that is known of it but what it found.
type Check struct {
	ID     string     // "ats"
	For    []Consumer // the first one is whom it is shown with
	Title  string     // what must be true
	Breaks string     // what breaks if it is not
	Remedy string     // what to do about it

	scope scope
	needs need
	run   func(*examination) (found string, err error)
}

// Destructive tells whether the check writes, reserves or resets.
func (c *Check) Destructive() bool { return c.needs != reading }

// Checks is the table, in the order in which the checks run: what disturbs others is last.
func Checks() []Check {
	var all []Check
	for _, part := range [][]Check{portalChecks(), sessionChecks(), digestChecks(), chapChecks(), basicChecks(), pathChecks(), vmwareChecks(), windowsChecks(), blockChecks(), offloadChecks(), reservationChecks(), fencingChecks(), resetChecks()} {
		all = append(all, part...)
	}
	return all
}

// A Finding is what a check found.
type Finding struct {
	Check   string     `json:"check"`
	For     []Consumer `json:"for"`
	Title   string     `json:"title"`
	Verdict Verdict    `json:"verdict"`
	// Destructive: the check writes, reserves or resets.
	Destructive bool `json:"destructive"`

	Found  string `json:"found"`            // what was seen, or why it was not checked
	Breaks string `json:"breaks,omitempty"` // of one that fails
	Remedy string `json:"remedy,omitempty"` // of one that fails
}

// An Examination is what was found of one portal, target or logical unit.
type Examination struct {
	Subject  string    `json:"subject"` // its URL
	Findings []Finding `json:"findings"`
}

// A Report is all that was found.
type Report struct {
	Examinations []Examination `json:"examinations"`
	Left         []string      `json:"left"` // what could not be put back as it was
}

// Count tells how many findings have a verdict.
func (r *Report) Count(v Verdict) (n int) {
	for _, e := range r.Examinations {
		for _, f := range e.Findings {
			if f.Verdict == v {
				n++
			}
		}
	}
	return n
}

// errNotChecked is why a check has no verdict.
var errNotChecked = errors.New("not checked")

// notChecked says why a check has no verdict.
func notChecked(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errNotChecked, fmt.Sprintf(format, args...))
}

// finding makes the finding of a check from what it gave back.
func (c *Check) finding(found string, err error) Finding {
	f := Finding{Check: c.ID, For: c.For, Title: c.Title, Verdict: Pass, Found: found, Destructive: c.Destructive()}
	switch {
	case errors.Is(err, errNotChecked):
		f.Verdict = NotChecked
		f.Found = err.Error()[len(errNotChecked.Error())+2:]
	case err != nil:
		f.Verdict, f.Found, f.Breaks, f.Remedy = Fail, err.Error(), c.Breaks, c.Remedy
	}
	f.Found = printable(f.Found)
	return f
}

// printable is text that a target may have had a hand in, fit for a terminal and for a line.
func printable(text string) string {
	const longest = 400
	out := make([]rune, 0, min(len(text), longest))
	for _, r := range text {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\ufffd' {
			r = '?'
		}
		if out = append(out, r); len(out) == longest {
			return string(out) + "..."
		}
	}
	return string(out)
}
