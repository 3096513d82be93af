package gotgt

import (
	"io"

	"github.com/gostor/gotgt/pkg/api"
)

// A remoteStore is an api.RemoteBackingStore.
type remoteStore struct{ store api.RemoteBackingStore }

func (r remoteStore) readAt(p []byte, off int64) (int, error)  { return r.store.ReadAt(p, off) }
func (r remoteStore) writeAt(p []byte, off int64) (int, error) { return r.store.WriteAt(p, off) }

func (r remoteStore) sync() error {
	_, err := r.store.Sync()
	return err
}

func (r remoteStore) unmap(off, length int64) error {
	_, err := r.store.Unmap(off, length)
	return err
}

func (r remoteStore) close() error {
	if c, ok := r.store.(io.Closer); ok {
		return c.Close()
	}
	return nil
}
