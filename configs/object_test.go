package configs

import (
	"encoding/json"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// made is an object as the admin socket gets it.
func made(t *testing.T, table Table, text string) Object {
	t.Helper()
	o, err := ObjectFromJSON(table, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// kept is an object as the state directory keeps it.
func kept(t *testing.T, o Object, file string) Object {
	t.Helper()
	k, err := ObjectFromTOML(file, []byte(o.TOML()))
	if err != nil {
		t.Fatalf("%v\n%s", err, o.TOML())
	}
	if !k.Is(o) || k.Name() != o.Name() || k.Table != o.Table {
		t.Fatalf("%s is kept as\n%s", o, k.TOML())
	}
	return k
}

const oneOfEach = `
state = "/state"
[[portal-group]]
tag = 1
listen = ["192.0.2.1"]
[[store]]
name = "tank"
path = "/tank"
[[lun]]
name = "a"
store = "tank"
size = "1GiB"
[[target]]
name = "iqn.2026-11.org.example:a"
luns = { 0 = "a" }
[[target.rule]]
initiators = ["iqn.2026-11.org.example:i"]
`

// TestObjectsAddToTheFile: what was made at run time is there as if it were written.
func TestObjectsAddToTheFile(t *testing.T) {
	objects := []Object{
		kept(t, made(t, LUNTable, `{"name": "b", "store": "tank", "size": "2GiB", "write-cache": false, "block-size": 4096}`), "/state/config.d/lun-b.toml"),
		made(t, LUNTable, `{"name": "c", "path": "c.img", "size": 1048576, "serial": null}`),
		kept(t, made(t, MapTable, `{"target": "IQN.2026-11.org.example:a", "lun": "b", "number": 7}`), "m"),
		made(t, RuleTable, `{"name": "z", "target": "iqn.2026-11.org.example:a", "networks": ["10.0.0.0/8"], "chap": {"user": "u", "secret-file": "secret"}}`),
		kept(t, made(t, RuleTable, `{"name": "y", "target": "iqn.2026-11.org.example:a", "networks": ["10.0.0.1"], "luns": {"0": "c"}}`), "y"),
		kept(t, made(t, TargetTable, `{"name": "iqn.2026-11.org.example:b", "access": "open", "luns": {"1": "a"}, "rule": [{"networks": ["10.0.0.2"]}]}`), "t"),
		made(t, PortalGroupTable, `{"tag": 2, "listen": ["192.0.2.2"]}`),
	}
	c, err := Parse("san.toml", "/etc", oneOfEach, objects...)
	if err != nil {
		t.Fatal(err)
	}
	b := LUN{Name: "b", Store: "tank", Path: "/tank/b.img", Size: 2 << 30, BlockSize: 4096, SpaceThreshold: DefaultSpaceThreshold}
	if !reflect.DeepEqual(c.LUNs[1], b) || c.LUNs[2].Path != "/state/c.img" {
		t.Errorf("LUNs %+v", c.LUNs[1:])
	}
	a := c.Targets[0]
	if !reflect.DeepEqual(a.LUNs, map[int]string{0: "a", 7: "b"}) {
		t.Errorf("LUNs of the target of the file: %v", a.LUNs)
	}
	if len(a.Rules) != 3 || a.Rules[1].Label != "y" || a.Rules[1].LUNs[0] != "c" || a.Rules[2].Label != "z" || a.Rules[2].CHAP.SecretFile != "/state/secret" {
		t.Errorf("rules %+v", a.Rules)
	}
	if c.Targets[1].Rules[0].Networks[0].String() != "10.0.0.2/32" || c.PortalGroups[1].Listen[0] != "192.0.2.2:3260" {
		t.Errorf("target %+v, portal groups %+v", c.Targets[1], c.PortalGroups)
	}
	if p, ok := c.Find(LUNTable, "b"); !ok || !p.Made || p.Where != "/state/config.d/lun-b.toml:1" {
		t.Errorf("LUN b is at %s: %s", p.Where, p.TOML())
	}
	if p, ok := c.Find(LUNTable, "a"); !ok || p.Made || p.Where != "san.toml:9" || p.TOML() != "[[lun]]\nname = \"a\"\nstore = \"tank\"\nsize = \"1GiB\"\n" {
		t.Errorf("LUN a is at %s: %s", p.Where, p.TOML())
	}
}

// TestClashesNameBothPlaces: an object lives on one side.
func TestClashesNameBothPlaces(t *testing.T) {
	for _, c := range []struct {
		table Table
		text  string
		want  []string
	}{
		{LUNTable, `{"name": "a", "path": "/x.img"}`, []string{"made.toml:2: lun.name", `LUN "a" is already at san.toml:10`}},
		{LUNTable, `{"name": "x", "path": "/tank/a.img"}`, []string{"made.toml:1: lun", "a LUN on /tank/a.img is already at san.toml:9"}},
		{StoreTable, `{"name": "tank", "path": "/x"}`, []string{"made.toml:2: store.name", `store "tank" is already at san.toml:7`}},
		{TargetTable, `{"name": "IQN.2026-11.org.example:A", "access": "open"}`, []string{"made.toml:2: target.name", "is already at san.toml:14"}},
		{PortalGroupTable, `{"tag": 1, "listen": ["192.0.2.3"]}`, []string{"made.toml:2: portal-group.tag", "portal group 1 is already at san.toml:4"}},
		{PortalGroupTable, `{"tag": 2, "listen": ["192.0.2.1"]}`, []string{"made.toml:3: portal-group.listen", "is already at san.toml:5"}},
		{MapTable, `{"target": "iqn.2026-11.org.example:a", "number": 0, "lun": "a"}`, []string{"made.toml:3: map.number", "the number 0 of target iqn.2026-11.org.example:a is already given at san.toml:15"}},
		{MapTable, `{"target": "iqn.2026-11.org.example:a", "number": 1, "lun": "a"}`, []string{`LUN "a" is already number 0 of target iqn.2026-11.org.example:a`}},
		{MapTable, `{"target": "iqn.2026-11.org.example:a", "number": 1, "lun": "b"}`, []string{"made.toml:1: ", `there is no LUN "b"`}},
		{MapTable, `{"target": "iqn.2026-11.org.example:b", "number": 1, "lun": "a"}`, []string{"made.toml:2: map.target", "there is no target iqn.2026-11.org.example:b; this map was made at run time"}},
		{MapTable, `{"target": "iqn.2026-11.org.example:a", "lun": "a"}`, []string{"has no number; add number = 1"}},
		{RuleTable, `{"name": "r", "target": "iqn.2026-11.org.example:a"}`, []string{"made.toml:1: ", "this rule admits everybody"}},
		{RuleTable, `{"name": "r", "networks": ["10.0.0.1"]}`, []string{"this rule names no target"}},
		{LUNTable, `{"name": "x", "path": "/x", "write-cache": "off"}`, []string{"is a text, wants true or false"}},
	} {
		o := kept(t, made(t, c.table, c.text), "made.toml")
		_, err := Parse("san.toml", "/etc", oneOfEach, o)
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s %s gives\n%v\nwant %q", c.table, c.text, err, want)
			}
		}
	}
}

// TestObjectFilesAreRefused that nobody can make anything of.
func TestObjectFilesAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                                "holds 0 tables",
		"[[lun":                           "cannot be read",
		"[lun]\nname='a'":                 "does not hold one [[lun]]",
		"[[lun]]\n[[lun]]":                "does not hold one [[lun]]",
		"[[lun]]\n[[store]]":              "holds 2 tables",
		"[[disk]]":                        `"disk" is not known`,
		"lun = 'a'":                       "does not hold one [[lun]]",
		"state = '/'":                     `"state" is not known`,
		"[[lun]]\nname='a'\n[limits]\n":   "holds 2 tables",
		"[[limits]]\nconnections = 1\n\n": `"limits" is not known`,
	} {
		_, err := ObjectFromTOML("f.toml", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "f.toml: ") {
			t.Errorf("%q gives %v; want %q", text, err, want)
		}
	}
}

