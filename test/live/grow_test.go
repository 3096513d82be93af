package live

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/test/daemon"
)

// capacity is what READ CAPACITY (10) and (16) say of LUN 0, which has to be the same.
func capacity(t *testing.T, c *initiator.Connection) int64 {
	t.Helper()
	short := execute(t, c, initiator.Command{CDB: []byte{0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0}, Read: 8})
	long := execute(t, c, initiator.Command{CDB: []byte{0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0}, Read: 32})
	if short.Status != 0 || long.Status != 0 {
		t.Fatalf("READ CAPACITY: %02x % x, %02x % x", short.Status, short.Sense, long.Status, long.Sense)
	}
	blocks := binary.BigEndian.Uint64(long.Data) + 1
	if last := binary.BigEndian.Uint32(short.Data); uint64(last)+1 != blocks {
		t.Errorf("READ CAPACITY (10) says %d blocks, (16) %d", last+1, blocks)
	}
	return int64(blocks) * block
}

// Every initiator hears once that a LUN has grown (SBC-3 4.6: 2A/09), and can use it at
// once; what the configuration says of its size changes nothing, then or after a restart.
func TestGrow_SBC3_4_6(t *testing.T) {
	const mib = 1 << 20
	r := start(t, rule{alice, []string{"a"}}, rule{bob, []string{"a"}})
	a, b := r.login(alice, iscsi.ISID{0x80, 1}), r.login(bob, iscsi.ISID{0x80, 2})
	attentions(t, a, 1)
	attentions(t, b, 1)
	old := pattern(7, 1)
	if got := execute(t, a, initiator.Command{CDB: rw(0x2a, 16383, 1), Write: old}); got.Status != 0 {
		t.Fatalf("a write to the last block: %02x, % x", got.Status, got.Sense)
	}
	if got := execute(t, a, initiator.Command{CDB: rw(0x2a, 16384, 1), Write: old}); got.Status != 2 {
		t.Fatalf("a write behind the end: %02x", got.Status)
	}
	for _, step := range []struct {
		size string
		want int64
	}{{"16MiB", 16 * mib}, {"+4MiB", 20 * mib}, {"1TiB", 1 << 40}} {
		if step.size == "1TiB" {
			r.write(strings.Replace(r.text(rule{alice, []string{"a"}}, rule{bob, []string{"a"}}), "[[lun]]\n", "[[lun]]\novercommit = \"allow\"\n", 1))
			if change, err := r.Reload(t.Context()); err != nil || slices.Contains(change.Changes, "LUN a has new settings") && len(change.Changes) > 1 {
				t.Fatalf("reload: %+v, %v", change, err)
			}
			attentions(t, a, 1)
			attentions(t, b, 1)
			if got := capacity(t, a); got != 20*mib {
				t.Errorf("after a reload that says 8 MiB the LUN has %d bytes", got)
			}
		}
		if status, printed := r.command("lun grow", "a", step.size); status != 0 || !strings.Contains(printed, "LUN a has ") {
			t.Fatalf("lun grow %s: %d %s", step.size, status, printed)
		}
		for who, c := range map[string]*initiator.Connection{"alice": a, "bob": b} {
			if got, want := attentions(t, c, 1), []string{"0:2a09"}; !slices.Equal(got, want) {
				t.Errorf("%s: %s hears %q, want %q", step.size, who, got, want)
			}
			if got := capacity(t, c); got != step.want {
				t.Errorf("%s: to %s it has %d bytes, want %d", step.size, who, got, step.want)
			}
		}
		last := uint32(step.want/block) - 1
		if got := execute(t, b, initiator.Command{CDB: rw(0x2a, last, 1), Write: pattern(last, 2)}); got.Status != 0 {
			t.Errorf("%s: a write to the last block: %02x, % x", step.size, got.Status, got.Sense)
		}
		if got := execute(t, a, initiator.Command{CDB: rw(0x28, last, 1), Read: block}); !bytes.Equal(got.Data, pattern(last, 2)) {
			t.Errorf("%s: the last block reads % .8x...", step.size, got.Data)
		}
		if got := execute(t, a, initiator.Command{CDB: rw(0x28, 16383, 2), Read: 2 * block}); !bytes.Equal(got.Data, append(slices.Clone(old), make([]byte, block)...)) {
			t.Errorf("%s: around the old end it reads % .8x...", step.size, got.Data)
		}
	}

	for size, why := range map[string]string{
		"1MiB": "isantarget lun shrink", "1TiB": "has 1TiB already", "+0": "has 1TiB already", "+1": "not whole blocks", "10G": "powers of two or of ten",
		"9EiB": "is not a size", "+7EiB": "has 1TiB as before",
	} {
		if status, printed := r.command("lun grow", "a", size); status != 1 || !strings.Contains(printed, why) {
			t.Errorf("lun grow a %s: %d %s, want %q", size, status, printed, why)
		}
	}
	if status, printed := r.command("lun grow", "b", "1TiB"); status != 1 || !strings.Contains(printed, "there is no LUN") {
		t.Errorf("lun grow of another: %d %s", status, printed)
	}
	if got := attentions(t, a, 1); len(got) != 0 {
		t.Errorf("after refusals alice hears %q", got)
	}
	a.Close()
	b.Close()
	r.Stop()
	r.Restart()
	if got := capacity(t, again(t, r)); got != 1<<40 {
		t.Errorf("after a restart it has %d bytes", got)
	}
	if !strings.Contains(r.Log(), `if it has grown, write size = \"1TiB\" there`) {
		t.Errorf("the log does not say that the configuration differs:\n%s", r.Log())
	}
}

