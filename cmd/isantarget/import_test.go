package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const foreign = `<target iqn.2026-11.org.example:a>
    backing-store /srv/a.img
    incominguser joe secret-of-joe
    MaxBurstLength 262144
</target>
`

// importing runs import with these arguments on a file of foreign.
func importing(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "targets.conf")
	if err := os.WriteFile(file, []byte(foreign), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, said bytes.Buffer
	status = run(append(append([]string{"isantarget", "import"}, args...), file), &out, &said)
	return status, out.String(), strings.ReplaceAll(said.String(), file, "targets.conf")
}

// TestImportWritesSecretsOnRequest: into files that their owner alone can read, and that
// are not overwritten; and never to the terminal.
func TestImportWritesSecretsOnRequest(t *testing.T) {
	status, out, said := importing(t)
	if status != 0 || !strings.Contains(said, "1 CHAP secrets are expected in "+defaultSecrets) {
		t.Errorf("status %d: %s", status, said)
	}
	dir := filepath.Join(t.TempDir(), "secrets")
	status, withSecrets, more := importing(t, "--secrets", dir, "--check")
	file := filepath.Join(dir, "joe.secret")
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	secret, _ := os.ReadFile(file)
	if status != 0 || info.Mode().Perm() != 0o600 || string(secret) != "secret-of-joe\n" || !strings.Contains(withSecrets, file) {
		t.Errorf("status %d, mode %v, secret %q:\n%s%s", status, info.Mode(), secret, withSecrets, more)
	}
	if strings.Contains(out+said+withSecrets+more, "secret-of-joe") {
		t.Errorf("the secret is printed:\n%s%s%s%s", out, said, withSecrets, more)
	}
	status, out, said = importing(t, "--secrets", dir)
	if status != 1 || out != "" || !strings.Contains(said, file+" is there already") {
		t.Errorf("once more: status %d: %s%s", status, out, said)
	}
}

// TestImportGivesSecretsToTheOwnerOfTheirFolder: the daemon that is to read them is not root.
func TestImportGivesSecretsToTheOwnerOfTheirFolder(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	dir := t.TempDir()
	if err := os.Chown(dir, 4711, 4712); err != nil {
		t.Fatal(err)
	}
	if status, _, said := importing(t, "--secrets", dir); status != 0 {
		t.Fatalf("status %d: %s", status, said)
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(dir, "joe.secret"), &st); err != nil || st.Uid != 4711 || st.Gid != 4712 {
		t.Errorf("the secret belongs to %d:%d, %v", st.Uid, st.Gid, err)
	}
}

func TestImportSaysWhatIsLeftOut(t *testing.T) {
	status, out, said := importing(t, "--from", "tgt")
	if want := `targets.conf:4: no equal, left out (of target "iqn.2026-11.org.example:a"): MaxBurstLength "262144"`; status != 0 || !strings.Contains(said, want) || !strings.Contains(out, `naa = "60000000000000000e00000000010001"`) {
		t.Errorf("status %d:\n%s%s", status, out, said)
	}
	if status, out, said = importing(t, "--from", "tgtd"); status != 1 || out != "" || !strings.Contains(said, `"tgtd" is no kind of configuration; did you mean tgt`) {
		t.Errorf("status %d: %s%s", status, out, said)
	}
}
