package snapshot

import (
	"path/filepath"

	"golang.org/x/sys/unix"
)

// mountPoint is where the file system is mounted that an existing folder is on.
func mountPoint(folder string) (string, error) {
	at, err := filepath.EvalSymlinks(folder)
	if err == nil {
		at, err = filepath.Abs(at)
	}
	if err != nil {
		return "", err
	}
	for !isMountPoint(at) {
		at = filepath.Dir(at)
	}
	return at, nil
}

// isMountPoint tells whether a file system is mounted at a folder: it is none while that is another's.
func isMountPoint(folder string) bool {
	up := filepath.Dir(folder)
	var here, above unix.Stat_t
	return up == folder || unix.Lstat(folder, &here) == nil && unix.Lstat(up, &above) == nil && here.Dev != above.Dev
}
