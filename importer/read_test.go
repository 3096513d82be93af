package importer

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/isantarget/isantarget/configs"
)

var update = flag.Bool("update", false, "write what is read into testdata/*.want")

// read is Read of a file of testdata, by its name alone.
func read(t testing.TB, name string) (*Result, string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	r, err := Read(string(text), Options{Name: name, Secrets: "/etc/secrets"})
	if err != nil {
		t.Fatal(err)
	}
	return r, string(text)
}

// files are the configurations in testdata, and what they are of.
func files() map[string]Kind {
	return map[string]Kind{"saveconfig.json": Targetcli, "targetcli.json": Targetcli, "targets.conf": TGT, "tgtadm.txt": TGTAdm, "istgt.conf": ISTGT, "gotgt.json": Gotgt, "ctl.conf": CTL, "scst.conf": SCST}
}

// TestRead holds what each configuration becomes, and what is said of it, against what is
// written in testdata; and has the result checked as a configuration.
func TestRead(t *testing.T) {
	for name, kind := range files() {
		t.Run(name, func(t *testing.T) {
			r, _ := read(t, name)
			if r.Kind != kind {
				t.Errorf("it is taken for one of %s, want %s", r.Kind, kind)
			}
			var b strings.Builder
			for _, one := range r.Remarks {
				b.WriteString("# " + one.String() + "\n")
			}
			made := r.Config.TOML()
			b.WriteString("\n" + made)
			file := filepath.Join("testdata", name+".want")
			if *update {
				if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if b.String() != string(want) {
				t.Errorf("it becomes\n%s\nwant\n%s", b.String(), want)
			}
			again, err := configs.Parse("result", "/", made)
			if err != nil {
				t.Fatalf("the result is no configuration: %v", err)
			}
			if got := again.TOML(); !strings.HasSuffix(got, made) { // the state directory stands before it
				t.Errorf("read again it is\n%s\nwant\n%s", got, made)
			}
		})
	}
}

// TestSecretsAreKeptApart: they stand neither in the configuration nor in what is said.
func TestSecretsAreKeptApart(t *testing.T) {
	for name := range files() {
		r, text := read(t, name)
		said := r.Config.TOML()
		for _, one := range r.Remarks {
			said += one.String()
		}
		for _, word := range []string{"discovery-secret", "secret-of-host-a", "secret-of-host-b", "mutual-secret-1"} {
			if strings.Contains(said, word) {
				t.Errorf("%s: the secret %s is told", name, word)
			}
			kept := false
			for _, s := range r.Secrets {
				kept = kept || s.Value == word
			}
			if strings.Contains(text, word) && !kept && word != "secret-of-host-b" { // the second user of a rule is told of, and left out
				t.Errorf("%s: the secret %s is lost", name, word)
			}
		}
	}
}

// TestNothingIsDroppedInSilence puts a setting that nobody knows behind every line that
// may have one, and wants to be told of each.
func TestNothingIsDroppedInSilence(t *testing.T) {
	for name, kind := range files() {
		if kind == TGTAdm {
			continue // its lines have no settings
		}
		_, text := read(t, name)
		before, err := Read(text, Options{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.SplitAfter(text, "\n")
		found := 0
		for i := range lines {
			unknown := "never_heard_of 42\n"
			if strings.HasSuffix(name, ".json") {
				unknown = `"never_heard_of": 42,` + "\n"
			}
			r, err := Read(strings.Join(lines[:i+1], "")+unknown+strings.Join(lines[i+1:], ""), Options{Name: name, Kind: kind})
			if err != nil {
				continue // no setting may stand here
			}
			told := false
			left := ""
			for _, one := range r.Remarks {
				told = told || strings.Contains(one.Text, "never_heard_of") ||
					strings.Contains(one.Text, "left out") && one.line <= i+2 // with what it is part of
				left += one.String() + "\n"
			}
			if found++; !told {
				t.Errorf("%s: a setting behind line %d is dropped in silence (%d remarks, %d before):\n%s", name, i+1, len(r.Remarks), len(before.Remarks), left)
			}
		}
		if found < 3 {
			t.Errorf("%s: a setting can stand in %d places; this test proves nothing", name, found)
		}
	}
}

// TestWhoCannotBeToldIsNotEverybody: a target that admits only those who have no equal here
// admits nobody, which is told; it is not open to all.
func TestWhoCannotBeToldIsNotEverybody(t *testing.T) {
	tgt := func(conditions string) string {
		return "<target iqn.2026-11.org.example:a>\nbacking-store /srv/a.img\n" + conditions + "</target>\n"
	}
	ctl := func(conditions string) string {
		return "auth-group g {\n" + conditions + "}\ntarget iqn.2026-11.org.example:a {\nauth-group g\nlun 0 {\npath /srv/a.img\n}\n}\n"
	}
	for text, want := range map[string]struct {
		access configs.Access
		names  []string // of the rule; nil: there is none
	}{
		tgt(""):                        {configs.Open, nil},
		tgt("initiator-address ALL\n"): {configs.Open, nil},
		tgt("initiator-name eui.02004567A425678D\n"):                                        {"", []string{"eui.02004567A425678D"}},
		tgt("initiator-name naa.52004567BA64678D\ninitiator-address ALL\n"):                 {"", []string{"naa.52004567BA64678D"}},
		tgt("initiator-address host.example\n"):                                             {"", nil},
		tgt("initiator-name iqn.1993-08.org.debian:01:x\ninitiator-address host.example\n"): {"", nil},
		ctl("initiator-name eui.02004567A425678D\n"):                                        {"", []string{"eui.02004567A425678D"}},
		ctl("initiator-portal host.example\n"):                                              {"", nil},
		ctl("auth-type chap\ninitiator-name iqn.1993-08.org.debian:01:x\n"):                 {"", nil},
		ctl("auth-type none\ninitiator-name iqn.1993-08.org.debian:01:x\n"):                 {"", []string{"iqn.1993-08.org.debian:01:x"}},
	} {
		r, err := Read(text, Options{Name: "x", Secrets: "/secrets"})
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		a := r.Config.Targets[0]
		var names []string
		for _, rule := range a.Rules {
			names = append(names, rule.Initiators...)
		}
		if a.Access != want.access || !slices.Equal(names, want.names) {
			t.Errorf("%s\nadmits %q by access, and %q by rules; want %q and %q", text, a.Access, names, want.access, want.names)
		}
		told := slices.ContainsFunc(r.Remarks, func(r Remark) bool { return strings.Contains(r.Text, "nobody but this host") })
		if told != (want.access == "" && want.names == nil) {
			t.Errorf("%s\nis told of as %v", text, r.Remarks)
		}
	}
}

func TestErrorsSayWhere(t *testing.T) {
	for _, c := range []struct{ kind, text, want string }{
		{"", "hello\n", "x: this is no configuration of a target that is known here; say of which with --from, one of targetcli, tgt, tgtadm, istgt, gotgt, ctl, scst"},
		{"lio", "hello\n", `"lio" is no kind of configuration`},
		{"targetcli", "{\n\"targets\": [\n", "x:2: the JSON document ends in the middle"},
		{"targetcli", "[]", "x:1: not a JSON object"},
		{"targetcli", "{}\n{}", "x:2: more behind the end of the JSON document"},
		{"gotgt", "{\"storages\":\n[{\"deviceID\": 1,\n}]}", "x:3: "},
		{"gotgt", "{" + strings.Repeat(`"a":{`, 100), "x:1: nested too deep"},
		{"tgt", "<target a>\n", "x:1: <target> has no end"},
		{"tgt", "\n</target>\n", "x:2: </target> ends nothing that has begun"},
		{"istgt", "key 1\n", "x:1: a setting before the first [section]"},
		{"ctl", "target a {\n", "x:1: target { has no end"},
		{"scst", "}\n", `x:1: a "}" that ends nothing`},
		{"scst", "{\n", `x:1: a "{" without a name before it`},
		{"ctl", strings.Repeat("a {\n", 100), "x:33: blocks within blocks, too deep"},
	} {
		r, err := Read(c.text, Options{Name: "x", Kind: Kind(c.kind)})
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s %q: %v %v, want %s", c.kind, c.text, r, err, c.want)
		}
	}
}

// TestLIONames: a NAA name that was seen of LIO's kernel, for this serial.
func TestLIONames(t *testing.T) {
	var l configs.LUN
	lioIdentity(&l, "a1b2c3d4-5e6f-4a7b-8c9d-0e1f2a3b4c5d", "vm1")
	if l.NAA != "6001405a1b2c3d45e6f4a7b8c9d0e1f2" || l.Serial != "a1b2c3d4-5e6f-4a7b-8c9d-0e1f2a3b4c5d" {
		t.Errorf("%+v", l)
	}
	if lioIdentity(&l, "ab", ""); l.NAA != "6001405ab00000000000000000000000" {
		t.Errorf("of a short serial: %s", l.NAA)
	}
}

// TestNamesOfLIO: targetcli.json was written by targetcli 2.1.53, and targetcli.names are what
// a Linux initiator (open-iscsi, sg3-utils, udev) then knew those disks by, of the kernel's
// own target. They have to be those that the disks bear here.
func TestNamesOfLIO(t *testing.T) {
	r, _ := read(t, "targetcli.json")
	text, err := os.ReadFile(filepath.Join("testdata", "targetcli.names"))
	if err != nil {
		t.Fatal(err)
	}
	var made strings.Builder
	for _, target := range slices.Backward(r.Config.Targets) {
		for _, n := range slices.Sorted(maps.Keys(target.LUNs)) {
			l := r.Config.LUNs[slices.IndexFunc(r.Config.LUNs, func(l configs.LUN) bool { return l.Name == target.LUNs[n] })]
			look := fmt.Sprintf("look %s LUN %d: ", target.Name[len(target.Name)-1:], n)
			by := look + "disk/by-id/"
			fmt.Fprint(&made, look, "Product identification: ", l.Product, "\n", look, "Product revision level: ", l.Revision, "\n", look, "Unit serial number: ", l.Serial, "\n",
				by, "scsi-1", strings.ReplaceAll(l.T10, " ", "_"), "\n", by, "scsi-3", l.NAA, "\n",
				by, "scsi-S", l.Vendor, "_", l.Product, "_", l.Serial, "\n", by, "wwn-0x", l.NAA, "\n")
		}
	}
	if made.String() != string(text) {
		t.Errorf("they bear\n%s\nwant\n%s", made.String(), text)
	}
}

// FuzzRead: whatever a file holds, it ends in an error, or in a configuration that Parse
// can read or says what is wrong with; and no secret is told.
func FuzzRead(f *testing.F) {
	for name, kind := range files() {
		_, text := read(f, name)
		f.Add(string(kind), text)
	}
	f.Add("ctl", "target a { lun 0 { path /x; option naa 6 } }\nlun \"")
	f.Add("tgtadm", "Target 1: x\n LUN information:\n  LUN: 99999\n   Type: disk\n   Backing store type: rdwr\n   Backing store path: /x")
	f.Add("istgt", "[LogicalUnit1]\nUnitType Disk\nLUN0 Storage /a b\nMapping PortalGroup1 InitiatorGroup1")
	f.Fuzz(func(t *testing.T, kind, text string) {
		r, err := Read(text, Options{Name: "fuzz", Kind: Kind(kind), Secrets: "/s"})
		if err != nil {
			return
		}
		if _, err := configs.Parse("result", "/", r.Config.TOML()); err != nil {
			for line := range strings.Lines(err.Error()) {
				if !strings.HasPrefix(line, "result:") && !strings.HasPrefix(line, "result") {
					t.Errorf("%q in\n%s", line, r.Config.TOML())
				}
			}
			if strings.Contains(err.Error(), "unknown key") || strings.Contains(err.Error(), "expected") {
				t.Errorf("%v in\n%s", err, r.Config.TOML())
			}
		}
	})
}
