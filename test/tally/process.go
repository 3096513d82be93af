package main

import (
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// command prepares a program that runs in a process group of its own: when ctx ends, the whole group gets SIGTERM, and
// what is still there of it when the program has ended or 10 seconds have passed, SIGKILL.
func command(ctx context.Context, dir string, env []string, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// sweep ends what a program has left in its group.
func sweep(cmd *exec.Cmd) {
	if cmd.Process != nil {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // ESRCH: nothing is left
	}
}

// output runs a program to its end and returns what it printed on both streams.
func output(ctx context.Context, dir string, env []string, name string, args ...string) (string, error) {
	var text strings.Builder
	cmd := command(ctx, dir, env, name, args...)
	cmd.Stdout, cmd.Stderr = &text, &text
	err := cmd.Run()
	sweep(cmd)
	return text.String(), err
}

// goTest runs `go test -json` with arguments and counts what it tells.
func goTest(ctx context.Context, r *report, dir string, env []string, args ...string) {
	cmd := command(ctx, dir, env, "go", append([]string{"test", "-json"}, args...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	name := strings.Join(cmd.Args, " ")
	if err != nil {
		r.fail(name, err.Error())
		return
	}
	failed := r.counts.failed
	s := newStream(r)
	// What outlives the group's leader holds the pipe open: the read must not wait for it longer than Wait would.
	stop := context.AfterFunc(ctx, func() {
		time.Sleep(cmd.WaitDelay)
		sweep(cmd)
		if c, ok := out.(io.Closer); ok {
			c.Close()
		}
	})
	readErr := s.read(out)
	stop()
	err = cmd.Wait()
	sweep(cmd)
	s.close()
	switch {
	case ctx.Err() != nil:
		r.fail(name, "ended: "+context.Cause(ctx).Error()+"\n"+stderr.String())
	case readErr != nil:
		r.fail(name, readErr.Error())
	case err != nil && r.counts.failed == failed:
		r.fail(name, err.Error()+"\n"+stderr.String())
	case stderr.Len() > 0:
		r.printf("%s", stderr.String())
	}
}
