"""``python -m dlbench tensorboard``: every run in TensorBoard under a readable name; new ones appear by themselves."""

import argparse
import os
import sys
import tempfile
import threading
from pathlib import Path

from dlbench import paths
from dlbench.cli import one_line_errors
from dlbench.errors import RecordError
from dlbench.records.store import Store
from dlbench.records.summary import uses
from dlbench.tensorboard.view import View
from dlbench.terminal import say

REFRESH_SECONDS = 5.0
"""TensorBoard itself looks for new data as often."""


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and serve until interrupted; the exit code."""
    options, others = _parser().parse_known_args(arguments)
    with one_line_errors():
        return serve(options.runs, others)
    return 1


def serve(runs: Path | None, options: list[str]) -> int:
    """Serve the runs of a folder and the committed ones.

    Args:
        runs: The folder; None: the usual one, which need not be there yet.
        options: Options of TensorBoard's own.

    Raises:
        RecordError: There is no such folder, or nothing to show.
    """
    if runs and not runs.is_dir():
        raise RecordError(f"{runs}: no such folder of runs; name one with --runs FOLDER")
    runs = runs or paths.runs()
    with tempfile.TemporaryDirectory(prefix="dlbench-tensorboard-") as folder:
        view = View(Path(folder), [Store(runs), Store(paths.experiments() / "results")])
        shown = view.refresh()
        if not shown:
            raise RecordError(f"no runs in {runs}; make one: python -m dlbench +experiment=cnn_bn_gap")
        finished = uses(record for store in view.stores for record in store.all())
        say(f"finished runs: {', '.join(f'{count} {kind}' for kind, count in finished.items()) or 'none'}")
        if not Store(runs).all():
            say(f"no runs in {runs} yet: {shown} committed ones are shown")
        stop = threading.Event()
        thread = threading.Thread(target=_keep_fresh, args=(view, stop), daemon=True)
        thread.start()
        try:
            return _tensorboard(folder, options)
        except KeyboardInterrupt:
            return 0
        finally:
            stop.set()
            thread.join()


def _keep_fresh(view: View, stop: threading.Event) -> None:
    while not stop.wait(REFRESH_SECONDS):
        try:
            view.refresh()
        except OSError as error:  # a folder that vanished while it was read; the next look finds it gone
            say(f"cannot read the runs: {error}")


def _tensorboard(folder: str, options: list[str]) -> int:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from tensorboard import program

    from dlbench.tensorboard.plugins import plugins

    board = program.TensorBoard(plugins=plugins())
    # More pictures and tables than the ten that TensorBoard would keep of a tag.
    samples = "--samples_per_plugin=images=100,text=100"
    board.configure(["tensorboard", samples, *options], logdir=folder, window_title="dlbench")
    return int(board.main() != 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dlbench tensorboard",
        description=__doc__,
        epilog="Any other option is passed on to TensorBoard: --port N, --host NAME, --bind_all, ...",
    )
    about = "folder of records (default: $DLBENCH_RUNS, else runs)"
    parser.add_argument("--runs", type=paths.folder, help=about)
    return parser


if __name__ == "__main__":
    sys.exit(main())
