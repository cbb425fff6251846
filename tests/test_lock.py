"""A record whose lock is taken from its holder: the holder stops before it writes, and one writer wins."""

import errno
import functools
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bits import same_bits
from filelock import FileLock
from omegaconf import DictConfig
from processes import Forked

from dlbench.errors import RecordError
from dlbench.evaluation.images import ImageEvaluation
from dlbench.records import history, seal
from dlbench.records.checkpoints import CheckpointFolder
from dlbench.records.files import atomic_path, filled, set_aside, write_json, write_text
from dlbench.records.lock import still_held
from dlbench.records.store import Record, State, Store
from dlbench.run import Outcome, run
from dlbench.tasks.base import Task

Compose = Callable[..., DictConfig]
TinyIn = Callable[..., list[str]]
EPOCHS = 4


def delete_file(path: Path) -> None:
    path.unlink()


def delete_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


def replace_file(path: Path) -> None:
    new = path.with_suffix(".new")
    new.touch()
    new.replace(path)


def replace_file_after_deleting(path: Path) -> None:
    path.unlink()
    path.touch()


def replace_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name(".locks-before"))
    path.parent.mkdir()
    path.touch()


def replace_by_file_in_place_of_the_folder(path: Path) -> None:
    shutil.rmtree(path.parent)
    path.parent.touch()


LOSSES = (delete_file, delete_folder, replace_file, replace_file_after_deleting, replace_folder)


def lock_file(record: Record) -> Path:
    (path,) = (record.folder.parent / ".locks").glob(f"{record.id}.lock")
    return path


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """An unfinished record of two epochs."""
    record = Store(tmp_path).record("0123456789ab")
    write_text(record.config, "seed: 1\n")
    for epoch in (1, 2, 3):
        history.append(record.metrics, {"epoch": epoch})
        record.checkpoints.save(epoch, lambda path: path.write_bytes(b"weights"))
    return record


def fill(record: Record) -> None:
    with filled(record.evaluation("aaaa").folder) as folder:
        (folder / "predictions.csv").write_text("index\n")


WRITES: dict[str, Callable[[Record], object]] = {
    "a row of the curves": lambda record: history.append(record.metrics, {"epoch": 4}),
    "curves cut back": lambda record: history.cut_back(record.metrics, 1),
    "a checkpoint": lambda record: record.checkpoints.save(4, lambda path: path.write_bytes(b"other")),
    "checkpoints discarded": lambda record: record.checkpoints.discard_after(1),
    "checkpoints pruned": lambda record: record.checkpoints.prune(set(), keep=1),
    "the plan": lambda record: write_json(record.manifest, {}),
    "the closing file": lambda record: seal.close(record.training, {}, {}),
    "an evaluation": fill,
    "the record set aside": lambda record: set_aside(record.folder),
}


