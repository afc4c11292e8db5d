"""``watchword completion``: scripts for bash, zsh and fish. They hold the whole tree, so a Tab starts nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer

from watchword.cli.exits import usage
from watchword.cli.options import Group
from watchword.cli.output import write
from watchword.cli.session import Session
from watchword.protocol import names

SHELLS: Final = ("bash", "zsh", "fish")

VALUES: Final = {
    "--output": "table json yaml name",
    "--role": "viewer auditor manager admin",
    "--state": "active suspended deleted",
    "--outcome": "success denied failed",
    "--alg": " ".join(names.SIGNING_ALGORITHMS),
    "--auth": f"{names.CLIENT_SECRET_BASIC} {names.CLIENT_SECRET_POST}",
    "--format": "jsonl",
}
"""What an option may be given, where that is known."""

_PROFILES: Final = "${XDG_CONFIG_HOME:-$HOME/.config}/watchword/profiles"
_KNOWN: Final = {"SHELL": " ".join(SHELLS)}


@dataclass(frozen=True, slots=True)
class Option:
    """One option with all its spellings. ``kind`` of its value: empty, ``file``, ``directory``, ``profile``, ``text``."""

    spellings: tuple[str, ...]
    kind: str
    values: str
    help: str


@dataclass(frozen=True, slots=True)
class Node:
    """A group or a command by the words that lead to it. ``arguments`` is ``file`` or known words for what follows."""

    path: tuple[str, ...]
    children: tuple[str, ...]
    options: tuple[Option, ...]
    arguments: str


def add_commands(root: Group) -> None:
    """Add ``completion`` to the tree."""
    root.command("completion", forms=("text",))(completion)


async def completion(
    _session: Session,
    shell: Annotated[str, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
) -> None:
    """Print a script that completes this command line, for example: watchword completion bash > ~/.watchword-completion."""
    from watchword.cli.app import build_app

    makers = {"bash": bash_script, "zsh": zsh_script, "fish": fish_script}
    if shell not in makers:
        raise usage(f"{shell!r} is no shell known here: write bash, zsh or fish.")
    write(makers[shell](read_tree(typer.main.get_command(build_app().app))).rstrip())


def read_tree(command: Any, path: tuple[str, ...] = ()) -> list[Node]:  # noqa: ANN401 -- click's, carried within typer
    """Return the tree of commands, the root first."""
    below = getattr(command, "commands", {})
    options = tuple(_option(one) for one in command.params if one.param_type_name == "option")
    arguments = [_argument(one) for one in command.params if one.param_type_name == "argument"]
    node = Node(path, tuple(below), options, next(iter(arguments), ""))
    return [node, *(deeper for name, child in below.items() for deeper in read_tree(child, (*path, name)))]


def _option(parameter: Any) -> Option:  # noqa: ANN401 -- click's, carried within typer
    spellings = (*parameter.opts, *parameter.secondary_opts)
    kinds = {"FILE": "file", "DIR": "directory"}
    kind = "" if parameter.is_flag else kinds.get(parameter.metavar or "", "text")
    kind = "profile" if "--profile" in spellings else kind
    values = next((VALUES[one] for one in spellings if one in VALUES), "")
    return Option(spellings, kind, values, (parameter.help or "").split(".")[0])


def _argument(parameter: Any) -> str:  # noqa: ANN401 -- click's, carried within typer
    metavar = parameter.metavar or ""
    return "file" if metavar.startswith("FILE") else _KNOWN.get(metavar, "")


def _taking(nodes: Sequence[Node]) -> dict[str, Option]:
    """Return the options that take a value, by spelling. One spelling means one thing in the whole tree."""
    found = {spelling: one for node in nodes for one in node.options if one.kind for spelling in one.spellings}
    return dict(sorted(found.items()))


def _cases(nodes: Sequence[Node]) -> Iterator[str]:
    """Give the lines of a ``case``, the same in bash and zsh: what may follow at each place of the tree."""
    for node in nodes:
        options = " ".join(spelling for one in node.options for spelling in one.spellings)
        follow = " ".join(node.children) or (node.arguments if node.arguments != "file" else "")
        files = 1 if node.arguments == "file" else 0
        yield f"    '{' '.join(node.path)}') options='{options}' follow='{follow}' files={files} ;;"


def _values(nodes: Sequence[Node], say: dict[str, str]) -> Iterator[str]:
    for spelling, option in _taking(nodes).items():
        action = f"{say['words']} '{option.values}'" if option.values else say[option.kind]
        yield f"    {spelling}) {action}; return ;;"


def _script(nodes: Sequence[Node], head: str, say: dict[str, str], tail: str) -> str:
    """Return the function that bash and zsh share but for how they are asked and how they answer."""
    places = "|".join(f"'{' '.join(node.path)}'" for node in nodes if node.path)
    return "\n".join(
        [
            head,
            f"  for word in {say['before']}; do",
            '    if [ -n "$skip" ]; then skip=; continue; fi',
            '    case "$word" in',
            f"      {'|'.join(_taking(nodes))}) skip=1; continue ;;",
            "      -*) continue ;;",
            "    esac",
            '    case "${where:+$where }$word" in',
            f'      {places}) where="${{where:+$where }}$word" ;;',
            "    esac",
            "  done",
            '  case "$previous" in',
            *_values(nodes, say),
            "  esac",
            '  case "$where" in',
            *_cases(nodes),
            "  esac",
            '  case "$current" in',
            f'    -*) {say["words"]} "$options" ;;',
            f'    *) if [ "$files" = 1 ]; then {say["file"]}; else {say["words"]} "$follow"; fi ;;',
            "  esac",
            "}",
            tail,
        ]
    )


def bash_script(nodes: Sequence[Node]) -> str:
    """Return the script for bash 4 and later."""
    head = f"""# bash completion of watchword. Load it: source <(watchword completion bash)
