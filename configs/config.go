package configs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"github.com/BurntSushi/toml"
)

// A Config is all that an isantarget is told. The zero Config serves nothing.
type Config struct {
	State        string        `toml:"state"` // directory of what has to outlive the process
	Log          Log           `toml:"log"`
	Limits       Limits        `toml:"limits"`
	Discovery    Discovery     `toml:"discovery"`
	Admin        Admin         `toml:"admin"`
	ISNS         ISNS          `toml:"isns"`
	DNS          DNS           `toml:"dns"`
	PortalGroups []PortalGroup `toml:"portal-group"`
	Stores       []Store       `toml:"store"`
	LUNs         []LUN         `toml:"lun"`
	Targets      []Target      `toml:"target"`

	// Maps and Rules are what adds to a target from outside of it. They are in
	// Targets already.
	Maps  []Map        `toml:"map"`
	Rules []TargetRule `toml:"rule"`

	source source
}

// Where things are if nothing is said.
const (
	DefaultState  = "/var/lib/isantarget"
	DefaultPortal = Portal("127.0.0.1:3260")
)

// A Log says what the log looks like.
type Log struct {
	Format LogFormat `toml:"format"`
	Level  LogLevel  `toml:"level"`
}

// LogFormat is "text" or "json".
type LogFormat string

// UnmarshalText reads one of the formats.
func (f *LogFormat) UnmarshalText(text []byte) error {
	return choose((*string)(f), text, []string{"text", "json"})
}

// LogLevel is the least important level that is logged.
type LogLevel string

// UnmarshalText reads one of the levels.
func (l *LogLevel) UnmarshalText(text []byte) error {
	return choose((*string)(l), text, []string{"error", "warn", "info", "debug"})
}

// Limits bound what initiators can make the daemon spend. A zero is the
// default of package target.
type Limits struct {
	Connections           int  `toml:"connections"`             // TCP connections in all
	SessionsPerInitiator  int  `toml:"sessions-per-initiator"`  // of one initiator name, with all targets
	ConnectionsPerSession int  `toml:"connections-per-session"` // MaxConnections (RFC 7143 13.2)
	CommandWindow         int  `toml:"command-window"`          // commands that a session may have open
	Memory                Size `toml:"memory"`                  // data buffers of all sessions

	LoginTimeout time.Duration `toml:"login-timeout"` // from the connection to the full feature phase
	NopInterval  time.Duration `toml:"nop-interval"`  // silence after which a peer is asked for a sign of life
	NopTimeout   time.Duration `toml:"nop-timeout"`   // how long it may take to give one
	HangBound    time.Duration `toml:"hang-bound"`    // how long a store may hang before its LUN is not ready
	DrainTimeout time.Duration `toml:"drain-timeout"` // how long stopping waits for initiators to log out
}

// Load reads a configuration file, and adds what was made at run time. Its error is
// [Errors] when the file could be read, and then the Config still says where the state
// is, if that could be read. Relative paths are taken from the directory of the file.
func Load(name string, made ...Object) (Config, error) {
	written, err := Read(name)
	if err != nil {
		return Config{}, err
	}
	return written.With(made...)
}

// Written is what a person wrote, as it was when it was read.
type Written struct {
	Text string                               // by which it is known whether it has changed
	With func(made ...Object) (Config, error) // decodes it, together with what was made at run time
}

// Read reads a configuration file once: With is Load of what the file said then, whatever
// becomes of the file.
func Read(name string) (Written, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return Written{}, fmt.Errorf("cannot read the configuration: %w", err)
	}
	dir, err := filepath.Abs(filepath.Dir(name))
	if err != nil {
		return Written{}, fmt.Errorf("cannot find the directory of %s: %w", name, err)
	}
	with := func(made ...Object) (Config, error) { return Parse(name, dir, string(text), made...) }
	return Written{string(text), with}, nil
}

// Parse reads the text of a configuration file, and adds what was made at run time.
// Errors call the file name; relative paths are taken from dir.
func Parse(name, dir, text string, made ...Object) (Config, error) {
	if line := tooDeep(text); line > 0 {
		return Config{}, Errors{{Where: fmt.Sprintf("%s:%d", name, line), Text: fmt.Sprintf("values lie more than %d deep within each other here; no key wants that", maxDepth)}}
	}
	tree := map[string]any{}
	if _, err := toml.Decode(text, &tree); err != nil {
		var syntax toml.ParseError
		if errors.As(err, &syntax) {
			return Config{}, Errors{{Where: fmt.Sprintf("%s:%d", name, syntax.Position.Line), Text: syntax.Message}}
		}
		return Config{}, Errors{{Where: name, Text: err.Error()}}
	}
	from := source{file: name, lines: map[string]place{}, dir: dir}
	for path, line := range findPositions(text) {
		from.lines[path] = place{name, line}
	}
	return decode(from, tree, made, DefaultState, false)
}

// decode makes a configuration of a tree and of what was made at run time, and checks it.
func decode(from source, tree map[string]any, made []Object, state string, words bool) (Config, error) {
	from.add(tree, made)
	d := decoder{source: from, words: words}
	c := Config{source: from}
	d.decode("", tree, reflect.ValueOf(&c).Elem())
	if c.State == "" {
		c.State = state
	}
	if len(c.PortalGroups) == 0 {
		c.PortalGroups = []PortalGroup{{Tag: 1, Listen: []Portal{DefaultPortal}}}
		c.source.unwritten = true
	}
	check(&d, &c)
	if err := d.finish(); err != nil {
		return Config{State: c.State}, err
	}
	return c, nil
}

func (c *Config) setDefaults() { c.Log = Log{Format: "text", Level: "info"} }

// Errorf is an error about the value at path ("target[0].name"), with the line
// or the flag where it is written.
func (c Config) Errorf(path, format string, args ...any) *Error {
	return c.source.errorf(path, format, args...)
}

// Where is where the value at path is written: a file and line, or a flag.
func (c Config) Where(path string) string {
	where, _ := c.source.where(path)
	return where
}
