package configs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func parse(t *testing.T, text string) Config {
	t.Helper()
	c, err := Parse("san.toml", "/etc/isantarget", text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestEmptyFileHasDefaults(t *testing.T) {
	c := parse(t, "")
	if c.State != DefaultState || c.Log != (Log{Format: "text", Level: "info"}) {
		t.Errorf("state %q, log %+v", c.State, c.Log)
	}
	if len(c.PortalGroups) != 1 || c.PortalGroups[0].Tag != 1 || c.PortalGroups[0].Listen[0] != DefaultPortal {
		t.Errorf("portal groups %+v, want tag 1 on %s", c.PortalGroups, DefaultPortal)
	}
}

func TestEveryValueArrives(t *testing.T) {
	c := parse(t, `
state = "state"
log = { format = "json", level = "debug" }
[limits]
connections = 7
memory = "1GiB"
nop-interval = "1m30s"
[discovery]
chap = { user = "u", secret-file = "secret" }
[[portal-group]]
tag = 3
listen = ["192.0.2.1", "[2001:db8::1]:99", ":0"]
[[store]]
name = "tank"
path = "tank"
overcommit = "allow"
[[store]]
name = "pond"
path = "pond"
space-threshold = 0
[[lun]]
name = "a"
store = "tank"
size = 1048576
[[lun]]
name = "b"
store = "tank"
path = "deep/b.raw"
kind = "file"
size = "1024GB"
provisioning = "fixed"
direct = true
space-threshold = 65
block-size = 4096
physical-block-size = 8192
write-cache = false
readonly = true
removable = true
serial = "S-1"
[[target]]
name = "iqn.2026-11.org.example:a"
alias = "A"
portal-groups = [3]
luns = { 0 = "a", 16383 = "b" }
access = "open"
chap = { user = "u", secret-env = "SECRET" }
[[target.rule]]
label = "one"
initiators = ["iqn.x"]
networks = ["10.0.0.0/8", "2001:db8::1", "::ffff:10.1.2.3"]
hosts = ["PVE1.Example.org.", "pve2", "xn--bcher-kva.example"]
luns = {}
`)
	if c.State != "/etc/isantarget/state" || c.Discovery.CHAP.SecretFile != "/etc/isantarget/secret" {
		t.Errorf("relative paths: %q, %q", c.State, c.Discovery.CHAP.SecretFile)
	}
	if c.Log != (Log{"json", "debug"}) {
		t.Errorf("log: %+v", c.Log)
	}
	if l := c.Limits; l.Connections != 7 || l.Memory != 1<<30 || l.NopInterval != 90*time.Second || l.NopTimeout != 0 {
		t.Errorf("limits: %+v", l)
	}
	if got := c.PortalGroups[0].Listen; got[0] != "192.0.2.1:3260" || got[1] != "[2001:db8::1]:99" || got[2] != ":0" {
		t.Errorf("portals: %q", got)
	}
	a := LUN{Name: "a", Store: "tank", Path: "/etc/isantarget/tank/a.img", Size: 1 << 20, SpaceThreshold: 80, BlockSize: 512, WriteCache: true}
	if !reflect.DeepEqual(c.LUNs[0], a) {
		t.Errorf("lun a: %+v, want %+v", c.LUNs[0], a)
	}
	b := LUN{Name: "b", Kind: File, Store: "tank", Path: "/etc/isantarget/tank/deep/b.raw", Size: 1024e9, Provisioning: Fixed, Direct: true, SpaceThreshold: 65,
		BlockSize: 4096, PhysicalBlockSize: 8192, ReadOnly: true, Removable: true, Serial: "S-1"}
	if !reflect.DeepEqual(c.LUNs[1], b) {
		t.Errorf("lun b: %+v, want %+v", c.LUNs[1], b)
	}
	if want := []Store{{Name: "tank", Path: "/etc/isantarget/tank", Overcommit: Allow, SpaceThreshold: 80}, {Name: "pond", Path: "/etc/isantarget/pond"}}; !slices.Equal(c.Stores, want) {
		t.Errorf("stores %+v, want %+v", c.Stores, want)
	}
	target := c.Targets[0]
	if target.LUNs[0] != "a" || target.LUNs[16383] != "b" || target.Access != Open || target.CHAP.SecretEnv != "SECRET" || target.Alias != "A" {
		t.Errorf("target: %+v", target)
	}
	rule := target.Rules[0]
	if rule.LUNs == nil || len(rule.LUNs) != 0 {
		t.Errorf("an empty LUN map is %v, want one that hides all", rule.LUNs)
	}
	for i, want := range []string{"10.0.0.0/8", "2001:db8::1/128", "10.1.2.3/32"} {
		if rule.Networks[i].String() != want {
			t.Errorf("network %d: %v, want %s", i, rule.Networks[i], want)
		}
	}
	if want := []Host{"pve1.example.org", "pve2", "xn--bcher-kva.example"}; !slices.Equal(rule.Hosts, want) {
		t.Errorf("hosts %q, want %q", rule.Hosts, want)
	}
}

func TestEffectiveAccess(t *testing.T) {
	for _, c := range []struct {
		target Target
		want   Access
	}{
		{Target{}, Loopback},
		{Target{Access: Open}, Open},
		{Target{Rules: []Rule{{}}}, AccessDefault},
		{Target{Rules: []Rule{{}}, Access: Loopback}, Loopback},
	} {
		if got := c.target.Effective(); got != c.want {
			t.Errorf("Effective of %+v = %q, want %q", c.target, got, c.want)
		}
	}
}

// TestErrors has a wrong file a line; each says where, what and what to do.
func TestErrors(t *testing.T) {
	const lun0 = "[[lun]]\nname = \"a\"\n"
	const lun = lun0 + "path = \"/a\"\n"
	const store = "[[store]]\nname = \"tank\"\npath = \"/tank\"\n"
	const target = "[[target]]\nname = \"iqn.2026-11.org.example:a\"\n"
	for _, c := range []struct{ name, text, want string }{
		{"syntax", "state = \"a\"\nlog = = 1\n", `san.toml:2: expected value but found '=' instead`},
		{"duplicate key", "state = \"a\"\nstate = \"b\"\n", `san.toml:2: Key 'state' has already been defined.`},
		{"unknown key", "\nstat = \"a\"\n", `san.toml:2: stat: unknown key; did you mean state?`},
		{"unknown key in a table of an array", lun + "sise = \"1GiB\"\n", `san.toml:4: lun.sise: unknown key; did you mean size?`},
		{"unknown key in the second", lun + "[[lun]]\nname = \"b\"\nread_only = true\npath = \"/b\"", `san.toml:6: lun.read_only: unknown key; did you mean readonly?`},
		{"unknown key in an inline table", "[discovery]\nchap = { usr = \"u\", user = \"u\", secret-file = \"/s\" }", `san.toml:2: discovery.chap.usr: unknown key; did you mean user?`},
		{"unknown table", "[[portals]]\n", `san.toml:1: portals: unknown key; did you mean portal-group?`},
		{"nothing near", "[log]\nzzzzzzzzzzz = 1\n", `san.toml:2: log.zzzzzzzzzzz: unknown key; known: format, level`},
		{"wrong type", "state = 1\n", `san.toml:1: state: is a number, wants a text in quotes`},
		{"wrong type of a table", "log = 1\n", `san.toml:1: log: is a number, wants a table with the keys format, level`},
		{"one table where several are", "[lun]\nname = \"a\"\n", `san.toml:1: lun: is a table, wants a list of tables; write [[lun]]`},
		{"wrong boolean", lun + "readonly = \"yes\"\n", `san.toml:4: lun.readonly: is a text, wants true or false`},
		{"wrong number", lun + "block-size = \"512\"\n", `san.toml:4: lun.block-size: is a text, wants a number without quotes`},
		{"wrong time", "[limits]\nlogin-timeout = 15\n", `san.toml:2: limits.login-timeout: is a number, wants a time with its unit: "15s"`},
		{"no time", "[limits]\nlogin-timeout = \"15\"\n", `san.toml:2: limits.login-timeout: "15" is not a length of time; write a number and its unit, as "15s" or "2m"`},
		{"time out of range", "[limits]\nnop-interval = \"1ms\"\n", `san.toml:2: limits.nop-interval: 1ms is out of range; write "100ms" to "1h"`},
		{"limit out of range", "[limits]\nconnections-per-session = 5\n", `san.toml:2: limits.connections-per-session: 5 is out of range; write 1 to 4, or 0 for the default`},
		{"little memory", "[limits]\nmemory = \"1MiB\"\n", `san.toml:2: limits.memory: 1MiB is too little to serve anybody; write at least 16MiB`},
		{"choice", "[log]\nlevel = \"warning\"\n", `san.toml:2: log.level: "warning" is not known; did you mean warn?`},
		{"size without byte", lun + "size = \"10G\"\n", `san.toml:4: lun.size: "10G" may mean powers of two or of ten; write 10GiB or 10GB`},
		{"size of nothing", lun + "size = \"ten\"\n", `san.toml:4: lun.size: "ten" is not a size; write a number and its unit, as 10GiB or 500GB`},
		{"negative size", lun + "size = -1\n", `san.toml:4: lun.size: "-1" is not a size; write a number and its unit, as 10GiB or 500GB`},
		{"half a block", lun + "size = 1000\n", `san.toml:4: lun.size: 1000 bytes are not whole blocks of 512`},
		{"preallocate", lun + "provisioning = \"fixed\"\npreallocate = \"auto\"\n", `san.toml:5: lun.preallocate: is for sparse images, and LUN "a" is fixed: it has all its space; leave it out`},
		{"preallocate what", lun + "preallocate = \"on\"\n", `san.toml:4: lun.preallocate: "on" is not known; known: auto, off`},
		{"detect-zeroes", lun + "provisioning = \"fixed\"\ndetect-zeroes = true\n", `san.toml:5: lun.detect-zeroes: gives space back, and LUN "a" is fixed, to keep all it has; leave one of the two out`},
		{"overcommit", lun + "overcommit = \"maybe\"\n", `san.toml:4: lun.overcommit: "maybe" is not known; known: refuse, warn, allow`},
		{"overcommit in a store", store + lun0 + "store = \"tank\"\novercommit = \"allow\"\n", `san.toml:7: lun.overcommit: is for an image with a bare path; write it for the store "tank", which decides for all in it`},
		{"overcommit of memory", lun0 + "kind = \"memory\"\nsize = \"1MiB\"\novercommit = \"allow\"\n", `san.toml:5: lun.overcommit: is for images; LUN "a" is of kind memory`},
		{"space threshold", lun + "space-threshold = 100\n", `san.toml:4: lun.space-threshold: 100 is no percentage to be told of; write 1 to 99, or 0 for none`},
		{"space threshold of a store", store + "space-threshold = -1\n", `san.toml:4: store.space-threshold: -1 is no percentage to be told of; write 1 to 99, or 0 for none`},
		{"block size", lun + "block-size = 1024\n", `san.toml:4: lun.block-size: 1024 is not a block size; write 512 or 4096`},
		{"physical block size", lun + "physical-block-size = 3000\n", `san.toml:4: lun.physical-block-size: 3000 does not go with blocks of 512; write a power of two from 512 to 1048576`},
		{"provisioning", lun + "provisioning = \"thin\"\n", `san.toml:4: lun.provisioning: "thin" is not known; known: sparse, fixed`},
		{"provisioning of memory", "[[lun]]\nname = \"a\"\nkind = \"memory\"\nsize = \"1MiB\"\nprovisioning = \"sparse\"\n", `san.toml:5: lun.provisioning: is for files and block devices; LUN "a" is of kind memory`},
		{"direct memory", "[[lun]]\nname = \"a\"\nkind = \"memory\"\nsize = \"1MiB\"\ndirect = true\n", `san.toml:5: lun.direct: is for files and block devices; LUN "a" is of kind memory`},
		{"plugin of a file", lun + "plugin = \"file\"\n", `san.toml:4: lun.plugin: is for kind gotgt; LUN "a" is of another`},
		{"memory with a path", lun + "kind = \"memory\"\nsize = \"1MiB\"\n", `san.toml:1: lun: LUN "a" is of kind memory, which has no place; leave store and path out`},
		{"memory without a size", "[[lun]]\nname = \"a\"\nkind = \"null\"\n", `san.toml:1: lun: LUN "a" is of kind null and needs a size; add size = "1GiB"`},
		{"no medium", "[[lun]]\nname = \"a\"\n", `san.toml:1: lun: LUN "a" has no medium; add store = "..." or path = "/.../a.img"`},
		{"no name", "[[lun]]\npath = \"/a\"\n", `san.toml:1: lun: this LUN has no name; add name = "..."`},
		{"bad name", "[[lun]]\nname = \"a/b\"\npath = \"/a\"\n", `san.toml:2: lun.name: "a/b" cannot name a LUN; use up to 64 of a-z A-Z 0-9 . _ - and begin with a letter or digit`},
		{"hidden name", "[[lun]]\nname = \".a\"\npath = \"/a\"\n", `san.toml:2: lun.name: ".a" cannot name a LUN; use up to 64 of a-z A-Z 0-9 . _ - and begin with a letter or digit`},
		{"twice", lun + "[[lun]]\npath = \"/b\"\nname = \"a\"\n", `san.toml:6: lun.name: LUN "a" is already at san.toml:2`},
		{"same image", lun + "[[lun]]\nname = \"b\"\npath = \"/x/../a\"\n", `san.toml:4: lun: a LUN on /x/../a is already at san.toml:1`},
		{"same serial", lun + "serial = \"1\"\n[[lun]]\nname = \"b\"\npath = \"/b\"\nserial = \"1\"\n", `san.toml:8: lun.serial: the serial "1" is already at san.toml:4`},
		{"bad serial", lun + "serial = \"a\\t\"\n", `san.toml:4: lun.serial: "a\t" cannot be a serial; use up to 64 printable ASCII characters`},
		{"blank before the serial", lun + "serial = \" a\"\n", `san.toml:4: lun.serial: " a" cannot be a serial; it begins or ends with a blank`},
		{"no hexadecimal digits", lun + "naa = \"6g\"\n", `san.toml:4: lun.naa: "6g" is not a binary name; write its hexadecimal digits, or "none"`},
		{"short NAA name", lun + "naa = \"6001\"\n", `san.toml:4: lun.naa: "6001" has 4 digits; it wants 16 or 32`},
		{"NAA name of a kind that is longer", lun + "naa = \"6001405000000001\"\n", `san.toml:4: lun.naa: "6001405000000001" is not a NAA name; one of 16 digits begins with 2, 3 or 5, one of 32 with 6 (SPC-4 7.8.6.6)`},
		{"same NAA name", lun + "naa = \"3000000000000001\"\n[[lun]]\nname = \"b\"\npath = \"/b\"\nnaa = \"naa.30:00:00:00:00:00:00:01\"\n", `san.toml:8: lun.naa: the naa "3000000000000001" is already at san.toml:4`},
		{"T10 name without a name", lun + "t10 = \"IET     \"\n", `san.toml:4: lun.t10: "IET     " is not a T10 name; it has eight characters of the vendor, filled with blanks, and more behind them`},
		{"long vendor", lun + "vendor = \"ninechars\"\n", `san.toml:4: lun.vendor: "ninechars" cannot be a vendor; use up to 8 printable ASCII characters`},
		{"unknown store", "[[store]]\nname = \"tank\"\npath = \"/t\"\n[[lun]]\nname = \"a\"\nstore = \"tnak\"\n", `san.toml:6: lun.store: there is no store "tnak"; did you mean tank?`},
		{"out of the store", "[[store]]\nname = \"tank\"\npath = \"/t\"\n[[lun]]\nname = \"a\"\nstore = \"tank\"\npath = \"../a\"\n", `san.toml:7: lun.path: "../a" leaves the store "tank"; write a path below it, or leave store out`},
		{"store without a path", "[[store]]\nname = \"tank\"\n", `san.toml:1: store: store "tank" has no path; add path = "/srv/isantarget"`},
		{"no address", "[[portal-group]]\ntag = 1\nlisten = [\"example.com:3260\"]\n", `san.toml:3: portal-group.listen: "example.com:3260" is not an IP address and port; write it as "192.0.2.1:3260" or "[2001:db8::1]:3260"`},
		{"no port", "[[portal-group]]\ntag = 1\nlisten = [\n  \":1\",\n  \"192.0.2.1:65536\"]\n", `san.toml:5: portal-group.listen: "65536" is not a TCP port; write one of 1 to 65535, or 0 for a free one`},
		{"same portal", "[[portal-group]]\ntag = 1\nlisten = [\"192.0.2.1\"]\n[[portal-group]]\ntag = 2\nlisten = [\"192.0.2.1:3260\"]\n", `san.toml:6: portal-group.listen: the portal 192.0.2.1:3260 is already at san.toml:3`},
		{"same tag", "[[portal-group]]\ntag = 1\nlisten = [\":1\"]\n[[portal-group]]\ntag = 1\nlisten = [\":2\"]\n", `san.toml:5: portal-group.tag: portal group 1 is already at san.toml:2`},
		{"bad tag", "[[portal-group]]\ntag = 65536\nlisten = [\":1\"]\n", `san.toml:2: portal-group.tag: 65536 is not a portal group tag; write 1 to 65535`},
		{"deaf", "[[portal-group]]\ntag = 1\n", `san.toml:1: portal-group: portal group 1 listens nowhere; add listen = ["192.0.2.1:3260"]`},
		{"target without a name", "[[target]]\nalias = \"a\"\n", `san.toml:1: target: this target has no name; add name = "iqn.2026-11.org.example:disk"`},
		{"same target", target + "[[target]]\nname = \"IQN.2026-11.org.example:a\"\n", `san.toml:4: target.name: target IQN.2026-11.org.example:a is already at san.toml:2`},
		{"long alias", target + "alias = \"" + strings.Repeat("x", 256) + "\"\n", `san.toml:3: target.alias: is longer than 255 bytes (RFC 7143 13.6)`},
		{"unknown group", target + "portal-groups = [1, 2]\n", `san.toml:3: target.portal-groups: there is no portal group with the tag 2; there are 1`},
		{"unknown LUN", lun + target + "luns = { 0 = \"a\", 1 = \"A1\" }\n", `san.toml:6: target.luns.1: there is no LUN "A1"; did you mean a?`},
		{"LUN number", lun + target + "luns = { 16384 = \"a\" }\n", `san.toml:6: target.luns.16384: "16384" is not a LUN number; write one of 0 to 16383`},
		{"odd LUN number", lun + target + "luns = { 01 = \"a\" }\n", `san.toml:6: target.luns.01: "01" is not a LUN number; write one of 0 to 16383`},
		{"LUN twice", lun + target + "[target.luns]\n0 = \"a\"\n1 = \"a\"\n", `san.toml:8: target.luns.1: LUN "a" is already number 0 of this map; an initiator may see a disk once`},
		{"access", target + "access = \"all\"\n", `san.toml:3: target.access: "all" is not known; known: open, loopback`},
		{"rule for all", target + "[[target.rule]]\nlabel = \"all\"\n", `san.toml:3: target.rule: this rule admits everybody; name initiators, networks, hosts or chap, or write access = "open" for the target`},
		{"network", target + "[[target.rule]]\nnetworks = [\"10.0.0.1/8\"]\n", `san.toml:4: target.rule.networks: "10.0.0.1/8" has bits behind its length; write 10.0.0.0/8 for the network or 10.0.0.1 for the one address`},
		{"no network", target + "[[target.rule]]\nnetworks = [\"lan\"]\n", `san.toml:4: target.rule.networks: "lan" is not a network; write it as "10.1.0.0/16", "2001:db8::/32" or one address`},
		{"host by address", target + "[[target.rule]]\nhosts = [\"192.0.2.1\"]\n", `san.toml:4: target.rule.hosts: "192.0.2.1" is not a name; addresses stand in networks`},
		{"host by number", target + "[[target.rule]]\nhosts = [\"pve1.4\"]\n", `san.toml:4: target.rule.hosts: "pve1.4" is not a name; addresses stand in networks`},
		{"host by pattern", target + "[[target.rule]]\nhosts = [\"*.example.org\"]\n", `san.toml:4: target.rule.hosts: "*.example.org" is a pattern, and addresses are never asked for their names; write each host by its own`},
		{"no host", target + "[[target.rule]]\nhosts = [\"pve 1\"]\n", `san.toml:4: target.rule.hosts: "pve 1" is not the name of a host; write it as "host.example.org"`},
		{"empty host", target + "[[target.rule]]\nhosts = [\".\"]\n", `san.toml:4: target.rule.hosts: a host is missing; write its name: "host.example.org"`},
		{"host in other letters", target + "[[target.rule]]\nhosts = [\"bücher.example\"]\n", `san.toml:4: target.rule.hosts: "bücher.example" is not the name of a host; write it as "host.example.org"`},
		{"too many hosts", target + "[[target.rule]]\nhosts = [" + manyHosts(257) + "]\n", `san.toml:4: target.rule.hosts: is one host too many: all rules together may name 256; use networks`},
		{"DNS server by name", "[dns]\nserver = \"localhost\"\n", `san.toml:2: dns.server: "localhost" is not an IP address and port; write it as "192.0.2.1:53" or "[2001:db8::1]:53"`},
		{"DNS server without an address", "[dns]\nserver = \":53\"\n", `san.toml:2: dns.server: ":53" is not the address of a DNS server; write it as "192.0.2.53" or "192.0.2.53:5353"`},
		{"chap without a user", target + "chap = { secret-file = \"/s\" }\n", `san.toml:3: target.chap: has no user; add user = "..." of 1 to 255 bytes`},
		{"chap without a secret", target + "chap = { user = \"u\" }\n", `san.toml:3: target.chap: has no secret; add secret-file = "/etc/isantarget/secret" (or secret-env, the name of an environment variable)`},
		{"chap with two", target + "chap = { user = \"u\", secret-file = \"/s\", secret-env = \"S\" }\n", `san.toml:3: target.chap: has a secret-file and a secret-env; keep one`},
		{"secret in the file", target + "chap = { user = \"u\", secret = \"hunter2hunter2\" }\n", "san.toml:3: target.chap.secret: unknown key; did you mean secret-env?\n" +
			`san.toml:3: target.chap: has no secret; add secret-file = "/etc/isantarget/secret" (or secret-env, the name of an environment variable)`},
		{"mutual alone", target + "mutual-chap = { user = \"u\", secret-file = \"/s\" }\n", `san.toml:3: target.mutual-chap: goes only with chap (RFC 7143 12.1.3); add chap = { user = ..., secret-file = ... }`},
		{"chap for nobody", target + "chap = { user = \"u\", secret-file = \"/s\" }\n[[target.rule]]\nchap = { user = \"v\", secret-file = \"/t\" }\n",
			`san.toml:3: target.chap: nobody is asked for it: every rule has its own; leave it out or add access = "open"`},
		{"several, in the order of the lines", "stat = 1\n" + lun + "block-size = 1\nsise = 1\n[log]\nlevel = 1\n",
			"san.toml:1: stat: unknown key; did you mean state?\n" +
				"san.toml:5: lun.block-size: 1 is not a block size; write 512 or 4096\n" +
				"san.toml:6: lun.sise: unknown key; did you mean size?\n" +
				`san.toml:8: log.level: "1" is not known; known: error, warn, info, debug`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Parse("san.toml", "/etc/isantarget", c.text)
			if err == nil {
				t.Fatalf("no error; want\n%s\nin\n%s", c.want, c.text)
			}
			if err.Error() != c.want {
				t.Errorf("got\n%v\nwant\n%s\nin\n%s", err, c.want, c.text)
			}
			if len(got.LUNs) > 0 {
				t.Error("a configuration came with the error")
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Error("the error shows a secret")
			}
		})
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "san.toml")
	if _, err := Load(file); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), file) {
		t.Errorf("a missing file: %v", err)
	}
	if err := os.WriteFile(file, []byte("state = \"s\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(file)
	if err != nil || c.State != filepath.Join(dir, "s") {
		t.Errorf("state %q, %v, want it beside the file", c.State, err)
	}
	if w := c.Where("state"); w != file+":1" {
		t.Errorf("Where(state) = %q", w)
	}
	var one *Error
	if err := error(Errors{c.Errorf("state", "is %s", "wrong")}); !errors.As(err, &one) || one.Error() != file+":1: state: is wrong" {
		t.Errorf("Errorf: %v", one)
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]Size{
		"0": 0, "512": 512, "10GiB": 10 << 30, "1 TiB": 1 << 40, "64TiB": 64 << 40, "500GB": 500e9, "1.5GiB": 3 << 29,
		"9223372036854775807": 1<<63 - 1,
	} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%q: %d, %v, want %d", text, s, err, want)
		}
		written, _ := s.MarshalText()
		var again Size
		if err := again.UnmarshalText(written); err != nil || again != s {
			t.Errorf("%q written as %q reads as %d, %v", text, written, again, err)
		}
	}
	for _, text := range []string{"", "x", "-1", "1k", "10T", "9223372036854775808", "1e30GiB", "16EiB"} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is %d, want an error", text, s)
		}
	}
}

func TestWarnings(t *testing.T) {
	c := parse(t, `
[[portal-group]]
tag = 1
listen = [":3260"]
[[lun]]
name = "a"
path = "/a"
[[lun]]
name = "idle"
path = "/idle"
[[target]]
name = "iqn.2026-11.org.example:a"
luns = { 1 = "a" }
[[target]]
name = "iqn.2026-11.org.example:b"
access = "open"
`)
	got := strings.Join(c.Warnings(), "\n")
	want := `san.toml:11: target iqn.2026-11.org.example:a maps no LUN 0; some initiators look for the others only through it
san.toml:11: target iqn.2026-11.org.example:a admits this host only, although its portals are open to the network: say who may use it in a rule, or let everybody in with access = "open" (--access open)
san.toml:14: target iqn.2026-11.org.example:b has no LUNs
san.toml:8: LUN idle is mapped by no target`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// manyHosts are n names of hosts, for a list.
func manyHosts(n int) string {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("%q", fmt.Sprintf("h%d.example.org", i)))
	}
	return strings.Join(names, ", ")
}
