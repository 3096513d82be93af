package provision

import (
	"github.com/isantarget/isantarget/job"
	"github.com/isantarget/isantarget/meter"
	"github.com/isantarget/isantarget/target"
)

// Meters are all that is counted, as it is counted: for those who give it a form of their
// own. The counts only grow, as those of LoadStatus do.
type Meters struct {
	LUNs     []LUNMeter
	Targets  []TargetMeter
	Sessions []SessionMeter // those that there are, but for discovery
	Logins   target.LoginCount
	Jobs     map[job.End]uint64 // that have ended
}

// A LUNMeter is what is counted of a LUN.
type LUNMeter struct {
	Name  string
	Count meter.UnitCount
	Open  int  // commands at this moment
	Lost  bool // what was written may be lost, and writes are refused
}

// A TargetMeter is what is counted of a target.
type TargetMeter struct {
	Name         string
	Count        meter.FlowCount
	Sessions     int    // at this moment
	Open         int    // commands at this moment
	SessionsLost uint64 // ended otherwise than by a logout
}

// A SessionMeter is what is counted of a session.
type SessionMeter struct {
	TSIH              uint16
	Target, Initiator string
	Known             bool // its initiator is not just anybody who calls himself so
	Count             meter.FlowCount
	Open              int // commands at this moment
}

// Meters tells all that is counted.
func (p *Provisioner) Meters() (Meters, error) {
	r, err := p.served()
	if err != nil {
		return Meters{}, err
	}
	m := Meters{Logins: r.entity.LoginCount(), Jobs: p.jobs.Ends()}
	for _, l := range r.plan.LUNs {
		u := r.units[l.Name]
		m.LUNs = append(m.LUNs, LUNMeter{Name: l.Name, Count: u.lu.Count(), Open: u.lu.Open(), Lost: u.medium != nil && u.medium.Lost() != nil})
	}
	sessions, open := map[string]int{}, map[string]int{}
	for _, x := range r.entity.Sessions() {
		if x.Target == "" {
			continue
		}
		sessions[string(x.Target)]++
		open[string(x.Target)] += x.Commands
		m.Sessions = append(m.Sessions, SessionMeter{
			TSIH: x.TSIH, Target: string(x.Target), Initiator: string(x.Initiator), Known: x.Known, Count: x.Load, Open: x.Commands,
		})
	}
	for _, n := range r.plan.nodes {
		if node := r.nodes[n.name]; node != nil {
			m.Targets = append(m.Targets, TargetMeter{
				Name: string(n.name), Count: node.Load(), Sessions: sessions[string(n.name)], Open: open[string(n.name)], SessionsLost: node.SessionsLost(),
			})
		}
	}
	return m, nil
}
