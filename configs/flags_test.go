package configs

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestNoFlags(t *testing.T) {
	dir, _ := os.Getwd()
	c, err := FromFlags(Flags{})
	if err != nil {
		t.Fatal(err)
	}
	lun := LUN{Name: "disk0", Path: filepath.Join(dir, "isantarget-data/disk0.img"), Size: 10 << 30, Overcommit: Warn, SpaceThreshold: 80, BlockSize: 512, WriteCache: true}
	if len(c.LUNs) != 1 || !reflect.DeepEqual(c.LUNs[0], lun) {
		t.Errorf("LUNs %+v, want %+v", c.LUNs, lun)
	}
	if c.State != filepath.Join(dir, "isantarget-data") || c.PortalGroups[0].Listen[0] != DefaultPortal {
		t.Errorf("state %q, portals %v", c.State, c.PortalGroups)
	}
	if len(c.Targets) != 1 || c.Targets[0].Name != DefaultTarget || c.Targets[0].LUNs[0] != "disk0" || c.Targets[0].Effective() != Loopback {
		t.Errorf("targets %+v", c.Targets)
	}
	for path, want := range map[string]string{ // what can fail later names the flag that would help
		"portal-group[0].listen[0]": "--portal 127.0.0.1:3260", "state": "--state isantarget-data", "lun[0]": "--lun disk0=isantarget-data/disk0.img,size=10GiB,overcommit=warn",
	} {
		if got := c.Where(path); got != want {
			t.Errorf("Where(%s) = %q, want %q", path, got, want)
		}
	}
	if w := c.Warnings(); len(w) != 0 {
		t.Errorf("warnings: %q", w)
	}
}

func TestAllFlags(t *testing.T) {
	c, err := FromFlags(Flags{
		State: "/state", Portals: []string{"127.0.0.1:0", "[::1]:0"}, Target: "iqn.2026-11.org.example:x",
		LUNs: []string{
			"a=/a,size=1GiB,provisioning=fixed,block-size=4096,physical-block-size=4096,readonly,removable,direct,write-cache=off,serial=S,overcommit=allow,space-threshold=0",
			"b=/b", "c=,kind=memory,size=1MiB",
		},
		Access: "open", CHAP: "u:/chap", MutualCHAP: "m:/mutual:with:colons", LogFormat: "json", LogLevel: "debug",
	})
	if err != nil {
		t.Fatal(err)
	}
	a := LUN{Name: "a", Path: "/a", Size: 1 << 30, Provisioning: Fixed, BlockSize: 4096, PhysicalBlockSize: 4096, ReadOnly: true, Removable: true, Direct: true, Serial: "S", Overcommit: Allow}
	if !reflect.DeepEqual(c.LUNs[0], a) {
		t.Errorf("a: %+v, want %+v", c.LUNs[0], a)
	}
	if l := c.LUNs[2]; l.Kind != Memory || l.Path != "" {
		t.Errorf("c: %+v", l)
	}
	g := c.PortalGroups
	if len(g) != 1 || len(g[0].Listen) != 2 || g[0].Listen[1] != "[::1]:0" {
		t.Errorf("portal groups: %+v", g)
	}
	target := c.Targets[0]
	if target.Name != "iqn.2026-11.org.example:x" || target.Access != Open || *target.CHAP != (Credential{User: "u", SecretFile: "/chap"}) ||
		*target.MutualCHAP != (Credential{User: "m", SecretFile: "/mutual:with:colons"}) {
		t.Errorf("target: %+v %+v %+v", target, target.CHAP, target.MutualCHAP)
	}
	if target.LUNs[0] != "a" || target.LUNs[1] != "b" || target.LUNs[2] != "c" {
		t.Errorf("LUN numbers: %v", target.LUNs)
	}
	if c.Log != (Log{"json", "debug"}) || c.State != "/state" {
		t.Errorf("log %+v, state %q", c.Log, c.State)
	}
}

