package peer

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A Peer is a target that runs.
type Peer struct {
	Name      string
	Version   string
	Address   string // of its portal
	Target    string // its iSCSI name
	LUN       uint8
	Image     string // path
	PID       int
	Namespace int // PID of a process in its network namespace; 0: ours

	cmd  *exec.Cmd
	log  *os.File
	done chan struct{}
}

// A Missing error says why a peer cannot run here, and what would help.
type Missing struct {
	Name, Reason string
}

func (m *Missing) Error() string { return m.Name + " is left out: " + m.Reason }

// Options say where peers run.
type Options struct {
	Directory string // for images, configurations, logs
	Size      int64  // of each image, bytes
	Port      int    // the first of those that may be used, ten for each peer
	Binary    string // of isantarget; empty: it is built from the tree in the working directory
	Self      string // a program that runs the bare server as "SELF bare ADDRESS IMAGE", and another one without the network as "SELF isolate PROGRAM ..."
}

const namePrefix = "iqn.2026-11.org.isantarget.bench:"

// Names lists the peers there are, in the order they are measured.
func Names() []string { return []string{"isantarget", "tgt", "istgt", "gotgt", "bare"} }

// Start starts the peer with that name and waits until it accepts connections. The error is a *Missing if it cannot run
// on this machine.
func Start(ctx context.Context, name string, o Options) (*Peer, error) {
	starters := map[string]func(context.Context, *Peer, Options) error{
		"isantarget": startISANTarget, "tgt": startTGT, "istgt": startISTGT, "gotgt": startGotgt, "bare": startBare,
	}
	start, ok := starters[name]
	if !ok {
		return nil, fmt.Errorf("peer %q; there are %s", name, strings.Join(Names(), ", "))
	}
	for i, n := range Names() {
		if n == name {
			o.Port += 10 * i
		}
	}
	o.Directory = filepath.Join(o.Directory, name)
	if err := os.MkdirAll(o.Directory, 0o700); err != nil {
		return nil, err
	}
	p := &Peer{Name: name, Address: fmt.Sprintf("127.0.0.1:%d", o.Port), Target: namePrefix + name, Image: filepath.Join(o.Directory, "image")}
	if err := start(ctx, p, o); err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
}

// run starts the program of p; it ends with this process.
func (p *Peer) run(o Options, program string, args ...string) error {
	var err error
	if p.log, err = os.Create(filepath.Join(o.Directory, "log")); err != nil {
		return err
	}
	p.cmd = exec.Command(program, args...)
	p.cmd.Dir = o.Directory
	p.cmd.Env = append(os.Environ(), "HOME="+o.Directory)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		p.cmd = nil
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	p.PID = p.cmd.Process.Pid
	p.done = make(chan struct{})
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // it is stopped by a signal
	}()
	return nil
}

// until waits until ready is true, for a while.
func (p *Peer) until(ctx context.Context, ready func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ready() {
		select {
		case <-p.done:
			return fmt.Errorf("%s has ended:\n%s", p.Name, p.said())
		case <-ctx.Done():
			return fmt.Errorf("%s does not become ready: %w\n%s", p.Name, ctx.Err(), p.said())
		case <-tick.C:
		}
	}
	return nil
}

// said is the end of what the peer has printed.
func (p *Peer) said() string {
	text, err := os.ReadFile(p.log.Name())
	if err != nil {
		return err.Error()
	}
	return string(text[max(len(text)-2000, 0):])
}

// Stop ends the peer; it kills what does not end by itself.
func (p *Peer) Stop() {
	if p.log != nil {
		defer p.log.Close()
	}
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
		_ = syscall.Kill(-p.PID, syscall.SIGKILL)
		<-p.done
	}
}

// Running tells whether the peer has not ended.
func (p *Peer) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// installed finds the programs of a Debian package, and its version.
func installed(name string, programs ...string) (string, error) {
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			return "", &Missing{name, fmt.Sprintf("%s is not installed (apt-get install %s)", program, name)}
		}
	}
	out, err := exec.Command("dpkg-query", "-W", "-f", "${Version}", name).Output()
	if err != nil {
		return "unknown version", nil
	}
	return string(out), nil
}

// output runs a program to its end.
func output(ctx context.Context, program string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s", program, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), err
}
