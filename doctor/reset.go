package doctor

import (
	"errors"
	"fmt"
	"slices"

	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/scsi"
)

func resetChecks() []Check {
	return []Check{{
		ID: "reset", For: []Consumer{OpenISCSI, Multipath, VMware}, scope: ofUnit, needs: resetting, run: checkReset,
		Title:  "LOGICAL UNIT RESET completes, and the other hosts hear of it by a unit attention",
		Breaks: "the error handling of hosts goes on to reset the target, then the host: every disk of it stops",
		Remedy: "update the target",
	}}
}

func checkReset(x *examination) (string, error) {
	if err := x.unreserved(); err != nil {
		return "", err
	}
	if _, err := x.b.hear(); err != nil {
		return "", err
	}
	c, err := x.a.connection()
	if err != nil {
		return "", err
	}
	answer, err := c.Manage(iscsi.TaskManagementRequest{Immediate: true, Function: iscsi.LogicalUnitReset, LUN: wireLUN(x.lun)})
	if err != nil {
		x.a.drop()
		return "", err
	}
	if answer != iscsi.FunctionComplete {
		return "", fmt.Errorf("it is answered with %v", answer)
	}
	heard, err := x.b.hear()
	if err != nil {
		return "", err
	}
	if !slices.ContainsFunc(heard, func(c scsi.SenseCode) bool { return c>>8 == scsi.ASCPowerOnResetOrBusDeviceResetOccurred>>8 }) {
		return "", errors.New("the other session hears nothing of it")
	}
	return fmt.Sprintf("the other session hears %v", heard), nil
}
