package provision

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/file"
	"github.com/isantarget/isantarget/configs"
)

// An uncoveredImage notices when its lock is given up while it is still there.
type uncoveredImage struct {
	*file.Store
	t    *testing.T
	path string
}

func (u uncoveredImage) Close() error {
	if _, err := os.Stat(u.path); !errors.Is(err, os.ErrNotExist) {
		u.t.Errorf("the image is unlocked before it is removed (%v): another daemon may have it by then", err)
	}
	return u.Store.Close()
}

// TestRefused_OthersImages: an image that is not ours stays, also if it came after
// we had looked for it.
func TestRefused_OthersImages(t *testing.T) {
	const two = "[[lun]]\nname = \"new\"\npath = \"new.img\"\nsize = \"1MiB\"\n[[lun]]\nname = \"bad\"\npath = \"no/folder/x.img\"\nsize = \"1MiB\"\n"
	for _, late := range []bool{false, true} {
		dir := t.TempDir()
		path := filepath.Join(dir, "new.img")
		d := newDaemon()
		d.openers[configs.File] = func(l configs.LUN) (backstore.Store, error) {
			if late && l.Name == "new" {
				write(t, path, strings.Repeat("data", 1024), 0o600)
			}
			s, err := openers()[configs.File](l)
			if image, ok := s.(*file.Store); ok && !late {
				return uncoveredImage{image, t, path}, err
			}
			return s, err
		}
		if _, err := d.Apply(context.Background(), parse(t, dir, two)); err == nil {
			t.Fatal("it was served")
		}
		_, err := os.Stat(path)
		if there := err == nil; there != late {
			t.Errorf("an image that came late %v: there afterwards %v, %v", late, there, err)
		}
	}
}
