package importer

import (
	"cmp"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/isantarget/isantarget/configs"
)

// minSecret is how many bytes a CHAP secret has at least here (RFC 7143 12.1.3).
const minSecret = 12

// A builder makes a configuration of a tree of entries.
type builder struct {
	Options
	config  configs.Config
	remarks []Remark
	secrets []Secret

	lunNames map[string]bool
	serials  map[string]string // serial, and what has it
	portals  [][]listener      // of each target of config
	limits   bool              // there are limits that LIO tells
}

// A listener is a portal, and the tag of the portal group that it was in.
type listener struct {
	portal configs.Portal
	tag    int
}

func newBuilder(o Options) *builder {
	b := &builder{Options: o, lunNames: map[string]bool{}, serials: map[string]string{}}
	b.config.Log = configs.Log{Format: "text", Level: "info"}
	return b
}

// remark tells something about e.
func (b *builder) remark(e *entry, format string, args ...any) {
	e.used = true
	for _, one := range e.below {
		one.mark()
	}
	b.remarkAt(e.line, format, args...)
}

// note tells something about e; what stands below it is still to be used.
func (b *builder) note(e *entry, format string, args ...any) {
	e.used = true
	b.remarkAt(e.line, format, args...)
}

func (b *builder) remarkAt(number int, format string, args ...any) {
	b.remarks = append(b.remarks, Remark{Where: line{b.Name, number}.where(), Text: fmt.Sprintf(format, args...), line: number})
}

// where is file and line.
func (l line) where() string {
	if l.number == 0 {
		return l.text
	}
	return fmt.Sprintf("%s:%d", l.text, l.number)
}

// lunName is a name for a LUN, made of what others call it, and given once.
func (b *builder) lunName(wanted string) string {
	name := strings.Map(func(r rune) rune {
		if r < 128 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r)) {
			return r
		}
		return '-'
	}, wanted)
	name = strings.TrimLeft(name, ".-")
	if name = name[:min(len(name), 56)]; name == "" {
		name = "disk"
	}
	for i, base := 2, name; b.lunNames[strings.ToLower(name)]; i++ {
		name = fmt.Sprintf("%s-%d", base, i)
	}
	b.lunNames[strings.ToLower(name)] = true
	return name
}

// nameOfPath is what a LUN is called that has only a path.
func nameOfPath(path string) string {
	return strings.TrimSuffix(strings.TrimSuffix(filepath.Base(path), ".img"), ".raw")
}

// newLUN is a LUN of what is at path, with what a LUN has where nothing is said.
func newLUN(name, path string) configs.LUN {
	return configs.LUN{Name: name, Path: path, BlockSize: 512, WriteCache: true, SpaceThreshold: configs.DefaultSpaceThreshold}
}

// blockSize takes over the size of logical blocks.
func (b *builder) blockSize(e *entry, l *configs.LUN, size int) {
	switch size {
	case 0:
	case 512, 4096:
		l.BlockSize = size
	default:
		b.note(e, "LUN %s has blocks of %d bytes, which are 512 or 4096 here: file systems on it will not be found", l.Name, size)
	}
}

