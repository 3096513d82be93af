package peer

import (
	"context"
	"strconv"
)

// startTGT starts tgtd and makes one target by tgtadm. LUN 0 of a tgt target is its controller, the disk is LUN 1.
func startTGT(ctx context.Context, p *Peer, o Options) (err error) {
	if p.Version, err = installed("tgt", "tgtd", "tgtadm"); err != nil {
		return err
	}
	if err := fill(p.Image, o.Size); err != nil {
		return err
	}
	p.LUN = 1
	control := strconv.Itoa(o.Port % 1000)
	// As many threads for I/O as the daemon takes by default.
	if err := p.run(o, "tgtd", "--foreground", "--control-port", control, "--iscsi", "portal="+p.Address); err != nil {
		return err
	}
	admin := func(args ...string) error {
		_, err := output(ctx, "tgtadm", append([]string{"--control-port", control, "--lld", "iscsi"}, args...)...)
		return err
	}
	if err := p.until(ctx, func() bool { return p.accepts() && admin("--op", "show", "--mode", "target") == nil }); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"--op", "new", "--mode", "target", "--tid", "1", "--targetname", p.Target},
		{"--op", "new", "--mode", "logicalunit", "--tid", "1", "--lun", "1", "--backing-store", p.Image},
		{"--op", "bind", "--mode", "target", "--tid", "1", "--initiator-address", "ALL"},
	} {
		if err := admin(args...); err != nil {
			return err
		}
	}
	return nil
}
