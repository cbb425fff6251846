"""A record whose lock is taken from its holder: the holder stops before it writes, and one writer wins."""

import errno
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from bits import same_bits
from conftest import QUICK_EPOCHS, Compose, TinyIn
from die_at import arm
from filelock import FileLock
from processes import Forked, next_epoch, wait_for

from dlbench.errors import RecordError
from dlbench.evaluation.images import ImageEvaluation
from dlbench.paths import LockKind
from dlbench.records import history, seal
from dlbench.records.checkpoints import CheckpointFolder
from dlbench.records.files import atomic_path, filled, set_aside, write_json, write_text
from dlbench.records.lock import BusyError, cache_lock, hold, still_held
from dlbench.records.store import Record, State, Store
from dlbench.run import Outcome, run
from dlbench.tasks.base import Task


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


KINDS: tuple[LockKind, ...] = ("flock", "lease")


def lock_file(record: Record, kind: LockKind = "flock") -> Path:
    return record.folder.parent / ".locks" / f"{record.id}.{'lock' if kind == 'flock' else 'lease'}"


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
@pytest.mark.parametrize("kind", KINDS)
def test_who_lost_the_lock_writes_nothing(
    kind: LockKind, lose: Callable[[Path], None], write: Callable[[Record], object], record: Record
) -> None:
    with record.lock(kind):
        lose(lock_file(record, kind))
        before = content(record.folder)
        with pytest.raises(RecordError, match=rf"^record {record.id}: .*{record.id}\.(lock|lease) was deleted or .*$"):
            write(record)
        assert content(record.folder) == before


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("kind", KINDS)
def test_who_holds_the_lock_writes_and_so_does_who_needs_none(
    kind: LockKind, write: Callable[[Record], object], record: Record, tmp_path: Path
) -> None:
    shutil.copytree(record.folder, tmp_path / "elsewhere" / record.id)
    elsewhere = Record(tmp_path / "elsewhere" / record.id)
    with record.lock(kind):
        write(record)
        with elsewhere.lock(kind):
            delete_file(lock_file(record, kind))
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

    def take() -> None:
        with record.lock():
            is_held.set()
            assert may_end.wait(60)
            still_held(record.metrics)

    with ThreadPoolExecutor() as pool:
        with record.lock():
            delete_file(lock_file(record))
            taken = pool.submit(take)
            assert is_held.wait(60)
            with pytest.raises(RecordError, match="was deleted or replaced"):
                still_held(record.metrics)
        may_end.set()
        taken.result(60)


def test_who_waits_for_a_lock_whose_folder_is_deleted_still_gets_one(record: Record) -> None:
    def want() -> None:
        with record.lock():
            still_held(record.metrics)

    with ThreadPoolExecutor() as pool, record.lock():
        wanted = pool.submit(want)
        time.sleep(0.2)
        delete_folder(lock_file(record))
        wanted.result(60)


# --- two kinds -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_each_kind_keeps_the_other_out(kind: LockKind, other: LockKind, record: Record) -> None:
    def want() -> None:
        with record.lock(other, wait=False):
            pass

    assert not record.is_locked()
    with record.lock(kind), ThreadPoolExecutor() as pool:
        assert record.is_locked()
        with pytest.raises(BusyError):
            pool.submit(want).result(60)
        still_held(record.metrics)
    assert not record.is_locked()
    with record.lock(other, wait=False):
        still_held(record.metrics)