// TestTOMLSaysTheSame: a configuration that is written is read as the same.
func TestTOMLSaysTheSame(t *testing.T) {
	files, _ := filepath.Glob("examples/*.toml")
	for _, file := range append(files, "isantarget.toml") {
		c, err := Load(file)
		if err != nil {
			t.Fatal(err)
		}
		same(t, file, c)
	}
	objects := []Object{
		made(t, LUNTable, `{"name": "b", "store": "tank", "path": "deep/b.raw", "provisioning": "fixed", "serial": "\"\\\u007f é"}`),
		made(t, MapTable, `{"target": "iqn.2026-11.org.example:a", "lun": "b", "number": 7}`),
		made(t, RuleTable, `{"name": "z", "target": "iqn.2026-11.org.example:a", "networks": ["10.0.0.0/8"], "luns": {}, "chap": {"user": "u \" \t", "secret-env": "S"}}`),
	}
	objects[0] = objects[0].With("serial", "S-1")
	c, err := Parse("san.toml", "/etc", oneOfEach+"[limits]\nnop-interval = \"1m30s\"\nmemory=\"1GiB\"\n[log]\nlevel=\"debug\"\n", objects...)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "both sides", c)
}

func same(t *testing.T, what string, c Config) {
	t.Helper()
	again, err := Parse("again.toml", "/elsewhere", c.TOML())
	if err != nil {
		t.Fatalf("%s, written: %v\n%s", what, err, c.TOML())
	}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if again2, _ := json.Marshal(again); string(again2) != string(text) {
		t.Errorf("%s: JSON %s\nwas %s", what, again2, text)
	}
	if again.TOML() != c.TOML() {
		t.Errorf("%s is written\n%s\nand the next time\n%s", what, c.TOML(), again.TOML())
	}
	c.source, again.source, c.Maps, c.Rules = source{}, source{}, nil, nil
	for i := range c.LUNs { // a store that is written is one
		if !reflect.DeepEqual(again.LUNs[i], c.LUNs[i]) {
			t.Errorf("%s: LUN %+v\nwas %+v", what, again.LUNs[i], c.LUNs[i])
		}
	}
	if !reflect.DeepEqual(again, c) {
		t.Errorf("%s: it reads\n%+v\nand was\n%+v", what, again, c)
	}
}

