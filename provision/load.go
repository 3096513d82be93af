package provision

import (
	"github.com/isantarget/isantarget/meter"
	"github.com/isantarget/isantarget/scsi"
)

// A LoadStatus is what has been done since the daemon began, and by whom. Its counters only
// grow, so what happened between two looks is the difference of them; an uptime that is
// smaller than before, or a name that is new, says that they have begun anew. A command is
// counted when its answer is out.
type LoadStatus struct {
	Uptime   int64         `json:"uptime"` // ns since the process began: the clock to divide differences by
	Bounds   []int64       `json:"bounds"` // ns: the longest time that a bucket of durations takes, of each but the last, which takes any
	Total    Load          `json:"total"`  // of all targets, those too that are gone
	LUNs     []LUNLoad     `json:"luns"`
	Targets  []TargetLoad  `json:"targets"`
	Sessions []SessionLoad `json:"sessions"` // those that there are; their counters go with them
}

// A LUNLoad is what a LUN has done.
type LUNLoad struct {
	Name string `json:"name"`
	Load
}

// A TargetLoad is what a target has done.
type TargetLoad struct {
	Name string `json:"name"`
	Load
}

// A SessionLoad is what a session has done.
type SessionLoad struct {
	TSIH      uint16 `json:"tsih"`
	Target    string `json:"target"`
	Initiator string `json:"initiator"`
	Load
}

// A Load is what has been done, by what commands do: move blocks of the medium to an
// initiator (read) or from one (write), or something else (UNMAP, INQUIRY, VERIFY ...).
type Load struct {
	Open     int               `json:"open"` // commands at this moment
	Read     StreamLoad        `json:"read"`
	Write    StreamLoad        `json:"write"`
	Other    StreamLoad        `json:"other"`
	Failures map[string]uint64 `json:"failures"` // commands that did not end with GOOD, by status or, with CHECK CONDITION, sense key
}

// A StreamLoad is a part of a Load. The three times of a command together are how long it
// took from its arrival until the socket had its answer; here they are added up.
type StreamLoad struct {
	Operations uint64   `json:"operations"` // commands that have ended, however
	Bytes      uint64   `json:"bytes"`      // of data that went over the network
	Errors     uint64   `json:"errors"`     // operations that did not end with GOOD
	Queue      int64    `json:"queue"`      // ns: it waited for its turn, in the task set or for memory
	Store      int64    `json:"store"`      // ns: the disk worked on it
	Network    int64    `json:"network"`    // ns: its initiator owed data, or had not taken the answer
	Durations  []uint64 `json:"durations"`  // operations by how long they took in all, see bounds
}

// Counters tells what has been done.
func (p *Provisioner) Counters() (LoadStatus, error) {
	r, err := p.served()
	if err != nil {
		return LoadStatus{}, err
	}
	s := LoadStatus{Uptime: int64(meter.Now()), LUNs: []LUNLoad{}, Targets: []TargetLoad{}, Sessions: []SessionLoad{}}
	for i := range meter.Buckets - 1 {
		s.Bounds = append(s.Bounds, meter.Bound(i).Nanoseconds())
	}
	for _, l := range r.plan.LUNs {
		lu := r.units[l.Name].lu
		count := lu.Count()
		s.LUNs = append(s.LUNs, LUNLoad{Name: l.Name, Load: loadOf(count.Flow(), lu.Open())})
	}
	open, all := map[string]int{}, 0
	for _, x := range r.entity.Sessions() {
		if x.Target == "" {
			continue // discovery: it has no commands
		}
		open[string(x.Target)] += x.Commands
		all += x.Commands
		s.Sessions = append(s.Sessions, SessionLoad{
			TSIH: x.TSIH, Target: string(x.Target), Initiator: string(x.Initiator), Load: loadOf(x.Load, x.Commands),
		})
	}
	for _, n := range r.plan.nodes {
		if node := r.nodes[n.name]; node != nil {
			s.Targets = append(s.Targets, TargetLoad{Name: string(n.name), Load: loadOf(node.Load(), open[string(n.name)])})
		}
	}
	s.Total = loadOf(r.entity.Load(), all)
	return s, nil
}

func loadOf(c meter.FlowCount, open int) Load {
	l := Load{
		Open: open, Read: streamLoadOf(&c.By[meter.Read]), Write: streamLoadOf(&c.By[meter.Write]), Other: streamLoadOf(&c.By[meter.Other]),
		Failures: map[string]uint64{},
	}
	for o, n := range c.Failures {
		if n == 0 {
			continue
		}
		status, key := scsi.OutcomeName(meter.Outcome(o))
		if key != "" {
			status = key
		}
		l.Failures[status] += n
	}
	return l
}

func streamLoadOf(c *meter.StreamCount) StreamLoad {
	return StreamLoad{
		Operations: c.Duration.Count(), Bytes: c.Bytes, Errors: c.Errors,
		Queue: int64(c.Spent(meter.Queue)), Store: int64(c.Spent(meter.Store)), Network: int64(c.Spent(meter.Network)),
		Durations: c.Duration.Buckets[:],
	}
}
