package provision

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/internal/initiator"
)

var synchronize = initiator.Command{CDB: []byte{0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0}}

// status is the status of the only LUN.
func (d *daemon) status(t *testing.T) LUNStatus {
	t.Helper()
	l, err := d.LUNs()
	if err != nil || len(l) != 1 {
		t.Fatalf("LUNs %+v, %v", l, err)
	}
	return l[0]
}

// wrote tells how a write ends.
func wrote(t *testing.T, c *initiator.Connection, with byte) uint8 {
	t.Helper()
	return do(t, c, initiator.Command{CDB: []byte{0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0}, Write: append([]byte{with}, make([]byte, 511)...)}).Status
}

// TestFailedFlush: it is told, it outlives a restart, and only the operator ends it.
func TestFailedFlush(t *testing.T) {
	dir := t.TempDir()
	image := filepath.Join(dir, "a.img")
	text := func(faults string) string {
		return "[[lun]]\nname = \"a\"\npath = \"" + image + "\"\nsize = \"1MiB\"\n[[lun.layer]]\nkind = \"fault\"\nfaults = [" + faults + "]\n" +
			"[[target]]\nname = \"" + name + "\"\nluns = { 0 = \"a\" }\n"
	}
	first := newDaemon()
	var err error
	if first.report, err = first.Apply(t.Context(), parse(t, dir, text(`"error=EIO on=sync count=1"`))); err != nil {
		t.Fatal(err)
	}
	c := first.mustLogin(t, alice, nil)
	writeBlock(t, c, 0, 7)
	if r := do(t, c, synchronize); r.Status != 2 {
		t.Fatalf("SYNCHRONIZE CACHE: status %02x", r.Status)
	}
	for _, x := range []*initiator.Connection{c, first.mustLogin(t, bob, nil)} {
		if r := do(t, x, initiator.Command{CDB: []byte{0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0}, Read: 512}); r.Status != 2 || r.Sense[0]&0x7f != 0x71 {
			t.Errorf("a nexus is told status %02x, sense %x; want a deferred error", r.Status, r.Sense)
		}
		if got := readBlock(t, x, 0); got != 7 {
			t.Errorf("block %d", got)
		}
		if s := wrote(t, x, 8); s != 2 {
			t.Errorf("a write: status %02x", s)
		}
	}
	if s := first.status(t); len(s.Alerts) != 1 || !strings.Contains(s.Alerts[0], "lun recover a --accept-loss") || s.Recovery != "accept-loss" {
		t.Errorf("status %+v", s)
	}
	if _, err := first.Apply(context.Background(), configs.Config{}); err == nil {
		t.Error("the daemon stops as if nothing was lost")
	}
	// The image is sound now, as far as the system tells. We know better.
	d := start(t, dir, text(""))
	c = d.mustLogin(t, alice, nil)
	if r := do(t, c, synchronize); r.Status != 2 || r.Sense[0]&0x7f != 0x71 {
		t.Errorf("after a restart a nexus is told status %02x, sense %x; want a deferred error", r.Status, r.Sense)
	}
	if r := do(t, c, synchronize); r.Status != 2 {
		t.Errorf("SYNCHRONIZE CACHE after a restart: status %02x", r.Status)
	}
	if s := wrote(t, c, 8); s != 2 {
		t.Errorf("a write after a restart: status %02x", s)
	}
	var refused *RecoveryError
	for _, r := range []Recovery{{}, {TakeImage: true}, {NewImage: true}} {
		if err := d.Recover(t.Context(), "a", r); !errors.As(err, &refused) {
			t.Errorf("%+v: %v", r, err)
		}
	}
	if err := d.Recover(t.Context(), "a", Recovery{AcceptLoss: true}); err != nil {
		t.Errorf("accept: %v", err)
	}
	if s := wrote(t, c, 9); s != 0 {
		t.Errorf("a write after it was accepted: status %02x", s)
	}
	if r := do(t, c, synchronize); r.Status != 0 {
		t.Errorf("a flush after it was accepted: status %02x, sense %x", r.Status, r.Sense)
	}
	if s := d.status(t); len(s.Alerts) != 0 || s.NotReady != "" || s.Recovery != "" {
		t.Errorf("status %+v", s)
	}
	if err := d.Recover(t.Context(), "a", Recovery{AcceptLoss: true}); !errors.As(err, &refused) {
		t.Errorf("accepted twice: %v", err)
	}
	d.stop(t)
	again := start(t, dir, text(""))
	if s := again.status(t); len(s.Alerts) != 0 {
		t.Errorf("after another restart: %+v", s)
	}
}

