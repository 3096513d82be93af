package provision

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/job"
)

// A LUNDetail is all that is known of one LUN. Amounts are bytes.
type LUNDetail struct {
	LUNStatus
	Provisioning      string      `json:"provisioning"`
	BlockSize         int         `json:"block-size"`
	PhysicalBlockSize int         `json:"physical-block-size"` // 0: not known
	WriteCache        bool        `json:"write-cache"`         // as initiators have it at this moment
	ReadOnly          bool        `json:"readonly"`
	NAA               string      `json:"naa"` // the name by which initiators know the disk (SPC-4 7.8.6.6)
	Features          string      `json:"features"`
	Allocated         int64       `json:"allocated"` // that its file system holds for it; -1: not known
	Shared            int64       `json:"shared"`    // the part of it that other files have too, at most; -1: not known
	Free              int64       `json:"free"`      // that its file system has left; -1: not known
	Extents           int         `json:"extents"`   // pieces that its image lies in; -1: not known
	Layers            []string    `json:"layers"`    // kinds of those upon its store, from the top
	Maps              []LUNMap    `json:"maps"`
	Sessions          []LUNUser   `json:"sessions"`
	Job               *job.Status `json:"job,omitempty"` // that is at work on it
}

// A LUNMap is a target that shows a LUN, to some initiators at least.
type LUNMap struct {
	Target string `json:"target"`
	Number int    `json:"number"`
}

// A LUNUser is a session with a target that shows a LUN.
type LUNUser struct {
	TSIH      uint16 `json:"tsih"`
	Initiator string `json:"initiator"`
	Target    string `json:"target"`
}

// fragmented is what a store of an image tells of where it lies, and can change of it.
type fragmented interface {
	Extents() (int, error)
	Defragment(step func(done, total int64) error) (before, after int, err error)
}

// LUN tells all that is known of one LUN.
func (p *Provisioner) LUN(name string) (LUNDetail, error) {
	r, u, err := p.servedUnit(name)
	if err != nil {
		return LUNDetail{}, err
	}
	d := u.detail(&p.questions)
	d.Maps, d.Sessions = r.usersOf(name)
	if j := cmp.Or(p.jobs.Of(name), p.jobs.Beside(name)); j != nil {
		s := j.Status()
		d.Job = &s
	} else if s, ok := u.sanitizing(); ok {
		d.Job = &s
	}
	return d, nil
}

func (u *unit) detail(q *questions) LUNDetail {
	l := u.config
	naa := u.lu.Identity.NAADesignator()
	d := LUNDetail{
		LUNStatus: u.status(), Provisioning: string(l.Provisioning), BlockSize: l.BlockSize, PhysicalBlockSize: l.PhysicalBlockSize,
		WriteCache: u.device.WriteCache(), ReadOnly: l.ReadOnly, NAA: fmt.Sprintf("%x", naa), Allocated: -1, Shared: -1, Free: -1, Extents: -1, Layers: []string{},
	}
	for _, layer := range l.Layers {
		d.Layers = append(d.Layers, string(layer.Kind))
	}
	if d.Provisioning == "" {
		d.Provisioning = string(configs.Sparse)
	}
	if d.PhysicalBlockSize == 0 && u.kind != configs.Block {
		d.PhysicalBlockSize = l.BlockSize
	}
	if u.medium == nil {
		return d
	}
	g := u.medium.Geometry()
	d.ReadOnly = d.ReadOnly || g.ReadOnly
	d.Features = u.medium.Features().String()
	if d.PhysicalBlockSize == 0 && u.kind == configs.Block {
		d.PhysicalBlockSize = g.Physical
	}
	if u.kind == configs.File {
		if p, err := q.promiseOf(u); err == nil {
			d.Allocated, d.Shared, d.Free = p.Used, p.shared(), p.Available
		}
	} else if space, err := u.medium.Space(); err == nil {
		d.Allocated, d.Free = space.Used, space.Available
	}
	if f, ok := u.base.(fragmented); ok {
		if n, err := f.Extents(); err == nil {
			d.Extents = n
		}
	}
	return d
}

// usersOf are the targets that show a LUN, and the sessions with them.
func (r *running) usersOf(lun string) (showing []LUNMap, users []LUNUser) {
	showing, users = []LUNMap{}, []LUNUser{}
	targets := map[string]bool{}
	for i, t := range r.plan.Targets {
		name := string(r.plan.nodes[i].name)
		var numbers []int // a rule may show another LUN under a number of the target
		find := func(luns map[int]string) {
			for n, shown := range luns {
				if shown == lun && !slices.Contains(numbers, n) {
					numbers = append(numbers, n)
				}
			}
		}
		find(t.LUNs)
		for _, rule := range t.Rules {
			find(rule.LUNs)
		}
		slices.Sort(numbers)
		for _, n := range numbers {
			showing = append(showing, LUNMap{name, n})
			targets[name] = true
		}
	}
	for _, s := range r.entity.Sessions() {
		if targets[string(s.Target)] {
			users = append(users, LUNUser{s.TSIH, string(s.Initiator), string(s.Target)})
		}
	}
	return showing, users
}
