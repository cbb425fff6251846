"""Configurations of installed packages: found beside the suite's, and a broken one costs a line."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import python, sweep

from dlbench import commands, config, plugins
from dlbench.cli import choices
from dlbench.help import text
from dlbench.report.jobs import _wanted

NETS = """
from torch import nn


class Ring(nn.Module):
    def __init__(self, classes: int = 6) -> None:
        super().__init__()
        self.outputs = classes
        self.features = nn.Sequential(nn.Conv2d(3, 4, 5, stride=2), nn.ReLU())
        self.scores = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes))

    def forward(self, pictures):
        return self.scores(self.features(pictures))
"""
EXPERIMENT = "# @package _global_\ndefaults:\n  - override /model: ring\nname: rings\ntrainer: {epochs: 1}\n"
SMALL = ("data.source=synthetic", "data.synthetic_sizes=[24,12,12]", "trainer.device=cpu", "evaluation.max_shift=0")


def heed_path() -> None:
    """What Python does when it starts."""
    sys.path.append(os.environ["PYTHONPATH"])


def forget() -> None:
    for each in (plugins.folders, config._configurations):
        each.cache_clear()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed packages, of which one publishes a network and an experiment."""
    files = {
        "rings/__init__.py": "raise RuntimeError('imported')",
        "ring_nets.py": NETS,
        "rings/conf/model/ring.yaml": "_target_: ring_nets.Ring",
        "rings/conf/experiment/rings.yaml": EXPERIMENT,
    }
    for name, content in files.items():
        (tmp_path / "site" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "site" / name).write_text(content)
    publish(tmp_path / "site", "rings = rings.conf")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    forget()
    yield tmp_path / "site"
    forget()


def publish(site: Path, *entries: str) -> None:
    """What pip writes of an installed package; configurations are looked for anew."""
    folder = site / "rings-1.0.dist-info"
    folder.mkdir(exist_ok=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: rings\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("\n".join(["[dlbench.plugins]", *entries]))
    forget()


@pytest.mark.usefixtures("site")
def test_what_a_plugin_publishes_can_be_chosen_and_is_listed() -> None:
    assert {"rings", "cnn_bn_gap"} <= {*choices("experiment")}
    assert config.composed("rings", ())["model"]["_target_"] == "ring_nets.Ring"
    assert " rings\n" in text() and " ring\n" in text()
    code, _, err = sweep("+experiment=ring")
    assert (code, err) == (1, "dlbench: experiment=ring: no such experiment; did you mean rings?\n")
    ((_, asked),) = _wanted("quick", {})
    assert "rings" not in {each.experiment for each in asked}


def test_the_suites_own_and_the_command_lines_come_first(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, own = site / "rings" / "conf" / "experiment", tmp_path / "own" / "experiment"
    own.mkdir(parents=True)
    for name in ("cnn_bn_gap", "both"):
        (theirs / f"{name}.yaml").write_text(EXPERIMENT)
    (own / "both.yaml").write_text("# @package _global_\nname: mine\n")
    forget()
    assert config.composed("cnn_bn_gap", ())["name"] == "cnn_bn_gap"
    assert config.composed("both", ())["name"] == "rings"
    monkeypatch.setattr(sys, "argv", ["dlbench", "--config-dir", str(own.parent)])
    assert config.composed("both", ())["name"] == "mine"


@pytest.mark.parametrize("place", ["nowhere.conf", "rings.none", "ring_nets", "rings:conf", "", "a b"])
def test_a_broken_plugin_is_named_and_stops_nothing(site: Path, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    publish(site, f"broken = {place}", "rings = rings.conf")
    for _ in range(2):
        assert "rings" in choices("experiment")
    said = capsys.readouterr().err
    assert said.startswith(f"dlbench: plugin broken of rings: no folder of configurations at {place}; reinstall")
    assert said.count("\n") == 1


def test_a_damaged_file_of_entry_points_is_named_and_stops_nothing(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(site, "no equals sign")
    assert "cnn_bn_gap" in text()
    said = capsys.readouterr().err
    assert said.startswith("dlbench: the entry points of installed packages cannot be read (") and said.count("\n") == 1


def test_of_two_experiments_of_a_name_the_one_that_is_run_is_told(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (site / "rings" / "conf" / "experiment" / "cnn_bn_gap.yaml").write_text("# @package _global_\n# Theirs.\n")
    forget()
    assert commands.call("experiments", []) == 0
    assert "Theirs." not in capsys.readouterr().out


def test_a_plugins_experiment_is_run_and_its_record_shown(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (site / "rings" / "__init__.py").unlink()
    runs = tmp_path / "runs"
    words = ("-m", "dlbench", "+experiment=rings", *SMALL, f"paths.runs={runs}")
    done = python(*words, folder=tmp_path, environment={**os.environ, "PYTHONPATH": str(site)}, before=heed_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "rings on SYNTHETIC data: finished" in done.stdout
    shown = []
    for content in (EXPERIMENT, "a:\n\t- b", "# @package _global_\ndefaults:\n  - override /model: gone\n"):
        (site / "rings" / "conf" / "experiment" / "rings.yaml").write_text(content)
        forget()
        assert commands.call("records", ["list", f"--runs={runs}"]) == 0
        shown.append(capsys.readouterr().out)
    assert all(" rings " in each and "finished" in each for each in shown)
