package provision

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/state"
)

// An Origin reads what a person wrote: a file or flags.
type Origin func() (configs.Written, error)

// Sides are the two sides of the configuration that a provisioner applies: what a person
// wrote, which is only ever read, and the objects that were made at run time, which live
// in the state directory. An object lives on one side. Its methods may be called at once
// from many goroutines; changes are made one after the other.
type Sides struct {
	*Provisioner
	origin Origin

	mu      sync.Mutex // one change at a time
	ended   bool
	written configs.Written  // that is applied
	config  configs.Config   // that is applied; zero: nothing yet
	objects []configs.Object // those of config

	seen atomic.Pointer[configs.Config] // config, for those who only look
}

// set notes what is applied.
func (s *Sides) set(c configs.Config) {
	s.config, s.objects = c, c.Made()
	s.seen.Store(&c)
}

// NewSides makes the sides of p. Nothing is applied yet.
func NewSides(p *Provisioner, origin Origin) *Sides {
	s := &Sides{Provisioner: p, origin: origin}
	s.seen.Store(&configs.Config{})
	p.resized = func(ctx context.Context) error {
		for !s.mu.TryLock() { // a change that waits for the end of the job has it
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(10 * time.Millisecond):
			}
		}
		defer s.mu.Unlock()
		if s.ended {
			return ErrEnded
		}
		return s.recordSizes(context.Background())
	}
	return s
}

// recordSizes has the objects of LUNs say the sizes that their images have: they grow and
// shrink while they run, and the image is what counts. mu is held.
func (s *Sides) recordSizes(ctx context.Context) error {
	r := s.now.Load()
	if r == nil {
		return nil
	}
	objects, change, files := slices.Clone(s.objects), state.Documents{}, map[string]string{}
	for i, o := range objects {
		files[o.String()] = o.File
		u := r.units[o.Name()]
		if o.Table != configs.LUNTable || !o.Has("size") || u == nil || u.medium == nil || u.kind != configs.File {
			continue
		}
		size := configs.Size(u.medium.Geometry().Size)
		if size == u.config.Size {
			continue
		}
		objects[i] = o.With("size", size.String()).In(o.File)
		change[filepath.Base(o.File)] = []byte(objects[i].TOML())
	}
	if len(change) == 0 {
		return nil
	}
	want, err := s.written.With(objects...)
	if err != nil {
		return err
	}
	if _, err := s.applyRecorded(ctx, want, func(d *state.Directory) error { return d.ChangeObjects(change) }); err != nil {
		return err
	}
	s.set(want.Kept(files))
	return nil
}

// ErrEnded: it is too late for a change.
var ErrEnded = errors.New("the daemon is stopping")

// Load reads both sides, and applies nothing.
func (s *Sides) Load() (configs.Config, error) {
	_, config, err := s.load()
	return config, err
}

// load is Load, with what it has read.
func (s *Sides) load() (configs.Written, configs.Config, error) {
	written, err := s.origin()
	if err != nil {
		return written, configs.Config{}, err
	}
	alone, err := written.With() // it says where the other side is
	if err != nil && alone.State == "" {
		return written, configs.Config{}, err
	} // else what it lacks may have been made at run time
	objects, err := keptObjects(alone.State)
	if err != nil {
		return written, configs.Config{}, err
	}
	config, err := written.With(objects...)
	return written, config, err
}

// keptObjects are the objects that a state directory keeps.
func keptObjects(path string) ([]configs.Object, error) {
	documents, err := state.Objects(path)
	if err != nil {
		return nil, err
	}
	var objects []configs.Object
	for _, name := range slices.Sorted(maps.Keys(documents)) {
		if isRemoval(name) || isCopy(name) {
			continue
		}
		o, err := configs.ObjectFromTOML(state.ObjectFile(path, name), documents[name])
		if err != nil {
			return nil, err
		}
		objects = append(objects, o)
	}
	return objects, nil
}

// Reload reads both sides and applies them: see [Provisioner.Apply]. It is the start too.
func (s *Sides) Reload(ctx context.Context) (configs.Config, Report, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return configs.Config{}, Report{}, ErrEnded
	}
	written, want, err := s.load()
	if err != nil {
		return want, Report{}, err
	}
	report, err := s.Apply(ctx, want)
	if err != nil {
		return want, Report{}, err
	}
	first := s.config.State == ""
	s.written = written
	s.set(want)
	if first {
		s.finishRemovals()
		s.finishCopies()
	}
	if err := s.recordSizes(ctx); err != nil { // after a job that was killed before it could
		s.log.WithError(err).Warn("the sizes that LUNs have cannot be recorded")
	}
	return want, report, nil
}

