package provision

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/scsi"
	"github.com/isantarget/isantarget/target"
)

// What is told of what runs has the names of the configuration, in JSON too.

// A SessionStatus is a session of an initiator.
type SessionStatus struct {
	TSIH        uint16             `json:"tsih"`   // target session identifying handle: its number
	Target      string             `json:"target"` // empty: a discovery session
	Initiator   string             `json:"initiator"`
	Alias       string             `json:"alias"`
	ISID        string             `json:"isid"`
	PortalGroup int                `json:"portal-group"`
	Rule        string             `json:"rule"` // label of the rule that admits it
	Since       time.Time          `json:"since"`
	Commands    int                `json:"commands"` // open now
	Connections []ConnectionStatus `json:"connections"`
}

// A ConnectionStatus is a connection of a session.
type ConnectionStatus struct {
	CID          uint16 `json:"cid"`
	From         string `json:"from"`
	Portal       string `json:"portal"`
	HeaderDigest bool   `json:"header-digest"`
	DataDigest   bool   `json:"data-digest"`
}

// A LUNStatus is how a LUN is.
type LUNStatus struct {
	Name     string       `json:"name"`
	Kind     string       `json:"kind"`
	Path     string       `json:"path"` // empty for kinds without one
	Size     int64        `json:"size"` // bytes; 0 while there is no medium
	Serial   string       `json:"serial"`
	NotReady string       `json:"not-ready"` // why; empty: it is ready
	Alerts   []string     `json:"alerts"`    // what the operator should see to, though it serves
	Recovery string       `json:"recovery"`  // the field of Recovery that would have it serve again; empty: none is wanted
	Faults   []string     `json:"faults"`    // that are in force on purpose, in words
	Paths    []PathStatus `json:"paths"`
}

// A PathStatus is how a target port leads to a LUN (ALUA).
type PathStatus struct {
	Group       uint16 `json:"group"` // target port group (SPC-4 5.15.2.1)
	Target      string `json:"target"`
	PortalGroup int    `json:"portal-group"`
	State       string `json:"state"`
	Preferred   bool   `json:"preferred"`
}

// A TargetStatus is a target as it is served.
type TargetStatus struct {
	Name     string         `json:"name"`
	Alias    string         `json:"alias"`
	Access   string         `json:"access"` // who is admitted where no rule decides; empty: nobody
	Rules    int            `json:"rules"`
	Portals  []PortalStatus `json:"portals"`
	LUNs     map[int]string `json:"luns"` // LUN number -> name, over all rules
	Sessions int            `json:"sessions"`
}

// A PortalStatus is a portal of a target.
type PortalStatus struct {
	Address string `json:"address"`
	Group   int    `json:"portal-group"`
}

// A ReservationStatus is what is reserved of a LUN.
type ReservationStatus struct {
	LUN           string               `json:"lun"`
	Type          string               `json:"type"`       // in the words of SPC-4; empty: there is no persistent reservation
	Generation    uint32               `json:"generation"` // PRGENERATION
	ThroughLoss   bool                 `json:"aptpl"`
	ReservedBy    string               `json:"reserved-by"` // SCSI name of the initiator port that holds RESERVE (SPC-2); empty: none
	Lost          string               `json:"lost"`        // why the record of it cannot be trusted; empty: it can
	Registrations []RegistrationStatus `json:"registrations"`
}

// A RegistrationStatus is an I_T nexus that is registered with a LUN.
type RegistrationStatus struct {
	Initiator   string `json:"initiator"`
	ISID        string `json:"isid"`
	Target      string `json:"target"`
	PortalGroup int    `json:"portal-group"`
	Key         string `json:"key"` // 0x and 16 digits
	Holder      bool   `json:"holder"`
	Session     bool   `json:"session"` // it has one
	// Stale says why the registration is probably left over: the initiator has come
	// back as another port. Empty: it is not.
	Stale string `json:"stale"`
}

// ErrStopped: nothing is served.
var ErrStopped = errors.New("the daemon does not serve just now: it is starting or stopping")

// An UnknownError names something that is not there.
type UnknownError struct {
	What, Name string
	Known      []string
}

// Error says what there is instead.
func (e *UnknownError) Error() string {
	name := e.Name
	if _, err := strconv.Atoi(name); err != nil {
		name = strconv.Quote(name)
	}
	return fmt.Sprintf("there is no %s %s%s", e.What, name, configs.DidYouMean(e.Name, e.Known))
}

