"""``dlbench tensorboard``: runs in TensorBoard under readable names; new ones appear by themselves."""

import re
from pathlib import Path
from typing import Annotated

import typer

from dlbench import paths
from dlbench.commands import group

app = group("Runs in TensorBoard.")


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise typer.BadParameter(f"{text!r} is no regular expression: {error}") from error


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": ["-h", "--help"]}
)
def tensorboard(
    context: typer.Context,
    runs: Annotated[
        Path | None, typer.Option(parser=paths.folder, metavar="FOLDER", help="records ($DLBENCH_RUNS, else runs)")
    ] = None,
    committed: Annotated[bool, typer.Option("--committed", help="show the committed runs as well")] = False,
    only: Annotated[
        re.Pattern | None,  # type: ignore[type-arg]  # Typer knows no parametrised ones
        typer.Option(parser=_pattern, metavar="REGEX", help="show every run in whose name this is found, and no other"),
    ] = None,
) -> int:
    """Your newest 40 runs in TensorBoard, or the committed ones where you have none; new ones appear by themselves.

    A name looks like "cnn_bn_gap/lr=0.01 layout=chw seed=42 (529c0c64)": --only "cnn_.*seed=42" shows such runs,
    however many. Any other option is passed on to TensorBoard: --port N, --host NAME, --bind_all, ...
    """
    from dlbench.tensorboard.app import serve

    return serve(runs, context.args, committed=committed, only=only)
