package scsi

// A ModePage is a mode page or subpage of a device server (SPC-4 7.5): what it
// can hold, and what happens when it changes. The logical unit keeps its
// current and saved values.
type ModePage struct {
	Code    byte // PAGE CODE, 00h to 3Eh
	Subcode byte // SUBPAGE CODE, 00h for a page that is none
	// Default is the whole page with its header (two bytes, or four with a
	// SUBPAGE CODE), so that its indices are the byte numbers of the standard.
	// The header may be left zero: the logical unit fills it.
	Default []byte
	// Changeable has a bit set where MODE SELECT may change the page; it is as
	// long as Default, or nil when nothing may.
	Changeable []byte
	// Unsavable keeps the page out of MODE SELECT with SP and of saved values.
	Unsavable bool
	// Check refuses values before anything has changed; nil: everything that
	// Changeable lets through. A *Sense with a Field counts its bytes from the
	// start of the page. page is as long as Default; Check does not keep it.
	Check func(page []byte) error
	// Apply puts values to use: once when the unit is made, with the saved values
	// or the defaults, and then for each change. Calls never overlap. If it fails
	// the values before stay and the initiator hears of it. It does not keep page.
	Apply func(page []byte) error
}
