package doctor

import (
	"errors"
	"fmt"
)

func windowsChecks() []Check {
	return []Check{
		{
			ID: "not-removable", For: []Consumer{WindowsCluster}, scope: ofUnit, run: checkNotRemovable,
			Title:  "the medium is not removable",
			Breaks: "Windows does not take removable disks into a cluster",
			Remedy: "set removable = false",
		}, {
			ID: "pr-capabilities", For: []Consumer{WindowsCluster, FenceSCSI}, scope: ofUnit, run: checkCapabilities,
			Title:  "PERSISTENT RESERVE IN, REPORT CAPABILITIES tells of every type, and that reservations outlive a loss of power (PTPL_C)",
			Breaks: "cluster validation fails; fence_scsi with aptpl=1 cannot register",
			Remedy: "update the target; see that it has a place to keep reservations",
		}, {
			ID: "pr-read", For: []Consumer{WindowsCluster, FenceSCSI}, scope: ofUnit, run: checkReadReservations,
			Title:  "PERSISTENT RESERVE IN tells of keys and of the reservation",
			Breaks: "cluster validation, and fence_scsi, fail at once",
			Remedy: "update the target",
		},
	}
}

func checkNotRemovable(x *examination) (string, error) {
	data, err := x.inquiry(standard)
	if err != nil {
		return "", err
	}
	if data[1]&0x80 != 0 {
		return "", errors.New("RMB is 1")
	}
	return "", nil
}

// capabilities is the data of REPORT CAPABILITIES (SPC-4 6.15.4).
func (x *examination) capabilities() ([]byte, error) { return x.a.persistentIn(reportCapabilities) }

func checkCapabilities(x *examination) (string, error) {
	data, err := x.capabilities()
	if err != nil {
		return "", err
	}
	if data[3]&0x80 == 0 {
		return "", errors.New("the types are not told of (TMV is 0)")
	}
	for _, kind := range []int{1, 3, 5, 6, 7, 8} {
		if data[4+kind/8]&(1<<(kind%8)) == 0 {
			return "", fmt.Errorf("type %Xh is not supported", kind)
		}
	}
	if data[2]&1 == 0 {
		return "", errors.New("PTPL_C is 0: reservations are lost when the target starts again")
	}
	return "all types, PTPL_C", nil
}

func checkReadReservations(x *examination) (string, error) {
	r, err := x.a.reservations()
	if conflicts(err) {
		return "", notChecked("somebody has reserved the unit (RESERVE)")
	}
	if err != nil {
		return "", err
	}
	if r.kind == 0 {
		return fmt.Sprintf("%d keys, no reservation", len(r.keys)), nil
	}
	return fmt.Sprintf("%d keys, reserved with type %Xh by key %#x", len(r.keys), r.kind, r.holder), nil
}
