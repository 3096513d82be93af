package spc

import "github.com/isantarget/isantarget/scsi"

// Absent is the device server for LUNs that have no logical unit (SPC-4 6.6.2,
// SAM-5 5.12): INQUIRY says so with peripheral qualifier 011b and peripheral device
// type 1Fh, REPORT LUNS tells which there are, REQUEST SENSE gives LOGICAL UNIT
// NOT SUPPORTED as data, and every other command ends with it.
type Absent struct{}

// NewAbsent makes the logical unit that a [scsi.UnitMap] needs for absent LUNs;
// one serves any number of maps. revision is the product revision level.
func NewAbsent(revision string) *scsi.LogicalUnit {
	lu, err := scsi.NewLogicalUnit(scsi.Identity{Name: "absent", Revision: revision}, Absent{}, nil)
	if err != nil {
		panic(err) // its rows are constant
	}
	return lu
}

// PeripheralDeviceType is "unknown or no device type".
func (Absent) PeripheralDeviceType() byte { return 0x1f }

// Operations are the three commands that are answered.
func (Absent) Operations() []scsi.Operation {
	return []scsi.Operation{requestSenseRow(), inquiryRow(), reportLUNsRow()}
}

// Unsupported is LOGICAL UNIT NOT SUPPORTED.
func (Absent) Unsupported(*scsi.Command) error {
	return scsi.IllegalRequest(scsi.ASCLogicalUnitNotSupported)
}

// Ready is LOGICAL UNIT NOT SUPPORTED, which REQUEST SENSE returns.
func (Absent) Ready() *scsi.Sense { return scsi.IllegalRequest(scsi.ASCLogicalUnitNotSupported) }

// InquiryData says that the target is not capable of a unit here.
func (Absent) InquiryData() scsi.InquiryData { return scsi.InquiryData{Qualifier: 3} }

// VitalProductDataPages are none.
func (Absent) VitalProductDataPages() []scsi.VitalProductDataPage { return nil }

// ModePages are none that could be asked for.
func (Absent) ModePages() []scsi.ModePage { return nil }

// ModeParameterHeader is zero.
func (Absent) ModeParameterHeader() byte { return 0 }

// BlockDescriptor is none.
func (Absent) BlockDescriptor(bool) []byte { return nil }

// Reset has nothing to bring back.
func (Absent) Reset() {}

// NexusLost has nothing to forget.
func (Absent) NexusLost(*scsi.Nexus) {}
