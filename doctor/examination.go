package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
)

// DefaultInitiator is the iSCSI name by which the doctor logs in if nobody says another.
const DefaultInitiator = "iqn.2026-11.org.isantarget:doctor"

// Options say how a target is examined.
type Options struct {
	User, Secret string        // for CHAP; an empty secret: none
	Initiator    string        // iSCSI name; empty: DefaultInitiator
	Timeout      time.Duration // of each answer; 0: 10 s
	Destructive  bool          // also write, reserve and reset
	// Progress, if set, hears what is examined, and which check runs.
	Progress func(subject, check string)
}

func (o *Options) initiator() string {
	if o.Initiator == "" {
		return DefaultInitiator
	}
	return o.Initiator
}

func (o *Options) timeout() time.Duration {
	if o.Timeout == 0 {
		return 10 * time.Second
	}
	return o.Timeout
}

func (o *Options) chap() *initiator.CHAP {
	if o.Secret == "" {
		return nil
	}
	return &initiator.CHAP{User: o.User, Secret: o.Secret}
}

// What one report is about at most.
const (
	maxTargets = 64
	maxUnits   = 256 // of a target
	maxPortals = 16  // of a target
)

// checkBudget is how many answers' time one check has.
const checkBudget = 6

// An examination is what is examined, and what the checks share: a portal, a target of it,
// or a logical unit of that.
type examination struct {
	ctx     context.Context
	o       *Options
	portal  string
	target  string
	lun     int      // AnyLUN: the target
	portals []string // of the target, the one that was asked for first
	listed  []initiator.Target
	units   []int // disks of the target

	until      time.Time // of the check that runs
	a, b       *nexus
	lost       atomic.Int32 // connections
	noting     sync.Mutex   // of violations: two hosts may be at work at once
	violations []string
	pages      map[int][]byte
	blocks     *capacity
	area       *scratch
	guarded    *guard
	undo       []func() error
}

// newExamination begins to look at something else with the same options.
func newExamination(ctx context.Context, o *Options, portal, target string, lun int) *examination {
	x := &examination{ctx: ctx, o: o, portal: portal, target: target, lun: lun, portals: []string{portal}, pages: map[int][]byte{}}
	x.a, x.b = x.nexus(portal), x.nexus(portal)
	x.b.name += secondHost
	x.allow()
	return x
}

// secondHost is what the name of the other host has behind that of the first.
const secondHost = "-b"

// nexus is a new initiator port.
func (x *examination) nexus(portal string) *nexus {
	return &nexus{x: x, portal: portal, isid: initiator.RandomISID(), name: x.o.initiator()}
}

// allow begins the time that a check has.
func (x *examination) allow() { x.until = time.Now().Add(checkBudget * x.o.timeout()) }

