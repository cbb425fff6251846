"""``dlbench new-report``: what it writes is a report, and nothing is written over."""

from pathlib import Path

import pytest

from dlbench import paths
from dlbench.__main__ import main
from dlbench.report.schema import load_all


def test_a_new_report_can_be_judged_and_is_not_written_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(paths, "experiments", lambda: tmp_path)
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
    ):
        assert main(["new-report", word]) == 1
        assert said in capsys.readouterr().err
    assert path.read_text() == "changed" and sorted(each.name for each in tmp_path.iterdir()) == ["mine26"]
