"""`ganpatch completion`."""

import click
from click.shell_completion import get_completion_class

from ganpatch.cli.completing import VARIABLE
from ganpatch.cli.help import command

SHELLS = ("bash", "zsh", "fish")


@command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the script that completes commands in SHELL when Tab is pressed.

    Commands, options, their values, files, and what the run folder on the line holds: its layers, its concepts.

    \b
      ganpatch completion bash >> ~/.bash_completion
      ganpatch completion zsh >> ~/.zshrc
      ganpatch completion fish > ~/.config/fish/completions/ganpatch.fish
    """
    context = click.get_current_context().find_root()
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(context.command, {}, "ganpatch", VARIABLE).source(), nl=False)
