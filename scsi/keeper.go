package scsi

// A Keeper keeps small records that outlive the process, such as saved mode
// pages. Its methods may be called at once from many goroutines.
type Keeper interface {
	// Load is the record of this kind of id; nil without an error when there is none.
	Load(id Identity, kind string) ([]byte, error)
	// Save has made record durable when it returns nil. After an error the old
	// record holds. It does not keep record.
	Save(id Identity, kind string, record []byte) error
}
