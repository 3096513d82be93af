package file_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/file"
)

// TestMain makes this test binary a second process that holds an image.
func TestMain(m *testing.M) {
	if path := os.Getenv("ISANTARGET_TEST_HOLD"); path != "" {
		s, err := file.Open(file.Options{Path: path})
		fmt.Println("opened", err)
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		if err == nil {
			_ = s.Close()
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestLock_SameProcess(t *testing.T) {
	for name, folder := range folders(t) {
		path := filepath.Join(folder, "image")
		s := open(t, file.Options{Path: path, Create: true, Size: size})
		_, err := file.Open(file.Options{Path: path})
		if !errors.Is(err, backstore.ErrLocked) || !strings.Contains(err.Error(), "this process") || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: opened twice: %v", name, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, file.Options{Path: path})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A second daemon is refused by name, and the lock ends with the process however
// that ends.
func TestLock_OtherProcess(t *testing.T) {
	for name, folder := range folders(t) {
		path := filepath.Join(folder, "image")
		if err := open(t, file.Options{Path: path, Create: true, Size: size}).Close(); err != nil {
			t.Fatal(err)
		}
		holder := exec.Command(os.Args[0])
		holder.Env = append(os.Environ(), "ISANTARGET_TEST_HOLD="+path)
		_, err := holder.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := holder.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := holder.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil || line != "opened <nil>\n" {
			t.Fatalf("the second process says %q, %v", line, err)
		}
		_, err = file.Open(file.Options{Path: path})
		if want := fmt.Sprintf("process %d (", holder.Process.Pid); !errors.Is(err, backstore.ErrLocked) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: opened beside another process: %v, want %q", name, err, want)
		}
		t.Log(err)
		if err := holder.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = holder.Wait()
		if err := open(t, file.Options{Path: path}).Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A lock goes with the store, also where a child of this process, which somebody else has
// forked and which has not come to its exec yet, has the file open as well.
func TestLock_InheritedByFork(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image")
	// An image that is just made was opened before it had its name.
	if err := open(t, file.Options{Path: path, Create: true, Size: size}).Close(); err != nil {
		t.Fatal(err)
	}
	s := open(t, file.Options{Path: path})
	inherited := 0
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range fds {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err != nil || to != path {
			continue
		}
		var number int
		if _, err := fmt.Sscan(e.Name(), &number); err != nil {
			t.Fatal(err)
		}
		fd, err := unix.Dup(number) // the same open file description, as after fork(2)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = unix.Close(fd) }()
		inherited++
	}
	if inherited == 0 {
		t.Fatal("the image is not open")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := open(t, file.Options{Path: path}).Close(); err != nil {
		t.Error(err)
	}
}
