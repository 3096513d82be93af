package storetest

import (
	"testing"

	"github.com/isantarget/isantarget/backstore"
)

// A Subject is a kind of store to be checked.
type Subject struct {
	// Open makes a store of at least MinSize bytes that no other call has
	// given out. What it holds does not matter. The check closes it.
	Open func() (backstore.Store, error)

	// Reopen opens again what s kept, after s was closed; nil when nothing
	// outlives Close.
	Reopen func(s backstore.Store) (backstore.Store, error)

	// Forgets: what is written is not kept (a null store).
	Forgets bool

	// Allocates says why a read or write allocates memory; empty: it must not.
	Allocates string
}

// MinSize is the size in bytes that a store needs to be checked.
const MinSize = 16 << 20

// A Check is one promise.
type Check struct {
	Name string

	// Skip says why the promise is none of this subject's; empty: it is.
	Skip func(Subject) string

	// Run returns nil when the promise is kept.
	Run func(Subject) error
}

// An Option tells Run what kind of store it has.
type Option func(*Subject)

// Reopens: what is written outlives Close. open opens again what s kept, after s
// was closed.
func Reopens(open func(s backstore.Store) (backstore.Store, error)) Option {
	return func(subject *Subject) { subject.Reopen = open }
}

// Forgets: what is written is not kept.
func Forgets() Option { return func(subject *Subject) { subject.Forgets = true } }

// Allocates: reads and writes allocate memory, and why.
func Allocates(why string) Option { return func(subject *Subject) { subject.Allocates = why } }

// Run checks every promise of package backstore on stores that open gives, each
// of at least MinSize bytes. open is called once or more by each check, with the
// t of that check's own subtest.
func Run(t *testing.T, open func(t *testing.T) backstore.Store, options ...Option) {
	for _, check := range Checks() {
		t.Run(check.Name, func(t *testing.T) {
			subject := Subject{Open: func() (backstore.Store, error) { return open(t), nil }}
			for _, option := range options {
				option(&subject)
			}
			if why := check.Skip(subject); why != "" {
				t.Skip(why)
			}
			if err := check.Run(subject); err != nil {
				t.Error(err)
			}
		})
	}
}

// Checks is the suite.
func Checks() []Check {
	return []Check{
		{"Geometry", anyStore, checkGeometry},
		{"ReadAfterWrite", keepers, checkReadAfterWrite},
		{"Outside", anyStore, checkOutside},
		{"Buffers", keepers, checkBuffers},
		{"Unmap", keepers, checkUnmap},
		{"Zero", keepers, checkZero},
		{"Extents", keepers, checkExtents},
		{"WriteThrough", keepers, checkWriteThrough},
		{"TryRead", keepers, checkTryRead},
		{"TryReadBatch", keepers, checkTryReadBatch},
		{"TryWrite", keepers, checkTryWrite},
		{"Copy", keepers, checkCopy},
		{"CompareAndWrite", keepers, checkCompareAndWrite},
		{"Grow", anyStore, checkGrow},
		{"Sync", anyStore, checkSync},
		{"Neighbours", keepers, checkNeighbours},
		{"Model", keepers, checkModel},
		{"Persistence", reopeners, checkPersistence},
		{"Close", anyStore, checkClose},
		{"CloseUnderLoad", anyStore, checkCloseUnderLoad},
		{"Allocations", allocationFree, checkAllocations},
	}
}

func anyStore(Subject) string { return "" }

func keepers(s Subject) string {
	if s.Forgets {
		return "this store keeps nothing that could be read back"
	}
	return ""
}

func reopeners(s Subject) string {
	if s.Reopen == nil {
		return "nothing of this store outlives Close"
	}
	return ""
}

func allocationFree(s Subject) string { return s.Allocates }
