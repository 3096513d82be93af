package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"github.com/isantarget/isantarget/bench/load"
	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/doctor"
)

func benchCommand() *cli.Command {
	return &cli.Command{
		Name: "bench", Usage: "measure how fast an iSCSI disk is", ArgsUsage: "URL",
		Description: "isantarget bench iscsi://192.0.2.10/iqn.2026-11.org.example:vmstore/0 --depth 32\n\n" +
			"Any target will do. It reads, unless --write or --mix is given: those destroy what is on the\n" +
			"disk, and ask first. The load is closed: --depth commands are in flight in each session, and\n" +
			"each that ends is replaced. So while the target stalls nothing new is sent, and a stall counts\n" +
			"as one slow command for each in flight, not for all that would have come (coordinated\n" +
			"omission): look at the maximum too. What was read or written before the clock starts\n" +
			"(--warm-up) is not counted.",
		Flags: slices.Concat(initiatorFlags(), []cli.Flag{
			&cli.StringFlag{Name: "block", Usage: "move `SIZE` by each command, a multiple of the disk's blocks, up to 16MiB", Value: "4KiB"},
			&cli.IntFlag{Name: "depth", Usage: "keep `N` commands in flight in each session", Value: 1},
			&cli.IntFlag{Name: "sessions", Usage: "log in `N` times", Value: 1},
			&cli.BoolFlag{Name: "sequential", Usage: "walk through the disk, each session from a place of its own (default: at random)"},
			&cli.BoolFlag{Name: "write", Usage: "write, and read nothing: what is on the disk is lost"},
			&cli.IntFlag{Name: "mix", Usage: "let `N` of 100 commands read, and the others write: what is on the disk is lost"},
			&cli.BoolFlag{Name: "verify", Usage: "stamp what is written, check it when it is read, and read all of it back at the end; with --write or --mix"},
			&cli.StringFlag{Name: "from", Usage: "use the disk from `SIZE` on", Value: "0"},
			&cli.StringFlag{Name: "length", Usage: "use `SIZE` of it (default: to its end)"},
			&cli.DurationFlag{Name: "duration", Usage: "measure for `TIME`", Value: 10 * time.Second},
			&cli.DurationFlag{Name: "warm-up", Usage: "do the same for `TIME` before", Value: time.Second},
			&cli.BoolFlag{Name: "digests", Usage: "agree on header and data digests"},
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask whether the data may be lost"},
			jsonFlag(),
		}),
		Action: runBench,
	}
}

func runBench(c *cli.Context) error {
	if c.NArg() != 1 {
		return errors.New("wants one argument: isantarget bench iscsi://HOST/IQN/LUN")
	}
	place, err := doctor.ParsePlace(c.Args().First())
	if err != nil {
		return err
	}
	o, err := loadOptions(c, place)
	if err != nil {
		return err
	}
	ctx, cancel := untilInterrupt(c.Context)
	defer cancel()
	disk, err := probe(ctx, c, &o, place)
	if err != nil {
		return err
	}
	if err := mayWrite(c, o, place, disk); err != nil {
		return err
	}
	if o.Address, err = numeric(ctx, place.Portal); err != nil {
		return err
	}
	terminal := isTerminal(c.App.ErrWriter)
	if terminal {
		o.Progress = func(p load.Progress) { fmt.Fprintf(c.App.ErrWriter, "\r\x1b[K%s", progressLine(p)) }
	}
	o.Stop = ctx.Done()
	r, err := load.Run(o)
	if terminal {
		fmt.Fprint(c.App.ErrWriter, "\r\x1b[K")
	}
	if err != nil {
		return fmt.Errorf("%v: %w", place, err)
	}
	return printBench(c, place, o, disk, r)
}

