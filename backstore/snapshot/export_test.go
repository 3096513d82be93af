package snapshot

import (
	"strings"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/file"
)

// Before has f called before each step by which something changes on the disk.
func (i *Image) Before(f func(step string)) { i.steps.before = f }

// Path is that of the image.
func (i *Image) Path() string { return i.path }

// Names are those of the snapshots.
func (i *Image) Names() string {
	r, _, err := i.load()
	if err != nil {
		return err.Error()
	}
	return strings.Join(r.names(), " ")
}

// Above has o write to what f makes of its image.
func (o *Overlay) Above(f func(*file.Store) backstore.Store) { o.top = backstore.Bind(f(o.image)) }

// Excludes tells whether a writer of the block at off holds it alone, or waits for that.
func (o *Overlay) Excludes(off int64) bool {
	if !o.edges.try(off, 1) {
		return true
	}
	o.edges.each(off, 1, unlockShare)
	return false
}
