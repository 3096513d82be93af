package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// commandBound is how long one command of a [Shell] may take.
const commandBound = 4 * time.Minute

// shellLoop is the script that a [Shell] is in the guest. A command runs in a process of its own, so that what it does
// to variables and directories it does to itself; what it starts in the background stays until the shell ends.
const shellLoop = `
n=1
while [ ! -e "/lab/$SHELL_NAME.end" ]; do
	command=/lab/$SHELL_NAME.$n
	if [ ! -e "$command" ]; then
		sleep 0.05
		continue
	fi
	( . "$command" ) >"$command.out" 2>&1
	echo $? >"$command.status.new"
	mv "$command.status.new" "$command.status"
	n=$((n + 1))
done
`

// A Shell runs commands in a guest one after the other, for a test that decides on the host what comes next.
type Shell struct {
	t        testing.TB
	guest    *Guest
	script   *Script
	commands int
}

// Shell starts a shell in the guest, which does nothing else until the shell has ended: with the test at the latest.
// What is in env every command finds as shell variables.
func (g *Guest) Shell(t testing.TB, env map[string]string) *Shell {
	t.Helper()
	name := fmt.Sprintf("shell-%d", g.scripts+1)
	s := &Shell{t: t, guest: g}
	s.script = g.Start(t, commandBound, env, "SHELL_NAME="+name+shellLoop)
	t.Cleanup(s.End)
	return s
}

// Try runs a command of bash, which has the functions of lab/image/library, and returns its exit status and what it
// printed on both streams. The test ends if the guest does not answer.
func (s *Shell) Try(command string) (status int, printed string) {
	s.t.Helper()
	s.commands++
	name := fmt.Sprintf("shell-%d.%d", s.script.number, s.commands)
	path := filepath.Join(s.guest.dir, name)
	if err := os.WriteFile(path+".new", []byte(command+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		s.t.Fatal(err)
	}
	err := s.guest.await(name+".status", commandBound)
	out, _ := os.ReadFile(path + ".out") // is not there when the guest is gone
	if err != nil {
		s.guest.qemu.Process.Kill()
		<-s.guest.ended
		s.t.Fatalf("in the guest, %s: %v\n%s\nconsole:\n%s", command, err, out, s.guest.consoleText())
	}
	text, err := os.ReadFile(path + ".status")
	if err != nil {
		s.t.Fatal(err)
	}
	if status, err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil {
		s.t.Fatal(err)
	}
	return status, string(out)
}

// Run runs a command as [Shell.Try] does and ends the test unless its exit status is 0.
func (s *Shell) Run(command string) string {
	s.t.Helper()
	status, out := s.Try(command)
	if status != 0 {
		_, log := s.Try("dmesg | tail -30")
		s.t.Fatalf("in the guest, %s\nended with status %d:\n%s\nkernel log:\n%s", command, status, out, log)
	}
	return out
}

// End ends the shell, and with it all sessions. It does nothing when the shell has ended, or its guest.
func (s *Shell) End() {
	s.t.Helper()
	if s.script == nil || s.guest.gone() {
		return
	}
	script := s.script
	s.script = nil
	script.Signal(fmt.Sprintf("shell-%d.end", script.number))
	script.Wait()
}

// gone tells whether the guest has ended.
func (g *Guest) gone() bool {
	select {
	case <-g.ended:
		return true
	default:
		return false
	}
}

// AwaitEnd waits until the guest has ended by itself, and tells whether it has.
func (g *Guest) AwaitEnd(bound time.Duration) bool {
	select {
	case <-g.ended:
		return true
	case <-time.After(bound):
		return false
	}
}
