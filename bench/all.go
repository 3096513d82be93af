package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/isantarget/isantarget/bench/chart"
	"github.com/isantarget/isantarget/bench/load"
	"github.com/isantarget/isantarget/bench/machine"
	"github.com/isantarget/isantarget/bench/peer"
	"github.com/isantarget/isantarget/bench/table"
)

// A benchmark is what the command line asks for.
type benchmark struct {
	rounds   int
	time     time.Duration
	warmUp   time.Duration
	cases    string
	targets  string
	size     int64 // MiB
	port     int
	quiet    float64
	patience time.Duration
	out      string
	keep     string
	binary   string

	temporary bool

	self   string
	run    table.Run
	peers  []*peer.Peer
	broken map[string]bool // case and target that failed once
	ahead  map[string]bool // target whose image is in the page cache in large folios
}

func runAll(ctx context.Context, args []string) error {
	b := benchmark{broken: make(map[string]bool), ahead: make(map[string]bool)}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.IntVar(&b.rounds, "rounds", 5, "interleaved rounds")
	flags.DurationVar(&b.time, "time", 2*time.Second, "length of each measurement")
	flags.DurationVar(&b.warmUp, "warm-up", 300*time.Millisecond, "load before each measurement")
	flags.StringVar(&b.cases, "cases", ".", "run the cases that this regular expression matches")
	flags.StringVar(&b.targets, "targets", strings.Join(peer.Names(), ","), "measure these")
	flags.Int64Var(&b.size, "size", 512, "size of each image, MiB")
	flags.IntVar(&b.port, "port", 13260, "the first of fifty ports on 127.0.0.1 to use")
	flags.Float64Var(&b.quiet, "quiet", 0.15, "before each measurement wait until others use less than this much of a processor")
	flags.DurationVar(&b.patience, "patience", 10*time.Second, "but no longer than this")
	flags.StringVar(&b.out, "out", "docs/performance", "write the report and the chart into this directory; empty: do not")
	flags.StringVar(&b.keep, "dir", "", "keep images and logs in this directory, which must be on a disk file system (default: a temporary one)")
	flags.StringVar(&b.binary, "isantarget", "", "measure this binary instead of the tree")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 || b.rounds < 1 || b.size < 128 {
		return errors.New("no arguments, at least one round, images of at least 128 MiB; -h lists the flags")
	}
	return b.all(ctx)
}

func (b *benchmark) all(ctx context.Context) (err error) {
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if err := b.choose(); err != nil {
		return err
	}
	defer b.stop()
	if err := b.start(ctx); err != nil {
		return err
	}
	for round := range b.rounds {
		err := b.round(ctx, round)
		if err != nil && round == 0 {
			return err
		}
		if err != nil { // what there is, is worth telling
			b.run.Notes = append(b.run.Notes, fmt.Sprintf("round %d of %d came to no end: %v", round+1, b.rounds, err))
			b.rounds = round
			break
		}
	}
	return b.report()
}

