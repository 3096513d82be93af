package powercut

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/backstore/file"
	"github.com/isantarget/isantarget/backstore/snapshot"
	"github.com/isantarget/isantarget/job"
	"github.com/isantarget/isantarget/test/daemon"
)

// A shop is a LUN with snapshots, on a disk that may lose power.
type shop struct {
	t       *testing.T
	disk    *disk
	d       *daemon.Daemon
	plane   *admin.Client
	all     crew
	chances *rand.Rand

	kept   map[string][]byte // what the snapshots hold, by name
	taken  int
	counts map[string]int // of changes, by kind and how they ended
}

// content is all that the LUN holds.
func (s *shop) content() (all []byte) {
	s.t.Helper()
	for _, w := range s.all {
		p, err := w.Read()
		if err != nil {
			s.t.Fatalf("%s: %v", w.Name, err)
		}
		all = append(all, p...)
	}
	return all
}

// share is the part of all that is a worker's.
func share(w *Worker, all []byte) []byte {
	from := int(w.First) * w.BlockSize
	return all[from : from+w.Blocks()*w.BlockSize]
}

// holds is what a snapshot holds, by way of a clone, which it removes.
func (s *shop) holds(name string) []byte {
	s.t.Helper()
	path := filepath.Join(s.disk.folder, "look.img")
	s.forget(path)
	if _, err := s.plane.Clone(s.t.Context(), "a", name, "look", path); err != nil {
		s.t.Fatalf("clone of %s: %v", name, err)
	}
	defer s.forget(path)
	return s.imageContent(path)
}

func (s *shop) imageContent(path string) []byte {
	s.t.Helper()
	image, err := snapshot.Open(file.Options{Path: path, ReadOnly: true})
	if err != nil {
		s.t.Fatal(err)
	}
	defer image.Close()
	p := make([]byte, image.Geometry().Size)
	if _, err := image.ReadAt(p, 0); err != nil {
		s.t.Fatal(err)
	}
	return p
}

// forget removes a clone.
func (s *shop) forget(path string) {
	s.t.Helper()
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.t.Fatal(err)
	}
	if err := snapshot.At(path).Forget(); err != nil {
		s.t.Fatal(err)
	}
}

// A deed is a change that is under way when the plug is pulled.
type deed struct {
	kind, name string
	workers    bool // they work meanwhile
	do         func() error
}

// deed is one of those that are possible now.
func (s *shop) deed() deed {
	ctx := context.Background()
	take := func() deed {
		s.taken++
		name := fmt.Sprintf("s%d", s.taken)
		return deed{"take", name, true, func() error {
			_, err := s.plane.TakeSnapshots(ctx, []string{"a"}, name)
			return err
		}}
	}
	if len(s.kept) == 0 {
		return take()
	}
	names := slices.Sorted(maps.Keys(s.kept))
	name := names[s.chances.IntN(len(names))]
	remove := deed{"delete", name, true, func() error {
		j, err := s.plane.DeleteSnapshot(ctx, "a", name)
		if err == nil {
			j, err = s.plane.WaitForJob(ctx, j.ID, nil)
		}
		if err == nil && j.State != job.Done {
			err = errors.New(j.Error)
		}
		return err
	}}
	if len(names) > 3 {
		return remove
	}
	switch s.chances.IntN(5) {
	case 0:
		return deed{"roll back", name, false, func() error { return s.plane.Rollback(ctx, "a", name, true) }}
	case 1:
		return deed{"clone", name, true, func() error {
			_, err := s.plane.Clone(ctx, "a", name, "b", s.clone())
			return err
		}}
	case 2:
		return remove
	}
	return take()
}

func (s *shop) clone() string { return filepath.Join(s.disk.folder, "clone.img") }

// cycle works, begins a deed, pulls the plug in the middle of it or right after it, and looks.
func (s *shop) cycle(pull func()) (wrong []string) {
	s.t.Helper()
	s.all.login(s.t, s.d.Address())
	s.all.work(func() { time.Sleep(time.Duration(s.chances.IntN(60)) * time.Millisecond) }) // how much they do is of no matter
	for _, w := range s.all {
		if r, err := w.c.Execute(w.flush()); err != nil || r.Status != 0 {
			s.t.Fatalf("flush: %+v, %v", r, err)
		}
	}
	before := s.content()
	for _, w := range s.all {
		if err := w.Settle(share(w, before)); err != nil {
			s.t.Fatal(err)
		}
	}
	one := s.deed()
	err := s.attempt(one, pull)
	s.d.Restart()
	s.all.login(s.t, s.d.Address())
	s.counts[fmt.Sprintf("%s %v", one.kind, map[bool]string{true: "done", false: "on its way"}[err == nil])]++
	return s.judge(one, err == nil, before)
}

