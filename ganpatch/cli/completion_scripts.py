"""Words that end a command when Tab is pressed, as a script for bash, zsh or fish.

    completion_script("bash", cli)

The script holds all commands, options and choices, so that Tab answers at once and starts no Python: importing torch
takes longer than anyone waits for a word. Layers are read from the manifest of the run that stands on the line.
"""

import functools
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import click

from ganpatch.families.loading import BUNDLED
from ganpatch.finding.image_features import CHURCHES, INCEPTION, PLAIN, TORCHVISION
from ganpatch.finding.methods import METHODS
from ganpatch.plugins import plugin_names
from ganpatch.version import VERSION

_WEIGHTS = (".pt", ".pth", ".tar", ".ckpt", ".bin", ".safetensors", ".pkl", ".pt2", ".ts", ".onnx")
_PATCHES = (".yaml", ".yml")

Named = tuple[str, click.Command]  # its words behind `ganpatch`: "", "rank", "patch check"


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """What may stand at a place: `words`, files that end in one of `suffixes`, `folders`, `layers` of a run."""

    words: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()
    folders: bool = False
    layers: bool = False


def completion_script(shell: str, cli: click.Command) -> str:
    """Return the script for "bash", "zsh" or "fish" that completes `cli`."""
    return _SCRIPTS[shell](list(_commands("", cli)))


def _commands(words: str, command: click.Command) -> Iterator[Named]:
    """Return a command and all below it."""
    yield words, command
    for name, child in sorted(_below(command).items()):
        yield from _commands(f"{words} {name}".lstrip(), child)


def _below(command: click.Command) -> Mapping[str, click.Command]:
    return command.commands if isinstance(command, click.Group) else {}


def _options(command: click.Command) -> Iterator[tuple[click.Option, Value | None]]:
    """Return the options of a command and what they take, None for flags."""
    for one in command.params:
        if isinstance(one, click.Option):
            yield one, None if one.is_flag else _value(one)


def _arguments(command: click.Command) -> Value:
    """Describe what may stand behind a command, at any of its places."""
    found = [_value(one) for one in command.params if isinstance(one, click.Argument)]
    return Value(
        words=tuple(word for value in found for word in value.words),
        suffixes=tuple(dict.fromkeys(suffix for value in found for suffix in value.suffixes)),
        folders=any(value.folders for value in found),
    )


def _value(parameter: click.Parameter) -> Value:
    if isinstance(parameter.type, click.Choice):
        return Value(words=tuple(str(choice) for choice in parameter.type.choices))
    return _values().get(parameter.name or "", Value())


@functools.cache
def _values() -> Mapping[str, Value]:
    """Describe what each parameter takes, by its name; those that are not here take what only people know."""
    models = (*BUNDLED, *plugin_names("ganpatch.generators"))
    segmenters = ("churches", "torchvision:", "transformers:", "onnx:", "strokes:")
    return {
        "model": Value(words=models, suffixes=_WEIGHTS, folders=True),
        "model_and_patch": Value(words=models, suffixes=(*_WEIGHTS, *_PATCHES), folders=True),
        "model_and_runs": Value(words=models, suffixes=_WEIGHTS, folders=True),
        "fixed": Value(suffixes=_WEIGHTS),
        **dict.fromkeys(("patch_file", "files", "file", "old", "new"), Value(suffixes=_PATCHES)),
        **dict.fromkeys(("run", "runs", "folder", "real", "repo"), Value(folders=True)),
        **dict.fromkeys(("layer", "layers"), Value(layers=True)),
        **dict.fromkeys(("methods", "suggested"), Value(words=(*METHODS, *plugin_names("ganpatch.scorers")))),
        "segmenter": Value(words=(*segmenters, *plugin_names("ganpatch.segmenters")), suffixes=(".py",)),
        "features": Value(words=(PLAIN, CHURCHES, INCEPTION, TORCHVISION), suffixes=(".py",)),
        "inputs": Value(suffixes=(".safetensors", ".npy"), folders=True),
        "arch": Value(suffixes=(".py",)),
        "mask": Value(suffixes=(".png", ".jpg")),
        "verdicts": Value(suffixes=(".json",)),
        "out": Value(suffixes=("",)),
    }


_BASH = r"""# Completion of ganpatch @VERSION@, for bash: ganpatch completion bash
_ganpatch_words() { COMPREPLY+=($(compgen -W "$*" -- "$cur")); }
_ganpatch_folders() { compopt -o filenames 2>/dev/null; COMPREPLY+=($(compgen -d -- "$cur")); }
_ganpatch_files() {
  local suffix
  _ganpatch_folders
  for suffix in "$@"; do COMPREPLY+=($(compgen -f -X "!*$suffix" -- "$cur")); done
}
_ganpatch_layers() {
  [[ -n "$run" ]] && _ganpatch_words $(sed -n '/^ "layers"/,/^ }/s/^  "\(.*\)": {$/\1/p' "$run/manifest.json")
}
_ganpatch() {
  local IFS=$'\n' cur="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" command="" run="" word i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="${COMP_WORDS[i]}"
    case "${command:+$command }$word" in
      @COMMANDS@) command="${command:+$command }$word" ;;
    esac
    [[ -f "$word/manifest.json" ]] && run="$word"
  done
  case "$command $before" in
@VALUES@
  esac
  case "$command $cur" in
@OPTIONS@
  esac
  case "$command" in
@ARGUMENTS@
  esac
}
complete -F _ganpatch ganpatch
"""


