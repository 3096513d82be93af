package provision

import (
	"cmp"
	"errors"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/isantarget/isantarget/backstore/file"
	"github.com/isantarget/isantarget/backstore/snapshot"
)

const (
	// A look at what a file shares sees so many extents at most, a thorough one more, for
	// so long, in pieces.
	lookExtents     = 1 << 13
	thoroughExtents = 1 << 18
	thoroughBound   = time.Second
	pieceExtents    = 1 << 11

	// After a look nobody looks for restFactor times as long as it took, and nobody at the
	// same file for as many times as long as the whole walk of it took. Of a file where nothing has
	// changed, or which shared nothing and was not written, it is restUnchanged at least. Who
	// has to be exact waits for restExact at most.
	restFactor    = 50
	restUnchanged = time.Minute
	restExact     = 10 * time.Second
)

// A sharing remembers what an image shares with other files of its file system. The file
// system is asked (FIEMAP) when something has changed, and not too often.
type sharing struct {
	noPlaces bool // are needed

	mu    sync.Mutex // one who looks at a time; the questions bound their number
	last  sharingWalk
	walk  *sharingWalk // what is under way; nil: nothing
	asked int          // steps of walks, for tests
}

// A sharingWalk is a walk, and what there was when it began.
type sharingWalk struct {
	file.SharingWalk
	began   sharingTrace
	ended   time.Time
	took    time.Duration
	unknown bool // the file system does not tell
}

// A sharingTrace is what has to change for other blocks to be shared.
type sharingTrace struct {
	file.Trace
	snapshots uint64 // steps of ours with snapshots and clones
}

// A shares is what is known of what an image shares. Amounts are bytes.
type shares struct {
	mapped, shared int64
	places         []file.Run
	placed         bool // places are all of shared
	estimated      bool // what could not be seen is taken to be shared
}

// look tells what the file at path shares, which takes taken bytes of its file system.
// Unless it is thorough it does no more than a small step, and may tell what was so some
// time ago.
func (s *sharing) look(path string, taken int64, q *questions, thorough bool) (shares, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	trace, err := file.TraceAt(path)
	if err != nil {
		return shares{}, err
	}
	now := sharingTrace{trace, q.snapshots.Load()}
	if !now.Sharing {
		return shares{placed: true}, nil
	}
	thorough = thorough || s.last.ended.IsZero() && s.walk == nil
	switch {
	case s.walk != nil && !s.walk.of(now): // what was seen is another file's, or not so any more
		s.walk = s.begin(now)
	case s.walk == nil && s.due(now, thorough):
		s.walk = s.begin(now)
	}
	if s.walk != nil && (thorough || !s.last.of(now) || q.rested()) {
		if err := s.step(path, q, thorough); err != nil {
			return shares{}, err
		}
	}
	return s.known(path, now, taken), nil
}

// of tells whether w is a walk of the file that there is now, with the snapshots that it has.
func (w *sharingWalk) of(now sharingTrace) bool {
	return w.began.Image.Inode == now.Image.Inode && w.began.snapshots == now.snapshots
}

func (s *sharing) begin(now sharingTrace) *sharingWalk {
	return &sharingWalk{began: now, SharingWalk: file.SharingWalk{NoPlaces: s.noPlaces}}
}

// due tells whether the image is to be walked again. One of which nothing has changed is
// so too, for a copy of it by reflink leaves no trace on it.
func (s *sharing) due(now sharingTrace, thorough bool) bool {
	last := &s.last
	if last.ended.IsZero() || !last.of(now) {
		return true
	}
	rest := restFactor * last.took
	if last.began == now || last.Shared == 0 && last.began.Image == now.Image {
		rest = max(rest, restUnchanged)
	}
	if thorough {
		rest = min(rest, restExact)
	}
	return time.Since(last.ended) >= rest
}

// step goes on with the walk.
func (s *sharing) step(path string, q *questions, thorough bool) error {
	most, began, w := lookExtents, time.Now(), s.walk
	if thorough {
		most = thoroughExtents
	}
	for seen := 0; seen < most && !w.Finished() && !w.unknown && time.Since(began) < thoroughBound; seen += pieceExtents {
		s.asked++
		err := w.Step(path, pieceExtents)
		if w.unknown = errors.Is(err, errors.ErrUnsupported); err != nil && !w.unknown {
			s.walk = nil
			return err
		}
	}
	took := time.Since(began)
	w.took += took
	q.rest(restFactor * took)
	if w.Finished() || w.unknown {
		w.ended = time.Now()
		s.last, s.walk = *w, nil
	}
	return nil
}

// known is what the last whole walk has seen. Where there is none, what the one under way
// has not seen is shared.
func (s *sharing) known(path string, now sharingTrace, taken int64) shares {
	w, whole := &s.last, !s.last.ended.IsZero() && s.last.of(now)
	if !whole { // what was shared before the last snapshot is too little
		w = s.walk
	}
	switch {
	case w.unknown:
		// Nothing will ever be known. What we have made snapshots of is taken to be
		// shared, and else nothing is.
		if _, err := os.Stat(snapshot.Folder(path)); err == nil {
			return shares{mapped: taken, shared: taken, estimated: true}
		}
		return shares{mapped: taken, placed: true}
	case !whole:
		return shares{mapped: taken, shared: w.Shared + max(taken-w.Mapped, 0), estimated: true}
	}
	return shares{mapped: w.Mapped, shared: w.Shared, places: w.Places, placed: w.Placed()}
}

// allocated is what promises take together of a file system of which taken bytes are taken:
// what several of them share is there once.
func allocated(promises []promise, taken int64) int64 {
	var sum int64
	var places []file.Run
	for i := range promises {
		p := &promises[i]
		if p.shares.placed {
			sum += p.Used - p.shared()
			places = append(places, p.shares.places...)
		} else {
			sum += p.Used
		}
	}
	slices.SortFunc(places, func(a, b file.Run) int { return cmp.Compare(a.From, b.From) })
	end := int64(0)
	for _, r := range places {
		if from := max(r.From, end); r.To > from {
			sum += r.To - from
			end = r.To
		}
	}
	return min(sum, taken)
}

// sharings are those of files that are no LUN's image, by path.
type sharings struct {
	mu   sync.Mutex
	kept map[string]*sharing
}

// of is the sharing of the file at path.
func (s *sharings) of(path string) *sharing {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept == nil {
		s.kept = map[string]*sharing{}
	}
	if s.kept[path] == nil {
		s.kept[path] = &sharing{noPlaces: true}
	}
	return s.kept[path]
}

// forget drops what is kept of files that are gone.
func (s *sharings) forget(gone func(path string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.kept, func(path string, _ *sharing) bool { return gone(path) })
}
