package conformance

import "regexp"

// A Shape is a kind of logical unit that the suite runs against.
type Shape struct {
	Name    string
	Options string // of --lun, after NAME=PATH
	Why     string // what only this shape can run

	// Only matches the tests that this shape is there for; nil: all. Leave matches those
	// of them that it leaves out; nil leaves out none.
	Only, Leave *regexp.Regexp

	// TwoPaths gives the tool a second portal to the unit.
	TwoPaths bool
	// Sanitize lets the tool sanitize the unit (-S), which takes it a while.
	Sanitize bool
}

// Shapes returns the shapes in which every test of the suite can be run that can be run at all.
func Shapes() []Shape {
	// 1 GiB at most, for READ (6) and the tests beyond the end. Without a threshold: no test expects to hear that one is reached.
	const thin = ",size=256MiB,provisioning=sparse,space-threshold=0"
	return []Shape{
		{
			Name:    "thin",
			Options: thin,
			Why:     "logical block provisioning with one logical block in a physical one (LBPPBE 0); and two paths",

			TwoPaths: true,
		},
		{
			Name:    "thin-4k",
			Options: thin + ",physical-block-size=4096",
			Why:     "eight logical blocks in a physical one (LBPPBE 3): unaligned UNMAP and WRITE SAME",
			// It unmaps single logical blocks and wants each to be an extent of its own.
			Leave: regexp.MustCompile(`^GetLBAStatus\.UnmapSingle$`),
		},
		{
			Name:    "write-protected",
			Options: thin + ",readonly",
			Why:     "what a unit that cannot be written refuses",
			// These write as part of their own business, and would only say that the unit is write protected.
			Leave: regexp.MustCompile(`^(CompareAndWrite|ExtendedCopy|OrWrite|Sanitize|Unmap|Write\w*)\.` +
				`|^GetLBAStatus\.Unmap|^ProutReserve\.Access|^iSCSIdatasn\.|^iSCSITMF\.|^iSCSIResiduals\.Write|^ReceiveCopyResults\.CopyStatus$`),
		},
		{
			Name:    "removable",
			Options: thin + ",removable",
			Why:     "PREVENT ALLOW MEDIUM REMOVAL, loading and ejecting",
		},
		{
			Name:    "memory",
			Options: ",kind=memory,size=256MiB",
			Why:     "WRITE ATOMIC (16), which no store behind a page cache or a file system can promise",
			Only:    regexp.MustCompile(`^WriteAtomic16\.`),
		},
		{
			Name:    "sanitize",
			Options: ",size=64MiB,provisioning=sparse,space-threshold=0,sanitize-rate=11MiB",
			Why:     "SANITIZE, made slow: one test wants it to last longer than a reset and a new login",
			Only:    regexp.MustCompile(`^Sanitize\.`),

			Sanitize: true,
		},
	}
}
