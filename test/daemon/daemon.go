package daemon

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Target is the name that [Start] gives the target unless told another.
const Target = "iqn.2026-11.org.isantarget.test:disk"

// How long a daemon may take to accept logins, and to end after SIGTERM.
const (
	startBound = 2 * time.Minute
	stopBound  = 2 * time.Minute
)

// A Config is what the daemon serves. Its zero value is one portal on a free port of 127.0.0.1 without a LUN.
type Config struct {
	Portals []string // ADDR:PORT; none: 127.0.0.1 and a port of [FreePort]
	Target  string   // an IQN; "": [Target]
	LUNs    []string // the values of --lun, in the order of their numbers
	Args    []string // further arguments of serve
	File    string   // a configuration file that says all this; Args alone count beside it
}

// A Daemon is one `isantarget serve` process, and after [Daemon.Restart] the next with the same arguments.
type Daemon struct {
	t      testing.TB
	binary string
	args   []string
	dir    string // of the state, the ready file and the log
	urls   []string
	cmd    *exec.Cmd
	ended  chan error // gets the result of Wait once, then is closed
}

// Start runs `isantarget serve` and waits until it accepts logins; the test ends at once if it does not. The daemon is
// stopped, and its log judged, when the test ends.
func Start(t testing.TB, c Config) *Daemon {
	t.Helper()
	d := &Daemon{t: t, binary: Binary(), dir: t.TempDir()}
	if c.File != "" {
		d.args = append([]string{"serve", "--config", c.File, "--ready-file", d.readyFile()}, c.Args...)
		t.Cleanup(d.finish)
		d.Restart()
		return d
	}
	if len(c.Portals) == 0 {
		c.Portals = []string{fmt.Sprintf("127.0.0.1:%d", FreePort(t))}
	}
	if c.Target == "" {
		c.Target = Target
	}
	d.args = []string{"serve", "--state", filepath.Join(d.dir, "state"), "--ready-file", d.readyFile(), "--target", c.Target}
	for _, portal := range c.Portals {
		d.args = append(d.args, "--portal", portal)
	}
	for _, lun := range c.LUNs {
		d.args = append(d.args, "--lun", lun)
	}
	d.args = append(d.args, c.Args...)
	t.Cleanup(d.finish)
	d.Restart()
	return d
}

// Restart starts the process again, with the same arguments, after [Daemon.Kill] or [Daemon.Stop], and waits until it
// accepts logins.
func (d *Daemon) Restart() {
	d.t.Helper()
	if err := os.Remove(d.readyFile()); err != nil && !errors.Is(err, os.ErrNotExist) {
		d.t.Fatal(err)
	}
	log, err := os.OpenFile(d.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer log.Close() // the process has its own descriptor
	cmd := exec.Command(d.binary, d.args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = d.dir
	cmd.Env = environment()
	// A group of its own, so that a terminal's ^C reaches the test first; and it never outlives the test.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		d.t.Fatalf("%s: %v (a package that starts daemons needs TestMain to call daemon.Main)", BinaryVariable, err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- cmd.Wait()
		close(ended)
	}()
	d.cmd, d.ended = cmd, ended
	d.awaitReady()
}

// awaitReady waits for the ready file and reads the URLs in it.
func (d *Daemon) awaitReady() {
	d.t.Helper()
	deadline := time.Now().Add(startBound)
	for time.Now().Before(deadline) {
		text, err := os.ReadFile(d.readyFile())
		if err == nil {
			d.urls = strings.Fields(string(text))
			return
		}
		select {
		case err := <-d.ended:
			d.cmd = nil
			d.t.Fatalf("isantarget %s ended before it accepted logins: %v\n%s", strings.Join(d.args, " "), err, d.Log())
		case <-time.After(20 * time.Millisecond):
		}
	}
	d.t.Fatalf("isantarget %s wrote no ready file within %v\n%s", strings.Join(d.args, " "), startBound, d.Log())
}

// Kill ends the process with SIGKILL, as a crash or the out of memory killer would. From then on the daemon is the binary
// that users get, without the race detector: it begins sooner, and does more before it is killed again.
func (d *Daemon) Kill() {
	d.t.Helper()
	if d.cmd == nil {
		d.t.Fatal("Kill: the daemon does not run")
	}
	d.cmd.Process.Kill()
	<-d.ended
	d.cmd, d.binary = nil, Client()
}

// Signal sends a signal to the process and does not wait for what it does.
func (d *Daemon) Signal(s syscall.Signal) {
	d.t.Helper()
	if d.cmd == nil {
		d.t.Fatalf("Signal(%v): the daemon does not run", s)
	}
	if err := d.cmd.Process.Signal(s); err != nil {
		d.t.Fatal(err)
	}
}

// Wait waits for a process that was told to end and returns how it ended: nil is exit status 0. A process that takes
// longer than two minutes has its goroutines printed (SIGQUIT), is killed, and fails the test.
func (d *Daemon) Wait() error {
	d.t.Helper()
	if d.cmd == nil {
		d.t.Fatal("Wait: the daemon does not run")
	}
	defer func() { d.cmd = nil }()
	select {
	case err := <-d.ended:
		return err
	case <-time.After(stopBound):
	}
	d.cmd.Process.Signal(syscall.SIGQUIT)
	select {
	case <-d.ended:
	case <-time.After(5 * time.Second):
		d.cmd.Process.Kill()
		<-d.ended
	}
	d.t.Errorf("isantarget still ran %v after it was told to end", stopBound)
	return errors.New("had to be killed")
}

// Stop ends the process with SIGTERM and fails the test unless it exits with status 0.
func (d *Daemon) Stop() {
	d.t.Helper()
	d.Signal(syscall.SIGTERM)
	if err := d.Wait(); err != nil {
		d.t.Errorf("isantarget on SIGTERM: %v, want exit status 0\n%s", err, d.tail())
	}
}

// Running tells whether the process is there.
func (d *Daemon) Running() bool {
	if d.cmd == nil {
		return false
	}
	select {
	case err := <-d.ended:
		d.t.Errorf("isantarget ended by itself: %v\n%s", err, d.tail())
		d.cmd = nil
		return false
	default:
		return true
	}
}

// URLs returns the lines of the ready file: an iscsi:// URL for each portal and LUN, all LUNs of the first portal first.
func (d *Daemon) URLs() []string { return d.urls }

// URL returns the URL of a LUN through the first portal.
func (d *Daemon) URL(lun int) string {
	d.t.Helper()
	suffix := fmt.Sprintf("/%d", lun)
	for _, u := range d.urls {
		if strings.HasSuffix(u, suffix) {
			return u
		}
	}
	d.t.Fatalf("no URL of LUN %d in the ready file: %q", lun, d.urls)
	return ""
}

// Address returns the first portal's host:port.
func (d *Daemon) Address() string {
	d.t.Helper()
	if len(d.urls) == 0 {
		d.t.Fatal("the ready file names no portal")
	}
	host := strings.TrimPrefix(d.urls[0], "iscsi://")
	host, _, _ = strings.Cut(host, "/")
	return host[strings.LastIndexByte(host, '@')+1:]
}

// State is the state directory, unless a configuration file says another.
func (d *Daemon) State() string { return filepath.Join(d.dir, "state") }

// Log returns what the process has printed so far, on both of its streams, over all restarts.
func (d *Daemon) Log() string {
	text, err := os.ReadFile(d.logFile())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		d.t.Error(err)
	}
	return string(text)
}

