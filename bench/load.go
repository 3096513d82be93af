package main

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"time"

	"github.com/isantarget/isantarget/bench/load"
)

// runLoad runs the load generator once and prints its result in JSON.
func runLoad(args []string) error {
	var o load.Options
	flags := flag.NewFlagSet("bench load", flag.ContinueOnError)
	flags.StringVar(&o.Address, "address", "127.0.0.1:3260", "portal, `ADDR:PORT`")
	flags.StringVar(&o.Target, "target", "", "iSCSI name of the target")
	lun := flags.Uint("lun", 0, "logical unit `number`, up to 255")
	mode := flags.String("mode", string(load.RandRead), "read, write, randread, randwrite, randrw (70/30) or idle")
	flags.IntVar(&o.Block, "block", 4096, "`bytes` that a command moves")
	flags.IntVar(&o.Depth, "depth", 1, "commands in flight on each connection")
	flags.IntVar(&o.Connections, "connections", 1, "sessions of one connection each")
	flags.BoolVar(&o.Digests, "digests", false, "header and data digests")
	flags.BoolVar(&o.Verify, "verify", false, "stamp what is written, check what is read, read it all back at the end")
	flags.DurationVar(&o.WarmUp, "warm-up", 500*time.Millisecond, "time before the measurement")
	flags.DurationVar(&o.Time, "time", 5*time.Second, "time of the measurement")
	flags.IntVar(&o.Observe, "pid", 0, "process whose CPU and memory is reported")
	flags.IntVar(&o.Namespace, "namespace", 0, "process in whose network namespace the target is")
	if err := flags.Parse(args); err != nil {
		return err
	}
	o.Mode, o.LUN = load.Mode(*mode), uint8(*lun)
	r, err := load.Run(o)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		return err
	}
	if r.Errors > 0 || r.Corrupt > 0 {
		return errors.New("commands failed, or data was corrupt")
	}
	return nil
}
