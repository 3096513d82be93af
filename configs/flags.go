package configs

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// Flags is a configuration as the flags of `isantarget serve` say it: one
// portal group, one target, and LUNs whose numbers count from 0. What is empty
// has the default of the fields' comments.
type Flags struct {
	State      string   // ./isantarget-data
	Portals    []string // 127.0.0.1:3260
	Target     string   // DefaultTarget
	LUNs       []string // NAME=PATH[,key=value...]: see ParseLUN; one sparse image of 10 GiB in the state directory
	Access     string   // loopback
	CHAP       string   // USER:FILE
	MutualCHAP string   // USER:FILE
	LogFormat  string   // text
	LogLevel   string   // info

	AdminListen    string // nowhere
	AdminTLS       string // none, which goes on loopback only
	AdminTokenFile string // one is made in the state directory
	AdminTokenEnv  string // likewise: the name of a variable
}

// What a run without a word serves.
const (
	DefaultTarget     = "iqn.2026-11.org.isantarget:san"
	DefaultFlagsState = "isantarget-data"
	defaultLUN        = "disk0"
	defaultSize       = "10GiB"
	// What nobody asked for must not fail for want of space that nobody may need.
	defaultOvercommit = string(Warn)
)

// FromFlags makes the configuration that f says, and adds what was made at run time. Its errors name the flag; they
// are [Errors]. Relative paths are taken from the working directory.
func FromFlags(f Flags, made ...Object) (Config, error) {
	dir, err := os.Getwd()
	if err != nil {
		return Config{}, fmt.Errorf("cannot find the working directory: %w", err)
	}
	b := flagTree{flags: map[string]string{}}
	if f.State == "" {
		f.State = DefaultFlagsState
	}
	tree := map[string]any{"state": b.put("state", "--state", f.State), "log": b.log(f)}
	if admin := b.admin(f); len(admin) > 0 {
		tree["admin"] = admin
	}
	if len(f.Portals) == 0 {
		f.Portals = []string{string(DefaultPortal)}
	}
	tree["portal-group"] = []any{map[string]any{"tag": int64(1), "listen": b.portals(f.Portals)}}
	luns, numbers := b.luns(f.LUNs, f.State)
	tree["lun"] = luns
	tree["target"] = []any{b.target(f, numbers)}
	if len(b.errors) > 0 {
		return Config{}, b.errors
	}
	return decode(source{flags: b.flags, lines: map[string]place{}, dir: dir}, tree, made, f.State, true)
}

// A flagTree puts flags into a tree as a file would be, and remembers which
// flag said what.
type flagTree struct {
	flags  map[string]string
	errors Errors
}

// put notes that the value at path was given by flag.
func (b *flagTree) put(path, flag, value string) any {
	b.flags[path] = flag + " " + value
	return value
}

func (b *flagTree) log(f Flags) map[string]any {
	log := map[string]any{}
	if f.LogFormat != "" {
		log["format"] = b.put("log.format", "--log-format", f.LogFormat)
	}
	if f.LogLevel != "" {
		log["level"] = b.put("log.level", "--log-level", f.LogLevel)
	}
	return log
}

// admin is the table of the admin plane; empty: there is none.
func (b *flagTree) admin(f Flags) map[string]any {
	admin := map[string]any{}
	if f.AdminListen != "" {
		admin["listen"] = b.put("admin.listen", "--admin-listen", f.AdminListen)
	}
	if f.AdminTLS != "" {
		admin["tls"] = b.put("admin.tls", "--admin-tls", f.AdminTLS)
	}
	token := map[string]any{"name": "operator", "scope": string(WriteScope)}
	switch {
	case f.AdminTokenFile != "":
		token["file"] = b.put("admin.token[0]", "--admin-token-file", f.AdminTokenFile)
	case f.AdminTokenEnv != "" && f.AdminListen != "":
		token["env"] = f.AdminTokenEnv
		b.flags["admin.token[0]"] = "$" + f.AdminTokenEnv
	default:
		return admin
	}
	admin["token"] = []any{token}
	return admin
}

