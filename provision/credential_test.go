package provision

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/isantarget/isantarget/configs"
)

// A configuration that names a pipe, a device or a directory in the place of a secret, a
// certificate or a key is refused: nobody waits for it, and it is not read.
func TestSecretsAreFiles(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{pipe, "/dev/zero", t.TempDir()} {
		want := configs.Config{
			State: t.TempDir(), Discovery: configs.Discovery{CHAP: &configs.Credential{User: "u", SecretFile: name}},
			Admin: configs.Admin{TLSCert: name, TLSKey: name, Tokens: []configs.AdminToken{{Name: "t", Scope: configs.ReadScope, File: name}}},
		}
		ended := make(chan error, 1)
		go func() {
			_, err := Check(want)
			ended <- err
		}()
		select {
		case err := <-ended:
			if err == nil || strings.Count(err.Error(), "is not a file with a secret") != 2 || !strings.Contains(err.Error(), errNoFile.Error()) {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("%s: it is waited for", name)
		}
	}
}
