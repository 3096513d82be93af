package null_test

import (
	"testing"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/null"
	"github.com/isantarget/isantarget/backstore/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) backstore.Store {
		s, err := null.New(32 << 20)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}, storetest.Forgets())
}
