package machine

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestParseStat(t *testing.T) {
	busy, stolen, err := parseStat([]byte("cpu  100 20 300 4000 500 60 70 80 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\n"))
	if err != nil || busy != 5.5 || stolen != 0.8 {
		t.Errorf("busy %v, stolen %v, %v; want 5.5 (no idle, no iowait, no steal) and 0.8", busy, stolen, err)
	}
	for _, bad := range []string{"", "cpu 1 2 3", "intr 1 2 3 4 5 6 7 8 9", "cpu a b c d e f g h"} {
		if _, _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestParseProcessStat(t *testing.T) {
	got, err := parseProcessStat([]byte("42 (a (b) c) S 1 42 42 0 -1 4194560 2000 0 0 0 250 125 9 9 20 0 3 0 100 1000 200"))
	if err != nil || got != 3.75 {
		t.Errorf("%v, %v; want 3.75", got, err)
	}
	for _, bad := range []string{"", "42 (a) S 1 2", "42 (a) S 1 2 3 4 5 6 7 8 9 10 x y 1 1"} {
		if _, err := parseProcessStat([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestParseResident(t *testing.T) {
	got, err := parseResident("Name:\tx\nVmHWM:\t  999 kB\nVmRSS:\t    1234 kB\n")
	if err != nil || got != 1234<<10 {
		t.Errorf("%d, %v", got, err)
	}
	if _, err := parseResident("Name:\tx\n"); err == nil {
		t.Error("a status without VmRSS was taken")
	}
}

func TestParseCPUInfo(t *testing.T) {
	model, virtual := parseCPUInfo("model name\t: A Processor @ 2GHz\nflags\t\t: fpu hypervisor sse\n")
	if model != "A Processor @ 2GHz" || !virtual {
		t.Errorf("%q, %v", model, virtual)
	}
	if _, virtual := parseCPUInfo("flags : fpu hypervisors\n"); virtual {
		t.Error("a flag that only begins like it counts as hypervisor")
	}
}

func TestParseAutogroup(t *testing.T) {
	for text, want := range map[string]int{"/autogroup-25 nice -15\n": -15, "/autogroup-1 nice 0\n": 0, "": 0, "nonsense": 0} {
		if got := parseAutogroup(text); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

// The sample of this process grows with what it does and never exceeds the machine's.
func TestSampleCPU(t *testing.T) {
	before, err := SampleCPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for used := (CPU{}); used.Self < 0.05; {
		after, err := SampleCPU(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		used = after.Sub(before)
	}
	if (CPU{Self: 2, Process: 1, Busy: 2.5}).Other() != 0 || (CPU{Self: 1, Process: 1, Busy: 2.5}).Other() != 0.5 {
		t.Error("Other is not what is left, or below zero")
	}
	if _, err := SampleCPU(1 << 30); err == nil {
		t.Error("a process that is not there was sampled")
	}
	if rss, err := ResidentBytes(os.Getpid()); err != nil || rss < 1<<20 {
		t.Errorf("RSS of this process: %d, %v", rss, err)
	}
	if d := Describe(); d.Kernel == "" || d.Processors == 0 || d.Memory == 0 {
		t.Errorf("%+v", d)
	}
}

func TestWarm(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(path, bytes.Repeat([]byte{1}, 300*page+5), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, warm := range []func(string) error{Warm, WarmAhead} {
		if err := Evict(path); err != nil {
			t.Fatal(err)
		}
		if err := warm(path); err != nil {
			t.Fatal(err)
		}
		if share, err := Resident(path); err != nil || share != 1 {
			t.Errorf("after warming %v of the file is in the page cache (%v)", share, err)
		}
		if err := warm(path + "x"); err == nil {
			t.Error("a file that is not there was warmed")
		}
	}
}
