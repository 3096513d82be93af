package powercut

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/job"
	"github.com/isantarget/isantarget/test/daemon"
)

// A climb is a LUN that grows by a MiB at a time, and the last block of each size, which
// is written to the disk when the size is acknowledged.
type climb struct {
	t     *testing.T
	c     *initiator.Connection
	plane *admin.Client
	fixed bool

	size, most int64 // MiB: acknowledged, asked for
	marked     []int64
	grown      int
	news       chan struct{} // has something once a size was acknowledged
}

func mark(size int64) []byte { return bytes.Repeat(fmt.Appendf(nil, "%16d", size), 512/16) }

func (c *climb) command(opcode, flags byte, size int64) initiator.Command {
	cdb := []byte{opcode, flags, 0, 0, 0, 0, 0, 0, 1, 0}
	binary.BigEndian.PutUint32(cdb[2:], uint32(size<<20/512-1))
	if opcode == 0x28 {
		return initiator.Command{CDB: cdb, Read: 512}
	}
	return initiator.Command{CDB: cdb, Write: mark(size)}
}

// execute is patient with unit attentions.
func (c *climb) execute(cmd initiator.Command) (r *initiator.Result, err error) {
	for range 20 {
		r, err = c.c.Execute(cmd)
		if err != nil {
			return nil, err
		}
		if key, _ := r.SenseCode(); key != 6 {
			break
		}
	}
	return r, nil
}

// up grows until it fails.
func (c *climb) up() {
	for {
		c.most = c.size + 1
		s, err := c.plane.Grow(c.t.Context(), "a", fmt.Sprintf("%dMiB", c.most))
		if err == nil {
			s, err = c.plane.WaitForJob(c.t.Context(), s.ID, nil)
		}
		if err != nil || s.State != job.Done {
			return
		}
		c.size = c.most
		c.grown++
		select {
		case c.news <- struct{}{}:
		default:
		}
		if r, err := c.execute(c.command(0x2a, 8, c.size)); err != nil || r.Status != 0 {
			return
		}
		c.marked = append(c.marked, c.size)
	}
}

// look says what is wrong after the cut.
func (c *climb) look(image string) (wrong []string) {
	c.t.Helper()
	info, err := os.Stat(image)
	if err != nil {
		c.t.Fatal(err)
	}
	size := info.Size() >> 20
	if l, ok := status(c.t, c.plane); !ok || l.Size != info.Size() {
		wrong = append(wrong, fmt.Sprintf("the LUN has %d bytes, its image %d", l.Size, info.Size()))
	}
	if info.Size()&(1<<20-1) != 0 || size < c.size || size > c.most {
		wrong = append(wrong, fmt.Sprintf("the image has %d bytes; acknowledged were %d MiB, asked for %d", info.Size(), c.size, c.most))
	}
	if got := daemon.Allocated(c.t, image); c.fixed && got < info.Size() {
		wrong = append(wrong, fmt.Sprintf("the fixed image of %d bytes takes %d", info.Size(), got))
	}
	c.size, c.most = size, size
	for _, at := range c.marked {
		r, err := c.execute(c.command(0x28, 0, at))
		if err != nil {
			c.t.Fatal(err)
		}
		if r.Status != 0 || !bytes.Equal(r.Data, mark(at)) {
			wrong = append(wrong, fmt.Sprintf("the last block of %d MiB: status %02x, %q", at, r.Status, r.Data))
		}
	}
	return wrong
}

// TestGrowth: the machine loses power while a LUN grows. The size that was acknowledged is
// there, with the space of a fixed image, and what was written to the disk behind the old
// ends.
func TestGrowth(t *testing.T) {
	cycles := 12
	if testing.Short() {
		cycles = 4
	}
	eachKind(t, func(t *testing.T, kind string) {
		for _, provisioning := range []string{"sparse", "fixed"} {
			t.Run(provisioning, func(t *testing.T) {
				t.Parallel()
				disk := newDisk(t, kind, 400<<20)
				d, plane := serveOn(t, disk, ",size=1MiB,space-threshold=0,overcommit=allow,provisioning="+provisioning)
				seed := rand.Uint64()
				t.Logf("seed %d", seed)
				chances := rand.New(rand.NewPCG(seed, 99))
				c := &climb{t: t, plane: plane, fixed: provisioning == "fixed", size: 1, most: 1}
				w := newCrew(seed, 1<<20/512, 512)[0]
				defer w.Close()
				for cycle := range cycles {
					crew{w}.login(t, d.Address())
					c.c, c.news = w.c, make(chan struct{}, 1)
					ended := make(chan struct{})
					go func() {
						defer close(ended)
						c.up()
					}()
					if chances.IntN(2) == 0 {
						select {
						case <-c.news:
						case <-ended:
						}
					}
					time.Sleep(time.Duration(chances.IntN(100)) * time.Millisecond) // the moment is the test's, not a wait
					freeze(t, d)
					disk.cut()
					d.Kill()
					<-ended
					disk.boot()
					d.Restart()
					crew{w}.login(t, d.Address())
					c.c = w.c
					report(t, cycle, c.look(filepath.Join(disk.folder, "a.img")))
					if t.Failed() {
						return
					}
					accept(t, plane)
				}
				t.Logf("%d cuts, grown %d times, to %d MiB", cycles, c.grown, c.size)
				if c.grown == 0 {
					t.Error("it has never grown")
				}
			})
		}
	})
}
