"""Records as pandas frames, held against the records' own files."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from resealed import made_by, read, reseal, reseal_evaluation

from dlbench import paths
from dlbench.components import by_name
from dlbench.errors import ConfigError
from dlbench.records.store import Record
from dlbench.report.frame import COLUMNS, CURVE_COLUMNS, curves, frame

COMMITTED = paths.experiments() / "results"


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    return frame(COMMITTED)


@pytest.fixture
def copied(tmp_path: Path) -> Record:
    """A committed classifier's record, in a folder of its own."""
    source = next(path.parent for path in COMMITTED.glob("*/manifest.json") if read(path)["experiment"] == "cnn_bn_gap")
    return Record(shutil.copytree(source, tmp_path / "runs" / source.name))


def test_every_evaluation_is_a_row_with_what_its_files_say(runs: pd.DataFrame) -> None:
    files = {path.parent.name: path for path in COMMITTED.glob("*/evaluations/*/result.json")}
    assert {*runs.evaluation} == {*files}
    assert len(runs) == len(files)
    metrics = [name for name in runs.columns if name not in COLUMNS]
    for row in runs.to_dict("records"):
        path = files[row["evaluation"]]
        folder = path.parents[2]
        result, manifest, training = read(path), read(folder / "manifest.json"), read(folder / "training.json")
        assert {name: row[name] for name in metrics if not pd.isna(row[name])} == result["metrics"]
        assert (row["run"], row["experiment"]) == (folder.name, result["experiment"])
        assert (row["data"], row["provenance"]) == (manifest["data"]["name"], manifest["data"]["provenance"])
        assert row["seed"] == read(folder / "identity.json")["seed"]
        assert row["minutes"] * 60 == pytest.approx(training["seconds"])
        assert row["peak_memory_gb"] * 1e9 == pytest.approx(training["peak_memory_bytes"])


def test_rows_of_one_configuration_differ_in_seed_alone(runs: pd.DataFrame) -> None:
    def without_seed(run: str) -> dict[str, Any]:
        return {key: value for key, value in read(COMMITTED / run / "identity.json").items() if key != "seed"}

    for _, rows in runs.groupby("configuration"):
        assert rows.seed.is_unique
        assert rows.settings.nunique() == rows.decoding.nunique() == 1
        first, *others = map(without_seed, rows.run)
        assert all(other == first for other in others)


def test_settings_tell_the_configurations_of_an_experiment_apart(runs: pd.DataFrame) -> None:
    assert (runs.groupby(["experiment", "settings"]).configuration.nunique() == 1).all()


def test_curves_are_the_lines_of_metrics_jsonl() -> None:
    log = curves(COMMITTED)
    assert tuple(log.columns) == CURVE_COLUMNS
    assert {*log.run} == {path.parent.name for path in COMMITTED.glob("*/metrics.jsonl")}
    for run, rows in log.groupby("run"):
        lines = (COMMITTED / str(run) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        written = {
            (line["epoch"], name): value
            for line in map(json.loads, lines)
            for name, value in line.items()
            if "/" in name
        }
        # A run counts once, however often it was decoded.
        assert len(rows) == len(written)
        assert dict(zip(zip(rows.epoch, rows.metric, strict=True), rows.value, strict=True)) == written
        manifest = read(COMMITTED / str(run) / "manifest.json")
        assert {*rows.experiment} == {manifest["experiment"]}
        assert {*rows.seed} == {read(COMMITTED / str(run) / "identity.json")["seed"]}
        assert not rows.settings.str.contains("decoded").any()


def test_own_runs_come_with_the_committed_ones(decoded: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLBENCH_RUNS", str(decoded.folder.parent))
    own, every = frame(decoded.folder.parent), frame()
    assert {*own.decoding} == {"greedy", "nucleus p=0.8", "beam width=5"}
    assert {*own.run} == {decoded.id}
    assert {*own.provenance} == {"synthetic"}
    assert not own.outdated.any()
    assert {*every.evaluation} == {*own.evaluation} | {*frame(COMMITTED).evaluation}
    assert {*curves().run} == {*every.run}


def test_a_record_of_other_versions_is_outdated(copied: Record) -> None:
    made_by(copied, {name: by_name()[name].version for name in read(copied.manifest)["versions"]})
    assert list(frame(copied.folder.parent).outdated) == [False]
    made_by(copied, {"convnet": "1.9"})
    assert list(frame(copied.folder.parent).outdated) == [True]


@pytest.mark.parametrize("name", ["manifest.json", "training.json"])
def test_a_damaged_record_is_left_out_and_named(copied: Record, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (copied.folder / name).write_text("{", encoding="utf-8")
    assert frame(copied.folder.parent).empty
    assert f"record {copied.id} is left out" in capsys.readouterr().err


def test_damaged_curves_are_left_out_and_named(copied: Record, capsys: pytest.CaptureFixture[str]) -> None:
    lines = copied.metrics.read_text(encoding="utf-8").splitlines()
    copied.metrics.write_text("\n".join(["{", *lines]), encoding="utf-8")
    assert frame(copied.folder.parent).empty
    assert f"record {copied.id} is left out: metrics.jsonl: damaged" in capsys.readouterr().err
    reseal(copied)
    assert frame(copied.folder.parent).empty
    assert curves(copied.folder.parent).empty
    assert f"record {copied.id} is left out: metrics.jsonl: line 1 is damaged" in capsys.readouterr().err


def test_of_two_records_that_contradict_each_other_the_first_counts(
    copied: Record, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Record(shutil.copytree(copied.folder, tmp_path / "other" / copied.id))
    (evaluation,) = other.evaluations()
    metrics = read(evaluation.result)["metrics"]
    reseal_evaluation(evaluation, metrics={**metrics, "test/accuracy": 0.0})
    found = frame(copied.folder.parent, other.folder.parent)
    assert list(found["test/accuracy"]) == [metrics["test/accuracy"]]
    assert f"records of {copied.id} differ in test/accuracy" in capsys.readouterr().err


def test_what_is_not_finished_is_no_row(copied: Record) -> None:
    copied.training.unlink()
    found = frame(copied.folder.parent)
    assert found.empty
    assert tuple(found.columns) == COLUMNS
    assert tuple(curves(copied.folder.parent).columns) == CURVE_COLUMNS


@pytest.mark.parametrize("read_folders", [frame, curves])
def test_a_folder_that_is_not_there_is_named(read_folders: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="absent: no such folder"):
        read_folders(tmp_path / "absent")
