package importer

import (
	"strconv"
	"strings"
)

// maxDepth bounds how deep entries lie within each other.
const maxDepth = 32

// An entry is a setting of a foreign configuration: a key, the words behind it, and
// what stands below.
type entry struct {
	key   string
	words []string
	line  int
	below []*entry
	used  bool // it is carried over, or has been told of
	quiet bool // its words are not repeated: a secret may be among them
}

// add puts an entry below e.
func (e *entry) add(key string, line int, words ...string) *entry {
	one := &entry{key: key, words: words, line: line}
	e.below = append(e.below, one)
	return one
}

// all are the entries of this key below e, which are thereby used. Keys do not differ
// by case in any of the formats.
func (e *entry) all(key string) []*entry {
	var found []*entry
	if e == nil {
		return nil
	}
	for _, one := range e.below {
		if strings.EqualFold(one.key, key) {
			one.used = true
			found = append(found, one)
		}
	}
	return found
}

// one is the last entry of this key below e, as the formats have it that let a key be
// written again; nil: there is none.
func (e *entry) one(key string) *entry {
	all := e.all(key)
	if len(all) == 0 {
		return nil
	}
	return all[len(all)-1]
}

// text is all words of the entry of this key; empty: there is none.
func (e *entry) text(key string) string { return e.one(key).words0() }

// words0 is all words of e as one text.
func (e *entry) words0() string {
	if e == nil {
		return ""
	}
	return strings.Join(e.words, " ")
}

// is tells whether e says text.
func (e *entry) is(text string) bool { return e != nil && e.words0() == text }

// word is the n-th word; empty: it has fewer.
func (e *entry) word(n int) string {
	if e == nil || n >= len(e.words) {
		return ""
	}
	return e.words[n]
}

// number is the number that stands under this key, else otherwise.
func (e *entry) number(key string, otherwise int) int {
	n, err := strconv.Atoi(strings.TrimSpace(e.text(key)))
	if err != nil {
		return otherwise
	}
	return n
}

// on tells whether the switch under this key is on, else otherwise.
func (e *entry) on(key string, otherwise bool) bool {
	switch strings.ToLower(e.text(key)) {
	case "1", "on", "yes", "true", "enable", "enabled":
		return true
	case "0", "off", "no", "false", "disable", "disabled":
		return false
	}
	return otherwise
}

// leave marks entries of these keys as of no meaning here.
func (e *entry) leave(keys ...string) {
	for _, key := range keys {
		e.all(key)
	}
}

// mark marks e and everything below it.
func (e *entry) mark() {
	e.used = true
	for _, one := range e.below {
		one.mark()
	}
}

// hush marks e as one whose words are not repeated.
func (e *entry) hush() { e.quiet = true }

// secretive tells whether the words behind a key may be a secret.
func secretive(key string) bool {
	key = strings.ToLower(key)
	for _, part := range []string{"pass", "secret", "auth", "chap", "user"} {
		if strings.Contains(key, part) {
			return true
		}
	}
	return false
}

// String is the entry as it is told of.
func (e *entry) String() string {
	if len(e.words) == 0 || e.quiet || secretive(e.key) {
		return e.key
	}
	text := strings.Join(e.words, " ")
	if len(text) > 80 {
		text = text[:80] + "..."
	}
	return e.key + " " + strconv.QuoteToGraphic(text)
}