// addLUN puts a LUN into the configuration, unless its medium cannot be told or is there
// already; it reports the name under which it is to be mapped, empty: under none.
func (b *builder) addLUN(e *entry, l configs.LUN) string {
	if l.Kind.HasPath() {
		if !filepath.IsAbs(l.Path) {
			b.remark(e, "LUN %s is left out: its path %q is not absolute", l.Name, l.Path)
			return ""
		}
		same := func(other configs.LUN) bool { return other.Path == filepath.Clean(l.Path) }
		if i := slices.IndexFunc(b.config.LUNs, same); i >= 0 {
			b.note(e, "%s is LUN %s already; it keeps the names that it has there", l.Path, b.config.LUNs[i].Name)
			return b.config.LUNs[i].Name
		}
		l.Path = filepath.Clean(l.Path)
	}
	if l.Serial = strings.TrimSpace(l.Serial); l.Serial != "" {
		switch first, twice := b.serials[l.Serial]; {
		case twice:
			b.note(e, "the serial %q of LUN %s is that of LUN %s too; LUN %s gets one of its own", l.Serial, l.Name, first, l.Name)
			l.Serial = ""
		case len(l.Serial) > 64 || !printable(l.Serial):
			b.note(e, "the serial of LUN %s is none that can be told here (up to 64 printable ASCII characters); it gets one of its own", l.Name)
			l.Serial = ""
		default:
			b.serials[l.Serial] = l.Name
		}
	}
	b.fit(e, l.Name, "vendor", &l.Vendor, 8)
	b.fit(e, l.Name, "product", &l.Product, 16)
	b.fit(e, l.Name, "revision", &l.Revision, 4)
	if l.T10 != "" && (len(l.T10) > 128 || len(l.T10) < 9 || !printable(l.T10)) {
		b.note(e, "the T10 name of LUN %s cannot be told here and is left out", l.Name)
		l.T10 = ""
	}
	b.config.LUNs = append(b.config.LUNs, l)
	return l.Name
}

