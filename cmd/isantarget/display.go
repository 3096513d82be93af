package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/job"
)

const (
	// linesEvery is how often a job is told of where there is no terminal.
	linesEvery = 5 * time.Second

	// barAfter is how long a job runs before it is shown: short ones would flicker.
	barAfter = 500 * time.Millisecond
)

// A display shows the progress of jobs: a bar on a terminal, else a line now and then.
type display struct {
	w        io.Writer
	terminal bool

	id, phase string // what is shown
	bar       *progressbar.ProgressBar
	told      time.Time
}

func newDisplay(w io.Writer) *display {
	return &display{w: w, told: time.Now(), terminal: isTerminal(w)}
}

// isTerminal tells whether somebody watches w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// update shows how a job is.
func (d *display) update(s job.Status) {
	if time.Since(s.Began) < barAfter {
		return
	}
	if !d.terminal {
		if time.Since(d.told) >= linesEvery {
			d.told = time.Now()
			fmt.Fprintln(d.w, line(s))
		}
		return
	}
	if d.bar == nil || d.id != s.ID || d.phase != s.Phase {
		d.clear()
		d.id, d.phase, d.bar = s.ID, s.Phase, newBar(d.w, s)
	}
	if s.Total > 0 {
		d.bar.ChangeMax64(s.Total)
	}
	d.bar.Describe(describeJob(s))
	d.bar.Set64(max(s.Done, 0))
}

// close takes the bar away.
func (d *display) close() { d.clear() }

func (d *display) clear() {
	if d.bar != nil {
		d.bar.Clear()
		d.bar = nil
	}
}

// newBar is a bar for the phase that s is at. Rate and time left are the daemon's, who
// has seen all of it. It is drawn at each call, or what stands before the bar would be ahead
// of it.
func newBar(w io.Writer, s job.Status) *progressbar.ProgressBar {
	total := s.Total
	if total <= 0 {
		total = -1
	}
	return progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(w), progressbar.OptionShowBytes(false), progressbar.OptionSetPredictTime(false),
		progressbar.OptionSetElapsedTime(false), progressbar.OptionFullWidth(), progressbar.OptionClearOnFinish())
}

// describeJob is what stands before the bar.
func describeJob(s job.Status) string {
	text := s.Kind + " " + s.Object
	if s.Phase != s.Kind && s.Phase != "" {
		text += ", " + s.Phase
	}
	text += " " + amount(s)
	if r := rate(s); r != "" {
		text += " " + r
	}
	if l := left(s); l != "" {
		text += " " + l + " left"
	}
	return text
}

// line is describeJob, with the part that is done in a hundred.
func line(s job.Status) string {
	text := describeJob(s)
	if s.Total > 0 {
		text += fmt.Sprintf(" (%d %%)", int64(100*float64(s.Done)/float64(s.Total)))
	}
	return text
}

// untilInterrupt is ctx, which Ctrl-C ends.
func untilInterrupt(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, os.Interrupt)
}
