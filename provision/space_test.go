package provision

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isantarget/isantarget/internal/loopdevice"
)

const mib = 1 << 20

// stores are two stores on one file system with a policy, and LUNs in them: STORE/NAME of so many MiB.
func stores(t *testing.T, folder, policy string, luns ...string) string {
	t.Helper()
	var b strings.Builder
	for _, s := range []string{"one", "two"} {
		if err := os.MkdirAll(filepath.Join(folder, s), 0o755); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "[[store]]\nname = %q\npath = %q\novercommit = %q\n", s, filepath.Join(folder, s), policy)
	}
	for i, l := range luns {
		var store string
		var size int
		if _, err := fmt.Sscanf(l, "%s %d", &store, &size); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "[[lun]]\nname = \"lun%d\"\nstore = %q\nsize = \"%dMiB\"\n", i, store, size)
	}
	return b.String()
}

// TestOvercommitIsRefused: images of two stores on one file system are counted together, and once each.
func TestOvercommitIsRefused(t *testing.T) {
	for _, kind := range []string{"ext4", "btrfs"} {
		t.Run(kind, func(t *testing.T) {
			folder, dir := loopdevice.FileSystem(t, kind, 256*mib), t.TempDir()
			d := start(t, dir, stores(t, folder, "refuse", "one 60", "two 60"))
			before := len(images(t, folder))
			_, err := d.Apply(context.Background(), parse(t, dir, stores(t, folder, "refuse", "one 60", "two 60", "one 30", "two 150")))
			if err == nil || !strings.Contains(err.Error(), `LUN "lun3" would be promised 150 MiB of `+filepath.Join(folder, "two")) ||
				!strings.Contains(err.Error(), "owes the images in it 150 MiB: take at most ") || !strings.Contains(err.Error(), `overcommit = "allow" for the store "two"`) {
				t.Fatalf("a promise of 300 MiB on a file system of 256 gave the error %v", err)
			}
			if strings.Contains(err.Error(), "lun2") {
				t.Errorf("the LUN that fits is refused too: %v", err)
			}
			if after := images(t, folder); len(after) != before {
				t.Errorf("there are images of the refused configuration: %v", after)
			}
			if _, err := d.Apply(context.Background(), parse(t, dir, stores(t, folder, "refuse", "one 60", "two 60", "one 30"))); err != nil {
				t.Errorf("what fits is refused: %v", err)
			}
		})
	}
}

func images(t *testing.T, folder string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(folder, "*", "*.img"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestOvercommitIsWarnedOfOrAllowed: the policy lets it pass, with or without a word.
func TestOvercommitIsWarnedOfOrAllowed(t *testing.T) {
	for policy, want := range map[string][]string{
		"warn":  {"would be promised 150 MiB", "owes the images in it 210 MiB"},
		"allow": nil,
	} {
		t.Run(policy, func(t *testing.T) {
			folder := loopdevice.FileSystem(t, "ext4", 128*mib)
			d := start(t, t.TempDir(), stores(t, folder, policy, "one 60", "two 150"))
			all := strings.Join(d.report.Warnings, "\n")
			for _, w := range want {
				if !strings.Contains(all, w) {
					t.Errorf("the warnings have no %q:\n%s", w, all)
				}
			}
			if want == nil && strings.Contains(all, "promised") {
				t.Errorf("it warns of what is allowed:\n%s", all)
			}
		})
	}
}

// TestWhatExistsIsServed: nobody is locked out by a policy; but the operator hears of it.
func TestWhatExistsIsServed(t *testing.T) {
	folder, dir := loopdevice.FileSystem(t, "ext4", 128*mib), t.TempDir()
	text := func(policy string) string { return stores(t, folder, policy, "one 60", "two 150") }
	first := newDaemon()
	if _, err := first.Apply(context.Background(), parse(t, dir, text("allow"))); err != nil {
		t.Fatal(err)
	}
	first.stop(t)
	d := start(t, dir, text("refuse"))
	if all := strings.Join(d.report.Warnings, "\n"); !strings.Contains(all, "owes the images in it 210 MiB") {
		t.Errorf("the warnings do not tell of what was promised:\n%s", all)
	}
}

// TestAdmit: what is asked before an image is made bigger.
func TestAdmit(t *testing.T) {
	folder, dir := loopdevice.FileSystem(t, "ext4", 256*mib), t.TempDir()
	d := start(t, dir, stores(t, folder, "refuse", "one 60", "two 60")+
		fmt.Sprintf("[[lun]]\nname = \"bare\"\npath = %q\nsize = \"1MiB\"\novercommit = \"warn\"\n", filepath.Join(folder, "bare.img"))+
		"[[lun]]\nname = \"memory\"\nkind = \"memory\"\nsize = \"1MiB\"\n")
	for _, c := range []struct {
		lun     string
		grow    int64
		warning bool
		refused string
	}{
		{lun: "lun0", grow: 40 * mib},
		{lun: "lun0", grow: 300 * mib, refused: `overcommit = "allow" for the store "one"`},
		{lun: "bare", grow: 300 * mib, warning: true},
		{lun: "memory", grow: 1 << 40},
		{lun: "nobody", grow: 1, refused: `there is no LUN "nobody"`},
	} {
		warning, err := d.Admit(c.lun, c.grow)
		if (warning != "") != c.warning || (err != nil) != (c.refused != "") || err != nil && !strings.Contains(err.Error(), c.refused) {
			t.Errorf("Admit(%s, %d) = %q, %v", c.lun, c.grow, warning, err)
		}
	}
	// What is written is owed no more, but it is not there any more either.
	if err := os.WriteFile(filepath.Join(folder, "filler"), make([]byte, 100*mib), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Admit("lun0", 40*mib); err == nil {
		t.Error("others have taken the space, and it is promised nevertheless")
	}
}

// TestReadOnlyOwesNothing: what nobody can write will take no space.
func TestReadOnlyOwesNothing(t *testing.T) {
	folder, dir := loopdevice.FileSystem(t, "ext4", 128*mib), t.TempDir()
	for _, s := range []string{"one", "two"} {
		path := filepath.Join(folder, s, "lun0.img")
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o600), os.Truncate(path, 1<<30)); err != nil {
			t.Fatal(err)
		}
	}
	d := start(t, dir, stores(t, folder, "refuse", "one 1")+"readonly = true\n")
	if all := strings.Join(d.report.Warnings, "\n"); strings.Contains(all, "owes") {
		t.Errorf("it warns of an image that cannot be written:\n%s", all)
	}
	if got, err := d.Admit("lun0", 10*mib); got != "" || err != nil {
		t.Errorf("Admit: %q, %v", got, err)
	}
}