// pause waits, unless the time of the check is over.
func (x *examination) pause(d time.Duration) error {
	if time.Now().Add(d).After(x.until) {
		return errors.New("the target has put us off for too long")
	}
	select {
	case <-x.ctx.Done():
		return x.ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// note remembers which rules of the protocol a connection saw broken.
func (x *examination) note(c *initiator.Connection) {
	x.noting.Lock()
	defer x.noting.Unlock()
	for _, v := range c.Violations {
		if text := v.Error(); len(x.violations) < 16 && !slices.Contains(x.violations, text) {
			x.violations = append(x.violations, text)
		}
	}
	c.Violations = nil
}

// Examine examines what p names. The error says why nothing could be examined: whoever
// can be reached and logged in to gives a Report, whatever is wrong with it.
func Examine(ctx context.Context, p Place, o Options) (*Report, error) {
	r := &Report{Examinations: []Examination{}, Left: []string{}}
	x := newExamination(ctx, &o, p.Portal, "", AnyLUN)
	listed, listErr := x.discover()
	if listErr != nil && p.Target == "" {
		return nil, fmt.Errorf("discovery at %s: %w", p.Portal, listErr)
	}
	x.listed, x.target = listed, p.Target
	r.add(Place{Portal: p.Portal, LUN: AnyLUN}, x.examine(ofPortal))
	targets := []string{p.Target}
	if p.Target == "" {
		if targets = names(listed); len(targets) == 0 {
			return nil, fmt.Errorf("%s shows no target to %s: its access rules may not admit this name (--initiator IQN) or address", p.Portal, o.initiator())
		}
	}
	var firstErr error
	for _, name := range targets[:min(len(targets), maxTargets)] {
		if err := r.examineTarget(ctx, &o, p, name, listed); err != nil && firstErr == nil {
			firstErr = fmt.Errorf("%s at %s: %w", name, p.Portal, err)
		}
	}
	if err := ctx.Err(); err != nil {
		return r, err
	}
	return r, firstErr
}

func names(listed []initiator.Target) (all []string) {
	for _, t := range listed {
		all = append(all, t.Name)
	}
	return all
}

// examineTarget examines a target and its disks, or the one disk that p names.
func (r *Report) examineTarget(ctx context.Context, o *Options, p Place, name string, listed []initiator.Target) error {
	x := newExamination(ctx, o, p.Portal, name, 0)
	x.listed = listed
	x.findPortals()
	if _, err := x.a.connection(); err != nil {
		return err
	}
	units, err := x.disks()
	if err != nil && p.LUN == AnyLUN {
		return err
	}
	x.units = units
	place := Place{Portal: p.Portal, Target: name, LUN: AnyLUN}
	if p.LUN != AnyLUN {
		x.lun, units = p.LUN, []int{p.LUN}
	} else if len(units) > 0 {
		x.lun = units[0]
	}
	x.pages = map[int][]byte{}
	r.add(place, x.examine(ofTarget))
	r.Left = append(r.Left, x.restore()...)
	for _, lun := range units {
		y := newExamination(ctx, o, p.Portal, name, lun)
		y.portals, y.units, y.listed = x.portals, x.units, listed
		place.LUN = lun
		r.add(place, y.examine(ofUnit))
		r.Left = append(r.Left, y.restore()...)
	}
	if len(units) == 0 {
		return errors.New("it shows us no disk: no LUN is mapped for this initiator")
	}
	return nil
}

func (r *Report) add(p Place, findings []Finding) {
	r.Examinations = append(r.Examinations, Examination{Subject: p.String(), Findings: findings})
}

// examine runs the checks of a scope.
func (x *examination) examine(s scope) []Finding {
	findings := []Finding{}
	subject := Place{Portal: x.portal, Target: x.target, LUN: x.lun}.String()
	for _, c := range Checks() {
		if c.scope != s || x.ctx.Err() != nil {
			continue
		}
		if x.o.Progress != nil {
			x.o.Progress(subject, c.ID)
		}
		if c.Destructive() && !x.o.Destructive {
			findings = append(findings, c.finding("", notChecked("it %s; give --destructive", c.needs)))
			continue
		}
		x.allow()
		f := c.finding(c.attempt(x))
		if x.ctx.Err() == nil { // else it was us who cut the connection
			findings = append(findings, f)
		}
	}
	return findings
}

// attempt runs the check. A defect of ours that an answer brings to light ends the check,
// and not the program: what was changed has to be put back.
func (c *Check) attempt(x *examination) (found string, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = notChecked("%s: %v", ourDefect, r)
		}
	}()
	return c.run(x)
}

const ourDefect = "a defect of doctor, please report it"

func (n need) String() string {
	return [...]string{"only reads", "writes to blocks, which are put back", "takes reservations, which are given back", "resets the unit, and aborts what others do"}[n]
}

// restore puts back what was changed, the last change first, and says what it could not. It
// does so after Ctrl-C too.
func (x *examination) restore() (left []string) {
	cancelled := x.ctx
	ctx, cancel := context.WithTimeout(context.WithoutCancel(cancelled), 2*checkBudget*x.o.timeout())
	defer cancel()
	if cancelled.Err() != nil {
		x.a.drop()
		x.b.drop()
	}
	x.ctx = ctx
	x.lost.Store(0)
	subject := Place{Portal: x.portal, Target: x.target, LUN: x.lun}
	for _, step := range slices.Backward(x.undo) {
		x.allow()
		if err := step(); err != nil {
			left = append(left, printable(fmt.Sprintf("%v: %v", subject, err)))
		}
	}
	x.undo = nil
	x.a.logout()
	x.b.logout()
	return left
}

