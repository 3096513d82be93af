package job

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// untilCancelled is a work that ends only when it is told to.
func untilCancelled(ctx context.Context, _ *Progress) (string, error) {
	<-ctx.Done()
	return "", ctx.Err()
}

func start(t *testing.T, b *Board, object string, work Work) *Job {
	t.Helper()
	j, err := b.Start("test", object, work)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func TestEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Board
		broken := errors.New("broken")
		for _, c := range []struct {
			work   Work
			cancel bool
			state  State
			say    string
		}{
			{work: func(context.Context, *Progress) (string, error) { return "all well", nil }, state: Done, say: "all well"},
			{work: func(context.Context, *Progress) (string, error) { return "", broken }, state: Failed, say: "broken"},
			{work: func(context.Context, *Progress) (string, error) { panic("oh") }, state: Failed, say: "panic: oh"},
			{work: untilCancelled, cancel: true, state: Cancelled, say: ErrCancelled.Error()},
			{work: func(ctx context.Context, _ *Progress) (string, error) { <-ctx.Done(); return "too late", nil }, cancel: true, state: Done, say: "too late"},
			{work: func(ctx context.Context, _ *Progress) (string, error) { <-ctx.Done(); return "", broken }, cancel: true, state: Failed, say: "broken"},
			{work: func(ctx context.Context, _ *Progress) (string, error) { <-ctx.Done(); return "", context.Cause(ctx) }, cancel: true, state: Cancelled, say: ErrCancelled.Error()},
		} {
			j := start(t, &b, "a", c.work)
			if c.cancel {
				synctest.Wait()
				if s := j.Status().State; s != Running {
					t.Errorf("before it is cancelled the state is %s", s)
				}
				j.Cancel()
			}
			<-j.Ended()
			s := j.Status()
			if s.State != c.state || !strings.Contains(s.Result+s.Error, c.say) || (j.Err() == nil) != (c.state == Done) {
				t.Errorf("want %s, %q: %+v, %v", c.state, c.say, s, j.Err())
			}
			j.Cancel() // too late: it stays as it is
			if again := j.Status().State; again != c.state {
				t.Errorf("after a late Cancel it is %s", again)
			}
		}
	})
}

// One job at a time works on an object, and the refusal says which does.
func TestOneOfAnObject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Board
		j := start(t, &b, "a", untilCancelled)
		var busy *BusyError
		if _, err := b.Start("other", "a", untilCancelled); !errors.As(err, &busy) || busy.Job.ID != j.ID() || !strings.Contains(err.Error(), "job cancel "+j.ID()) {
			t.Errorf("a second job of the object: %v", err)
		}
		other := start(t, &b, "b", untilCancelled)
		if b.Of("a") != j || b.Of("b") != other || b.Of("c") != nil || b.Find(other.ID()) != other {
			t.Error("the jobs are not found")
		}
		j.Cancel()
		<-j.Ended()
		start(t, &b, "a", untilCancelled)
		b.Close()
		if s := other.Status(); s.State != Cancelled || s.Error != ErrStopping.Error() {
			t.Errorf("after Close: %+v", s)
		}
		if _, err := b.Start("test", "c", untilCancelled); !errors.Is(err, ErrStopping) {
			t.Errorf("a closed board: %v", err)
		}
		b.Open()
		<-start(t, &b, "c", func(context.Context, *Progress) (string, error) { return "", nil }).Ended()
	})
}

// Who only looks at an object is beside the one that works on it, and alone of its like.
func TestBeside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Board
		works := start(t, &b, "a", untilCancelled)
		looks, err := b.StartBeside("look", "a", untilCancelled)
		if err != nil {
			t.Fatal(err)
		}
		var busy *BusyError
		if _, err := b.StartBeside("look", "a", untilCancelled); !errors.As(err, &busy) || busy.Job.ID != looks.ID() {
			t.Errorf("a second one that looks: %v", err)
		}
		if b.Of("a") != works || b.Beside("a") != looks || b.Beside("b") != nil {
			t.Error("the jobs are not found")
		}
		works.Cancel()
		<-works.Ended()
		if b.Of("a") != nil {
			t.Error("who looks passes for one who works")
		}
		b.Close()
		if s := looks.Status(); s.State != Cancelled {
			t.Errorf("after Close: %+v", s)
		}
	})
}

// A job goes on when whoever started it is gone; Run takes it along.
func TestRunEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Board
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- b.Run(ctx, "test", "a", untilCancelled) }()
		synctest.Wait()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Board
		lasting := start(t, &b, "lasting", untilCancelled)
		for range 3 * MaxEnded {
			<-start(t, &b, "a", func(context.Context, *Progress) (string, error) { return "", nil }).Ended()
		}
		list := b.List()
		if len(list) != MaxEnded+1 || list[0].ID != lasting.ID() || list[MaxEnded].ID != "193" {
			t.Errorf("%d jobs are listed, the first is %+v", len(list), list[0])
		}
		for i := range MaxRunning - 1 {
			start(t, &b, string(rune('b'+i)), untilCancelled)
		}
		if _, err := b.Start("test", "one more", untilCancelled); !errors.Is(err, errTooMany) {
			t.Errorf("one job too many: %v", err)
		}
		b.Close()
	})
}

// The clock of synctest is exact, so rates are.
func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Board
		var heard []Status
		b.Watch = func(s Status) { heard = append(heard, s) }
		next := make(chan struct{})
		j := start(t, &b, "a", func(ctx context.Context, p *Progress) (string, error) {
			p.Phase("one", 0)
			<-next
			p.Phase("two", 3000)
			for range 25 {
				time.Sleep(time.Second)
				p.Add(100)
			}
			<-next
			return "", nil
		})
		synctest.Wait()
		if s := j.Status(); s.Phase != "one" || s.Total != 0 || s.Left != -1 || s.Rate != 0 {
			t.Errorf("in the first phase: %+v", s)
		}
		next <- struct{}{}
		time.Sleep(25*time.Second + time.Millisecond)
		if s := j.Status(); s.Phase != "two" || s.Done != 2500 || s.Rate < 90 || s.Rate > 110 || s.Left < 5 || s.Left > 6 {
			t.Errorf("in the second phase: %+v", s)
		}
		time.Sleep(time.Minute) // it stands still, and that is seen
		if s := j.Status(); s.Rate > 1 {
			t.Errorf("a minute later: %+v", s)
		}
		next <- struct{}{}
		<-j.Ended()
		if s := j.Status(); s.State != Done || s.Rate != 2500/85 || s.Left != 0 {
			t.Errorf("at the end: %+v", s)
		}
		b.Close()
		if n := len(heard); n != 10 || heard[n-1].State != Done || heard[0].State != Running {
			t.Errorf("heard %d times: %+v", n, heard)
		}
	})
}
