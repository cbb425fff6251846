"""Lightning's loggers beside a record's own TensorBoard events; no trouble of theirs ends a run."""

import importlib.util
import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger, Logger, MLFlowLogger, WandbLogger

from dlbench.errors import ConfigError
from dlbench.identity import settings_of
from dlbench.records import history
from dlbench.records.store import Record
from dlbench.terminal import first_line, say

FOLDER = ".loggers"
"""Beside the records: what loggers write is no part of one."""

TENSORBOARD = "tensorboard"
OF_OTHERS = ("wandb", "mlflow")
"""They need packages of these names."""


def chosen_loggers(config: Mapping[str, Any]) -> Sequence[str]:
    """The loggers of a configuration; a record's names none, and TensorBoard is the usual one.

    Raises:
        ConfigError: A package is not installed.
    """
    chosen: str | Sequence[str] | None = config.get("logger")
    names = [chosen] if isinstance(chosen, str) else chosen
    for name in names or ():
        # A folder called wandb or mlflow, as both make them, can be imported, but has no file.
        if name in OF_OTHERS and not ((spec := importlib.util.find_spec(name)) and spec.origin):
            raise ConfigError(f"logger={name}: that package is not installed; pip install 'dlbench[loggers]'")
    return [TENSORBOARD] if names is None else names


def loggers_beside(record: Record, config: Mapping[str, Any]) -> list[Logger]:
    """The loggers chosen but for TensorBoard, each told the settings and the epochs that were trained before."""
    made: list[Logger] = []
    for name in dict.fromkeys(chosen_loggers(config)):
        if name != TENSORBOARD:
            logger = Beside(name, lambda name=name: _open(name, record, config))  # type: ignore[misc]
            logger.log_hyperparams({"experiment": config["name"], **settings_of(config)})
            for row in history.read(record.metrics) if record.metrics.exists() else ():
                logger.log_metrics({key: value for key, value in row.items() if "/" in key}, row["epoch"])
            made.append(logger)
    return made


def _open(name: str, record: Record, config: Mapping[str, Any]) -> Logger:
    folder = record.folder.parent / FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    if name == "csv":
        shutil.rmtree(folder / record.id, ignore_errors=True)  # of an earlier try; it is written whole again
        return CSVLogger(folder, name="", version=record.id)
    if name == "wandb":
        import wandb

        quiet = wandb.Settings(console="off")  # what a run prints is not its business
        project = os.environ.get("WANDB_PROJECT", "dlbench")
        return WandbLogger(record.id, folder, record.id, project=project, group=config["name"], settings=quiet)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    server, local = os.environ.get("MLFLOW_TRACKING_URI"), f"sqlite:///{folder / 'mlflow.db'}"
    place = None if server else (folder / "artifacts").as_uri()
    return MLFlowLogger(config["name"], record.id, server or local, artifact_location=place)


class Beside(Logger):
    """A logger that is opened at its first word; after its first failure, which is told in a line, it is let be.

    Args:
        kind: Its name in the configuration.
        opened: Makes it.
    """

    def __init__(self, kind: str, opened: Callable[[], Logger]) -> None:
        super().__init__()
        self.kind, self._opened = kind, opened
        self._logger: Logger | None = None
        self._has_failed = False

    @property
    def name(self) -> str:
        """Its name in the configuration."""
        return self.kind

    @property
    def version(self) -> str:
        """None that matters here."""
        return ""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Log numbers by name; the step is the epoch."""
        self._do(lambda logger: logger.log_metrics(metrics, step))

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Log settings."""
        self._do(lambda logger: logger.log_hyperparams(params))

    def save(self) -> None:
        """Write what is not written yet."""
        self._do(lambda logger: logger.save())

    def finalize(self, status: str) -> None:
        """Close it; another run of this process opens one of its own."""

        def close(logger: Logger) -> None:
            logger.finalize(status)
            if isinstance(logger, WandbLogger):
                logger.experiment.finish(exit_code=0 if status == "success" else 1)

        self._do(close)

    def _do(self, act: Callable[[Logger], object]) -> None:
        if self._has_failed:
            return
        try:
            self._logger = self._logger or self._opened()
            act(self._logger)
        except Exception as error:  # of any library, whatever it is: curves are in the record
            self._has_failed = True
            say(f"logger={self.kind}: {type(error).__name__}: {first_line(error)}; it gets no more, the run goes on")


def profiles_of(record: Record) -> Path:
    """Where a profiler's report of a record's training is written: beside the records."""
    return record.folder.parent / ".profiles" / record.id
