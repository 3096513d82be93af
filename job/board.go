package job

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"time"
)

// MaxEnded is how many jobs that have ended stay on a board.
const MaxEnded = 64

// MaxRunning is how many jobs run at once.
const MaxRunning = 64

const (
	// firstNews is when Watch hears of a job for the first time, news how often
	// from then on.
	firstNews = 2 * time.Second
	news      = 10 * time.Second
)

// ErrCancelled is why a job ended that was cancelled by somebody; ErrStopping, that
// the daemon stops.
var (
	ErrCancelled = errors.New("it was cancelled")
	ErrStopping  = errors.New("the daemon stops")
)

// A Work is what a job does. It ends soon once ctx has ended, with the error of that
// and nothing left behind, or heeds it no more because it is as good as done. The
// result says for a person what it has done.
type Work func(ctx context.Context, p *Progress) (result string, err error)

// A BusyError refuses a job: another one is at work on the same object.
type BusyError struct{ Job Status }

// Error names the other job.
func (e *BusyError) Error() string {
	return fmt.Sprintf("job %s (%s) is at work on %s; wait for it, or cancel it: isantarget job cancel %s", e.Job.ID, e.Job.Kind, e.Job.Object, e.Job.ID)
}

// errTooMany refuses a job.
var errTooMany = fmt.Errorf("%d jobs run already; wait until one of them has ended", MaxRunning)

// A Board is where the jobs of a daemon are. Its methods may be called at once from
// many goroutines.
type Board struct {
	// Watch, if it is set, hears of each job that runs for long, now and then, and
	// then of the end of every job. Of several jobs it may hear at once.
	Watch func(Status)

	mu     sync.Mutex
	last   int
	jobs   []*Job // in the order of their beginning
	ends   map[End]uint64
	closed bool
	works  sync.WaitGroup
}

// A Job is one operation.
type Job struct {
	id, kind, object string
	beside           bool
	began            time.Time
	progress         Progress
	cancel           context.CancelCauseFunc
	ended            chan struct{}

	mu     sync.Mutex
	state  State
	err    error
	result string
	at     time.Time // when it ended
}

// Start begins a job. It fails with a *BusyError while another one is at work on
// object, and when the board is closed or full.
func (b *Board) Start(kind, object string, work Work) (*Job, error) {
	return b.start(&Job{kind: kind, object: object}, work)
}

// StartBeside is Start for a job that only looks at object, and gives way to those that
// work on it: it keeps none of them away, and none of them keeps it. Of those that look,
// too, there is one at a time.
func (b *Board) StartBeside(kind, object string, work Work) (*Job, error) {
	return b.start(&Job{kind: kind, object: object, beside: true}, work)
}

func (b *Board) start(j *Job, work Work) (*Job, error) {
	ctx, cancel := context.WithCancelCause(context.Background())
	j.began, j.cancel, j.ended, j.state = time.Now(), cancel, make(chan struct{}), Running
	j.progress.Phase(j.kind, 0)
	if err := b.enter(j); err != nil {
		cancel(err)
		return nil, err
	}
	b.works.Go(func() {
		defer cancel(nil)
		j.finish(ctx, work)
		b.count(j)
		b.forget()
		close(j.ended)
	})
	if b.Watch != nil {
		b.works.Go(func() { b.watch(j) })
	}
	b.works.Done() // what enter has added
	return j, nil
}

// enter puts j on the board.
func (b *Board) enter(j *Job) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return ErrStopping
	}
	running := 0
	for _, other := range b.jobs {
		if s := other.Status(); !s.State.Final() {
			if running++; s.Object == j.object && other.beside == j.beside {
				return &BusyError{s}
			}
		}
	}
	if running >= MaxRunning {
		return errTooMany
	}
	b.last++
	j.id = strconv.Itoa(b.last)
	b.jobs = append(b.jobs, j)
	b.works.Add(1)
	return nil
}

// An End is how a job of a kind has ended.
type End struct {
	Kind  string
	State State
}

// Ends is how many jobs have ended, and how, those that are forgotten too.
func (b *Board) Ends() map[End]uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.ends)
}

// count counts j, which has ended.
func (b *Board) count(j *Job) {
	s := j.Status()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ends == nil {
		b.ends = map[End]uint64{}
	}
	b.ends[End{s.Kind, s.State}]++
}