// TestFailedFlush_StillBad: what cannot be flushed is not accepted.
func TestFailedFlush_StillBad(t *testing.T) {
	dir := t.TempDir()
	d := newDaemon()
	var err error
	text := "[[lun]]\nname = \"a\"\npath = \"a.img\"\nsize = \"1MiB\"\n[[lun.layer]]\nkind = \"fault\"\nfaults = [\"error=EIO on=sync\"]\n" +
		"[[target]]\nname = \"" + name + "\"\nluns = { 0 = \"a\" }\n"
	if d.report, err = d.Apply(t.Context(), parse(t, dir, text)); err != nil {
		t.Fatal(err)
	}
	defer d.Apply(context.Background(), configs.Config{})
	c := d.mustLogin(t, alice, nil)
	writeBlock(t, c, 0, 7)
	do(t, c, synchronize)
	if err := d.Recover(t.Context(), "a", Recovery{AcceptLoss: true}); err == nil || !strings.Contains(err.Error(), "input/output error") {
		t.Errorf("accept on a bad disk: %v", err)
	}
	do(t, c, synchronize) // tells the loss once more
	if s := wrote(t, c, 8); s != 2 {
		t.Errorf("a write: status %02x", s)
	}
	if got := readBlock(t, c, 0); got != 7 {
		t.Errorf("block %d", got)
	}
}

// TestMissingImage: what was served before is not made anew; it is served when it is
// back, by itself, or a new one when the operator says so.
func TestMissingImage(t *testing.T) {
	dir := t.TempDir()
	image := filepath.Join(dir, "a.img")
	d := start(t, dir, inventory("a"))
	c := d.mustLogin(t, alice, nil)
	writeBlock(t, c, 0, 7)
	d.stop(t)
	if err := os.Rename(image, image+".away"); err != nil {
		t.Fatal(err)
	}
	d = start(t, dir, inventory("a"))
	if _, err := os.Stat(image); err == nil {
		t.Fatal("a new image was made")
	}
	c = d.mustLogin(t, alice, nil)
	if key, code := ready(t, c, 0); key != 2 || code != 0x0403 {
		t.Errorf("sense %x/%04x", key, code)
	}
	if s := d.status(t); !strings.Contains(s.NotReady, "lun recover a --new-image") || s.Recovery != "new-image" {
		t.Errorf("status %+v", s)
	}
	if err := os.Rename(image+".away", image); err != nil {
		t.Fatal(err)
	}
	awaitReady(t, c)
	if got := readBlock(t, c, 0); got != 7 {
		t.Errorf("block %d", got)
	}
	eventually(t, "the status tells that it is back", func() bool {
		s := d.status(t)
		return s.NotReady == "" && s.Size == 1<<20
	})
	d.stop(t)

	if err := os.Remove(image); err != nil {
		t.Fatal(err)
	}
	d = start(t, dir, inventory("a"))
	c = d.mustLogin(t, alice, nil)
	var refused *RecoveryError
	if err := d.Recover(t.Context(), "a", Recovery{AcceptLoss: true}); !errors.As(err, &refused) {
		t.Errorf("accept-loss: %v", err)
	}
	if err := d.Recover(t.Context(), "a", Recovery{NewImage: true}); err != nil {
		t.Fatal(err)
	}
	awaitReady(t, c)
	if got := readBlock(t, c, 0); got != 0 {
		t.Errorf("block %d of a new image", got)
	}
	writeBlock(t, c, 0, 8)
	d.stop(t)
	d = start(t, dir, inventory("a"))
	if got := readBlock(t, d.mustLogin(t, alice, nil), 0); got != 8 {
		t.Errorf("block %d of the new image after a restart", got)
	}
}

// TestMissingImage_OthersAreServed: one image that is missing keeps nobody else from
// being served.
func TestMissingImage_OthersAreServed(t *testing.T) {
	dir := t.TempDir()
	d := start(t, dir, inventory("a", "b"))
	writeBlock(t, d.mustLogin(t, alice, nil), 1, 7)
	d.stop(t)
	if err := os.Remove(filepath.Join(dir, "a.img")); err != nil {
		t.Fatal(err)
	}
	d = start(t, dir, inventory("a", "b"))
	c := d.mustLogin(t, alice, nil)
	if got := readBlock(t, c, 1); got != 7 {
		t.Errorf("block %d of the other LUN", got)
	}
	if key, _ := ready(t, c, 0); key != 2 {
		t.Errorf("sense key %x", key)
	}
}

// TestDisplacedImage: an image that was renamed under the LUN is served on, which is
// told, and so is that it is back.
func TestDisplacedImage(t *testing.T) {
	dir := t.TempDir()
	image := filepath.Join(dir, "a.img")
	d := start(t, dir, inventory("a"))
	c := d.mustLogin(t, alice, nil)
	writeBlock(t, c, 0, 7)
	if err := os.Rename(image, image+".away"); err != nil {
		t.Fatal(err)
	}
	logged := func(what string) func() bool {
		return func() bool {
			for _, e := range d.log.AllEntries() {
				if strings.Contains(e.Message, what) {
					return true
				}
			}
			return false
		}
	}
	eventually(t, "the log tells of the displaced image", logged("is not at "+image+" any more"))
	if s := d.status(t); s.NotReady != "" || len(s.Alerts) != 1 {
		t.Errorf("status %+v", s)
	}
	if got := readBlock(t, c, 0); got != 7 {
		t.Errorf("block %d", got)
	}
	if err := os.Rename(image+".away", image); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the log tells that it is back", logged("is at "+image+" again"))
	if s := d.status(t); len(s.Alerts) != 0 {
		t.Errorf("status %+v", s)
	}
}