_watchword_words() {{ mapfile -t COMPREPLY < <(compgen -W "$1" -- "$current"); }}
_watchword_files() {{ compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$current"); }}
_watchword_directories() {{ compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$current"); }}
_watchword_profiles() {{
  local found='' file
  for file in "{_PROFILES}"/*.toml; do
    [ -e "$file" ] && file="${{file##*/}}" && found="$found ${{file%.toml}}"
  done
  _watchword_words "$found"
}}
_watchword() {{
  local IFS=$' \\t\\n'
  local current="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}"
  local word skip='' where='' options='' follow='' files=0
  COMPREPLY=()"""
    say = {
        "words": "_watchword_words",
        "file": "_watchword_files",
        "directory": "_watchword_directories",
        "profile": "_watchword_profiles",
        "text": ":",
        "before": '"${COMP_WORDS[@]:1:COMP_CWORD-1}"',
    }
    return _script(nodes, head, say, "complete -F _watchword watchword")


def zsh_script(nodes: Sequence[Node]) -> str:
    """Return the script for zsh: to be sourced after compinit, or a file ``_watchword`` in ``fpath``."""
    head = f"""#compdef watchword
# zsh completion of watchword. Load it: source <(watchword completion zsh)
_watchword_words() {{ compadd -- ${{=1}}; }}
_watchword_profiles() {{
  local -a found
  found=("{_PROFILES}"/*.toml(N:t:r))
  compadd -a found
}}
_watchword() {{
  local current="${{words[CURRENT]}}" previous="${{words[CURRENT-1]}}"
  local word skip='' where='' options='' follow='' files=0"""
    say = {
        "words": "_watchword_words",
        "file": "_files",
        "directory": "_files -/",
        "profile": "_watchword_profiles",
        "text": ":",
        "before": '"${(@)words[2,CURRENT-1]}"',
    }
    tail = 'if [ "$funcstack[1]" = _watchword ]; then _watchword "$@"; else compdef _watchword watchword; fi'
    return _script(nodes, head, say, tail)


def fish_script(nodes: Sequence[Node]) -> str:
    """Return the script for fish."""
    places = " ".join(f"'{' '.join(node.path)}'" for node in nodes if node.path)
    taking = " ".join(_taking(nodes))
    common = [one for one in nodes[0].options if all(one in node.options for node in nodes)]
    lines = [
        "# fish completion of watchword. Load it: watchword completion fish | source",
        "function __watchword_at",
        "  set -l where",
        "  set -l skip 0",
        "  for word in (commandline -opc)[2..-1]",
        "    if test $skip = 1; set skip 0; continue; end",
        f"    if contains -- $word {taking}; set skip 1; continue; end",
        '    set -l deeper (string trim -- "$where $word")',
        f"    if contains -- $deeper {places}; set where $deeper; end",
        "  end",
        '  test "$where" = "$argv[1]"',
        "end",
        "function __watchword_profiles",
        "  set -l place ~/.config",
        "  set -q XDG_CONFIG_HOME; and set place $XDG_CONFIG_HOME",
        "  for file in $place/watchword/profiles/*.toml",
        "    string replace -r '.*/(.*)\\.toml' '$1' $file",
        "  end",
        "end",
        "complete -c watchword -f",
        *(f"complete -c watchword{_fish_option(one)}" for one in common),
        *(line for node in nodes for line in _fish_lines(node, common)),
    ]
    return "\n".join(lines)


def _fish_lines(node: Node, common: Sequence[Option]) -> Iterator[str]:
    start = f"complete -c watchword -n '__watchword_at \"{' '.join(node.path)}\"'"
    if node.arguments == "file":
        yield f"{start} -F"
    elif node.children or node.arguments:
        yield f"{start} -a '{' '.join(node.children) or node.arguments}'"
    for option in node.options:
        if option not in common:
            yield start + _fish_option(option)


def _fish_option(option: Option) -> str:
    spelt = "".join(f" -l {one[2:]}" if one.startswith("--") else f" -s {one[1:]}" for one in option.spellings)
    takes = {
        "": "",
        "text": " -x",
        "file": " -r -F",
        "directory": " -x -a '(__fish_complete_directories)'",
        "profile": " -x -a '(__watchword_profiles)'",
    }
    value = f" -x -a '{option.values}'" if option.values else takes[option.kind]
    text = option.help.replace("'", "\\'")
    return f"{spelt}{value} -d '{text}'"
