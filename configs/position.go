package configs

import (
	"strconv"
	"strings"
)

// positions is the line on which each value of a TOML document is written, by
// its path: "target[0].rule[1].networks[0]". The TOML library tells lines for
// its own errors only; ours need them for every value.
type positions map[string]int

// findPositions reads a document that the TOML library has accepted. It relies
// on that: on text that is not TOML it ends, but its answer means nothing.
func findPositions(text string) positions {
	s := scanner{text: text, line: 1, found: positions{}, elements: map[string]int{}}
	for s.skip("\n"); s.at < len(s.text); s.skip("\n") {
		start := s.at
		if s.peek() == '[' {
			s.header()
		} else {
			s.pair(s.table)
		}
		if s.at == start { // not TOML after all
			s.at++
		}
	}
	return s.found
}

// A scanner walks over a TOML document.
type scanner struct {
	text     string
	at, line int
	table    string         // path of the table that pairs belong to
	elements map[string]int // by path: how many tables an array of tables has so far
	found    positions
}

func (s *scanner) peek() byte {
	if s.at < len(s.text) {
		return s.text[s.at]
	}
	return 0
}

// next takes one byte and counts lines.
func (s *scanner) next() byte {
	c := s.peek()
	if c == '\n' {
		s.line++
	}
	s.at++
	return c
}

// take takes word if it comes next.
func (s *scanner) take(word string) bool {
	if !strings.HasPrefix(s.text[min(s.at, len(s.text)):], word) {
		return false
	}
	for range word {
		s.next()
	}
	return true
}

// skip takes blanks and the bytes in also; comments too where lines may end.
func (s *scanner) skip(also string) {
	for s.at < len(s.text) {
		switch c := s.peek(); {
		case c == ' ' || c == '\t' || c == '\r' || strings.IndexByte(also, c) >= 0:
			s.next()
		case c == '#' && also != "":
			for s.at < len(s.text) && s.peek() != '\n' {
				s.next()
			}
		default:
			return
		}
	}
}

// note keeps the first line on which path is seen.
func (s *scanner) note(path string) {
	if _, ok := s.found[path]; !ok {
		s.found[path] = s.line
	}
}

// header is [table] or [[array of tables]].
func (s *scanner) header() {
	array := s.take("[[")
	if !array {
		s.take("[")
	}
	path := ""
	keys := s.keys()
	for i, key := range keys {
		path = join(path, key)
		if i == len(keys)-1 && array {
			s.elements[path]++
		}
		if n := s.elements[path]; n > 0 {
			path += "[" + strconv.Itoa(n-1) + "]"
		}
		s.note(path)
	}
	s.take("]")
	s.take("]")
	s.table = path
}

// pair is key = value, in a table or an inline table.
func (s *scanner) pair(table string) {
	path := table
	for _, key := range s.keys() {
		path = join(path, key)
		s.note(path)
	}
	s.skip("")
	s.take("=")
	s.skip("")
	s.value(path)
}

// keys is a dotted key.
func (s *scanner) keys() []string {
	var keys []string
	for {
		s.skip("")
		if c := s.peek(); c == '"' || c == '\'' {
			keys = append(keys, s.quoted())
		} else {
			start := s.at
			for s.at < len(s.text) && !strings.ContainsRune(" \t\r\n.=]#[{},\"'", rune(s.peek())) {
				s.next()
			}
			keys = append(keys, s.text[start:s.at])
		}
		s.skip("")
		if !s.take(".") {
			return keys
		}
	}
}

// value is whatever may stand behind the equals sign.
func (s *scanner) value(path string) {
	s.note(path)
	switch c := s.peek(); c {
	case '"', '\'':
		s.quoted()
	case '[', '{':
		s.next()
		s.collection(path, c)
	default:
		for s.at < len(s.text) && !strings.ContainsRune(",]}#\n", rune(s.peek())) {
			s.next()
		}
	}
}

// collection is the inside of an array or of an inline table, and its end.
func (s *scanner) collection(path string, open byte) {
	for i := 0; ; {
		s.skip("\n")
		start := s.at
		switch c := s.peek(); {
		case s.at >= len(s.text):
			return
		case c == ']' || c == '}':
			s.next()
			return
		case c == ',':
			s.next()
			i++
		case open == '[':
			s.value(path + "[" + strconv.Itoa(i) + "]")
		default:
			s.pair(path)
		}
		if s.at == start {
			s.next()
		}
	}
}

// quoted is a string of any of the four kinds, without its quotes.
func (s *scanner) quoted() string {
	quote := string(s.peek())
	end, many := quote, quote+quote+quote
	if s.take(many) {
		end = many
	} else {
		s.next()
	}
	start := s.at
	for s.at < len(s.text) {
		if quote == `"` && s.peek() == '\\' {
			s.next()
			s.next()
			continue
		}
		if stop := s.at; s.take(end) {
			for len(end) == 3 && s.take(quote) { // up to two quotes may stand before the closing three
				stop++
			}
			return s.text[start:stop]
		}
		s.next()
	}
	return s.text[min(start, len(s.text)):]
}

// join is the path of key within a table.
func join(table, key string) string {
	if table == "" {
		return key
	}
	return table + "." + key
}

// parent is the path of what path stands in.
func parent(path string) string {
	if i := strings.LastIndexAny(path, ".["); i >= 0 {
		return path[:i]
	}
	return ""
}

// keyOf is a path without its indices: the key as a person would say it.
func keyOf(path string) string {
	var b strings.Builder
	for _, part := range strings.Split(path, ".") {
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		name, _, _ := strings.Cut(part, "[")
		b.WriteString(name)
	}
	return b.String()
}