HOLD = """
import socket, sys, time
from pathlib import Path
from typing import Any
from dlbench.records import lock
socket.gethostname = lambda: sys.argv[2]
lock.LEASE_SECONDS = float(sys.argv[3])
with lock.hold(Path(sys.argv[1]), Path(sys.argv[1]).with_suffix(".lock"), "lease"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize(("host", "seconds"), [(socket.gethostname(), 60.0), ("another.example", 1.5)])
def test_a_killed_holder_loses_its_lease(
    host: str, seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once where it can be seen to be dead, else after a lease's time."""
    monkeypatch.setattr("dlbench.records.lock.LEASE_SECONDS", seconds)
    (tmp_path / "hold.py").write_text(HOLD)
    holder = Forked(str(tmp_path / "hold.py"), str(tmp_path / "aaaa"), host, str(seconds))
    assert holder.stdout.readline() == "held\n"
    path = tmp_path / "aaaa.lock"
    with pytest.raises(BusyError), hold(tmp_path / "aaaa", path, "lease", wait=False):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.communicate(timeout=60)
    began = time.monotonic()
    with hold(tmp_path / "aaaa", path, "lease"):
        waited = time.monotonic() - began
    assert waited < 20
    assert waited >= seconds or host == socket.gethostname()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_stopped_holder_loses_its_lease_and_writes_no_more(
    kind: LockKind, can_exchange: bool, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also on a network file system, which exchanges no names."""
    monkeypatch.setattr("dlbench.records.lock.LEASE_SECONDS", 1.0)

    def everywhere(name: str) -> list[Any]:
        """The modules of filelock's that have a name: it lies elsewhere in other releases."""
        found = [each for key, each in sys.modules.items() if key.startswith("filelock.") and hasattr(each, name)]
        assert found
        return found

    if not can_exchange:
        for module in everywhere("exchange_names"):
            monkeypatch.setattr(module, "exchange_names", lambda *_: False)
    # As if the whole process was stopped.
    monkeypatch.setattr(everywhere("_RefreshLoop")[0]._RefreshLoop, "run", lambda _: None)
    got = threading.Event()

    def want() -> None:
        with record.lock(kind):
            got.set()
            still_held(record.metrics)

    with record.lock("lease"):
        still_held(record.metrics)
        for module in everywhere("host_name"):
            monkeypatch.setattr(module, "host_name", lambda: "another.example")
        thread = threading.Thread(target=want)
        thread.start()
        assert got.wait(60)
        with pytest.raises(RecordError, match="was deleted or replaced while this process held it"):
            still_held(record.metrics)
        thread.join(60)


def test_a_cache_is_locked_where_there_is_no_flock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr("fcntl.flock", refused)
    with cache_lock(tmp_path / "cache.lock"):
        assert (tmp_path / "cache.lease").exists()
    assert not (tmp_path / "cache.lease").exists()


NO_FLOCK = """
#include <errno.h>
int flock(int file, int operation) { errno = ENOLCK; return -1; }
"""


SERVER = """
import os, sys
import dlbench.run
from dlbench.__main__ import main
for line in sys.stdin:
    child = os.fork()
    if not child:
        out, err, *words = line.rstrip().split("\\t")
        for number, path in ((1, out), (2, err)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        sys.argv = ["dlbench"]
        sys.exit(main(words))
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Makes one run after the other, each in a process of its own, and imports once."""


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("gcc"), reason="the file system without flock is a library compiled for the test")
def test_without_flock_runs_are_locked_by_a_lease(quick: Callable[..., list[str]], tmp_path: Path) -> None:
    (tmp_path / "no_flock.c").write_text(NO_FLOCK)
    library = tmp_path / "no_flock.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, tmp_path / "no_flock.c"], check=True)
    runs, out, err = (tmp_path / name for name in ("runs", "out", "err"))
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=pipe, stdout=pipe, text=True, env={**os.environ, "LD_PRELOAD": library}
    ) as server:
        assert server.stdin and server.stdout

        def begin(*more: str) -> int:
            """Begin the run; its process."""
            print(out, err, *quick(runs, epochs=20), *more, sep="\t", file=server.stdin, flush=True)
            return int(server.stdout.readline())

        begin()
        refused = int(server.stdout.readline()), err.read_text()
        first = begin("paths.lock=lease")
        wait_for(lambda: "epoch 2/" in out.read_text(), server)
        os.kill(first, signal.SIGKILL)
        assert int(server.stdout.readline()) == -signal.SIGKILL
        begin("paths.lock=lease")
        again = int(server.stdout.readline()), err.read_text()
        server.stdin.close()
    assert (refused[0], refused[1].count("\n")) == (1, 1)
    assert "has no flock" in refused[1]
    assert "use paths.lock=lease" in refused[1]
    assert again[0] == 0, again[1]
    assert "going on after epoch" in again[1]
    (record,) = Store(runs).all()
    record.read(whole=True)


# --- whole runs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("owner", "name", "nth"),
    [
        pytest.param(Task, "on_train_epoch_start", 1, id="before the first epoch"),
        pytest.param(Task, "on_train_epoch_start", 3, id="in the third epoch"),
        pytest.param(CheckpointFolder, "save", 2, id="between curve and checkpoint"),
        pytest.param(CheckpointFolder, "prune", QUICK_EPOCHS + 1, id="before the closing"),
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
    with monkeypatch.context() as patch:
        calls = arm(
            owner, name, nth, lambda: delete_folder(next((tmp_path / ".locks").glob("*.lock"))), put=patch.setattr
        )
        with pytest.raises(RecordError, match="was deleted or replaced"):
            run(config)
    assert len(calls) == nth
    (record,) = Store(tmp_path).all()
    assert record.evaluations() == []
    assert not record.failure.exists()
    assert same_bits(run(config), undisturbed)
    assert [row["epoch"] for row in history.read(record.metrics)] == [*range(1, QUICK_EPOCHS + 1)]
    record.read(whole=True)


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
    assert next_epoch(first.stdout).startswith("epoch 1/")
    first.send_signal(signal.SIGSTOP)
    (record,) = Store(tmp_path).all()
    lose(lock_file(record))
    second = Forked(*command)
    said = next_epoch(second.stdout)
    assert said, second.communicate()
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
    record.read(whole=True)


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
            RecordError,
            match=r"its file system has no flock, .*; use paths\.lock=lease, choose a folder on another with",
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
