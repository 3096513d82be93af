package descriptor

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// LockHolder tells a person who holds a flock(2) on the file that fd is open on:
// "process 812 (isantarget)", as far as /proc lets us see it.
func LockHolder(fd int) string {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "another process"
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return "another process"
	}
	device := fmt.Sprintf("%02x:%02x", unix.Major(st.Dev), unix.Minor(st.Dev))
	for lines := bufio.NewScanner(bytes.NewReader(locks)); lines.Scan(); {
		// 1: FLOCK  ADVISORY  WRITE 20067 fe:00:10028353 0 EOF
		fields := strings.Fields(lines.Text())
		if len(fields) < 6 || fields[1] != "FLOCK" {
			continue
		}
		pid, err := strconv.Atoi(fields[4])
		if err != nil || pid <= 0 {
			continue
		}
		lockedDevice, inode, _ := cutLast(fields[5], ":")
		if inode != strconv.FormatUint(st.Ino, 10) {
			continue
		}
		// A file of btrfs shows a device in stat(2) that /proc/locks does not
		// know; then what the process has open decides.
		if lockedDevice == device || hasOpen(pid, func(open *unix.Stat_t) bool {
			return open.Dev == st.Dev && open.Ino == st.Ino
		}) {
			return process(pid)
		}
	}
	return "another process"
}

// process names a process for a person.
func process(pid int) string {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	switch {
	case pid == os.Getpid():
		return "this process, which has it open already"
	case err != nil:
		return fmt.Sprintf("process %d", pid)
	}
	return fmt.Sprintf("process %d (%s)", pid, strings.TrimSpace(string(name)))
}

// hasOpen reports whether a process has a file open that matches, and we may see it.
func hasOpen(pid int, matches func(*unix.Stat_t) bool) bool {
	folder := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(folder)
	if err != nil {
		return false
	}
	for _, entry := range entries {
		var st unix.Stat_t
		if unix.Stat(folder+"/"+entry.Name(), &st) == nil && matches(&st) {
			return true
		}
	}
	return false
}

func cutLast(s, separator string) (before, after string, found bool) {
	i := strings.LastIndex(s, separator)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(separator):], true
}

// DeviceUser tells a person which process has a block device open, as far as
// /proc lets us see it.
func DeviceUser(device uint64) string {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return "another process"
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if hasOpen(pid, func(open *unix.Stat_t) bool {
			return open.Mode&unix.S_IFMT == unix.S_IFBLK && open.Rdev == device
		}) {
			return process(pid)
		}
	}
	return "another process, or by the system"
}
