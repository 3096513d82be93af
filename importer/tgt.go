package importer

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/isantarget/isantarget/configs"
)

// tgt reads targets.conf. tgt-admin makes the targets in the order of their names, and
// so numbers them (their tid) from 1; their LUNs are numbered from 1, those of
// backing-store before those of direct-store.
func (b *builder) tgt(root *entry) {
	for _, e := range root.all("include") {
		b.remark(e, "%s is not read: import those files by themselves", e.words0())
	}
	root.leave("default-driver")
	if d := root.one("incomingdiscoveryuser"); d != nil {
		b.config.Discovery.CHAP = b.credential(d, d.word(0), secretOf(d))
	}
	if d := root.one("outgoingdiscoveryuser"); d != nil {
		b.config.Discovery.MutualCHAP = b.credential(d, d.word(0), secretOf(d))
	}
	targets := root.all("target")
	slices.SortStableFunc(targets, func(x, y *entry) int { return strings.Compare(x.word(0), y.word(0)) })
	if len(targets) > 0 {
		b.note(targets[0], "portals are told to tgtd, not written here: all addresses of this host are taken. Write those that are meant into portal-group")
	}
	tid := 0
	for _, e := range targets {
		tid++
		tid = e.number("controller_tid", tid)
		b.tgtTarget(e, tid)
	}
	if len(targets) > 1 {
		b.note(targets[0], "names of disks that have no scsi_id come from the order in which targets were made. Where they were made by hand, import what "+
			"`tgtadm --lld iscsi --op show --mode target` prints: it tells the names in use")
	}
}

// secretOf is the secret behind a user. What tgt-admin --dump prints has another word there.
func secretOf(e *entry) string {
	e.hush()
	if s := e.word(1); s != "PLEASE_CORRECT_THE_PASSWORD" {
		return s
	}
	return ""
}

func (b *builder) tgtTarget(e *entry, tid int) {
	t := configs.Target{Name: e.word(0), LUNs: map[int]string{}}
	if driver := e.text("driver"); driver != "" && driver != "iscsi" {
		b.remark(e, "target %s of the driver %q is left out: only iSCSI is served here", t.Name, driver)
		return
	}
	e.leave("allow-in-use")
	stores := append(e.all("backing-store"), e.all("direct-store")...)
	next := 1
	for _, s := range stores { // numbers that are written come first
		if n := s.number("lun", 0); n > 0 {
			t.LUNs[n] = ""
		}
	}
	for _, s := range stores {
		n := s.number("lun", 0)
		if n == 0 && len(stores) == 1 {
			n = e.number("lun", 0)
		}
		if n == 0 {
			for _, taken := t.LUNs[next]; taken; _, taken = t.LUNs[next] {
				next++
			}
			n = next
		}
		if name := b.tgtStore(s, e, tid, n); name != "" {
			t.LUNs[n] = name
		} else {
			delete(t.LUNs, n)
		}
	}
	b.tgtAccess(e, &t)
	b.addTarget(e, t, everywhere())
}

// tgtStore makes a LUN of a backing-store; settings of the target hold where it has none.
func (b *builder) tgtStore(s, target *entry, tid, n int) string {
	get := func(key string) string {
		if v := s.text(key); v != "" {
			target.leave(key)
			return v
		}
		return target.text(key)
	}
	place := s.word(0)
	if kind := get("bs-type"); kind != "" && kind != "rdwr" && kind != "aio" {
		b.remark(s, "%s of the kind %s has no equal and is left out", place, kind)
		return ""
	}
	if kind := get("device-type"); kind != "" && kind != "disk" {
		b.remark(s, "%s is a device of the type %s, and only disks are served here; it is left out", place, kind)
		return ""
	}
	l := newLUN(b.lunName(nameOfPath(place)), place)
	l.WriteCache = get("write-cache") != "off"
	flags := get("bsoflags")
	l.Direct = strings.Contains(flags, "direct") || get("bs-type") == "aio"
	if strings.Contains(flags, "sync") {
		l.WriteCache = false
	}
	l.ReadOnly, l.Removable = get("readonly") == "1", get("removable") == "1"
	size, _ := strconv.Atoi(get("block-size"))
	b.blockSize(s, &l, size)
	id, sn := get("scsi_id"), get("scsi_sn")
	l.Vendor, l.Product, l.Revision = get("vendor_id"), get("product_id"), get("product_rev")
	if strings.EqualFold(s.key, "direct-store") && sn == "" {
		b.note(s, "tgt reads vendor, product and serial of a direct-store from the device itself; LUN %s gets those of tgt's own. Compare with sg_inq %s", l.Name, place)
	}
	tgtIdentity(&l, id, sn, tid, n)
	return b.addLUN(s, l)
}

