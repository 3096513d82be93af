package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/isantarget/isantarget/configs"
)

// The scripts that have a shell ask isantarget itself for what may come next.
const (
	bashCompletion = `_isantarget() {
	# COMP_LINE and not COMP_WORDS, which breaks the names of targets at their colons.
	local line=${COMP_LINE:0:COMP_POINT} cur="" words
	[[ $line == *" " ]] || cur=${line##* }
	read -ra words <<<"$line"
	mapfile -t COMPREPLY < <(compgen -W "$("${words[@]}" --generate-bash-completion 2>/dev/null)" -- "$cur")
	[[ $cur == *:* && $COMP_WORDBREAKS == *:* ]] && COMPREPLY=("${COMPREPLY[@]#"${cur%"${cur##*:}"}"}")
	return 0
}
complete -o default -F _isantarget isantarget
`
	zshCompletion = `#compdef isantarget
_isantarget() {
	local -a words
	words=("${(@f)$("${words[@]:0:#words[@]-1}" --generate-bash-completion 2>/dev/null)}")
	_describe 'values' words || _files
}
compdef _isantarget isantarget
`
)

func completionCommand() *cli.Command {
	return &cli.Command{
		Name: "completion", Usage: "print the script that completes commands in a shell", ArgsUsage: "bash|zsh|fish",
		Description: "isantarget completion bash > /etc/bash_completion.d/isantarget",
		Action: func(c *cli.Context) (err error) {
			script := ""
			switch shell := c.Args().First(); {
			case c.NArg() != 1:
				return fmt.Errorf("completion wants one shell: isantarget completion bash|zsh|fish")
			case shell == "bash":
				script = bashCompletion
			case shell == "zsh":
				script = zshCompletion
			case shell == "fish":
				script, err = c.App.ToFishCompletion()
			default:
				return fmt.Errorf("there is no completion for %q%s", shell, configs.DidYouMean(shell, []string{"bash", "zsh", "fish"}))
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(c.App.Writer, script)
			return err
		},
	}
}

func manCommand() *cli.Command {
	return &cli.Command{
		Name: "man", Usage: "print the manual page", Hidden: true,
		Description: "isantarget man > /usr/share/man/man8/isantarget.8",
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			page, err := c.App.ToManWithSection(8)
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(c.App.Writer, page)
			return err
		},
	}
}
