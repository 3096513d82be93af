package peer

import (
	"fmt"
	"math/rand/v2"
	"os"

	"github.com/isantarget/isantarget/bench/machine"
)

// fill makes an image of size bytes of noise that lies in the page cache in folios of one page. An image of that size
// that is there already is taken as it is.
func fill(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() != size {
		if err := f.Truncate(0); err != nil {
			return err
		}
		if err := noise(f, size); err != nil {
			return fmt.Errorf("filling an image: %w", err)
		}
	}
	if err := machine.Evict(path); err != nil {
		return err
	}
	return machine.Warm(path)
}

func noise(f *os.File, size int64) error {
	source := rand.NewChaCha8([32]byte{})
	p := make([]byte, 1<<20)
	for off := int64(0); off < size; off += int64(len(p)) {
		p = p[:min(int64(len(p)), size-off)]
		if _, err := source.Read(p); err != nil {
			return err
		}
		if _, err := f.WriteAt(p, off); err != nil {
			return err
		}
	}
	return nil
}
