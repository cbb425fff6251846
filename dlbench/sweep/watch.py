"""What is shown of a sweep while it runs and at its end, whatever launches it: see `dlbench.sweep.job.Words`."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

if TYPE_CHECKING:
    from dlbench.sweep.progress import Progress

_begun: list["Progress"] = []
"""The sweep that this process has begun, if it has."""


class Watch(Callback):
    """Has a sweep watched from its start on; Hydra calls it in the process that starts the sweep.

    Args:
        sweep: A name that no other sweep has.
    """

    def __init__(self, sweep: str) -> None:
        """Jobs read it out of the configuration: see `dlbench.sweep.job.Words.of_sweep`."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Begin to show progress."""
        from dlbench.sweep.job import Words
        from dlbench.sweep.progress import Progress

        _begun.append(Progress(Words.of_sweep(config, config.hydra)))
        _begun[0].start()


def override() -> str:
    """What has Hydra call `Watch`, and tells every job, wherever it runs, of the sweep it belongs to."""
    return f"++hydra.callbacks.watch={{_target_: {Watch.__module__}.Watch, sweep: {uuid4().hex}}}"


@contextmanager
def watched() -> Iterator[None]:
    """Show the progress of the sweep that begins inside, if one does, and at its end what it came to.

    Raises:
        SweepError: At least one run failed.
    """
    try:
        yield
    except Exception:
        for progress in _begun:
            progress.show()
        raise
    else:
        for progress in _begun:
            progress.finish()
    finally:
        for progress in _begun:
            progress.stop()
            shutil.rmtree(progress.words.folder, ignore_errors=True)
        _begun.clear()
