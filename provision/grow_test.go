package provision

import (
	"testing"
	"time"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/internal/loopdevice"
	"github.com/isantarget/isantarget/job"
)

// A LUN that is to grow, or be defragmented, while a snapshot of it is taken waits for the end of
// that: it grows then, and is not defragmented, for its image lies upon the snapshot.
func TestResizedBesideSnapshot(t *testing.T) {
	dir := loopdevice.FileSystem(t, "ext4", 64<<20)
	for name, c := range map[string]struct {
		begin func(s *Sides) (job.Status, error)
		state job.State
		size  configs.Size // afterwards
	}{
		"grow":       {func(s *Sides) (job.Status, error) { return s.Grow("b", "3MiB") }, job.Done, 3 << 20},
		"defragment": {func(s *Sides) (job.Status, error) { return s.Defragment("b") }, job.Failed, 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSides(t, t.TempDir(), person+"[[lun]]\nname = \"b\"\npath = \""+dir+"/"+name+".img\"\nsize = \"1MiB\"\n")
			closed, enough := make(chan struct{}), make(chan struct{})
			before := s.openers[configs.File]
			s.openers[configs.File] = func(l configs.LUN, progress func(done, total int64) error) (backstore.Store, error) {
				close(closed) // once, by the snapshot
				<-enough
				return before(l, progress)
			}
			taken := make(chan error, 1)
			go func() {
				_, err := s.TakeSnapshots(t.Context(), []string{"b"}, "one")
				taken <- err
			}()
			<-closed
			begun, err := c.begin(s)
			s.openers[configs.File] = before
			close(enough)
			if err := <-taken; err != nil {
				t.Fatal(err)
			}
			for end := time.Now().Add(time.Minute); err == nil && !begun.State.Final() && time.Now().Before(end); time.Sleep(time.Millisecond) {
				begun, err = s.Job(begun.ID)
			}
			if err != nil || begun.State != c.state {
				t.Errorf("%+v, %v", begun, err)
			}
			if got := configs.Size(s.now.Load().units["b"].medium.Geometry().Size); got != c.size {
				t.Errorf("it has %v, want %v", got, c.size)
			}
		})
	}
}
