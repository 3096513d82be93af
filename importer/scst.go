package importer

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/isantarget/isantarget/configs"
)

// scst reads scst.conf, as scstadmin -write_config writes it.
func (b *builder) scst(root *entry) {
	luns := map[string]string{}
	for _, h := range root.all("HANDLER") {
		for _, d := range h.all("DEVICE") {
			luns[d.word(0)] = b.scstDevice(d, h.word(0))
		}
	}
	for _, driver := range root.all("TARGET_DRIVER") {
		if driver.word(0) != "iscsi" {
			b.remark(driver, "targets of the driver %s are left out: only iSCSI is served here", driver.word(0))
			continue
		}
		driver.leave("enabled")
		if u := driver.one("IncomingUser"); u != nil {
			b.config.Discovery.CHAP = b.scstUser(u)
		}
		if u := driver.one("OutgoingUser"); u != nil && b.config.Discovery.CHAP != nil {
			b.config.Discovery.MutualCHAP = b.scstUser(u)
		}
		for _, t := range driver.all("TARGET") {
			b.scstTarget(t, luns)
		}
	}
}

// scstUser reads a user and the secret, which may stand in quotes together.
func (b *builder) scstUser(u *entry) *configs.Credential {
	words := strings.Fields(u.words0())
	return b.credential(u, (&entry{words: words}).word(0), (&entry{words: words}).word(1))
}

// scstDevice makes a LUN of a virtual disk.
func (b *builder) scstDevice(d *entry, handler string) string {
	name := d.word(0)
	l := newLUN(name, d.text("filename"))
	switch handler {
	case "vdisk_fileio":
		l.Vendor = "SCST_FIO"
	case "vdisk_blockio":
		l.Vendor = "SCST_BIO"
	default:
		b.remark(d, "device %s of the handler %s has no equal and is left out, with the LUNs that lead to it", name, handler)
		return ""
	}
	l.Name = b.lunName(name)
	b.blockSize(d, &l, d.number("blocksize", 0))
	l.ReadOnly, l.Removable, l.Direct = d.on("read_only", false), d.on("removable", false), d.on("o_direct", false)
	l.WriteCache = !d.on("write_through", false)
	d.leave("thin_provisioned", "size", "size_mb", "active")
	b.scstIdentity(d, &l, name)
	return b.addLUN(d, l)
}

// scstIdentity gives a LUN the names that scst.conf tells. SCST makes what is not
// written there of the device's name and a number of its host (setup_id).
func (b *builder) scstIdentity(d *entry, l *configs.LUN, name string) {
	l.Vendor = cmp.Or(d.text("t10_vend_id"), l.Vendor)
	l.Product = cmp.Or(d.text("prod_id"), name)
	l.Revision = d.text("prod_rev_lvl")
	l.Serial = d.text("usn")
	id, naa, eui := d.text("t10_dev_id"), d.text("naa_id"), d.text("eui64_id")
	if id != "" {
		l.T10 = t10(l.Vendor, id)
	}
	if naa != "" || eui != "" {
		l.NAA, l.EUI64 = configs.NoDesignator, configs.NoDesignator
		b.designator(d, &l.NAA, "naa_id", naa, 16, 32)
		b.designator(d, &l.EUI64, "eui64_id", eui, 16, 24, 32)
	}
	if l.Serial == "" || id == "" || naa == "" && eui == "" {
		b.note(d, "scst.conf does not tell all names of %s (usn, t10_dev_id, and naa_id or eui64_id): SCST made them itself. On an initiator `sg_vpd -p sn` and "+
			"`sg_vpd -p di` show them; write serial, t10, naa and eui64 here, or initiators find another disk", name)
	}
}

// scstTarget makes a target. Who fits an initiator group sees the LUNs of it, and all
// others those of the target.
func (b *builder) scstTarget(e *entry, luns map[string]string) {
	t := configs.Target{Name: e.word(0)}
	if !e.on("enabled", true) {
		b.remark(e, "%s is not enabled and is left out", t.Name)
		return
	}
	t.LUNs = b.scstLUNs(e, luns)
	for i, u := range e.all("IncomingUser") {
		if i > 0 {
			u.hush()
			b.note(u, "a rule has one user here; %s is kept, another is left out", t.CHAP.User)
			continue
		}
		t.CHAP = b.scstUser(u)
	}
	if u := e.one("OutgoingUser"); u != nil && t.CHAP != nil {
		t.MutualCHAP = b.scstUser(u)
	}
	if len(t.LUNs) > 0 {
		t.Access = configs.Open
	}
	for _, g := range e.all("GROUP") {
		r := configs.Rule{Label: g.word(0), LUNs: b.scstLUNs(g, luns)}
		everybody := false
		for _, i := range g.all("INITIATOR") {
			switch name := i.word(0); {
			case name == "*":
				everybody = true
			case strings.ContainsAny(name, "*?!#\\"):
				b.note(i, "initiators by the pattern %q have no equal; write their names into the rule %s", name, r.Label)
			default:
				r.Initiators = append(r.Initiators, name)
			}
		}
		switch {
		case everybody:
			b.note(g, "group %s holds everybody: its LUNs are those of the target", r.Label)
			t.LUNs, t.Access = r.LUNs, configs.Open
		case len(r.Initiators) == 0:
			b.note(g, "group %s names no initiator that can be admitted here; it is left out", r.Label)
		default:
			t.Rules = append(t.Rules, r)
		}
	}
	portals := everywhere()
	if allowed := e.all("allowed_portal"); len(allowed) > 0 {
		portals = nil
		for _, a := range allowed {
			if l, ok := b.listenerOf(a, a.word(0), 1); ok {
				portals = append(portals, l)
			}
		}
	}
	b.addTarget(e, t, portals)
}

// scstLUNs is the LUN map of a target or of an initiator group.
func (b *builder) scstLUNs(e *entry, luns map[string]string) map[int]string {
	found := map[int]string{}
	for _, lun := range e.all("LUN") {
		n, err := strconv.Atoi(lun.word(0))
		name := luns[lun.word(1)]
		switch {
		case err != nil || n < 0 || n > 16383:
			b.remark(lun, "%q is not a LUN number here (0 to 16383); it is left out", lun.word(0))
		case name == "":
			b.note(lun, "LUN %d is left out, as is what it leads to (%s)", n, lun.word(1))
		case lun.on("read_only", false):
			b.note(lun, "LUN %d is left out: it is read-only here alone, and a LUN is read-only for all or for nobody", n)
		default:
			found[n] = name
		}
	}
	return found
}
