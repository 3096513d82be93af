package scsi

// A DeviceServer answers for one peripheral device type; sbc.Device is one.
// The logical unit asks for the tables once, when it is made.
type DeviceServer interface {
	// PeripheralDeviceType is SPC-4 6.6.2 (00h: direct access block device).
	PeripheralDeviceType() byte
	// Operations is the whole command table, shared rows included.
	Operations() []Operation
	// Unsupported answers a CDB that no row fits (usually 20/00).
	Unsupported(*Command) error
	// Ready is nil, or why the medium cannot be used (NOT READY 02/04/xx, 3A/00).
	Ready() *Sense
	// InquiryData is what standard INQUIRY data says of the device type.
	InquiryData() InquiryData
	// VitalProductDataPages are the pages beside those of package spc, by code.
	VitalProductDataPages() []VitalProductDataPage
	// ModePages are the device's mode pages with their defaults. The logical unit
	// has the control mode page (0Ah) and the informational exceptions control
	// mode page (1Ch) itself; a page here takes the place of the latter.
	ModePages() []ModePage
	// ModeParameterHeader is the DEVICE-SPECIFIC PARAMETER byte (WP, DPOFUA). A
	// command that writes is refused while it has WP (80h); the logical unit
	// adds WP itself for software write protect.
	ModeParameterHeader() byte
	// BlockDescriptor is the short (long false, 8 bytes) or long LBA (16 bytes) mode
	// parameter block descriptor of SBC-3 6.4.2.
	BlockDescriptor(long bool) []byte
	// Reset brings back the state of power on that the device server keeps
	// (logical unit reset, SAM-5 6.3.3).
	Reset()
	// NexusLost forgets what the device server keeps for n (PREVENT ALLOW MEDIUM REMOVAL).
	NexusLost(n *Nexus)
}

// A Synchronizer is a DeviceServer with a volatile cache: the logical unit has
// it write the cache before software write protect (SWP) takes hold (SPC-4 7.5.8).
type Synchronizer interface {
	// Sync makes durable all that has been written.
	Sync() error
}

// InquiryData is the part of standard INQUIRY data (SPC-4 6.6.2) that differs by device.
type InquiryData struct {
	Qualifier          byte // PERIPHERAL QUALIFIER
	Removable          bool
	ThirdPartyCopy     bool // 3PC: there is a copy manager
	VersionDescriptors []uint16
}

// A VitalProductDataPage is one VPD page beyond its four-byte header.
type VitalProductDataPage struct {
	Code byte
	Data func() []byte
}
