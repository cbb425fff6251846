"""The subcommands of ``dlbench``, a module each: ``dlbench records list``, ``dlbench report``."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from dlbench import paths
from dlbench.cli import one_line_errors
from dlbench.errors import DlbenchError

NAMES = ("bench", "data", "notebooks", "predict", "records", "report", "tensorboard")

# Options that several have.
Runs = Annotated[
    Path,
    typer.Option(
        parser=paths.folder,
        default_factory=paths.runs,
        show_default=False,
        metavar="FOLDER",
        help="records ($DLBENCH_RUNS, else runs)",
    ),
]
Trust = Annotated[bool, typer.Option("--trust", help="the record may name code that is not the suite's: your own")]
Json = Annotated[bool, typer.Option("--json", help="print JSON")]


def group(about: str) -> typer.Typer:
    """A subcommand: a name with commands of its own, or a single command."""
    return typer.Typer(
        help=about,
        rich_markup_mode=None,
        add_completion=False,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
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
                module = importlib.import_module(f"{__name__}.{name}")
            except ModuleNotFoundError as error:
                raise DlbenchError(f"{name} needs {error.name}; pip install 'dlbench[notebooks]'") from error
            try:
                command = typer.main.get_command(module.app)
                # Typer's own way to start would answer Ctrl-C without a word.
                with command.make_context(f"dlbench {name}", list(words)) as context:
                    return int(command.invoke(context) or 0)
            except typer.Exit as end:
                return end.exit_code
            except typer.TyperException as error:
                error.show()  # type: ignore[attr-defined]  # all that Typer raises here have it
                return int(error.exit_code)
    except SystemExit as end:
        return int(end.code or 0)
