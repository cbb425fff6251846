"""The command: what it writes, prints and refuses; and that TensorBoard tells the same."""

import csv
from pathlib import Path
from xml.etree import ElementTree

import pytest
from board import accumulated

from dlbench import commands, paths
from dlbench.records.store import Store
from dlbench.report.files import MARKS, judge, main_table
from dlbench.report.reading import load_all
from dlbench.report.results import collect
from dlbench.tensorboard.view import View

DOCS = Path(__file__).parent.parent / "docs"
COMMITTED = Store(paths.experiments() / "results")


def report(*words: str) -> int:
    """The command."""
    return commands.run("report", words)


def test_without_running_the_report_is_written_from_the_records_at_hand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    assert report("--profile", "none", "--runs", str(tmp_path / "runs"), "--output", str(folder)) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "Published against reproduced" in out
    assert f"the whole report: {folder / 'index.html'}" in out
    written = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    figures = {name for name in written if name.startswith("figures/")}
    assert written - figures == {"index.html", "report.md", "tables.tex", "numbers.csv"}
    page = (folder / "index.html").read_text(encoding="utf-8")
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    for name in figures:
        ElementTree.parse(folder / name)
        assert name in markdown
        assert f'id="{Path(name).stem}"' in page
    assert not (tmp_path / "runs").exists()


def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "other"):
        commands.run(
            "report", ["--profile", "none", "--runs", str(tmp_path / "runs"), "--output", str(tmp_path / name)]
        )
    one, other = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in ("one", "other")
    )
    assert one == other


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit, match="1"):
        commands.run(
            "report",
            ["--profile", "none", "--runs", str(tmp_path / "runs"), "--output", str(tmp_path / "file" / "report")],
        )
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "file") in line


def test_an_unknown_profile_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        report("--profile", "fast")
    assert "quick" in capsys.readouterr().err


def test_tensorboard_and_report_agree_in_names_and_numbers(tmp_path: Path) -> None:
    commands.run(
        "report", ["--profile", "none", "--runs", str(tmp_path / "runs"), "--output", str(tmp_path / "report")]
    )
    with (tmp_path / "report" / "numbers.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["evaluation"]]
    View(tmp_path / "view", [COMMITTED]).refresh()
    for result in collect([COMMITTED]).results:
        numbers = {row["metric"]: float(row["value"]) for row in rows if row["evaluation"] == result.evaluation.id}
        events = accumulated(tmp_path / "view" / result.name)
        measured = {metric: value for metric, value in numbers.items() if not metric.startswith("model/")}
        shown = {metric: events.Scalars(metric)[-1].value for metric in measured}
        assert shown == pytest.approx(measured, rel=1e-6), result.name


def test_the_committed_report_is_that_of_the_committed_records(tmp_path: Path) -> None:
    # make docs-report renews both.
    report("--profile", "none", "--runs", str(tmp_path / "runs"), "--output", str(tmp_path))
    committed, now = (
        list(csv.DictReader((folder / "numbers.csv").open(encoding="utf-8"))) for folder in (DOCS / "report", tmp_path)
    )
    assert [{**row, "value": ""} for row in committed] == [{**row, "value": ""} for row in now]
    before, after = ([float(row["value"]) for row in rows if row["source"] != "slip"] for rows in (committed, now))
    assert before == pytest.approx(after, rel=1e-9)
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    assert main_table(judge(load_all(), [COMMITTED.folder])) in readme


def test_a_file_without_a_place_for_the_table_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("nothing\n")
    with pytest.raises(SystemExit, match="1"):
        commands.run(
            "report", ["--profile", "none", "--runs", str(tmp_path), "--output", str(tmp_path), "--readme", str(readme)]
        )
    assert str(readme) in capsys.readouterr().err
    assert readme.read_text() == "nothing\n"
    readme.write_text(f"before\n{MARKS[0]}\nold\n{MARKS[1]}\nafter\n")
    commands.run(
        "report", ["--profile", "none", "--runs", str(tmp_path), "--output", str(tmp_path), "--readme", str(readme)]
    )
    text = readme.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "| report |" in text
    assert "old" not in text
