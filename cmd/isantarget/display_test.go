package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/job"
)

// A terminal is one, and all that was written to it.
type terminal struct {
	*os.File // what programs write to

	mu   sync.Mutex
	seen strings.Builder
}

// newTerminal makes a terminal of 100 columns.
func newTerminal(t *testing.T) *terminal {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminal can be made here: %v", err)
	}
	t.Cleanup(func() { screen.Close() })
	fd := int(screen.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 100})
	}
	if err != nil {
		t.Fatal(err)
	}
	keys, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keys.Close() })
	term := &terminal{File: keys}
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := screen.Read(b)
			if err != nil {
				return
			}
			term.mu.Lock()
			term.seen.Write(b[:n])
			term.mu.Unlock()
		}
	}()
	return term
}

// shows waits until words were written to the terminal.
func (term *terminal) shows(t *testing.T, words ...string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		term.mu.Lock()
		seen, missing := term.seen.String(), ""
		term.mu.Unlock()
		for _, w := range words {
			if !strings.Contains(seen, w) {
				missing = w
			}
		}
		if missing == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%q is not on the terminal, but %q", missing, seen)
		}
	}
}

// TestProgress is a job that is a quarter done: on a terminal a bar, drawn over itself and taken away in the end; elsewhere
// a line now and then, without what only a terminal understands.
func TestProgress(t *testing.T) {
	now := job.Status{ID: "7", Kind: "allocate", Object: "vm1", Phase: "taking space", State: job.Running,
		Done: 1 << 30, Total: 4 << 30, Rate: 64 << 20, Left: 48, Began: time.Now().Add(-time.Minute)}
	const words = "allocate vm1, taking space 1.0 GiB of 4.0 GiB 64 MiB/s 48s left"

	term := newTerminal(t)
	on := newDisplay(term.File)
	on.update(now)
	term.shows(t, words, "25%", "\r")
	now.Done, now.Left = 2<<30, 32
	on.update(now)
	term.shows(t, "2.0 GiB of 4.0 GiB", "50%")
	on.close()
	term.mu.Lock()
	if seen := term.seen.String(); strings.Contains(seen, "\n") {
		t.Errorf("the bar is more than one line: %q", seen)
	}
	term.mu.Unlock()

	name := t.TempDir() + "/log"
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	off := newDisplay(file)
	off.update(now) // too early
	off.told = off.told.Add(-2 * linesEvery)
	off.update(now)
	off.update(now) // too early again
	off.close()
	want := "allocate vm1, taking space 2.0 GiB of 4.0 GiB 64 MiB/s 32s left (50 %)\n"
	if text, err := os.ReadFile(name); err != nil || string(text) != want {
		t.Errorf("%v, where there is no terminal %q is written, want %q", err, text, want)
	}
}
