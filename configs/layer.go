package configs

// A Layer stands between a LUN and its store, or upon another layer.
type Layer struct {
	Kind   LayerKind `toml:"kind"`
	Faults []Fault   `toml:"faults"` // of fault: what goes wrong from the start; an operator may change it while the daemon runs
	Seed   int       `toml:"seed"`   // of fault: of what happens by chance; the same seed, the same chances
}

// LayerKind is what a layer does.
type LayerKind string

// The kinds of layers.
const (
	FaultLayer LayerKind = "fault" // breaks on demand
)

// UnmarshalText reads one of the kinds.
func (k *LayerKind) UnmarshalText(text []byte) error {
	return choose((*string)(k), text, []string{string(FaultLayer)})
}