// PID returns the process identifier.
func (d *Daemon) PID() int { return d.cmd.Process.Pid }

// Accepts tells whether a TCP connection to the first portal is accepted.
func (d *Daemon) Accepts() bool {
	c, err := net.DialTimeout("tcp", d.Address(), 3*time.Second)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// finish stops the process and judges what it has printed.
func (d *Daemon) finish() {
	if d.Running() {
		d.Stop()
	}
	if complaint := complaints(d.Log()); complaint != "" {
		d.t.Errorf("isantarget printed:\n%s", complaint)
	}
	if d.t.Failed() {
		d.t.Logf("the end of isantarget's log:\n%s", d.tail())
	}
}

// complaints returns the part of a log that starts with the first data race, panic or fatal error of the runtime; it is
// empty where there is none.
func complaints(log string) string {
	const bound = 16 << 10
	at := regexp.MustCompile(`(?m)^(WARNING: DATA RACE|panic: |fatal error: |SIGSEGV)`).FindStringIndex(log)
	if at == nil {
		return ""
	}
	return log[at[0]:min(len(log), at[0]+bound)]
}

// tail returns the end of the log.
func (d *Daemon) tail() string {
	const lines = 40
	all := strings.Split(strings.TrimRight(d.Log(), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

func (d *Daemon) readyFile() string { return filepath.Join(d.dir, "ready") }
func (d *Daemon) logFile() string   { return filepath.Join(d.dir, "log") }

// FreePort returns a TCP port that is free on every address of this machine, in the range that means the host inside the
// guest of test/guest too, and outside the range from which the kernel takes ephemeral ports. Until the test has ended no
// other call returns it, in whatever process, so that it is still free when a daemon is started, and started again, on it.
func FreePort(t testing.TB) int {
	t.Helper()
	const first, last = 3300, 32767
	for range 1000 {
		port := first + rand.IntN(last-first+1)
		if fd, err := hold(port); err == nil {
			t.Cleanup(func() { unix.Close(fd) })
			return port
		}
	}
	t.Fatalf("no free TCP port between %d and %d", first, last)
	return 0
}

// hold binds a socket to a port of every address, on which it does not listen. It fails where anybody has bound that port
// for whatever purpose, for it asks without SO_REUSEADDR; and it keeps out nobody who asks with it, as all do who listen.
func hold(port int) (fd int, err error) {
	var all unix.Sockaddr = &unix.SockaddrInet6{Port: port}
	fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		all = &unix.SockaddrInet4{Port: port}
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	}
	if err != nil {
		return -1, err
	}
	if err := errors.Join(unix.Bind(fd, all), unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// Image makes a sparse file of size bytes in a temporary directory of the test and returns its path.
func Image(t testing.TB, name string, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return path
}

// Allocated returns the bytes that a file takes on its file system, what du counts.
func Allocated(t testing.TB, path string) int64 {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		t.Fatalf("stat %s: %v", path, err)
	}
	return st.Blocks * 512
}
