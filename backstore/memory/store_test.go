package memory_test

import (
	"testing"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/memory"
	"github.com/isantarget/isantarget/backstore/storetest"
)

func open(t testing.TB, size int64) *memory.Store {
	s, err := memory.New(size)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) backstore.Store { return open(t, 64<<20) })
}

// The last chunk is a short one.
func TestStore_OddSize(t *testing.T) {
	storetest.Run(t, func(t *testing.T) backstore.Store { return open(t, 32<<20+4097) })
}
