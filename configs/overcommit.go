package configs

// Overcommit says what happens when an image would be promised more space than
// its file system can give, with all that is promised to other images counted.
type Overcommit string

// The policies.
const (
	Refuse Overcommit = "refuse" // the image is not made, or not made bigger: the default
	Warn   Overcommit = "warn"   // it is, and the log says what was promised
	Allow  Overcommit = "allow"  // it is
)

// UnmarshalText reads one of the policies.
func (o *Overcommit) UnmarshalText(text []byte) error {
	return choose((*string)(o), text, []string{string(Refuse), string(Warn), string(Allow)})
}

// DefaultSpaceThreshold is the percentage of space in use from which on the
// operator and the initiators are told.
const DefaultSpaceThreshold = 80

// OvercommitOf is the policy for the image of l: that of its store, or its own if
// it has a bare path.
func (c Config) OvercommitOf(l LUN) Overcommit {
	policy := l.Overcommit
	if s, ok := c.StoreOf(l); ok {
		policy = s.Overcommit
	}
	if policy == "" {
		return Refuse
	}
	return policy
}

// StoreOf is the store of l; ok is false if it has a bare path.
func (c Config) StoreOf(l LUN) (s Store, ok bool) {
	for _, s := range c.Stores {
		if l.Store != "" && s.Name == l.Store {
			return s, true
		}
	}
	return Store{}, false
}
