"""Records as results: what is collected, what is left out by name, what contradicts, what stands together."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made import made

from dlbench.composition import composed, configuration_of
from dlbench.records.files import read_json, write_json
from dlbench.records.labels import run_name
from dlbench.records.store import Record, Store
from dlbench.report.results import LeftOut, by_configuration, collect
from dlbench.run import run


@pytest.fixture(scope="module")
def finished(
    compose: Callable[..., Any], tiny_in: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory
) -> Record:
    """A real run, finished."""
    runs = tmp_path_factory.mktemp("report") / "runs"
    return run(compose("+experiment=cnn_bn_gap", *tiny_in(runs, sizes=(24, 12, 12)))).record


@pytest.fixture
def store(finished: Record, tmp_path: Path) -> Store:
    """The finished run and one that is not."""
    for name in (finished.id, "0begun"):
        shutil.copytree(finished.folder, tmp_path / "runs" / name)
    store = Store(tmp_path / "runs")
    store.record("0begun").training.unlink()
    return store


def copy_of(finished: Record, folder: Path) -> tuple[Store, Path]:
    """Another store with the same run, and its result's file."""
    store = Store(folder)
    shutil.copytree(finished.folder, store.record(finished.id).folder)
    (evaluation,) = store.record(finished.id).evaluations()
    return store, evaluation.result


def test_finished_runs_are_collected(store: Store, finished: Record) -> None:
    collection = collect([store])
    (result,) = collection.results
    (evaluation,) = finished.evaluations()
    assert (result.run, result.seed, result.provenance, result.is_stale) == (finished.id, 42, "embedded", False)
    assert result.metrics == read_json(evaluation.result)["metrics"]
    assert result.configuration == configuration_of("cnn_bn_gap", ["trainer.epochs=2"])
    assert result.name == run_name(read_json(finished.manifest))
    assert [row["epoch"] for row in result.curves] == [1, 2]
    assert (collection.left_out, collection.contradictions) == ([], [])


def test_a_run_made_by_other_source_is_stale(store: Store, finished: Record) -> None:
    manifest = store.record(finished.id).manifest
    write_json(manifest, {**read_json(manifest), "source": "0" * 64})
    (result,) = collect([store]).results
    assert result.is_stale


def test_a_run_in_two_stores_counts_once_and_the_first_is_taken(store: Store, finished: Record, tmp_path: Path) -> None:
    other, path = copy_of(finished, tmp_path / "other")
    write_json(path, {**read_json(path), "metrics": {"test/accuracy": 0.25}})
    assert [result.metrics for result in collect([other, store]).results] == [{"test/accuracy": 0.25}]
    assert [len(result.metrics) > 1 for result in collect([store, other]).results] == [True]


def test_two_records_of_one_run_that_differ_contradict_each_other(
    store: Store, finished: Record, tmp_path: Path
) -> None:
    other, path = copy_of(finished, tmp_path / "other")
    assert collect([store, other]).contradictions == []
    result = read_json(path)
    write_json(path, {**result, "metrics": {**result["metrics"], "test/accuracy": 0.25}})
    training = other.record(finished.id).training
    write_json(training, {**read_json(training), "weights": "others"})
    (found,) = collect([store, other]).contradictions
    assert (found.run, found.differing, found.other_source) == (finished.id, ("test/accuracy", "weights"), False)
    manifest = other.record(finished.id).manifest
    kept = read_json(manifest)
    write_json(manifest, {**kept, "source": "0" * 64})
    assert collect([store, other]).contradictions[0].other_source
    # On another machine's numerics other bits are to be expected.
    write_json(manifest, {**kept, "numerics": {**kept["numerics"], "cpu_capability": "other"}})
    assert collect([store, other]).contradictions == []


@pytest.mark.parametrize("file", ["training.json", "manifest.json", "result.json", "config.yaml"])
@pytest.mark.parametrize("content", ["{", "[]", '{"schema": 1}', '{"schema": 99}'])
def test_a_damaged_record_is_left_out_by_name(file: str, content: str, store: Store, finished: Record) -> None:
    shutil.copytree(finished.folder, store.record("0bad").folder)
    path = next(store.record("0bad").folder.rglob(file))
    path.write_text(content)
    collection = collect([store])
    assert [result.run for result in collection.results] == [finished.id]
    (left_out,) = collection.left_out
    assert left_out.run == "0bad"
    assert left_out.reason


def test_a_record_of_an_unknown_experiment_is_left_out_by_name(store: Store, finished: Record) -> None:
    (evaluation,) = store.record(finished.id).evaluations()
    write_json(evaluation.result, {**read_json(evaluation.result), "experiment": "cnn_of_old"})
    collection = collect([store])
    assert collection.results == []
    assert collection.left_out == [LeftOut(finished.id, "unknown experiment cnn_of_old")]


def test_results_of_one_configuration_are_those_that_differ_in_seed_alone() -> None:
    def result(*overrides: str, seed: int = 42, data: str = "f") -> Any:
        return made("cnn_vanilla", *overrides, seed=seed, fingerprint=data, metrics={})

    rate = "optimizer.lr=0.1"
    results = [result(), result(seed=1), result(rate), result(rate, seed=1), result(seed=1)]
    results += [result("data.source=npz", "data.embedded_sizes=[6,6,6]", seed=2), result(rate, seed=3, data="other")]
    groups = by_configuration(results)
    assert {name: [result.seed for result in group] for name, group in groups.items()} == {
        configuration_of("cnn_vanilla", []): [1, 2, 42],
        configuration_of("cnn_vanilla", [rate]): [1, 42],
    }


def test_values_that_are_set_compose_as_hydra_composes_them(compose: Callable[..., Any]) -> None:
    from omegaconf import OmegaConf

    overrides = ("data.layout=scrambled", "model.hidden_bn=[true,true]", "model.classes=null", "optimizer.lr=1e-3")
    whole = OmegaConf.to_container(compose("+experiment=cnn_bn_gap", *overrides), resolve=True)
    assert composed("cnn_bn_gap", overrides) == whole
    assert composed("cnn_bn_gap")["optimizer"]["lr"] != 1e-3
