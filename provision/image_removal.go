package provision

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/isantarget/isantarget/backstore/file"
	"github.com/isantarget/isantarget/backstore/snapshot"
	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/state"
)

// A removal is an image that is to be removed, for its LUN was deleted with it. It is recorded by
// the same step by which the LUN goes, so a daemon that is killed before the image is gone
// removes it at its next start.
type removal struct {
	LUN  string `json:"lun"`
	Path string `json:"path"`
	File string `json:"file"` // as in an imageRecord; empty: nobody knows
}

// Documents of removals are called so.
const (
	removalPrefix = "removal-"
	removalSuffix = ".json"
)

func (m removal) document() string { return m.called(removalPrefix) }

func (m removal) called(prefix string) string { return prefix + m.LUN + removalSuffix }

func isRemoval(document string) bool {
	return strings.HasPrefix(document, removalPrefix) && strings.HasSuffix(document, removalSuffix)
}

func (m removal) record() []byte {
	text, err := json.Marshal(m)
	if err != nil {
		panic(err) // three texts
	}
	return text
}

// parseRemoval reads the record of a removal, in a document whose name begins with prefix. What
// is none that we write is refused, and nothing is removed by it.
func parseRemoval(prefix, document string, text []byte) (removal, error) {
	var m removal
	if err := json.Unmarshal(text, &m); err != nil {
		return removal{}, fmt.Errorf("the record %s: %w", document, err)
	}
	if configs.CheckName("LUN", m.LUN) != nil || m.called(prefix) != document || m.Path == "" {
		return removal{}, fmt.Errorf("the record %s names no LUN and image", document)
	}
	return m, nil
}

// removalOf is that of the image of l, which runs.
func (p *Provisioner) removalOf(l configs.LUN) removal {
	m := removal{LUN: l.Name, Path: l.Path}
	if _, u, err := p.servedUnit(l.Name); err == nil && u.medium != nil {
		m.File = u.expect
	}
	return m
}

// removeImage removes the image of a LUN that has been taken out, unless somebody still has it.
func (p *Provisioner) removeImage(m removal) error {
	p.applying.Lock()
	defer p.applying.Unlock()
	if name := p.hanging.holder(m.Path); name != "" {
		return fmt.Errorf("the image %s is not removed: commands of LUN %q still hang in it; remove it by hand when that has ended", m.Path, name)
	}
	r := p.now.Load()
	if r != nil {
		for name, u := range r.units {
			if u.config.Path == m.Path {
				return fmt.Errorf("the image %s is not removed: LUN %q has it", m.Path, name)
			}
		}
	}
	if err := os.Remove(m.Path); err != nil {
		return fmt.Errorf("the image is not removed: %w", err)
	}
	return r.forgetImage(m)
}

// forgetImage forgets what was noted of an image that is removed. r may be nil: it is too late then.
func (r *running) forgetImage(m removal) error {
	if err := snapshot.At(m.Path).Forget(); err != nil {
		return fmt.Errorf("the image is removed, and not what was noted of its snapshots: %w", err)
	}
	if r == nil || r.units[m.LUN] != nil {
		return nil
	}
	return r.state.ForgetSerial(m.LUN) // another image is another disk
}

// forgetRemoval ends a removal: the image is gone, or is not removed, which was told.
func (p *Provisioner) forgetRemoval(document string) error {
	if r := p.now.Load(); r != nil {
		return r.state.ChangeObjects(state.Documents{document: nil})
	}
	return nil
}

// finishRemovals removes images whose LUNs were deleted with them by a daemon that was killed
// before it could. mu is held.
func (s *Sides) finishRemovals() {
	documents, err := state.Objects(s.config.State)
	if err != nil {
		s.log.WithError(err).Warn("images of LUNs that were deleted may be left")
		return
	}
	for _, name := range slices.Sorted(maps.Keys(documents)) {
		if !isRemoval(name) {
			continue
		}
		m, err := parseRemoval(removalPrefix, name, documents[name])
		if err == nil {
			err = s.finishRemoval(m)
		}
		if errors.Is(err, errHangs) {
			s.log.WithField("lun", m.LUN).WithError(err).Warnf("the image %s is removed with the next start", m.Path)
			continue
		}
		if err = errors.Join(err, s.forgetRemoval(name)); err != nil {
			s.log.WithField("lun", m.LUN).WithError(err).Warn("the LUN was deleted with its image, which may be there still")
			continue
		}
		s.log.WithField("lun", m.LUN).Infof("image %s removed, of a LUN that was deleted before the daemon was killed", m.Path)
	}
}

// finishRemoval removes an image, if it is the one that was meant.
func (p *Provisioner) finishRemoval(m removal) error {
	if _, err := p.questions.spaceAt(m.Path); errors.Is(err, errHangs) {
		return err
	}
	is, err := file.IdentityAt(m.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return p.now.Load().forgetImage(m)
	case err != nil:
		return err
	case is == "" || is != m.File:
		return fmt.Errorf("%s is not removed, for it is not known to be the image that was meant; remove it by hand, if it is to go", m.Path)
	}
	return p.removeImage(m)
}