// fit cuts a field of INQUIRY to its length, as every target does.
func (b *builder) fit(e *entry, lun, what string, value *string, length int) {
	*value = strings.TrimRight(*value, " ")
	if !printable(*value) {
		b.note(e, "the %s of LUN %s is not printable ASCII and is left out", what, lun)
		*value = ""
	}
	*value = strings.TrimRight((*value)[:min(len(*value), length)], " ")
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// t10 is a T10 vendor ID designator of a vendor and of what is unique for it.
func t10(vendor, rest string) string { return fmt.Sprintf("%-8.8s%s", vendor, rest) }

// addTarget puts a target with its portals into the configuration. A name that is not one
// of iSCSI, or is there already, is told.
func (b *builder) addTarget(e *entry, t configs.Target, portals []listener) {
	for _, other := range b.config.Targets {
		if strings.EqualFold(other.Name, t.Name) {
			b.remark(e, "a second target %s is left out", t.Name)
			return
		}
	}
	for n := range t.LUNs {
		if n < 0 || n > 16383 {
			b.note(e, "LUN number %d of %s is out of range here (0 to 16383) and is left out", n, t.Name)
			delete(t.LUNs, n)
		}
	}
	for i := range t.Rules {
		t.Rules[i].Label = cmp.Or(t.Rules[i].Label, fmt.Sprintf("imported-%d", i+1))
	}
	b.config.Targets = append(b.config.Targets, t)
	b.portals = append(b.portals, portals)
}

// portalGroups makes the portal groups: portals that lead to the same targets are one.
func (b *builder) portalGroups() {
	type class struct {
		tag     int
		portals []configs.Portal
	}
	reach := map[configs.Portal]string{} // the targets that a portal leads to
	var order []listener
	for i, portals := range b.portals {
		for _, p := range portals {
			if _, ok := reach[p.portal]; !ok {
				order = append(order, p)
			}
			if of := fmt.Sprintf(" %d", i); !strings.HasSuffix(reach[p.portal], of) {
				reach[p.portal] += of
			}
		}
	}
	classes := map[string]*class{}
	taken := map[int]bool{}
	for _, p := range order {
		// Portals of two tags are two ports, whatever they lead to.
		key := fmt.Sprint(reach[p.portal], "/", p.tag)
		c := classes[key]
		if c == nil {
			c = &class{tag: p.tag}
			for c.tag < 1 || c.tag > 65535 || taken[c.tag] {
				c.tag++
				if c.tag > 65535 {
					c.tag = 1
				}
			}
			taken[c.tag] = true
			if c.tag != p.tag {
				b.remarkAt(0, "the portal %s is in portal group %d now: portals that lead to other targets than the rest of their group are one of their own", p.portal, c.tag)
			}
			classes[key] = c
		}
		c.portals = append(c.portals, p.portal)
	}
	for _, c := range classes {
		b.config.PortalGroups = append(b.config.PortalGroups, configs.PortalGroup{Tag: c.tag, Listen: c.portals})
	}
	slices.SortFunc(b.config.PortalGroups, func(x, y configs.PortalGroup) int { return x.Tag - y.Tag })
	for i, portals := range b.portals {
		var tags []int
		for _, p := range portals {
			tags = append(tags, classes[fmt.Sprint(reach[p.portal], "/", tagOf(order, p.portal))].tag)
		}
		slices.Sort(tags)
		if tags = slices.Compact(tags); len(tags) < len(b.config.PortalGroups) {
			b.config.Targets[i].PortalGroups = tags
		}
		b.config.Targets[i].AccessStates = retagged(b.config.Targets[i].AccessStates, func(tag int) (now []int) {
			for _, p := range portals {
				if c := classes[fmt.Sprint(reach[p.portal], "/", tagOf(order, p.portal))]; p.tag == tag && !slices.Contains(now, c.tag) {
					now = append(now, c.tag)
				}
			}
			return now
		})
	}
}

// retagged are access states of the portal groups that theirs have become.
func retagged(states []configs.AccessState, become func(tag int) []int) (all []configs.AccessState) {
	for _, s := range states {
		for _, tag := range become(s.PortalGroup) {
			s.PortalGroup = tag
			all = append(all, s)
		}
	}
	return all
}

// tagOf is the tag under which a portal was met first.
func tagOf(order []listener, p configs.Portal) int {
	return order[slices.IndexFunc(order, func(l listener) bool { return l.portal == p })].tag
}

// listenerOf reads a portal; false: it is none, which is told.
func (b *builder) listenerOf(e *entry, word string, tag int) (listener, bool) {
	var p configs.Portal
	if strings.HasPrefix(word, "*:") || word == "*" {
		word = strings.TrimPrefix(word, "*")
	}
	if word == "" {
		word = ":3260"
	}
	if addr, err := netip.ParseAddr(word); err == nil && addr.Is6() {
		word = "[" + word + "]"
	}
	if err := p.UnmarshalText([]byte(word)); err != nil {
		b.note(e, "the portal %q is left out: %v", word, err)
		return listener{}, false
	}
	return listener{p, tag}, true
}

// everywhere is what a target listens on of which the configuration says nothing.
func everywhere() []listener { return []listener{{":3260", 1}} }

// credential is a user with a secret, which goes into a file. An empty secret is one
// that the configuration does not tell.
func (b *builder) credential(e *entry, user, secret string) *configs.Credential {
	e.hush()
	if user == "" {
		return nil
	}
	for _, s := range b.secrets {
		if s.User == user && s.Value == secret {
			return &configs.Credential{User: user, SecretFile: s.File}
		}
	}
	name := strings.Map(func(r rune) rune {
		if r == '/' || r <= ' ' || r > '~' {
			return '-'
		}
		return r
	}, user)
	name = strings.TrimLeft(name[:min(len(name), 64)], ".")
	file := filepath.Join(b.Secrets, cmp.Or(name, "user")+".secret")
	for i := 2; slices.ContainsFunc(b.secrets, func(s Secret) bool { return s.File == file }); i++ {
		file = filepath.Join(b.Secrets, fmt.Sprintf("%s-%d.secret", cmp.Or(name, "user"), i))
	}
	b.secrets = append(b.secrets, Secret{File: file, Value: secret, User: user})
	switch {
	case secret == "":
		b.note(e, "the secret of %s is not told here; write it into %s (chmod 600)", user, file)
	case len(secret) < minSecret:
		b.note(e, "the secret of %s has %d bytes, and %d are the least here (RFC 7143 12.1.3); agree on a longer one", user, len(secret), minSecret)
	}
	return &configs.Credential{User: user, SecretFile: file}
}

// network reads an address or a network; false: it is none.
func network(word string) (configs.Network, bool) {
	word = strings.Trim(word, "[]")
	if before, length, ok := strings.Cut(word, "]/"); ok {
		word = before + "/" + length
	}
	var n configs.Network
	if err := n.UnmarshalText([]byte(word)); err == nil {
		return n, true
	}
	if p, err := netip.ParsePrefix(word); err == nil {
		return configs.Network(p.Masked()), true
	}
	return n, false
}
