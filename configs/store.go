package configs

// A Store is a directory in which the images of LUNs live.
type Store struct {
	Name string `toml:"name"`
	Path string `toml:"path"`

	Overcommit     Overcommit `toml:"overcommit"`      // empty: refuse
	SpaceThreshold int        `toml:"space-threshold"` // percent of its file system in use that are told of; 0: none
}

func (s *Store) setDefaults() { s.SpaceThreshold = DefaultSpaceThreshold }
