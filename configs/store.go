package configs

// A Store is a directory in which the images of LUNs live.
type Store struct {
	Name string `toml:"name"`
	Path string `toml:"path"`
}
