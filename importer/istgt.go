package importer

import (
	"cmp"
	"fmt"
	"hash/crc32"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/isantarget/isantarget/configs"
)

// istgt reads istgt.conf. Secrets stand in another file, auth.conf, whose sections may
// be put behind.
func (b *builder) istgt(root *entry) {
	global := root.one("Global")
	base := global.text("NodeBase")
	global.leave("Comment", "PidFile", "LogFacility", "MediaDirectory")
	if u := root.one("UnitControl"); u != nil {
		b.remark(u, "[UnitControl] has no equal: the daemon is asked over a socket of its own")
	}
	if file := global.text("AuthFile"); file != "" && !hasSection(root, "AuthGroup") {
		b.note(global.one("AuthFile"), "secrets are in %s: cat istgt.conf %s | isantarget import - takes them along", file, file)
	}
	switch method := global.text("DiscoveryAuthMethod"); {
	case strings.HasPrefix(strings.ToUpper(method), "CHAP"):
		chap, mutual := b.istgtUsers(root, global, "DiscoveryAuthGroup")
		b.config.Discovery.CHAP = chap
		if strings.Contains(strings.ToUpper(method), "MUTUAL") {
			b.config.Discovery.MutualCHAP = mutual
		}
	default:
		global.leave("DiscoveryAuthGroup")
	}
	for _, e := range root.below {
		if number, ok := numbered(e.key, "LogicalUnit"); ok {
			e.used = true
			b.istgtUnit(root, e, base, number)
		}
	}
	b.istgtUnused(root)
}

// istgtUnused tells of the groups that no unit names, in one line.
func (b *builder) istgtUnused(root *entry) {
	var names []string
	at := 0
	for _, e := range root.below {
		for _, what := range []string{"PortalGroup", "InitiatorGroup", "AuthGroup"} {
			if _, ok := numbered(e.key, what); ok && !e.used {
				if names = append(names, e.key); at == 0 {
					at = e.line
				}
				e.mark()
			}
		}
		e.leave("Comment")
	}
	if len(names) > 0 {
		b.remarkAt(at, "left out, since no unit and no discovery uses them: %s", strings.Join(names, ", "))
	}
}

// numbered is the number of a section "LogicalUnit3".
func numbered(key, what string) (int, bool) {
	if len(key) <= len(what) || !strings.EqualFold(key[:len(what)], what) {
		return 0, false
	}
	n, err := strconv.Atoi(key[len(what):])
	return n, err == nil && n >= 0
}

func hasSection(root *entry, what string) bool {
	return slices.ContainsFunc(root.below, func(e *entry) bool { _, ok := numbered(e.key, what); return ok })
}

// istgtUsers are the first user of the AuthGroup that stands under key, and who we are to it.
func (b *builder) istgtUsers(root, e *entry, key string) (chap, mutual *configs.Credential) {
	name := e.text(key)
	group := root.one(name)
	if name == "" || group == nil {
		b.note(cmp.Or(e.one(key), e), "CHAP is asked for, and its group %q is not here: nobody but this host is admitted until a rule with a chap is written", name)
		return nil, nil
	}
	group.leave("Comment")
	for i, auth := range group.all("Auth") {
		auth.hush()
		if i > 0 {
			b.note(auth, "a rule has one user here; %s is left out, %s is kept", auth.word(0), chap.User)
			continue
		}
		chap = b.credential(auth, auth.word(0), auth.word(1))
		if auth.word(2) != "" {
			mutual = b.credential(auth, auth.word(2), auth.word(3))
		}
	}
	return chap, mutual
}

// istgtUnit makes a target of a LogicalUnit.
func (b *builder) istgtUnit(root, e *entry, base string, number int) {
	t := configs.Target{Name: e.text("TargetName"), Alias: e.text("TargetAlias"), LUNs: map[int]string{}}
	if !strings.HasPrefix(t.Name, "iqn.") && !strings.HasPrefix(t.Name, "eui.") && !strings.HasPrefix(t.Name, "naa.") {
		t.Name = base + ":" + t.Name
	}
	e.leave("Comment", "UseDigest") // digests are the initiator's choice here
	if kind := e.text("UnitType"); !strings.EqualFold(kind, "Disk") {
		b.remark(e, "%s is a unit of the type %q, and only disks are served here; it is left out", t.Name, kind)
		return
	}
	if !e.on("UnitOnline", true) {
		b.remark(e, "%s is offline (UnitOnline) and is left out", t.Name)
		return
	}
	b.istgtLUNs(e, &t, number)
	portals := b.istgtMappings(root, e, &t)
	switch method := strings.ToUpper(e.text("AuthMethod")); {
	case strings.HasPrefix(method, "CHAP"):
		chap, mutual := b.istgtUsers(root, e, "AuthGroup")
		if t.CHAP = chap; chap == nil {
			t.Access, t.Rules = configs.AccessDefault, nil
		}
		if strings.Contains(method, "MUTUAL") && chap != nil {
			t.MutualCHAP = mutual
		}
	case method == "AUTO" && e.text("AuthGroup") != "" && !strings.EqualFold(e.text("AuthGroup"), "None"):
		b.note(e.one("AuthMethod"), "%s takes initiators with CHAP and without (AuthMethod Auto): here all are taken without. Write a chap to ask for it", t.Name)
	default:
		e.leave("AuthGroup")
	}
	b.addTarget(e, t, portals)
}

