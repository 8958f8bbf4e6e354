"""Help of a command: what it does, its examples, then its options in groups.

Example:

    @command()
    @click.option("--n", …)
    def rank(n): ...
"""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import click

from ganpatch.errors import listed, near_miss
from ganpatch.generator.load_options import LoadOptions

Function = Callable[..., Any]

_WIDTH = 80
_COMPUTE = ("device", "dtype", "channels_last", "compile")
_MODEL = {"model", *LoadOptions.model_fields, "allow_other_weights", *_COMPUTE}
_OUTPUT = {"out", "overwrite", "resume", "write", "as_json", "open_browser", "port", "dry_run", "help"}
GROUPS = ("What to do", "The model", "Output")

# What people type, and what it is called here.
_OTHER_NAMES = {
    "--n": ("--seeds",),
    "--images": ("--n", "--seeds"),
    "--count": ("--n", "--seeds"),
    "--seed": ("--seeds", "--n"),
    "--seeds": ("--n",),
    "--draws": ("--baselines",),
    "--random": ("--baselines",),
    "--output": ("--out",),
    "--force": ("--overwrite",),
    "--layers": ("--layer",),
    "--unit": ("--units",),
    "--method": ("--by", "--suggested"),
    "--reals": ("--real",),
    "--weights": ("--model",),
    "--batch": ("--batch-size",),
    "--gpu": ("--device",),
    "--cuda": ("--device",),
}


def command() -> Callable[[Function], click.Command]:
    """Make a function a command with such help."""
    return click.command(cls=Command)


class Command(click.Command):
    """A command whose help shows examples first, and options in groups."""

    def make_context(self, *arguments: Any, **given: Any) -> click.Context:
        """Return a context whose help is 80 columns wide."""
        return super().make_context(*arguments, **{"max_content_width": _WIDTH, **given})

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write what the command does, its examples, and the rest."""
        summary, examples, rest = help_parts(self)
        for paragraph in (summary, *examples, *rest):
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_text(paragraph)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, group by group."""
        groups: dict[str, list[tuple[str, str]]] = {name: [] for name in GROUPS}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                groups[group_of(parameter)].append(record)
        for name, records in groups.items():
            if records:
                with formatter.section(name):
                    formatter.write_dl(records)


def group_of(parameter: click.Parameter) -> str:
    """Return the group that an option belongs to."""
    name = "help" if "--help" in parameter.opts else parameter.name or ""
    return "The model" if name in _MODEL else "Output" if name in _OUTPUT else "What to do"


def help_parts(command: click.Command) -> tuple[str, list[str], list[str]]:
    """Return the first paragraph of a command's help, its examples, and the other paragraphs."""
    first, *others = inspect.cleandoc(command.help or "").split("\n\n")
    examples = [text for text in others if _is_example(text)]
    return first, examples, [text for text in others if text not in examples]


def _is_example(paragraph: str) -> bool:
    return paragraph.startswith("\b") and paragraph.partition("\n")[2].lstrip().startswith("ganpatch ")


def wrong_option(fault: click.NoSuchOption) -> str:
    """Return what is wrong with an option that a command lacks: what it is called there, or who has it."""
    name, context = fault.option_name, fault.ctx
    if context is None:
        return fault.format_message()
    known = {option for parameter in context.command.params for option in parameter.opts}
    text = f"No such option '{name}' for '{context.command_path}'"
    if here := [other for other in _OTHER_NAMES.get(name, ()) if other in known]:
        return f"{text}: it is {here[0]} here"
    if others := list(_who_has(name, context.find_root().command)):
        return f"{text}; it is an option of {listed(others, 4)}"
    return f"{text}{near_miss(name, known)}"


def _who_has(option: str, group: click.Command, path: str = "ganpatch") -> Iterator[str]:
    """Yield the commands that have an option."""
    for name, one in group.commands.items() if isinstance(group, click.Group) else ():
        if any(option in parameter.opts for parameter in one.params):
            yield f"'{path} {name}'"
        yield from _who_has(option, one, f"{path} {name}")
