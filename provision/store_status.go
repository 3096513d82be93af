package provision

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/configs"
)

// A StoreStatus is how a store is, or a folder with images that are of no store. All
// sizes are bytes.
type StoreStatus struct {
	Name           string           `json:"name"` // empty: it is no store of the configuration
	Path           string           `json:"path"`
	Overcommit     string           `json:"overcommit"`      // the policy; empty: each LUN has its own
	SpaceThreshold int              `json:"space-threshold"` // percent; 0: none, or each LUN has its own
	Images         []ImageStatus    `json:"images"`
	Allocated      int64            `json:"allocated"` // by the images; what they share is counted once
	Promised       int64            `json:"promised"`  // the sizes of the images
	FileSystem     FileSystemStatus `json:"file-system"`
	Unknown        string           `json:"unknown"`    // why nothing is known of the file system; empty: it is
	Conditions     []string         `json:"conditions"` // what is not as it should be
	Events         []Event          `json:"events"`     // the last ones, from the newest
}

// An ImageStatus is the image of a LUN in a store.
type ImageStatus struct {
	LUN       string `json:"lun"`
	Path      string `json:"path"`
	Size      int64  `json:"size"`
	Allocated int64  `json:"allocated"` // with what it shares
	Shared    int64  `json:"shared"`    // the part of it that other files have too: a write to that takes new space
	// Estimated: what it shares is not counted to the end, and the rest is taken to be shared.
	Estimated bool `json:"estimated"`
}

// A FileSystemStatus is the file system below a store. What is promised is counted
// over all images in it, whatever stores they are in.
type FileSystemStatus struct {
	ID        string  `json:"id"`
	Capacity  int64   `json:"capacity"`
	Available int64   `json:"available"`
	Allocated int64   `json:"allocated"` // by images; what they share is counted once
	Promised  int64   `json:"promised"`
	Owed      int64   `json:"owed"`      // to images that can be written: what they have not, and what they share
	Estimated bool    `json:"estimated"` // owed may be less: see ImageStatus
	Ratio     float64 `json:"ratio"`     // promised / (allocated + available): more than 1 is more than there is
}

// Stores lists the stores in the order of the configuration, and behind them the
// folders of images with a bare path.
func (p *Provisioner) Stores() ([]StoreStatus, error) {
	r, err := p.served()
	if err != nil {
		return nil, err
	}
	pools := r.pools(false)
	list := []StoreStatus{}
	for _, s := range r.plan.Stores {
		list = append(list, StoreStatus{Name: s.Name, Path: s.Path, Overcommit: string(r.plan.OvercommitOf(configs.LUN{Store: s.Name})), SpaceThreshold: s.SpaceThreshold})
	}
	for _, l := range r.plan.LUNs {
		u := r.units[l.Name]
		i := slices.IndexFunc(list, func(s StoreStatus) bool { return s.holds(u) })
		if i < 0 && l.Store == "" && u.kind == configs.File {
			list = append(list, StoreStatus{Path: filepath.Dir(l.Path)})
		}
	}
	for i := range list {
		list[i].fill(r, pools)
		list[i].Events = p.events.all(func(e Event) bool { return list[i].concerns(e) })
	}
	return list, nil
}

// holds tells whether the image of u is in s. It asks no file system, for one may hang.
func (s *StoreStatus) holds(u *unit) bool {
	l := u.config
	return u.kind == configs.File && s.Name == l.Store && (s.Name != "" || s.Path == filepath.Dir(l.Path))
}

// concerns tells whether e is about s or an image in it.
func (s *StoreStatus) concerns(e Event) bool {
	return e.Store != "" && e.Store == s.Name ||
		slices.ContainsFunc(s.Images, func(i ImageStatus) bool { return e.LUN == i.LUN })
}

// fill puts in what is known of the file system and of the images.
func (s *StoreStatus) fill(r *running, pools map[string]*pool) {
	s.Images, s.Conditions = []ImageStatus{}, []string{}
	for _, p := range pools {
		var held []promise
		for i, u := range p.units {
			if s.holds(u) {
				image := p.promises[i]
				held = append(held, image)
				s.Images = append(s.Images, image.status(u.config))
				s.Promised += image.size
				s.FileSystem = p.status()
			}
		}
		s.Allocated += allocated(held, p.Capacity-p.Available)
	}
	if s.FileSystem.ID == "" {
		space, err := r.questions.spaceAt(s.Path)
		if err != nil {
			s.Unknown = err.Error()
			s.Conditions = append(s.Conditions, s.Unknown)
			return
		}
		p := pools[space.Pool]
		if p == nil {
			space.Used = 0
			p = &pool{Space: space}
		}
		s.FileSystem = p.status()
	}
	s.conditions()
}

func (p *promise) status(l configs.LUN) ImageStatus {
	return ImageStatus{
		LUN: l.Name, Path: l.Path, Size: p.size, Allocated: p.Used,
		Shared: p.shared(), Estimated: p.shares.estimated,
	}
}

func (p *pool) status() FileSystemStatus {
	return FileSystemStatus{
		ID: p.Pool, Capacity: p.Capacity, Available: p.Available, Allocated: p.Used, Promised: p.promised, Owed: p.owed, Estimated: p.estimated, Ratio: p.ratio(),
	}
}

// conditions are what is not as it should be, in words.
func (s *StoreStatus) conditions() {
	f := s.FileSystem
	filled := backstore.Space{Available: f.Available, Capacity: f.Capacity}.Filled()
	if s.SpaceThreshold > 0 && filled >= float64(s.SpaceThreshold) {
		s.Conditions = append(s.Conditions, fmt.Sprintf("%.0f %% full (threshold %d %%)", filled, s.SpaceThreshold))
	}
	if f.Owed > f.Available {
		s.Conditions = append(s.Conditions, fmt.Sprintf("owes %s%s and has %s", amount(f.Owed), atMostThat(f.Estimated), amount(f.Available)))
	}
}
