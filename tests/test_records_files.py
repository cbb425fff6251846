"""Records on disk: files whole or absent, checkpoints that know their own damage, states, and who may write."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlbench import identity
from dlbench.errors import RecordError
from dlbench.files import as_cell, digest, from_cell
from dlbench.records import seal
from dlbench.records.checkpoints import CheckpointFolder
from dlbench.records.files import atomic_path, read_config, read_json, set_aside, write_json, write_text
from dlbench.records.store import Record, State, Store

Holder = Callable[[Record], AbstractContextManager[object]]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_file_is_replaced_as_a_whole_and_readable_by_others(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.txt"
    write_text(path, "old")
    write_text(path, "new: ÄÖÜ")
    assert path.read_text(encoding="utf-8") == "new: ÄÖÜ"
    assert names(path.parent) == ["a.txt"]
    (ordinary := tmp_path / "ordinary").touch()
    assert path.stat().st_mode == ordinary.stat().st_mode


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_write_leaves_the_old_content_and_no_litter(tmp_path: Path, error: type) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(error), atomic_path(path) as temporary:
        temporary.write_text("half of the n")
        raise error
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_readers_never_see_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    sizes = range(0, 60_000, 3_000)
    write_json(path, {"values": []})

    def write() -> None:
        for size in sizes:
            write_json(path, {"values": list(range(size))})

    seen = set()
    with ThreadPoolExecutor() as pool:
        writing = pool.submit(write)
        while not writing.done():
            seen.add(len(read_json(path)["values"]))  # half a file would be no JSON
        writing.result()
    assert len(seen) > 1
    assert seen <= set(sizes)


def test_a_full_disk_and_a_folder_that_cannot_be_are_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RecordError, match=r"cannot write .*file/a.txt: .*; choose another folder with paths.runs="):
        write_text(tmp_path / "file" / "a.txt", "text")
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here to stand for a full disk")
    path = tmp_path / "b.txt"
    with pytest.raises(RecordError, match=r"cannot write .*b.txt: No space left on device; free some space"):  # noqa: SIM117
        with atomic_path(path):
            Path("/dev/full").write_text("text")
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_json_number_is_refused_before_anything_is_written(tmp_path: Path, value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"loss": value})
    assert names(tmp_path) == []


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "a"
    os.mkfifo(path)
    for read in (read_json, read_config):
        with pytest.raises(RecordError, match=re.escape(f"{path}: cannot be read")):
            read(path)


@pytest.mark.parametrize("content", [None, b"", b'{"state": "fin', b"[1, 2]", b"\xff\xfe{}"])
def test_unreadable_json_is_named_in_one_line(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecordError, match=re.escape(f"{path}: ")) as caught:
        read_json(path)
    assert "\n" not in str(caught.value)


def test_what_is_set_aside_is_numbered_and_kept(tmp_path: Path) -> None:
    for content in ("first", "second", "third"):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "a").write_text(content)
        set_aside(tmp_path / "run")
    assert names(tmp_path) == ["run.aside-1", "run.aside-2", "run.aside-3"]
    assert (tmp_path / "run.aside-2" / "a").read_text() == "second"
    with pytest.raises(RecordError, match=r"cannot set .*run aside: .*; move it by hand"):
        set_aside(tmp_path / "run")


# --- checkpoints -----------------------------------------------------------------------------------------------------


@pytest.fixture
def checkpoints(tmp_path: Path) -> CheckpointFolder:
    """Five checkpoints, and what a killed process may have left between them."""
    folder = CheckpointFolder(tmp_path / "checkpoints")
    for epoch in (1, 2, 3, 4, 5):
        folder.save(epoch, lambda path, epoch=epoch: path.write_text(f"state after epoch {epoch}"))  # type: ignore[misc]
    (folder.folder / ".epoch-0006.abcdefgh.tmp").write_text("half a st")
    (folder.folder / "epoch-0006.tmp.ckpt").write_text("half a st")
    return folder


def damage(folder: CheckpointFolder, epoch: int) -> Path:
    """Change one bit."""
    path = next(checkpoint.path for checkpoint in folder.all() if checkpoint.epoch == epoch)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    return path


def test_a_checkpoint_is_named_after_its_epoch_and_its_content(checkpoints: CheckpointFolder) -> None:
    assert [checkpoint.epoch for checkpoint in checkpoints.all()] == [1, 2, 3, 4, 5]
    assert checkpoints.whole() == checkpoints.all()
    for checkpoint in checkpoints.all():
        assert checkpoint.path.read_text() == f"state after epoch {checkpoint.epoch}"
        assert checkpoint.path.name == f"epoch-{checkpoint.epoch:04d}.{digest(checkpoint.path)[:16]}.ckpt"


def test_a_save_that_fails_leaves_nothing(checkpoints: CheckpointFolder) -> None:
    before = names(checkpoints.folder)

    def write(path: Path) -> None:
        path.write_text("half a st")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(6, write)
    assert names(checkpoints.folder) == before


@pytest.mark.parametrize("epoch", [1, 3, 5])
def test_a_damaged_checkpoint_is_set_aside_and_not_deleted(checkpoints: CheckpointFolder, epoch: int) -> None:
    path = damage(checkpoints, epoch)
    content = path.read_bytes()
    assert [checkpoint.epoch for checkpoint in checkpoints.whole()] == [e for e in (1, 2, 3, 4, 5) if e != epoch]
    assert path.with_name(f"{path.name}.aside-1").read_bytes() == content
    assert not path.exists()


@pytest.mark.parametrize(
    ("best", "keep", "left"), [(2, 2, [2, 4, 5]), (5, 2, [4, 5]), (1, 1, [1, 5]), (3, 9, [1, 2, 3, 4, 5])]
)
def test_the_newest_and_the_best_are_kept(checkpoints: CheckpointFolder, best: int, keep: int, left: list[int]) -> None:
    checkpoints.prune({best}, keep)
    assert [checkpoint.epoch for checkpoint in checkpoints.whole()] == left


def test_the_best_before_the_best_can_be_kept_too(checkpoints: CheckpointFolder) -> None:
    checkpoints.prune({1, 5}, keep=2)
    assert [checkpoint.epoch for checkpoint in checkpoints.whole()] == [1, 4, 5]


def test_what_is_newer_than_where_training_goes_on_is_set_aside(checkpoints: CheckpointFolder) -> None:
    checkpoints.discard_after(3)
    assert [checkpoint.epoch for checkpoint in checkpoints.whole()] == [1, 2, 3]
    assert len([name for name in names(checkpoints.folder) if name.endswith(".ckpt.aside-1")]) == 2


def test_a_run_without_checkpoints_has_none(tmp_path: Path) -> None:
    assert CheckpointFolder(tmp_path / "nowhere").whole() == []


# --- states ----------------------------------------------------------------------------------------------------------


MEANING = {"seed": 42}
"""What the record's name is the hash of."""


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return Store(tmp_path / "runs").record(identity.digest(MEANING))


