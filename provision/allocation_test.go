package provision

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/internal/loopdevice"
)

// TestAllocationIsWhatTheFileSystemHolds, and what was given back is seen to be free.
func TestAllocationIsWhatTheFileSystemHolds(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs", "btrfs"} {
		t.Run(kind, func(t *testing.T) {
			dir := loopdevice.FileSystem(t, kind, 512*mib)
			d := start(t, t.TempDir(), "[[lun]]\nname = \"a\"\npath = \""+filepath.Join(dir, "a.img")+"\"\nsize = \"64MiB\"\n")
			look := func(cells int) AllocationMap {
				t.Helper()
				m, err := d.Allocation(t.Context(), "a", cells)
				if err != nil {
					t.Fatal(err)
				}
				return m
			}
			if m := look(64); m.Size != 64*mib || m.Cell != mib || len(m.Mapped) != 64 || !m.Told || m.Estimated || m.Mapped[3] != 0 {
				t.Fatalf("an empty image: %+v", m)
			}
			f, err := os.OpenFile(filepath.Join(dir, "a.img"), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			for _, at := range []int64{3 * mib, 40 * mib} {
				if _, err := f.WriteAt(make([]byte, mib), at); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := f.WriteAt(make([]byte, mib/4), 10*mib); err != nil {
				t.Fatal(err)
			}
			m := look(64)
			for n, percent := range m.Mapped {
				want := map[int]int{3: 100, 40: 100, 10: 25}[n]
				// What is taken is taken in the file system's units, which may be larger than what was written.
				if m.Anchored[n] == 0 && percent != want || percent < want {
					t.Errorf("MiB %d is mapped to %d %% and anchored to %d %%, want %d", n, percent, m.Anchored[n], want)
				}
			}
			if m := look(1); len(m.Mapped) != 1 || m.Mapped[0] < 1 || m.Mapped[0] > 99 {
				t.Errorf("in one cell: %+v", m)
			}
		})
	}
}

func TestAllocationRefusesCellsWithoutNumber(t *testing.T) {
	d := start(t, t.TempDir(), "[[lun]]\nname = \"a\"\nkind = \"null\"\nsize = \"1MiB\"\n")
	for _, cells := range []int{0, -1, MaxCells + 1} {
		var e *CellsError
		if _, err := d.Allocation(t.Context(), "a", cells); !errors.As(err, &e) {
			t.Errorf("%d cells: %v", cells, err)
		}
	}
	if m, err := d.Allocation(t.Context(), "a", MaxCells); err != nil || len(m.Mapped) != MaxCells || m.Told || m.Mapped[0] != 100 || m.Cell != 512 {
		t.Errorf("a store that does not tell: %d cells of %d, %v", len(m.Mapped), m.Cell, err)
	}
}

// A splintered store has another state every block, and counts what it is asked.
type splintered struct {
	backstore.Store
	asked int
}

const splinteredSize = 1 << 40

func (s *splintered) Geometry() backstore.Geometry { return backstore.Geometry{Size: splinteredSize} }
func (s *splintered) Features() backstore.Features { return backstore.CanMap }

func (s *splintered) ExtentAt(off, length int64) (backstore.Extent, error) {
	s.asked++
	return backstore.Extent{Offset: off, Length: min(length, 4096-off%4096), State: backstore.ExtentState(off / 4096 % 2)}, nil
}

// TestAllocationIsBounded: whatever pieces a store lies in, also when there is no time.
func TestAllocationIsBounded(t *testing.T) {
	s := &splintered{}
	m, err := allocation(context.Background(), backstore.Bind(s), 512, 512)
	if err != nil || !m.Estimated || len(m.Mapped) != 512 || m.Mapped[0] != 50 || m.Mapped[511] != 50 {
		t.Errorf("half of it is mapped: %+v, %v", m, err)
	}
	if most := 512 * cellSteps * 2; s.asked > most { // an extent ends where the next one is seen
		t.Errorf("the store was asked %d times, want at most %d", s.asked, most)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	s.asked = 0
	if m, err := allocation(ended, backstore.Bind(s), 512, 512); err != nil || len(m.Mapped) != 512 || s.asked > 2*512 {
		t.Errorf("without time the store was asked %d times: %v", s.asked, err)
	}
}
