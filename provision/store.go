package provision

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/block"
	"github.com/isantarget/isantarget/backstore/file"
	"github.com/isantarget/isantarget/backstore/gotgt"
	"github.com/isantarget/isantarget/backstore/memory"
	"github.com/isantarget/isantarget/backstore/null"
	"github.com/isantarget/isantarget/backstore/snapshot"
	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/job"
)

// An opener opens the store of a LUN. It tells step how many of the bytes that it has
// to take beforehand are taken, and gives up when that fails.
type opener func(l configs.LUN, step func(done, total int64) error) (backstore.Store, error)

// openers are the kinds of store. A new kind is a folder below backstore and a
// line here.
func openers() map[configs.Kind]opener {
	return map[configs.Kind]opener{
		configs.File: func(l configs.LUN, step func(done, total int64) error) (backstore.Store, error) {
			return snapshot.Open(file.Options{
				Path: l.Path, Create: l.Size > 0, Size: int64(l.Size), Provisioning: provisioning(l),
				Direct: l.Direct, ReadOnly: l.ReadOnly, Step: step,
			})
		},
		configs.Block: func(l configs.LUN, _ func(done, total int64) error) (backstore.Store, error) {
			return block.Open(block.Options{Path: l.Path, Direct: l.Direct, ReadOnly: l.ReadOnly})
		},
		configs.Memory: func(l configs.LUN, _ func(done, total int64) error) (backstore.Store, error) {
			return memory.New(int64(l.Size))
		},
		configs.Null: func(l configs.LUN, _ func(done, total int64) error) (backstore.Store, error) {
			return null.New(int64(l.Size))
		},
		configs.Gotgt: func(l configs.LUN, _ func(done, total int64) error) (backstore.Store, error) {
			return gotgt.OpenNamed(cmp.Or(l.Plugin, "file"), gotgt.Options{Path: l.Path, Size: int64(l.Size), ReadOnly: l.ReadOnly})
		},
	}
}

// lacksSpace tells whether l is a fixed image that is missing, or has holes.
func lacksSpace(l configs.LUN) bool {
	if kind(l) != configs.File || l.Provisioning != configs.Fixed || l.ReadOnly {
		return false
	}
	info, err := os.Stat(l.Path)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Blocks*512 < st.Size
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

// isMissing tells whether l is an image that is yet to be made.
func isMissing(l configs.LUN) bool {
	_, err := os.Stat(l.Path)
	return kind(l) == configs.File && errors.Is(err, fs.ErrNotExist)
}

// refusal is the part of an error of an opener that refuses the configuration:
// somebody else uses the store, or there is no image and none can be made. All
// else is the store's own trouble; so is a device that is not there, for it may
// have failed and may come back.
func refusal(l configs.LUN, missing bool, err error) error {
	switch {
	case missing && l.Size == 0 && !l.ReadOnly:
		return fmt.Errorf("%w; to have it made, say how big: size=10GiB", err)
	case missing, errors.Is(err, backstore.ErrLocked), errors.Is(err, job.ErrCancelled), errors.Is(err, job.ErrStopping), errors.Is(err, context.Canceled), kind(l) == configs.Gotgt && errors.Is(err, fs.ErrNotExist):
		return err
	}
	return nil
}
