"""What is shown of a sweep while it runs and at its end, whatever launches it: see `dlbench.sweep.job.Words`."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, read_write

from dlbench import paths

if TYPE_CHECKING:
    from dlbench.sweep.progress import Progress

FORGOTTEN = 30 * 24 * 3600
"""So many seconds after a killed sweep's last word its folder is removed."""
_begun: list["Progress"] = []
"""The sweep that this process has begun, if it has."""


class Watch(Callback):
    """Has a sweep watched from its start on; Hydra calls it in the process that starts the sweep.

    Args:
        folder: Where its jobs, on whatever machine, leave word; set once the sweep starts.
    """

    def __init__(self, folder: str | None) -> None:
        """Jobs read it out of the configuration: see `dlbench.sweep.job.Words.of_sweep`."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Make the folder, let every job know of it, and begin to show progress."""
        from dlbench.sweep.job import Words
        from dlbench.sweep.progress import Progress

        sweeps = paths.folder(str(config.paths.runs)) / ".sweep"
        _remove_forgotten(sweeps)
        folder = sweeps / uuid4().hex
        keys = ["hydra.callbacks.watch.folder"]
        try:
            folder.mkdir(parents=True)
        except OSError:
            # What is finished can be looked up; of what is not, its own job says that nothing can be written.
            folder = Path(tempfile.mkdtemp(prefix="dlbench-sweep-"))
            keys.append("hydra.sweep.dir")
        quoted = str(folder).replace("\\", r"\\").replace('"', r"\"")
        with read_write(config.hydra):
            for key in keys:
                # Launchers compose each job's configuration from these.
                config.hydra.overrides.hydra.append(f'{key}="{quoted}"')
                OmegaConf.update(config, key, str(folder))
        _begun.append(Progress(Words(folder)))
        _begun[0].start()


def _remove_forgotten(sweeps: Path) -> None:
    """Remove what killed sweeps left behind."""
    for folder in sweeps.glob("*/"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > FORGOTTEN:
                shutil.rmtree(folder)


OVERRIDE = f"++hydra.callbacks.watch={{_target_: {Watch.__module__}.Watch, folder: null}}"
"""What has Hydra call `Watch`."""


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