// tgtIdentity gives a LUN the names that tgt tells (spc.c, 1.0.85): by default the SCSI
// id is "IET     " with tid and LUN in hexadecimal digits, and the serial "beaf", tid
// and LUN in decimal ones. The NAA name is 6h and what of the id's last characters
// reads as hexadecimal digits, with 0 for each that does not. There is no EUI-64 name.
func tgtIdentity(l *configs.LUN, id, sn string, tid, lun int) {
	if id == "" {
		id = fmt.Sprintf("IET     %04x%04x", tid, lun)
	}
	if sn == "" {
		sn = fmt.Sprintf("beaf%d%d", tid, lun)
	}
	l.Serial, l.T10, l.EUI64 = sn, id, configs.NoDesignator
	if l.Vendor == "" {
		l.Vendor = "IET"
	}
	if l.Product == "" {
		l.Product = "VIRTUAL-DISK"
	}
	if l.Revision == "" {
		l.Revision = "0001"
	}
	digits := make([]byte, len(id))
	for i := range len(id) {
		digits[i] = '0'
		if c := id[i] | 0x20; c >= 'a' && c <= 'f' {
			digits[i] = c
		} else if id[i] >= '0' && id[i] <= '9' {
			digits[i] = id[i]
		}
	}
	padded := strings.Repeat("0", 32) + string(digits)
	l.NAA = configs.Designator("6" + padded[len(padded)-31:])
}

// tgtAccess makes access rules of a target.
func (b *builder) tgtAccess(e *entry, t *configs.Target) {
	users := e.all("incominguser")
	for i, u := range users {
		u.hush()
		if i > 0 {
			b.note(u, "a rule has one user here; %s is left out, %s is kept", u.word(0), users[0].word(0))
			continue
		}
		t.CHAP = b.credential(u, u.word(0), secretOf(u))
	}
	if u := e.one("outgoinguser"); u != nil && t.CHAP != nil {
		t.MutualCHAP = b.credential(u, u.word(0), secretOf(u))
	}
	b.byNameAndAddress(t, e.all("initiator-name"), e.all("initiator-address"))
}

// byNameAndAddress admits who fits one of the names and one of the addresses, which are
// the first words; of either, none means all. Where those that are named cannot be told
// here it is nobody, and not all.
func (b *builder) byNameAndAddress(t *configs.Target, names, addresses []*entry) {
	var r configs.Rule
	named, lost := false, false
	for _, list := range [][]*entry{names, addresses} {
		all, some := len(list) == 0, false
		for _, e := range list {
			word := e.word(0)
			if word == "ALL" {
				all = true
			} else if n, ok := network(word); ok {
				r.Networks, some = append(r.Networks, n), true
			} else if isNodeName(word) {
				r.Initiators, some = append(r.Initiators, word), true
			} else {
				b.note(e, "%q is neither a network nor the name of an initiator; it is left out", word)
			}
		}
		named = named || some
		lost = lost || !all && !some
	}
	switch {
	case lost:
		b.note(append(names, addresses...)[0], "of those whom %s admits none is left; here it is nobody but this host", t.Name)
	case !named:
		t.Access = configs.Open
	default:
		t.Rules = append(t.Rules, r)
	}
}

// isNodeName tells whether a word looks like an iSCSI name (RFC 7143 4.2.7), or at least
// like what others take for one.
func isNodeName(word string) bool {
	for _, begin := range []string{"iqn.", "eui.", "naa."} {
		if len(word) > len(begin) && strings.EqualFold(word[:len(begin)], begin) {
			return true
		}
	}
	return strings.Contains(word, ":")
}
