package machine

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ticksPerSecond is USER_HZ, the unit of /proc/stat and /proc/PID/stat. The kernel's interface to user space fixes it.
const ticksPerSecond = 100

// CPU is time that processors spent, in seconds since some point in the past: only differences mean something.
type CPU struct {
	Self    float64 // this process
	Process float64 // the observed process, with all its threads
	Busy    float64 // everything on this machine
	Stolen  float64 // by other virtual machines
}

// Sub is what was spent between o and c.
func (c CPU) Sub(o CPU) CPU {
	return CPU{Self: c.Self - o.Self, Process: c.Process - o.Process, Busy: c.Busy - o.Busy, Stolen: c.Stolen - o.Stolen}
}

// Other is what neither this process nor the observed one spent. Ticks are counted at different moments, so it may be
// a little below the truth; it is never below zero.
func (c CPU) Other() float64 { return max(c.Busy-c.Self-c.Process, 0) }

// SampleCPU reads the clocks; pid 0 observes no process.
func SampleCPU(pid int) (CPU, error) {
	var c CPU
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		return c, fmt.Errorf("getrusage: %w", err)
	}
	c.Self = seconds(usage.Utime) + seconds(usage.Stime)
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return c, err
	}
	if c.Busy, c.Stolen, err = parseStat(text); err != nil {
		return c, err
	}
	if pid == 0 {
		return c, nil
	}
	if text, err = os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err != nil {
		return c, err
	}
	c.Process, err = parseProcessStat(text)
	return c, err
}

func seconds(t unix.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }

// parseStat reads the first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal, ...
func parseStat(text []byte) (busy, stolen float64, err error) {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	fields := strings.Fields(string(line))
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, 0, fmt.Errorf("/proc/stat begins with %q, want the times of all processors", line)
	}
	var t [8]float64
	for i := range t {
		if t[i], err = strconv.ParseFloat(fields[i+1], 64); err != nil {
			return 0, 0, fmt.Errorf("/proc/stat: %w", err)
		}
	}
	return (t[0] + t[1] + t[2] + t[5] + t[6]) / ticksPerSecond, t[7] / ticksPerSecond, nil
}

// parseProcessStat reads utime and stime, the fields 14 and 15 of /proc/PID/stat. The second field is the name of the
// program in parentheses, which may hold blanks and parentheses itself.
func parseProcessStat(text []byte) (float64, error) {
	end := bytes.LastIndexByte(text, ')')
	fields := strings.Fields(string(text[end+1:]))
	if end < 0 || len(fields) < 13 {
		return 0, fmt.Errorf("/proc/PID/stat is %q", text)
	}
	sum := 0.0
	for _, field := range fields[11:13] {
		ticks, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/PID/stat: %w", err)
		}
		sum += ticks
	}
	return sum / ticksPerSecond, nil
}