// forget drops the oldest of the jobs that have ended, if they are too many.
func (b *Board) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	ended := 0
	for _, j := range b.jobs {
		if j.final() {
			ended++
		}
	}
	b.jobs = slices.DeleteFunc(b.jobs, func(j *Job) bool {
		if ended <= MaxEnded || !j.final() {
			return false
		}
		ended--
		return true
	})
}

// watch tells of j until it ends.
func (b *Board) watch(j *Job) {
	timer := time.NewTimer(firstNews)
	defer timer.Stop()
	for {
		select {
		case <-j.ended:
			b.Watch(j.Status())
			return
		case <-timer.C:
			if s := j.Status(); !s.State.Final() { // else it is told of in a moment
				b.Watch(s)
			}
			timer.Reset(news)
		}
	}
}

// Run is Start, and waits for the end. When ctx ends the job is cancelled, and still
// waited for.
func (b *Board) Run(ctx context.Context, kind, object string, work Work) error {
	j, err := b.Start(kind, object, work)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { j.stop(context.Cause(ctx)) })
	defer stop()
	<-j.ended
	return j.Err()
}

// List is how all jobs are, in the order of their beginning.
func (b *Board) List() []Status {
	b.mu.Lock()
	jobs := slices.Clone(b.jobs)
	b.mu.Unlock()
	list := make([]Status, 0, len(jobs))
	for _, j := range jobs {
		list = append(list, j.Status())
	}
	return list
}

// Find is the job of this id; nil: there is none, or it is forgotten.
func (b *Board) Find(id string) *Job {
	return b.first(func(j *Job) bool { return j.id == id })
}

// Of is the job that is at work on object; nil: none is.
func (b *Board) Of(object string) *Job {
	return b.first(func(j *Job) bool { return j.object == object && !j.beside && !j.final() })
}

// Beside is the job that looks at object; nil: none does. See StartBeside.
func (b *Board) Beside(object string) *Job {
	return b.first(func(j *Job) bool { return j.object == object && j.beside && !j.final() })
}

func (b *Board) first(is func(*Job) bool) *Job {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.IndexFunc(b.jobs, is); i >= 0 {
		return b.jobs[i]
	}
	return nil
}

// Open lets a board that was closed take jobs again. A new one is open.
func (b *Board) Open() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = false
}

// Close cancels what runs, waits for the end of all, and takes no more.
func (b *Board) Close() {
	b.mu.Lock()
	b.closed = true
	jobs := slices.Clone(b.jobs)
	b.mu.Unlock()
	for _, j := range jobs {
		j.stop(ErrStopping)
	}
	b.works.Wait()
}

// ID is the job's number on its board.
func (j *Job) ID() string { return j.id }

// Ended is closed when the job has ended.
func (j *Job) Ended() <-chan struct{} { return j.ended }

// Cancel asks the job to end, and does not wait for it. A job that has ended stays as
// it is.
func (j *Job) Cancel() { j.stop(ErrCancelled) }

func (j *Job) stop(why error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.state == Running {
		j.state = Cancelling
		j.cancel(why)
	}
}

// Err is why the job did not come to its end; nil: it did, or still runs.
func (j *Job) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.err
}

// Status is how the job is.
func (j *Job) Status() Status {
	s := Status{ID: j.id, Kind: j.kind, Object: j.object, Began: j.began}
	j.mu.Lock()
	s.State, s.Result, s.Ended = j.state, j.result, j.at
	if j.err != nil {
		s.Error = j.err.Error()
	}
	j.mu.Unlock()
	j.progress.tell(&s)
	return s
}

func (j *Job) final() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.state.Final()
}

// finish does the work and notes how it ended.
func (j *Job) finish(ctx context.Context, work Work) {
	result, err := j.do(ctx, work)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.result, j.err, j.at = result, err, time.Now()
	switch {
	case err == nil:
		j.state = Done
	case ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.Cause(ctx))):
		j.state, j.err = Cancelled, context.Cause(ctx)
	default:
		j.state = Failed
	}
}

// do is the work; a panic in it ends the job, and nothing else.
func (j *Job) do(ctx context.Context, work Work) (result string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("a bug of isantarget; please report it: panic: %v\n%s", p, debug.Stack())
		}
	}()
	return work(ctx, &j.progress)
}
