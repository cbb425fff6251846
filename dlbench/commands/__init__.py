"""The subcommands of ``dlbench``, a module each: ``dlbench records list``, ``dlbench report``."""

import importlib
import re
import shlex
import sys
from collections.abc import Sequence
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Annotated, Any

import typer

from dlbench import paths
from dlbench.cli import one_line_errors
from dlbench.errors import ConfigError, DlbenchError
from dlbench.terminal import say

NAMES = ("bench", "data", "experiments", "new-report", "notebooks", "predict", "records", "report", "tensorboard")

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


def _own_folder(name: str) -> Path:
    if not (found := paths.folder(name)).is_dir():
        raise ConfigError(f"--config-dir {name}: no such folder")
    return found


# `dlbench.cli.named_folders` finds it by itself, as a run does.
OwnFolder = Annotated[
    Path | None,
    typer.Option(
        "--config-dir", parser=_own_folder, metavar="FOLDER", help="a folder of your own configurations and reports"
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
    given, sys.argv = sys.argv, [*sys.argv[:1], name, *words]  # where `dlbench.cli.named_folders` looks
    try:
        with one_line_errors():
            try:
                module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
            except ModuleNotFoundError as error:
                raise DlbenchError(f"{name} needs {error.name}; pip install 'dlbench[notebooks]'") from error
            try:
                command = typer.main.get_command(module.app)
                if wrong := _override(command, words):
                    say(wrong)
                    return 2
                # Typer's own way to start would answer Ctrl-C without a word.
                with command.make_context(f"dlbench {name}", list(words)) as context:
                    return int(command.invoke(context) or 0)
            except typer.Exit as end:
                return end.exit_code
            except typer.TyperException as error:
                _said(error, name, words)
                return int(error.exit_code)
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.argv = given


_SETTING = re.compile(r"([\w/.]+)=(.*)")


def _override(command: Any, words: Sequence[str]) -> str | None:
    """What is wrong with a word as runs take it, where this command has an option, and what to say; None: nothing."""
    own = getattr(command, "commands", {}).get(words[0], command) if words else command
    options = {option for parameter in own.params for option in parameter.opts}
    takes_settings = any(parameter.metavar == "KEY=VALUE" for parameter in own.params)
    takes_texts = any(parameter.metavar == "INPUT" for parameter in own.params)  # which may look like anything
    for before, word in pairwise(["", *takewhile("--".__ne__, words)]):
        found = None if before.startswith("-") else _SETTING.fullmatch(word)
        if found and (not takes_texts or found[1].startswith("paths.")):
            key, value = found[1].removeprefix("paths."), shlex.quote(found[2])
            for option in (f"--{key}", *(["--folder"] if key == "data" and found[1] != key else [])):
                if option in options:
                    return f"{word}: only a run takes it so; here say {option} {value}"
            if found[1] in ("paths.runs", "paths.data", "paths.cache") and not takes_settings:
                return f"{word}: only a run takes it so; here set DLBENCH_{key.upper()}={value} in the environment"
    return None


def _said(error: typer.TyperException, name: str, words: Sequence[str]) -> None:
    """Print what Typer found wrong; what runs alone have is told in a line."""
    settings = [word for word in words if _SETTING.fullmatch(word)]
    if settings and "unexpected extra argument" in str(error):
        say(f"{settings[0]}: only runs have settings; python -m dlbench {name} --help shows what there is here")
    else:
        error.show()  # type: ignore[attr-defined]  # all that Typer raises here have it
