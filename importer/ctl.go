package importer

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/isantarget/isantarget/configs"
)

// ctl reads ctl.conf of FreeBSD's ctld.
func (b *builder) ctl(root *entry) {
	named := func(key string) map[string]*entry {
		found := map[string]*entry{}
		for _, e := range root.all(key) {
			found[e.word(0)] = e
		}
		return found
	}
	c := ctlConf{builder: b, auth: named("auth-group"), portals: named("portal-group"), luns: named("lun"), names: map[string]string{}}
	for _, e := range root.all("target") {
		c.target(e)
	}
	for name, e := range c.luns {
		if _, mapped := c.names[name]; !mapped {
			b.note(e, "no target has lun %s; it is left out", name)
		}
	}
	for _, e := range root.all("portal-group") {
		if g := e.text("discovery-auth-group"); g != "" && g != "no-authentication" {
			c.discovery(e, e.word(0), g)
		}
	}
	for _, e := range c.auth {
		e.mark() // those that nothing names are of no effect
	}
}

// A ctlConf is a ctl.conf that is being read.
type ctlConf struct {
	*builder
	auth, portals, luns map[string]*entry
	names               map[string]string // of a lun: ours
}

func (c ctlConf) discovery(e *entry, portalGroup, name string) {
	var t configs.Target
	c.admit(e, &t, name, c.auth[name])
	if t.CHAP == nil {
		c.note(e, "the discovery-auth-group %s of portal group %s has no equal: discovery shows each initiator what it may use", name, portalGroup)
		return
	}
	c.config.Discovery = configs.Discovery{CHAP: t.CHAP, MutualCHAP: t.MutualCHAP}
}

func (c ctlConf) target(e *entry) {
	t := configs.Target{Name: e.word(0), Alias: e.text("alias"), LUNs: map[int]string{}}
	for _, lun := range e.all("lun") {
		n, err := strconv.Atoi(lun.word(0))
		if err != nil {
			c.remark(lun, "%q is not a LUN number; it is left out", lun.word(0))
			continue
		}
		var name string
		if ref := lun.word(1); ref != "" {
			name = c.named(lun, ref)
		} else {
			name = c.lun(lun, t.Name[strings.LastIndexByte(t.Name, ':')+1:]+"-"+lun.word(0))
		}
		if name != "" {
			t.LUNs[n] = name
		}
	}
	group := e.text("auth-group")
	if group == "" && (e.text("auth-type") != "" || len(e.all("chap"))+len(e.all("chap-mutual"))+len(e.all("initiator-name"))+len(e.all("initiator-portal")) > 0) {
		c.admit(e, &t, "", e)
	} else {
		c.admit(e, &t, cmp.Or(group, "default"), c.auth[cmp.Or(group, "default")])
	}
	var portals []listener
	for _, p := range e.all("portal-group") {
		if p.word(1) != "" {
			c.note(p, "the auth-group %s of %s through portal group %s alone has no equal: rules hold for all portals", p.word(1), t.Name, p.word(0))
		}
		portals = append(portals, c.portalGroup(p, p.word(0))...)
	}
	if len(portals) == 0 {
		portals = c.portalGroup(e, "default")
	}
	c.addTarget(e, t, portals)
}

// named is the LUN of a lun that stands outside of targets.
func (c ctlConf) named(at *entry, ref string) string {
	if name, ok := c.names[ref]; ok {
		return name
	}
	e := c.luns[ref]
	if e == nil {
		c.note(at, "there is no lun %s", ref)
		return ""
	}
	c.names[ref] = c.lun(e, ref)
	return c.names[ref]
}

// lun makes a LUN.
func (c ctlConf) lun(e *entry, called string) string {
	if kind := e.text("device-type"); kind != "" && kind != "disk" && kind != "direct" && kind != "0" {
		c.remark(e, "lun %s is a device of the type %s, and only disks are served here; it is left out", called, kind)
		return ""
	}
	l := newLUN(c.lunName(called), e.text("path"))
	if e.text("backend") == "ramdisk" {
		l.Kind = configs.Memory
		if err := l.Size.UnmarshalText([]byte(binaryUnit(e.text("size")))); err != nil {
			c.remark(e, "lun %s is left out: %v", called, err)
			return ""
		}
		c.note(e, "lun %s is memory: what is on it does not come along", called)
	} else if size := e.text("size"); size != "" {
		c.note(e.one("size"), "the size %s is not taken over: a disk is as big as its image", size)
	}
	c.blockSize(e, &l, e.number("blocksize", 0))
	options := map[string]string{}
	for _, o := range e.all("option") {
		key := o.word(0)
		switch key {
		case "vendor", "product", "revision", "naa", "eui", "readonly", "writecache":
			options[key] = o.word(1)
		case "unmap", "scsiname", "ctld_name": // always there, or told by every target in its own way
		default:
			o.used = false
		}
	}
	l.ReadOnly = options["readonly"] == "on"
	l.WriteCache = options["writecache"] != "off"
	c.ctlIdentity(e, &l, options)
	return c.addLUN(e, l)
}

