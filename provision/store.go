package provision

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/file"
	"github.com/isantarget/isantarget/backstore/memory"
	"github.com/isantarget/isantarget/backstore/null"
	"github.com/isantarget/isantarget/configs"
)

// An opener opens the store of a LUN.
type opener func(configs.LUN) (backstore.Store, error)

// openers are the kinds of store. A new kind is a folder below backstore and a
// line here.
func openers() map[configs.Kind]opener {
	return map[configs.Kind]opener{
		configs.File: func(l configs.LUN) (backstore.Store, error) {
			return file.Open(file.Options{
				Path: l.Path, Create: l.Size > 0, Size: int64(l.Size), Provisioning: provisioning(l),
				Direct: l.Direct, ReadOnly: l.ReadOnly,
			})
		},
		configs.Memory: func(l configs.LUN) (backstore.Store, error) { return memory.New(int64(l.Size)) },
		configs.Null:   func(l configs.LUN) (backstore.Store, error) { return null.New(int64(l.Size)) },
	}
}

func provisioning(l configs.LUN) file.Provisioning {
	if l.Provisioning == configs.Fixed {
		return file.Fixed
	}
	return file.Sparse
}

// kind is the kind of store that l wants: where it does not say, a device is
// one and everything else is an image.
func kind(l configs.LUN) configs.Kind {
	if l.Kind != configs.AnyKind {
		return l.Kind
	}
	if info, err := os.Stat(l.Path); err == nil && info.Mode()&fs.ModeDevice != 0 {
		return configs.Block
	}
	return configs.File
}

// open opens the store of l.
func open(l configs.LUN) (backstore.Store, error) {
	do, ok := openers()[kind(l)]
	if !ok {
		return nil, fmt.Errorf("stores of kind %s cannot be opened", kind(l))
	}
	return do(l)
}

// refuses tells whether an error of open refuses the configuration: somebody
// else uses the image, or there is none and none may be made. All others are
// the image's own trouble.
func refuses(err error) bool {
	return errors.Is(err, backstore.ErrLocked) || errors.Is(err, fs.ErrNotExist)
}
