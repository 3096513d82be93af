package variation

import (
	"fmt"
	"math/rand/v2"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/configs"
)

// A side makes the objects of one side of the configuration. They name objects of their
// own side alone, so that the other may change at any time.
type side struct {
	r      *rand.Rand
	prefix string
	tag    int    // of the first portal group
	mark   string // an alias, if there is one

	luns []string
	tags []int
}

func (s *side) often() bool  { return s.r.IntN(3) > 0 }
func (s *side) seldom() bool { return s.r.IntN(4) == 0 }

func oneOf[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func (s *side) objects() (all []admin.Put) {
	for i := range 2 {
		if s.often() {
			tag := s.tag + i
			s.tags = append(s.tags, tag)
			listen := []string{fmt.Sprintf("127.0.%d.%d:0", tag, 1+s.r.IntN(2))}
			if s.seldom() {
				listen = append(listen, fmt.Sprintf("127.0.%d.9:0", tag))
			}
			all = append(all, admin.Put{Table: configs.PortalGroupTable, Object: map[string]any{"tag": tag, "listen": listen}})
		}
	}
	for i := range 4 {
		if s.often() {
			name := fmt.Sprint(s.prefix, i)
			s.luns = append(s.luns, name)
			all = append(all, admin.Put{Table: configs.LUNTable, Object: s.lun(name)})
		}
	}
	for i := range 2 {
		if s.often() || i == 0 {
			all = append(all, s.target(fmt.Sprintf("iqn.2026-11.org.isantarget.test:%s-%d", s.prefix, i))...)
		}
	}
	return all
}

// lun is a LUN, of the kind that its name has for good: what is on an image stays.
func (s *side) lun(name string) map[string]any {
	o := map[string]any{"name": name, "space-threshold": 0}
	switch name[len(name)-1] {
	case '0':
		o["path"], o["size"] = name+".img", "1MiB"
		o["provisioning"] = oneOf(s.r, "sparse", "fixed")
	case '1':
		o["kind"], o["size"] = "memory", "1MiB"
		return o // a change of its settings would lose what it keeps, and is refused
	default:
		o["kind"], o["size"], o["readonly"] = "null", oneOf(s.r, "1MiB", "3MiB"), s.seldom()
	}
	if s.seldom() {
		o["write-cache"] = false
	}
	if s.seldom() {
		o["vendor"] = oneOf(s.r, "ACME", "OTHER")
	}
	if s.seldom() {
		o["serial"] = "serial-of-" + name
	}
	return o
}

func (s *side) target(name string) []admin.Put {
	o := map[string]any{"name": name, "access": oneOf(s.r, "open", "loopback")}
	if s.mark != "" {
		o["alias"] = s.mark
	} else if s.seldom() {
		o["alias"] = oneOf(s.r, "one", "two")
	}
	tags := []int{1}
	for _, tag := range s.tags {
		if s.often() {
			tags = append(tags, tag)
		}
	}
	o["portal-groups"] = tags
	if s.seldom() {
		o["access-state"] = []map[string]any{{"portal-group": oneOf(s.r, tags...), "state": oneOf(s.r, "non-optimized", "standby")}}
	}
	luns := s.mapOf()
	o["luns"] = luns
	if s.seldom() {
		o["rule"] = []map[string]any{{"label": "other", "networks": []string{oneOf(s.r, "10.0.0.0/8", "192.0.2.0/24")}, "luns": s.mapOf()}}
	}
	all := []admin.Put{{Table: configs.TargetTable, Object: o}}
	if s.often() {
		all = append(all, s.rule("rule-of-"+name[len(name)-3:], name))
	}
	if n := len(s.luns); n > 0 && s.seldom() {
		if lun := s.luns[s.r.IntN(n)]; !has(luns, lun) {
			all = append(all, admin.Put{Table: configs.MapTable, Object: map[string]any{"target": name, "number": 10 + s.r.IntN(3), "lun": lun}})
		}
	}
	return all
}

// beside are objects that belong to the target that the test works with.
func (s *side) beside(target string) (all []admin.Put) {
	for _, lun := range s.luns {
		if s.often() {
			all = append(all, admin.Put{Table: configs.MapTable, Object: map[string]any{"target": target, "number": 100 + int(lun[len(lun)-1]-'0'), "lun": lun}})
		}
	}
	if s.often() {
		all = append(all, s.rule("rule-beside", target))
	}
	return all
}

func (s *side) rule(name, target string) admin.Put {
	return admin.Put{Table: configs.RuleTable, Object: map[string]any{"name": name, "target": target, "luns": s.mapOf(),
		"initiators": []string{oneOf(s.r, "iqn.2026-11.org.isantarget.test:nobody", "iqn.2026-11.org.isantarget.test:no-one-else")}}}
}

// mapOf is a LUN map of some of the LUNs.
func (s *side) mapOf() map[string]string {
	m := map[string]string{}
	for _, lun := range s.luns {
		if s.often() {
			m[fmt.Sprint(len(m))] = lun
		}
	}
	return m
}

func has(m map[string]string, lun string) bool {
	for _, l := range m {
		if l == lun {
			return true
		}
	}
	return false
}
