package configs

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// maxLUN is the greatest number of a single level LUN (SAM-5 4.7.7.3: 14 bits).
const maxLUN = 16383

// A checker looks for what no single value shows: missing values, names that
// nothing has, values that do not go together.
type checker struct {
	*decoder
	config *Config
	below  map[string][]string // by root: the paths in it that have a line of their own
}

func check(d *decoder, c *Config) {
	k := checker{decoder: d, config: c, below: map[string][]string{}}
	for path := range d.lines {
		k.below[root(path)] = append(k.below[root(path)], path)
	}
	c.State = k.absolute("state", c.State)
	k.limits()
	k.admin()
	k.credentials("discovery", c.Discovery.CHAP, c.Discovery.MutualCHAP, false)
	k.isns()
	k.portalGroups()
	k.stores()
	k.luns()
	k.maps()
	k.targetRules()
	k.targets()
	k.hosts()
}

// absolute is a path as seen from the directory of the configuration, or, for what was
// made at run time, from the state directory.
func (k checker) absolute(at, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	if _, made := k.objects[root(at)]; made {
		return filepath.Join(k.config.State, path)
	}
	return filepath.Join(k.dir, path)
}

func (k checker) limits() {
	l := &k.config.Limits
	for _, n := range []struct {
		key       string
		value, to int
	}{
		{"connections", l.Connections, 1 << 20},
		{"sessions-per-initiator", l.SessionsPerInitiator, 1 << 16},
		{"connections-per-session", l.ConnectionsPerSession, 4},
		{"command-window", l.CommandWindow, 1 << 14},
	} {
		if n.value < 0 || n.value > n.to {
			k.fail("limits."+n.key, "%d is out of range; write 1 to %d, or 0 for the default", n.value, n.to)
		}
	}
	if l.Memory != 0 && l.Memory < 16<<20 {
		k.fail("limits.memory", "%s is too little to serve anybody; write at least 16MiB", l.Memory)
	}
	for _, t := range []struct {
		key   string
		value time.Duration
	}{
		{"login-timeout", l.LoginTimeout},
		{"nop-interval", l.NopInterval},
		{"nop-timeout", l.NopTimeout},
		{"hang-bound", l.HangBound},
		{"drain-timeout", l.DrainTimeout},
	} {
		if t.value != 0 && (t.value < 100*time.Millisecond || t.value > time.Hour) {
			k.fail("limits."+t.key, `%v is out of range; write "100ms" to "1h"`, t.value)
		}
	}
}

func (k checker) portalGroups() {
	tags, listens := map[int]string{}, map[Portal]string{}
	for i, g := range k.config.PortalGroups {
		at := fmt.Sprintf("portal-group[%d]", i)
		if g.Tag < 1 || g.Tag > 65535 {
			k.fail(at+".tag", "%d is not a portal group tag; write 1 to 65535", g.Tag)
		} else {
			once(k, tags, g.Tag, at+".tag", fmt.Sprintf("portal group %d", g.Tag))
		}
		if len(g.Listen) == 0 {
			k.fail(at, `portal group %d listens nowhere; add listen = ["192.0.2.1:3260"]`, g.Tag)
		}
		for j, p := range g.Listen {
			if !strings.HasSuffix(string(p), ":0") && p != "" {
				once(k, listens, p, fmt.Sprintf("%s.listen[%d]", at, j), "the portal "+string(p))
			}
		}
	}
}

// once complains of a value that is already there, at another path.
func once[T comparable](k checker, seen map[T]string, value T, path, what string) {
	if first, ok := seen[value]; ok {
		where, _ := k.where(first)
		k.fail(path, "%s is already at %s", what, where)
		return
	}
	seen[value] = path
}

func (k checker) stores() {
	names := map[string]string{}
	for i := range k.config.Stores {
		s, at := &k.config.Stores[i], fmt.Sprintf("store[%d]", i)
		k.name(names, s.Name, at, "store")
		if s.Path == "" {
			k.fail(at, `store %q has no path; add path = "/srv/isantarget"`, s.Name)
		}
		s.Path = k.absolute(at+".path", s.Path)
		k.threshold(s.SpaceThreshold, at)
	}
}

