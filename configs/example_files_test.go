package configs

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// TestExamples loads isantarget.toml and every example.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("examples/*.toml")
	if err != nil || len(files) != 4 {
		t.Fatalf("examples: %v %v, want four", files, err)
	}
	for _, file := range append(files, "isantarget.toml") {
		c, err := Load(file)
		if err != nil {
			t.Errorf("%s:\n%v", file, err)
			continue
		}
		if w := c.Warnings(); len(w) > 0 {
			t.Errorf("%s warns:\n%s", file, strings.Join(w, "\n"))
		}
		if len(c.Targets) == 0 || len(c.LUNs) == 0 {
			t.Errorf("%s serves nothing", file)
		}
	}
}

// setting is a line "key = ..." of isantarget.toml, turned off or not.
var setting = regexp.MustCompile(`^#?([a-z][a-z0-9-]*) = (.*)$`)

// TestEveryKeyIsExplained demands of isantarget.toml that each key of the
// schema stands in its table, right below a comment.
func TestEveryKeyIsExplained(t *testing.T) {
	text, err := os.ReadFile("isantarget.toml")
	if err != nil {
		t.Fatal(err)
	}
	explained := map[string]bool{}
	table, above := "", ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(strings.TrimPrefix(line, "#"), "[") { // "#[[": a table that is turned off
			table = strings.Trim(line, "#[]")
			if strings.HasPrefix(above, "# ") {
				explained[table] = true
			}
		} else if m := setting.FindStringSubmatch(line); m != nil {
			if strings.HasPrefix(above, "# ") {
				explained[join(table, m[1])] = true
			}
			if strings.HasPrefix(m[2], "{ user") {
				for _, key := range []string{"user", "secret-file", "secret-env"} {
					if strings.Contains(line, key) {
						explained[join(join(table, m[1]), key)] = true
					}
				}
			}
		}
		above = line
	}
	every := schemaKeys("", reflect.TypeFor[Config]())
	if len(every) < 60 {
		t.Fatalf("the schema has %d keys: this test does not see them all", len(every))
	}
	for _, key := range every {
		if isCredential := regexp.MustCompile(`chap\.`).MatchString(key); isCredential && !strings.HasPrefix(key, "discovery.") {
			continue // explained once
		}
		if key == "discovery.chap.secret-env" || key == "discovery.mutual-chap.secret-file" {
			continue // the other of the two shows it
		}
		if !explained[key] {
			t.Errorf("isantarget.toml has no %q below a comment", key)
		}
	}
}

// schemaKeys are all keys of the schema.
func schemaKeys(at string, typ reflect.Type) []string {
	for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
		typ = typ.Elem()
	}
	var all []string
	if at != "" {
		all = append(all, at)
	}
	if typ.Kind() == reflect.Struct {
		for i := range typ.NumField() {
			if key := typ.Field(i).Tag.Get("toml"); key != "" {
				all = append(all, schemaKeys(join(at, key), typ.Field(i).Type)...)
			}
		}
	}
	return all
}

// TestTurnedOffSettingsAreReal turns on every setting of isantarget.toml.
func TestTurnedOffSettingsAreReal(t *testing.T) {
	text, err := os.ReadFile("isantarget.toml")
	if err != nil {
		t.Fatal(err)
	}
	on := regexp.MustCompile(`(?m)^#(\[\[|[a-z][a-z0-9-]* = )`).ReplaceAllString(string(text), "$1")
	if on == string(text) {
		t.Fatal("nothing was turned off")
	}
	on = strings.ReplaceAll(on, `kind = "file"`, `kind = "gotgt"`) // plugin and provisioning exclude each other
	on = strings.ReplaceAll(on, "provisioning = \"sparse\"\n", "")
	on = strings.ReplaceAll(on, "tls = \"self-signed\"\n", "") // a certificate is named
	on = strings.ReplaceAll(on, "env = \"PROMETHEUS_TOKEN\"\n", "")
	c, err := Parse("isantarget.toml", "/etc/isantarget", on)
	if err != nil {
		t.Fatal(err)
	}
	if c.Targets[0].Rules[0].CHAP == nil || c.Discovery.MutualCHAP == nil || c.LUNs[0].Serial == "" {
		t.Error("a setting that was turned on is not there")
	}
}
