package provision

import (
	"cmp"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/configs"
)

// preallocator is a store that can take space ahead of sequential writes.
type preallocator interface {
	Preallocate(may func(space backstore.Space, bytes int64) bool)
}

// takeAhead has the store of u take space ahead of sequential writes, if that is wanted,
// as long as its file system stays below the threshold that the configuration of the
// moment has for it. What is taken comes out of what the image was promised anyway.
func (p *Provisioner) takeAhead(u *unit) {
	ahead, ok := u.base.(preallocator)
	if l := u.config; !ok || l.Preallocate == configs.PreallocateOff || l.Provisioning == configs.Fixed || l.ReadOnly {
		return
	}
	name := u.config.Name
	ahead.Preallocate(func(space backstore.Space, bytes int64) bool {
		r := p.now.Load()
		if r == nil || r.units[name] == nil {
			return false
		}
		_, threshold := r.plan.poolThreshold(r.units[name].config)
		space.Available -= bytes
		return space.Filled() < float64(cmp.Or(threshold, configs.DefaultSpaceThreshold))
	})
}
