package scsi

import "fmt"

// The pages that every logical unit has.
const (
	controlPage                 = 0x0a
	informationalExceptionsPage = 0x1c
)

// The bits of the control mode page (SPC-4 7.5.8) that can change.
const (
	dSenseBit = 0x04 // byte 2
	swpBit    = 0x08 // byte 4
	tasBit    = 0x40 // byte 5
)

// ownModePages are the control mode page and the informational exceptions
// control mode page.
//
// Control (SPC-4 7.5.8): one task set for all nexuses (TST 000b), unrestricted
// reordering of SIMPLE commands (QUEUE ALGORITHM MODIFIER 1h), which leaves
// the order of commands in flight to the initiator; commands aborted by others
// end with TASK ABORTED (TAS) unless somebody asks for silence; no unit
// attention interlock.
//
// Informational exceptions (SBC-3 6.5.8): nothing is reported but on request
// (MRIE 6h), and there is no failure to predict.
func (lu *LogicalUnit) ownModePages() []ModePage {
	return []ModePage{
		{
			Code:       controlPage,
			Default:    []byte{2: 0, 3: 0x10, 5: tasBit, 11: 0},
			Changeable: []byte{2: dSenseBit, 4: swpBit, 5: tasBit, 11: 0},
			Apply:      lu.applyControlPage,
		},
		{
			Code:    informationalExceptionsPage,
			Default: []byte{3: 6, 11: 0},
		},
	}
}

// applyControlPage puts the control mode page to use. Before software write
// protect takes hold, what the device server has cached is written.
func (lu *LogicalUnit) applyControlPage(page []byte) error {
	m := &lu.modes
	protect := page[4]&swpBit != 0
	if device, ok := lu.Device.(Synchronizer); ok && protect && !m.writeProtect.Load() {
		if err := device.Sync(); err != nil {
			return fmt.Errorf("write protection: %w", err)
		}
	}
	m.writeProtect.Store(protect)
	m.descriptorSense.Store(page[2]&dSenseBit != 0)
	m.taskAborted.Store(page[5]&tasBit != 0)
	return nil
}
