package state

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/internal/loopdevice"
	"github.com/isantarget/isantarget/scsi"
)

// A glutton takes every byte of a file system, and every one that is given back.
type glutton struct {
	end  chan struct{}
	full chan struct{} // receives when there was nothing left to take
	all  sync.WaitGroup
}

func gorge(t *testing.T, folder string) *glutton {
	t.Helper()
	g := &glutton{end: make(chan struct{}), full: make(chan struct{})}
	f, err := os.Create(filepath.Join(folder, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	g.all.Go(func() {
		defer f.Close()
		p := bytes.Repeat([]byte{1}, 1<<20)
		for n := len(p); ; {
			select {
			case <-g.end:
				return
			default:
			}
			if _, err := f.Write(p[:n]); err == nil {
				continue
			}
			if n /= 4; n < 1024 {
				n = 64 << 10
				select {
				case g.full <- struct{}{}:
				default:
				}
			}
		}
	})
	<-g.full
	return g
}

// finish waits until all is taken that was given back before.
func (g *glutton) finish() {
	for range 2 { // it may have been about to say so
		<-g.full
	}
}

func (g *glutton) stop() {
	close(g.end)
	g.all.Wait()
}

// TestReserve: records are written where somebody takes all there is, and all that is given back: for units that have
// some already, and for new ones; until the reserve is used up, and again when there is room.
func TestReserve(t *testing.T) {
	for kind, size := range map[string]int64{"ext4": 48 << 20, "xfs": 320 << 20} {
		t.Run(kind, func(t *testing.T) {
			folder := loopdevice.FileSystem(t, kind, size)
			if kind == "xfs" { // most of the smallest XFS there is
				ballast, err := os.Create(filepath.Join(folder, "ballast"))
				if err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(unix.Fallocate(int(ballast.Fd()), 0, 0, 190<<20), ballast.Close()); err != nil {
					t.Fatal(err)
				}
			}
			d := open(t, filepath.Join(folder, "state"))
			want := map[string]string{}
			save := func(i, n int) error {
				id := scsi.Identity{Serial: fmt.Sprintf("serial-%d", i)}
				record := fmt.Sprintf(`{"n":%d,"pad":"%s"}`, n, bytes.Repeat([]byte{'x'}, 20000))
				err := d.Save(id, "reservation", []byte(record))
				if err == nil {
					want[id.Serial] = record
				}
				return err
			}
			check := func() {
				t.Helper()
				for serial, record := range want {
					if got, err := d.Load(scsi.Identity{Serial: serial}, "reservation"); err != nil || string(got) != record {
						t.Fatalf("the record of %s: %d bytes, %v", serial, len(got), err)
					}
				}
			}
			if err := errors.Join(save(0, 0), d.Refill()); err != nil {
				t.Fatal(err)
			}
			for round := range 2 {
				g := gorge(t, folder)
				for n := 1; n <= 3; n++ {
					if err := save(0, n); err != nil {
						t.Errorf("round %d: record %d on a full file system: %v", round, n, err)
					}
				}
				if err := save(1+round, 1); err != nil {
					t.Errorf("round %d: the first record of a unit on a full file system: %v", round, err)
				}
				check()
				g.finish()
				if err := d.Refill(); err == nil {
					t.Error("the reserve is whole again, without any space")
				}
				g.stop()
				if err := os.Remove(filepath.Join(folder, "filler")); err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(d.Refill(), save(0, 100)); err != nil {
					t.Error(err)
				}
				check()
				if pieces, _ := filepath.Glob(filepath.Join(d.Path(), "reserve", "*")); len(pieces) != reservePieces {
					t.Errorf("the reserve is %q", pieces)
				}
			}
		})
	}
}

// TestReserveHasAnEnd: when even that is gone, a record that cannot be written leaves the old one.
func TestReserveHasAnEnd(t *testing.T) {
	folder := loopdevice.FileSystem(t, "ext4", 32<<20)
	d := open(t, filepath.Join(folder, "state"))
	g := gorge(t, folder)
	defer g.stop()
	big := bytes.Repeat([]byte{'y'}, reservePieces*pieceSize+1<<20)
	if err := d.Save(unit, "mode", []byte("old")); err != nil {
		t.Fatal(err)
	}
	if err := d.Save(unit, "mode", big); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a record bigger than the reserve: %v, want ENOSPC", err)
	}
	if got, err := d.Load(unit, "mode"); err != nil || string(got) != "old" {
		t.Errorf("after it the record is %d bytes, %v", len(got), err)
	}
}
