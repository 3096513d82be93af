package gotgt

import (
	"errors"
	"fmt"

	"github.com/gostor/gotgt/pkg/api"
)

// unmapMost bounds one api.UnmapBlockDescriptor, whose length has 32 bits.
const unmapMost = 1 << 30

// A plugin is an api.BackingStore with the logical unit it was told of.
type plugin struct {
	store api.BackingStore
	unit  *api.SCSILu
	size  int64
}

// openPlugin initialises and opens a plugin. Of what fails half way nothing is
// left open.
func openPlugin(store api.BackingStore, o Options) (plugin, int64, error) {
	p := plugin{store: store, unit: &api.SCSILu{Storage: store, Path: o.Path, BlockShift: api.DefaultBlockShift}}
	p.unit.Attrs.Readonly = o.ReadOnly
	p.unit.Attrs.Online = true
	if err := store.Init(p.unit, o.Settings); err != nil {
		return p, 0, fmt.Errorf("gotgt store %s: init: %w", o.Path, err)
	}
	if err := store.Open(p.unit, o.Path); err != nil {
		return p, 0, errors.Join(fmt.Errorf("gotgt store %s: open: %w", o.Path, err), store.Exit(p.unit))
	}
	if p.size = int64(store.Size(p.unit)); p.size <= 0 {
		p.size = o.Size
	}
	p.unit.Size = uint64(max(p.size, 0))
	return p, p.size, nil
}

func (p plugin) readAt(b []byte, off int64) (int, error) {
	got, err := p.store.Read(off, int64(len(b)))
	return copy(b, got), err
}

func (p plugin) writeAt(b []byte, off int64) (int, error) {
	if err := p.store.Write(b, off); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (p plugin) sync() error { return p.store.DataSync(0, p.size) }

func (p plugin) unmap(off, length int64) error {
	for end := off + length; off < end; off += unmapMost {
		piece := api.UnmapBlockDescriptor{Offset: uint64(off), TL: uint32(min(end-off, unmapMost))}
		if err := p.store.Unmap([]api.UnmapBlockDescriptor{piece}); err != nil {
			return err
		}
	}
	return nil
}

func (p plugin) close() error {
	return errors.Join(p.store.Close(p.unit), p.store.Exit(p.unit))
}
