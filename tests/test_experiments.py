"""``dlbench experiments``: all that can be run, the user's own too, and what is said of it is true."""

import json
import re
from collections import defaultdict
from pathlib import Path

import pytest

from dlbench import paths
from dlbench.__main__ import main
from dlbench.cli import experiments
from dlbench.commands.experiments import about
from dlbench.report.checks import Verdicts


def test_every_experiment_says_how_many_parameters_its_runs_have(committed: Verdicts) -> None:
    recorded: dict[str, set[int]] = defaultdict(set)
    for result in committed.evidence.collection.results:
        recorded[result.experiment].add(int(result.metrics.get("model/parameters", 0)))
    assert len(recorded) > 20
    for name in set(experiments()) - {"hopfield_retrieval"}:  # which trains none
        said = re.search(r"([\d,]+) parameters", about(paths.conf() / "experiment" / f"{name}.yaml"))
        assert said, name
        if name in recorded:
            assert int(said[1].replace(",", "")) in recorded[name], name


def test_own_experiments_stand_among_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\n# Two epochs,\n# on a few scenes.\nname: small\n# not this\n"
    (tmp_path / "experiment" / "small.yaml").write_text(text)
    words = ["experiments", "--json", "--config-dir", str(tmp_path)]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    monkeypatch.setattr("sys.argv", ["dlbench", *words])
    assert found["experiment"]["small"] == "Two epochs, on a few scenes."
    assert found["experiment"].keys() == {*experiments()}
    assert all(said for group in found.values() for said in group.values())
    monkeypatch.setattr("sys.argv", ["dlbench", "experiments"])
    assert main(["experiments"]) == 0
    shown = capsys.readouterr().out
    assert "small" not in shown.split() and "+sweep=NAME" in shown and "p2g_tpe" in shown
