package compareandwrite

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/test/daemon"
)

func TestMain(m *testing.M) { os.Exit(daemon.Main(m)) }

const (
	blockSize  = 512
	counterLBA = 1000
	counters   = 3 // blocks that hold the counter
	initiators = 4
	rounds     = 300 // successes of each
)

// The statuses and sense that come up (SAM-5 5.3.1, SPC-4 annex D).
const (
	good                = 0x00
	checkCondition      = 0x02
	reservationConflict = 0x18
	miscompare          = 0x0e
	miscompareVerify    = 0x1d00
)

func TestCounter_SBC3_5_2(t *testing.T) {
	for _, kind := range []string{"file", "memory"} {
		t.Run(kind, func(t *testing.T) {
			d := serve(t, kind)
			var all sync.WaitGroup
			results := make(chan error, initiators+1)
			stop := make(chan struct{})
			for i := range initiators {
				all.Go(func() { results <- raise(d, i) })
			}
			var guard sync.WaitGroup
			guard.Go(func() { results <- reserve(d, stop) })
			all.Wait()
			close(stop)
			guard.Wait()
			close(results)
			for err := range results {
				if err != nil {
					t.Error(err)
				}
			}
			h, err := login(d, "judge", 0)
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			count, err := h.count()
			if err != nil || count != initiators*rounds {
				t.Errorf("the counter is %d, want %d: %v", count, initiators*rounds, err)
			}
		})
	}
}

