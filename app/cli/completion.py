"""`completion`: what a shell reads to complete commands, options and feeds."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from app.base.program import INSTALLED, PROGRAM
from app.cli import COMMANDS, commands
from app.cli.output import Output
from app.cli.session import ALL_WELL

# click's own rule for the name of the variable by which a shell asks.
_VARIABLE = f"_{PROGRAM}_COMPLETE".replace("-", "_").upper()


@click.command("completion", short_help=COMMANDS["completion"])
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> int:
    """Write the script by which a shell completes commands, options and the names of feeds.

    It is for the installed command: a shell completes the name of a program, and the tree's is python.

    \b
    bash   eval "$(python -m app completion bash)"   in ~/.bashrc
    zsh    eval "$(python -m app completion zsh)"    in ~/.zshrc
    fish   python -m app completion fish | source    in config.fish
    """  # noqa: D301 - \b keeps click from filling the lines after it
    if not INSTALLED:
        raise click.UsageError(
            f"only the installed command can be completed, not `{PROGRAM}`; install it: `make wheel`, "
            "then `pipx install dist/*.whl`"
        )
    kind = get_completion_class(shell)
    assert kind is not None, "click completes what the choice offers"  # noqa: S101
    Output().write_document(kind(commands, {}, PROGRAM, _VARIABLE).source().encode())
    return ALL_WELL
