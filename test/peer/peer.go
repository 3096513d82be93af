package peer

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A Package is a Debian package and what it brings to the tests.
type Package struct {
	Name     string   // the package's name in Debian 12
	Programs []string // programs it puts on PATH that the tests call
	Files    []string // files it brings besides, as globs; each must match
	Purpose  string   // what the tests want it for
	Alone    bool     // its programs are taken out of it, without what it depends on and the service that it would start
}

// Packages lists every Debian package the tests use, besides Go and git.
func Packages() []Package {
	return []Package{
		{Name: "gcc", Programs: []string{"cc"}, Purpose: "the race detector; the shim that makes silent skips of iscsi-test-cu visible"},
		{Name: "libc6-dev", Files: []string{"/usr/include/stdio.h"}, Purpose: "the race detector; the shim that makes silent skips of iscsi-test-cu visible"},
		{Name: "libiscsi-bin", Programs: []string{"iscsi-test-cu", "iscsi-ls", "iscsi-inq"}, Purpose: "libiscsi's conformance suite"},
		{Name: "tgt", Programs: []string{"tgtd", "tgtadm", "tgt-admin"}, Purpose: "another target, whose configuration and disks move here"},
		{Name: "istgt", Programs: []string{"istgt"}, Purpose: "another target, whose configuration and disks move here"},
		{Name: "open-isns-server", Programs: []string{"isnsd"}, Purpose: "the iSNS server with which targets are registered"},
		{Name: "open-isns-utils", Programs: []string{"isnsadm"}, Purpose: "what initiators find in an iSNS server"},
		{Name: "qemu-utils", Programs: []string{"qemu-img", "qemu-io"}, Purpose: "QEMU's block layer as an initiator"},
		{Name: "qemu-block-extra", Files: []string{"/usr/lib/*/qemu/block-iscsi.so"}, Purpose: "QEMU's block layer as an initiator"},
		{Name: "qemu-system-x86", Programs: []string{"qemu-system-x86_64"}, Purpose: "the guest with the Linux initiator"},
		{Name: "mmdebstrap", Programs: []string{"mmdebstrap"}, Purpose: "building the guest"},
		{Name: "e2fsprogs", Programs: []string{"mke2fs"}, Purpose: "building the guest"},
		{Name: "xfsprogs", Programs: []string{"mkfs.xfs"}, Purpose: "file systems that are filled, and that lose power"},
		{Name: "systemd-container", Programs: []string{"systemd-nspawn"}, Purpose: "the machine that the Debian package is installed on"},
		{Name: "systemd", Files: []string{"/lib/systemd/systemd"}, Purpose: "the machine that the Debian package is installed on"},
		{Name: "cpio", Programs: []string{"cpio"}, Purpose: "building the guest"},
		{Name: "chromium", Programs: []string{"chromium"}, Purpose: "the web page in a browser"},
		{Name: "zsh", Programs: []string{"zsh"}, Purpose: "completing command lines"},
		{Name: "fish", Programs: []string{"fish"}, Purpose: "completing command lines"},
		{Name: "prometheus", Programs: []string{"promtool"}, Purpose: "the alert rules, as Prometheus reads them", Alone: true},
		{Name: "xz-utils", Programs: []string{"xz"}, Purpose: "building the guest"},
	}
}

// Missing returns what p lacks on this machine, in words; it is empty when p is complete.
func (p Package) Missing() string {
	var lacks []string
	for _, program := range p.Programs {
		if _, err := exec.LookPath(program); err != nil {
			lacks = append(lacks, program)
		}
	}
	for _, glob := range p.Files {
		if found, err := filepath.Glob(glob); err != nil || len(found) == 0 {
			lacks = append(lacks, glob)
		}
	}
	return strings.Join(lacks, ", ")
}

// Lacking says which of the named Debian packages is not complete on this machine, and what to do; it is empty when all
// are. It panics on a name that [Packages] does not list.
func Lacking(names ...string) string {
	known := make(map[string]Package)
	for _, p := range Packages() {
		known[p.Name] = p
	}
	for _, name := range names {
		p, ok := known[name]
		if !ok {
			panic(fmt.Sprintf("peer: no package %q", name))
		}
		if lacks := p.Missing(); lacks != "" {
			return fmt.Sprintf("needs %s, which is not on this machine (apt-get install %s)", lacks, name)
		}
	}
	return ""
}

// Need skips the test, saying why, unless each of the named Debian packages is complete on this machine.
func Need(t testing.TB, names ...string) {
	t.Helper()
	if lacking := Lacking(names...); lacking != "" {
		t.Skip(lacking)
	}
}