// loadOptions are the flags.
func loadOptions(c *cli.Context, place doctor.Place) (load.Options, error) {
	o := load.Options{
		Target: place.Target, Depth: c.Int("depth"), Connections: c.Int("sessions"), Digests: c.Bool("digests"), Verify: c.Bool("verify"),
		Time: c.Duration("duration"), WarmUp: c.Duration("warm-up"), Mode: load.RandRead,
	}
	switch {
	case place.LUN == doctor.AnyLUN || place.Target == "":
		return o, errors.New("the URL has to name one LUN: isantarget bench iscsi://HOST/IQN/LUN")
	case place.LUN > 255:
		return o, fmt.Errorf("LUN %d: only those up to 255 can be measured", place.LUN)
	case c.Bool("write") && c.IsSet("mix"):
		return o, errors.New("--write and --mix exclude each other: --mix 0 writes only")
	case o.Verify && !c.Bool("write") && !c.IsSet("mix"):
		return o, errors.New("--verify checks what was written before: add --write or --mix N")
	case o.WarmUp < 0:
		return o, fmt.Errorf("--warm-up %v: wants no less than nothing", o.WarmUp)
	}
	o.LUN = uint8(place.LUN)
	if c.Bool("sequential") {
		o.Mode = load.Read
	}
	share := 100
	if c.Bool("write") {
		share = 0
	} else if c.IsSet("mix") {
		share = c.Int("mix")
	}
	o.ReadShare = &share
	for _, size := range []struct {
		name string
		into *int64
	}{{"from", &o.First}, {"length", &o.Length}} {
		if err := sizeFlag(c, size.name, size.into); err != nil {
			return o, err
		}
	}
	var block int64
	if err := sizeFlag(c, "block", &block); err != nil {
		return o, err
	}
	o.Block = int(min(block, 1<<30))
	return o, nil
}

// sizeFlag reads a flag that is a size, if it is given.
func sizeFlag(c *cli.Context, name string, into *int64) error {
	if c.String(name) == "" {
		return nil
	}
	var size configs.Size
	if err := size.UnmarshalText([]byte(c.String(name))); err != nil {
		return fmt.Errorf("--%s: %w", name, err)
	}
	*into = int64(size)
	return nil
}

// probe looks at the disk first, for its errors are in plain words.
func probe(ctx context.Context, c *cli.Context, o *load.Options, place doctor.Place) (doctor.Disk, error) {
	seen, err := initiatorOptions(c, place)
	if err != nil {
		return doctor.Disk{}, err
	}
	o.Initiator, o.User, o.Secret = seen.Initiator, seen.User, seen.Secret
	disk, err := doctor.Probe(ctx, place, seen)
	if err != nil {
		return disk, fmt.Errorf("%v: %w", place, err)
	}
	const reach = 2 << 40 // of READ (10) with blocks of 512 bytes
	switch end := o.First + o.Length; {
	case o.Block%disk.BlockSize != 0 || o.Block == 0:
		return disk, fmt.Errorf("--block %s: the disk has blocks of %d bytes; give a multiple", c.String("block"), disk.BlockSize)
	case o.First >= disk.Size || end > disk.Size:
		return disk, fmt.Errorf("the disk has %s: --from and --length reach beyond that", humanize.IBytes(uint64(disk.Size)))
	case o.First >= reach || end > reach:
		return disk, errors.New("only the first 2 TiB of a disk can be measured: choose --from and --length there")
	case o.Length == 0 && disk.Size > reach:
		o.Length = reach - o.First
	}
	return disk, nil
}

// mayWrite asks whether the data may be lost, if it will be.
func mayWrite(c *cli.Context, o load.Options, place doctor.Place, disk doctor.Disk) error {
	if *o.ReadShare == 100 && !c.IsSet("mix") {
		return nil
	}
	switch {
	case disk.WriteProtected:
		return fmt.Errorf("%v is write protected: it can only be read", place)
	case disk.Reserved > 0:
		return fmt.Errorf("%v is in use: %d reservations are registered with it, so its data is not overwritten", place, disk.Reserved)
	}
	return confirmTo(c, "LUN", place.String(), "overwrite what is on it", "written",
		fmt.Sprintf("%s, %s, %s:", place, humanize.IBytes(uint64(disk.Size)), disk.Product),
		"what is on this disk is lost.")
}

// numeric is a portal by address: the load generator asks no name server.
func numeric(ctx context.Context, portal string) (string, error) {
	host, port, err := net.SplitHostPort(portal)
	if err != nil {
		return "", err
	}
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return "", err
	}
	// The first one that answers, as a connect by name would take.
	for _, a := range addresses {
		conn, dialErr := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", net.JoinHostPort(a.String(), port))
		if err = dialErr; err == nil {
			conn.Close()
			return net.JoinHostPort(a.Unmap().String(), port), nil
		}
	}
	return "", err
}

