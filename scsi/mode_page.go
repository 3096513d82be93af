package scsi

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
)

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
	// Now puts in what the page holds at this moment, for one that nobody can
	// change by MODE SELECT and that changes by itself; nil: it holds what Default
	// says. It must not wait.
	Now func(page []byte)
}

// PageControl is the PC field of MODE SENSE (SPC-4 table 197): which values.
type PageControl uint8

// The values of a mode page.
const (
	CurrentValues PageControl = iota
	ChangeableValues
	DefaultValues
	SavedValues
)

// ModeValues are the values for one page in a MODE SELECT parameter list.
type ModeValues struct {
	Page   []byte // the page with its header
	Offset int    // of the page in the parameter list, for field pointers
}

// PageHeader is the length of the header of a mode page that begins with first
// (SPC-4 7.5.7): four bytes with SPF, else two.
func PageHeader(first byte) int {
	if first&spfBit != 0 {
		return 4
	}
	return 2
}

const (
	psBit  = 0x80 // PS: the page can be saved
	spfBit = 0x40 // SPF: the page has a subpage code
)

// modeRecord is the kind of the record in which a Keeper has the saved pages.
const modeRecord = "mode"

// modePages are the mode pages of a logical unit. Who changes values holds mu,
// over Check, Apply and the Keeper too; who reads them never waits.
type modePages struct {
	mu     sync.Mutex
	pages  []*modePage // ascending; which they are does not change
	keeper Keeper

	// The control mode page, for commands: read without the lock.
	descriptorSense atomic.Bool // D_SENSE
	writeProtect    atomic.Bool // SWP
	taskAborted     atomic.Bool // TAS
}

// modePage is a page and its values, which are replaced whole.
type modePage struct {
	ModePage
	values atomic.Pointer[pageValues]
}

// pageValues are what a page holds. They do not change.
type pageValues struct {
	current []byte
	saved   []byte // nil: nothing has been saved
}

// setCurrent puts page in the place of the current values.
func (p *modePage) setCurrent(page []byte) {
	p.values.Store(&pageValues{page, p.values.Load().saved})
}

func (p *modePage) current() []byte { return p.values.Load().current }

// momentary is page, or what the page that changes by itself holds now.
func (p *modePage) momentary(page []byte) []byte {
	if p.Now == nil {
		return page
	}
	page = slices.Clone(page)
	p.Now(page)
	return page
}

func (p *modePage) less(o *modePage) int {
	return cmp.Or(cmp.Compare(p.Code, o.Code), cmp.Compare(p.Subcode, o.Subcode))
}

// kept are the values after a reset: the saved ones or the defaults.
func (p *modePage) kept() []byte {
	if saved := p.values.Load().saved; saved != nil {
		return saved
	}
	return p.Default
}

// newModePage fills the header of a page and checks it.
func newModePage(m ModePage) (*modePage, error) {
	header := 2
	if m.Subcode != 0 {
		header = 4
	}
	if m.Changeable == nil {
		m.Changeable = make([]byte, len(m.Default))
	}
	if len(m.Default) < header || len(m.Changeable) != len(m.Default) || m.Code > 0x3e || m.Subcode == 0xff {
		return nil, fmt.Errorf("page %02Xh/%02Xh contradicts itself", m.Code, m.Subcode)
	}
	m.Default = slices.Clone(m.Default)
	m.Changeable = slices.Clone(m.Changeable)
	putPageHeader(m.Default, m.Code, m.Subcode)
	clear(m.Changeable[:header])
	p := &modePage{ModePage: m}
	p.values.Store(&pageValues{current: m.Default})
	return p, nil
}

func putPageHeader(page []byte, code, subcode byte) {
	page[0], page[1] = code, byte(len(page)-2)
	if subcode != 0 {
		n := len(page) - 4
		page[0], page[1], page[2], page[3] = code|spfBit, subcode, byte(n>>8), byte(n)
	}
}

