package file

// Provisioning says when an image takes the space it promises.
type Provisioning uint8

// The two kinds of provisioning of SBC-3 4.7.
const (
	Sparse Provisioning = iota // thin: space is taken by writing, and given back by UNMAP
	Fixed                      // full: all space is taken when the image is opened
)

// String is the name of the kind in a configuration.
func (p Provisioning) String() string {
	if p == Fixed {
		return "fixed"
	}
	return "sparse"
}

// Options says which image to open, and how.
type Options struct {
	Path string

	Create bool  // make the image when there is none
	Size   int64 // bytes of a new image; one that exists keeps its own

	Provisioning Provisioning
	Direct       bool // leave out the page cache (O_DIRECT)
	ReadOnly     bool

	// Fill, if it is set, writes what a new image holds, which has no name until that is
	// done. Its error, or the end of the process, leaves nothing.
	Fill func(*Blank) error

	// Step, if it is set, hears how much of the space of a fixed image is taken, in
	// bytes, between the steps of taking it. Its error ends that, and nothing is left
	// of what was taken.
	Step func(done, total int64) error
}

// step is Step, where it may be missing.
func (o Options) step(done, total int64) error {
	if o.Step == nil {
		return nil
	}
	return o.Step(done, total)
}
