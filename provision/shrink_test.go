package provision

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/job"
	"github.com/isantarget/isantarget/scsi"
)

// awaited is an image that is made smaller when meanwhile has ended.
type awaited struct {
	shrinkable
	meanwhile func()
}

func (a awaited) Shrink(size int64) error {
	a.meanwhile()
	return a.shrinkable.Shrink(size)
}

// Who logs in while a LUN becomes smaller is told BUSY, and then that its capacity has
// changed.
func TestShrinkIsTold(t *testing.T) {
	d := start(t, t.TempDir(), inventory("a"))
	r, err := d.served()
	if err != nil {
		t.Fatal(err)
	}
	u := r.units["a"]
	image, err := d.mayShrink(r, u)
	if err != nil {
		t.Fatal(err)
	}
	var c *initiator.Connection
	test := func() *initiator.Result {
		got, err := c.Execute(initiator.Command{CDB: make([]byte, 6)})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	busy := awaited{image, func() {
		c = d.mustLogin(t, alice, nil)
		if got := test(); got.Status != byte(scsi.Busy) {
			t.Errorf("TEST UNIT READY meanwhile: %02x, want BUSY", got.Status)
		}
	}}
	before := u.medium.Geometry().Size
	if _, err := d.shrink(r, u, busy, &job.Progress{}, before/2); err != nil {
		t.Fatal(err)
	}
	var heard []uint16
	for {
		key, code := test().SenseCode()
		if key != 6 {
			break
		}
		heard = append(heard, code)
	}
	if !slices.Contains(heard, 0x2a09) {
		t.Errorf("it hears %04x, want 2a09 among them", heard)
	}
	if got := u.medium.Geometry().Size; got != before/2 {
		t.Errorf("it has %d bytes, want %d", got, before/2)
	}
	// It is in use now: of two who came in between, the one that shrinks gives way.
	if _, err := d.shrink(r, u, image, &job.Progress{}, before/4); err == nil || !strings.Contains(err.Error(), "is in use") {
		t.Errorf("while it is used: %v", err)
	}
	if got := test(); got.Status != 0 {
		t.Errorf("TEST UNIT READY after it was refused: %02x", got.Status)
	}
}

// What is no image that can be made smaller is refused with a reason.
func TestShrinkIsRefused(t *testing.T) {
	dir := t.TempDir()
	d := start(t, dir, `
[[lun]]
name = "memory"
kind = "memory"
size = "1MiB"
[[lun]]
name = "layered"
path = "layered.img"
size = "1MiB"
layer = [{ kind = "fault" }]
[[lun]]
name = "file"
path = "file.img"
size = "1MiB"
[[target]]
name = "`+name+`"
luns = { 0 = "memory", 1 = "layered", 2 = "file" }
`)
	for lun, why := range map[string]string{"memory": "of kind memory", "layered": "has layers", "other": "there is no LUN", "file": ""} {
		_, err := d.Shrink(lun, "512KiB", true)
		if why == "" && err != nil || why != "" && (err == nil || !strings.Contains(err.Error(), why)) {
			t.Errorf("%s: %v, want %q", lun, err, why)
		}
	}
	d.apply(t, dir, strings.Replace(inventory("file"), "[[target]]", "readonly = true\n[[target]]", 1))
	if _, err := d.Shrink("file", "256KiB", true); err == nil || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("read-only: %v", err)
	}
}

// TestShrinkSeesBehindRules: a rule that shows another LUN under the number does not hide
// that the LUN of the target is in use.
func TestShrinkSeesBehindRules(t *testing.T) {
	d := start(t, t.TempDir(), inventory("a", "b")+`
[[target.rule]]
initiators = ["`+alice+`"]
[[target.rule]]
networks = ["192.0.2.1"]
luns = { 0 = "b" }
[[target.rule]]
networks = ["192.0.2.2"]
luns = { 7 = "b" }
`)
	d.mustLogin(t, alice, nil)
	if _, err := d.Shrink("a", "512KiB", true); err == nil || !strings.Contains(err.Error(), "is in use") {
		t.Errorf("a shrinks: %v", err)
	}
	r, err := d.served()
	if err != nil {
		t.Fatal(err)
	}
	maps, users := r.usersOf("b")
	if want := []LUNMap{{name, 0}, {name, 1}, {name, 7}}; !slices.Equal(maps, want) || len(users) != 1 {
		t.Errorf("b is %v, used by %v", maps, users)
	}
	targets, err := d.Targets()
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(targets[0].LUNs); got != "map[0:a 1:b 7:b]" {
		t.Errorf("the target shows %s", got)
	}
}