// discover asks the portal for its targets in a discovery session.
func (x *examination) discover() ([]initiator.Target, error) {
	c, err := x.dial(x.portal)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	defer x.note(c)
	l := initiator.Login{InitiatorName: x.o.initiator(), SessionType: "Discovery", ISID: x.a.isid, CHAP: x.o.chap(),
		Keys: []iscsi.KeyValue{{Key: "HeaderDigest", Value: "None"}, {Key: "DataDigest", Value: "None"}, {Key: "MaxRecvDataSegmentLength", Value: "32768"}}}
	if err := c.Login(l); err != nil {
		if x.o.Secret == "" {
			return nil, explainLogin(err)
		}
		// Targets that want CHAP in normal sessions only refuse it in discovery.
		plain, dialErr := x.dial(x.portal)
		if dialErr != nil {
			return nil, dialErr
		}
		defer plain.Close()
		if l.CHAP = nil; plain.Login(l) != nil {
			return nil, explainLogin(err)
		}
		c = plain
	}
	targets, err := c.SendTargets("All")
	if err != nil {
		return nil, fmt.Errorf("SendTargets=All: %w", err)
	}
	_, _ = c.Logout(iscsi.CloseSession, 0) // the connection ends anyway
	return targets, nil
}

// cutTag takes the portal group tag from a TargetAddress.
func cutTag(address string) (portal string, tag string, ok bool) {
	i := strings.LastIndexByte(address, ',')
	if i < 0 {
		return address, "", false
	}
	return address[:i], address[i+1:], true
}

// findPortals fills in the portals of the target, as discovery told them.
func (x *examination) findPortals() {
	for _, t := range x.listed {
		if t.Name != x.target {
			continue
		}
		for _, address := range t.Addresses {
			portal, _, _ := cutTag(address)
			if p, err := parsePortal(portal); err == nil && len(x.portals) < maxPortals && !slices.ContainsFunc(x.portals, func(known string) bool { return samePortal(known, p) }) {
				x.portals = append(x.portals, p)
			}
		}
	}
}

// samePortal compares portals, one of which may be written with a name.
func samePortal(a, b string) bool {
	if a == b {
		return true
	}
	hostA, portA, _ := net.SplitHostPort(a)
	hostB, portB, _ := net.SplitHostPort(b)
	if portA != portB || net.ParseIP(hostA) != nil && net.ParseIP(hostB) != nil && !net.ParseIP(hostA).Equal(net.ParseIP(hostB)) {
		return false
	}
	addresses, err := net.LookupHost(hostA)
	return err == nil && slices.Contains(addresses, hostB)
}

// disks lists the logical units of the target that are disks.
func (x *examination) disks() (disks []int, err error) {
	all, err := x.reportLUNs()
	if err != nil {
		return nil, err
	}
	lun := x.lun
	defer func() { x.lun = lun }()
	for _, n := range all[:min(len(all), maxUnits)] {
		x.lun = n
		data, err := x.a.run("INQUIRY", []byte{0x12, 0, 0, 0, 36, 0}, nil, 36)
		if err != nil && !answered(err) {
			return nil, err
		}
		if err == nil && len(data) > 0 && data[0] == 0 {
			disks = append(disks, n)
		}
	}
	return disks, nil
}

// reportLUNs asks for the logical units of the target (SPC-4 6.33).
func (x *examination) reportLUNs() ([]int, error) {
	const most = 8 + 8*4096
	cdb := []byte{0xa0, 0, 0, 0, 0, 0, 0, most >> 16, most >> 8 & 0xff, most & 0xff, 0, 0}
	lun := x.lun
	x.lun = 0
	data, err := x.a.run("REPORT LUNS", cdb, nil, most)
	x.lun = lun
	if err != nil {
		return nil, err
	}
	if len(data) < 8 {
		return nil, errors.New("REPORT LUNS: " + strconv.Itoa(len(data)) + " bytes, at least 8 are due")
	}
	n := int(uint32At(data, 0))
	if n%8 != 0 || n > len(data)-8 {
		return nil, fmt.Errorf("REPORT LUNS: LUN LIST LENGTH %d with %d bytes of list", n, len(data)-8)
	}
	var luns []int
	for p := data[8 : 8+n]; len(p) > 0; p = p[8:] {
		if lun, ok := lunOf(p); ok {
			luns = append(luns, lun)
		}
	}
	return luns, nil
}