// threshold checks a percentage of space in use.
func (k checker) threshold(percent int, at string) {
	if percent < 0 || percent > 99 {
		k.fail(at+".space-threshold", "%d is no percentage to be told of; write 1 to 99, or 0 for none", percent)
	}
}

// CheckName says what is wrong with the name of a store, a LUN or a rule, which may become
// a file name; what is which of them.
func CheckName(what, name string) error {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
	if name == "" || len(name) > 64 || strings.Trim(name, letters) != "" || strings.ContainsAny(name[:1], ".-") {
		return fmt.Errorf("%q cannot name a %s; use up to 64 of a-z A-Z 0-9 . _ - and begin with a letter or digit", name, what)
	}
	return nil
}

// name checks the name of a store, a LUN or a rule.
func (k checker) name(seen map[string]string, name, at, what string) {
	err := CheckName(what, name)
	switch {
	case name == "":
		k.fail(at, `this %s has no name; add name = "..."`, what)
	case err != nil:
		k.fail(at+".name", "%v", err)
	default:
		once(k, seen, name, at+".name", fmt.Sprintf("%s %q", what, name))
	}
}

func (k checker) luns() {
	names, paths, identities := map[string]string{}, map[string]string{}, map[string]string{}
	for i := range k.config.LUNs {
		l, at := &k.config.LUNs[i], fmt.Sprintf("lun[%d]", i)
		k.name(names, l.Name, at, "LUN")
		k.medium(l, at)
		k.shape(l, at)
		k.space(l, at)
		for j, layer := range l.Layers {
			if layer.Kind == "" {
				k.fail(fmt.Sprintf("%s.layer[%d]", at, j), `this layer has no kind; add kind = "fault"`)
			}
		}
		if l.Path != "" {
			once(k, paths, filepath.Clean(l.Path), at, fmt.Sprintf("a LUN on %s", l.Path))
		}
		k.identity(identities, l, at)
	}
}

// medium checks where the bytes of a LUN are and gives the path its final form.
func (k checker) medium(l *LUN, at string) {
	if !l.Kind.HasPath() {
		if l.Path != "" || l.Store != "" {
			k.fail(at, "LUN %q is of kind %s, which has no place; leave store and path out", l.Name, l.Kind)
		}
		if l.Size == 0 {
			k.fail(at, "LUN %q is of kind %s and needs a size; add %s", l.Name, l.Kind, k.remedy(`size = "1GiB"`, "size=1GiB"))
		}
		return
	}
	if l.Store == "" {
		if l.Path == "" {
			k.fail(at, "LUN %q has no medium; %s", l.Name, k.noMedium(l.Name, at))
		}
		l.Path = k.absolute(at+".path", l.Path)
		return
	}
	i := slices.IndexFunc(k.config.Stores, func(s Store) bool { return s.Name == l.Store })
	switch {
	case i < 0:
		k.fail(at+".store", "there is no store %q%s", l.Store, DidYouMean(l.Store, k.storeNames()))
	case l.Path == "":
		l.Path = filepath.Join(k.config.Stores[i].Path, l.Name+".img")
	case !filepath.IsLocal(l.Path):
		k.fail(at+".path", "%q leaves the store %q; write a path below it, or leave store out", l.Path, l.Store)
	default:
		l.Path = filepath.Join(k.config.Stores[i].Path, l.Path)
	}
}

// noMedium is what to do about a LUN that does not say where it is.
func (k checker) noMedium(name, at string) string {
	if _, made := k.objects[at]; made && len(k.config.Stores) > 1 {
		return "say in which store: " + strings.Join(k.storeNames(), ", ")
	}
	return k.remedy(fmt.Sprintf(`add store = "..." or path = "/.../%s.img"`, name), "write NAME=PATH")
}