// again logs in and takes what is to be told.
func again(t *testing.T, r *rig) *initiator.Connection {
	t.Helper()
	c := r.login(alice, iscsi.ISID{0x80, 1})
	attentions(t, c, 1)
	return c
}

// More than the file system can give is refused, unless the policy lets it pass.
func TestGrow_Overcommit(t *testing.T) {
	r := start(t, rule{alice, []string{"a"}})
	if status, printed := r.command("lun grow", "a", "1EiB"); status != 1 || !strings.Contains(printed, "overcommit") {
		t.Errorf("lun grow a 1EiB: %d %s", status, printed)
	}
	if got := capacity(t, again(t, r)); got != 8<<20 {
		t.Errorf("it has %d bytes", got)
	}
}

// However the daemon ends while a fixed image grows, it has the old size or the new,
// with the space for that and no more.
func TestGrow_Killed(t *testing.T) {
	const step = 1 << 30
	dir := t.TempDir()
	image := dir + "/a.img"
	d := daemon.Start(t, daemon.Config{LUNs: []string{"a=" + image + ",size=64MiB,provisioning=fixed"}})
	size := int64(64 << 20)
	outcomes := map[string]int{}
	for round := range 12 {
		cmd := exec.Command(daemon.Client(), "lun", "grow", "--detach", "--state", d.State(), "a", fmt.Sprintf("+%d", step))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if round%2 == 0 {
			cmd.Wait()
		}
		time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond) // any moment will do
		d.Kill()
		cmd.Wait()
		d.Restart()
		var st syscall.Stat_t
		if err := syscall.Stat(image, &st); err != nil {
			t.Fatal(err)
		}
		switch st.Size {
		case size:
			outcomes["old"]++
		case size + step:
			outcomes["new"]++
		default:
			t.Fatalf("round %d: the image has %d bytes, neither %d nor %d", round, st.Size, size, size+step)
		}
		size = st.Size
		if taken := st.Blocks * 512; taken < size || taken > size+1<<20 {
			t.Errorf("round %d: an image of %d bytes takes %d", round, size, taken)
		}
		c, err := initiator.Dial(d.Address(), initiator.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Login(initiator.Login{InitiatorName: alice, TargetName: daemon.Target, SessionType: "Normal", ISID: iscsi.ISID{0x80, 1}}); err != nil {
			t.Fatal(err)
		}
		attentions(t, c, 1)
		if got := capacity(t, c); got != size {
			t.Errorf("round %d: the LUN has %d bytes, the image %d", round, got, size)
		}
		c.Close()
		if size > 6<<30 {
			d.Stop()
			if err := os.Truncate(image, 64<<20); err != nil {
				t.Fatal(err)
			}
			size = 64 << 20
			d.Restart()
		}
	}
	t.Logf("sizes found: %v", outcomes)
}
