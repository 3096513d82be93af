package importer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"
)

// A jsonReader makes a tree of entries of a JSON document. An element of a list has the
// key of the list.
type jsonReader struct {
	*json.Decoder
	lines []int // where each line ends, in bytes
}

// parseJSON reads a JSON document whose top is an object.
func parseJSON(text string) (*entry, error) {
	r := jsonReader{Decoder: json.NewDecoder(strings.NewReader(text))}
	r.UseNumber()
	for i := range len(text) {
		if text[i] == '\n' {
			r.lines = append(r.lines, i)
		}
	}
	root := &entry{used: true}
	token, err := r.Token()
	if err == nil && token != json.Delim('{') {
		err = errors.New("not a JSON object")
	}
	if err == nil {
		err = r.object(root, 0)
	}
	if err == nil {
		if _, err = r.Token(); err == io.EOF {
			return root, nil
		}
		err = errors.New("more behind the end of the JSON document")
	}
	return nil, fmt.Errorf("%d: %w", r.line(), whole(err))
}

// whole says that a document is cut off, in place of EOF.
func whole(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the JSON document ends in the middle")
	}
	return err
}

func (r *jsonReader) line() int { return 1 + sort.SearchInts(r.lines, int(r.InputOffset())) }

func (r *jsonReader) object(e *entry, depth int) error {
	for r.More() {
		token, err := r.Token()
		if err != nil {
			return err
		}
		key, ok := token.(string)
		if !ok {
			return fmt.Errorf("%v where a key is wanted", token)
		}
		if err := r.value(e, key, depth); err != nil {
			return err
		}
	}
	_, err := r.Token()
	return err
}

// value reads the value of a key into entries below e.
func (r *jsonReader) value(e *entry, key string, depth int) error {
	if depth > maxDepth {
		return errors.New("nested too deep")
	}
	token, err := r.Token()
	if err != nil {
		return err
	}
	switch v := token.(type) {
	case json.Delim:
		if v == '{' {
			return r.object(e.add(key, r.line()), depth+1)
		}
		for r.More() {
			if err := r.value(e, key, depth+1); err != nil {
				return err
			}
		}
		_, err := r.Token()
		return err
	case nil:
		e.add(key, r.line()).used = true // null says nothing
	case bool:
		e.add(key, r.line(), map[bool]string{true: "true", false: "false"}[v])
	default:
		e.add(key, r.line(), fmt.Sprint(v))
	}
	return nil
}
