package doctor

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

func vmwareChecks() []Check {
	return []Check{
		{
			ID: "block-length", For: []Consumer{VMware}, scope: ofUnit, run: checkBlockLength,
			Title:  "logical blocks have 512 bytes, and the unit at most 64 TiB",
			Breaks: "VMware makes no datastore of it",
			Remedy: "make the LUN anew with block-size = 512; 4 KiB can stay its physical block size",
		}, {
			ID: "vpd-b0", For: []Consumer{VMware}, scope: ofUnit, run: checkBlockLimits,
			Title:  "VPD page B0h offers COMPARE AND WRITE, and what it says of UNMAP fits VMFS (1 MiB pieces)",
			Breaks: "VMware does not use ATS, and locks whole LUNs by reservations; or space is never given back",
			Remedy: "update the target; optimal unmap granularity must not be above 1 MiB",
		}, {
			ID: "vpd-b2", For: []Consumer{VMware, WindowsCluster}, scope: ofUnit, run: checkProvisioning,
			Title:  "thin provisioning is told the same by READ CAPACITY (16), VPD page B2h and VPD page B0h",
			Breaks: "hosts do not unmap, or unmap what cannot be: Windows hangs in formatting",
			Remedy: "update the target, or make the LUN thick",
		}, {
			ID: "vpd-86", For: []Consumer{VMware}, scope: ofUnit, run: func(x *examination) (string, error) { return x.pageIsThere(0x86) },
			Title:  "VPD page 86h (extended INQUIRY data) can be read",
			Breaks: "VMware logs errors, and guesses at task attributes",
			Remedy: "update the target",
		}, {
			ID: "tas", For: []Consumer{VMware, OpenISCSI}, scope: ofUnit, run: checkTAS,
			Title:  "a command that another host aborts ends with TASK ABORTED (TAS in the control mode page)",
			Breaks: "it vanishes without an answer: its host waits for its own time-out, up to a minute, before it tries again",
			Remedy: "set TAS in the target, or by sdparm --set=TAS --save",
		}, {
			ID: "receive-copy", For: []Consumer{VMware}, scope: ofUnit, run: checkCopyParameters,
			Title:  "the copy manager tells what it can (RECEIVE COPY RESULTS, OPERATING PARAMETERS)",
			Breaks: "VMware clones and moves disks by reading and writing them over the network",
			Remedy: "nothing is lost but time; a target with EXTENDED COPY does it by itself",
		}, {
			ID: "operation-codes", For: []Consumer{VMware, WindowsCluster}, scope: ofUnit, run: checkOperationCodes,
			Title:  "REPORT SUPPORTED OPERATION CODES tells of ATS, XCOPY, WRITE SAME, UNMAP and persistent reservations",
			Breaks: "what is not told of is not used, or is tried and fails under load",
			Remedy: "update the target",
		}, {
			ID: "product", For: []Consumer{VMware}, scope: ofTarget, run: checkSameProduct,
			Title:  "all LUNs have the same PRODUCT IDENTIFICATION",
			Breaks: "VMware does not use XCOPY between LUNs whose product differs",
			Remedy: "give the LUNs one product name",
		},
	}
}

func checkBlockLength(x *examination) (string, error) {
	c, err := x.capacity()
	if err != nil {
		return "", err
	}
	switch {
	case c.size != 512:
		return "", fmt.Errorf("they have %d bytes", c.size)
	case c.blocks > 64<<40/512:
		return "", fmt.Errorf("the unit has %d TiB", c.blocks*512>>40)
	}
	return "512 bytes", nil
}

func checkBlockLimits(x *examination) (string, error) {
	page, err := x.inquiry(0xb0)
	if err != nil {
		return "", err
	}
	c, err := x.capacity()
	if err != nil {
		return "", err
	}
	compare, unmapBlocks, unmapRanges, granularity := byteAt(page, 5), uint32At(page, 20), uint32At(page, 24), uint32At(page, 28)
	switch {
	case compare == 0:
		return "", errors.New("MAXIMUM COMPARE AND WRITE LENGTH is 0: there is no ATS")
	case c.thin && (unmapBlocks == 0 || unmapRanges == 0):
		return "", errors.New("the unit is thin, and MAXIMUM UNMAP LBA COUNT or BLOCK DESCRIPTOR COUNT is 0: nothing can be unmapped")
	case c.thin && uint64(granularity)*uint64(c.size) > pieceBytes:
		return "", fmt.Errorf("OPTIMAL UNMAP GRANULARITY is %d KiB: VMFS unmaps 1 MiB at a time, so little is given back", uint64(granularity)*uint64(c.size)>>10)
	}
	return fmt.Sprintf("ATS of %d blocks", compare), nil
}

