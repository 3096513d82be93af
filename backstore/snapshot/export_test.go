package snapshot

import "strings"

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