// loadModePages gathers the pages of the unit and of its device server and puts
// the saved values, or the defaults, to use.
func (lu *LogicalUnit) loadModePages(keeper Keeper) error {
	m := &lu.modes
	m.keeper = keeper
	device := lu.Device.ModePages()
	own := slices.DeleteFunc(lu.ownModePages(), func(p ModePage) bool {
		return slices.ContainsFunc(device, func(d ModePage) bool {
			return d.Code == p.Code && d.Subcode == p.Subcode && p.Code != controlPage
		})
	})
	for _, page := range slices.Concat(own, device) {
		p, err := newModePage(page)
		if err != nil {
			return err
		}
		i, twice := slices.BinarySearchFunc(m.pages, p, (*modePage).less)
		if twice {
			return fmt.Errorf("page %02Xh/%02Xh is there twice", p.Code, p.Subcode)
		}
		m.pages = slices.Insert(m.pages, i, p)
	}
	if err := m.load(lu.Identity); err != nil {
		return err
	}
	for _, p := range m.pages {
		p.setCurrent(p.kept())
		if err := p.apply(p.current()); err != nil {
			return err
		}
	}
	return nil
}

func (p *modePage) apply(page []byte) error {
	if p.Apply == nil {
		return nil
	}
	return p.Apply(slices.Clone(page))
}

// savedPage is a page in the record of the Keeper.
type savedPage struct {
	Page    byte   `json:"page"`
	Subpage byte   `json:"subpage"`
	Values  []byte `json:"values"`
}

// load reads the saved values. What a page of today does not let change it takes
// from the defaults, so that a record of an older version does no harm.
func (m *modePages) load(id Identity) error {
	if m.keeper == nil {
		return nil
	}
	record, err := m.keeper.Load(id, modeRecord)
	if err != nil || record == nil {
		return err
	}
	var saved []savedPage
	if err := json.Unmarshal(record, &saved); err != nil {
		return fmt.Errorf("saved record: %w", err)
	}
	for _, s := range saved {
		p := m.find(s.Page, s.Subpage)
		if p == nil || p.Unsavable || len(s.Values) != len(p.Default) {
			continue
		}
		page := slices.Clone(p.Default)
		for i, mask := range p.Changeable {
			page[i] = page[i]&^mask | s.Values[i]&mask
		}
		p.values.Store(&pageValues{page, page})
	}
	return nil
}

// save makes the current values of every savable page the saved ones.
func (m *modePages) save(id Identity) error {
	var saved []savedPage
	for _, p := range m.pages {
		if !p.Unsavable {
			saved = append(saved, savedPage{p.Code, p.Subcode, p.current()})
		}
	}
	record, err := json.Marshal(saved)
	if err != nil {
		return err
	}
	if err := m.keeper.Save(id, modeRecord, record); err != nil {
		return err
	}
	for _, p := range m.pages {
		if !p.Unsavable {
			p.values.Store(&pageValues{p.current(), p.current()})
		}
	}
	return nil
}

func (m *modePages) find(code, subcode byte) *modePage {
	i, ok := slices.BinarySearchFunc(m.pages, &modePage{ModePage: ModePage{Code: code, Subcode: subcode}}, (*modePage).less)
	if !ok {
		return nil
	}
	return m.pages[i]
}

// ModePagesSavable tells whether mode pages can be saved.
func (lu *LogicalUnit) ModePagesSavable() bool { return lu.modes.keeper != nil }

// AppendModePages adds to b the pages with this code and subcode, in the order and
// the form in which MODE SENSE returns them (SPC-4 table 198). Code 3Fh means
// every page, subcode FFh every subpage too. It adds nothing if there is none, and
// never waits.
func (lu *LogicalUnit) AppendModePages(b []byte, code, subcode byte, pc PageControl) []byte {
	m := &lu.modes
	for _, p := range m.pages {
		if code != 0x3f && p.Code != code || subcode != 0xff && p.Subcode != subcode {
			continue
		}
		at := len(b)
		switch pc {
		case CurrentValues:
			b = append(b, p.momentary(p.current())...)
		case ChangeableValues:
			b = append(b, p.Changeable...)
		case DefaultValues:
			b = append(b, p.momentary(p.Default)...)
		case SavedValues:
			b = append(b, p.kept()...)
			if p.Unsavable {
				clear(b[at:])
			}
		}
		putPageHeader(b[at:], p.Code, p.Subcode)
		if m.keeper != nil && !p.Unsavable {
			b[at] |= psBit
		}
	}
	return b
}