// shape checks the blocks of a LUN and what goes with its kind.
func (k checker) shape(l *LUN, at string) {
	if l.BlockSize != 512 && l.BlockSize != 4096 {
		k.fail(at+".block-size", "%d is not a block size; write 512 or 4096", l.BlockSize)
		return
	}
	if p := l.PhysicalBlockSize; p != 0 && (p < l.BlockSize || p > 1<<20 || p&(p-1) != 0) {
		k.fail(at+".physical-block-size", "%d does not go with blocks of %d; write a power of two from %d to 1048576", p, l.BlockSize, l.BlockSize)
	}
	if l.Size%Size(l.BlockSize) != 0 {
		k.fail(at+".size", "%d bytes are not whole blocks of %d", int64(l.Size), l.BlockSize)
	}
	if l.Provisioning != "" && l.Kind != File && l.Kind != Block && l.Kind != AnyKind {
		k.fail(at+".provisioning", "is for files and block devices; LUN %q is of kind %s", l.Name, l.Kind)
	}
	if l.Plugin != "" && l.Kind != Gotgt {
		k.fail(at+".plugin", "is for kind gotgt; LUN %q is of another", l.Name)
	}
	if l.Direct && l.Kind != File && l.Kind != Block && l.Kind != AnyKind {
		k.fail(at+".direct", "is for files and block devices; LUN %q is of kind %s", l.Name, l.Kind)
	}
}

// space checks what a LUN says of the space it takes.
func (k checker) space(l *LUN, at string) {
	k.threshold(l.SpaceThreshold, at)
	if l.DetectZeroes && l.Provisioning == Fixed {
		k.fail(at+".detect-zeroes", "gives space back, and LUN %q is fixed, to keep all it has; leave one of the two out", l.Name)
	}
	if l.Preallocate == PreallocateAuto && l.Provisioning == Fixed {
		k.fail(at+".preallocate", "is for sparse images, and LUN %q is fixed: it has all its space; leave it out", l.Name)
	}
	switch {
	case l.Overcommit == "":
	case l.Kind != File && l.Kind != AnyKind:
		k.fail(at+".overcommit", "is for images; LUN %q is of kind %s", l.Name, l.Kind)
	case l.Store != "":
		k.fail(at+".overcommit", "is for an image with a bare path; write it for the store %q, which decides for all in it", l.Store)
	}
}

func (k checker) targets() {
	names := map[string]string{}
	for i := range k.config.Targets {
		t, at := &k.config.Targets[i], fmt.Sprintf("target[%d]", i)
		if t.Name == "" {
			k.fail(at, `this target has no name; add name = "iqn.2026-11.org.example:disk"`)
		} else {
			once(k, names, strings.ToLower(t.Name), at+".name", "target "+t.Name)
		}
		if len(t.Alias) > 255 {
			k.fail(at+".alias", "is longer than 255 bytes (RFC 7143 13.6)")
		}
		for j, tag := range t.PortalGroups {
			if !slices.ContainsFunc(k.config.PortalGroups, func(g PortalGroup) bool { return g.Tag == tag }) {
				k.fail(fmt.Sprintf("%s.portal-groups[%d]", at, j), "there is no portal group with the tag %d; there are %s", tag, k.tags())
			}
		}
		k.lunMap(t.LUNs, at+".luns")
		byRules := t.Effective() == AccessDefault && allHaveCHAP(t.Rules)
		k.credentials(at, t.CHAP, t.MutualCHAP, byRules)
		if t.CHAP != nil && byRules {
			k.fail(at+".chap", `nobody is asked for it: every rule has its own; leave it out or add access = "open"`)
		}
		for j := range t.Rules {
			k.rule(&t.Rules[j], fmt.Sprintf("%s.rule[%d]", at, j), t)
		}
		k.accessStates(t, at)
	}
}

// accessStates checks that each entry is about a portal group and LUNs of the target,
// and that no two are about the same.
func (k checker) accessStates(t *Target, target string) {
	seen := map[string]string{}
	for i, a := range t.AccessStates {
		at := fmt.Sprintf("%s.access-state[%d]", target, i)
		serves := func(g PortalGroup) bool { return g.Tag == a.PortalGroup }
		switch {
		case a.PortalGroup == 0:
			k.fail(at, "this access state is of no portal group; add portal-group = 1, the tag of one")
			continue
		case !slices.ContainsFunc(k.config.GroupsOf(*t), serves):
			k.fail(at+".portal-group", "no portal group with the tag %d leads to this target", a.PortalGroup)
			continue
		case len(a.LUNs) == 0:
			once(k, seen, fmt.Sprint(a.PortalGroup), at, fmt.Sprintf("the access state of portal group %d", a.PortalGroup))
		}
		for j, name := range a.LUNs {
			path := fmt.Sprintf("%s.luns[%d]", at, j)
			has := func(luns map[int]string) bool { return slices.Contains(slices.Collect(maps.Values(luns)), name) }
			if !slices.ContainsFunc(t.lunMaps(), has) {
				k.fail(path, "this target maps no LUN %q%s", name, DidYouMean(name, k.lunNames()))
				continue
			}
			once(k, seen, fmt.Sprintf("%d %s", a.PortalGroup, name), path, fmt.Sprintf("the access state of LUN %q through portal group %d", name, a.PortalGroup))
		}
	}
}

