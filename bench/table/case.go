package table

import (
	"fmt"

	"github.com/isantarget/isantarget/bench/load"
)

// A Case is a load that every target is put under.
type Case struct {
	Name        string
	Mode        load.Mode
	Block       int // bytes
	Depth       int
	Connections int
	Digests     bool
	Only        string // the one target that is measured; empty: all
}

// Bandwidth tells whether the case is about bytes rather than commands.
func (c Case) Bandwidth() bool { return c.Block >= 64<<10 }

// The cases by name, for the floors.
const (
	read1     = "4K random read, QD 1"
	read32    = "4K random read, QD 32"
	read4x32  = "4K random read, 4 x QD 32"
	write32   = "4K random write, QD 32"
	mixed32   = "4K random 70/30, QD 32"
	largeRead = "1M sequential read, QD 8"
	largeDump = "256K sequential write, QD 8"
	digests32 = "4K random read, QD 32, both digests"
	idle100   = "100 idle sessions"
	fair64    = "4K random 70/30, 64 x QD 4"
)

// Cases lists what is measured.
func Cases() []Case {
	return []Case{
		{Name: read1, Mode: load.RandRead, Block: 4 << 10, Depth: 1, Connections: 1},
		{Name: read32, Mode: load.RandRead, Block: 4 << 10, Depth: 32, Connections: 1},
		{Name: digests32, Mode: load.RandRead, Block: 4 << 10, Depth: 32, Connections: 1, Digests: true, Only: subject},
		{Name: read4x32, Mode: load.RandRead, Block: 4 << 10, Depth: 32, Connections: 4},
		{Name: write32, Mode: load.RandWrite, Block: 4 << 10, Depth: 32, Connections: 1},
		{Name: mixed32, Mode: load.RandRW, Block: 4 << 10, Depth: 32, Connections: 1},
		{Name: largeRead, Mode: load.Read, Block: 1 << 20, Depth: 8, Connections: 1},
		{Name: largeDump, Mode: load.Write, Block: 256 << 10, Depth: 8, Connections: 1},
		{Name: fair64, Mode: load.RandRW, Block: 4 << 10, Depth: 4, Connections: 64},
		{Name: idle100, Mode: load.Idle, Block: 4 << 10, Depth: 1, Connections: 100},
	}
}

// subject is whom the floors are about; the others are measured to compare.
const (
	subject = "isantarget"
	rival   = "tgt"
	limit   = "bare"
)

// A Floor is what the subject has to reach.
type Floor struct {
	Case    string
	What    string // in words
	measure measure
	against string  // a target; empty: itself in the case BaseCase, or nothing
	base    string  // another case of the subject
	bound   float64 // of the ratio, or of the value if there is nothing to compare with
	most    bool    // the bound is the most that is allowed, not the least
}

// A measure takes one number out of a result.
type measure func(load.Result) float64

func perSecond(r load.Result) float64 { return r.PerSecond }
func p99(r load.Result) float64       { return r.P99 }
func micros(r load.Result) float64    { return r.TargetMicros }
func slowest(r load.Result) float64   { return r.Slowest }
func resident(r load.Result) float64  { return float64(r.TargetResident) / (1 << 20) }

// Floors lists what the project holds itself to.
func Floors() []Floor {
	return []Floor{
		{Case: read1, What: "rate", measure: perSecond, against: rival, bound: 1.3},
		{Case: read1, What: "rate", measure: perSecond, against: limit, bound: 0.9},
		{Case: read1, What: "p99 latency", measure: p99, against: rival, bound: 1, most: true},
		{Case: read32, What: "rate", measure: perSecond, against: rival, bound: 5},
		{Case: read32, What: "rate", measure: perSecond, against: limit, bound: 0.75},
		{Case: read32, What: "CPU per command", measure: micros, against: rival, bound: 0.125, most: true},
		{Case: digests32, What: "rate", measure: perSecond, base: read32, bound: 0.7},
		{Case: read4x32, What: "rate", measure: perSecond, against: rival, bound: 6},
		{Case: read4x32, What: "rate", measure: perSecond, against: limit, bound: 0.7},
		{Case: write32, What: "rate", measure: perSecond, against: rival, bound: 3},
		{Case: write32, What: "rate", measure: perSecond, against: limit, bound: 0.8},
		{Case: mixed32, What: "rate", measure: perSecond, against: rival, bound: 4},
		{Case: largeRead, What: "rate", measure: perSecond, against: rival, bound: 2},
		{Case: largeRead, What: "rate", measure: perSecond, against: limit, bound: 0.9},
		{Case: largeDump, What: "rate", measure: perSecond, against: rival, bound: 2},
		{Case: fair64, What: "slowest connection over the mean", measure: slowest, bound: 0.5},
		{Case: idle100, What: "RSS in MiB", measure: resident, bound: 64, most: true},
	}
}

// Bound is the floor in words.
func (f Floor) Bound() string {
	if f.most {
		return fmt.Sprintf("<= %.4g", f.bound)
	}
	return fmt.Sprintf(">= %.4g", f.bound)
}

// Base is what the floor compares with, in words.
func (f Floor) Base() string {
	switch {
	case f.against == limit && f.Case == largeRead:
		return limit + " (sendfile)"
	case f.base != "":
		return "itself, " + f.base
	}
	return f.against
}