func TestFlagErrors(t *testing.T) {
	for _, c := range []struct {
		flags Flags
		want  string
	}{
		{Flags{LUNs: []string{"a"}}, `--lun a: wants NAME=PATH, as in --lun disk1=/srv/disk1.img,size=10GiB`},
		{Flags{LUNs: []string{"=/a"}}, `--lun =/a: wants NAME=PATH, as in --lun disk1=/srv/disk1.img,size=10GiB`},
		{Flags{LUNs: []string{"a=/a,sise=1GiB"}}, `--lun a=/a,sise=1GiB: sise: unknown key; did you mean size?`},
		{Flags{LUNs: []string{"a=/a,size=1G"}}, `--lun a=/a,size=1G: size: "1G" may mean powers of two or of ten; write 1GiB or 1GB`},
		{Flags{LUNs: []string{"a=/a,size"}}, `--lun a=/a,size: size: "on" is not a size; write a number and its unit, as 10GiB or 500GB`},
		{Flags{LUNs: []string{"a=/a,size=1GiB,size=2GiB"}}, `--lun a=/a,size=1GiB,size=2GiB: says size twice`},
		{Flags{LUNs: []string{"a=/a,block-size=x"}}, `--lun a=/a,block-size=x: block-size: "x" is not a number`},
		{Flags{LUNs: []string{"a=/a,block-size=1024"}}, `--lun a=/a,block-size=1024: block-size: 1024 is not a block size; write 512 or 4096`},
		{Flags{LUNs: []string{"a=/a,write-cache=maybe"}}, `--lun a=/a,write-cache=maybe: write-cache: "maybe" is not a switch; write on or off`},
		{Flags{LUNs: []string{"a=/a,provisioning=spars"}}, `--lun a=/a,provisioning=spars: provisioning: "spars" is not known; did you mean sparse?`},
		{Flags{LUNs: []string{"a=/a", "a=/b"}}, `--lun a=/b: name: LUN "a" is already at --lun a=/a`},
		{Flags{LUNs: []string{"a=/a", "b=/a"}}, `--lun b=/a: a LUN on /a is already at --lun a=/a`},
		{Flags{LUNs: []string{"a="}}, `--lun a=: LUN "a" has no medium; write NAME=PATH`},
		{Flags{Portals: []string{"localhost:3260"}}, `--portal localhost:3260: "localhost:3260" is not an IP address and port; write it as "192.0.2.1:3260" or "[2001:db8::1]:3260"`},
		{Flags{Access: "all"}, `--access all: "all" is not known; known: open, loopback`},
		{Flags{LogLevel: "loud"}, `--log-level loud: "loud" is not known; known: error, warn, info, debug`},
		{Flags{CHAP: "hunter2hunter2"}, `--chap: wants USER:FILE, where FILE holds the secret`},
		{Flags{CHAP: ":hunter2"}, `--chap: wants USER:FILE, where FILE holds the secret`},
		{Flags{MutualCHAP: "u:/f"}, `--mutual-chap: goes only with chap (RFC 7143 12.1.3); add --chap USER:FILE`},
	} {
		_, err := FromFlags(c.flags)
		if err == nil || err.Error() != c.want {
			t.Errorf("%+v:\n got %v\nwant %s", c.flags, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v shows a secret", err)
		}
	}
}

// FuzzFlags: whatever a flag says, there is a configuration or an error that is
// one line for each thing wrong.
func FuzzFlags(f *testing.F) {
	f.Add("a=/a,size=1GiB,readonly", "127.0.0.1:3260", "iqn.2026-11.org.example:a", "u:/f")
	f.Add("a=,kind=memory,size=1", "[::1%lo]:0", "", ":")
	f.Fuzz(func(t *testing.T, lun, portal, target, chap string) {
		_, err := FromFlags(Flags{LUNs: []string{lun}, Portals: []string{portal}, Target: target, CHAP: chap})
		if err != nil && err.Error() == "" {
			t.Error("an error without a word")
		}
	})
}
