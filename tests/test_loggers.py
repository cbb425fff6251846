"""Loggers beside the record: they show curves, and neither they nor their failures change what a run is."""

import csv
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bits import same_bits
from conftest import Compose, TinyIn
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_resume import killed

from dlbench.errors import ConfigError
from dlbench.files import digest
from dlbench.records import history
from dlbench.records.store import Record
from dlbench.run import run

PLAIN = ("+experiment=kmnist_mlp", "evaluation.rotations=[]", "evaluation.scales=[]")


def curves(record: Record) -> list[dict[str, float]]:
    return [{key: row[key] for key in row if "/" in key} for row in history.read(record.metrics)]


def names(record: Record) -> set[str]:
    return {path.name for path in record.folder.iterdir()}


def in_csv(record: Record) -> list[dict[str, Any]]:
    path = record.folder.parent / ".loggers/csv" / record.id / "metrics.csv"
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def told_tensorboard(record: Record) -> list[tuple[int, float]]:
    events = EventAccumulator(str(record.tensorboard))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars("val/loss")]


def test_a_table_of_the_curves_lies_beside_the_record_which_is_the_same(
    compose: Compose, tiny_in: TinyIn, tmp_path: Path
) -> None:
    plain, logged = (
        run(compose(*PLAIN, *tiny_in(tmp_path / str(number)), *more))
        for number, more in enumerate([(), ("logger=[tensorboard,csv,csv]",)])
    )
    assert logged.record.id == plain.record.id
    assert same_bits(logged, plain)
    assert names(logged.record) == names(plain.record)
    for path in ("config.yaml", "identity.json"):
        assert digest(logged.record.folder / path) == digest(plain.record.folder / path)
    logged.record.read(whole=True)
    rows = in_csv(logged.record)
    assert [int(row["step"]) for row in rows] == [1, 2]
    for row, curve in zip(rows, curves(logged.record), strict=True):
        assert {key: float(row[key]) for key in curve} == curve
    assert not (tmp_path / "0/.loggers").exists()


def test_without_tensorboard_the_record_has_its_curves_for_it_all_the_same(compose: Compose, tiny: list[str]) -> None:
    record = run(compose(*PLAIN, *tiny, "logger=[]")).record
    assert [path.name for path in record.tensorboard.iterdir()] == ["events.out.tfevents.final"]
    told = told_tensorboard(record)
    assert [step for step, _ in told] == [1, 2]
    assert [value for _, value in told] == pytest.approx([row["val/loss"] for row in curves(record)], rel=1e-6)
    record.read(whole=True)


def test_a_logger_that_fails_is_told_of_once_and_the_run_goes_on(
    compose: Compose, tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runs/.loggers").mkdir(parents=True)
    (tmp_path / "runs/.loggers/csv").write_text("no folder")
    outcome = run(compose(*PLAIN, *tiny, "logger=[csv,tensorboard]"))
    assert outcome.result["state"] == "finished"
    said = [line for line in capsys.readouterr().err.splitlines() if "logger=csv" in line]
    assert len(said) == 1 and "the run goes on" in said[0]
    assert len(told_tensorboard(outcome.record)) == 2


@pytest.mark.parametrize(("value", "told"), [("[csw]", r"\['csw'\]"), ("csw", "'csw'")])
def test_a_name_that_is_none_is_refused(compose: Compose, tiny: list[str], value: str, told: str) -> None:
    with pytest.raises(ConfigError, match=f"^logger={told}: .*'tensorboard', 'csv', 'wandb' or 'mlflow'"):
        run(compose(*PLAIN, *tiny, f"logger={value}"))


def test_one_logger_needs_no_list(compose: Compose, tiny: list[str], tmp_path: Path) -> None:
    outcome = run(compose(*PLAIN, *tiny, "logger=csv"))
    assert (tmp_path / "runs/.loggers/csv" / outcome.record.id / "metrics.csv").is_file()


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_package_that_is_missing_is_named_with_its_remedy_before_anything_is_trained(
    compose: Compose, tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    if (found := importlib.util.find_spec(name)) and found.origin:
        pytest.skip(f"{name} is installed")
    (tmp_path / name).mkdir()  # as it is left by runs of another environment
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=rf"^logger={name}: .* pip install 'dlbench\[loggers\]'$"):
        run(compose(*PLAIN, *tiny, f"logger=[{name}]"))
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "then"), [("[csv]", "[csv,tensorboard]"), ("[tensorboard]", "[csv]")], ids=["added", "left out"]
)
def test_a_resumed_run_has_all_its_epochs_in_every_logger(
    compose: Compose, tiny_in: TinyIn, tmp_path: Path, first: str, then: str
) -> None:
    overrides = [*PLAIN, *tiny_in(tmp_path, epochs=4)]
    moment = ("dlbench.records.checkpoints:CheckpointFolder.save", "2", "after")
    record = killed(moment, [*overrides, f"logger={first}"], tmp_path)
    assert run(compose(*overrides, f"logger={then}")).record == record
    assert [int(row["step"]) for row in in_csv(record)] == [1, 2, 3, 4]
    assert [step for step, _ in told_tensorboard(record)] == [1, 2, 3, 4]
    record.read(whole=True)


