package configs

import (
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestParseFault(t *testing.T) {
	for text, want := range map[string]Fault{
		"error=EIO":                          {Kind: FaultError, Errno: syscall.EIO},
		"error=enospc:on=write:rate=1%":      {Kind: FaultError, Errno: syscall.ENOSPC, On: []string{"write"}, Rate: 0.01},
		"delay=500ms on=read+sync count=3":   {Kind: FaultDelay, Delay: 500 * time.Millisecond, On: []string{"read", "sync"}, Count: 3},
		"torn lba=100-199 after=10":          {Kind: FaultTorn, Blocks: true, First: 100, Length: 100, After: 10},
		"short lba=7":                        {Kind: FaultShort, Blocks: true, First: 7, Length: 1},
		"short lba=7-":                       {Kind: FaultShort, Blocks: true, First: 7},
		"short at=1MiB+64KiB":                {Kind: FaultShort, First: 1 << 20, Length: 64 << 10},
		"lost-sync":                          {Kind: FaultLostSync},
		"power-cut=50% on=write rate=0.0001": {Kind: FaultPowerCut, Keep: 0.5, On: []string{"write"}, Rate: 0.0001},
	} {
		f, err := ParseFault(text)
		if err != nil || !reflect.DeepEqual(f, want) {
			t.Errorf("%s: %+v, %v; want %+v", text, f, err, want)
			continue
		}
		if again, err := ParseFault(f.String()); err != nil || !reflect.DeepEqual(again, f) {
			t.Errorf("%s: written as %q, which is %+v, %v", text, f, again, err)
		}
	}
	for text, complaint := range map[string]string{
		"":                      "missing",
		"eror=EIO":              "did you mean error?",
		"error=EOI":             "known: EACCES",
		"error":                 "not an error of a store",
		"delay":                 "not a time",
		"delay=-1s":             "not a time",
		"torn=3":                "takes no value",
		"torn on=writ":          "did you mean write?",
		"torn rate=200%":        "not a chance",
		"torn rate=NaN":         "not a chance",
		"torn lba=5-4":          "not a range of blocks",
		"torn lba=x":            "not a range of blocks",
		"torn at=1MiB+":         "not a range of bytes",
		"torn lba=1 at=1MiB":    "keep one",
		"torn count=1 count=2":  "twice",
		"torn cuont=1":          "did you mean count?",
		"torn count=-1":         "not a number",
		"power-cut=half":        "not a chance",
		"delay=1s on=read+read": "",
	} {
		_, err := ParseFault(text)
		if complaint == "" {
			if err != nil {
				t.Errorf("%q: %v", text, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), complaint) {
			t.Errorf("%q: %v, want %q", text, err, complaint)
		}
	}
}

func TestLayers(t *testing.T) {
	c, err := Parse("x.toml", "/", `
[[lun]]
name = "a"
path = "a.img"
size = "1MiB"
[[lun.layer]]
kind = "fault"
faults = ["error=EIO on=read lba=3", "lost-sync"]
`)
	if err != nil {
		t.Fatal(err)
	}
	if l := c.LUNs[0].Layers; len(l) != 1 || l[0].Kind != FaultLayer || len(l[0].Faults) != 2 || l[0].Faults[0].First != 3 {
		t.Errorf("layers %+v", l)
	}
	if w := strings.Join(c.Warnings(), "\n"); !strings.Contains(w, "x.toml:8: LUN a breaks on purpose") {
		t.Errorf("warnings %q", w)
	}
	for text, complaint := range map[string]string{
		`faults = ["torn"]`:                   "has no kind",
		"kind = \"falt\"":                     "did you mean fault?",
		"kind = \"fault\"\nfaults = [\"x\"]":  "is not known",
		"kind = \"fault\"\nfaults = \"torn\"": "list in square brackets",
	} {
		_, err := Parse("x.toml", "/", "[[lun]]\nname = \"a\"\npath = \"a.img\"\n[[lun.layer]]\n"+text)
		if err == nil || !strings.Contains(err.Error(), complaint) {
			t.Errorf("%q: %v, want %q", text, err, complaint)
		}
	}
}

func TestFaultFlags(t *testing.T) {
	c, err := FromFlags(Flags{LUNs: []string{"a=,kind=memory,size=1MiB,fault=error=EIO:on=read:rate=1%,fault=torn"}})
	if err != nil {
		t.Fatal(err)
	}
	l := c.LUNs[0].Layers
	if len(l) != 1 || l[0].Kind != FaultLayer || len(l[0].Faults) != 2 || l[0].Faults[0].Rate != 0.01 || l[0].Faults[1].Kind != FaultTorn {
		t.Errorf("layers %+v", l)
	}
	if c, err = FromFlags(Flags{LUNs: []string{"a=,kind=memory,size=1MiB,fault"}}); err != nil || len(c.LUNs[0].Layers) != 1 || len(c.LUNs[0].Layers[0].Faults) != 0 {
		t.Errorf("a layer without faults: %+v, %v", c.LUNs, err)
	}
	_, err = FromFlags(Flags{LUNs: []string{"a=,kind=memory,size=1MiB,fault=tron"}})
	if err == nil || !strings.Contains(err.Error(), "--lun a=") || !strings.Contains(err.Error(), "did you mean torn?") {
		t.Errorf("a wrong fault: %v", err)
	}
}