func allHaveCHAP(rules []Rule) bool {
	return !slices.ContainsFunc(rules, func(r Rule) bool { return r.CHAP == nil })
}

func (k checker) rule(r *Rule, at string, t *Target) {
	if len(r.Initiators) == 0 && len(r.Networks) == 0 && len(r.Hosts) == 0 && r.CHAP == nil && t.CHAP == nil {
		k.fail(at, `this rule admits everybody; name initiators, networks, hosts or chap, or write access = "open" for the target`)
	}
	for j, name := range r.Initiators {
		if name == "" {
			k.fail(fmt.Sprintf("%s.initiators[%d]", at, j), "an initiator name is missing")
		}
	}
	k.lunMap(r.LUNs, at+".luns")
	k.credentials(at, r.CHAP, r.MutualCHAP, t.CHAP != nil)
}

func (k checker) lunMap(luns map[int]string, path string) {
	byName := map[string]int{}
	for _, n := range sortedKeys(luns) {
		at := fmt.Sprintf("%s.%d", path, n)
		name := luns[n]
		if !slices.ContainsFunc(k.config.LUNs, func(l LUN) bool { return l.Name == name }) {
			k.fail(at, "there is no LUN %q%s", name, DidYouMean(name, k.lunNames()))
			continue
		}
		if first, twice := byName[name]; twice {
			k.fail(at, "LUN %q is already number %d of this map; an initiator may see a disk once", name, first)
			continue
		}
		byName[name] = n
	}
}

func sortedKeys(m map[int]string) []int {
	keys := make([]int, 0, len(m))
	for n := range m {
		keys = append(keys, n)
	}
	slices.Sort(keys)
	return keys
}

// credentials checks chap and mutual-chap of the table at path. elsewhere says
// that another chap holds where this one is missing.
func (k checker) credentials(at string, chap, mutual *Credential, elsewhere bool) {
	k.credential(chap, join(at, "chap"))
	k.credential(mutual, join(at, "mutual-chap"))
	if mutual != nil && chap == nil && !elsewhere {
		k.fail(join(at, "mutual-chap"), "goes only with chap (RFC 7143 12.1.3); add %s", k.remedy("chap = { user = ..., secret-file = ... }", "--chap USER:FILE"))
	}
}

func (k checker) credential(c *Credential, path string) {
	if c == nil {
		return
	}
	if c.User == "" || len(c.User) > 255 {
		k.fail(path, `has no user; add user = "..." of 1 to 255 bytes`)
	}
	switch {
	case c.SecretFile == "" && c.SecretEnv == "":
		k.fail(path, `has no secret; add secret-file = "/etc/isantarget/secret" (or secret-env, the name of an environment variable)`)
	case c.SecretFile != "" && c.SecretEnv != "":
		k.fail(path, "has a secret-file and a secret-env; keep one")
	}
	c.SecretFile = k.absolute(path, c.SecretFile)
}

func (k checker) storeNames() []string {
	names := make([]string, len(k.config.Stores))
	for i, s := range k.config.Stores {
		names[i] = s.Name
	}
	return names
}

func (k checker) lunNames() []string {
	names := make([]string, len(k.config.LUNs))
	for i, l := range k.config.LUNs {
		names[i] = l.Name
	}
	return names
}

func (k checker) tags() string {
	tags := make([]string, len(k.config.PortalGroups))
	for i, g := range k.config.PortalGroups {
		tags[i] = fmt.Sprint(g.Tag)
	}
	return strings.Join(tags, ", ")
}
