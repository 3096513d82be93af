package descriptor

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Queue reads a number from the request queue of a block device in sysfs:
// "rotational", "discard_granularity". A partition shares the queue of its disk.
// It reports false where there is none, as for a file system without a device.
func Queue(device uint64, attribute string) (int64, bool) {
	text, ok := QueueText(device, attribute)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil
}

// QueueText is Queue for an attribute that is not a number: "write_cache".
func QueueText(device uint64, attribute string) (string, bool) {
	folder := fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(device), unix.Minor(device))
	for _, queue := range [...]string{"/queue/", "/../queue/"} {
		if text, err := os.ReadFile(folder + queue + attribute); err == nil {
			return strings.TrimSpace(string(text)), true
		}
	}
	return "", false
}

// Rotational reports whether seeks cost on a device, as far as it is known.
func Rotational(device uint64) bool {
	n, ok := Queue(device, "rotational")
	return ok && n != 0
}