# --- packages of their own --------------------------------------------------------------------------------------------

HERE = Path(__file__).parent


def command(overrides: list[str], tmp_path: Path, **environment: str) -> str:
    """A run in a process of its own, as these libraries change the one they are in; what it wrote to standard error."""
    import os

    variables = {**os.environ, "PYTHONPATH": str(HERE.parent), "MLFLOW_DISABLE_TELEMETRY": "true", **environment}
    words = [sys.executable, "-m", "dlbench", *PLAIN, *overrides]
    done = subprocess.run(words, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.extras
def test_mlflow_gets_curves_and_settings_into_a_store_of_sqlite(
    compose: Compose, tiny_in: TinyIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    command([*tiny_in(tmp_path / "runs"), "logger=[mlflow]"], tmp_path)
    plain = run(compose(*PLAIN, *tiny_in(tmp_path / "plain")))
    record = Record(tmp_path / "runs" / plain.record.id)
    assert record.closed()["weights"] == plain.record.closed()["weights"]
    record.read(whole=True)
    client = MlflowClient(f"sqlite:///{tmp_path}/runs/.loggers/mlflow/mlflow.db")
    (made,) = client.search_runs([client.get_experiment_by_name("kmnist_mlp").experiment_id])
    assert (made.info.run_name, made.info.status) == (record.id, "FINISHED")
    assert made.data.params["optimizer/lr"] == "0.0005"
    history_of = client.get_metric_history(made.info.run_id, "val/loss")
    assert [(each.step, each.value) for each in history_of] == [
        (epoch, row["val/loss"]) for epoch, row in enumerate(curves(record), 1)
    ]
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "plain"}  # nothing lies about


@pytest.mark.extras
def test_mlflow_that_cannot_be_reached_costs_a_line(tiny: list[str], tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    said = command([*tiny, "logger=[mlflow]"], tmp_path, MLFLOW_TRACKING_URI="nowhere://")
    assert len([line for line in said.splitlines() if "logger=mlflow" in line and "the run goes on" in line]) == 1


@pytest.mark.extras
def test_wandb_writes_a_run_of_its_own_where_it_is_offline(compose: Compose, tiny_in: TinyIn, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    overrides = [*tiny_in(tmp_path / "runs"), "logger=[wandb]"]
    command(["-m", "seed=1,2", *overrides], tmp_path, WANDB_MODE="offline")  # two in a row
    records = [run(compose(*PLAIN, *tiny_in(tmp_path / "runs"), f"seed={seed}")) for seed in (1, 2)]
    assert not any(outcome.trained for outcome in records)
    for outcome in records:
        outcome.record.read(whole=True)
        (made,) = (tmp_path / "runs/.loggers/wandb/wandb").glob(f"offline-run-*-{outcome.record.id}")
        content = (made / f"run-{outcome.record.id}.wandb").read_bytes()
        for word in ("val/loss", "kmnist_mlp", json.dumps(curves(outcome.record)[-1]["val/loss"])):
            assert word.encode() in content, word
