package configs

import (
	"strings"

	"github.com/agnivade/levenshtein"
)

// An Error is one thing that is wrong with a configuration.
type Error struct {
	Where string // "isantarget.toml:12", or the flag
	Key   string // "lun.size"; empty when Where says it all
	Text  string // what is wrong and what to do

	line int // for the order among others
}

// Error is one line: where, which key, what is wrong and what to do.
func (e *Error) Error() string {
	var b strings.Builder
	for _, part := range []string{e.Where, e.Key} {
		if part != "" {
			b.WriteString(part)
			b.WriteString(": ")
		}
	}
	b.WriteString(e.Text)
	return b.String()
}

// Errors is all that is wrong with a configuration, in the order of the text.
type Errors []*Error

// Error is one line for each.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives the single errors to errors.Is and errors.As.
func (e Errors) Unwrap() []error {
	all := make([]error, len(e))
	for i, one := range e {
		all[i] = one
	}
	return all
}

// err is e, or nil when there is nothing in it.
func (e Errors) err() error {
	if len(e) == 0 {
		return nil
	}
	return e
}

// nearest is the word among known that word was probably meant to be: one that
// it takes few changes to write, or that begins alike. Empty when none is near.
func nearest(word string, known []string) string {
	word = strings.ToLower(word)
	best, distance := "", 0
	for _, k := range known {
		d := levenshtein.ComputeDistance(word, k)
		alike := len(word) >= 4 && strings.HasPrefix(k, word[:4]) && (strings.HasPrefix(k, strings.TrimSuffix(word, "s")) || strings.HasPrefix(word, k))
		if (d <= len(word)/2 || alike) && (best == "" || d < distance) {
			best, distance = k, d
		}
	}
	return best
}

// DidYouMean is a hint to put behind a message: "; did you mean ...?", what
// there is when nothing is near, or nothing when there is nothing.
func DidYouMean(word string, known []string) string {
	if n := nearest(word, known); n != "" {
		return "; did you mean " + n + "?"
	}
	if len(known) == 0 {
		return ""
	}
	return "; known: " + strings.Join(known, ", ")
}
