package provision

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/job"
)

// newSides are the sides of a daemon in dir whose file says text, until the test ends.
func newSides(t *testing.T, dir, text string) *Sides {
	t.Helper()
	file := filepath.Join(dir, "san.toml")
	writeFile(t, file, text)
	s := NewSides(newDaemon().Provisioner, func() (configs.Written, error) { return configs.Read(file) })
	if _, _, err := s.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := s.Apply(context.Background(), configs.Config{}); err != nil {
			t.Error(err)
		}
	})
	return s
}

func writeFile(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const person = `state = "state"
limits = { drain-timeout = "1s" }
[[portal-group]]
tag = 1
listen = ["127.0.0.1:0"]
[[store]]
name = "tank"
path = "."
[[lun]]
name = "a"
store = "tank"
size = "1MiB"
[[target]]
name = "` + name + `"
luns = { 0 = "a" }
`

func object(t *testing.T, table configs.Table, text string) configs.Object {
	t.Helper()
	o, err := configs.ObjectFromJSON(table, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// put makes an object or fails the test.
func (s *Sides) mustPut(t *testing.T, puts ...Put) Report {
	t.Helper()
	r, err := s.Change(t.Context(), Batch{Puts: puts})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func lun(t *testing.T, name string) Put {
	return Put{Object: object(t, configs.LUNTable, fmt.Sprintf(`{"name": %q, "size": "1MiB"}`, name))}
}

func mapOf(t *testing.T, lun string) Put {
	return Put{Object: object(t, configs.MapTable, fmt.Sprintf(`{"target": %q, "lun": %q}`, name, lun))}
}

// memory and disk say what is configured in memory, and what a restart would find.
func (s *Sides) inMemory() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.config.TOML()
}

func onDisk(t *testing.T, s *Sides) string {
	t.Helper()
	c, err := s.Load()
	if err != nil {
		t.Fatal(err)
	}
	return c.TOML()
}

// TestObjectsAreMadeServedAndKept: a LUN that is made is found by an initiator, under the
// next number, and after a restart.
func TestObjectsAreMadeServedAndKept(t *testing.T) {
	dir := t.TempDir()
	s := newSides(t, dir, person)
	r := s.mustPut(t, lun(t, "b"), mapOf(t, "b"))
	if o := r.Objects; len(o) != 2 || o[1].Name != name+"/1" || !o[0].Made || o[0].Where != filepath.Join(dir, "state/config.d/lun-b.toml")+":1" {
		t.Errorf("objects %+v", o)
	}
	if len(r.Changes) != 2 || len(r.Warnings) != 0 {
		t.Errorf("changes %q, warnings %q", r.Changes, r.Warnings)
	}
	if info, err := os.Stat(filepath.Join(dir, "b.img")); err != nil || info.Size() != 1<<20 {
		t.Errorf("the image: %v %v", info, err)
	}
	d := &daemon{Provisioner: s.Provisioner, report: r}
	c, err := d.login(t, alice, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Execute(initiator.Command{LUN: initiator.LUN(1), CDB: []byte{0x12, 0, 0, 0, 36, 0}, Read: 36}); err != nil || got.Data[0] != 0 {
		t.Errorf("INQUIRY of what was made: %v, %v", got, err)
	}
	s.mustPut(t, lun(t, "c"), mapOf(t, "c"))
	if _, err := s.Change(t.Context(), Batch{Deletes: []Delete{{Table: configs.LUNTable, Name: "b", Version: AnyVersion}}}); err != nil {
		t.Fatal(err)
	}
	r = s.mustPut(t, lun(t, "d"), mapOf(t, "d"))
	if r.Objects[1].Name != name+"/1" {
		t.Errorf("the number that has become free is not given: %v", r.Objects[1].Name)
	}
	if memory, disk := s.inMemory(), onDisk(t, s); memory != disk || !strings.Contains(memory, `luns = { 0 = "a", 1 = "d", 2 = "c" }`) {
		t.Errorf("in memory:\n%s\non the disk:\n%s", memory, disk)
	}
	if _, err := os.Stat(filepath.Join(dir, "b.img")); err != nil {
		t.Errorf("the image of a LUN that was deleted: %v", err)
	}
}

// TestDeletedImageIsGone, and its identity with it.
func TestDeletedImageIsGone(t *testing.T) {
	dir := t.TempDir()
	s := newSides(t, dir, person)
	serial := s.mustPut(t, lun(t, "b")).LUNs[1].Serial
	r, err := s.Change(t.Context(), Batch{Deletes: []Delete{{Table: configs.LUNTable, Name: "b", Version: AnyVersion, Image: true}}})
	if err != nil || len(r.Warnings) != 0 {
		t.Fatal(err, r.Warnings)
	}
	if _, err := os.Stat(filepath.Join(dir, "b.img")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the image is there: %v", err)
	}
	r = s.mustPut(t, lun(t, "b"))
	if r.LUNs[1].Serial == serial || len(r.Warnings) != 1 { // that no target maps it
		t.Errorf("another disk has the identity of the old one: %+v, %q", r.LUNs, r.Warnings)
	}
}

// TestRefusedChangesChangeNothing.
func TestRefusedChangesChangeNothing(t *testing.T) {
	dir := t.TempDir()
	s := newSides(t, dir, person)
	s.mustPut(t, lun(t, "b"), mapOf(t, "b"))
	before := s.inMemory()
	var clash *ClashError
	var stale *StaleError
	var unknown *UnknownError
	var wrong configs.Errors
	deletes := func(table configs.Table, name, version string, image bool) Batch {
		return Batch{Deletes: []Delete{{table, name, version, image}}}
	}
	puts := func(version string, table configs.Table, text string) Batch {
		return Batch{Puts: []Put{lun(t, "first"), {Object: object(t, table, text), Version: version}}}
	}
	for _, c := range []struct {
		batch Batch
		as    any
		want  string
	}{
		{deletes(configs.LUNTable, "a", "*", false), &clash, "LUN a is written in " + filepath.Join(dir, "san.toml") + ":9, which isantarget never changes: take it out there"},
		{deletes(configs.LUNTable, "x", "*", false), &unknown, `there is no LUN "x"`},
		{deletes(configs.LUNTable, "b", "0123456789abcdef", false), &stale, "somebody else has changed LUN b meanwhile"},
		{deletes(configs.LUNTable, "b", "", false), nil, "LUN b: there is one already: say which version"},
		{deletes(configs.MapTable, name+"/1", "*", true), &clash, "has no image file"},
		{puts("", configs.LUNTable, `{"name": "a", "size": "1MiB"}`), &clash, "LUN a is there already, and is written in"},
		{puts("*", configs.LUNTable, `{"name": "a", "size": "1MiB"}`), &clash, "LUN a is there already, and is written in"},
		{puts("", configs.LUNTable, `{"name": "b", "size": "1MiB"}`), &clash, "LUN b is there already; take another name"},
		{puts("0123456789abcdef", configs.LUNTable, `{"name": "b", "size": "1MiB"}`), &stale, "somebody else has changed LUN b"},
		{puts("0123456789abcdef", configs.LUNTable, `{"name": "x", "size": "1MiB"}`), &stale, "which is gone"},
		{puts("", configs.LUNTable, `{"name": "x", "size": "1"}`), &wrong, "LUN x: size: 1 bytes are not whole blocks"},
		{puts("", configs.LUNTable, `{"name": "../x", "size": "1MiB"}`), nil, `"../x" cannot name a LUN`},
		{puts("", configs.LUNTable, `{"size": "1MiB"}`), nil, `"" cannot name a LUN`},
		{puts("", configs.LUNTable, `{"name": "x", "path": "x.img"}`), &wrong, "to have it made, say how big"},
		{puts("", configs.MapTable, `{"target": "iqn.x", "lun": "a"}`), &wrong, "there is no target iqn.x"},
		{puts("", configs.MapTable, `{"target": "`+name+`", "lun": "a"}`), &wrong, `LUN "a" is already number 0`},
		{puts("", configs.TargetTable, `{"name": "disk"}`), &wrong, `target disk: name: iSCSI name "disk" begins with none of`},
		{puts("", configs.PortalGroupTable, `{"listen": ["192.0.2.77:3260"]}`), &wrong, "this host has no address 192.0.2.77"},
	} {
		_, err := s.Change(t.Context(), c.batch)
		if err == nil || !strings.Contains(err.Error(), c.want) || c.as != nil && !errors.As(err, c.as) {
			t.Errorf("%v gives\n%T %v\nwant %q", c.batch, err, err, c.want)
		}
	}
	if memory, disk := s.inMemory(), onDisk(t, s); memory != before || disk != before {
		t.Errorf("in memory:\n%s\non the disk:\n%s\nbefore:\n%s", memory, disk, before)
	}
	if _, err := os.Stat(filepath.Join(dir, "first.img")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an image of a change that was refused is there: %v", err)
	}
}

// TestManyWriters: what each of them was told is done is there, and two do not get the same.
func TestManyWriters(t *testing.T) {
	s := newSides(t, t.TempDir(), person)
	s.mustPut(t, Put{Object: object(t, configs.LUNTable, `{"name": "count", "kind": "null", "size": "512", "block-size": 512}`)})
	const writers, rounds = 64, 3
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			mine := fmt.Sprintf("w%d", w)
			_, err := s.Change(t.Context(), Batch{Puts: []Put{
				{Object: object(t, configs.LUNTable, fmt.Sprintf(`{"name": %q, "kind": "null", "size": "1MiB"}`, mine))}, mapOf(t, mine)}})
			if err != nil {
				t.Error(err)
			}
			for range rounds {
				s.increment(t)
			}
		})
	}
	all.Wait()
	if o, err := s.Object(configs.LUNTable, "count"); err != nil || o.Object.Text("size") != fmt.Sprint(512*(1+writers*rounds)) {
		t.Errorf("%d changes, one upon the other, are %s (%v)", writers*rounds, o.Object.TOML(), err)
	}
	targets, err := s.Targets()
	if err != nil || len(targets[0].LUNs) != 1+writers {
		t.Errorf("%d LUNs are mapped, want %d: %v", len(targets[0].LUNs), 1+writers, err)
	}
	if memory, disk := s.inMemory(), onDisk(t, s); memory != disk {
		t.Errorf("in memory:\n%s\non the disk:\n%s", memory, disk)
	}
}

// increment adds a block to the LUN "count", again if somebody else was faster.
func (s *Sides) increment(t *testing.T) {
	for {
		o, err := s.Object(configs.LUNTable, "count")
		if err != nil {
			t.Error(err)
			return
		}
		var size configs.Size
		if err := size.UnmarshalText([]byte(o.Object.Text("size"))); err != nil {
			t.Error(err)
			return
		}
		_, err = s.Change(t.Context(), Batch{Puts: []Put{{Object: o.Object.With("size", fmt.Sprint(int64(size)+512)), Version: o.Version}}})
		var stale *StaleError
		if err == nil {
			return
		}
		if !errors.As(err, &stale) {
			t.Error(err)
			return
		}
	}
}

// TestWhatIsWrittenWaitsForItsApply: a file that was edited, and even one that is wrong now,
// neither takes effect with a change of objects nor keeps one from being made; and the
// change says that the file waits.
func TestWhatIsWrittenWaitsForItsApply(t *testing.T) {
	dir := t.TempDir()
	s := newSides(t, dir, person)
	file := filepath.Join(dir, "san.toml")
	writeFile(t, file, strings.Replace(person, `"1MiB"`, `"2MiB"`, 1)+"[[lun]]\nname = \"unasked\"\nstore = \"tank\"\nsize = \"1MiB\"\n")
	r := s.mustPut(t, lun(t, "b"), mapOf(t, "b"))
	if len(r.Changes) != 2 || len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "has changed since it was applied") {
		t.Errorf("changes %q, warnings %q", r.Changes, r.Warnings)
	}
	writeFile(t, file, "half a li")
	r = s.mustPut(t, lun(t, "c"), mapOf(t, "c"))
	if len(r.Changes) != 2 || len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "that cannot be served: "+file+":1") {
		t.Errorf("changes %q, warnings %q", r.Changes, r.Warnings)
	}
	if memory := s.inMemory(); strings.Contains(memory, "unasked") || !strings.Contains(memory, `luns = { 0 = "a", 1 = "b", 2 = "c" }`) {
		t.Errorf("in memory:\n%s", memory)
	}
	writeFile(t, file, person)
	if r = s.mustPut(t, lun(t, "d"), mapOf(t, "d")); len(r.Warnings) != 0 {
		t.Errorf("warnings %q", r.Warnings)
	}
	if memory, disk := s.inMemory(), onDisk(t, s); memory != disk {
		t.Errorf("in memory:\n%s\non the disk:\n%s", memory, disk)
	}
}

