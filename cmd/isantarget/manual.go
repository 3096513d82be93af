package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/isantarget/isantarget/configs"
)

// The scripts that a shell has ask isantarget itself what may come next; see completing. All
// pass the word that is begun, also where it is empty.
const (
	bashCompletion = `_isantarget() {
	# COMP_LINE and not COMP_WORDS, which breaks the names of targets at their colons.
	local line=${COMP_LINE:0:COMP_POINT} cur="" words
	read -ra words <<<"$line"
	if [[ $line == *" " ]]; then words+=(""); else cur=${line##* }; fi
	mapfile -t COMPREPLY < <(compgen -W "$("${words[@]}" --generate-bash-completion 2>/dev/null | cut -f1)" -- "$cur")
	[[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null
	[[ $cur == *:* && $COMP_WORDBREAKS == *:* ]] && COMPREPLY=("${COMPREPLY[@]#"${cur%"${cur##*:}"}"}")
	return 0
}
complete -o default -F _isantarget isantarget
`
	zshCompletion = `#compdef isantarget
_isantarget() {
	local offer
	local -a offers keys
	for offer in "${(@f)$("${(@Q)words[1,CURRENT-1]}" "${(Q)PREFIX}" --generate-bash-completion 2>/dev/null)}"; do
		case $offer in
		"") ;;
		*=) keys+=("${offer//:/\\:}") ;;
		*$'\t'*) offers+=("${${offer%%$'\t'*}//:/\\:}:${offer#*$'\t'}") ;;
		*) offers+=("${offer//:/\\:}") ;;
		esac
	done
	(( $#offers + $#keys )) || { _files; return }
	_describe -t offers isantarget offers -- keys -S ""
}
# Found by its name the file is the function itself, else it was sourced.
if [[ $funcstack[1] == _isantarget ]]; then _isantarget; else compdef _isantarget isantarget; fi
`
	fishCompletion = `function __isantarget_offers
	set -l words (commandline -opc)
	set -l begun (commandline -ct)
	set -l offers ($words "$begun" --generate-bash-completion 2>/dev/null)
	if count $offers >/dev/null
		printf '%s\n' $offers
	else
		__fish_complete_path "$begun"
	end
end
complete -c isantarget -f -a '(__isantarget_offers)'
`
)

func completionCommand() *cli.Command {
	return &cli.Command{
		Name: "completion", Usage: "print the script that completes commands in a shell", ArgsUsage: "bash|zsh|fish",
		Description: "isantarget completion bash > /etc/bash_completion.d/isantarget",
		Action: func(c *cli.Context) error {
			script := ""
			switch shell := c.Args().First(); {
			case c.NArg() != 1:
				return fmt.Errorf("completion wants one shell: isantarget completion bash|zsh|fish")
			case shell == "bash":
				script = bashCompletion
			case shell == "zsh":
				script = zshCompletion
			case shell == "fish":
				script = fishCompletion
			default:
				return fmt.Errorf("there is no completion for %q%s", shell, configs.DidYouMean(shell, []string{"bash", "zsh", "fish"}))
			}
			_, err := fmt.Fprint(c.App.Writer, script)
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
