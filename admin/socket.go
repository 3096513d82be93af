package admin

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// SocketName is what the socket is called in the state directory.
const SocketName = "admin.sock"

// socketMode is for its owner, and a group that the owner may give it to.
const socketMode = 0o660

// maxSocketPath is how many bytes a socket address holds.
const maxSocketPath = 107

// A socket is a listener that removes its file when it is closed.
type socket struct {
	*net.UnixListener
	path    string
	release func()
}

// Listen makes the socket at path. One at which nobody answers is replaced.
func Listen(path string) (net.Listener, error) {
	if err := clearStale(path); err != nil {
		return nil, err
	}
	name, release, err := shorten(path)
	if err != nil {
		return nil, fmt.Errorf("cannot make the admin socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		release()
		return nil, fmt.Errorf("cannot make the admin socket %s: %w", path, bare(err))
	}
	l.SetUnlinkOnClose(false) // by a name that may be short for path
	s := &socket{UnixListener: l, path: path, release: release}
	if err := os.Chmod(path, socketMode); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot make the admin socket: %w", err), s.Close())
	}
	return s, nil
}

// Close ends the socket and removes its file.
func (s *socket) Close() error {
	err := s.UnixListener.Close()
	if err == nil {
		err = os.Remove(s.path)
	}
	s.release()
	return err
}

// clearStale removes a socket that a killed daemon has left at path.
func clearStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot look for the admin socket: %w", err)
	}
	if info.Mode()&fs.ModeSocket == 0 {
		return fmt.Errorf("%s is in the place of the admin socket and is none; move it away", path)
	}
	conn, err := dial(path)
	if err == nil {
		conn.Close()
		return fmt.Errorf("another daemon answers at %s; stop it, or use another state directory", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("cannot tell whether another daemon has the admin socket %s: %w", path, bare(err))
	}
	return os.Remove(path)
}

// dial connects to the socket at path.
func dial(path string) (net.Conn, error) {
	name, release, err := shorten(path)
	if err != nil {
		return nil, err
	}
	defer release()
	return net.DialTimeout("unix", name, 5*time.Second)
}

// shorten gives path a name that fits into a socket address. It holds until release
// is called.
func shorten(path string) (name string, release func(), err error) {
	if len(path) <= maxSocketPath {
		return path, func() {}, nil
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)), func() { dir.Close() }, nil
}

// bare is err without the names of the operation and the socket.
func bare(err error) error {
	var number syscall.Errno
	if errors.As(err, &number) {
		return number
	}
	return err
}