// round takes every case through all targets.
func (b *benchmark) round(ctx context.Context, round int) error {
	for _, c := range b.run.Cases {
		for _, p := range b.peers {
			if err := b.measure(ctx, round, c, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// choose picks the cases.
func (b *benchmark) choose() error {
	wanted, err := regexp.Compile(b.cases)
	if err != nil {
		return err
	}
	for _, c := range table.Cases() {
		if wanted.MatchString(c.Name) {
			b.run.Cases = append(b.run.Cases, c)
		}
	}
	if len(b.run.Cases) == 0 {
		return fmt.Errorf("no case matches %q", b.cases)
	}
	return nil
}

// start starts all targets; what cannot run on this machine is left out.
func (b *benchmark) start(ctx context.Context) error {
	directory := b.keep
	if directory == "" {
		var err error
		// Not in /tmp, which may be memory.
		if directory, err = os.MkdirTemp("/var/tmp", "isantarget-bench-"); err != nil {
			return err
		}
		b.keep = directory
		b.temporary = true
	}
	for _, name := range strings.Split(b.targets, ",") {
		fmt.Fprintf(os.Stderr, "starting %s\n", name)
		p, err := peer.Start(ctx, name, peer.Options{Directory: directory, Size: b.size << 20, Port: b.port, Binary: b.binary, Self: b.self})
		var missing *peer.Missing
		switch {
		case errors.As(err, &missing):
			fmt.Fprintln(os.Stderr, err)
			b.run.Notes = append(b.run.Notes, err.Error())
			continue
		case err != nil:
			return err
		}
		b.peers = append(b.peers, p)
		b.run.Targets = append(b.run.Targets, table.Target{Name: p.Name, Version: p.Version})
	}
	return nil
}

func (b *benchmark) stop() {
	for _, p := range b.peers {
		p.Stop()
	}
	if b.temporary {
		_ = os.RemoveAll(b.keep) // what stays there harms nobody
	}
}

// patienceWithTarget is how long a target may take for what is not measured: logins, and the end.
const patienceWithTarget = 20 * time.Second

// measure is one cell of one round. A cell that failed is not tried again.
func (b *benchmark) measure(ctx context.Context, round int, c table.Case, p *peer.Peer) error {
	key := c.Name + "/" + p.Name
	if b.broken[key] || c.Only != "" && c.Only != p.Name {
		return nil
	}
	r, err := b.cell(ctx, c, p)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		b.broken[key] = true
		note := fmt.Sprintf("%s, %s, round %d: %v", c.Name, p.Name, round+1, err)
		b.run.Notes = append(b.run.Notes, note)
		fmt.Fprintln(os.Stderr, note)
		if !p.Running() {
			return fmt.Errorf("%s has ended", p.Name)
		}
		return nil
	}
	b.run.Add(c, p.Name, r)
	fmt.Fprintf(os.Stderr, "%d/%d %-36s %-10s %9.0f/s  p99 %6.0f us  %6.1f us/command  load CPU %.2f  other CPU %.2f\n",
		round+1, b.rounds, c.Name, p.Name, r.PerSecond, r.P99, r.TargetMicros, r.LoadCPU, r.OtherCPU)
	return nil
}

func (b *benchmark) cell(ctx context.Context, c table.Case, p *peer.Peer) (load.Result, error) {
	var r load.Result
	if err := b.warm(c, p); err != nil {
		return r, err
	}
	if err := b.awaitQuiet(ctx); err != nil {
		return r, err
	}
	warmUp := b.warmUp
	if c.Mode == load.Idle {
		warmUp = 0
	}
	limited, cancel := context.WithTimeout(ctx, b.time+warmUp+patienceWithTarget)
	defer cancel()
	cmd := exec.CommandContext(limited, b.self, "load", "-address", p.Address, "-target", p.Target, "-lun", fmt.Sprint(p.LUN), "-mode", string(c.Mode),
		"-block", fmt.Sprint(c.Block), "-depth", fmt.Sprint(c.Depth), "-connections", fmt.Sprint(c.Connections), fmt.Sprintf("-digests=%v", c.Digests),
		"-time", b.time.String(), "-warm-up", warmUp.String(), "-pid", fmt.Sprint(p.PID), "-namespace", fmt.Sprint(p.Namespace))
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return r, fmt.Errorf("%w: %s", err, strings.TrimSpace(said.String()))
	}
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		return r, err
	}
	// What one target has written must not be written back while the next one is measured.
	return r, machine.Flush(p.Image)
}

// warm has the image in the page cache as the load would have brought it there: in large folios for what goes in
// sequence, page by page for what does not (docs/performance.md). It is the same for every target.
func (b *benchmark) warm(c table.Case, p *peer.Peer) error {
	ahead := c.Mode == load.Read || c.Mode == load.Write
	if ahead != b.ahead[p.Name] {
		if err := machine.Evict(p.Image); err != nil {
			return err
		}
		b.ahead[p.Name] = ahead
	}
	if ahead {
		return machine.WarmAhead(p.Image)
	}
	return machine.Warm(p.Image)
}

// awaitQuiet waits until the rest of the machine is quiet, or patience ends.
func (b *benchmark) awaitQuiet(ctx context.Context) error {
	const look = 200 * time.Millisecond
	for end := time.Now().Add(b.patience); time.Now().Before(end); {
		before, err := machine.SampleCPU(0)
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(look):
		}
		after, err := machine.SampleCPU(0)
		if err != nil {
			return err
		}
		if after.Sub(before).Other()/look.Seconds() < b.quiet {
			return nil
		}
	}
	return nil
}

// report prints the tables, and writes them and the chart.
func (b *benchmark) report() error {
	r := table.Report{Run: &b.run, When: time.Now(), Machine: machine.Describe(), Rounds: b.rounds, Time: b.time, Size: b.size << 20}
	picture, err := chart.SVG(chart.Of(r.Run))
	if err != nil {
		return err
	}
	name := r.When.UTC().Format("2006-01-02-1504")
	if b.out != "" {
		r.Chart = name + ".svg"
	}
	page := r.Markdown()
	fmt.Print(page)
	if b.out == "" {
		return nil
	}
	if err := os.MkdirAll(b.out, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(b.out, r.Chart), picture, 0o644); err != nil {
		return err
	}
	path := filepath.Join(b.out, name+".md")
	if err := os.WriteFile(path, []byte(page), 0o644); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "written to %s\n", path)
	return nil
}
