package provision

import (
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/configs"
)

// A pool is a file system in which images lie, whatever stores they belong to. All
// but its name are bytes.
type pool struct {
	backstore.Space         // Used is that of the images together
	units           []*unit // by name
	promises        []promise
	promised        int64 // the sizes of the images together
	owed            int64 // the part of it that they have not taken yet
}

// ratio is what is promised, as a part of all that images can have.
func (p *pool) ratio() float64 {
	if room := p.Used + p.Available; room > 0 {
		return float64(p.promised) / float64(room)
	}
	return 0
}

// overcommitted tells whether there is less than was promised.
func (p *pool) overcommitted() bool { return p.owed > p.Available }

// owed are the bytes that the image of u may still take. One that nobody can write takes none.
func (u *unit) owed(p promise) int64 {
	if u.config.ReadOnly {
		return 0
	}
	return max(p.size-p.Used, 0)
}

// pools are the file systems in which images of r lie, by their names.
func (r *running) pools() map[string]*pool {
	pools, promises := map[string]*pool{}, r.promises()
	for _, name := range slices.Sorted(maps.Keys(r.units)) {
		u := r.units[name]
		promise, ok := promises[u]
		if !ok {
			continue
		}
		p := pools[promise.Pool]
		if p == nil {
			p = &pool{Space: promise.Space}
			p.Used = 0
			pools[promise.Pool] = p
		}
		p.units = append(p.units, u)
		p.promises = append(p.promises, promise)
		p.Used += promise.Used
		p.promised += promise.size
		p.owed += u.owed(promise)
	}
	return pools
}

// poolOf is the file system of the image of l, or the one where it is to be made.
func (r *running) poolOf(l configs.LUN) (*pool, error) {
	space, err := r.questions.spaceAt(l.Path)
	if err != nil {
		if space, err = r.questions.spaceAt(filepath.Dir(l.Path)); err != nil {
			return nil, err
		}
	}
	if p := r.pools()[space.Pool]; p != nil {
		return p, nil
	}
	space.Used = 0
	return &pool{Space: space}, nil
}

// Admit says whether the image of a LUN that runs may be promised grow bytes more
// than it is now: what has to be asked before it is made bigger. A warning is there
// where more is promised than there is, and the policy lets it pass with one.
func (p *Provisioner) Admit(lun string, grow int64) (warning string, err error) {
	r, u, err := p.servedUnit(lun)
	if err != nil {
		return "", err
	}
	return r.admit(u.config, grow)
}

// admit is Admit for l, whose image may be yet to be made: it is promised grow bytes
// more than the units of r, its own among them if there is one.
func (r *running) admit(l configs.LUN, grow int64) (warning string, err error) {
	policy := r.plan.OvercommitOf(l)
	if kind(l) != configs.File || policy == configs.Allow {
		return "", nil
	}
	p, err := r.poolOf(l)
	if err != nil {
		return "", nil // who opens or makes the image will say what is wrong there
	}
	if grow <= p.Available-p.owed {
		return "", nil
	}
	text := fmt.Sprintf("LUN %q would be promised %s of %s, which has %s left",
		l.Name, amount(grow), filepath.Dir(l.Path), amount(p.Available))
	if p.owed > 0 {
		text += fmt.Sprintf(" and owes other images %s of it", amount(p.owed))
	}
	if policy == configs.Warn {
		return text + "; writes fail when it is full", nil
	}
	return "", fmt.Errorf("%s: %s, make room, or say overcommit = \"allow\"%s", text, atMost(p.Available-p.owed), whereOvercommit(l))
}

// atMost is what to do about a promise that cannot be kept.
func atMost(room int64) string {
	if room < 1<<20 {
		return "take none"
	}
	return "take at most " + amount(room)
}

// whereOvercommit is where the policy for l is written.
func whereOvercommit(l configs.LUN) string {
	if l.Store != "" {
		return fmt.Sprintf(" for the store %q", l.Store)
	}
	return " for it (overcommit=allow behind a --lun)"
}

// amount is a number of bytes for a person.
func amount(n int64) string {
	units := []string{"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	v, i := float64(n), 0
	for ; math.Abs(v) >= 1024 && i < len(units)-1; i++ {
		v /= 1024
	}
	text := fmt.Sprintf("%.1f", v)
	return strings.TrimSuffix(text, ".0") + " " + units[i]
}

// overcommitments are what the operator should know of the file systems that cannot
// give what was promised, but for those where all that is wanted.
func (r *running) overcommitments() []string {
	var w []string
	pools := r.pools()
	for _, name := range slices.Sorted(maps.Keys(pools)) {
		p := pools[name]
		minded := slices.ContainsFunc(p.units, func(u *unit) bool { return r.plan.OvercommitOf(u.config) != configs.Allow })
		if !minded || !p.overcommitted() {
			continue
		}
		w = append(w, fmt.Sprintf("the file system of %s has %s left and owes the images in it %s: "+
			"writes fail when it is full; make room, or write overcommit = \"allow\" to hear no more of it",
			filepath.Dir(p.units[0].config.Path), amount(p.Available), amount(p.owed)))
	}
	return w
}
