package load

import (
	"fmt"
	"time"
)

// A Mode is what the commands do.
type Mode string

// The modes. The rand ones choose blocks at random; the others walk through the unit, each connection from a place of
// its own. RandRW reads 70 times of 100. Idle logs in and then does nothing.
const (
	Read      Mode = "read"
	Write     Mode = "write"
	RandRead  Mode = "randread"
	RandWrite Mode = "randwrite"
	RandRW    Mode = "randrw"
	Idle      Mode = "idle"
)

// readShare is how many of 100 commands read.
func (m Mode) readShare() (int, error) {
	switch m {
	case Read, RandRead, Idle:
		return 100, nil
	case Write, RandWrite:
		return 0, nil
	case RandRW:
		return 70, nil
	}
	return 0, fmt.Errorf("mode %q; it is read, write, randread, randwrite, randrw or idle", m)
}

func (m Mode) sequential() bool { return m == Read || m == Write }

// Options say what load to make.
type Options struct {
	Address     string        // of the portal, ADDR:PORT
	Target      string        // its iSCSI name
	LUN         uint8         // logical unit number
	Mode        Mode          //
	Block       int           // bytes a command moves, a multiple of 512
	Depth       int           // commands in flight on each connection
	Connections int           // sessions of one connection each
	Digests     bool          // agree on header and data digests; a target that refuses is an error
	WarmUp      time.Duration // not measured
	Time        time.Duration // measured
	Verify      bool          // stamp each sector that is written, check each that is read, and read back at the end
	Observe     int           // PID of the process whose CPU and memory is reported; 0: none
	Namespace   int           // PID of a process in whose network namespace to connect; 0: this one

	ReadShare     *int  // how many of 100 commands read; nil: as Mode says
	First, Length int64 // the part of the unit that is used, bytes; Length 0: from First to its end

	Initiator    string // iSCSI name; empty: names of our own
	User, Secret string // for CHAP (MD5); an empty secret: none

	// Progress, if set, hears every second how it goes. It must not take long.
	Progress func(Progress)
	// Stop, if set, ends the measurement when it is closed.
	Stop <-chan struct{}
}

// A Progress is how a run goes.
type Progress struct {
	WarmUp         bool
	Elapsed        time.Duration // of the warm-up, or of the measurement
	PerSecond      float64       // commands, since it was told last
	BytesPerSecond float64       // likewise
	P99            float64       // microseconds, of all that was measured yet
	Errors         uint64
}

func (o Options) check() error {
	switch {
	case o.Block <= 0 || o.Block%sector != 0 || o.Block > 16<<20:
		return fmt.Errorf("block of %d bytes; it is a multiple of 512, at most 16 MiB", o.Block)
	case o.Depth < 1 || o.Depth > 1024 || o.Connections < 1 || o.Connections > 1024:
		return fmt.Errorf("depth %d and %d connections; both are 1 to 1024", o.Depth, o.Connections)
	case o.Time <= 0:
		return fmt.Errorf("a measurement of %v", o.Time)
	}
	if _, err := o.Mode.readShare(); err != nil {
		return err
	}
	switch {
	case o.ReadShare != nil && (*o.ReadShare < 0 || *o.ReadShare > 100):
		return fmt.Errorf("%d of 100 commands read; it is 0 to 100", *o.ReadShare)
	case o.First < 0 || o.Length < 0 || o.First%int64(o.Block) != 0:
		return fmt.Errorf("a part of %d bytes from byte %d on; it begins at a multiple of the block of %d", o.Length, o.First, o.Block)
	}
	return nil
}
