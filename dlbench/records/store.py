"""Records on disk: one folder a training, evaluations within; what state each is in; who may write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from dlbench.errors import RecordError
from dlbench.messages import say
from dlbench.records.checkpoints import CheckpointFolder
from dlbench.records.files import is_set_aside, read_json, write_json

SCHEMA = 1
"""Version of the record's layout; raised when an older reader would misread it."""


class State(StrEnum):
    """What is known of a training from its folder alone."""

    ABSENT = "absent"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    DIVERGED = "diverged"
    FINISHED = "finished"
    CORRUPT = "corrupt"


@dataclass(frozen=True)
class Record:
    """One training's folder: ``config.yaml manifest.json metrics.jsonl checkpoints/ tensorboard/ training.json``."""

    folder: Path

    @property
    def id(self) -> str:
        """The training's identity, which is its folder's name."""
        return self.folder.name

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.folder / "config.yaml"

    @property
    def manifest(self) -> Path:
        """Where the record comes from."""
        return self.folder / "manifest.json"

    @property
    def metrics(self) -> Path:
        """One line an epoch."""
        return self.folder / "metrics.jsonl"

    @property
    def training(self) -> Path:
        """Written last: its presence means that the training is done."""
        return self.folder / "training.json"

    @property
    def failure(self) -> Path:
        """Why the last try ended in an error."""
        return self.folder / "failure.json"

    @property
    def confirmations(self) -> Path:
        """Later code that gave the same bits."""
        return self.folder / "confirmations.json"

    @property
    def tensorboard(self) -> Path:
        """Event files."""
        return self.folder / "tensorboard"

    @property
    def checkpoints(self) -> CheckpointFolder:
        """The training's checkpoints."""
        return CheckpointFolder(self.folder / "checkpoints")

    def evaluation(self, identity: str) -> Evaluation:
        """One evaluation of this training."""
        return Evaluation(self.folder / "evaluations" / identity)

    def evaluations(self) -> list[Evaluation]:
        """Every evaluation that is done."""
        folders = (path.parent for path in self.folder.glob("evaluations/*/result.json"))
        return [Evaluation(folder) for folder in sorted(folders) if not is_set_aside(folder)]

    def state(self) -> State:
        """The state for an onlooker: unfinished, with its lock held, means running."""
        state = self.state_on_disk()
        return State.RUNNING if state in (State.INTERRUPTED, State.FAILED) and self.is_locked() else state

    def state_on_disk(self) -> State:
        """The state as the files alone tell it, for who holds the lock."""
        if self.training.exists():
            try:
                return State(read_done(self.training)["state"])
            except (RecordError, KeyError, ValueError):
                return State.CORRUPT
        if not self.folder.exists():
            return State.ABSENT
        return State.FAILED if self.failure.exists() else State.INTERRUPTED

    @property
    def _lock_path(self) -> Path:
        return self.folder.parent / ".locks" / f"{self.id}.lock"

    def is_locked(self) -> bool:
        """Whether some process is training or evaluating this record."""
        if not self._lock_path.exists():
            return False
        try:
            with FileLock(self._lock_path, timeout=0):
                return False
        except Timeout:
            return True

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the record: a second process that wants it waits; a killed holder lets go by dying.

        Raises:
            RecordError: The folder of runs cannot be written.
        """
        try:
            self._lock_path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self._lock_path)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                say(f"record {self.id}: another process is at it; waiting")
                lock.acquire()
        except OSError as error:
            where = self.folder.parent
            raise RecordError(
                f"cannot write to {where}: {error.strerror or error}; choose another folder with paths.runs=FOLDER"
            ) from error
        try:
            yield
        finally:
            lock.release()


@dataclass(frozen=True)
class Evaluation:
    """One evaluation's folder: ``config.yaml result.json predictions.csv artifacts/``; ``result.json`` comes last."""

    folder: Path

    @property
    def id(self) -> str:
        """The evaluation's identity."""
        return self.folder.name

    @property
    def result(self) -> Path:
        """Written last: its presence means that the evaluation is done."""
        return self.folder / "result.json"

    @property
    def config(self) -> Path:
        """The evaluation's settings."""
        return self.folder / "config.yaml"

    @property
    def artifacts(self) -> Path:
        """Pictures and tables."""
        return self.folder / "artifacts"


class Store:
    """A folder of records."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def record(self, identity: str) -> Record:
        """The record of an identity, there or not."""
        return Record(self.folder / identity)

    def all(self) -> list[Record]:
        """Every record, by name; what was set aside is not among them."""
        folders = (path.parent for path in self.folder.glob("*/config.yaml"))
        return [Record(folder) for folder in sorted(folders) if not is_set_aside(folder)]

    def find(self, prefix: str) -> Record:
        """The one record whose identity begins so.

        Raises:
            RecordError: None or several do.
        """
        matches = [record for record in self.all() if record.id.startswith(prefix)]
        if len(matches) != 1:
            known = ", ".join(record.id for record in matches or self.all()) or "none at all"
            problem = "several records begin with" if matches else "no record begins with"
            raise RecordError(f"{problem} {prefix!r} in {self.folder}; there are: {known}")
        return matches[0]


def find(prefix: str, *folders: Path) -> Record:
    """The one record whose identity begins so, in the first folder that has such a one.

    Raises:
        RecordError: See `Store.find`; where no folder has one, it is the first that is spoken of.
    """
    stores = [Store(folder) for folder in folders]
    having = (store for store in stores if any(record.id.startswith(prefix) for record in store.all()))
    return next(having, stores[0]).find(prefix)


def write_done(path: Path, content: dict[str, Any]) -> None:
    """Write a closing file (``training.json``, ``result.json``) with its schema."""
    write_json(path, {"schema": SCHEMA, **content})


def read_done(path: Path) -> dict[str, Any]:
    """Read a closing file.

    Raises:
        RecordError: It is damaged, or of another schema.
    """
    content = read_json(path)
    if content.get("schema") != SCHEMA:
        raise RecordError(f"{path}: schema {content.get('schema')}, but this version reads {SCHEMA}")
    return content