// TestDeletedTogether: what has gone already with what it belonged to may be named as well.
func TestDeletedTogether(t *testing.T) {
	s := newSides(t, t.TempDir(), person)
	before := s.inMemory()
	const other = "iqn.2026-11.org.isantarget.test:other"
	r := s.mustPut(t, lun(t, "b"), mapOf(t, "b"), Put{Object: object(t, configs.TargetTable, `{"name": "`+other+`", "access": "open"}`)},
		Put{Object: object(t, configs.RuleTable, `{"name": "r", "target": "`+other+`", "networks": ["10.0.0.0/8"]}`)})
	b := Batch{}
	for _, o := range r.Objects {
		b.Deletes = append(b.Deletes, Delete{Table: o.Table, Name: o.Name, Version: o.Version})
	}
	wrong := Batch{Deletes: append([]Delete{}, b.Deletes...)}
	wrong.Deletes[3].Version = "0123456789abcdef"
	var stale *StaleError
	if _, err := s.Change(t.Context(), wrong); !errors.As(err, &stale) {
		t.Errorf("a rule of another version: %v", err)
	}
	if _, err := s.Change(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if memory, disk := s.inMemory(), onDisk(t, s); memory != before || disk != before {
		t.Errorf("in memory:\n%s\non the disk:\n%s\nbefore:\n%s", memory, disk, before)
	}
}

// A LUN that was made at run time and has grown, or shrunk, is recorded with the size that
// it has: after a restart, and in the configuration that is shown. A record that could
// not be written before the daemon was killed is with the next start.
func TestResizedLUNIsRecorded(t *testing.T) {
	dir := t.TempDir()
	s := newSides(t, dir, person)
	s.mustPut(t, lun(t, "b"))
	says := func(s *Sides, want string) {
		t.Helper()
		o, err := s.Object(configs.LUNTable, "b")
		if err != nil || o.Object.Text("size") != want {
			t.Errorf("the object says %v, %v; want %s", o.Object, err, want)
		}
		if where := filepath.Join(dir, "state/config.d/lun-b.toml") + ":1"; o.Where != where {
			t.Errorf("the object is said to stand at %s, not %s", o.Where, where)
		}
		kept, err := os.ReadFile(filepath.Join(dir, "state/config.d/lun-b.toml"))
		if err != nil || !strings.Contains(string(kept), fmt.Sprintf("size = %q", want)) {
			t.Errorf("the record says %s, %v; want %s", kept, err, want)
		}
		if got := s.now.Load().units["b"]; got.config.Size != configs.Size(got.medium.Geometry().Size) || got.config.Size.String() != want {
			t.Errorf("the LUN has %d bytes, and is said to have %v", got.medium.Geometry().Size, got.config.Size)
		}
	}
	before := s.now.Load().units["b"].lu
	done := func(j job.Status, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(20 * time.Second); err == nil && !j.State.Final() && time.Now().Before(end); time.Sleep(time.Millisecond) {
			j, err = s.Job(j.ID)
		}
		if err != nil || !j.State.Final() || j.Error != "" || strings.Contains(j.Result, "recorded") {
			t.Fatalf("%+v, %v", j, err)
		}
	}
	done(s.Grow("b", "3MiB"))
	says(s, "3MiB")
	done(s.Grow("a", "2MiB")) // a person's: the file is never written
	says(s, "3MiB")
	done(s.Shrink("b", "2MiB", true))
	says(s, "2MiB")
	if s.now.Load().units["b"].lu != before {
		t.Error("the logical unit is another one")
	}
	if _, err := s.Apply(t.Context(), configs.Config{}); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "b.img"), 5<<20); err != nil { // as by a Grow that was killed before its record
		t.Fatal(err)
	}
	s = newSides(t, dir, person)
	says(s, "5MiB")
	c, err := s.Export()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range c.LUNs {
		if l.Name == "b" && l.Size != 5<<20 {
			t.Errorf("it is exported with %v", l.Size)
		}
	}
}

// A clone is called as a LUN may be, or nothing is made: its name is that of its image.
func TestCloneStaysInItsFolder(t *testing.T) {
	dir := t.TempDir()
	s := newSides(t, dir, person)
	if _, err := s.TakeSnapshots(t.Context(), []string{"a"}, "before"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "../out", "/out", ".out", "in/out", strings.Repeat("x", 65)} {
		for _, of := range []string{"before", ""} {
			if c, err := s.Clone(t.Context(), "a", of, name, ""); err == nil || !strings.Contains(err.Error(), "cannot name a LUN") {
				t.Errorf("%q: %+v, %v", name, c, err)
			}
		}
	}
	if c, err := s.Clone(t.Context(), "a", "before", "out", ""); err != nil || filepath.Dir(c.Path) != filepath.Dir(s.now.Load().units["a"].config.Path) {
		t.Errorf("%+v, %v", c, err)
	}
}
