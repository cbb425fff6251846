"""Records on disk: one folder a training, evaluations within; what state each is in; who may write."""

from __future__ import annotations

import difflib
import os
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self, overload

from dlbench import components, identity, paths
from dlbench.errors import ConfigError, RecordError
from dlbench.records import history, lock, seal
from dlbench.records.checkpoints import CheckpointFolder
from dlbench.records.files import is_set_aside, read_config, read_json

PLAN = ("identity.json", "config.yaml")
"""What is written before the first step, and sealed in ``manifest.json`` until the training is done."""

CORE = (*PLAN, "manifest.json", "metrics.jsonl")
"""What is held against the seal at every reading of a record; the rest takes longer: see `Record.read`."""

DATA_COLUMNS = ("source", "reference")
"""What predictions quote of a data set, which has a licence of its own; committed ones leave it out."""

OUTPUTS = "outputs.zip"
"""Where a committed evaluation's settings, predictions and artifacts are packed together."""

LARGEST_OUTPUT = 2**28
"""Bytes that one of these may unpack to."""


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
class Contents:
    """What a record's files say, configurations in today's words (see `dlbench.components.today`).

    ``closing`` is ``training.json``, None where the training is not done. Of each evaluation, by its identity, there
    are its settings and its result.
    """

    config: dict[str, Any]
    manifest: dict[str, Any]
    identity: dict[str, Any]
    closing: dict[str, Any] | None
    settings: dict[str, dict[str, Any]]
    results: dict[str, dict[str, Any]]


class _Inside:
    """A place in a record's folder, or in an evaluation's, and what it is for."""

    def __init__(self, name: str, about: str) -> None:
        self.name, self.__doc__ = name, about

    @overload
    def __get__(self, owner: None, _: type) -> Self: ...
    @overload
    def __get__(self, owner: Record | Evaluation, _: type) -> Path: ...
    def __get__(self, owner: Record | Evaluation | None, _: type) -> Self | Path:
        return self if owner is None else owner.folder / self.name


@dataclass(frozen=True)
class Record:
    """One training's folder: ``identity.json config.yaml manifest.json metrics.jsonl checkpoints/ training.json``."""

    folder: Path

    identity = _Inside("identity.json", "What is hashed: see `dlbench.identity.training`.")
    config = _Inside("config.yaml", "The resolved configuration, as it was.")
    manifest = _Inside("manifest.json", "Where the record comes from.")
    metrics = _Inside("metrics.jsonl", "One line an epoch.")
    training = _Inside("training.json", "Written last: its presence means that the training is done.")
    failure = _Inside("failure.json", "Why the last try ended in an error.")
    tensorboard = _Inside("tensorboard", "Event files.")

    @property
    def id(self) -> str:
        """The training's identity, which is its folder's name."""
        return self.folder.name

    def settings(self) -> dict[str, Any]:
        """The configuration in today's words: see `dlbench.components.today`.

        Raises:
            RecordError: It is missing or damaged.
        """
        return _today(read_config(self.config), self.config)

    def read_manifest(self) -> dict[str, Any]:
        """What ``manifest.json`` says; data that was called embedded is called synthetic.

        Raises:
            RecordError: It is missing or damaged.
        """
        return _synthetic(read_json(self.manifest))

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
                return State(self.closed()["state"])
            except RecordError:
                return State.CORRUPT
        if not self.folder.exists():
            return State.ABSENT
        return State.FAILED if self.failure.exists() else State.INTERRUPTED

    def closed(self) -> dict[str, Any]:
        """The closing file of a training that is done, and what was hashed of it held against its files.

        Raises:
            RecordError: A file is missing or damaged, or the folder's name is not the hash of what is in it.
        """
        content = self._sealed(self.training, CORE)
        if (state := content.get("state")) not in (State.FINISHED, State.DIVERGED):
            raise RecordError(f"{self.training}: state: {state!r} is none that a training ends in")
        return content

    def _sealed(self, path: Path, names: Collection[str]) -> dict[str, Any]:
        """A file that holds the hashes of others, these and the folder's name held against it."""
        content = seal.read(path)
        if (found := _digest(self.identity, read_json(self.identity))) != self.id:
            raise RecordError(f"{self.identity}: is the identity of {found}, but lies in the folder {self.id}")
        if content.get("run") != self.id:
            raise RecordError(f"{path}: is of run {content.get('run')}, but lies in the folder {self.id}")
        if missing := [name for name in names if name not in content["files"]]:
            raise RecordError(f"{path}: has no hash of {missing[0]}")
        seal.check(self.folder, content["files"], only=names)
        return content

    def look(self) -> dict[str, Any]:
        """Hold what is read of a record in passing against its hashes; the file that holds these.

        That is the closing file (see `closed`), or else the manifest, of what was written before the first step.

        Raises:
            RecordError: A file is missing or damaged.
        """
        return self.closed() if self.training.exists() else self._sealed(self.manifest, PLAN)

    def read(self, *, whole: bool = False) -> Contents:
        """All that the record says, but for its curves and outputs; see `dlbench.records.index` for many records.

        Args:
            whole: Hold every file of it against its hash, not only those that are read, and see that the curves have a
                row an epoch.

        Raises:
            RecordError: The first that is missing or damaged.
        """
        closing = self.look()
        if whole:
            seal.check(self.folder, closing["files"])
            if closing.get("state") == State.FINISHED:
                if type(epochs := closing.get("epochs")) is not int or epochs < 1:
                    raise RecordError(f"{self.training}: epochs: {epochs!r} is no number of epochs")
                history.check(self.metrics, epochs)
        evaluations = self.evaluations()
        results = {each.id: each.check() if whole else each.read() for each in evaluations}
        settings = {each.id: each.settings() for each in evaluations}
        told = self.settings(), self.read_manifest(), read_json(self.identity)
        return Contents(*told, closing if self.training.exists() else None, settings, results)

    @property
    def _lock_path(self) -> Path:
        return self.folder.parent / ".locks" / f"{self.id}.lock"

    def is_locked(self) -> bool:
        """Whether some process is training or evaluating this record."""
        return lock.is_held(self._lock_path)

    def lock(self, kind: paths.LockKind = "flock", wait: bool = True) -> AbstractContextManager[None]:
        """Hold the record: see `dlbench.records.lock.hold`."""
        return lock.hold(self.folder, self._lock_path, kind, wait)


