package configs

// maxDepth is how deep values may lie within each other, and how many parts a dotted key
// may have. The schema needs a few of either.
const maxDepth = 16

// tooDeep is the line on which values lie deeper than that; 0: none do. It is asked before
// the TOML library, which goes down as deep as a text of anybody says: until the stack of
// the process overflows, or for the square of the depth. Of text that is not TOML it may
// see no more than the library does until it gives up.
func tooDeep(text string) (line int) {
	s := scanner{text: text, line: 1}
	for depth, parts := 0, 1; s.at < len(s.text); {
		switch c := s.peek(); c {
		case '"', '\'':
			s.quoted()
			continue
		case '#':
			s.skip("\n")
			continue
		case '[', '{':
			depth, parts = depth+1, 1
		case ']', '}':
			depth = max(depth-1, 0)
		case '.':
			parts++
		case '=', ',', '\n':
			parts = 1
		}
		if depth > maxDepth || parts > maxDepth {
			return s.line
		}
		s.next()
	}
	return 0
}