// binaryUnit is a size of ctl.conf, "10G", as ours are written: powers of two.
func binaryUnit(size string) string {
	if n := len(size); n > 0 && strings.ContainsAny(size[n-1:], "kKmMgGtTpP") {
		return strings.ToUpper(size) + "iB"
	}
	return size
}

// ctlIdentity gives a LUN the names that the kernel's ctl tells: those of ctl.conf. What
// is not written there it makes of the order in which LUNs were made.
func (c ctlConf) ctlIdentity(e *entry, l *configs.LUN, options map[string]string) {
	l.Vendor = cmp.Or(options["vendor"], "FREEBSD")
	l.Product = cmp.Or(options["product"], "CTLDISK")
	l.Revision = cmp.Or(options["revision"], "0001")
	l.NAA, l.EUI64 = configs.NoDesignator, configs.NoDesignator
	c.designator(e, &l.NAA, "naa", options["naa"], 16, 32)
	c.designator(e, &l.EUI64, "eui", options["eui"], 16, 24, 32)
	l.Serial = strings.TrimSpace(cut(e.text("serial"), 16))
	device := e.text("device-id")
	if device != "" {
		l.T10 = t10(l.Vendor, cut(device, 64))
	}
	if l.Serial == "" || device == "" && l.NAA == configs.NoDesignator && l.EUI64 == configs.NoDesignator {
		c.note(e, "ctl.conf does not tell all names of lun %s (serial, and one of device-id, naa, eui): ctl made them of the order of LUNs. "+
			"`ctladm devlist -v` there shows them; write serial and t10 (vendor, filled to 8 characters, and device id) here, or initiators find another disk", l.Name)
	}
}

// cut is at most n bytes of s.
func cut(s string, n int) string { return s[:min(len(s), n)] }

// designator reads a binary name of one of the lengths, in digits.
func (b *builder) designator(e *entry, d *configs.Designator, what, word string, lengths ...int) {
	if word == "" {
		return
	}
	var read configs.Designator
	err := read.UnmarshalText([]byte(word))
	for _, n := range lengths {
		if err == nil && len(read) == n {
			*d = read
			return
		}
	}
	b.note(e, "the %s name %q is none that can be told here and is left out", what, word)
}

// admit makes access rules of an auth-group.
func (c ctlConf) admit(at *entry, t *configs.Target, name string, g *entry) {
	switch {
	case name == "no-authentication":
		t.Access = configs.Open
		return
	case g == nil:
		c.note(at, "the auth-group %q admits nobody; here it is nobody but this host", name)
		return
	}
	chaps := append(g.all("chap"), g.all("chap-mutual")...)
	for i, u := range chaps {
		u.hush()
		if i > 0 {
			c.note(u, "a rule has one user here; %s is left out, %s is kept", u.word(0), chaps[0].word(0))
			continue
		}
		t.CHAP = c.credential(u, u.word(0), u.word(1))
		if u.word(2) != "" {
			t.MutualCHAP = c.credential(u, u.word(2), u.word(3))
		}
	}
	kind := g.text("auth-type")
	names, addresses := g.all("initiator-name"), g.all("initiator-portal")
	switch {
	case kind == "deny":
		t.CHAP, t.MutualCHAP = nil, nil
		c.note(g, "auth-type deny admits nobody; here it is nobody but this host")
	case len(chaps) == 0 && (strings.HasPrefix(kind, "chap") || len(names) == 0 && len(addresses) == 0 && kind != "none"):
		c.note(g, "the auth-group %q admits nobody; here it is nobody but this host", name)
	default:
		c.byNameAndAddress(t, names, addresses)
	}
}

// portalGroup is the portals of a portal group.
func (c ctlConf) portalGroup(at *entry, name string) []listener {
	g := c.portals[name]
	if g == nil {
		if name != "default" {
			c.note(at, "there is no portal-group %s", name)
			return nil
		}
		return everywhere()
	}
	var portals []listener
	tag := g.number("tag", 1)
	if g.text("tag") == "" {
		for other := range c.portals { // ctld numbers them; any number will do
			if other < name {
				tag++
			}
		}
	}
	for _, p := range g.all("listen") {
		if l, ok := c.listenerOf(p, p.word(0), tag); ok {
			portals = append(portals, l)
		}
	}
	return portals
}
