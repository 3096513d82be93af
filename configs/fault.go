package configs

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A Fault is something that goes wrong in the store of a LUN. It is written in
// words, with blanks or colons between them: first what happens, then to what.
//
//	error=EIO  delay=500ms  short  torn  lost-sync  power-cut  power-cut=50%
//	on=read+write  lba=100-199  at=1MiB+64KiB  after=1000  rate=1%  count=3
type Fault struct {
	Kind  FaultKind
	Errno syscall.Errno // of FaultError
	Delay time.Duration // of FaultDelay
	Keep  float64       // of FaultPowerCut: the chance of what was not flushed to survive, 0 to 1

	On           []string // names of FaultCalls; empty: what goes with the kind
	Blocks       bool     // First and Length are logical blocks, not bytes
	First        int64
	Length       int64   // 0: from First to the end
	After, Count int64   // calls that are spared before; strikes at most, 0 for any number
	Rate         float64 // chance of each call, 0 to 1; 0: each
}

// FaultKind is what happens.
type FaultKind string

// The kinds of faults.
const (
	FaultError    FaultKind = "error"     // the call fails with an errno
	FaultDelay    FaultKind = "delay"     // it takes so long
	FaultShort    FaultKind = "short"     // it moves a part of its bytes
	FaultTorn     FaultKind = "torn"      // it writes some blocks, and fails
	FaultLostSync FaultKind = "lost-sync" // it makes nothing durable, and succeeds
	FaultPowerCut FaultKind = "power-cut" // what was not flushed is lost, and nothing works until the faults are cleared
)

func faultKinds() []string {
	return []string{string(FaultError), string(FaultDelay), string(FaultShort), string(FaultTorn), string(FaultLostSync), string(FaultPowerCut)}
}

// FaultCalls are the calls of a store that a fault may be about.
func FaultCalls() []string { return []string{"read", "write", "unmap", "zero", "map", "sync"} }

// errnos are those that a store may meet, by name.
var errnos = map[string]syscall.Errno{
	"EACCES": syscall.EACCES, "EBADF": syscall.EBADF, "EBADMSG": syscall.EBADMSG, "EDQUOT": syscall.EDQUOT, "EFBIG": syscall.EFBIG,
	"EINTR": syscall.EINTR, "EIO": syscall.EIO, "ENODEV": syscall.ENODEV, "ENOENT": syscall.ENOENT, "ENOLINK": syscall.ENOLINK,
	"ENOMEM": syscall.ENOMEM, "ENOSPC": syscall.ENOSPC, "ENXIO": syscall.ENXIO, "EPERM": syscall.EPERM, "EREMOTEIO": syscall.EREMOTEIO,
	"EROFS": syscall.EROFS, "ESTALE": syscall.ESTALE, "ETIMEDOUT": syscall.ETIMEDOUT, "EUCLEAN": syscall.EUCLEAN,
}

// ParseFault reads a fault in words.
func ParseFault(text string) (Fault, error) {
	words := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ':' || r == '\t' })
	if len(words) == 0 {
		return Fault{}, errors.New(`a fault is missing; write it as "error=EIO on=write rate=1%"`)
	}
	var f Fault
	what, value, given := strings.Cut(words[0], "=")
	if err := choose((*string)(&f.Kind), []byte(what), faultKinds()); err != nil {
		return Fault{}, err
	}
	if err := f.kindOf(value, given); err != nil {
		return Fault{}, err
	}
	seen := map[string]bool{}
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		if seen[key] {
			return Fault{}, fmt.Errorf("says %s twice", key)
		}
		seen[key] = true
		if err := f.condition(key, value); err != nil {
			return Fault{}, err
		}
	}
	if seen["lba"] && seen["at"] {
		return Fault{}, errors.New("says lba and at; keep one")
	}
	return f, nil
}

// kindOf takes what stands behind the kind.
func (f *Fault) kindOf(value string, given bool) (err error) {
	switch f.Kind {
	case FaultError:
		errno, ok := errnos[strings.ToUpper(value)]
		if !ok {
			names := slices.Sorted(maps.Keys(errnos))
			return fmt.Errorf("%q is not an error of a store%s", value, DidYouMean(strings.ToUpper(value), names))
		}
		f.Errno = errno
	case FaultDelay:
		if f.Delay, err = time.ParseDuration(value); err != nil || f.Delay <= 0 {
			return fmt.Errorf(`%q is not a time; write it as delay=500ms`, value)
		}
	case FaultPowerCut:
		if given {
			f.Keep, err = chance(value)
		}
	default:
		if given {
			return fmt.Errorf("%s takes no value", f.Kind)
		}
	}
	return err
}

