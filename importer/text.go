package importer

import (
	"fmt"
	"regexp"
	"strings"
)

// A line of text, comments taken off and continued lines put together.
type line struct {
	text   string
	number int
}

// linesOf are the lines of text that say something.
func linesOf(text string) []line {
	var all []line
	var begun strings.Builder
	number := 0
	end := func() {
		if one := strings.TrimRight(begun.String(), " \t"); strings.TrimSpace(one) != "" {
			all = append(all, line{one, number})
		}
		begun.Reset()
	}
	for i, one := range strings.Split(text, "\n") {
		if begun.Len() == 0 {
			number = i + 1
		}
		one = uncommented(one)
		before, goesOn := strings.CutSuffix(strings.TrimRight(one, " \t"), `\`)
		if goesOn {
			begun.WriteString(before + " ")
			continue
		}
		begun.WriteString(one)
		end()
	}
	end()
	return all
}

// uncommented is a line up to a "#" that stands in no quotes.
func uncommented(s string) string {
	quoted := byte(0)
	for i := range len(s) {
		switch c := s[i]; {
		case quoted != 0:
			if c == quoted {
				quoted = 0
			}
		case c == '"':
			quoted = c
		case c == '#' && (i == 0 || s[i-1] == ' ' || s[i-1] == '\t'):
			return s[:i]
		}
	}
	return s
}

// split are the words of a line; quotes hold blanks together.
func split(s string) []string {
	var all []string
	word, begun, quoted := strings.Builder{}, false, false
	end := func() {
		if begun {
			all = append(all, word.String())
		}
		word.Reset()
		begun = false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			quoted, begun = !quoted, true
		case c == '\\' && quoted && i+1 < len(s):
			i++
			word.WriteByte(s[i])
		case !quoted && (c == ' ' || c == '\t'):
			end()
		default:
			begun = true
			word.WriteByte(c)
		}
	}
	end()
	return all
}

// entryOf makes an entry of a line "key word word", or "key = word".
func entryOf(e *entry, l line) *entry {
	all := split(l.text)
	if len(all) == 0 {
		return e
	}
	if len(all) > 1 && all[1] == "=" {
		all = append(all[:1], all[2:]...)
	}
	return e.add(all[0], l.number, all[1:]...)
}

var tag = regexp.MustCompile(`^<(/?)\s*([A-Za-z_-]+)\s*(.*?)\s*/?>$`)

// parseTags reads what Perl's Config::General reads: "key value", and blocks between
// <key value> and </key>.
func parseTags(text string) (*entry, error) {
	stack := []*entry{{used: true}}
	for _, l := range linesOf(text) {
		top := stack[len(stack)-1]
		m := tag.FindStringSubmatch(strings.TrimSpace(l.text))
		switch {
		case m == nil:
			entryOf(top, l)
		case m[1] == "":
			if len(stack) > maxDepth {
				return nil, fmt.Errorf("%d: blocks within blocks, too deep", l.number)
			}
			stack = append(stack, top.add(m[2], l.number, split(m[3])...))
		case len(stack) == 1 || !strings.EqualFold(top.key, m[2]):
			return nil, fmt.Errorf("%d: </%s> ends nothing that has begun", l.number, m[2])
		default:
			stack = stack[:len(stack)-1]
		}
	}
	if len(stack) > 1 {
		top := stack[len(stack)-1]
		return nil, fmt.Errorf("%d: <%s> has no end", top.line, top.key)
	}
	return stack[0], nil
}

var section = regexp.MustCompile(`^\[([^\]]+)\]$`)

// parseSections reads sections "[key]" with lines "key word word" below.
func parseSections(text string) (*entry, error) {
	root := &entry{used: true}
	var in *entry
	for _, l := range linesOf(text) {
		if m := section.FindStringSubmatch(strings.TrimSpace(l.text)); m != nil {
			in = root.add(m[1], l.number)
			continue
		}
		if in == nil {
			return nil, fmt.Errorf("%d: a setting before the first [section]", l.number)
		}
		entryOf(in, l)
	}
	return root, nil
}

// parseBraces reads "key word word" and blocks "key word { ... }".
func parseBraces(text string) (*entry, error) {
	stack := []*entry{{used: true}}
	for _, l := range linesOf(text) {
		var statement strings.Builder
		end := func() {
			if strings.TrimSpace(statement.String()) != "" {
				entryOf(stack[len(stack)-1], line{statement.String(), l.number})
			}
			statement.Reset()
		}
		quoted := false
		for i := range len(l.text) {
			c := l.text[i]
			if c == '"' {
				quoted = !quoted
			}
			if quoted || c != '{' && c != '}' && c != ';' {
				statement.WriteByte(c)
				continue
			}
			switch c {
			case ';':
				end()
			case '{':
				if strings.TrimSpace(statement.String()) == "" {
					return nil, fmt.Errorf(`%d: a "{" without a name before it`, l.number)
				}
				if len(stack) > maxDepth {
					return nil, fmt.Errorf("%d: blocks within blocks, too deep", l.number)
				}
				stack = append(stack, entryOf(stack[len(stack)-1], line{statement.String(), l.number}))
				statement.Reset()
			case '}':
				end()
				if len(stack) == 1 {
					return nil, fmt.Errorf(`%d: a "}" that ends nothing`, l.number)
				}
				stack = stack[:len(stack)-1]
			}
		}
		end()
	}
	if len(stack) > 1 {
		top := stack[len(stack)-1]
		return nil, fmt.Errorf("%d: %s { has no end", top.line, top.key)
	}
	return stack[0], nil
}

// parseIndented reads what is told by indentation, "Key: words", as tgtadm shows it.
func parseIndented(text string) (*entry, error) {
	root := &entry{used: true}
	stack, depths := []*entry{root}, []int{-1}
	for i, one := range strings.Split(text, "\n") {
		trimmed := strings.TrimSpace(one)
		if trimmed == "" {
			continue
		}
		depth := len(one) - len(strings.TrimLeft(one, " \t"))
		for depth <= depths[len(depths)-1] {
			stack, depths = stack[:len(stack)-1], depths[:len(depths)-1]
		}
		if len(stack) > maxDepth {
			return nil, fmt.Errorf("%d: indented too deep", i+1)
		}
		key, rest, _ := strings.Cut(trimmed, ":")
		if depth > 0 && !strings.Contains(trimmed, ": ") && !strings.HasSuffix(trimmed, ":") {
			key, rest = trimmed, "" // an address of IPv6 has colons as well
		}
		e := stack[len(stack)-1].add(key, i+1)
		if rest = strings.TrimPrefix(rest, " "); rest != "" {
			e.words = []string{rest} // blanks within are part of a name
		}
		stack, depths = append(stack, e), append(depths, depth)
	}
	return root, nil
}
