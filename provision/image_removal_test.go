package provision

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/configs"
)

// doomed is the folder of a daemon that is to be killed while it deletes a LUN with its image.
const doomed = "ISANTARGET_TEST_DOOMED"

// killing ends the process when it is told that a LUN was removed: its record is gone then,
// and its image is not.
type killing struct{}

func (killing) Levels() []logrus.Level { return logrus.AllLevels }
func (killing) Fire(e *logrus.Entry) error {
	if strings.Contains(e.Message, "LUN b removed") {
		return unix.Kill(os.Getpid(), unix.SIGKILL)
	}
	return nil
}

// A daemon that is killed while it deletes a LUN with its image removes that when it starts again, with
// all that was noted of it; but no other file that has come into its place.
func TestDeletedImageIsGoneAfterKill(t *testing.T) {
	if dir := os.Getenv(doomed); dir != "" {
		s := newSides(t, dir, person)
		s.mustPut(t, lun(t, "b"))
		s.log.Logger.AddHook(killing{})
		_, err := s.Change(t.Context(), Batch{Deletes: []Delete{{Table: configs.LUNTable, Name: "b", Version: AnyVersion, Image: true}}})
		t.Fatalf("not killed: %v", err)
	}
	t.Parallel()
	for name, c := range map[string]struct {
		meanwhile func(image string) error
		left      bool
	}{
		"left alone": {func(string) error { return nil }, false},
		"removed":    {os.Remove, false},
		"replaced": {func(image string) error {
			return errors.Join(os.Rename(image, image+".old"), os.WriteFile(image, []byte("another"), 0o600))
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			child := exec.Command(os.Args[0], "-test.run=^TestDeletedImageIsGoneAfterKill$")
			child.Env = append(os.Environ(), doomed+"="+dir)
			out, err := child.CombinedOutput()
			image, record := filepath.Join(dir, "b.img"), filepath.Join(dir, "state/config.d/lun-b.toml")
			if child.ProcessState == nil || child.ProcessState.String() != "signal: killed" {
				t.Fatalf("the daemon was not killed: %v\n%s", err, out)
			}
			if _, err := os.Stat(image); err != nil {
				t.Fatalf("it was killed too late: %v", err)
			}
			if _, err := os.Stat(record); !errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("it was killed too early: %v", err)
			}
			if err := c.meanwhile(image); err != nil {
				t.Fatal(err)
			}
			newSides(t, dir, person)
			if _, err := os.Stat(image); (err == nil) != c.left {
				t.Errorf("after the next start: %v", err)
			}
			if _, err := os.Stat(filepath.Join(dir, "state/serial/b")); (err == nil) != c.left {
				t.Errorf("its serial, after the next start: %v", err)
			}
			if left, err := filepath.Glob(filepath.Join(dir, "state/config.d/*")); err != nil || len(left) > 0 {
				t.Errorf("there is left: %v, %v", left, err)
			}
		})
	}
}
