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
	backstore.Space         // Used is that of the images together, what they share once
	units           []*unit // by name
	promises        []promise
	promised        int64 // the sizes of the images together
	owed            int64 // what they may still take
	estimated       bool  // some of it is owed only because nobody knows better
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
	return p.owed()
}

// pools are the file systems in which images of r lie, by their names. If what is owed
// has to be exact it may take a second.
func (r *running) pools(exact bool) map[string]*pool {
	pools, promises := map[string]*pool{}, r.promises(exact)
	for _, name := range slices.Sorted(maps.Keys(r.units)) {
		u := r.units[name]
		promise, ok := promises[u]
		if !ok {
			continue
		}
		p := pools[promise.Pool]
		if p == nil {
			p = &pool{Space: promise.Space}
			pools[promise.Pool] = p
		}
		p.units = append(p.units, u)
		p.promises = append(p.promises, promise)
		p.promised += promise.size
		p.owed += u.owed(promise)
		p.estimated = p.estimated || promise.shares.estimated && !u.config.ReadOnly
	}
	for _, p := range pools {
		p.Used = allocated(p.promises, p.Capacity-p.Available)
	}
	r.questions.addCopies(pools)
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
	if p := r.pools(true)[space.Pool]; p != nil {
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
	return r.admit(u.config, grow, nil)
}

// admit is Admit for l, whose image may be yet to be made: it is promised grow bytes
// more than the units of r, its own among them if there is one. origin is the one of
// which it is made, as that is now; nil: none, or one that does not change by it.
func (r *running) admit(l configs.LUN, grow int64, origin *unit) (warning string, err error) {
	policy := r.plan.OvercommitOf(l)
	if kind(l) != configs.File || policy == configs.Allow {
		return "", nil
	}
	p, err := r.poolOf(l)
	if err != nil {
		return "", nil // who opens or makes the image will say what is wrong there
	}
	more := p.unshared(origin)
	if grow+more <= p.Available-p.owed {
		return "", nil
	}
	text := fmt.Sprintf("LUN %q would be promised %s of %s, which has %s left",
		l.Name, amount(grow), filepath.Dir(l.Path), amount(p.Available))
	if p.owed > 0 {
		text += fmt.Sprintf(" and owes the images in it %s%s", amount(p.owed), atMostThat(p.estimated))
	}
	if more > 0 {
		text += fmt.Sprintf("; and writes to LUN %q would take %s again, which it has for itself so far", origin.config.Name, amount(more))
	}
	if policy == configs.Warn {
		return text + "; writes fail when it is full", nil
	}
	return "", fmt.Errorf("%s: %s, make room, or say overcommit = \"allow\"%s", text, atMost(p.Available-p.owed-more), whereOvercommit(l))
}

// unshared is what the image of u, if there is one and it is in p, has for itself, and
// will be owed once more when another file shares it.
func (p *pool) unshared(u *unit) int64 {
	i := slices.Index(p.units, u)
	if u == nil || i < 0 || u.config.ReadOnly {
		return 0
	}
	promise := &p.promises[i]
	return promise.Used - promise.shared()
}

// atMostThat is what to say behind what is owed if it is too much perhaps.
func atMostThat(estimated bool) string {
	if estimated {
		return " (at most: what they share with other files is not counted to the end)"
	}
	return ""
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
	pools := r.pools(false)
	for _, name := range slices.Sorted(maps.Keys(pools)) {
		p := pools[name]
		minded := slices.ContainsFunc(p.units, func(u *unit) bool { return r.plan.OvercommitOf(u.config) != configs.Allow })
		if !minded || !p.overcommitted() {
			continue
		}
		w = append(w, fmt.Sprintf("the file system of %s has %s left and owes the images in it %s%s: "+
			"writes fail when it is full; make room, or write overcommit = \"allow\" to hear no more of it",
			filepath.Dir(p.units[0].config.Path), amount(p.Available), amount(p.owed), atMostThat(p.estimated)))
	}
	return w
}
