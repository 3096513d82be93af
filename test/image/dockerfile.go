package image

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// An Instruction is one of a Dockerfile.
type Instruction struct {
	Line    int
	Keyword string            // in capitals
	Flags   map[string]string // --from=build
	Rest    string            // what follows, continuation lines joined
}

// A Stage begins with FROM.
type Stage struct {
	Base, Name   string
	Instructions []Instruction
}

// Parse takes a Dockerfile apart. It knows the instructions that are of use to a static binary; another is an error.
func Parse(text string) ([]Stage, error) {
	var stages []Stage
	instructions, err := split(text)
	if err != nil {
		return nil, err
	}
	for _, i := range instructions {
		if i.Keyword == "FROM" {
			words := strings.Fields(i.Rest)
			s := Stage{Base: words[0]}
			if len(words) == 3 && strings.EqualFold(words[1], "AS") {
				s.Name = words[2]
			} else if len(words) != 1 {
				return nil, fmt.Errorf("line %d: FROM %s: want an image, or an image AS a name", i.Line, i.Rest)
			}
			stages = append(stages, s)
			continue
		}
		if len(stages) == 0 {
			return nil, fmt.Errorf("line %d: %s stands before the first FROM", i.Line, i.Keyword)
		}
		if from := i.Flags["from"]; from != "" && !slices.ContainsFunc(stages[:len(stages)-1], func(s Stage) bool { return s.Name == from }) {
			return nil, fmt.Errorf("line %d: no stage %q before this one", i.Line, from)
		}
		last := &stages[len(stages)-1]
		last.Instructions = append(last.Instructions, i)
	}
	if len(stages) == 0 {
		return nil, fmt.Errorf("no FROM")
	}
	return stages, nil
}

// split makes instructions of lines.
func split(text string) (instructions []Instruction, err error) {
	joined, begin := "", 0
	for n, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if joined == "" {
			begin = n + 1
		}
		if part, more := strings.CutSuffix(line, `\`); more {
			joined += part
			continue
		}
		i, err := instruction(begin, joined+line)
		if err != nil {
			return nil, err
		}
		instructions = append(instructions, i)
		joined = ""
	}
	if joined != "" {
		return nil, fmt.Errorf("line %d: the file ends within an instruction", begin)
	}
	return instructions, nil
}

func instruction(line int, text string) (Instruction, error) {
	keyword, rest, _ := strings.Cut(text, " ")
	i := Instruction{Line: line, Keyword: strings.ToUpper(keyword), Flags: make(map[string]string), Rest: strings.TrimSpace(rest)}
	known := []string{"FROM", "WORKDIR", "COPY", "RUN", "ARG", "ENV", "USER", "VOLUME", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD", "LABEL", "STOPSIGNAL"}
	if !slices.Contains(known, i.Keyword) {
		return i, fmt.Errorf("line %d: instruction %s is not known here", line, i.Keyword)
	}
	for strings.HasPrefix(i.Rest, "--") {
		flag, rest, _ := strings.Cut(i.Rest[2:], " ")
		name, value, _ := strings.Cut(flag, "=")
		i.Flags[name], i.Rest = value, strings.TrimSpace(rest)
	}
	if i.Rest == "" {
		return i, fmt.Errorf("line %d: %s says nothing", line, i.Keyword)
	}
	return i, nil
}

// Last returns the last instruction with a keyword, which is the one that counts.
func (s Stage) Last(keyword string) (Instruction, bool) {
	for _, i := range slices.Backward(s.Instructions) {
		if i.Keyword == keyword {
			return i, true
		}
	}
	return Instruction{}, false
}

// Exec returns the arguments of an instruction in the exec form, ["program", "argument"]: an image without a shell can
// run no other.
func (i Instruction) Exec() (args []string, err error) {
	text := i.Rest
	if i.Keyword == "HEALTHCHECK" {
		text = strings.TrimSpace(strings.TrimPrefix(text, "CMD"))
	}
	if err := json.Unmarshal([]byte(text), &args); err != nil || len(args) == 0 {
		return nil, fmt.Errorf("line %d: %s is not in the exec form: %s", i.Line, i.Keyword, i.Rest)
	}
	return args, nil
}
