// Command bench measures isantarget beside the iSCSI targets that it is compared with, and beside a bare server that shows
// what the machine allows. It prints a table and writes it, with a chart, into docs/performance:
//
//	make bench                                everything: about ten minutes
//	go run ./bench -cases 'QD 32' -rounds 2   part of it
//	go run ./bench benchstat -base main       the inner pieces, in this tree beside a commit
//	go run ./bench load -target IQN -depth 32 the load generator alone
//
// The subcommands bare and isolate are for its own use. See docs/performance.md.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/isantarget/isantarget/bench/bare"
	"github.com/isantarget/isantarget/bench/peer"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	verb := ""
	if len(args) > 0 {
		verb = args[0]
	}
	switch verb {
	case "load":
		return runLoad(args[1:])
	case "benchstat":
		return runBenchstat(ctx, args[1:])
	case "bare":
		return runBare(args[1:])
	case "isolate":
		runtime.LockOSThread()
		return peer.Isolate(args[1:])
	}
	return runAll(ctx, args)
}

// runBare serves the image args[1] at the address args[0].
func runBare(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("bare wants ADDRESS IMAGE")
	}
	image, err := os.OpenFile(args[1], os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer image.Close()
	l, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	return bare.Serve(l, image)
}
