"""The command: what it writes, prints and refuses; and that TensorBoard tells the same."""

import csv
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from board import accumulated

from dlbench import commands
from dlbench.records.store import Store
from dlbench.report.checks import Verdicts
from dlbench.report.files import MARKS, main_table
from dlbench.report.results import Collection, Evidence
from dlbench.report.schema import load_all
from dlbench.tensorboard.app import View

DOCS = Path(__file__).parent.parent / "docs"


def report(*words: str) -> int:
    """The command."""
    return commands.call("report", words)


def test_without_running_the_report_is_written_from_the_records_at_hand(written: SimpleNamespace) -> None:
    folder = written.folder
    assert (written.code, written.err) == (0, "")
    assert "Published against reproduced" in written.out
    assert f"the whole report: {folder / 'index.html'}" in written.out
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    figures = {name for name in names if name.startswith("figures/")}
    assert names - figures == {"index.html", "report.md", "tables.tex", "numbers.csv"}
    page = (folder / "index.html").read_text(encoding="utf-8")
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    for name in figures:
        ElementTree.parse(folder / name)
        assert f'id="{Path(name).stem}"' in markdown
        assert f'id="{Path(name).stem}"' in page
    assert not written.runs.exists()


@pytest.mark.slow
def test_the_same_records_give_the_same_bytes(
    written: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DLBENCH_CACHE", str(tmp_path / "cache"))  # figures are drawn again
    report("--profile", "none", "--runs", str(tmp_path / "runs"), "--output", str(tmp_path / "report"))
    one, other = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}
        for folder in (written.folder, tmp_path / "report")
    )
    assert one == other


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are no committed records, so that there is little to write."""
    nothing = Verdicts(Evidence(load_all(), Collection([])))
    monkeypatch.setattr("dlbench.commands.report.judge", lambda *_: nothing)


@pytest.mark.usefixtures("quick")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert (
        report("--profile", "none", "--runs", str(tmp_path / "runs"), "--output", str(tmp_path / "file" / "report"))
        == 1
    )
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "file") in line


def test_an_unknown_profile_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert report("--profile", "fast") == 2
    assert "quick" in capsys.readouterr().err


def test_tensorboard_and_report_agree_in_names_and_numbers(
    written: SimpleNamespace, committed: Verdicts, tmp_path: Path
) -> None:
    with (written.folder / "numbers.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["evaluation"]]
    results = {(result.experiment, result.provenance): result for result in committed.evidence.collection.results}
    (tmp_path / "records").mkdir()
    for run, folder in {result.run: result.record.folder for result in results.values()}.items():
        (tmp_path / "records" / run).symlink_to(folder, target_is_directory=True)
    View(tmp_path / "view", [Store(tmp_path / "records")]).refresh()
    for result in results.values():
        numbers = {row["metric"]: float(row["value"]) for row in rows if row["evaluation"] == result.evaluation.id}
        events = accumulated(tmp_path / "view" / result.name)
        measured = {metric: value for metric, value in numbers.items() if not metric.startswith("model/")}
        shown = {metric: events.Scalars(metric)[-1].value for metric in measured}
        assert shown == pytest.approx(measured, rel=1e-6), result.name


def test_the_committed_report_is_that_of_the_committed_records(written: SimpleNamespace, committed: Verdicts) -> None:
    # make docs-report renews both.
    now, docs = (folder / "report.md" for folder in (written.folder, DOCS / "report"))
    assert docs.read_text(encoding="utf-8") == now.read_text(encoding="utf-8")
    assert main_table(committed) in (DOCS.parent / "README.md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("quick")
def test_a_file_without_a_place_for_the_table_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("nothing\n")
    assert report("--profile", "none", "--runs", str(tmp_path), "--output", str(tmp_path), "--readme", str(readme)) == 1
    assert str(readme) in capsys.readouterr().err
    assert readme.read_text() == "nothing\n"
    readme.write_text(f"before\n{MARKS[0]}\nold\n{MARKS[1]}\nafter\n")
    report("--profile", "none", "--runs", str(tmp_path), "--output", str(tmp_path), "--readme", str(readme))
    text = readme.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "| what |" in text
    assert "old" not in text
