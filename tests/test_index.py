"""The index of records: what it keeps, when it reads anew, and that nothing depends on it."""

import os
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dlbench import files, paths
from dlbench.errors import RecordError
from dlbench.records import index
from dlbench.records.index import Index
from dlbench.records.store import Contents, Record, Store
from dlbench.records.summary import summarise
from dlbench.report.results import collect
from tests.resealed import copied, reseal

RESULTS = paths.experiments() / "results"

FILES = (
    "training.json",
    "metrics.jsonl",
    "identity.json",
    "config.yaml",
    "manifest.json",
    "result.json",
    "outputs.zip",
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own; files count as old enough to be known by their times."""
    monkeypatch.setenv("DLBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(index, "JUST_NOW", 0)
    return tmp_path / "cache"


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """A committed record, copied."""
    source = Store(RESULTS).all()[2]
    return copied(source, tmp_path / "runs")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The records whose files were read, each time."""
    found: list[str] = []
    read = Record.read

    def counted(record: Record, *, whole: bool = False) -> Contents:
        found.append(record.id)
        return read(record, whole=whole)

    monkeypatch.setattr(Record, "read", counted)
    return found


def contents(record: Record, *, whole: bool = False) -> Contents:
    with Index() as found:
        return found.read(record, whole=whole)


def test_a_record_is_read_once_and_then_as_it_was(record: Record, reads: list[str]) -> None:
    first = contents(record)
    assert contents(record) == first == record.read()
    assert reads == [record.id, record.id]  # by the index, and just now
    assert first.results.keys() == {evaluation.id for evaluation in record.evaluations()}


def test_what_was_held_against_some_hashes_is_not_taken_for_whole(record: Record, reads: list[str]) -> None:
    for whole in (False, True, True, False):
        contents(record, whole=whole)
    assert len(reads) == 2


@pytest.mark.parametrize("place", ["components.json", "components.py", "identity.py", "records/store.py"])
def test_other_code_reads_anew(
    record: Record, reads: list[str], place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = Path(shutil.copytree(files.PACKAGE, tmp_path / "package"))
    monkeypatch.setattr(files, "PACKAGE", package)
    for number in (1, 2):
        files.code_hash.cache_clear()
        contents(record)
        contents(record)
        assert len(reads) == number
        with (package / place).open("a") as file:
            file.write("\n")
    files.code_hash.cache_clear()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("keeps_time", [False, True])
def test_any_change_to_a_file_is_noticed(record: Record, name: str, keeps_time: bool) -> None:
    contents(record, whole=True)
    (path,) = record.folder.rglob(name)
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1  # of the same size
    path.write_bytes(content)
    if keeps_time:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(RecordError):
        contents(record, whole=True)


def test_an_evaluation_that_comes_or_goes_is_noticed(record: Record) -> None:
    (evaluation,) = record.evaluations()
    assert contents(record).results.keys() == {evaluation.id}
    away = evaluation.folder.rename(record.folder.parent / "away")
    assert not contents(record).results
    away.rename(evaluation.folder)
    assert contents(record).results.keys() == {evaluation.id}


def test_what_changed_just_now_is_read_again(record: Record, reads: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "JUST_NOW", 3_600_000_000_000)
    for _ in range(2):
        contents(record)
    assert len(reads) == 2


def test_damage_and_unfinished_trainings_are_never_kept(record: Record, reads: list[str]) -> None:
    training = record.training.rename(record.folder.parent / "training.json")
    for _ in range(2):
        assert contents(record).closing is None
    training.rename(record.training)
    record.metrics.write_text("")
    for _ in range(2):
        with pytest.raises(RecordError, match=r"metrics\.jsonl"):
            contents(record)
    assert len(reads) == 4


def test_a_folder_that_changes_while_it_is_walked_is_read_plainly(
    record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, scandir = record.read(), os.scandir

    def gone(folder: str | Path) -> object:
        if isinstance(folder, str):  # of the index, not of pathlib
            raise FileNotFoundError
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", gone)
    for _ in range(2):
        assert contents(record) == expected


def test_a_folder_whose_name_is_no_text_and_one_that_cannot_be_reached_do_no_harm(
    record: Record, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = Record(Path(os.fsdecode(os.fsencode(record.folder.parent) + b"/\xff")) / record.id)
    shutil.copytree(record.folder, odd.folder)
    assert contents(odd) == contents(record)

    def unreachable(path: Path) -> bool:
        raise PermissionError(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "exists", unreachable)
        assert index._is_gone(os.fsencode(record.folder)) is False
    with sqlite3.connect(cache / "records.sqlite") as connection:
        assert connection.execute("SELECT count(*) FROM record").fetchone() == (2,)


@pytest.mark.parametrize("trouble", ["no cache", "no database", "no such table", "other content", "damage"])
def test_without_a_usable_index_records_are_read(
    record: Record, cache: Path, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = contents(record)
    database = cache / "records.sqlite"
    if trouble == "no cache":
        cache.rename(cache.with_name("moved"))
        cache.write_text("a file")
    elif trouble == "no database":
        database.write_bytes(b"no database at all" * 100)
    elif trouble == "damage":
        content = bytearray(database.read_bytes())
        content[4096:] = b"\xff" * (len(content) - 4096)
        database.write_bytes(content)
    else:
        with sqlite3.connect(database) as connection:
            change = (
                "ALTER TABLE record RENAME TO other" if trouble == "no such table" else "UPDATE record SET contents=7"
            )
            connection.execute(change)
    for _ in range(2):
        assert contents(record) == expected
    if trouble in ("no database", "damage"):  # it was made anew
        with sqlite3.connect(database) as connection:
            assert connection.execute("SELECT count(*) FROM record").fetchone() == (1,)


def test_records_that_are_gone_leave_the_index(record: Record, cache: Path) -> None:
    contents(record)
    later = copied(record, record.folder.parent / "later")
    record.folder.rename(record.folder.with_name("away"))
    contents(later)
    with sqlite3.connect(cache / "records.sqlite") as connection:
        (kept,) = connection.execute("SELECT folder FROM record").fetchall()
    assert kept == (os.fsencode(later.folder),)


def test_several_may_use_it_at_once(record: Record, cache: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert [*pool.map(contents, [record] * 8)] == [record.read()] * 8


def test_lists_and_results_are_the_same_with_and_without(record: Record) -> None:
    store = Store(record.folder.parent)
    plain = summarise(record)
    collected = [collect([store]) for _ in range(2)]
    with Index() as found:
        assert summarise(record, found.read) == plain
    assert collected[0] == collected[1]
    assert collected[0].results


def test_curves_that_lack_an_epoch_are_named_where_all_is_held(record: Record) -> None:
    record.metrics.write_text("".join(record.metrics.read_text().splitlines(keepends=True)[:-1]))
    record = reseal(record)
    assert contents(record).closing
    with pytest.raises(RecordError, match=r"metrics.jsonl: holds other epochs than 1 to \d+"):
        contents(record, whole=True)
