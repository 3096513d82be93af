package peer

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestMissingNamesWhatIsNotThere(t *testing.T) {
	p := Package{Name: "nothing", Programs: []string{"go", "no-such-program"}, Files: []string{"/no/such/*.so", "/etc/passwd"}}
	if got, want := p.Missing(), "no-such-program, /no/such/*.so"; got != want {
		t.Errorf("Missing() = %q, want %q", got, want)
	}
}

func TestPackagesAreWhole(t *testing.T) {
	seen := make(map[string]bool)
	for _, p := range Packages() {
		if p.Name == "" || p.Purpose == "" || len(p.Programs)+len(p.Files) == 0 {
			t.Errorf("%+v lacks a name, a purpose or what to look for", p)
		}
		if seen[p.Name] {
			t.Errorf("%s is listed twice", p.Name)
		}
		seen[p.Name] = true
	}
}

func TestInstallObeysTheSwitch(t *testing.T) {
	t.Setenv("ISANTARGET_TEST_INSTALL", "0")
	t.Setenv("PATH", "/nonexistent")
	if err := Install(context.Background(), io.Discard); err != nil {
		t.Errorf("Install of nothing = %v", err)
	}
	err := Install(context.Background(), io.Discard, "gcc")
	if !errors.Is(err, ErrNotAllowed) || !strings.Contains(err.Error(), "ISANTARGET_TEST_INSTALL=0") {
		t.Errorf("Install with nothing on PATH and the switch off = %v, want ErrNotAllowed naming the switch", err)
	}
}