@dataclass(frozen=True)
class Evaluation:
    """One evaluation's folder: ``config.yaml result.json predictions.csv artifacts/``.

    In a committed record all but the result is packed into ``outputs.zip``.
    """

    folder: Path

    config = _Inside("config.yaml", "The evaluation's settings.")
    predictions = _Inside("predictions.csv", "What it predicts, as far as it keeps that.")
    artifacts = _Inside("artifacts", "Pictures and tables.")
    pack = _Inside(OUTPUTS, "These three, in a committed record.")
    result = _Inside("result.json", "Written last: its presence means that the evaluation is done.")

    @property
    def id(self) -> str:
        """The evaluation's identity, which is its folder's name."""
        return self.folder.name

    def settings(self) -> dict[str, Any]:
        """The settings in today's words: see `dlbench.components.today`.

        Raises:
            RecordError: They are missing or damaged.
        """
        return _today(self.recorded_settings(), self.config)

    def recorded_settings(self) -> dict[str, Any]:
        """The settings as they were.

        Raises:
            RecordError: They are missing or damaged.
        """
        content = self.output("config.yaml")
        if content is None:
            raise RecordError(f"{self.config}: is missing")
        return read_config(self.config, content)

    def read(self) -> dict[str, Any]:
        """The result, whose folder is named by the hash of what it says it is of, and with it the settings.

        Data that was called embedded is called synthetic.

        Raises:
            RecordError: One is missing or damaged.
        """
        result = seal.read(self.result)
        if (found := _digest(self.result, result.get("identity"))) != self.id or result.get("evaluation") != self.id:
            raise RecordError(f"{self.result}: is the evaluation {found}, but lies in the folder {self.id}")
        run = self.folder.parent.parent.name
        told = result["identity"]
        if result.get("run") != run or not isinstance(told, dict) or told.get("training") != run:
            raise RecordError(f"{self.result}: is of run {result.get('run')}, but lies in the folder {run}")
        settings = next((name for name in ("config.yaml", OUTPUTS) if name in result["files"]), None)
        if settings is None:
            raise RecordError(f"{self.result}: has no hash of config.yaml")
        seal.check(self.folder, result["files"], only=(settings,))
        return _synthetic(result)

    def check(self) -> dict[str, Any]:
        """The result, every file of the evaluation held against its hash.

        Raises:
            RecordError: The first that is missing or damaged.
        """
        result = self.read()
        seal.check(self.folder, result["files"])
        return result

    def outputs(self) -> list[str]:
        """The names of predictions and artifacts, packed or not.

        Raises:
            RecordError: The pack is damaged.
        """
        plain = [path for path in (self.predictions, *self.artifacts.glob("*")) if path.is_file()]
        names = [path.relative_to(self.folder).as_posix() for path in plain]
        if self.pack.is_file():
            with self._opened() as archive:
                names += [name for name in archive.namelist() if name != self.config.name]
        return sorted(names)

    def output(self, name: str) -> bytes | None:
        """The content of one of its files, packed or not; None if there is none.

        Raises:
            RecordError: The pack is damaged.
        """
        if (path := self.folder / name).is_file():
            return path.read_bytes()
        if not self.pack.is_file():
            return None
        with self._opened() as archive:
            if name not in archive.namelist():
                return None
            if archive.getinfo(name).file_size > LARGEST_OUTPUT:
                raise ValueError(f"{name} unpacks to more than {LARGEST_OUTPUT:,} bytes")
            return archive.read(name)

    @contextmanager
    def _opened(self) -> Iterator[zipfile.ZipFile]:
        try:
            with zipfile.ZipFile(self.pack) as archive:
                yield archive
        except (OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError, ValueError) as error:
            raise RecordError(f"{self.pack}: damaged ({error})") from error


