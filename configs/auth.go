package configs

// A Credential is one side's proof of CHAP (RFC 7143 12.1.3): a user and a
// secret, which stands in a file or in an environment variable and never in a
// configuration.
type Credential struct {
	User       string `toml:"user"`
	SecretFile string `toml:"secret-file"` // readable by its owner alone; a newline at its end does not count
	SecretEnv  string `toml:"secret-env"`  // name of an environment variable
}

// Discovery says who may ask what targets there are (RFC 7143 4.3). A target
// is told only to whom it may serve, whatever stands here.
type Discovery struct {
	CHAP       *Credential `toml:"chap"`
	MutualCHAP *Credential `toml:"mutual-chap"`
}
