package importer

import (
	"fmt"
	"maps"
	"path"
	"strconv"
	"strings"

	"github.com/isantarget/isantarget/configs"
)

// targetcli reads what rtslib saves (RTSRoot.dump) of the kernel's target, LIO.
func (b *builder) targetcli(root *entry) {
	luns := map[string]string{} // "/backstores/fileio/name" -> our name
	for _, so := range root.all("storage_objects") {
		plugin, name := so.text("plugin"), so.text("name")
		luns["/backstores/"+plugin+"/"+name] = b.storageObject(so, plugin, name)
	}
	for _, f := range root.all("fabric_modules") {
		b.fabric(f)
	}
	for _, t := range root.all("targets") {
		if fabric := t.text("fabric"); fabric != "iscsi" {
			b.remark(t, "target %s of the fabric %q is left out: only iSCSI is served here", t.text("wwn"), fabric)
			continue
		}
		b.lioTarget(t, luns)
	}
}

// fabric takes over the proof that discovery wants.
func (b *builder) fabric(f *entry) {
	if f.text("name") != "iscsi" {
		b.remark(f, "settings of the fabric %q are left out: only iSCSI is served here", f.text("name"))
		return
	}
	if !f.on("discovery_enable_auth", false) {
		return
	}
	chap := b.credential(f, f.text("discovery_userid"), f.text("discovery_password"))
	mutual := b.lioMutual(f, "discovery_mutual_userid", "discovery_mutual_password")
	b.config.Discovery = configs.Discovery{CHAP: chap, MutualCHAP: mutual}
}

func (b *builder) lioMutual(e *entry, user, password string) *configs.Credential {
	if name := e.text(user); name != "" {
		return b.credential(e, name, e.text(password))
	}
	e.leave(password)
	return nil
}

// storageObject makes a LUN of a backstore, and is the name of it.
func (b *builder) storageObject(so *entry, plugin, name string) string {
	l := newLUN(name, so.text("dev"))
	product := map[string]string{"fileio": "FILEIO", "block": "IBLOCK", "ramdisk": "RAMDISK-MCP"}[plugin]
	switch plugin {
	case "fileio", "block":
		l.WriteCache = so.on("write_back", false)
		l.ReadOnly = so.on("readonly", false)
	case "ramdisk":
		l.Kind = configs.Memory
		n, _ := strconv.ParseInt(so.text("size"), 10, 64)
		l.Size = configs.Size(n)
		b.note(so, "storage object %s is memory: what is on it does not come along", name)
	default:
		b.remark(so, "storage object %s of the kind %q has no equal and is left out, with the LUNs that lead to it", name, plugin)
		return ""
	}
	so.leave("size", "aio") // an image has its own size; how LIO does its I/O is its own matter
	l.Name = b.lunName(name)
	attributes := so.one("attributes")
	if attributes != nil {
		b.blockSize(attributes, &l, attributes.number("block_size", 0))
		if attributes.on("emulate_model_alias", false) {
			product = name
		}
		// What it says of itself by these is always there here.
		attributes.leave("emulate_tpu", "emulate_tpws", "emulate_3pc", "emulate_caw", "emulate_pr", "emulate_write_cache", "alua_support", "pgr_support")
	}
	for _, a := range so.all("alua_tpgs") {
		if a.text("name") == "default_tg_pt_gp" {
			a.mark()
		}
	}
	lioIdentity(&l, so.text("wwn"), product)
	return b.addLUN(so, l)
}

// lioIdentity gives a LUN the names that LIO tells (target_core_spc.c): the unit serial
// number is the WWN; the NAA name is 6h, the company id 001405h, and the first 25
// hexadecimal digits of it, whatever stands between them; the T10 name is vendor,
// "product:serial". There is no EUI-64 name.
func lioIdentity(l *configs.LUN, wwn, product string) {
	l.Serial, l.Vendor, l.Product, l.Revision = wwn, "LIO-ORG", product, "4.0"
	l.EUI64 = configs.NoDesignator
	digits := strings.Map(func(r rune) rune {
		if strings.ContainsRune("0123456789abcdef", r) {
			return r
		}
		return -1
	}, strings.ToLower(wwn))
	l.NAA = configs.Designator(fmt.Sprintf("6001405%-25.25s", digits))
	l.NAA = configs.Designator(strings.ReplaceAll(string(l.NAA), " ", "0"))
	l.T10 = t10("LIO-ORG", fmt.Sprintf("%.16s:%s", product, wwn))
}