func (b *flagTree) portals(portals []string) []any {
	var listen []any
	for i, p := range portals {
		listen = append(listen, b.put(fmt.Sprintf("portal-group[0].listen[%d]", i), "--portal", p))
	}
	return listen
}

// luns are the LUNs, and their map by number.
func (b *flagTree) luns(flags []string, state string) (luns []any, numbers map[string]any) {
	numbers = map[string]any{}
	if len(flags) == 0 {
		flags = []string{defaultLUN + "=" + state + "/" + defaultLUN + ".img,size=" + defaultSize + ",overcommit=" + defaultOvercommit}
	}
	for i, flag := range flags {
		at := fmt.Sprintf("lun[%d]", i)
		b.flags[at] = "--lun " + flag
		lun, err := parseLUN(flag)
		if err != nil {
			b.errors = append(b.errors, &Error{Where: b.flags[at], Text: err.Error()})
			continue
		}
		luns = append(luns, lun)
		if name := lun["name"]; !slices.Contains(slices.Collect(maps.Values(numbers)), name) { // else the name is complained of
			numbers[fmt.Sprint(i)] = name
			b.flags[fmt.Sprintf("target[0].luns.%d", i)] = b.flags[at]
		}
	}
	return luns, numbers
}

// parseLUN reads NAME=PATH[,key=value|,key...]: the keys are those of a LUN in
// a file, and a key without a value is a switch that is turned on.
func parseLUN(flag string) (map[string]any, error) {
	place, options, _ := strings.Cut(flag, ",")
	name, path, ok := strings.Cut(place, "=")
	if !ok || name == "" {
		return nil, fmt.Errorf("wants NAME=PATH, as in --lun disk1=/srv/disk1.img,size=10GiB")
	}
	lun := map[string]any{"name": name}
	if path != "" {
		lun["path"] = path
	}
	for option := range strings.SplitSeq(options, ",") {
		if option == "" {
			continue
		}
		key, value, ok := strings.Cut(option, "=")
		if key == "fault" {
			breakOnDemand(lun, value)
			continue
		}
		if !ok {
			value = "on"
		}
		if _, twice := lun[key]; twice {
			return nil, fmt.Errorf("says %s twice", key)
		}
		lun[key] = value
	}
	return lun, nil
}

// breakOnDemand gives a LUN a layer that breaks, or one more fault of it.
func breakOnDemand(lun map[string]any, fault string) {
	layers, _ := lun["layer"].([]any)
	if layers == nil {
		layers = []any{map[string]any{"kind": string(FaultLayer), "faults": []any{}}}
		lun["layer"] = layers
	}
	layer := layers[0].(map[string]any)
	if fault != "" {
		layer["faults"] = append(layer["faults"].([]any), fault)
	}
}

func (b *flagTree) target(f Flags, numbers map[string]any) map[string]any {
	if f.Target == "" {
		f.Target = DefaultTarget
	}
	target := map[string]any{"name": b.put("target[0].name", "--target", f.Target), "luns": numbers}
	if f.Access != "" {
		target["access"] = b.put("target[0].access", "--access", f.Access)
	}
	if f.CHAP != "" {
		target["chap"] = b.credential("target[0].chap", "--chap", f.CHAP)
	}
	if f.MutualCHAP != "" {
		target["mutual-chap"] = b.credential("target[0].mutual-chap", "--mutual-chap", f.MutualCHAP)
	}
	return target
}

// credential reads USER:FILE. What stands behind the colon is not repeated in
// an error, for it may be a secret that somebody put there.
func (b *flagTree) credential(path, flag, value string) any {
	b.flags[path] = flag
	user, file, ok := strings.Cut(value, ":")
	if !ok || user == "" || file == "" {
		b.errors = append(b.errors, &Error{Where: flag, Text: "wants USER:FILE, where FILE holds the secret"})
	}
	return map[string]any{"user": user, "secret-file": file}
}
