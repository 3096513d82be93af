package block

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore/internal/descriptor"
)

// holder tells a person who uses a device: a mounted file system, a device upon
// it, or a process, as far as /proc and /sys let us see it.
func holder(path string) string {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return "someone else"
	}
	number := fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err == nil {
		for lines := bufio.NewScanner(bytes.NewReader(mounts)); lines.Scan(); {
			// 36 35 98:0 /root /mount/point options ... - ext4 /dev/vda options
			fields := strings.Fields(lines.Text())
			if len(fields) > 4 && fields[2] == number {
				return "the file system mounted on " + fields[4]
			}
		}
	}
	if above, err := os.ReadDir("/sys/dev/block/" + number + "/holders"); err == nil && len(above) > 0 {
		return "the device " + above[0].Name() + " upon it"
	}
	return descriptor.DeviceUser(st.Rdev)
}
