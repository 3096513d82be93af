package provision

import (
	"errors"
	"fmt"
	"math/bits"
	"sync"

	"github.com/sirupsen/logrus"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/fault"
	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/scsi"
)

// A layerer puts a layer of the configuration of u upon a store.
type layerer func(u *unit, c configs.Layer, below backstore.Store) (backstore.Store, error)

// layerers are the kinds of layers. A new kind is a folder below backstore and a
// line here.
func layerers() map[configs.LayerKind]layerer {
	return map[configs.LayerKind]layerer{
		configs.FaultLayer: breakable,
	}
}

// stack puts the layers of u upon its store, from the lowest. When it fails the
// store is still the caller's to close.
func (u *unit) stack(store backstore.Store) (backstore.Store, error) {
	kinds := layerers()
	for i := len(u.config.Layers) - 1; i >= 0; i-- {
		c := u.config.Layers[i]
		above, err := kinds[c.Kind](u, c, store)
		if err != nil {
			return store, err
		}
		store = above
	}
	return store, nil
}

// breakable is a layer that breaks on demand. The faults of the operator go to the
// one nearest to the LUN.
func breakable(u *unit, c configs.Layer, below backstore.Store) (backstore.Store, error) {
	s, err := fault.New(below, fault.Options{Unit: max(u.config.BlockSize, u.config.PhysicalBlockSize), Seed: uint64(c.Seed), Struck: u.struck})
	if err != nil {
		return nil, err
	}
	u.breaker = &breaker{store: s}
	u.breaker.set(u.config, c.Faults)
	return s, nil
}

// A breaker is a layer that breaks on demand, and in the words of the configuration
// how it does.
type breaker struct {
	store *fault.Store

	mu    sync.Mutex
	words []configs.Fault
}

func (b *breaker) set(l configs.LUN, list []configs.Fault) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.store.Set(faultsOf(l, list))
	b.words = list
}

func (b *breaker) status() []FaultStatus {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := []FaultStatus{}
	for i, f := range b.store.Faults() {
		list = append(list, FaultStatus{Fault: b.words[i].String(), Met: f.Met, Struck: f.Struck})
	}
	return list
}

// faultsOf are faults of a configuration for the layer of the LUN l.
func faultsOf(l configs.LUN, list []configs.Fault) []fault.Fault {
	kinds := map[configs.FaultKind]struct {
		kind fault.Kind
		on   fault.Calls // unless it is said
	}{
		configs.FaultError:    {fault.Error, fault.Transfers},
		configs.FaultDelay:    {fault.Delay, fault.Transfers},
		configs.FaultShort:    {fault.Short, fault.Transfers},
		configs.FaultTorn:     {fault.Torn, fault.Write},
		configs.FaultLostSync: {fault.LostSync, fault.Sync},
		configs.FaultPowerCut: {fault.PowerCut, fault.AllCalls},
	}
	bit := map[string]fault.Calls{}
	for i, name := range fault.Calls(0).Names() {
		bit[name] = 1 << i
	}
	var all []fault.Fault
	for _, c := range list {
		k := kinds[c.Kind]
		f := fault.Fault{
			Kind: k.kind, Errno: c.Errno, Delay: c.Delay, Keep: c.Keep, Calls: k.on,
			First: c.First, Bytes: c.Length, After: c.After, Rate: c.Rate, Count: c.Count,
		}
		if len(c.On) > 0 {
			f.Calls = 0
		}
		for _, name := range c.On {
			f.Calls |= bit[name]
		}
		if c.Blocks {
			f.First, f.Bytes = c.First*int64(l.BlockSize), c.Length*int64(l.BlockSize)
		}
		all = append(all, f)
	}
	return all
}

// logStrikes has faults that strike logged: the first time, the second, the fourth ...
func logStrikes(log *logrus.Entry) func(fault.Strike) {
	return func(s fault.Strike) {
		if bits.OnesCount64(uint64(s.Times)) == 1 {
			log.Warnf("a fault struck on purpose, for the %d. time: %v of %d bytes, at byte %d", s.Times, s.Call, s.Length, s.Offset)
		}
	}
}

// A FaultStatus is a fault in force.
type FaultStatus struct {
	Fault  string `json:"fault"`  // in the words of the configuration
	Met    int64  `json:"met"`    // calls that it was about
	Struck int64  `json:"struck"` // how many of them it struck
}

// A WordError is a word that nobody understands.
type WordError struct {
	Word string
	Err  error
}

// Error says what is wrong with it.
func (e *WordError) Error() string { return fmt.Sprintf("%q: %v", e.Word, e.Err) }

// Unwrap is what is wrong with it.
func (e *WordError) Unwrap() error { return e.Err }

// breakable is the unit of this name, if it can break on demand.
func (p *Provisioner) breakable(lun string) (*unit, error) {
	r, err := p.served()
	if err != nil {
		return nil, err
	}
	u, err := r.unit(lun)
	if err == nil && u.breaker == nil {
		err = &WordError{lun, errors.New(`this LUN cannot break: give it a layer, with kind = "fault" in a [[lun.layer]] of the file, or with the option "fault" of --lun`)}
	}
	return u, err
}

// powerOn has the unit be as a disk is after a loss of power: it holds what it was
// told to keep, and tells all initiators.
func (u *unit) powerOn() error {
	u.watch.awaitSaved()
	u.breaker.store.Mend()
	if err := u.device.Trust(); err != nil {
		return err
	}
	u.lu.Attention(scsi.ASCPowerOnOccurred, nil, nil)
	return u.forgetLoss(u.keep)
}

// Faults are the faults in force in a LUN.
func (p *Provisioner) Faults(lun string) ([]FaultStatus, error) {
	u, err := p.breakable(lun)
	if err != nil {
		return nil, err
	}
	return u.breaker.status(), nil
}

// SetFaults replaces the faults in force in a LUN by what words say; none: it is
// sound. It lasts until the LUN is opened anew. A wrong word changes nothing.
func (p *Provisioner) SetFaults(lun string, words []string) error {
	u, err := p.breakable(lun)
	if err != nil {
		return err
	}
	var list []configs.Fault
	for _, text := range words {
		f, err := configs.ParseFault(text)
		if err != nil {
			return &WordError{text, err}
		}
		list = append(list, f)
	}
	off := u.breaker.store.Off()
	u.breaker.set(u.config, list)
	log := p.log.WithField("lun", lun)
	if off { // what came after the cut was refused, and who asked for a flush knows
		if err := u.powerOn(); err != nil {
			return err
		}
		log.Warn("there is power again; what was not flushed before the cut is lost")
	}
	if len(list) == 0 {
		log.Warn("the operator cleared the faults")
	}
	for _, f := range list {
		log.Warnf("the LUN breaks on purpose from now on, its initiators meet errors and may lose data: %v", f)
	}
	return nil
}
