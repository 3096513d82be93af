package importer

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/isantarget/isantarget/configs"
)

// gotgt reads the config.json of gotgt.
func (b *builder) gotgt(root *entry) {
	luns, portals := map[string]string{}, map[string]*entry{}
	for _, s := range root.all("storages") {
		luns[s.text("deviceID")] = b.gotgtStorage(s)
	}
	for _, p := range root.all("iscsiportals") {
		portals[p.text("id")] = p
		p.leave("portal")
	}
	for _, targets := range root.all("iscsitargets") {
		for _, e := range targets.below {
			e.used = true
			b.gotgtTarget(e, luns, portals)
		}
	}
}

// gotgtStorage makes a LUN, with the names that gotgt tells (pkg/scsi/spc.go): the serial
// is "gotgt-" and the device id, cut at 36 characters, the NAA name 3h and the device id.
func (b *builder) gotgtStorage(s *entry) string {
	id, place := s.text("deviceID"), s.text("path")
	kind, file, ok := strings.Cut(place, ":")
	if !ok || kind != "file" && kind != "aio" {
		b.remark(s, "storage %s (%s) has no equal and is left out, with the LUNs that lead to it", id, place)
		return ""
	}
	if !s.on("online", true) {
		b.remark(s, "storage %s is offline and is left out, with the LUNs that lead to it", id)
		return ""
	}
	s.leave("thinProvisioning")
	l := newLUN(b.lunName(nameOfPath(file)), file)
	if shift := s.number("blockShift", 9); shift > 0 && shift < 32 {
		b.blockSize(s, &l, 1<<shift)
	}
	l.Vendor, l.Product, l.Revision = "GOSTOR", "GOTGT", "0.1"
	l.EUI64 = configs.NoDesignator
	n, err := strconv.ParseUint(id, 10, 60)
	if err != nil {
		b.note(s, "the device id %q is no number; LUN %s gets names of its own", id, l.Name)
		return b.addLUN(s, l)
	}
	l.Serial = fmt.Sprintf("gotgt-%d", n)
	l.NAA = configs.Designator(fmt.Sprintf("3%015x", n))
	return b.addLUN(s, l)
}

func (b *builder) gotgtTarget(e *entry, luns map[string]string, portals map[string]*entry) {
	t := configs.Target{Name: e.key, LUNs: map[int]string{}, Access: configs.Open}
	if m := e.one("luns"); m != nil {
		for _, lun := range m.below {
			lun.used = true
			n, err := strconv.Atoi(lun.key)
			name := luns[lun.words0()]
			if err != nil || name == "" {
				b.note(lun, "LUN %s of %s is left out, as is its storage %s", lun.key, t.Name, lun.words0())
				continue
			}
			t.LUNs[n] = name
		}
	}
	var listeners []listener
	if groups := e.one("tpgts"); groups != nil {
		for _, g := range groups.below {
			g.used = true
			tag, _ := strconv.Atoi(g.key)
			p := portals[g.words0()]
			if p == nil {
				b.note(g, "there is no portal with the id %s", g.words0())
				continue
			}
			if l, ok := b.listenerOf(p, p.text("portal"), tag); ok {
				listeners = append(listeners, l)
			}
		}
	}
	b.note(e, "%s lets everybody in, as gotgt does; name those who may in rules", t.Name)
	b.addTarget(e, t, listeners)
}