def content(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("lose", [*LOSSES, replace_by_file_in_place_of_the_folder])
def test_who_lost_the_lock_writes_nothing(
    lose: Callable[[Path], None], write: Callable[[Record], object], record: Record
) -> None:
    with record.lock():
        lose(lock_file(record))
        before = content(record.folder)
        with pytest.raises(RecordError, match=rf"^record {record.id}: .*{record.id}\.lock was deleted or replaced .*$"):
            write(record)
        assert content(record.folder) == before


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_who_holds_the_lock_writes_and_so_does_who_needs_none(
    write: Callable[[Record], object], record: Record, tmp_path: Path
) -> None:
    shutil.copytree(record.folder, tmp_path / "elsewhere" / record.id)
    elsewhere = Record(tmp_path / "elsewhere" / record.id)
    with record.lock():
        write(record)
        with elsewhere.lock():
            delete_file(lock_file(record))
            write(elsewhere)  # the loss of one record is not that of another


def test_a_lock_lost_while_a_file_is_written_is_noticed_before_it_gets_its_name(record: Record) -> None:
    with record.lock(), pytest.raises(RecordError, match="was deleted or replaced"), atomic_path(record.manifest):
        delete_file(lock_file(record))
    assert not record.manifest.exists()
    folder = CheckpointFolder(record.folder / "others")
    with record.lock(), pytest.raises(RecordError, match="was deleted or replaced"):
        folder.save(1, lambda _: delete_file(lock_file(record)))
    assert not list(folder.folder.iterdir())
    with record.lock(), pytest.raises(RecordError, match="was deleted or replaced"):  # noqa: SIM117
        with filled(record.evaluation("aaaa").folder) as made:
            (made / "predictions.csv").touch()
            delete_file(lock_file(record))
    assert not list(record.evaluation("aaaa").folder.iterdir())


def test_a_lock_is_held_anew_after_it_was_lost(record: Record) -> None:
    with record.lock():
        delete_folder(lock_file(record))
    with record.lock():
        still_held(record.metrics)
        history.append(record.metrics, {"epoch": 4})
    assert not record.is_locked()


def test_another_thread_that_takes_a_lost_lock_holds_it_alone(record: Record) -> None:
    may_end, is_held = threading.Event(), threading.Event()
    problems: list[Exception] = []

    def take() -> None:
        try:
            with record.lock():
                is_held.set()
                assert may_end.wait(60)
                still_held(record.metrics)
        except Exception as error:
            problems.append(error)

    thread = threading.Thread(target=take)
    with record.lock():
        delete_file(lock_file(record))
        thread.start()
        assert is_held.wait(60)
        with pytest.raises(RecordError, match="was deleted or replaced"):
            still_held(record.metrics)
    may_end.set()
    thread.join(60)
    assert problems == []


def test_who_waits_for_a_lock_whose_folder_is_deleted_still_gets_one(record: Record) -> None:
    got: list[bool] = []

    def want() -> None:
        with record.lock():
            still_held(record.metrics)
            got.append(True)

    with record.lock():
        thread = threading.Thread(target=want)
        thread.start()
        time.sleep(0.2)
        delete_folder(lock_file(record))
        thread.join(60)
    assert got == [True]


# --- whole runs ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quick(tiny_in: TinyIn) -> Callable[..., list[str]]:
    shown = ["trainer.progress=lines", "evaluation.max_shift=0"]
    return lambda runs, epochs=EPOCHS: ["+experiment=cnn_bn_gap", *tiny_in(runs, epochs=epochs), *shown]


@pytest.fixture(scope="module")
def undisturbed(quick: Callable[..., list[str]], compose: Compose, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run(compose(*quick(tmp_path_factory.mktemp("undisturbed"))))


@pytest.mark.parametrize(
    ("owner", "name", "nth"),
    [
        pytest.param(Task, "on_train_epoch_start", 1, id="before the first epoch"),
        pytest.param(Task, "on_train_epoch_start", 3, id="in the third epoch"),
        pytest.param(CheckpointFolder, "save", 2, id="between curve and checkpoint"),
        pytest.param(CheckpointFolder, "prune", EPOCHS + 1, id="before the closing"),
        pytest.param(ImageEvaluation, "__call__", 1, id="in the evaluation"),
        pytest.param(ImageEvaluation, "write", 1, id="while the evaluation is written"),
    ],
)
def test_a_run_that_lost_its_lock_stops_and_the_same_command_goes_on(  # noqa: PLR0917
    owner: type,
    name: str,
    nth: int,
    undisturbed: Outcome,
    quick: Callable[..., list[str]],
    compose: Compose,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = compose(*quick(tmp_path))
    original, calls = getattr(owner, name), []

    @functools.wraps(original)
    def losing(*arguments: Any, **keywords: Any) -> Any:
        calls.append(name)
        if len(calls) == nth:
            delete_folder(next((tmp_path / ".locks").glob("*.lock")))
        return original(*arguments, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, losing)
        with pytest.raises(RecordError, match="was deleted or replaced"):
            run(config)
    assert len(calls) == nth
    (record,) = Store(tmp_path).all()
    assert record.evaluations() == []
    assert not record.failure.exists()
    assert same_bits(run(config), undisturbed)
    assert [row["epoch"] for row in history.read(record.metrics)] == [*range(1, EPOCHS + 1)]
    record.check()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lose", "meanwhile"),
    [(delete_file, "both train"), (delete_folder, "the second ends"), (replace_file, "both train")],
)
def test_of_two_trainings_after_a_lost_lock_one_wins(
    lose: Callable[[Path], None], meanwhile: str, quick: Callable[..., list[str]], tmp_path: Path
) -> None:
    command = ("-m", "dlbench", *quick(tmp_path, epochs=12))
    first = Forked(*command)
    assert first.stdout.readline().startswith("epoch 1/")
    first.send_signal(signal.SIGSTOP)
    (record,) = Store(tmp_path).all()
    lose(lock_file(record))
    second = Forked(*command)
    said = second.stdout.readline()
    assert said.startswith("epoch "), second.communicate()
    if meanwhile == "the second ends":
        said += second.communicate(timeout=120)[0]
    first.send_signal(signal.SIGCONT)
    errors = first.communicate(timeout=120)[1]
    second.communicate(timeout=120)
    assert first.returncode == 1, errors
    (line,) = errors.splitlines()
    assert re.match(rf"dlbench: record {record.id}: .*\.lock was deleted or replaced while this process held it", line)
    assert second.returncode == 0
    assert record.state() == State.FINISHED
    assert [row["epoch"] for row in history.read(record.metrics)] == [*range(1, 13)]
    record.check()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL])
def test_a_file_system_without_flock_is_named_and_leaves_no_lock_behind(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that exists in place of a lock would outlive a killed holder, and keep everybody out for good."""

    def refused(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refused)
    record = Store(tmp_path).record("a" * 12)
    with (
        pytest.raises(
            RecordError, match=r"its file system has no flock, .*; choose a folder on another with paths\.runs"
        ),
        record.lock(),
    ):
        pass
    assert not record.is_locked()
    monkeypatch.undo()
    with record.lock():
        assert record.is_locked()


def test_a_finished_run_is_looked_up_where_nothing_can_be_locked(
    compose: Compose, tiny_in: TinyIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = ["+experiment=cnn_bn_gap", "evaluation.max_shift=0", *tiny_in(tmp_path, epochs=1)]
    first = run(compose(*overrides))
    monkeypatch.setattr(FileLock, "acquire", lambda *_, **__: (_ for _ in ()).throw(OSError(errno.EROFS, "read-only")))
    again = run(compose(*overrides))
    assert (again.trained, again.result) == (False, first.result)
    for change in ("seed=43", "rerun=always", "evaluation.max_shift=1"):
        with pytest.raises(RecordError, match=r"cannot write to .*: read-only; choose another folder"):
            run(compose(*overrides, change))
