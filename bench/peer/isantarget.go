package peer

import (
	"context"
	"net"
	"os"
	"path/filepath"
)

// startISANTarget serves the image as a user would, by flags.
func startISANTarget(ctx context.Context, p *Peer, o Options) error {
	binary := o.Binary
	if binary == "" {
		binary = filepath.Join(o.Directory, "isantarget")
		if _, err := output(ctx, "go", "build", "-trimpath", "-o", binary, "github.com/isantarget/isantarget/cmd/isantarget"); err != nil {
			return err
		}
	}
	p.Version = "this tree"
	if commit, err := output(ctx, "git", "describe", "--always", "--dirty", "--abbrev=10"); err == nil && o.Binary == "" {
		p.Version = commit
	}
	if err := fill(p.Image, o.Size); err != nil {
		return err
	}
	ready := filepath.Join(o.Directory, "ready")
	if err := p.run(o, binary, "serve", "--portal", p.Address, "--target", p.Target, "--lun", "disk="+p.Image,
		"--state", filepath.Join(o.Directory, "state"), "--ready-file", ready, "--log-level", "warn"); err != nil {
		return err
	}
	return p.until(ctx, func() bool {
		_, err := os.Stat(ready)
		return err == nil
	})
}

// accepts tells whether somebody listens at the address of p.
func (p *Peer) accepts() bool {
	conn, err := net.Dial("tcp", p.Address)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}