// pending warns of what a person has written since it was applied. A change of objects
// leaves it alone: when it takes effect is for that person to say.
func (s *Sides) pending(now configs.Config, objects []configs.Object) []string {
	written, err := s.origin()
	if err == nil && written.Text == s.written.Text {
		return nil
	}
	var next configs.Config
	if err == nil {
		next, err = written.With(objects...)
	}
	switch {
	case err != nil:
		return []string{fmt.Sprintf("this is done; but what is served now is not what the configuration file says, and that cannot be served: %v", err)}
	case next.TOML() != now.TOML():
		return []string{"this is done; but the configuration file has changed since it was applied: isantarget plan says what of, and isantarget reload applies it"}
	}
	return nil
}

// End refuses changes from now on; one that is under way has ended when it returns.
func (s *Sides) End() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
}

// A Put makes an object, or has another one take its place.
type Put struct {
	Object  configs.Object
	Version string // of the object that it replaces, [AnyVersion], or empty: there is none of its name
}

// A Delete takes an object away that was made at run time. The maps of a LUN go with it,
// and the maps and rules of a target.
type Delete struct {
	Table   configs.Table `json:"table"`
	Name    string        `json:"name"`
	Version string        `json:"version"` // that it has, or AnyVersion
	Image   bool          `json:"image"`   // of a LUN: remove the image file too; what is in it is lost
}

// AnyVersion stands for the version that an object has, whatever it is.
const AnyVersion = "*"

// A Batch is changes that are made together: all of them or none.
type Batch struct {
	Puts    []Put
	Deletes []Delete
}

// VersionOf is the version of an object: it changes with what the object says.
func VersionOf(o configs.Object) string {
	sum := sha256.Sum256([]byte(o.TOML()))
	return hex.EncodeToString(sum[:8])
}

// An ObjectStatus is an object of the configuration.
type ObjectStatus struct {
	Table   configs.Table  `json:"table"`
	Name    string         `json:"name"`
	Made    bool           `json:"made"`    // at run time; else a person wrote it, and it can be changed only there
	Where   string         `json:"where"`   // file and line, or flag
	Version string         `json:"version"` // for Put and Delete
	Object  configs.Object `json:"object"`  // with the keys of the TOML table
}

func statusOfObject(p configs.Placed) ObjectStatus {
	return ObjectStatus{Table: p.Table, Name: p.Name(), Made: p.Made, Where: p.Where, Version: VersionOf(p.Object), Object: p.Object}
}

// Objects lists the objects of a table, on both sides.
func (s *Sides) Objects(table configs.Table) []ObjectStatus {
	list := []ObjectStatus{}
	for _, p := range s.seen.Load().Placed(table) {
		list = append(list, statusOfObject(p))
	}
	return list
}

// Object is the object of this name.
func (s *Sides) Object(table configs.Table, name string) (ObjectStatus, error) {
	c := s.seen.Load()
	if p, ok := c.Find(table, name); ok {
		return statusOfObject(p), nil
	}
	return ObjectStatus{}, &UnknownError{table.Title(), name, c.Names(table)}
}

// A ClashError is an object that is there already, perhaps on the other side.
type ClashError struct{ what string }

// Error says on which side it is, and what to do.
func (e *ClashError) Error() string { return e.what }

// A StaleError is a change to an object that somebody else has changed meanwhile.
type StaleError struct {
	Object  string
	Version string // that it has
}

// Error says what to do.
func (e *StaleError) Error() string {
	return fmt.Sprintf("somebody else has changed %s meanwhile; look at it again, and make the change to what it is now (its version is %s)", e.Object, e.Version)
}

// ErrNoVersion: a change does not say to what.
var ErrNoVersion = errors.New("there is one already: say which version of it is to be changed (the ETag of GET), in If-Match, or * for any")

// Change makes the changes of a batch: everything is checked and prepared first, then
// recorded, and then seen. An error has changed nothing.
func (s *Sides) Change(ctx context.Context, batch Batch) (Report, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.change(ctx, batch, state.Documents{})
}

// change is Change, and records besides what documents say. mu is held.
func (s *Sides) change(ctx context.Context, batch Batch, documents state.Documents) (Report, error) {
	if s.ended {
		return Report{}, ErrEnded
	}
	e := edit{Sides: s, objects: slices.Clone(s.objects), change: documents, files: map[string]string{}}
	if err := e.make(batch); err != nil {
		return Report{}, err
	}
	want, err := s.written.With(e.objects...)
	if err != nil {
		return Report{}, err
	}
	report, err := s.applyRecorded(ctx, want, func(d *state.Directory) error { return d.ChangeObjects(e.change) })
	if err != nil {
		return Report{}, err
	}
	known := s.config.Warnings()
	report.Warnings = slices.DeleteFunc(report.Warnings, func(w string) bool { return slices.Contains(known, w) })
	report.Warnings = append(report.Warnings, s.pending(want, e.objects)...)
	for _, l := range report.LUNs {
		if l.Failure != nil && slices.Contains(e.names, objectName{configs.LUNTable, l.Name}) {
			report.Warnings = append(report.Warnings, fmt.Sprintf("LUN %s is not ready: %v; it is served as soon as it can be", l.Name, l.Failure))
		}
	}
	s.set(want.Kept(e.files))
	for _, name := range e.names {
		if p, ok := s.config.Find(name.table, name.name); ok {
			report.Objects = append(report.Objects, statusOfObject(p))
		}
	}
	for _, m := range e.images {
		if err := errors.Join(s.removeImage(m), s.forgetRemoval(m.document())); err != nil {
			report.Warnings = append(report.Warnings, err.Error())
		} else {
			report.Changes = append(report.Changes, fmt.Sprintf("image %s removed", m.Path))
		}
	}
	return report, nil
}

