package importer

import (
	"fmt"
	"slices"
	"strings"

	"github.com/isantarget/isantarget/configs"
)

// maxText bounds the configurations that are read, in bytes.
const maxText = 4 << 20

// A Result is what a configuration has become.
type Result struct {
	Kind    Kind
	Config  configs.Config
	Remarks []Remark // what has no equal, and what to look at, in the order of the lines
	Secrets []Secret // what belongs in the secret files that Config names
}

// A Remark is about something that was not carried over as it was.
type Remark struct {
	Where string // file and line
	Text  string

	line int
}

// String is one line.
func (r Remark) String() string { return r.Where + ": " + r.Text }

// A Secret belongs in a file that only its owner may read.
type Secret struct {
	File  string // its path, as Config has it
	Value string // empty: the configuration does not tell it
	User  string
}

// Options say how a configuration is read.
type Options struct {
	Name    string // of the file, for remarks
	Kind    Kind   // empty: what Detect says
	Secrets string // the directory in which secret files will be, absolute
}

// Read makes our configuration of text. Its error says where text is not what its kind
// wants; what has no equal is no error but a remark.
func Read(text string, o Options) (*Result, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("%s: longer than %d bytes, which no configuration is", o.Name, maxText)
	}
	if o.Kind == "" {
		kind, err := Detect(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.Name, err)
		}
		o.Kind = kind
	}
	parse, ok := map[Kind]struct {
		parse func(string) (*entry, error)
		build func(*builder, *entry)
	}{
		Targetcli: {parseJSON, (*builder).targetcli}, Gotgt: {parseJSON, (*builder).gotgt},
		TGT: {parseTags, (*builder).tgt}, TGTAdm: {parseIndented, (*builder).tgtadm},
		ISTGT: {parseSections, (*builder).istgt}, CTL: {parseBraces, (*builder).ctl}, SCST: {parseBraces, (*builder).scst},
	}[o.Kind]
	if !ok {
		return nil, fmt.Errorf("%q is no kind of configuration%s", o.Kind, configs.DidYouMean(string(o.Kind), kindWords()))
	}
	root, err := parse.parse(strings.ReplaceAll(text, "\r\n", "\n"))
	if err != nil {
		return nil, fmt.Errorf("%s:%w", o.Name, err)
	}
	b := newBuilder(o)
	parse.build(b, root)
	return b.finish(root), nil
}

func kindWords() []string {
	var list []string
	for _, k := range Kinds() {
		list = append(list, string(k))
	}
	return list
}

// finish adds what was left over, and puts remarks in order.
func (b *builder) finish(root *entry) *Result {
	b.leftovers(root, nil)
	b.portalGroups()
	slices.SortStableFunc(b.remarks, func(x, y Remark) int { return x.line - y.line })
	return &Result{Kind: b.Kind, Config: b.config, Remarks: b.remarks, Secrets: b.secrets}
}

// leftovers tells of every entry below e that nothing has used: single settings of one
// thing together.
func (b *builder) leftovers(e *entry, path []string) {
	var left []string
	line := 0
	for _, one := range e.below {
		if !one.used && len(one.below) == 0 {
			left = append(left, one.String())
			if line == 0 {
				line = one.line
			}
		}
		b.leftovers(one, append(slices.Clip(path), one.String()))
	}
	if len(left) > 0 {
		of := ""
		if len(path) > 0 {
			of = " (of " + path[len(path)-1] + ")"
		}
		b.remarkAt(line, "no equal, left out%s: %s", of, strings.Join(left, ", "))
	}
}