// attempt is a deed and the plug that is pulled. It returns what the deed did: nil if it
// was acknowledged.
func (s *shop) attempt(one deed, pull func()) (err error) {
	ended := make(chan error, 1)
	act := func() {
		go func() { ended <- one.do() }()
		if s.chances.IntN(2) == 0 {
			err = <-ended
			ended <- err
		} else {
			time.Sleep(time.Duration(s.chances.IntN(80)) * time.Millisecond) // the moment is the test's, not a wait
		}
		pull()
	}
	if one.workers {
		s.all.work(act)
	} else {
		act()
	}
	return <-ended
}

// judge says what is wrong after a deed, which was acknowledged or not, and brings what is
// known to the state that is there.
func (s *shop) judge(one deed, done bool, before []byte) (wrong []string) {
	s.t.Helper()
	list, err := s.plane.Snapshots(s.t.Context(), "a")
	if err != nil {
		s.t.Fatal(err)
	}
	there := map[string]bool{}
	for _, x := range list {
		there[x.Name] = !x.Deleting
	}
	switch one.kind {
	case "take":
		if there[one.name] {
			s.kept[one.name] = s.holds(one.name)
			for _, w := range s.all {
				for _, x := range w.Held(share(w, s.kept[one.name])) {
					wrong = append(wrong, "snapshot "+one.name+": "+x)
				}
			}
		} else if done {
			wrong = append(wrong, "the snapshot that was taken is not there")
		}
	case "delete":
		if done && there[one.name] {
			wrong = append(wrong, "the snapshot that was deleted is there")
		}
		if !there[one.name] {
			delete(s.kept, one.name)
		}
	case "clone":
		if _, err := os.Stat(s.clone()); err == nil {
			if !bytes.Equal(s.imageContent(s.clone()), s.kept[one.name]) {
				wrong = append(wrong, "the clone does not hold what the snapshot holds")
			}
		} else if done {
			wrong = append(wrong, "the clone is not there")
		}
		s.forget(s.clone())
	case "roll back":
		now := s.content()
		if back := bytes.Equal(now, s.kept[one.name]); !back && (done || !bytes.Equal(now, before)) {
			wrong = append(wrong, fmt.Sprintf("rolled back (%v), and the LUN holds neither what it held nor the snapshot", done))
		}
		for _, w := range s.all {
			if err := w.Settle(share(w, now)); err != nil {
				wrong = append(wrong, err.Error())
			}
		}
	}
	for name, want := range s.kept {
		if !there[name] {
			wrong = append(wrong, "the snapshot "+name+" is not there")
		} else if !bytes.Equal(s.holds(name), want) {
			wrong = append(wrong, "the snapshot "+name+" does not hold what it held")
		}
		delete(there, name)
	}
	for name, whole := range there {
		if whole {
			wrong = append(wrong, "there is a snapshot "+name)
		}
	}
	for i, w := range s.all {
		found, err := w.Check()
		if err != nil {
			s.t.Fatal(err)
		}
		for _, x := range append(found, w.Wrong...) {
			wrong = append(wrong, fmt.Sprintf("worker %d: %s", i, x))
		}
	}
	for i := range wrong {
		wrong[i] = fmt.Sprintf("%s %s (acknowledged %v): %s", one.kind, one.name, done, wrong[i])
	}
	return wrong
}

// TestSnapshots: the plug is pulled while snapshots are taken, deleted, cloned and rolled
// back to, under load. What was acknowledged is so, and what was on its way is done or
// not; each snapshot holds what it held, and the LUN what its ledger says. On ext4 the
// image is an overlay then, on XFS it shares blocks.
func TestSnapshots(t *testing.T) {
	cycles := 12
	if testing.Short() {
		cycles = 4
	}
	eachKind(t, func(t *testing.T, kind string) {
		for name, power := range map[string]bool{"power": true, "SIGKILL": false} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				const blocks = 2 << 20 / 512
				s := &shop{t: t, disk: newDisk(t, kind, 320<<20), kept: map[string][]byte{}, counts: map[string]int{}}
				s.d, s.plane = serveOn(t, s.disk, ",size=2MiB,space-threshold=0")
				seed := rand.Uint64()
				t.Logf("seed %d", seed)
				s.chances = rand.New(rand.NewPCG(seed, 99))
				s.all = newCrew(seed, blocks, 512)
				for _, w := range s.all {
					w.Every, w.Remember = !power, true
				}
				defer s.all.leave()
				for cycle := 0; !s.all.enough(cycle, cycles); cycle++ {
					report(t, cycle, s.cycle(func() {
						if power {
							freeze(t, s.d)
							s.disk.cut()
						}
						s.d.Kill()
						if power {
							s.disk.boot()
						}
					}))
					if t.Failed() {
						return
					}
					accept(t, s.plane)
				}
				s.all.tell(t, cycles)
				t.Logf("%v", s.counts)
			})
		}
	})
}