def begin(record: Record) -> None:
    write_text(record.config, "seed: 42\n")


def close(record: Record, **content: Any) -> None:
    """Write all files of a training that is done."""
    begin(record)
    write_json(record.identity, MEANING)
    write_json(record.manifest, {"run": record.id})
    write_text(record.metrics, '{"epoch": 1}\n')
    seal.close(record.training, {"run": record.id, **content}, seal.hashes(record.folder, without=("training.json",)))


@pytest.mark.parametrize(
    ("file", "content", "state"),
    [
        ("config.yaml", "seed: 42", State.INTERRUPTED),
        ("failure.json", '{"error": "ValueError"}', State.FAILED),
        ("training.json", '{"schema": 1, "state": "finished"}', State.CORRUPT),
        ("training.json", '{"schema": 2, "state": "finished"}', State.CORRUPT),
        ("training.json", '{"schema": 2, "state": "fin', State.CORRUPT),
        ("training.json", '{"schema": 99, "state": "finished"}', State.CORRUPT),
        ("training.json", "", State.CORRUPT),
    ],
)
def test_a_folder_tells_its_state(record: Record, file: str, content: str, state: State) -> None:
    assert record.state() == State.ABSENT
    begin(record)
    write_text(record.folder / file, content)
    assert record.state() == record.state_on_disk() == state


@pytest.mark.parametrize(
    ("content", "state"),
    [
        ({"state": "finished"}, State.FINISHED),
        ({"state": "diverged"}, State.DIVERGED),
        ({"state": "perfect"}, State.CORRUPT),
        ({}, State.CORRUPT),
        ({"state": "finished", "run": "ba9876543210"}, State.CORRUPT),
    ],
)
def test_a_closed_training_tells_its_state(record: Record, content: dict[str, str], state: State) -> None:
    close(record, **content)
    assert record.state() == record.state_on_disk() == state


@pytest.mark.parametrize("file", ["identity.json", "config.yaml", "manifest.json", "metrics.jsonl"])
@pytest.mark.parametrize("content", [None, "", '{"seed": 43}'])
def test_a_closed_training_whose_files_are_not_those_recorded_is_corrupt(
    record: Record, file: str, content: str | None
) -> None:
    close(record, state="finished")
    (record.folder / file).unlink()
    if content is not None:
        (record.folder / file).write_text(content)
    assert record.state() == record.state_on_disk() == State.CORRUPT
    with pytest.raises(RecordError, match=re.escape(f"{record.folder / file}: ")):
        record.closed()


