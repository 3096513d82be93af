package configs

import "fmt"

// A LUN is a medium and how initiators are shown it. Its name is what the rest
// of the configuration knows it by; its identity (NAA, EUI-64, unit serial
// number) is made of Serial and of nothing else, so that it may be renamed,
// moved and mapped at will.
type LUN struct {
	Name string `toml:"name"`
	Kind Kind   `toml:"kind"`

	// Store and Path say where the medium is: NAME.img in the store, another
	// path within the store, or a path without a store.
	Store string `toml:"store"`
	Path  string `toml:"path"`

	Plugin string `toml:"plugin"` // of gotgt: the name its backing store is registered by; empty: "file"

	Size         Size         `toml:"size"`         // bytes; 0: the size that the image has
	Provisioning Provisioning `toml:"provisioning"` // empty: sparse
	Direct       bool         `toml:"direct"`       // around the page cache (O_DIRECT)

	Overcommit     Overcommit `toml:"overcommit"`      // of an image with a bare path; empty: refuse
	SpaceThreshold int        `toml:"space-threshold"` // percent of its size in use that are told of; 0: none

	Preallocate Preallocation `toml:"preallocate"` // of a sparse image; empty: auto

	BlockSize         int  `toml:"block-size"`          // bytes of a logical block: 512 or 4096
	PhysicalBlockSize int  `toml:"physical-block-size"` // bytes; 0: the device's own, or the logical one
	WriteCache        bool `toml:"write-cache"`         // WCE of the caching mode page (SBC-3 6.4.5)
	ReadOnly          bool `toml:"readonly"`
	Removable         bool `toml:"removable"`     // RMB of INQUIRY (SPC-4 6.6.2)
	DetectZeroes      bool `toml:"detect-zeroes"` // a WRITE of zeros gives space back

	ExplicitALUA bool `toml:"explicit-alua"` // initiators may change the access states of its paths (SPC-4 6.45)

	SanitizeRate Size `toml:"sanitize-rate"` // bytes that SANITIZE writes in a second at most; 0: no bound

	Serial string `toml:"serial"` // empty: made once and kept with the state

	// Names that another target told of the disk, in place of ours; empty: ours.
	NAA      Designator `toml:"naa"`      // NAA designator (SPC-4 7.8.6.6)
	EUI64    Designator `toml:"eui64"`    // EUI-64 based designator (SPC-4 7.8.6.5)
	T10      string     `toml:"t10"`      // T10 vendor ID designator (SPC-4 7.8.6.4)
	Vendor   string     `toml:"vendor"`   // T10 VENDOR IDENTIFICATION (SPC-4 6.6.2)
	Product  string     `toml:"product"`  // PRODUCT IDENTIFICATION
	Revision string     `toml:"revision"` // PRODUCT REVISION LEVEL

	Layers []Layer `toml:"layer"` // between the LUN and its store, from the top
}

func (l *LUN) setDefaults() {
	l.BlockSize = 512
	l.WriteCache = true
	l.SpaceThreshold = DefaultSpaceThreshold
}

// Kind is what keeps the bytes of a LUN.
type Kind string

// The kinds of store.
const (
	AnyKind Kind = ""       // a block device if Path is one, else a file
	File    Kind = "file"   // an image file
	Block   Kind = "block"  // a block device
	Memory  Kind = "memory" // memory: gone with the process
	Null    Kind = "null"   // nothing: reads zeros, forgets writes; for benchmarks
	Gotgt   Kind = "gotgt"  // a backing store written for gotgt
)

func kinds() []string {
	return []string{string(File), string(Block), string(Memory), string(Null), string(Gotgt)}
}

// UnmarshalText reads one of the kinds.
func (k *Kind) UnmarshalText(text []byte) error { return choose((*string)(k), text, kinds()) }

// HasPath tells whether stores of this kind have a path.
func (k Kind) HasPath() bool { return k != Memory && k != Null }

// Provisioning is how an image file takes its space, and whether UNMAP gives it
// back, to a file system or to a device.
type Provisioning string

// The ways of provisioning.
const (
	Sparse Provisioning = "sparse" // when it is written, and given back by UNMAP
	Fixed  Provisioning = "fixed"  // all of it, when the image is made
)

// UnmarshalText reads one of the ways.
func (p *Provisioning) UnmarshalText(text []byte) error {
	return choose((*string)(p), text, []string{string(Sparse), string(Fixed)})
}

// Preallocation says whether space is taken ahead of sequential writes.
type Preallocation string

// What may be said of it.
const (
	PreallocateAuto Preallocation = "auto" // where an image lies in fewer pieces by it, and there is room
	PreallocateOff  Preallocation = "off"
)

// UnmarshalText reads one of the words.
func (p *Preallocation) UnmarshalText(text []byte) error {
	return choose((*string)(p), text, []string{string(PreallocateAuto), string(PreallocateOff)})
}

// choose takes text if it is one of choices.
func choose(out *string, text []byte, choices []string) error {
	for _, c := range choices {
		if c == string(text) {
			*out = c
			return nil
		}
	}
	return fmt.Errorf("%q is not known%s", text, DidYouMean(string(text), choices))
}
