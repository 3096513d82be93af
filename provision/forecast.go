package provision

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/target"
)

// A Forecast is what a configuration would change of what runs.
type Forecast struct {
	Differences []configs.Difference `json:"differences"`
	Sessions    []SessionForecast    `json:"sessions"` // that would notice
	Warnings    []string             `json:"warnings"`
}

// A SessionForecast is what a session would notice.
type SessionForecast struct {
	TSIH      uint16   `json:"tsih"`
	Initiator string   `json:"initiator"`
	Target    string   `json:"target"`
	Effects   []string `json:"effects"` // in words
}

// Forecast says what Reload would change if the file said text: what is found wrong with
// it without opening an image or a port is the error. name and dir are as for
// [configs.Parse].
func (s *Sides) Forecast(name, dir, text string) (Forecast, error) {
	now := s.seen.Load()
	want, err := configs.Parse(name, dir, text, now.Made()...)
	if err != nil {
		return Forecast{}, err
	}
	return s.forecast(want)
}

// forecast compares want with what runs.
func (p *Provisioner) forecast(want configs.Config) (Forecast, error) {
	r, err := p.served()
	if err != nil {
		return Forecast{}, err
	}
	next, err := newPlan(want, p.hosts, nil)
	if err != nil {
		return Forecast{}, err
	}
	if err := r.fixed(next); err != nil {
		return Forecast{}, err
	}
	// What is only planned must not have us send something to a server of its choice.
	doubts := p.askHosts(context.Background(), r.plan.DNS.Server, next)
	f := Forecast{
		Differences: append([]configs.Difference{}, r.plan.Config.Differences(want)...),
		Sessions:    []SessionForecast{}, Warnings: append(append([]string{}, want.Warnings()...), doubts...),
	}
	reopened := r.reopened(want)
	for _, s := range r.entity.Sessions() {
		if s.Target == "" {
			continue // a discovery session sees no LUN
		}
		if effects := r.effects(next, s, reopened); len(effects) > 0 {
			f.Sessions = append(f.Sessions, SessionForecast{s.TSIH, string(s.Initiator), string(s.Target), effects})
		}
	}
	return f, nil
}

// reopened are the LUNs that want has closed and opened again.
func (r *running) reopened(want configs.Config) map[string]bool {
	names := map[string]bool{}
	for _, l := range want.LUNs {
		if u := r.units[l.Name]; u != nil && u.with(l) == nil {
			names[l.Name] = true
		}
	}
	return names
}

// effects are what a session would notice of next, in words.
func (r *running) effects(next *plan, s target.SessionInfo, reopened map[string]bool) []string {
	before, err := r.foresee(r.plan, s)
	if err != nil {
		return nil // it is about to end anyway
	}
	after, err := r.foresee(next, s)
	if err != nil {
		return []string{"it is logged out: " + strings.TrimPrefix(err.Error(), "target: ")}
	}
	var effects []string
	numbers := map[int]bool{}
	for n := range before {
		numbers[n] = true
	}
	for n := range after {
		numbers[n] = true
	}
	for _, n := range slices.Sorted(maps.Keys(numbers)) {
		old, now := before[n], after[n]
		switch {
		case old == "":
			effects = append(effects, fmt.Sprintf("LUN %d comes: %s", n, now))
		case now == "":
			effects = append(effects, fmt.Sprintf("LUN %d goes: %s", n, old))
		case old != now:
			effects = append(effects, fmt.Sprintf("LUN %d becomes another: %s, was %s", n, now, old))
		case reopened[now]:
			effects = append(effects, fmt.Sprintf("LUN %d, %s, is busy while it is closed and opened again", n, now))
		}
	}
	return effects
}

// foresee is the LUN map that a session has under a plan; an error is why it has none.
func (r *running) foresee(p *plan, s target.SessionInfo) (map[int]string, error) {
	i := slices.IndexFunc(p.nodes, func(n nodePlan) bool { return n.name == iscsi.Name(s.Target) })
	if i < 0 {
		return nil, fmt.Errorf("its target is removed")
	}
	var groups []uint16
	for _, g := range p.GroupsOf(p.Targets[i]) {
		groups = append(groups, uint16(g.Tag))
	}
	var rules []target.Rule
	for j, rule := range p.nodes[i].rules {
		rule.Label = fmt.Sprint(j) // labels may be alike
		rules = append(rules, rule.Rule)
	}
	j, err := r.entity.Foresee(s.TSIH, groups, rules)
	if err != nil {
		return nil, err
	}
	return p.nodes[i].rules[j].luns, nil
}

// Warnings are what is probably not meant of the configuration that runs.
func (s *Sides) Warnings() []string { return s.seen.Load().Warnings() }

// Export is the whole configuration that runs, both sides, as one file: a person may serve
// it elsewhere, and initiators find the same disks, for serials are written out. Secrets
// are names of files and variables.
func (s *Sides) Export() (configs.Config, error) {
	r, err := s.served()
	if err != nil {
		return configs.Config{}, err
	}
	c := *s.seen.Load()
	c.LUNs = slices.Clone(c.LUNs)
	for i := range c.LUNs {
		if u := r.units[c.LUNs[i].Name]; u != nil {
			c.LUNs[i].Serial = u.lu.Identity.Serial
			if c.LUNs[i].Size != 0 && u.medium != nil { // an image keeps the size it has
				c.LUNs[i].Size = configs.Size(u.medium.Geometry().Size)
			}
		}
	}
	return c, nil
}
