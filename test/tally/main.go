package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout)) }

// run runs the stages named by args, all of them when none is, and returns the exit status.
func run(args []string, w io.Writer) int {
	flags := flag.NewFlagSet("tally", flag.ContinueOnError)
	flags.SetOutput(w)
	flags.Usage = func() {
		fmt.Fprintln(w, "usage: tally [STAGE ...]   run from the module's root; all stages, in this order, when none is named")
		for _, s := range stages() {
			fmt.Fprintf(w, "  %-12s %s\n", s.name, s.purpose)
		}
	}
	if err := flags.Parse(args); err != nil {
		return 2
	}
	chosen := stages()
	if flags.NArg() > 0 {
		chosen = nil
		for _, name := range flags.Args() {
			i := slices.IndexFunc(stages(), func(s stage) bool { return s.name == name })
			if i < 0 {
				fmt.Fprintf(w, "tally: no stage %q\n", name)
				flags.Usage()
				return 2
			}
			chosen = append(chosen, stages()[i])
		}
	}
	root, err := os.Getwd()
	if err != nil {
		fmt.Fprintln(w, err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	built, err := newBinaries()
	if err != nil {
		fmt.Fprintln(w, err)
		return 2
	}
	defer built.remove()
	r := &runner{root: root, report: newReport(w), binaries: built}
	runStages(ctx, r, chosen)
	if !r.report.finish() {
		return 1
	}
	return 0
}

// runStages runs stages one after the other, each within its bound; one that mostly waits runs beside those after it, up
// to one that joins them, and its report is printed when there is room. Once ctx has ended the rest counts as failed.
func runStages(ctx context.Context, r *runner, chosen []stage) {
	install(ctx, r, chosen)
	var beside []func()
	join := func() {
		for _, end := range beside {
			end()
		}
		beside = nil
	}
	for i, s := range chosen {
		if s.joins {
			join()
		}
		if !s.waits || i == len(chosen)-1 {
			part := r.part(r.report.w)
			runStage(ctx, part, s)
			r.report.add(part.report)
			continue
		}
		var printed bytes.Buffer
		part, ended := r.part(&printed), make(chan struct{})
		go func() {
			runStage(ctx, part, s)
			close(ended)
		}()
		beside = append(beside, func() {
			<-ended
			r.report.printf("%s", printed.String())
			r.report.add(part.report)
		})
	}
	join()
}

// part is a runner for one stage.
func (r *runner) part(w io.Writer) *runner {
	return &runner{root: r.root, report: newReport(w), binaries: r.binaries}
}

// runStage runs one stage; one that runs nothing is a failure.
func runStage(ctx context.Context, r *runner, s stage) {
	if ctx.Err() != nil {
		r.report.fail("stage "+s.name, "not run: "+context.Cause(ctx).Error())
		return
	}
	r.report.printf("== %s: %s\n", s.name, s.purpose)
	begun := time.Now()
	bounded, cancel := context.WithTimeoutCause(ctx, s.bound, fmt.Errorf("the stage took longer than %v", s.bound))
	defer cancel()
	s.run(bounded, r)
	if r.report.counts == (counts{}) {
		r.report.fail("stage "+s.name, "nothing ran")
	}
	took := seconds(time.Since(begun))
	r.report.took = append(r.report.took, s.name+" "+took)
	r.report.printf("== %s: %v (%s)\n\n", s.name, r.report.counts, took)
}
