"""Folders are absolute from the start: ``~`` and relative ones mean the same in every part of a run."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dlbench import paths
from dlbench.run import run


def test_home_and_relative_folders_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert paths.folder("~/x") == tmp_path / "home" / "x"
    assert paths.folder("x/../y") == tmp_path / "y"
    monkeypatch.setenv("DLBENCH_RUNS", "~/runs")
    assert paths.runs() == tmp_path / "home" / "runs"


def test_a_record_in_the_home_folder_is_in_one_piece(
    compose: Callable[..., Any], tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    outcome = run(compose("+experiment=cnn_bn_gap", *tiny, "trainer.epochs=1", "paths.runs='~/my runs'"))
    assert outcome.record.folder.parent == tmp_path / "home" / "my runs"
    assert any(outcome.record.tensorboard.glob("*tfevents*"))
    assert not (tmp_path / "~").exists()


@pytest.mark.slow
def test_hydras_own_folders_for_jobs_change_nothing(tiny_in: Callable[..., list[str]], tmp_path: Path) -> None:
    overrides = ["+experiment=cnn_bn_gap", *tiny_in(Path("runs"), epochs=1, sizes=(24, 12, 12))]
    environment = {name: value for name, value in os.environ.items() if name not in ("DLBENCH_DATA", "DLBENCH_RUNS")}

    def listed(*arguments: str) -> list[dict[str, Any]]:
        command = [sys.executable, "-m", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        return json.loads(done.stdout) if "--json" in arguments else []

    listed("dlbench", "-m", *overrides, "seed=1,2", "hydra.job.chdir=true", "hydra.sweep.subdir=${hydra.job.num}")
    assert len(listed("dlbench", "records", "list", "--json")) == 2
    listed("dlbench", *overrides, "seed=1")
    assert len(listed("dlbench", "records", "list", "--json")) == 2
