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

// A Rememberer is a DeviceServer with records of its own. The logical unit calls
// Remember once, when it is made, before any command comes; not without a Keeper.
type Rememberer interface {
	Remember(Record) error
}

// A Record is where a device server keeps what must outlive the process. The zero
// Record keeps nothing.
type Record struct {
	id     Identity
	keeper Keeper
}

// Load is [Keeper.Load] of the unit.
func (r Record) Load(kind string) ([]byte, error) {
	if r.keeper == nil {
		return nil, nil
	}
	return r.keeper.Load(r.id, kind)
}

// Save is [Keeper.Save] of the unit.
func (r Record) Save(kind string, record []byte) error {
	if r.keeper == nil {
		return nil
	}
	return r.keeper.Save(r.id, kind, record)
}