func progressLine(p load.Progress) string {
	text := fmt.Sprintf("%4.0f s  %s IOPS  %s/s", p.Elapsed.Seconds(), humanize.CommafWithDigits(p.PerSecond, 0), humanize.IBytes(uint64(p.BytesPerSecond)))
	if p.WarmUp {
		return text + "  warming up"
	}
	text += "  p99 " + micros(p.P99)
	if p.Errors > 0 {
		text += fmt.Sprintf("  %d errors", p.Errors)
	}
	return text
}

// micros is a time in microseconds for people.
func micros(us float64) string {
	switch d := time.Duration(us * 1e3); {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	default:
		return d.Round(100 * time.Nanosecond).String()
	}
}

// benchResult is what bench prints for programs.
type benchResult struct {
	URL      string `json:"url"`
	Size     int64  `json:"size"`  // of the disk, bytes
	Block    int    `json:"block"` // bytes
	Depth    int    `json:"depth"`
	Sessions int    `json:"sessions"`
	Reads    int    `json:"reads_of_100"`
	Access   string `json:"access"`
	From     int64  `json:"from"`
	Length   int64  `json:"length"` // 0: to the end
	load.Result
}

func printBench(c *cli.Context, place doctor.Place, o load.Options, disk doctor.Disk, r load.Result) error {
	access := "random"
	if c.Bool("sequential") {
		access = "sequential"
	}
	if c.Bool("json") {
		out := benchResult{place.String(), disk.Size, o.Block, o.Depth, o.Connections, *o.ReadShare, access, o.First, o.Length, r}
		if err := printJSON(c, out); err != nil {
			return err
		}
	} else {
		if err := printFacts(c, benchFacts(place, o, disk, r, access)); err != nil {
			return err
		}
	}
	switch {
	case r.Corrupt > 0:
		return fmt.Errorf("%d of %d sectors that were read are not what was written to them: do not trust this disk", r.Corrupt, r.Verified)
	case r.Errors > 0:
		return fmt.Errorf("%d commands failed; the first: %s", r.Errors, r.FirstError)
	case r.Commands == 0:
		return errors.New("no command ended while it was measured: measure for longer")
	}
	return nil
}

func benchFacts(place doctor.Place, o load.Options, disk doctor.Disk, r load.Result, access string) [][2]string {
	what := fmt.Sprintf("%d %% reads", *o.ReadShare)
	switch *o.ReadShare {
	case 100:
		what = "reads"
	case 0:
		what = "writes"
	}
	facts := [][2]string{
		{"disk", fmt.Sprintf("%v, %s, %s", place, humanize.IBytes(uint64(disk.Size)), disk.Product)},
		{"load", fmt.Sprintf("%s %s of %s, %d in flight in each of %d sessions", access, what, humanize.IBytes(uint64(o.Block)), o.Depth, o.Connections)},
		{"measured", fmt.Sprintf("%.1f s, after %v of warm-up", r.Seconds, o.WarmUp)},
		{"commands", fmt.Sprintf("%d: %d reads, %d writes", r.Commands, r.Reads, r.Writes)},
		{"IOPS", humanize.CommafWithDigits(r.PerSecond, 0)},
		{"throughput", fmt.Sprintf("%.1f MiB/s", r.BytesPerSecond/(1<<20))},
		{"latency", fmt.Sprintf("mean %s, p50 %s, p99 %s, p99.9 %s, max %s", micros(r.Mean), micros(r.P50), micros(r.P99), micros(r.P999), micros(r.Max))},
		{"processors", fmt.Sprintf("%.2f of this host, for making the load", r.LoadCPU)},
	}
	if r.LoadCPU > 0.9 {
		facts = append(facts, [2]string{"note", "the load generator itself was busy all the time: the disk may be faster than this"})
	}
	if o.Verify {
		facts = append(facts, [2]string{"verified", fmt.Sprintf("%d sectors, %d of them corrupt", r.Verified, r.Corrupt)})
	}
	if r.Errors > 0 {
		facts = append(facts, [2]string{"errors", fmt.Sprintf("%d; the first: %s", r.Errors, r.FirstError)})
	}
	return facts
}
