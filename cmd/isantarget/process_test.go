package main

import (
	"bytes"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/isantarget/isantarget/test/daemon"
)

// A process is the binary in a folder of its own, its two streams apart; the
// daemons of package daemon have them together.
type process struct {
	t              *testing.T
	cmd            *exec.Cmd
	stdout, stderr output
	ended          chan struct{} // nil: not started
}

// newProcess makes a process that is yet to be started. It does not outlive the test.
func newProcess(t *testing.T, args ...string) *process {
	p := &process{t: t, cmd: exec.Command(daemon.Binary(), args...)}
	p.cmd.Dir = t.TempDir()
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	t.Cleanup(func() {
		if p.ended != nil {
			p.cmd.Process.Kill()
			<-p.ended
		}
	})
	return p
}

func (p *process) start() {
	p.t.Helper()
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.ended = make(chan struct{})
	go func() {
		p.cmd.Wait()
		close(p.ended)
	}()
}

// await starts the process if need be and waits until it has printed a word.
func (p *process) await(word string) {
	p.t.Helper()
	if p.ended == nil {
		p.start()
	}
	deadline := time.After(time.Minute)
	for !strings.Contains(p.stdout.String(), word) {
		select {
		case <-time.After(10 * time.Millisecond):
			continue
		case <-p.ended:
		case <-deadline:
		}
		p.t.Fatalf("it did not print %q:\n%s%s", word, p.stdout.String(), p.stderr.String())
	}
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// wait is the exit status.
func (p *process) wait() int {
	p.t.Helper()
	timer := time.AfterFunc(time.Minute, func() { p.cmd.Process.Signal(syscall.SIGQUIT) })
	defer timer.Stop()
	<-p.ended
	return p.cmd.ProcessState.ExitCode()
}

// An output may be read while it is written.
type output struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buffer.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buffer.String()
}
