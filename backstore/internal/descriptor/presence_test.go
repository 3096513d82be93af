package descriptor

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore"
)

func open(t *testing.T, size int64) (d *Descriptor, device uint64) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	return New(fd, Alignment{}), st.Dev
}

// What can be read somewhere is there; what is on a device that the system does not
// have, or cannot be read anywhere, is gone.
func TestDescriptor_Vanished(t *testing.T) {
	d, device := open(t, 4096)
	if err := d.Vanished(device, 4096); err != nil {
		t.Errorf("a file that is there: %v", err)
	}
	if err := d.Vanished(unix.Mkdev(0, 7), 4096); err != nil {
		t.Errorf("a file on no device: %v", err)
	}
	if _, err := os.Stat("/sys/dev/block"); err != nil {
		t.Logf("there is no sysfs here: %v", err)
	} else if err := d.Vanished(unix.Mkdev(8, 1<<19), 4096); !errors.Is(err, backstore.ErrGone) {
		t.Errorf("a file on a device that is not there: %v", err)
	}
	if err := d.Forget(); err != nil {
		t.Errorf("Forget: %v", err)
	}
	if err := unix.Ftruncate(d.fd, 100); err != nil { // one bad place is none, all are
		t.Fatal(err)
	}
	if err := d.Vanished(device, 4096); !errors.Is(err, backstore.ErrGone) || !errors.Is(err, backstore.ErrCorrupt) {
		t.Errorf("a file of which nothing can be read: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := d.Vanished(device, 4096); !errors.Is(err, backstore.ErrGone) {
		t.Errorf("a closed file: %v", err)
	}
}