// An objectName is a name within its table.
type objectName struct {
	table configs.Table
	name  string
}

// An edit is a batch on its way.
type edit struct {
	*Sides
	objects []configs.Object
	change  state.Documents
	files   map[string]string // object -> where it will be kept
	names   []objectName      // of what is put
	images  []removal         // that are to be removed
}

func (e *edit) make(batch Batch) error {
	for _, d := range batch.Deletes {
		if err := e.delete(d); err != nil {
			return err
		}
	}
	for _, p := range batch.Puts {
		if err := e.put(p); err != nil {
			return err
		}
	}
	return nil
}

// find is the position of an object of ours; -1: there is none.
func (e *edit) find(table configs.Table, name string) int { return indexOf(e.objects, table, name) }

func indexOf(objects []configs.Object, table configs.Table, name string) int {
	return slices.IndexFunc(objects, func(o configs.Object) bool {
		return o.Table == table && (o.Name() == name || table == configs.TargetTable && strings.EqualFold(o.Name(), name))
	})
}

// written is the object of this name that a person wrote.
func (e *edit) written(table configs.Table, name string) (configs.Placed, bool) {
	p, ok := e.config.Find(table, name)
	return p, ok && !p.Made && p.Where != ""
}

func (e *edit) delete(d Delete) error {
	i := e.find(d.Table, d.Name)
	if i < 0 {
		if had := indexOf(e.Sides.objects, d.Table, d.Name); had >= 0 && !d.Image {
			return matches(e.Sides.objects[had], d.Version) // it has gone with what it belonged to
		}
		if p, ok := e.written(d.Table, d.Name); ok {
			return &ClashError{fmt.Sprintf("%s is written in %s, which isantarget never changes: take it out there, and %s", p, p.Where, afterwards(p))}
		}
		return &UnknownError{d.Table.Title(), d.Name, e.config.Names(d.Table)}
	}
	o := e.objects[i]
	if err := matches(o, d.Version); err != nil {
		return err
	}
	if d.Image {
		l, err := e.imageOf(o)
		if err != nil {
			return err
		}
		m := e.removalOf(l)
		e.images = append(e.images, m)
		e.change[m.document()] = m.record()
	}
	e.take(o)
	for _, other := range slices.Clone(e.objects) {
		belongs := o.Table == configs.LUNTable && other.Table == configs.MapTable && other.Text("lun") == o.Name() ||
			o.Table == configs.TargetTable && (other.Table == configs.MapTable || other.Table == configs.RuleTable) && strings.EqualFold(other.Text("target"), o.Name())
		if belongs {
			e.take(other)
		}
	}
	return nil
}

// afterwards is what makes a change of what a person wrote known to the daemon.
func afterwards(p configs.Placed) string {
	if strings.HasPrefix(p.Where, "--") {
		return "start the daemon anew"
	}
	return "run isantarget reload"
}

// take takes an object out.
func (e *edit) take(o configs.Object) {
	e.objects = slices.DeleteFunc(e.objects, func(x configs.Object) bool { return x.Table == o.Table && x.Name() == o.Name() })
	e.change[filepath.Base(o.File)] = nil
}

// matches tells whether a change that was made to a version is one to o.
func matches(o configs.Object, version string) error {
	switch version {
	case AnyVersion, VersionOf(o):
		return nil
	case "":
		return fmt.Errorf("%s: %w", o, ErrNoVersion)
	}
	return &StaleError{o.String(), VersionOf(o)}
}