// FuzzObject: whatever a caller sends, there is an object that is kept as it is, or an error.
func FuzzObject(f *testing.F) {
	for _, text := range []string{
		`{"name": "b", "store": "tank", "size": "2GiB", "write-cache": false, "block-size": 4096}`, `null`, `{}`, `[]`, `{"name": {"a": [1, 2.5, null, {}]}}`,
		`{"target": "iqn.2026-11.org.example:a", "lun": "b", "number": 7}`, `{"name": "iqn.2026-11.org.example:b", "rule": [{"networks": ["10.0.0.2"]}]}`,
		`{"tag": 1e99, "listen": "\u0000"}`, `{"name": "x", "rule": [[], {"luns": {"0": 1}}]}`, `{"": {"": [{"": [{}]}]}}`, `{"size": 9223372036854775808}`,
	} {
		for i := range Tables() {
			f.Add(i, text)
		}
	}
	f.Fuzz(func(t *testing.T, table int, text string) {
		o, err := ObjectFromJSON(Tables()[uint(table)%uint(len(Tables()))], []byte(text))
		if err != nil {
			return
		}
		c, err := Parse("f", "/", oneOfEach, o)
		if err != nil {
			return
		}
		k, err := ObjectFromTOML("kept", []byte(o.TOML()))
		if err != nil || !k.Is(o) {
			t.Fatalf("%s is kept as %s: %v", text, o.TOML(), err)
		}
		again, err := Parse("f", "/", oneOfEach, k)
		if err != nil || again.TOML() != c.TOML() {
			t.Fatalf("%s is served, kept, and then: %v", text, err)
		}
	})
}
