"""``dlbench tensorboard``: every run in TensorBoard under a readable name; new ones appear by themselves."""

from pathlib import Path
from typing import Annotated

import typer

from dlbench import paths
from dlbench.commands import group

app = group("Every run in TensorBoard.")


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": ["-h", "--help"]}
)
def tensorboard(
    context: typer.Context,
    runs: Annotated[
        Path | None, typer.Option(parser=paths.folder, metavar="FOLDER", help="records ($DLBENCH_RUNS, else runs)")
    ] = None,
) -> int:
    """Every run in TensorBoard under a readable name; new ones appear by themselves.

    Any other option is passed on to TensorBoard: --port N, --host NAME, --bind_all, ...
    """
    from dlbench.tensorboard.app import serve

    return serve(runs, context.args)
