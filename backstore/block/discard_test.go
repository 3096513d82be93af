package block

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/storetest"
	"github.com/isantarget/isantarget/internal/loopdevice"
)

// A device that can discard, but cannot write zeros by itself: no loop device is
// like that, so the store is told that this one is. And one that can do neither.
func TestStore_LesserDevices(t *testing.T) {
	for name, can := range map[string]unmapping{"discards": discards, "thick": thick} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) backstore.Store {
				under := filepath.Join(t.TempDir(), "disk")
				if err := errors.Join(os.WriteFile(under, nil, 0o600), os.Truncate(under, 32<<20)); err != nil {
					t.Fatal(err)
				}
				s, err := Open(Options{Path: loopdevice.New(t, loopdevice.Options{File: under, Sector: 4096})})
				if err != nil {
					t.Fatal(err)
				}
				s.unmapping, s.features = can, 0
				if can == thick {
					s.geometry.Unmap = 0
				}
				s.askFeatures()
				if s.Features().Has(backstore.ReadsZeros) {
					t.Error("the store promises zeros")
				}
				return s
			})
		})
	}
}