// lioTarget makes a target of its target portal groups. All of ours have the same LUNs
// and rules; so those that have others than the first are left out.
func (b *builder) lioTarget(e *entry, luns map[string]string) {
	t := configs.Target{Name: e.text("wwn")}
	var portals []listener
	first := true
	for _, tpg := range e.all("tpgs") {
		tag := tpg.number("tag", 1)
		if !tpg.on("enable", true) {
			b.remark(tpg, "portal group %d of %s is disabled and is left out", tag, t.Name)
			continue
		}
		one := b.lioGroup(tpg, t.Name, luns)
		if !first && !(maps.Equal(one.LUNs, t.LUNs) && len(one.Rules) == len(t.Rules) && one.Access == t.Access) {
			b.remark(tpg, "portal group %d of %s has LUNs or rules of its own, which a target has only once here; make it a target of its own", tag, t.Name)
			continue
		}
		if first {
			t.LUNs, t.Rules, t.Access, t.CHAP, t.MutualCHAP = one.LUNs, one.Rules, one.Access, one.CHAP, one.MutualCHAP
			first = false
		}
		for _, p := range tpg.all("portals") {
			address := p.text("ip_address")
			if p.on("iser", false) || p.on("offload", false) {
				b.note(p, "portal %s: iSER and offload have no equal; it becomes one of TCP", address)
			}
			if l, ok := b.listenerOf(p, strings.Trim(address, "[]"), tag); ok {
				l.portal = withPort(l.portal, p.number("port", configs.Port))
				portals = append(portals, l)
			}
		}
	}
	if first {
		b.note(e, "no portal group of %s is enabled; the target is left out", t.Name)
		return
	}
	b.addTarget(e, t, portals)
}

// withPort is a portal with another TCP port.
func withPort(p configs.Portal, port int) configs.Portal {
	host := string(p)[:strings.LastIndexByte(string(p), ':')]
	return configs.Portal(fmt.Sprintf("%s:%d", host, port))
}

// lioGroup reads LUNs and access rules of a target portal group.
func (b *builder) lioGroup(tpg *entry, target string, luns map[string]string) configs.Target {
	t := configs.Target{LUNs: map[int]string{}}
	for _, lun := range tpg.all("luns") {
		n, object := lun.number("index", 0), lun.text("storage_object")
		name := luns[object]
		lun.leave("alias")
		if group := lun.text("alua_tg_pt_gp_name"); group != "" && group != "default_tg_pt_gp" {
			b.note(lun, "LUN %d of %s is in the ALUA group %q; write its state as an access-state of the target", n, target, group)
		}
		if name == "" {
			b.note(lun, "LUN %d of %s is left out, as is what it leads to (%s)", n, target, path.Base(object))
			continue
		}
		t.LUNs[n] = name
	}
	attributes := tpg.one("attributes")
	authentication := attributes.on("authentication", false)
	chap := b.lioCHAP(tpg, authentication)
	mutual := b.lioMutual(tpg, "chap_mutual_userid", "chap_mutual_password")
	if chap != nil {
		t.CHAP, t.MutualCHAP = chap, mutual
	}
	for _, acl := range tpg.all("node_acls") {
		t.Rules = append(t.Rules, b.lioRule(acl, target, t.LUNs, authentication))
	}
	readOnly := attributes.on("demo_mode_write_protect", true)
	switch dynamic := attributes.on("generate_node_acls", false); {
	case dynamic && readOnly:
		b.note(attributes, "%s let everybody read and nobody write (generate_node_acls, demo_mode_write_protect), which has no equal: "+
			`they are not admitted. Write access = "open" to let them do both`, target)
	case dynamic && authentication && t.CHAP == nil:
		b.note(attributes, "%s admits everybody with authentication, but has no user for it; nobody is admitted but by a rule, or this host where there is none", target)
	case dynamic:
		t.Access = configs.Open
	default:
		t.CHAP, t.MutualCHAP = nil, nil
	}
	return t
}

// lioCHAP is the proof that e asks for; nil: none.
func (b *builder) lioCHAP(e *entry, wanted bool) *configs.Credential {
	user, password := e.text("chap_userid"), e.text("chap_password")
	if user == "" {
		return nil
	}
	if !wanted {
		b.note(e, "the user %s and the secret are left out: nobody was asked for them (authentication is 0)", user)
		return nil
	}
	return b.credential(e, user, password)
}

// lioRule makes an access rule of a node ACL.
func (b *builder) lioRule(acl *entry, target string, group map[int]string, authentication bool) configs.Rule {
	name := acl.text("node_wwn")
	r := configs.Rule{Label: acl.text("tag"), Initiators: []string{name}, CHAP: b.lioCHAP(acl, authentication)}
	if mutual := b.lioMutual(acl, "chap_mutual_userid", "chap_mutual_password"); r.CHAP != nil {
		r.MutualCHAP = mutual
	}
	if authentication && r.CHAP == nil {
		b.note(acl, "%s had to prove itself, but had no user; it is admitted by its name alone now. Add a chap", name)
	}
	luns := map[int]string{}
	for _, m := range acl.all("mapped_luns") {
		m.leave("alias")
		n, lun := m.number("index", 0), group[m.number("tpg_lun", -1)]
		switch {
		case lun == "":
			b.note(m, "LUN %d is left out of what %s sees: what it leads to is left out", n, name)
		case m.on("write_protect", false):
			b.note(m, "LUN %d is left out of what %s sees: it might only read it, and a LUN is read-only for all or for nobody here", n, name)
		default:
			luns[n] = lun
		}
	}
	if !maps.Equal(luns, group) {
		r.LUNs = luns
	}
	return r
}