def _digest(path: Path, told: Any) -> str:
    """The identity that a file tells; what is no JSON, such as NaN, has none."""
    try:
        return identity.digest(told)
    except ValueError as error:
        raise RecordError(f"{path}: tells no identity ({error})") from error


def _today(recorded: dict[str, Any], path: Path) -> dict[str, Any]:
    """See `dlbench.components.today`.

    Raises:
        RecordError: It says a thing twice, in old words and in new ones.
    """
    try:
        found: dict[str, Any] = components.today(recorded)
    except ConfigError as error:
        raise RecordError(f"{path}: {error}") from error
    return found


def _synthetic(content: dict[str, Any]) -> dict[str, Any]:
    """The content of a file of a record, where data may have its former name."""
    data = content.get("data")
    if isinstance(data, dict):
        content["data"] = data | {key: "synthetic" for key in ("source", "provenance") if data.get(key) == "embedded"}
    return content


class Store:
    """A folder of records."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def record(self, identity: str) -> Record:
        """The record of an identity, there or not."""
        return Record(self.folder / identity)

    def all(self) -> list[Record]:
        """Every record, by name, also one that lost a file; what was set aside is not among them."""
        told, there = ("config.yaml", "manifest.json", "training.json"), os.path.exists
        try:
            with os.scandir(self.folder) as entries:
                names = sorted(each.name for each in entries if any(there(f"{each.path}/{x}") for x in told))
        except OSError:
            return []
        return [Record(folder) for folder in map(self.folder.joinpath, names) if not is_set_aside(folder)]

    def find(self, prefix: str) -> Record:
        """The one record whose identity begins so.

        Raises:
            RecordError: None or several do.
        """
        known = {record.id: record for record in self.all()}
        matches = [identity for identity in known if identity.startswith(prefix)]
        if len(matches) == 1:
            return known[matches[0]]
        few = matches or difflib.get_close_matches(prefix, known, n=3)
        problem = "several records begin with" if matches else "no record begins with"
        named = f"; {'there are' if matches else 'nearest'}: {', '.join(few[:3])}" if few else ""
        more = f" and {len(few) - 3} more" if len(few) > 3 else ""
        every = f"python -m dlbench records list{paths.runs_option(self.folder)}"
        raise RecordError(f"{problem} {prefix!r} in {self.folder}{named}{more}; all: {every}")


def find(prefix: str, *folders: Path) -> Record:
    """The one record whose identity begins so, in the first folder that has such a one.

    Raises:
        RecordError: See `Store.find`; where no folder has one, it is the first that is spoken of.
    """
    stores = [Store(folder) for folder in folders]
    having = (store for store in stores if any(record.id.startswith(prefix) for record in store.all()))
    return next(having, stores[0]).find(prefix)