// served is what runs.
func (p *Provisioner) served() (*running, error) {
	if r := p.now.Load(); r != nil {
		return r, nil
	}
	return nil, ErrStopped
}

// unit is the LUN of this name.
func (r *running) unit(name string) (*unit, error) {
	if u := r.units[name]; u != nil {
		return u, nil
	}
	return nil, &UnknownError{"LUN", name, slices.Sorted(maps.Keys(r.units))}
}

// servedUnit is the LUN of this name, and what runs with it.
func (p *Provisioner) servedUnit(name string) (*running, *unit, error) {
	r, err := p.served()
	if err != nil {
		return nil, nil, err
	}
	u, err := r.unit(name)
	return r, u, err
}

// Sessions lists the sessions, by TSIH.
func (p *Provisioner) Sessions() ([]SessionStatus, error) {
	r, err := p.served()
	if err != nil {
		return nil, err
	}
	list := []SessionStatus{}
	for _, s := range r.entity.Sessions() {
		one := SessionStatus{
			TSIH: s.TSIH, Target: string(s.Target), Initiator: string(s.Initiator), Alias: s.Alias, ISID: s.ISID.String(),
			PortalGroup: int(s.Group), Rule: s.Rule, Since: s.Since, Commands: s.Commands, Connections: []ConnectionStatus{},
		}
		for _, c := range s.Connections {
			one.Connections = append(one.Connections, ConnectionStatus(c))
		}
		list = append(list, one)
	}
	return list, nil
}

// Logout ends a session: its initiator is asked to log out first, and has the drain
// timeout to do so. It returns when the session has ended.
func (p *Provisioner) Logout(ctx context.Context, tsih uint16) error {
	r, err := p.served()
	if err != nil {
		return err
	}
	err = r.entity.Logout(ctx, tsih)
	if errors.Is(err, target.ErrNoSession) {
		var known []string
		for _, s := range r.entity.Sessions() {
			known = append(known, strconv.Itoa(int(s.TSIH)))
		}
		return &UnknownError{"session", strconv.Itoa(int(tsih)), known}
	}
	return err
}

// LUNs lists the LUNs in the order of the configuration.
func (p *Provisioner) LUNs() ([]LUNStatus, error) {
	r, err := p.served()
	if err != nil {
		return nil, err
	}
	list := []LUNStatus{}
	for _, l := range r.plan.LUNs {
		list = append(list, r.units[l.Name].status())
	}
	return list, nil
}

func (u *unit) status() LUNStatus {
	s := LUNStatus{Name: u.config.Name, Kind: string(u.kind), Path: u.config.Path, Serial: u.lu.Identity.Serial, Alerts: u.alerts(), Recovery: u.recovery(), Faults: []string{}, Paths: []PathStatus{}}
	if u.medium != nil {
		s.Size = u.medium.Geometry().Size
	}
	if sense := u.lu.Ready(); sense != nil {
		s.NotReady = sense.Error()
	}
	if u.failure != nil {
		s.NotReady = u.failure.Error()
	}
	if u.breaker != nil {
		for _, f := range u.breaker.status() {
			s.Faults = append(s.Faults, f.Fault)
		}
	}
	for _, g := range u.lu.PortGroups() {
		for _, port := range g.Ports {
			s.Paths = append(s.Paths, PathStatus{Group: g.ID, Target: port.Device, PortalGroup: int(port.Group), State: g.State.String(), Preferred: g.Preferred})
		}
	}
	return s
}

// alerts are what the operator should see to, though the LUN serves.
func (u *unit) alerts() []string {
	list := []string{}
	if u.medium != nil && u.medium.Lost() != nil {
		list = append(list, fmt.Sprintf("writes are refused, for %v; to go on: isantarget lun recover %s --accept-loss", u.medium.Lost(), u.config.Name))
	}
	if u.seenDisplaced() {
		list = append(list, fmt.Sprintf("its image is not at %s any more, and is lost when the daemon ends", u.config.Path))
	}
	return list
}

// recovery is what the operator may allow, by its name in a Recovery; empty: nothing of it would help.
func (u *unit) recovery() string {
	var image *imageError
	switch {
	case u.medium != nil && u.medium.Lost() != nil && !u.seenDisplaced():
		return "accept-loss"
	case errors.As(u.failure, &image):
		return image.allow
	}
	return ""
}

