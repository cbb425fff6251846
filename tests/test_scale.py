"""Many records: what is done of them grows as they do, and pages stay short; ``scale.py`` measures ten thousand."""

import cProfile
import csv
import io
import pstats
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import scale
from resealed import reseal

from dlbench import commands, paths
from dlbench.records import index, labels
from dlbench.records.store import Store
from dlbench.report import listings
from dlbench.report.checks import Verdicts
from dlbench.report.document import Grid, all_blocks
from dlbench.report.files import csv_text
from dlbench.report.render import render_html, render_latex, render_markdown
from dlbench.report.results import Evidence, Result, collect
from dlbench.report.sections import build
from tests.made import made

RESULTS = paths.experiments() / "results"
SIZES = (80, 160, 320)


def calls(work: Callable[[Path], object], folder: Path) -> int:
    """How many functions are called in the course of some work on a folder."""
    profile = cProfile.Profile()
    profile.runcall(work, folder)
    return int(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]


def written(folder: Path) -> str:
    """The report on a folder's records, which no published report is held against, in all that it is written as."""
    verdicts = Verdicts(Evidence({}, collect([Store(folder)])))
    document = build(verdicts)
    return "".join([csv_text(verdicts), *(render(document) for render in (render_html, render_latex, render_markdown))])


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Folders of ever more records, a tenth of them diverged; times of files are believed at once."""
    monkeypatch.setenv("DLBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(index, "JUST_NOW", 0)
    source = next(each for each in Store(RESULTS).all() if each.read_manifest()["experiment"] == "cnn_vanilla")
    made_so_far = tmp_path / "all"
    made_so_far.mkdir()
    found = []
    for number, record in enumerate(scale.copies([source], made_so_far, max(SIZES)), start=1):
        if number % 10 == 0:
            shutil.rmtree(record.folder / "evaluations")
            reseal(record, state="diverged", step=1)
        if number in SIZES:
            found.append(Path(shutil.copytree(made_so_far, tmp_path / str(number))))
    return found


@pytest.mark.slow
def test_what_is_done_grows_no_faster_than_the_records(
    folders: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(listings, "MOST_ROWS", 10_000)  # else later folders would have no more to write than earlier
    for work in (written, lambda folder: commands.call("records", ["list", "--runs", str(folder)])):
        work(folders[0])  # what is asked once of the code and of configurations
        for _ in ("read", "from the index"):
            few, more, many = (calls(work, folder) for folder in folders)
            # Of a quadratic part the second step has four times what the first has, of a linear one twice.
            assert 0 < many - more < 2.4 * (more - few)
    assert capsys.readouterr().out.count("diverged") >= sum(SIZES) // 10


@pytest.mark.slow
def test_the_words_of_a_configuration_are_found_once_for_all_seeds(
    folders: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    changed, found = labels._changed, []

    def counted(*arguments: object) -> object:
        found.append(arguments)
        return changed(*arguments)  # type: ignore[arg-type]

    labels._changed_already.cache_clear()
    monkeypatch.setattr(labels, "_changed", counted)
    collection = collect([Store(folders[-1])])
    assert len(collection.results) + len(collection.diverged) == SIZES[-1]
    assert len(found) == SIZES[-1] / scale.SEEDS


def many(count: int) -> Verdicts:
    """The verdicts on results of so many configurations, each on two seeds."""
    chance = random.Random(0)
    found: list[Result] = []
    for number in range(1, count + 1):
        for seed in (42, 43):
            metrics = {"test/accuracy": chance.random(), "model/parameters": 7}
            found.append(made("cnn_vanilla", f"optimizer.lr={number}e-4", seed=seed, metrics=metrics))
    collection = collect([])
    collection.results += found
    return Verdicts(Evidence({}, collection))


def test_a_page_has_the_first_rows_and_says_so_and_the_table_of_numbers_has_them_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def grids(verdicts: Verdicts) -> dict[str, Grid]:
        return {block.id: block for block in all_blocks(build(verdicts)) if isinstance(block, Grid)}

    verdicts = many(5)
    whole = grids(verdicts)
    monkeypatch.setattr(listings, "MOST_ROWS", 5)
    assert grids(verdicts) == whole
    monkeypatch.setattr(listings, "MOST_ROWS", 3)
    cut = grids(verdicts)
    for id in ("board-intel-accuracy", "costs-grid", "runs-grid"):
        assert cut[id].rows == whole[id].rows[:3]
        assert len(whole[id].rows) == 5
    for id in ("board-intel-accuracy", "costs-grid"):
        assert (cut[id].note or "").startswith("The first 3 of 5 rows; every run and its metrics: numbers.csv.")
    assert cut["runs-grid"].title == "10 evaluations, of which 6 are told here, and all in numbers.csv"
    rows = list(csv.DictReader(io.StringIO(csv_text(verdicts))))
    assert len({row["run"] for row in rows if row["run"]}) == 10
