package main

import (
	"strings"

	"github.com/urfave/cli/v2"
)

// helpWidth is how many columns a line of help has at most.
const helpWidth = 96

// helpTemplate is the help of a command with a flag on a line of its own and what it
// means below: the columns of package cli grow as wide as the longest of them.
func helpTemplate(flags []cli.Flag) string {
	var b strings.Builder
	b.WriteString("NAME:\n   {{.HelpName}} - {{.Usage}}\n\nUSAGE:\n   {{.HelpName}} [FLAG...]{{if .ArgsUsage}} {{.ArgsUsage}}{{end}}\n")
	b.WriteString("{{if .Description}}\nDESCRIPTION:\n   {{wrap .Description 3}}\n{{end}}\nFLAGS:\n")
	for _, f := range flags {
		documented, ok := f.(cli.DocGenerationFlag)
		if !ok {
			continue
		}
		usage := documented.GetUsage()
		b.WriteString("   --" + f.Names()[0])
		if before, rest, ok := strings.Cut(usage, "`"); ok {
			placeholder, after, _ := strings.Cut(rest, "`")
			b.WriteString(" " + placeholder)
			usage = before + placeholder + after
		}
		b.WriteString("\n")
		if v := documented.GetEnvVars(); len(v) > 0 {
			usage += " [$" + v[0] + "]"
		}
		for _, line := range fold(usage, helpWidth-7) {
			b.WriteString("       " + line + "\n")
		}
	}
	b.WriteString("   --help\n       show this\n")
	return b.String()
}

// fold breaks text into lines of at most width columns, where words allow it.
func fold(text string, width int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == "":
			line = word
		case len(line)+1+len(word) > width:
			lines, line = append(lines, line), word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}
