package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// A Disk is what is seen of a logical unit before it is used.
type Disk struct {
	Size           int64 // bytes
	BlockSize      int   // bytes
	WriteProtected bool
	Product        string   // vendor and product
	Names          []string // NAA and others
	Reserved       int      // keys that are registered with it, and one for a reservation without
}

// Probe logs in to the unit that p names, and looks at it. The error says in plain words why
// it cannot be used: who is refused and why, that there is no such LUN, that it is not ready.
func Probe(ctx context.Context, p Place, o Options) (Disk, error) {
	var d Disk
	if p.Target == "" || p.LUN == AnyLUN {
		return d, errors.New("the URL has to name one LUN: iscsi://HOST/IQN/LUN")
	}
	x := newExamination(ctx, &o, p.Portal, p.Target, p.LUN)
	defer x.a.logout()
	data, err := x.inquiry(standard)
	if err != nil {
		return d, err
	}
	if data[0]>>5 == 3 {
		return d, fmt.Errorf("there is no LUN %d: `isantarget doctor %s` shows those that are", p.LUN, Place{Portal: p.Portal, Target: p.Target, LUN: AnyLUN})
	}
	if data[0] != 0 {
		return d, fmt.Errorf("LUN %d is no disk (peripheral qualifier and device type %02Xh): `isantarget doctor %s` shows those that are", p.LUN, data[0], Place{Portal: p.Portal, Target: p.Target, LUN: AnyLUN})
	}
	d.Product = printable(strings.TrimSpace(string(data[8:16])) + " " + strings.TrimSpace(string(data[16:32])))
	if _, err := x.a.hear(); err != nil {
		return d, fmt.Errorf("LUN %d is not ready: %w", p.LUN, err)
	}
	c, err := x.capacity()
	if err != nil {
		return d, err
	}
	d.Size, d.BlockSize = int64(c.blocks)*int64(c.size), c.size
	if d.WriteProtected, err = x.writeProtected(); err != nil {
		return d, err
	}
	if page, err := x.inquiry(0x83); err == nil {
		names, _ := identity(page)
		for _, name := range names {
			d.Names = append(d.Names, printable(name))
		}
	}
	if r, err := x.a.reservations(); err == nil {
		d.Reserved = len(r.keys)
		if r.kind != 0 && d.Reserved == 0 {
			d.Reserved = 1
		}
	}
	return d, nil
}