def _bash(commands: Sequence[Named]) -> str:
    flags = [f"{shlex.quote(words + ' -')}*) _ganpatch_words {_joined(_flags(one))}" for words, one in commands]
    after = [f"{shlex.quote(words)}) {_bash_after(one)}" for words, one in commands]
    parts = {
        "VERSION": VERSION,
        "COMMANDS": "|".join(shlex.quote(words) for words, _ in commands if words),
        "VALUES": "\n".join(f"    {case}; return ;;" for case in _bash_values(commands)),
        "OPTIONS": "\n".join(f"    {case}; return ;;" for case in flags),
        "ARGUMENTS": "\n".join(f"    {case} ;;" for case in after),
    }
    text = _BASH
    for mark, content in parts.items():
        text = text.replace(f"@{mark}@", content)
    return text


def _bash_values(commands: Sequence[Named]) -> Iterator[str]:
    """Return a case for what follows each option; one for all commands, where it means the same in all."""
    found: dict[str, dict[str, list[str]]] = {}
    for words, command in commands:
        for option, value in _options(command):
            for name in option.opts if value is not None else ():
                found.setdefault(name, {}).setdefault(_bash_value(value or Value()), []).append(words)
    for name, meanings in found.items():
        for does, places in meanings.items():
            each = [shlex.quote(f"{words} {name}") for words in places] if len(meanings) > 1 else [f"*' {name}'"]
            yield f"{'|'.join(each)}) {does}"


def _bash_value(value: Value) -> str:
    does = [f"_ganpatch_words {_joined(value.words)}"] if value.words else []
    does += [f"_ganpatch_files {_joined(value.suffixes)}"] if value.suffixes else []
    does += ["_ganpatch_folders"] if value.folders and not value.suffixes else []
    does += ["_ganpatch_layers"] if value.layers else []
    return "; ".join(does) or ":"


def _bash_after(command: click.Command) -> str:
    """Return what follows a command: commands below it, or its arguments."""
    below = _below(command)
    return f"_ganpatch_words {_joined(sorted(below))}" if below else _bash_value(_arguments(command))


def _flags(command: click.Command) -> list[str]:
    return [*(name for option, _ in _options(command) for name in option.opts if name.startswith("--")), "--help"]


def _joined(words: Sequence[str]) -> str:
    return " ".join(shlex.quote(word) for word in words)


def _zsh(commands: Sequence[Named]) -> str:
    """Return bash's script, which zsh can read."""
    return f"#compdef ganpatch\nautoload -U +X bashcompinit && bashcompinit\n{_bash(commands)}"


_FISH = r"""# Completion of ganpatch @VERSION@, for fish: ganpatch completion fish
function __ganpatch_layers
    for run in (commandline -opc)
        test -f $run/manifest.json; and sed -n '/^ "layers"/,/^ }/s/^  "\(.*\)": {$/\1/p' $run/manifest.json
    end
end
complete -c ganpatch -f"""


def _fish(commands: Sequence[Named]) -> str:
    lines = [_FISH.replace("@VERSION@", VERSION)]
    for words, command in commands:
        here = [f"__fish_seen_subcommand_from {word}" for word in words.split()]
        when, below = "; and ".join(here) or "true", _below(command)
        if below:
            none = "; and ".join([*here, f"not __fish_seen_subcommand_from {' '.join(sorted(below))}"])
            lines += [_fish_line(none, f"-a {name}", below[name].get_short_help_str(80)) for name in sorted(below)]
        elif given := _fish_value(_arguments(command)):
            lines.append(_fish_line(when, f"-k {given}"))
        for option, value in _options(command):
            names = " ".join(f"-l {n[2:]}" if n.startswith("--") else f"-s {n[1:]}" for n in option.opts)
            takes = "" if value is None else f" -x {_fish_value(value)}"
            lines.append(_fish_line(when, f"{names}{takes}".rstrip(), (option.help or "").partition("  [")[0]))
    return "\n".join(lines) + "\n"


def _fish_line(when: str, what: str, about: str = "") -> str:
    described = f" -d {shlex.quote(about)}" if about else ""
    return f"complete -c ganpatch -n '{when}' {what}{described}"


def _fish_value(value: Value) -> str:
    parts = list(value.words)
    parts += [f"(__fish_complete_suffix {' '.join(value.suffixes)})"] if any(value.suffixes) else []
    parts += ["(__fish_complete_path)"] if "" in value.suffixes else []
    parts += ["(__fish_complete_directories)"] if value.folders else []
    parts += ["(__ganpatch_layers)"] if value.layers else []
    return f'-a "{" ".join(parts)}"' if parts else ""


_SCRIPTS: Mapping[str, Callable[[Sequence[Named]], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
SHELLS = tuple(_SCRIPTS)
