package doctor

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/scsi"
)

func inquiryCommand() initiator.Command {
	return initiator.Command{CDB: []byte{0x12, 0, 0, 0, 36, 0}, Read: 36}
}

func pathChecks() []Check {
	return []Check{
		{
			ID: "vpd-83", For: []Consumer{Multipath, VMware, WindowsCluster}, scope: ofUnit, run: checkIdentification,
			Title:  "VPD page 83h names the unit by NAA or EUI-64",
			Breaks: "multipath, Proxmox (/dev/disk/by-id), VMware and Windows clusters do not know which paths lead to one disk; VMware looks at 8 characters of a T10 name only",
			Remedy: "give the LUN a serial or NAA of its own; update a target that has none",
		}, {
			ID: "vpd-83-paths", For: []Consumer{Multipath, VMware, WindowsCluster}, scope: ofUnit, run: checkSameOverPortals,
			Title:  "the unit has the same name through every portal",
			Breaks: "hosts take two paths for two disks, and mount one of them twice: data is lost",
			Remedy: "give the LUN one identity in all targets and portals that it is reached by",
		}, {
			ID: "vpd-83-luns", For: []Consumer{Multipath, VMware, WindowsCluster}, scope: ofTarget, run: checkUnitsDiffer,
			Title:  "no two LUNs of the target have the same name",
			Breaks: "multipath takes two disks for one, and writes now to this and now to that: data is lost",
			Remedy: "give each LUN a serial of its own",
		}, {
			ID: "vpd-80", For: []Consumer{Multipath, Everybody}, scope: ofUnit, run: checkSerial,
			Title:  "VPD page 80h has a serial number",
			Breaks: "what tells disks apart by serial number (QEMU, udev, backup software) cannot",
			Remedy: "give the LUN a serial",
		}, {
			ID: "alua", For: []Consumer{Multipath, VMware}, scope: ofUnit, run: checkALUA,
			Title:  "access states (ALUA) are told, and the path we use is in one of the groups",
			Breaks: "multipath's detect_prio finds nothing: all paths have one priority, and none can be moved or preferred",
			Remedy: "nothing to do with one path; else configure prio const, or a target with ALUA",
		}, {
			ID: "standby", For: []Consumer{VMware}, scope: ofUnit, run: checkStandby,
			Title:  "no path is in the standby state",
			Breaks: "VMware handles standby badly: rescans hang on such paths",
			Remedy: "use active/non-optimized for the path that waits",
		}, {
			ID: "queue", For: []Consumer{VMware, OpenISCSI}, scope: ofUnit, run: checkQueue,
			Title:  "of 128 commands at once each ends: done, or put off (TASK SET FULL, BUSY)",
			Breaks: "commands are lost under load, and hosts reset the disk",
			Remedy: "lower queue_depth on the hosts; update the target",
		},
	}
}

func checkIdentification(x *examination) (string, error) {
	list, err := x.inquiry(0)
	if err != nil {
		return "", err
	}
	for i := 5; i < len(list); i++ {
		if list[i] <= list[i-1] {
			return "", fmt.Errorf("VPD page 00h lists pages out of order: % X", list[4:])
		}
	}
	page, err := x.inquiry(0x83)
	if err != nil {
		return "", err
	}
	if !slices.Contains(list[4:], 0x83) {
		return "", errors.New("VPD page 00h does not list page 83h")
	}
	d, err := binaryName(page)
	if err != nil {
		return "", err
	}
	names, _ := identity(page)
	if d.id == nil {
		return "", fmt.Errorf("neither NAA nor EUI-64 is there, only %q", names)
	}
	if strings.Trim(string(d.id[1:]), "\x00") == "" {
		return "", fmt.Errorf("its name is nothing but zeros: %q", names)
	}
	return strings.Join(names, ", "), nil
}

func checkSameOverPortals(x *examination) (string, error) {
	if len(x.portals) < 2 {
		return "", notChecked("discovery shows one portal")
	}
	first, err := x.inquiry(0x83)
	if err != nil {
		return "", err
	}
	want, err := identity(first)
	if err != nil {
		return "", err
	}
	seen := 0
	for _, portal := range x.portals[1:] {
		n := x.nexus(portal)
		page, err := x.inquiryOf(n, 0x83)
		n.logout()
		if err != nil && !answered(err) {
			continue // the check of the portals says so
		}
		if err != nil {
			return "", fmt.Errorf("through %s: %w", portal, err)
		}
		if got, err := identity(page); err != nil || !slices.Equal(got, want) {
			return "", fmt.Errorf("through %s it is %q, through %s %q", x.portal, want, portal, got)
		}
		seen++
	}
	if seen == 0 {
		return "", notChecked("no other portal lets us in")
	}
	return fmt.Sprintf("through %d portals", seen+1), nil
}