@contextmanager
def held_by_another_process(record: Record) -> Iterator[subprocess.Popen[str]]:
    code = (
        "import sys; from pathlib import Path; from dlbench.records.store import Record\n"
        "with Record(Path(sys.argv[1])).lock(): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(record.folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@contextmanager
def held_by_another_thread(record: Record) -> Iterator[None]:
    is_held, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        with record.lock():
            is_held.set()
            may_end.wait(60)

    with ThreadPoolExecutor() as pool:
        holding = pool.submit(hold)
        try:
            assert is_held.wait(60)
            yield
        finally:
            may_end.set()
        holding.result()


@pytest.mark.parametrize("hold", [held_by_another_process, held_by_another_thread])
def test_an_unfinished_run_that_is_held_is_running(record: Record, hold: Holder) -> None:
    begin(record)
    with hold(record):
        assert record.state() == State.RUNNING
        assert record.state_on_disk() == State.INTERRUPTED
        close(record, state="finished")
        assert record.state() == State.FINISHED
        record.training.unlink()
    assert record.state() == State.INTERRUPTED


def test_a_killed_holder_lets_go(record: Record) -> None:
    begin(record)
    with held_by_another_process(record) as process:
        process.kill()
        process.wait()
        with record.lock():
            assert record.state_on_disk() == State.INTERRUPTED


def test_who_wants_a_held_record_waits(record: Record) -> None:
    order: list[str] = []

    def want() -> None:
        with record.lock():
            order.append("second")

    with ThreadPoolExecutor() as pool, record.lock():
        pool.submit(want)
        time.sleep(0.2)
        order.append("first")
    assert order == ["first", "second"]


def test_runs_that_cannot_be_written_are_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    record = Store(tmp_path / "file").record("0123456789ab")
    with pytest.raises(RecordError, match=r"cannot write to .*file: .*choose another .* paths.runs=FOLDER"):  # noqa: SIM117
        with record.lock():
            pass


# --- the store -------------------------------------------------------------------------------------------------------


def test_records_are_found_by_the_beginning_of_their_name(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for name in ("aaaa11112222", "aabb11112222", "cccc11112222"):
        begin(store.record(name))
    set_aside(store.record("cccc11112222").folder)
    with store.record("aaaa11112222").lock():
        pass
    assert [record.id for record in store.all()] == ["aaaa11112222", "aabb11112222"]
    assert store.find("aab").id == "aabb11112222"
    assert store.find("aaaa11112222").id == "aaaa11112222"
    with pytest.raises(RecordError, match=r"several records begin with 'aa' in .*: aaaa11112222, aabb11112222; all: "):
        store.find("aa")
    with pytest.raises(
        RecordError, match=r"no record begins with 'cc' in \S+; all: python -m dlbench records list --runs \S+$"
    ):
        store.find("cc")
    with pytest.raises(RecordError, match=r"no record begins with 'x' in \S+; all: "):
        Store(tmp_path / "nowhere").find("x")
    with pytest.raises(RecordError, match=r"no record begins with 'aaab11112222' in \S+; nearest: aabb11112222, "):
        store.find("aaab11112222")
    for number in range(4):
        begin(store.record(f"dddd1111222{number}"))
    with pytest.raises(RecordError, match=r"there are: (dddd1111222\d, ){2}dddd11112222 and 1 more; all: "):
        store.find("dd")


def test_an_evaluation_counts_once_it_is_done_and_until_it_is_set_aside(record: Record) -> None:
    begin(record)
    for name in ("aaaa", "bbbb", "cccc"):
        write_text(record.evaluation(name).folder / "config.yaml", "max_shift: 4\n")
    for name in ("aaaa", "bbbb"):
        seal.close(record.evaluation(name).result, {"metrics": {}}, {})
    assert [evaluation.id for evaluation in record.evaluations()] == ["aaaa", "bbbb"]
    set_aside(record.evaluation("aaaa").folder)
    assert [evaluation.id for evaluation in record.evaluations()] == ["bbbb"]


@given(
    content=st.dictionaries(
        st.text().filter(lambda key: key not in ("schema", "files", "seal")),
        st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
    )
)
def test_a_closing_file_is_read_as_it_was_written(
    content: dict[str, object], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "closing.json"
    seal.close(path, content, {})
    found = seal.read(path)
    assert len(found.pop("seal")) == 64
    assert found == {"schema": 2, **content, "files": {}}


# --- cells of CSV files ----------------------------------------------------------------------------------------------


@given(text=st.text(st.sampled_from("=+-@\t\r\n\uff1d\uff0d'1.e a"), max_size=6))
def test_no_cell_is_a_formula_and_every_text_comes_back(text: str) -> None:
    cell = as_cell(text)
    assert from_cell(cell) == text
    if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0d")):
        float(cell)


@pytest.mark.parametrize("value", [-1, 0.5, "-1", "-1.5e-3", "+.5", None, "a=b", "'a"])
def test_numbers_and_plain_texts_stay_as_they_are(value: object) -> None:
    assert as_cell(value) == value