// condition takes a word that chooses calls.
func (f *Fault) condition(key, value string) (err error) {
	switch key {
	case "on":
		for name := range strings.SplitSeq(value, "+") {
			var call string
			if err := choose(&call, []byte(name), FaultCalls()); err != nil {
				return fmt.Errorf("on: %w", err)
			}
			f.On = append(f.On, call)
		}
	case "lba":
		first, last, isRange := strings.Cut(value, "-")
		f.Blocks = true
		if f.First, err = count(first); err == nil && isRange && last != "" {
			f.Length, err = count(last)
			f.Length -= f.First - 1
		} else if err == nil && !isRange {
			f.Length = 1
		}
		if err != nil || f.Length < 0 || isRange && last != "" && f.Length == 0 {
			return fmt.Errorf("%q is not a range of blocks; write lba=100, lba=100-199 or lba=100-", value)
		}
	case "at":
		first, length, some := strings.Cut(value, "+")
		var from, many Size
		if err = from.UnmarshalText([]byte(first)); err == nil && some {
			err = many.UnmarshalText([]byte(length))
		}
		if err != nil || some && many == 0 {
			return fmt.Errorf("%q is not a range of bytes; write at=1MiB+64KiB, or at=1MiB for all behind", value)
		}
		f.First, f.Length = int64(from), int64(many)
	case "after":
		f.After, err = count(value)
	case "count":
		f.Count, err = count(value)
	case "rate":
		f.Rate, err = chance(value)
	default:
		return fmt.Errorf("%q is not known%s", key, DidYouMean(key, []string{"on", "lba", "at", "after", "count", "rate"}))
	}
	return err
}

func count(word string) (int64, error) {
	n, err := strconv.ParseInt(word, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is not a number", word)
	}
	return n, nil
}

// chance reads a probability: "1%", "0.01".
func chance(word string) (float64, error) {
	number, percent := strings.CutSuffix(word, "%")
	p, err := strconv.ParseFloat(number, 64)
	if percent {
		p /= 100
	}
	if err != nil || !(p >= 0 && p <= 1) {
		return 0, fmt.Errorf("%q is not a chance; write 1%% or 0.01", word)
	}
	return p, nil
}

// UnmarshalText reads a fault in words.
func (f *Fault) UnmarshalText(text []byte) (err error) {
	*f, err = ParseFault(string(text))
	return err
}

// MarshalText writes what UnmarshalText reads.
func (f Fault) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// String is the fault in words.
func (f Fault) String() string {
	words := []string{string(f.Kind)}
	switch {
	case f.Kind == FaultError:
		for name, errno := range errnos {
			if errno == f.Errno {
				words[0] += "=" + name
			}
		}
	case f.Kind == FaultDelay:
		words[0] += "=" + f.Delay.String()
	case f.Kind == FaultPowerCut && f.Keep > 0:
		words[0] += "=" + percent(f.Keep)
	}
	if len(f.On) > 0 {
		words = append(words, "on="+strings.Join(f.On, "+"))
	}
	switch {
	case f.Blocks && f.Length == 0:
		words = append(words, fmt.Sprintf("lba=%d-", f.First))
	case f.Blocks:
		words = append(words, fmt.Sprintf("lba=%d-%d", f.First, f.First+f.Length-1))
	case f.Length > 0:
		words = append(words, fmt.Sprintf("at=%v+%v", Size(f.First), Size(f.Length)))
	case f.First > 0:
		words = append(words, fmt.Sprintf("at=%v", Size(f.First)))
	}
	if f.After > 0 {
		words = append(words, fmt.Sprintf("after=%d", f.After))
	}
	if f.Rate > 0 {
		words = append(words, "rate="+percent(f.Rate))
	}
	if f.Count > 0 {
		words = append(words, fmt.Sprintf("count=%d", f.Count))
	}
	return strings.Join(words, " ")
}

func percent(p float64) string { return strconv.FormatFloat(p*100, 'g', 12, 64) + "%" }
