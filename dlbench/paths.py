"""Folders that a person names, made absolute once: ``~`` expanded, and relative to where the command was started."""

import os
from pathlib import Path

from hydra.core.hydra_config import HydraConfig


def started_in() -> Path:
    """The folder that the command was started in, also where Hydra moved its job to another (``hydra.job.chdir``)."""
    return Path(HydraConfig.get().runtime.cwd) if HydraConfig.initialized() else Path.cwd()


def folder(name: str | Path) -> Path:
    """A named folder or file as an absolute path."""
    return (started_in() / Path(name).expanduser()).resolve()


def runs() -> Path:
    """The user's folder of records: ``$DLBENCH_RUNS``, else ``./runs``."""
    return folder(os.environ.get("DLBENCH_RUNS") or "runs")