var lunKey = regexp.MustCompile(`^(?i:LUN)(\d+)$`)

// istgtLUNs makes the LUNs of a unit.
func (b *builder) istgtLUNs(e *entry, t *configs.Target, number int) {
	options := map[int]map[string]string{}
	for _, one := range e.below {
		if m := lunKey.FindStringSubmatch(one.key); m != nil && strings.EqualFold(one.word(0), "Option") {
			n, _ := strconv.Atoi(m[1])
			if options[n] == nil {
				options[n] = map[string]string{}
			}
			switch key := strings.ToLower(one.word(1)); key {
			case "serial", "writecache":
				one.used = true
				options[n][key] = one.word(2)
			case "readcache":
				one.used = true
			}
		}
	}
	inquiry := e.one("UnitInquiry")
	for _, one := range e.below {
		m := lunKey.FindStringSubmatch(one.key)
		if m == nil || one.used || strings.EqualFold(one.word(0), "Option") {
			continue
		}
		n, err := strconv.Atoi(m[1])
		if err != nil || !strings.EqualFold(one.word(0), "Storage") {
			b.remark(one, "LUN %s of %s (%s) has no equal and is left out", m[1], t.Name, one.word(0))
			continue
		}
		one.used = true
		if size := one.word(2); size != "" && !strings.EqualFold(size, "auto") {
			b.note(one, "the size %s is not taken over: a disk is as big as its image", size)
		}
		l := newLUN(b.lunName(nameOfPath(one.word(1))), one.word(1))
		l.ReadOnly = e.on("ReadOnly", false)
		l.WriteCache = !strings.EqualFold(options[n]["writecache"], "disable")
		b.blockSize(one, &l, e.number("BlockLength", 0))
		serial := cmp.Or(inquiry.word(3), fmt.Sprintf("%d", 10000000+number))
		if n > 0 {
			serial += fmt.Sprintf("L%d", n)
		}
		istgtIdentity(&l, inquiry, cmp.Or(options[n]["serial"], serial), t.Name, n)
		if name := b.addLUN(one, l); name != "" {
			t.LUNs[n] = name
		}
	}
}

// istgtIdentity gives a LUN the names that istgt tells (0.4): vendor, product, revision
// and serial of UnitInquiry, or its own; a T10 name with the serial filled up to 32
// characters; a NAA name of 3h and the CRC32C of "target,LUN", filled with zeros to a
// multiple of four bytes. There is no EUI-64 name.
func istgtIdentity(l *configs.LUN, inquiry *entry, serial, target string, lun int) {
	l.Vendor = cmp.Or(inquiry.word(0), "FreeBSD")
	l.Product = cmp.Or(inquiry.word(1), "iSCSI DISK")
	l.Revision = cmp.Or(inquiry.word(2), "0001")
	l.Serial, l.EUI64 = serial, configs.NoDesignator
	l.T10 = t10(l.Vendor, fmt.Sprintf("%-16.16s%-32.32s", l.Product, serial))
	name := fmt.Appendf(nil, "%s,%d", target, lun)
	for len(name)%4 != 0 {
		name = append(name, 0)
	}
	l.NAA = configs.Designator(fmt.Sprintf("30000000%08x", crc32.Checksum(name, crc32.MakeTable(crc32.Castagnoli))))
}

// istgtMappings reads who may use a unit through which portals.
func (b *builder) istgtMappings(root, e *entry, t *configs.Target) []listener {
	var portals []listener
	var groups []string
	for _, m := range e.all("Mapping") {
		tag, _ := numbered(m.word(0), "PortalGroup")
		group := root.one(m.word(0))
		if group == nil {
			b.note(m, "there is no %s", m.word(0))
			continue
		}
		group.leave("Comment")
		for _, p := range group.all("Portal") {
			if l, ok := b.listenerOf(p, p.word(1), tag); ok {
				portals = append(portals, l)
			}
		}
		if !slices.Contains(groups, m.word(1)) {
			groups = append(groups, m.word(1))
			b.istgtInitiators(root, m, t)
		}
	}
	if len(groups) > 1 {
		b.note(e, "%s has initiator groups of their own for portal groups; here each of them may use all of its portals", t.Name)
	}
	return portals
}

func (b *builder) istgtInitiators(root, m *entry, t *configs.Target) {
	group := root.one(m.word(1))
	if group == nil {
		b.note(m, "there is no %s", m.word(1))
		return
	}
	group.leave("Comment")
	names := group.all("InitiatorName")
	for _, n := range names {
		if strings.HasPrefix(n.word(0), "!") {
			b.remark(n, "an initiator that is kept out (%s) has no equal: rules only admit. The whole %s is left out; write rules for those who may", n.word(0), group.key)
			group.mark()
			return
		}
	}
	b.byNameAndAddress(t, names, group.all("Netmask"))
	if i := len(t.Rules) - 1; i >= 0 && t.Rules[i].Label == "" {
		t.Rules[i].Label = group.key
	}
}
