package iscsi

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// A KeyValue is one key=value pair of a Login or Text PDU (RFC 7143 6.1).
type KeyValue struct {
	Key, Value string
}

// MaxKeyLength is the most bytes the name of a key has (RFC 7143 6.1).
const MaxKeyLength = 63

// TextLimits bounds what ParseText takes. A zero field has the default.
type TextLimits struct {
	Bytes int // of the whole text; default 65536
	Pairs int // default 256
}

// A TextError says where text breaks the grammar of RFC 7143 6.1.
type TextError struct {
	Key    string // as far as it is known
	Offset int    // of the pair in the text, in bytes
	Reason string
}

func (e *TextError) Error() string {
	if e.Key == "" {
		return fmt.Sprintf("text at byte %d: %s (RFC 7143 6.1)", e.Offset, e.Reason)
	}
	return fmt.Sprintf("text at byte %d: key %q: %s (RFC 7143 6.1)", e.Offset, e.Key, e.Reason)
}

// ParseText reads the key=value pairs of a text, which is the data segments of one
// negotiation exchange put together. Each pair ends with a NUL; more of them between
// pairs are skipped, and the last may be missing, as some initiators leave it out.
// The pairs share one copy of p. Whether a key comes twice is left to the caller.
//
// Errors are *TextError: over a limit, no "=", a key of no or more than 63 bytes or
// with a byte that no key has, a value longer than its key allows (8192 bytes for
// an unknown key), with a control character, or not UTF-8.
func ParseText(p []byte, limits TextLimits) ([]KeyValue, error) {
	if limits.Bytes == 0 {
		limits.Bytes = 65536
	}
	if limits.Pairs == 0 {
		limits.Pairs = 256
	}
	if len(p) > limits.Bytes {
		return nil, &TextError{Offset: limits.Bytes, Reason: fmt.Sprintf("more than %d bytes", limits.Bytes)}
	}
	var pairs []KeyValue
	text := string(p)
	for start := 0; start < len(text); {
		end := bytes.IndexByte(p[start:], 0)
		if end < 0 {
			end = len(text)
		} else {
			end += start
		}
		if end > start {
			if len(pairs) == limits.Pairs {
				return nil, &TextError{Offset: start, Reason: fmt.Sprintf("more than %d pairs", limits.Pairs)}
			}
			kv, err := parsePair(text[start:end], start)
			if err != nil {
				return nil, err
			}
			pairs = append(pairs, kv)
		}
		start = end + 1
	}
	return pairs, nil
}

// parsePair reads one pair, which begins at byte offset of its text.
func parsePair(s string, offset int) (KeyValue, error) {
	equals := -1
	for i := 0; i < len(s) && equals < 0; i++ {
		switch {
		case s[i] == '=':
			equals = i
		case i == MaxKeyLength:
			return KeyValue{}, &TextError{Key: s[:i] + "...", Offset: offset, Reason: `the name of a key has at most 63 bytes and ends with "="`}
		case !keyByte(s[i]):
			return KeyValue{}, &TextError{Key: s[:i], Offset: offset, Reason: fmt.Sprintf("byte %02Xh in the name of a key", s[i])}
		}
	}
	switch equals {
	case -1:
		return KeyValue{}, &TextError{Key: s, Offset: offset, Reason: `no "=" before the NUL`}
	case 0:
		return KeyValue{}, &TextError{Offset: offset, Reason: "a value without a key"}
	}
	kv := KeyValue{Key: s[:equals], Value: s[equals+1:]}
	limit := binaryLength
	if rule, ok := LookupKey(kv.Key); ok {
		limit = rule.MaxValueLength()
	}
	if len(kv.Value) > limit {
		return KeyValue{}, &TextError{Key: kv.Key, Offset: offset, Reason: fmt.Sprintf("the value has %d bytes, more than %d", len(kv.Value), limit)}
	}
	for i := range len(kv.Value) {
		if c := kv.Value[i]; c < ' ' || c == 0x7f {
			return KeyValue{}, &TextError{Key: kv.Key, Offset: offset, Reason: fmt.Sprintf("control character %02Xh in the value", c)}
		}
	}
	if !utf8.ValidString(kv.Value) {
		return KeyValue{}, &TextError{Key: kv.Key, Offset: offset, Reason: "the value is not UTF-8"}
	}
	return kv, nil
}

// keyByte reports whether a key may have c in its name: the standard-label of RFC
// 7143 6.1, and "#" for the public extension keys of 13.26.
func keyByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	case c == '.', c == '-', c == '+', c == '@', c == '_', c == '#':
		return true
	}
	return false
}

// AppendText appends pairs to dst as a text has them, each with its NUL.
func AppendText(dst []byte, pairs ...KeyValue) []byte {
	for _, kv := range pairs {
		dst = append(dst, kv.Key...)
		dst = append(dst, '=')
		dst = append(dst, kv.Value...)
		dst = append(dst, 0)
	}
	return dst
}
