package peer

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTakeHasTheProgramsAndNothingElse(t *testing.T) {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, name := range []string{"./usr/bin/", "./usr/share/doc/tool", "./usr/bin/other", "./usr/bin/tool", "./usr/share/tool"} {
		h := tar.Header{Name: name, Mode: 0o755, Typeflag: tar.TypeReg, Size: int64(len(name))}
		if strings.HasSuffix(name, "/") {
			h.Typeflag, h.Size = tar.TypeDir, 0
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := w.Write([]byte(name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := take(bytes.NewReader(archive.Bytes()), []string{"tool"}, dir); err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadDir(dir)
	if err != nil || len(list) != 1 {
		t.Fatalf("there are %v, %v", list, err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "tool")); err != nil || string(text) != "./usr/bin/tool" {
		t.Errorf("the program is %q, %v", text, err)
	}
	if info, err := list[0].Info(); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("its mode is %v, %v", info, err)
	}
	if err := take(bytes.NewReader(archive.Bytes()), []string{"tool", "missing"}, dir); err == nil || !strings.Contains(err.Error(), `it has no ["missing"]`) {
		t.Errorf("a program that is not there: %v", err)
	}
	if err := take(bytes.NewReader(archive.Bytes()[:700]), []string{"tool"}, dir); err == nil {
		t.Error("half an archive is enough")
	}
}