// serve starts a daemon with one LUN behind two portal groups.
func serve(t *testing.T, kind string) *daemon.Daemon {
	t.Helper()
	dir := t.TempDir()
	place := ""
	if kind == "file" {
		place = fmt.Sprintf("path = %q\n", filepath.Join(dir, "a.img"))
	}
	text := fmt.Sprintf(`
state = %q
[[portal-group]]
tag = 1
listen = ["127.0.0.1:0"]
[[portal-group]]
tag = 2
listen = ["127.0.0.1:0"]
[[lun]]
name = "a"
kind = %q
size = "16MiB"
%s
[[target]]
name = %q
access = "open"
luns = { 0 = "a" }
`, filepath.Join(dir, "state"), kind, place, daemon.Target)
	file := filepath.Join(dir, "counter.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return daemon.Start(t, daemon.Config{File: file})
}

// A host is a logged-in initiator.
type host struct {
	*initiator.Connection
	name string
}

// login logs in through one of the portals; the first unit attention is told on the way.
func login(d *daemon.Daemon, name string, portal int) (*host, error) {
	u, err := url.Parse(d.URLs()[portal%len(d.URLs())]) // there is one for each portal
	if err != nil {
		return nil, err
	}
	c, err := initiator.Dial(u.Host, initiator.Options{Timeout: 2 * time.Minute})
	if err != nil {
		return nil, err
	}
	h := &host{c, name}
	login := initiator.Login{InitiatorName: "iqn.2026-11.org.isantarget.test:" + name, TargetName: daemon.Target, SessionType: "Normal"}
	if err := c.Login(login); err != nil {
		return nil, err
	}
	if _, err := h.run(initiator.Command{CDB: make([]byte, 6)}); err != nil {
		return nil, err
	}
	return h, nil
}

// run executes a command until no reservation of another is in its way. Of unit
// attentions it expects the first alone.
func (h *host) run(c initiator.Command) (*initiator.Result, error) {
	for told := false; ; {
		r, err := h.Execute(c)
		if err != nil {
			return nil, fmt.Errorf("%s: % x: %w", h.name, c.CDB, err)
		}
		key, code := r.SenseCode()
		switch {
		case r.Status == reservationConflict:
			time.Sleep(time.Millisecond)
		case r.Status == checkCondition && key == 0x06 && code == 0x2900 && !told:
			told = true
		default:
			return r, nil
		}
	}
}

// good is run for a command that has to succeed.
func (h *host) good(c initiator.Command) (*initiator.Result, error) {
	r, err := h.run(c)
	if err == nil && r.Status != good {
		key, code := r.SenseCode()
		err = fmt.Errorf("%s: % x ends with status %02xh, sense %x/%04x", h.name, c.CDB, r.Status, key, code)
	}
	return r, err
}

func blocks(opcode byte, lba uint32, n byte) []byte {
	c := make([]byte, 10)
	c[0], c[8] = opcode, n
	binary.BigEndian.PutUint32(c[2:], lba)
	return c
}

func (h *host) read(lba uint32, n byte) ([]byte, error) {
	r, err := h.good(initiator.Command{CDB: blocks(0x28, lba, n), Read: int(n) * blockSize})
	if err != nil {
		return nil, err
	}
	return r.Data, nil
}

// count reads the counter: all of its blocks have to agree.
func (h *host) count() (uint64, error) {
	p, err := h.read(counterLBA, counters)
	if err != nil {
		return 0, err
	}
	if len(p) != counters*blockSize {
		return 0, fmt.Errorf("%s: READ gave %d bytes", h.name, len(p))
	}
	count := binary.BigEndian.Uint64(p)
	if !bytes.Equal(p, image(count)) {
		return 0, fmt.Errorf("%s: the blocks of the counter are not of one count (%d)", h.name, count)
	}
	return count, nil
}

// image is what the blocks of the counter hold at a count.
func image(count uint64) []byte {
	return bytes.Repeat(binary.BigEndian.AppendUint64(nil, count), counters*blockSize/8)
}

// raise raises the counter by rounds, and uses the block beside it meanwhile.
func raise(d *daemon.Daemon, i int) error {
	h, err := login(d, fmt.Sprintf("host%d", i), i)
	if err != nil {
		return err
	}
	defer h.Close()
	// The nearest neighbours: right before the counter, and right behind it.
	beside := []uint32{counterLBA - 1, counterLBA + counters, counterLBA - 2, counterLBA + counters + 1}[i]
	for done := uint64(0); done < rounds; {
		count, err := h.count()
		if err != nil {
			return err
		}
		raised, err := h.compareAndWrite(count, count+1)
		if err != nil {
			return err
		}
		if !raised {
			continue
		}
		done++
		mine := bytes.Repeat([]byte{byte(i), byte(done)}, blockSize/2)
		if _, err := h.good(initiator.Command{CDB: blocks(0x2a, beside, 1), Write: mine}); err != nil {
			return err
		}
		p, err := h.read(beside, 1)
		if err != nil {
			return err
		}
		if !bytes.Equal(p, mine) {
			return fmt.Errorf("%s: the neighbour of the counter does not hold what was written", h.name)
		}
	}
	return nil
}

// compareAndWrite replaces one count by another; false: another host was first.
func (h *host) compareAndWrite(old, next uint64) (bool, error) {
	c := make([]byte, 16)
	c[0], c[13] = 0x89, counters
	binary.BigEndian.PutUint64(c[2:], counterLBA)
	r, err := h.run(initiator.Command{CDB: c, Write: slices.Concat(image(old), image(next))})
	if err != nil {
		return false, err
	}
	key, code := r.SenseCode()
	switch {
	case r.Status == good:
		return true, nil
	case r.Status == checkCondition && key == miscompare && code == miscompareVerify:
		return false, nil
	}
	return false, fmt.Errorf("%s: COMPARE AND WRITE ends with status %02xh, sense %x/%04x", h.name, r.Status, key, code)
}

// reserve reserves the unit again and again until stop: what it then reads twice
// is the same, for a COMPARE AND WRITE of another host comes before or after.
func reserve(d *daemon.Daemon, stop <-chan struct{}) error {
	h, err := login(d, "guard", 1)
	if err != nil {
		return err
	}
	defer h.Close()
	for {
		select {
		case <-stop:
			return nil
		case <-time.After(3 * time.Millisecond):
		}
		if _, err := h.good(initiator.Command{CDB: []byte{0x16, 0, 0, 0, 0, 0}}); err != nil {
			return err
		}
		first, err := h.count()
		if err != nil {
			return err
		}
		second, err := h.count()
		if err != nil {
			return err
		}
		if first != second {
			return errors.New("the counter went on under a reservation")
		}
		if _, err := h.good(initiator.Command{CDB: []byte{0x17, 0, 0, 0, 0, 0}}); err != nil {
			return err
		}
	}
}