func checkUnitsDiffer(x *examination) (string, error) {
	if len(x.units) < 2 {
		return "", notChecked("there are fewer than two disks")
	}
	was := x.lun
	defer func() { x.lun = was }()
	owner := map[string]int{}
	for _, n := range x.units {
		x.allow()
		x.lun = n
		page, err := x.inquiryOf(x.a, 0x83)
		if answered(err) {
			continue
		}
		if err != nil {
			return "", err
		}
		names, err := identity(page)
		if err != nil {
			return "", fmt.Errorf("LUN %d: %w", n, err)
		}
		for _, name := range names {
			if other, ok := owner[name]; ok {
				return "", fmt.Errorf("LUN %d and LUN %d are both %s", other, n, name)
			}
			owner[name] = n
		}
	}
	return fmt.Sprintf("%d disks", len(x.units)), nil
}

func checkSerial(x *examination) (string, error) {
	page, err := x.inquiry(0x80)
	if err != nil {
		return "", err
	}
	serial := strings.Trim(string(page[4:]), " \x00")
	if serial == "" {
		return "", errors.New("it is empty")
	}
	return serial, nil
}

// portGroups asks for the target port groups (SPC-4 6.37): the state of each, and its ports.
func (x *examination) portGroups() (states map[uint16]byte, ports map[uint16]uint16, err error) {
	data, err := x.a.run("REPORT TARGET PORT GROUPS", []byte{0xa3, 0x0a, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0}, nil, 2048)
	if err != nil {
		return nil, nil, err
	}
	if len(data) < 4 || int(uint32At(data, 0)) > len(data)-4 {
		return nil, nil, fmt.Errorf("REPORT TARGET PORT GROUPS: RETURN DATA LENGTH %d in %d bytes", uint32At(data, 0), len(data))
	}
	states, ports = map[uint16]byte{}, map[uint16]uint16{}
	for p := data[4 : 4+uint32At(data, 0)]; len(p) >= 8; {
		n := 8 + 4*int(p[7])
		if n > len(p) {
			return nil, nil, errors.New("REPORT TARGET PORT GROUPS: a group reaches beyond the data")
		}
		group := uint16At(p, 2)
		states[group] = p[0] & 0xf
		for at := 8; at < n; at += 4 {
			ports[uint16At(p, at+2)] = group
		}
		p = p[n:]
	}
	return states, ports, nil
}

func stateNames() map[byte]string {
	return map[byte]string{0: "active/optimized", 1: "active/non-optimized", 2: "standby", 3: "unavailable", 0xe: "offline", 0xf: "transitioning"}
}

func checkALUA(x *examination) (string, error) {
	data, err := x.inquiry(standard)
	if err != nil {
		return "", err
	}
	if data[5]>>4&3 == 0 {
		return "", errors.New("TPGS is 0: there are no access states")
	}
	states, ports, err := x.portGroups()
	if err != nil {
		return "", err
	}
	page, err := x.inquiry(0x83)
	if err != nil {
		return "", err
	}
	all, err := designators(page)
	if err != nil {
		return "", err
	}
	for _, d := range all {
		if d.association != ofTargetPort || len(d.id) < 4 {
			continue
		}
		id := uint16At(d.id, 2)
		switch _, known := ports[id]; {
		case d.kind == kindPort && !known:
			return "", fmt.Errorf("our port has the relative identifier %d, which no group has", id)
		case d.kind == kindPortGroup:
			state, ok := states[id]
			if !ok {
				return "", fmt.Errorf("our port is of the group %d, which is not reported", id)
			}
			return fmt.Sprintf("%d groups; ours, %d, is %s", len(states), id, stateNames()[state]), nil
		}
	}
	return "", errors.New("VPD page 83h does not say which target port group our port is of")
}

func checkStandby(x *examination) (string, error) {
	data, err := x.inquiry(standard)
	if err != nil {
		return "", err
	}
	if data[5]>>4&3 == 0 {
		return "", notChecked("there are no access states")
	}
	states, _, err := x.portGroups()
	if err != nil {
		return "", err
	}
	for group, state := range states {
		if state == 2 {
			return "", fmt.Errorf("target port group %d is in standby", group)
		}
	}
	return "", nil
}

func checkQueue(x *examination) (string, error) {
	ended, err := x.pipeline(x.a, 128, nil)
	if err != nil {
		return "", err
	}
	for status, n := range ended {
		switch status {
		case scsi.Good, scsi.TaskSetFull, scsi.Busy:
		default:
			return "", fmt.Errorf("%d of 128 reads end with %v", n, status)
		}
	}
	return fmt.Sprintf("%d done, %d put off", ended[scsi.Good], ended[scsi.TaskSetFull]+ended[scsi.Busy]), nil
}