func (e *edit) put(p Put) error {
	o := e.placed(e.numbered(p.Object))
	name := o.Name()
	if w, ok := e.written(o.Table, name); ok {
		return &ClashError{fmt.Sprintf("%s is there already, and is written in %s, which isantarget never changes: change it there and %s, or take another name", w, w.Where, afterwards(w))}
	}
	file, err := documentName(o)
	if err != nil {
		return err
	}
	path := state.ObjectFile(e.config.State, file)
	if i := e.find(o.Table, name); i >= 0 {
		if p.Version == "" {
			return &ClashError{fmt.Sprintf("%s is there already; take another name, or change that one", o)}
		}
		if err := matches(e.objects[i], p.Version); err != nil {
			return err
		}
		path = e.objects[i].File
		e.objects = slices.Delete(e.objects, i, i+1)
	} else if p.Version != "" && p.Version != AnyVersion {
		return &StaleError{o.String() + ", which is gone", "none"}
	}
	e.change[filepath.Base(path)] = []byte(o.TOML())
	o.File = "" // errors are about what is asked for; it is in no file yet
	e.objects = append(e.objects, o)
	e.files[o.String()] = path
	e.names = append(e.names, objectName{o.Table, name})
	return nil
}

// numbered gives a map that has no number the lowest one that its target has free, and
// a portal group without a tag likewise.
func (e *edit) numbered(o configs.Object) configs.Object {
	switch {
	case o.Table == configs.MapTable && !o.Has("number"):
		return o.With("number", lowest(e.taken(o.Text("target")), 0))
	case o.Table == configs.PortalGroupTable && !o.Has("tag"):
		taken := map[int]bool{}
		for _, g := range e.config.PortalGroups {
			taken[g.Tag] = true
		}
		return o.With("tag", lowest(taken, 1))
	}
	return o
}

// placed gives a LUN that does not say where its image is a place: in the one store
// there is, or beside the state if there is none.
func (e *edit) placed(o configs.Object) configs.Object {
	if k := configs.Kind(o.Text("kind")); o.Table != configs.LUNTable || o.Has("store") || o.Has("path") || !k.HasPath() || o.Name() == "" {
		return o
	}
	switch len(e.config.Stores) {
	case 0:
		return o.With("path", filepath.Join(e.config.State, o.Name()+".img"))
	case 1:
		return o.With("store", e.config.Stores[0].Name)
	}
	return o // which store it is to be is for the caller to say
}

// taken are the LUN numbers that a target has given.
func (e *edit) taken(target string) map[int]bool {
	taken := map[int]bool{}
	for _, t := range e.config.Targets {
		if strings.EqualFold(t.Name, target) {
			for n := range t.LUNs {
				taken[n] = true
			}
		}
	}
	set := func(objects []configs.Object, is bool) {
		for _, o := range objects {
			if o.Table == configs.MapTable && strings.EqualFold(o.Text("target"), target) {
				if _, word, ok := strings.Cut(o.Name(), "/"); ok {
					if n, err := strconv.Atoi(word); err == nil {
						taken[n] = is
					}
				}
			}
		}
	}
	set(e.Sides.objects, false) // this batch may have taken some of them out
	set(e.objects, true)
	if i := e.find(configs.TargetTable, target); i >= 0 {
		for _, word := range e.objects[i].Keys("luns") {
			if n, err := strconv.Atoi(word); err == nil {
				taken[n] = true
			}
		}
	}
	return taken
}

// lowest is the lowest number from first on that is not taken.
func lowest(taken map[int]bool, first int) int {
	for n := first; ; n++ {
		if !taken[n] {
			return n
		}
	}
}

// documentName is the file name of an object.
func documentName(o configs.Object) (string, error) {
	name := o.Name()
	if o.Table == configs.MapTable {
		target, number, _ := strings.Cut(name, "/")
		name = target + "-" + number
	}
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:"
	odd := func(r rune) bool { return r < 0x80 && !strings.ContainsRune(letters, r) }
	if name == "" || len(name) > 235 || strings.ContainsFunc(name, odd) {
		return "", &configs.Error{Text: fmt.Sprintf("%q cannot name a %s; use letters, digits and . _ -", o.Name(), o.Table.Title())}
	}
	return string(o.Table) + "-" + name + ".toml", nil
}

// imageOf is the LUN o whose image may be removed with it.
func (e *edit) imageOf(o configs.Object) (configs.LUN, error) {
	for _, l := range e.config.LUNs {
		if o.Table != configs.LUNTable || l.Name != o.Name() {
			continue
		}
		_, u, err := e.servedUnit(l.Name)
		if err != nil {
			return l, err
		}
		if u.kind != configs.File {
			break
		}
		all, err := e.Snapshots(l.Name)
		if errors.Is(err, errHangs) {
			return l, &ClashError{fmt.Sprintf("%v; delete it with its image when it answers again, or without", err)}
		}
		if len(all) > 0 {
			return l, &ClashError{fmt.Sprintf("the image of LUN %q has %d snapshots, which it would leave behind; delete them first: isantarget snapshot list %s", l.Name, len(all), l.Name)}
		}
		return l, nil
	}
	return configs.LUN{}, &ClashError{fmt.Sprintf("%s has no image file that could be removed; leave that out", o)}
}
