package scsi

// A LogPage is a log page (SPC-4 7.3) of a device server.
type LogPage struct {
	Code byte // PAGE CODE, 01h to 3Eh
	// Parameters are its log parameters, ascending by code. It may wait for the
	// medium: it is called where a command may block.
	Parameters func() ([]LogParameter, error)
}

// A LogParameter is a parameter of a log page, in the form of a binary list: its
// value is neither counted nor compared with a threshold (SPC-4 7.3.2).
type LogParameter struct {
	Code  uint16
	Value []byte
}

// A Logger is a DeviceServer with log pages beside those of package spc.
type Logger interface {
	LogPages() []LogPage
}
