package house

import (
	"path"
	"slices"
	"strings"
	"testing"
)

// A rule says what a package may import besides the standard library. SAM stands between protocol and medium and knows
// neither: scsi imports no iscsi and no backstore, target no backstore. Only target, provision, admin and cmd log.
type rule struct {
	of  string   // a package below the module's root, or a pattern of path.Match
	own []string // packages of this module, or patterns of path.Match; "..." is any
	ext []string // import paths of other modules, with everything below them
}

func rules() []rule {
	const (
		toml     = "github.com/BurntSushi/toml"
		distance = "github.com/agnivade/levenshtein"
		humanize = "github.com/dustin/go-humanize"
		logrus   = "github.com/sirupsen/logrus"
		gotgt    = "github.com/gostor/gotgt/pkg"
		sys      = "golang.org/x/sys"
		cli      = "github.com/urfave/cli"
		systemd  = "github.com/coreos/go-systemd"
		charts   = "github.com/go-analyze/charts"
		bar      = "github.com/schollz/progressbar/v3"
	)
	return []rule{
		{of: "iscsi"},
		{of: "meter"},
		{of: "scsi", own: []string{"meter"}},
		{of: "scsi/spc", own: []string{"scsi"}},
		{of: "scsi/sbc", own: []string{"scsi", "scsi/spc", "backstore", "meter"}},
		{of: "backstore"},
		{of: "backstore/gotgt", own: []string{"backstore", "backstore/internal/*"}, ext: []string{sys, gotgt}},
		{of: "backstore/snapshot", own: []string{"backstore", "backstore/file", "backstore/internal/*"}, ext: []string{sys}},
		{of: "backstore/*", own: []string{"backstore", "backstore/internal/*"}, ext: []string{sys}},
		{of: "backstore/internal/*", own: []string{"backstore", "backstore/internal/*"}, ext: []string{sys}},
		{of: "configs", ext: []string{toml, distance, humanize}},
		{of: "importer", own: []string{"configs"}},
		{of: "job"},
		{of: "guess"},
		{of: "isns"},
		{of: "dns"},
		{of: "state", own: []string{"scsi"}, ext: []string{sys}},
		{of: "target", own: []string{"iscsi", "scsi", "meter", "guess"}, ext: []string{logrus, sys}},
		{of: "internal/initiator", own: []string{"iscsi"}},
		{of: "internal/loopdevice", ext: []string{sys}},
		{of: "admin/page"},
		{of: "provision", own: []string{"configs", "target", "iscsi", "scsi", "scsi/*", "backstore", "backstore/*", "state", "job", "meter", "isns", "dns"}, ext: []string{logrus, sys, humanize}},
		{of: "metrics", own: []string{"provision", "job", "meter", "scsi", "target"}, ext: []string{"github.com/prometheus/client_golang"}},
		{of: "admin", own: []string{"configs", "provision", "job", "metrics", "guess"}, ext: []string{logrus, sys}},
		{of: "doctor", own: []string{"iscsi", "scsi", "internal/initiator", "admin", "provision"}, ext: []string{sys, humanize}},
		{of: "cmd/*", own: []string{"..."}, ext: []string{toml, cli, logrus, systemd, sys, humanize, bar}},
		{of: "bench", own: []string{"bench/*"}, ext: []string{sys}},
		{of: "bench/chart", own: []string{"bench/*"}, ext: []string{charts}},
		{of: "bench/*", own: []string{"bench/*", "iscsi", "scsi", "internal/initiator"}, ext: []string{sys}},
		{of: "test/outage/appliance", ext: []string{sys}},
		{of: "test/*", own: []string{"..."}, ext: []string{sys}},
	}
}

// ruleOf returns the first rule whose pattern covers a package.
func ruleOf(pkg string) (rule, bool) {
	for _, r := range rules() {
		if ok, _ := path.Match(r.of, pkg); ok {
			return r, true
		}
	}
	return rule{}, false
}

func (r rule) allows(imported listed) bool {
	if imported.own() {
		return slices.ContainsFunc(r.own, func(pattern string) bool {
			ok, _ := path.Match(pattern, imported.path())
			return ok || pattern == "..."
		})
	}
	return slices.ContainsFunc(r.ext, func(prefix string) bool {
		return imported.ImportPath == prefix || strings.HasPrefix(imported.ImportPath, prefix+"/")
	})
}

// Dependencies point one way. A package the table does not know has no place in the house yet.
func TestImports(t *testing.T) {
	m := load(t)
	m.each(t, func(t *testing.T, p listed) {
		r, ok := ruleOf(p.path())
		if !ok {
			t.Fatalf("no rule says what %s may import; see docs/architecture.md and add one", p.path())
		}
		for _, name := range p.Imports {
			imported := m.packages[name]
			if !imported.Standard && name != "C" && name != "unsafe" && !r.allows(imported) {
				t.Errorf("%s may not import %s", p.path(), name)
			}
		}
	})
}

// A package is named for what it is.
func TestPackageNames(t *testing.T) {
	for _, name := range load(t).order {
		for _, element := range strings.Split(name, "/") {
			switch element {
			case "util", "utils", "common", "helper", "helpers", "misc", "types", "shared", "base", "lib", "pkg":
				t.Errorf("%s: %q names nothing in particular", name, element)
			}
		}
	}
}
