"""The commands by name: where each lives, and its line in `ganpatch --help`. A command is imported when asked for."""

from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import Any, cast

import click
from click.shell_completion import CompletionItem

COMMANDS: Mapping[str, str] = {
    "init": "Find out what MODEL takes and returns, and write ganpatch.toml.",
    "layers": "List the layers of MODEL.",
    "rank": "Rank the units of MODEL by their top-activating images.",
    "review": "Serve the review page of RUN; flags are saved as you make them.",
    "suggest": "Suggest which units of RUN draw artifacts.",
    "flag": "Turn flagged units of RUN into a patch.",
    "sample": "Draw images of MODEL as one picture, before and after a patch.",
    "apply": "Write MODEL with PATCH in it.",
    "verify": "Compare PATCH as hooks with weights and graphs.",
    "revert": "Take the last patch out of a repaired file.",
    "export": "Export MODEL to ONNX, with PATCH in it.",
    "evaluate": "Measure whether PATCH improves MODEL.",
    "judge": "Compare images before and after PATCH by eye, unmarked.",
    "tune": "Soften PATCH until it does no harm.",
    "patch": "Check, show, compare and join patch files.",
    "dissect": "Find the concept that each unit represents.",
    "cause": "Find the units that cause a concept.",
    "compare": "Compare dissections of several layers or models.",
    "studio": "Look, flag, paint and repair in the browser.",
    "completion": "Print what completes commands when Tab is pressed.",
}


class CommandTable(click.Group):
    """The group of all commands; its help and its completion import none of them."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.commands = cast(MutableMapping[str, click.Command], _ByName())

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names of all commands, in the order of work."""
        return list(COMMANDS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the table of commands."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands, or the group's own options, that begin with `incomplete`."""
        found = [CompletionItem(name, help=line) for name, line in COMMANDS.items() if name.startswith(incomplete)]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]


class _ByName(Mapping[str, click.Command]):
    """Commands by their names, each imported when it is looked up."""

    def __getitem__(self, name: str) -> click.Command:
        if name not in COMMANDS:
            raise KeyError(name)
        command: click.Command = getattr(import_module(f"ganpatch.cli.{name}"), name)
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)
