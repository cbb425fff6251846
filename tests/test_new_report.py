"""``dlbench new-report``: what it writes is a report, and nothing is written over."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from dlbench import paths
from dlbench.__main__ import main
from dlbench.report.checks import Verdicts
from dlbench.report.document import Section
from dlbench.report.schema import SECTIONS, load_all, wrong_name
from dlbench.report.sections import build

REPORTS = load_all()


def test_a_new_report_lies_in_a_folder_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new-report", "mine26"]) == 1
    assert capsys.readouterr().err == "dlbench: new-report mine26: choose a folder of your own: --config-dir FOLDER\n"
    assert main(["new-report", "mine26", "--config-dir", "mine"]) == 1
    assert capsys.readouterr().err == "dlbench: --config-dir mine: no such folder\n"
    (tmp_path / "mine").mkdir()
    assert main(["new-report", "mine26", "--config-dir", "mine"]) == 0
    told = capsys.readouterr().out
    assert told.endswith("python -m dlbench report --config-dir mine judges it\n")
    assert (tmp_path / "mine" / "reports" / "mine26" / "report.yaml").is_file()
    monkeypatch.setattr("sys.argv", ["dlbench", "report", "--config-dir", "mine"])
    assert [*load_all()][-1] == "mine26" and len(load_all()) == 6


def test_no_two_reports_have_a_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new-report", "d2223", "--config-dir", str(tmp_path)]) == 0
    assert main(["report", "--profile", "none", "--config-dir", str(tmp_path)]) == 1
    where, other = tmp_path / "reports" / "d2223" / "report.yaml", paths.experiments() / "d2223" / "report.yaml"
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"dlbench: {where}: {other} is called d2223 too; choose another name for the folder"


def test_no_section_of_the_page_is_called_like_a_report(committed: Verdicts, tmp_path: Path) -> None:
    def ids(sections: Sequence[Section]) -> Iterator[str]:
        for section in sections:
            yield section.id
            yield from ids(section.sections)

    found = set(ids(build(committed).sections)) - {*REPORTS}
    assert {id for id in found if id.isalnum()} <= {*SECTIONS} and all(map(wrong_name, found))


@pytest.mark.parametrize("name", ["my report", "costs", "Mine"])
def test_a_folder_is_called_so_that_links_lead_to_its_report(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (path := tmp_path / "reports" / name / "report.yaml").parent.mkdir(parents=True)
    path.write_text("title: mine")
    assert main(["report", "--profile", "none", "--config-dir", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"dlbench: {path}: {name}: ")


def test_a_new_report_can_be_judged_and_is_not_written_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(paths, "experiments", lambda: tmp_path)
    monkeypatch.chdir(Path(__file__).parent)
    assert main(["new-report", "mine26"]) == 0
    path = tmp_path / "mine26" / "report.yaml"
    assert capsys.readouterr().out.startswith(f"{path}: fill it in")
    report = load_all()["mine26"]
    assert report.title.startswith("mine26") and report.tables and report.claims[0].id == "mine26.attention"
    path.write_text("changed")
    for word, said in (
        ("mine26", "is there already"),
        ("../x", "no name of a report"),
        ("Mine", "no name of a report"),
        ("runs", "a section of the page is called so"),
    ):
        assert main(["new-report", word]) == 1
        assert said in capsys.readouterr().err
    assert path.read_text() == "changed" and sorted(each.name for each in tmp_path.iterdir()) == ["mine26"]