// SelectModePages is what MODE SELECT from n does with its pages (SPC-4 6.11): all
// of them change, or none does. A value that cannot be is INVALID FIELD IN PARAMETER
// LIST with a pointer. With save every savable page is saved too. The other nexuses
// have the unit attention MODE PARAMETERS CHANGED if something has changed.
func (lu *LogicalUnit) SelectModePages(n *Nexus, values []ModeValues, save bool) error {
	m := &lu.modes
	m.mu.Lock()
	defer m.mu.Unlock()
	wanted, err := m.check(values)
	if err != nil {
		return err
	}
	before := make(map[*modePage][]byte)
	undo := func(err error) error {
		for p, page := range before {
			p.setCurrent(page)
			err = errors.Join(err, p.apply(page))
		}
		return err
	}
	for _, p := range m.pages {
		page := wanted[p]
		if page == nil || p.Now != nil || bytes.Equal(page, p.current()) {
			continue
		}
		if err := p.apply(page); err != nil {
			return undo(err)
		}
		before[p] = p.current()
		p.setCurrent(page)
	}
	if save {
		if err := m.save(lu.Identity); err != nil {
			return undo(fmt.Errorf("mode pages were not saved: %w", err))
		}
	}
	if len(before) > 0 {
		lu.Attention(ASCModeParametersChanged, nil, n)
	}
	return nil
}

// check works out what the pages named in values are to become.
func (m *modePages) check(values []ModeValues) (map[*modePage][]byte, error) {
	wanted := make(map[*modePage][]byte)
	for _, v := range values {
		header := PageHeader(v.Page[0])
		subcode := byte(0)
		if header == 4 {
			subcode = v.Page[1]
		}
		p := m.find(v.Page[0]&0x3f, subcode)
		switch {
		case p == nil:
			return nil, InvalidFieldInParameterList(v.Offset, 5)
		case PageHeader(p.Default[0]) != header:
			return nil, InvalidFieldInParameterList(v.Offset, 6)
		case len(v.Page) != len(p.Default):
			return nil, InvalidFieldInParameterList(v.Offset+header/2, WholeByte)
		}
		page := wanted[p]
		if page == nil {
			page = slices.Clone(p.momentary(p.current()))
		}
		for i := header; i < len(page); i++ {
			if wrong := (v.Page[i] ^ page[i]) &^ p.Changeable[i]; wrong != 0 {
				return nil, InvalidFieldInParameterList(v.Offset+i, bits.Len8(wrong)-1)
			}
			page[i] = v.Page[i]
		}
		if p.Check != nil {
			if err := p.Check(page); err != nil {
				return nil, shifted(err, v.Offset)
			}
		}
		wanted[p] = page
	}
	return wanted, nil
}

// shifted moves the field pointer of a page's error to its place in the parameter list.
func shifted(err error, offset int) error {
	s, ok := err.(*Sense)
	if !ok || s.Field == nil {
		return err
	}
	moved, field := *s, *s.Field
	field.Byte += uint16(offset)
	moved.Field = &field
	return &moved
}

// resetModePages brings back the saved values, or the defaults (SAM-5 6.3.3).
func (lu *LogicalUnit) resetModePages() {
	m := &lu.modes
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.pages {
		if bytes.Equal(p.current(), p.kept()) {
			continue
		}
		if err := p.apply(p.kept()); err != nil {
			lu.report(fmt.Errorf("mode page %02Xh/%02Xh keeps its values over a reset: %w", p.Code, p.Subcode, err))
			continue
		}
		p.setCurrent(p.kept())
	}
}
