package importer

import (
	"slices"
	"strconv"
	"strings"

	"github.com/isantarget/isantarget/configs"
)

// tgtadm reads what tgtadm shows of the targets that run. It tells all names of disks
// as they are, and no secret.
func (b *builder) tgtadm(root *entry) {
	for i, e := range root.below {
		e.used = true
		tid, ok := strings.CutPrefix(e.key, "Target ")
		n, err := strconv.Atoi(tid)
		if !ok || err != nil {
			b.remark(e, "%s has no equal and is left out", e)
			continue
		}
		if i == 0 {
			b.note(e, "portals are not shown: all addresses of this host are taken. Write those that are meant into portal-group")
		}
		b.tgtadmTarget(e, n)
	}
}

func (b *builder) tgtadmTarget(e *entry, tid int) {
	t := configs.Target{Name: e.words0(), LUNs: map[int]string{}}
	if info := e.one("System information"); info != nil {
		info.mark()
	}
	if nexus := e.one("I_T nexus information"); nexus != nil {
		nexus.mark() // who is logged in just now
	}
	if luns := e.one("LUN information"); luns != nil {
		for _, lun := range luns.all("LUN") {
			n, err := strconv.Atoi(lun.word(0))
			if err != nil || lun.text("Type") == "controller" {
				lun.mark()
				continue
			}
			if name := b.tgtadmLUN(lun, tid, n); name != "" {
				t.LUNs[n] = name
			}
		}
	}
	if accounts := e.one("Account information"); accounts != nil {
		for _, a := range accounts.below {
			a.used = true
			user, rest, _ := strings.Cut(a.key, " ")
			c := b.credential(a, user, "")
			switch {
			case strings.Contains(rest, "outgoing"):
				t.MutualCHAP = c
			case t.CHAP == nil:
				t.CHAP = c
			default:
				b.note(a, "a rule has one user here; %s is left out, %s is kept", user, t.CHAP.User)
			}
		}
	}
	if t.CHAP == nil {
		t.MutualCHAP = nil
	}
	var names []*entry
	if acl := e.one("ACL information"); acl != nil {
		for _, a := range acl.below {
			a.used = true
			names = append(names, &entry{words: []string{a.key}, line: a.line})
		}
	}
	if len(names) == 0 {
		b.note(e, "%s admits nobody; here it is nobody but this host", t.Name)
	} else {
		b.byNameAndAddress(&t, names, nil)
	}
	b.addTarget(e, t, everywhere())
}

func (b *builder) tgtadmLUN(e *entry, tid, n int) string {
	place := e.text("Backing store path")
	kind := e.text("Backing store type")
	if e.text("Type") != "disk" || !slices.Contains([]string{"rdwr", "aio"}, kind) {
		b.remark(e, "LUN %d (%s, %s, %s) has no equal and is left out", n, e.text("Type"), kind, place)
		return ""
	}
	l := newLUN(b.lunName(nameOfPath(place)), place)
	if _, size, ok := strings.Cut(e.text("Size"), "Block size: "); ok { // "67 MB, Block size: 512"
		bytes, _ := strconv.Atoi(size)
		b.blockSize(e, &l, bytes)
	}
	l.ReadOnly, l.Removable = e.on("Readonly", false), e.on("Removable media", false)
	l.Direct = kind == "aio" || strings.Contains(e.text("Backing store flags"), "direct")
	l.WriteCache = !strings.Contains(e.text("Backing store flags"), "sync")
	e.leave("Online", "Prevent removal", "SWP", "Thin-provisioning")
	if e.text("SWP") == "Yes" {
		l.ReadOnly = true
	}
	tgtIdentity(&l, e.text("SCSI ID"), e.text("SCSI SN"), tid, n)
	b.note(e, "vendor, product and revision of LUN %s and its write cache are not shown; those of tgt's own are taken", l.Name)
	return b.addLUN(e, l)
}
