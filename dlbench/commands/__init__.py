"""The subcommands of ``dlbench``, a module each: ``dlbench records list``, ``dlbench report``."""

import importlib
from collections.abc import Sequence
from typing import Any

import typer

from dlbench.cli import one_line_errors

NAMES = ("bench", "data", "notebooks", "predict", "records", "report", "tensorboard")


def group(about: str) -> typer.Typer:
    """A subcommand that has subcommands of its own, or only one."""
    return typer.Typer(
        help=about, rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False, no_args_is_help=True
    )


def call(name: str, words: Sequence[str]) -> int:
    """Run a subcommand; its exit code: 0 if all is well, 1 for an error, 2 for a wrong flag, 130 for Ctrl-C.

    Args:
        name: One of `NAMES`.
        words: What follows it on the command line.
    """
    app: Any = importlib.import_module(f"{__name__}.{name}").app
    try:
        with one_line_errors():
            try:
                return int(app(list(words), prog_name=f"dlbench {name}", standalone_mode=False) or 0)
            except typer.Abort:  # what Typer makes of Ctrl-C
                raise KeyboardInterrupt from None
            except typer.TyperException as error:
                error.show()  # type: ignore[attr-defined]  # all that Typer raises here have it
                return int(error.exit_code)
    except SystemExit as end:
        return int(end.code or 0)
