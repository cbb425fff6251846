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


def run(name: str, words: Sequence[str]) -> int:
    """Run a subcommand; its exit code.

    Args:
        name: One of `NAMES`.
        words: What follows it on the command line.

    Raises:
        SystemExit: A wrong flag (2), an error that was foreseen (1), Ctrl-C (130).
    """
    app: Any = importlib.import_module(f"{__name__}.{name}").app
    with one_line_errors():
        try:
            return int(app(list(words), prog_name=f"dlbench {name}", standalone_mode=False) or 0)
        except typer.Abort:
            raise KeyboardInterrupt from None
        except typer.TyperException as error:
            error.show()  # type: ignore[attr-defined]  # all that Typer raises here have it
            raise SystemExit(error.exit_code) from None