func checkProvisioning(x *examination) (string, error) {
	c, err := x.capacity()
	if err != nil {
		return "", err
	}
	page, err := x.inquiry(0xb2)
	if answered(err) {
		page, err = nil, nil
	}
	if err != nil {
		return "", err
	}
	limits, err := x.inquiry(0xb0)
	if err != nil && !answered(err) {
		return "", err
	}
	unmap := byteAt(page, 5)&0x80 != 0 // LBPU
	switch {
	case c.thin && page == nil:
		return "", errors.New("READ CAPACITY (16) says thin (LBPME), and there is no VPD page B2h")
	case c.thin && byteAt(page, 5)&0xe0 == 0:
		return "", errors.New("READ CAPACITY (16) says thin (LBPME), and VPD page B2h knows no command to unmap")
	case !c.thin && unmap:
		return "", errors.New("VPD page B2h offers UNMAP (LBPU), and READ CAPACITY (16) says that the unit is not thin")
	case unmap && uint32At(limits, 20) == 0:
		return "", errors.New("VPD page B2h offers UNMAP (LBPU), and VPD page B0h allows 0 blocks")
	case c.thin:
		return "thin", nil
	}
	return "not thin", nil
}

func (x *examination) pageIsThere(page int) (string, error) {
	_, err := x.inquiry(page)
	return "", err
}

func checkTAS(x *examination) (string, error) {
	_, pages, err := x.modeSense6()
	if err != nil {
		return "", err
	}
	page := pages[0x0a]
	if len(page) < 6 {
		return "", errors.New("the control mode page (0Ah) is missing")
	}
	if page[5]&0x40 == 0 {
		return "", errors.New("TAS is 0")
	}
	return "TAS is 1", nil
}

func checkCopyParameters(x *examination) (string, error) {
	data, err := x.a.run("RECEIVE COPY RESULTS", []byte{0x84, 0x03, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0}, nil, 1024)
	if err != nil {
		return "", err
	}
	if len(data) < 44 {
		return "", fmt.Errorf("RECEIVE COPY RESULTS: %d bytes of operating parameters", len(data))
	}
	return fmt.Sprintf("%d segments of up to %d KiB", uint16At(data, 10), uint32At(data, 16)>>10), nil
}

func checkOperationCodes(x *examination) (string, error) {
	c, err := x.capacity()
	if err != nil {
		return "", err
	}
	commands := []struct {
		name   string
		opcode byte
		action int
		wanted bool
	}{
		{"COMPARE AND WRITE", 0x89, -1, true}, {"EXTENDED COPY", 0x83, 0, true}, {"WRITE SAME (16)", 0x93, -1, true}, {"UNMAP", 0x42, -1, c.thin},
		{"PERSISTENT RESERVE IN", 0x5e, 0, true}, {"PERSISTENT RESERVE OUT", 0x5f, 0, true}, {"READ (16)", 0x88, -1, true}, {"SYNCHRONIZE CACHE (10)", 0x35, -1, true},
	}
	var missing []string
	for _, one := range commands {
		known, err := x.knows(one.opcode, one.action)
		if err != nil {
			return "", err
		}
		if one.opcode == 0x83 && !known {
			known, err = x.knows(0x83, 1) // LID4
			if err != nil {
				return "", err
			}
		}
		if one.wanted && !known {
			missing = append(missing, one.name)
		}
	}
	if len(missing) > 0 {
		return "", errors.New("not told of: " + strings.Join(missing, ", "))
	}
	if known, err := x.knows(0xff, -1); err != nil {
		return "", err
	} else if known {
		return "", errors.New("it tells of FFh too, which is no command: it says yes to everything")
	}
	return "", nil
}

func checkSameProduct(x *examination) (string, error) {
	if len(x.units) < 2 {
		return "", notChecked("there are fewer than two disks")
	}
	was := x.lun
	defer func() { x.lun = was }()
	var products []string
	for _, n := range x.units {
		x.allow()
		x.lun = n
		data, err := x.inquiryOf(x.a, standard)
		if err != nil {
			return "", fmt.Errorf("LUN %d: %w", n, err)
		}
		if p := strings.TrimSpace(string(data[8:32])); !slices.Contains(products, p) {
			products = append(products, p)
		}
	}
	if len(products) > 1 {
		return "", fmt.Errorf("there are %q", products)
	}
	return products[0], nil
}
