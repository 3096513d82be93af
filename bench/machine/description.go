package machine

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A Description says on what something was measured.
type Description struct {
	Processor  string
	Processors int
	Memory     int64 // bytes
	Kernel     string
	Virtual    bool // the processor says that a hypervisor runs it
	Nice       int  // of this session, where the kernel groups processes by session (sched_autogroup, sched(7))
}

// Describe looks at this machine; what it cannot find out is empty.
func Describe() Description {
	d := Description{Processors: runtime.NumCPU()}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		d.Kernel = unix.ByteSliceToString(name.Sysname[:]) + " " + unix.ByteSliceToString(name.Release[:]) + " " + unix.ByteSliceToString(name.Machine[:])
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		d.Memory = int64(info.Totalram) * int64(info.Unit)
	}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		d.Processor, d.Virtual = parseCPUInfo(string(text))
	}
	if text, err := os.ReadFile("/proc/self/autogroup"); err == nil {
		d.Nice = parseAutogroup(string(text))
	}
	return d
}

// parseAutogroup reads "/autogroup-25 nice 19".
func parseAutogroup(text string) int {
	_, nice, _ := strings.Cut(strings.TrimSpace(text), " nice ")
	n, err := strconv.Atoi(nice)
	if err != nil {
		return 0
	}
	return n
}

func parseCPUInfo(text string) (model string, virtual bool) {
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(key) {
		case "model name":
			model = strings.TrimSpace(value)
		case "flags":
			virtual = strings.Contains(" "+strings.TrimSpace(value)+" ", " hypervisor ")
		}
	}
	return model, virtual
}

// String is the description in a line.
func (d Description) String() string {
	s := fmt.Sprintf("%s, %d processors", d.Processor, d.Processors)
	if d.Virtual {
		s += ", virtual"
	}
	s += fmt.Sprintf(", %.0f GiB, %s", float64(d.Memory)/(1<<30), d.Kernel)
	if d.Nice != 0 {
		s += fmt.Sprintf("; targets and load at nice %d", d.Nice)
	}
	return s
}
