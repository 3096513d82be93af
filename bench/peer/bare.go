package peer

import "context"

func startBare(ctx context.Context, p *Peer, o Options) error {
	p.Version = "this tree"
	if err := fill(p.Image, o.Size); err != nil {
		return err
	}
	if err := p.run(o, o.Self, "bare", p.Address, p.Image); err != nil {
		return err
	}
	return p.until(ctx, p.accepts)
}
