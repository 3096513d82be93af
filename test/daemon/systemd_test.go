package daemon

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// unit is the service file with the binary of this test in it; systemd-analyze looks
// whether it is there.
func unit(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skipf("the unit file cannot be checked: %v", err)
	}
	text, err := os.ReadFile("../../configs/systemd/isantarget.service")
	if err != nil {
		t.Fatal(err)
	}
	const binary = "/usr/local/bin/isantarget"
	if n := strings.Count(string(text), "="+binary+" "); n != 2 {
		t.Fatalf("the unit file runs %s %d times, not to start and to reload", binary, n)
	}
	file := filepath.Join(t.TempDir(), "isantarget.service")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(text), binary, Binary())), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// systemd takes the unit file as it is, without a warning.
func TestUnitFile(t *testing.T) {
	file := unit(t)
	out, err := exec.Command("systemd-analyze", "verify", "--man=no", file).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, filepath.Base(file)) { // it warns of other units as well
			t.Error(strings.TrimSpace(line))
		}
	}
	if err != nil && !t.Failed() {
		t.Skipf("systemd-analyze verify does not work on this machine: %v: %s", err, out)
	}
}

// The unit leaves little for systemd-analyze to complain of: its exposure is printed, and
// no more than 2.0, "OK".
func TestUnitFileExposure(t *testing.T) {
	file := unit(t)
	out, err := exec.Command("systemd-analyze", "security", "--offline=yes", "--no-pager", "--threshold=20", file).CombinedOutput()
	exposure := regexp.MustCompile(`(?m)^.*Overall exposure level.*$`).FindString(string(out))
	if exposure == "" {
		t.Skipf("systemd-analyze security --offline does not work on this machine: %v: %s", err, out)
	}
	t.Log(exposure)
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
