"""`ganpatch completion`."""

import click

from ganpatch.cli.completion_scripts import SHELLS, completion_script


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the script that completes commands in SHELL when Tab is pressed.

    Commands, options, choices, files of the right kind, and the layers of the run on the line. Write it to a file once,
    and again after an update: then Tab starts no Python.

    \b
      ganpatch completion bash > ~/.local/share/bash-completion/completions/ganpatch
      ganpatch completion zsh > ~/.ganpatch-completion && echo "source ~/.ganpatch-completion" >> ~/.zshrc
      ganpatch completion fish > ~/.config/fish/completions/ganpatch.fish
    """
    click.echo(completion_script(shell, click.get_current_context().find_root().command), nl=False)