// SetAccessState brings the target port group of a LUN into a state, in the word of
// the configuration.
func (p *Provisioner) SetAccessState(lun string, group uint16, word string) error {
	_, u, err := p.servedUnit(lun)
	if err != nil {
		return err
	}
	var state configs.PortState
	if err := state.UnmarshalText([]byte(word)); err != nil {
		return &UnknownError{"access state", word, []string{
			string(configs.Optimized), string(configs.NonOptimized), string(configs.Standby), string(configs.Unavailable)}}
	}
	err = u.lu.SetAccessState(group, accessState(state))
	if errors.Is(err, scsi.ErrNoPortGroup) {
		var known []string
		for _, g := range u.lu.PortGroups() {
			known = append(known, strconv.Itoa(int(g.ID)))
		}
		return &UnknownError{"target port group", strconv.Itoa(int(group)), known}
	}
	if err == nil {
		p.log.WithField("lun", lun).Infof("the operator made target port group %d %s", group, state)
	}
	return err
}

// Targets lists the targets in the order of the configuration.
func (p *Provisioner) Targets() ([]TargetStatus, error) {
	r, err := p.served()
	if err != nil {
		return nil, err
	}
	sessions := map[iscsi.Name]int{}
	for _, s := range r.entity.Sessions() {
		sessions[s.Target]++
	}
	list := []TargetStatus{}
	for i, t := range r.plan.Targets {
		name := r.plan.nodes[i].name
		one := TargetStatus{
			Name: string(name), Alias: t.Alias, Access: string(t.Effective()), Rules: len(t.Rules),
			Portals: []PortalStatus{}, LUNs: r.lunsOf(t), Sessions: sessions[name],
		}
		for _, portal := range r.portalsOf(t) {
			one.Portals = append(one.Portals, PortalStatus{Address: portal.reachable(), Group: portal.tag})
		}
		list = append(list, one)
	}
	return list, nil
}

// Reservations tells what is reserved, of one LUN or, with an empty name, of all.
func (p *Provisioner) Reservations(lun string) ([]ReservationStatus, error) {
	r, err := p.served()
	if err != nil {
		return nil, err
	}
	if lun != "" {
		if _, err := r.unit(lun); err != nil {
			return nil, err
		}
	}
	sessions := r.entity.Sessions()
	list := []ReservationStatus{}
	for _, l := range r.plan.LUNs {
		if lun == "" || lun == l.Name {
			list = append(list, r.units[l.Name].reservations(sessions))
		}
	}
	return list, nil
}

func (u *unit) reservations(sessions []target.SessionInfo) ReservationStatus {
	r := u.lu.Reservations()
	s := ReservationStatus{LUN: u.config.Name, Generation: r.Generation, ThroughLoss: r.ThroughLoss, Registrations: []RegistrationStatus{}}
	if r.Type != 0 {
		s.Type = r.Type.String()
	}
	if r.ReservedBy != nil {
		s.ReservedBy = r.ReservedBy.Initiator.String()
	}
	if r.Lost != nil {
		s.Lost = r.Lost.Error()
	}
	for _, x := range r.Registrations {
		one := RegistrationStatus{
			Initiator: x.Initiator.Name, ISID: iscsi.ISID(x.Initiator.ISID).String(), Target: x.TargetPort.Device, PortalGroup: int(x.TargetPort.Group),
			Key: fmt.Sprintf("0x%016x", x.Key), Holder: x.Holder, Session: x.Attached,
		}
		if !x.Attached {
			one.Stale = cameBack(x, sessions)
		}
		s.Registrations = append(s.Registrations, one)
	}
	return s
}

// cameBack says as which port the initiator of x, which has no session, is here now;
// empty: it is not.
func cameBack(x scsi.Registration, sessions []target.SessionInfo) string {
	for _, s := range sessions {
		if string(s.Initiator) == x.Initiator.Name && string(s.Target) == x.TargetPort.Device && s.ISID != iscsi.ISID(x.Initiator.ISID) {
			return "came back as ISID " + s.ISID.String()
		}
	}
	return ""
}

// ClearReservations is the operator's CLEAR: it ends every registration and every
// reservation of a LUN, and those who lose one hear of it.
func (p *Provisioner) ClearReservations(lun string) error {
	_, u, err := p.servedUnit(lun)
	if err != nil {
		return err
	}
	if err := u.lu.ClearReservations(); err != nil {
		return err
	}
	p.log.WithField("lun", lun).Warn("the operator cleared all reservations")
	return nil
}
