package debian

import (
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isantarget/isantarget/test/peer"
)

//go:embed testdata/life.sh
var life string

// Build makes the package as `make deb` does, and returns its path.
func build(t *testing.T, version string) string {
	t.Helper()
	cmd := exec.Command("../../configs/debian/build", t.TempDir())
	cmd.Env = append(os.Environ(), "VERSION="+version, "SOURCE_DATE_EPOCH=1700000000")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", cmd, err)
	}
	return strings.TrimSpace(string(out))
}

// The package is installed, serves a disk, is brought up to date, removed, purged and installed again on a machine with
// systemd: the script says what must be so at each step.
func TestPackage(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it boots a container")
	}
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Skip("this is no Debian: there is no dpkg-deb")
	}
	peer.Need(t, "systemd-container", "systemd", "libiscsi-bin")
	first := build(t, "1.0")
	again := build(t, "1.0")
	if a, b := read(t, first), read(t, again); a != b {
		t.Error("the same tree makes other bytes the second time")
	}
	t.Log(Run(t, life, map[string]string{"one.deb": first, "two.deb": build(t, "1.1")}))
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Clean(file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
