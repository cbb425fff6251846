"""The subcommands of ``dlbench``, a module each: ``dlbench records list``, ``dlbench report``."""

import importlib
from collections.abc import Sequence
from typing import Any

import typer

from dlbench.cli import one_line_errors
from dlbench.errors import DlbenchError

NAMES = ("bench", "data", "notebooks", "predict", "records", "report", "tensorboard")


def group(about: str, **settings: Any) -> typer.Typer:
    """A subcommand: a name with commands of its own, or a single command; ``settings`` are those of its context."""
    return typer.Typer(
        help=about,
        rich_markup_mode=None,
        add_completion=False,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"], **settings},
    )


def call(name: str, words: Sequence[str]) -> int:
    """Run a subcommand; its exit code: 0 if all is well, 1 for an error, 2 for a wrong flag, 130 for Ctrl-C.

    Args:
        name: One of `NAMES`.
        words: What follows it on the command line.
    """
    try:
        with one_line_errors():
            try:
                command = typer.main.get_command(importlib.import_module(f"{__name__}.{name}").app)
                # Typer's own way to start would answer Ctrl-C without a word.
                with command.make_context(f"dlbench {name}", list(words)) as context:
                    return int(command.invoke(context) or 0)
            except typer.Exit as end:
                return end.exit_code
            except typer.TyperException as error:
                error.show()  # type: ignore[attr-defined]  # all that Typer raises here have it
                return int(error.exit_code)
            except ModuleNotFoundError as error:
                raise DlbenchError(f"{name} needs {error.name}; pip install 'dlbench[notebooks]'") from error
    except SystemExit as end:
        return int(end.code or 0)
