"""Records as results: what is collected, what is left out by name, what contradicts, what stands together."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made import made
from resealed import change, made_by, read, renamed, reseal, reseal_evaluation

from dlbench import commands, paths
from dlbench.config import _compose, composed, configuration_of
from dlbench.records.files import read_json
from dlbench.records.labels import run_name
from dlbench.records.store import Evaluation, Record, Store
from dlbench.report.document import grids
from dlbench.report.listings import diverged, leaderboards, ours, runs
from dlbench.report.results import (
    NO_LONGER,
    NOT_EVALUATED,
    OUTDATED_TOO,
    SUPERSEDED,
    Contradiction,
    LeftOut,
    Runs,
    alike,
    by_configuration,
    collect,
)
from dlbench.run import run

COMMITTED = Store(paths.experiments() / "results")


@pytest.fixture(scope="module")
def finished(
    compose: Callable[..., Any], tiny_in: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory
) -> Record:
    """A real run, finished."""
    runs = tmp_path_factory.mktemp("report") / "runs"
    fast = ["+experiment=cnn_bn_gap", "evaluation.max_shift=1"]
    return run(compose(*fast, *tiny_in(runs, sizes=(24, 12, 12)))).record


@pytest.fixture
def store(finished: Record, tmp_path: Path) -> Store:
    """The finished run and one that is not."""
    for name in (finished.id, "0begun"):
        shutil.copytree(finished.folder, tmp_path / "runs" / name)
    store = Store(tmp_path / "runs")
    store.record("0begun").training.unlink()
    return store


def of_seed(seed: int, finished: Record, store: Store) -> Record:
    """The finished run as if it were another seed's."""
    record = Record(shutil.copytree(finished.folder, store.folder / f"seed-{seed}"))
    change(record.config, seed=seed)
    return renamed(record, lambda told: told.update(seed=seed))


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
    assert (result.run, result.seed, result.provenance, result.is_outdated) == (finished.id, 42, "synthetic", False)
    assert result.metrics == read_json(evaluation.result)["metrics"]
    assert result.configuration == configuration_of("cnn_bn_gap", ["evaluation.max_shift=1", "trainer.epochs=2"])
    assert result.name == run_name(read_json(finished.manifest), finished.settings())
    assert [row["epoch"] for row in result.curves] == [1, 2]
    assert (collection.left_out, collection.contradictions) == ([], [])


def test_data_that_a_record_calls_embedded_is_synthetic(store: Store, finished: Record) -> None:
    (now,) = collect([store]).results
    record = store.record(finished.id)
    for file in ("manifest.json", "result.json", "config.yaml"):
        path = next(record.folder.rglob(file))
        text = path.read_text()
        assert "synthetic" in text
        path.write_text(text.replace("synthetic", "embedded"))
    reseal(record)
    (then,) = collect([store]).results
    assert (then.name, then.config, then.manifest["data"]) == (now.name, now.config, now.manifest["data"])
    assert then.provenance == then.result["data"]["provenance"] == "synthetic"
    assert then.configuration == now.configuration


def test_a_run_made_by_other_versions_is_outdated(store: Store, finished: Record) -> None:
    made_by(store.record(finished.id), {"convnet": "1.9"})
    (result,) = collect([store]).results
    assert result.is_outdated
    assert result.versions["convnet"] == "1.9"


def test_a_run_whose_parts_mean_something_else_today_is_left_out(store: Store, finished: Record) -> None:
    made_by(store.record(finished.id), {"convnet": "9.0"})
    collection = collect([store])
    assert (collection.results, collection.left_out) == ([], [LeftOut(finished.id, NO_LONGER)])


def test_a_run_in_two_stores_counts_once_and_the_first_is_taken(store: Store, finished: Record, tmp_path: Path) -> None:
    other, path = copy_of(finished, tmp_path / "other")
    reseal_evaluation(Evaluation(path.parent), metrics={"test/accuracy": 0.25})
    assert [result.metrics for result in collect([other, store]).results] == [{"test/accuracy": 0.25}]
    assert [len(result.metrics) > 1 for result in collect([store, other]).results] == [True]


def change_accuracy(evaluation: Evaluation) -> None:
    reseal_evaluation(evaluation, metrics={**read_json(evaluation.result)["metrics"], "test/accuracy": 0.25})


def test_two_records_of_one_run_that_differ_contradict_each_other(
    store: Store, finished: Record, tmp_path: Path
) -> None:
    other, path = copy_of(finished, tmp_path / "other")
    assert collect([store, other]).contradictions == []
    change_accuracy(Evaluation(path.parent))
    record = other.record(finished.id)
    reseal(record, weights="others")
    reseal_evaluation(Evaluation(path.parent), weights="others")
    expected = [Contradiction(finished.id, ("test/accuracy", "weights"))]
    assert collect([store, other]).contradictions == expected
    # On another machine's numerics other bits are to be expected.
    change(record.manifest, numerics={**read_json(record.manifest)["numerics"], "cpu_capability": "other"})
    reseal(record)
    assert collect([store, other]).contradictions == []


def test_a_contradiction_is_told_once_a_run(decoded: Record, tmp_path: Path) -> None:
    stores = [Store(shutil.copytree(decoded.folder.parent, tmp_path / name)) for name in ("one", "other")]
    first, second, _ = stores[1].record(decoded.id).evaluations()
    for evaluation, metric in ((first, "test/cer"), (second, "test/wer")):
        reseal_evaluation(evaluation, metrics={**read_json(evaluation.result)["metrics"], metric: 9.0})
    assert collect(stores).contradictions == [Contradiction(decoded.id, ("test/cer", "test/wer"))]


@pytest.mark.parametrize("order", [1, -1])
def test_of_records_made_by_different_versions_the_one_that_is_up_to_date_is_taken(
    order: int, store: Store, finished: Record, tmp_path: Path
) -> None:
    other, path = copy_of(finished, tmp_path / "other")
    made_by(other.record(finished.id), {"convnet": "1.9"})
    stores = [store, other][::order]
    assert [result.is_outdated for result in collect(stores).results] == [False]
    assert collect(stores).left_out == []
    change_accuracy(Evaluation(path.parent))
    collection = collect(stores)
    assert [result.is_outdated for result in collection.results] == [False]
    assert collection.left_out == [LeftOut(finished.id, SUPERSEDED)]
    assert collection.contradictions == []


def test_what_the_same_versions_made_contradicts_itself_even_if_outdated(
    store: Store, finished: Record, tmp_path: Path
) -> None:
    other, path = copy_of(finished, tmp_path / "other")
    for one in (store, other):
        made_by(one.record(finished.id), {"convnet": "1.9"})
    change_accuracy(Evaluation(path.parent))
    assert collect([store, other]).contradictions == [Contradiction(finished.id, ("test/accuracy",))]
    made_by(other.record(finished.id), {"convnet": "1.8"})
    collection = collect([store, other])
    assert (collection.contradictions, collection.left_out) == ([], [LeftOut(finished.id, OUTDATED_TOO)])


@pytest.mark.parametrize(
    "file", ["training.json", "identity.json", "manifest.json", "result.json", "config.yaml", "predictions.csv"]
)
@pytest.mark.parametrize("content", ["{", "[]", '{"schema": 1}', '{"schema": 99}'])
def test_a_damaged_record_is_left_out_by_name(file: str, content: str, store: Store, finished: Record) -> None:
    bad = of_seed(43, finished, store)
    path = next(bad.folder.rglob(file))
    path.write_text(content)
    collection = collect([store])
    assert [result.run for result in collection.results] == [finished.id]
    (left_out,) = collection.left_out
    assert left_out.run == bad.id
    assert file in left_out.reason


@pytest.fixture
def committed(tmp_path: Path) -> Record:
    """A committed classifier's record, in a folder of its own."""
    source = next(each for each in COMMITTED.all() if read_json(each.manifest)["experiment"] == "cnn_bn_gap")
    return Record(shutil.copytree(source.folder, tmp_path / "committed" / source.id))


def break_key(record: Record, file: str, keys: str, value: Any) -> Record:
    """Give a key of a record's file another value, or take it out; the record is sealed with it."""
    path = next(record.folder.rglob(file))
    content: Any = read(path)
    *outer, last = keys.split(".")
    node = content
    for key in outer:
        node = node[key]
    if value is GONE:
        del node[last]
    else:
        node[last] = value
    path.write_text(json.dumps(content), encoding="utf-8")
    return reseal(record)


GONE = object()
NAN = float("nan")
REQUIRED = {
    "manifest.json": (
        "run experiment versions bound code code.commit code.dirty numerics numerics.torch numerics.device "
        "numerics.cpu_capability numerics.threads environment environment.processor data data.name data.source "
        "data.provenance data.fingerprint data.sizes data.sizes.train data.sizes.test"
    ),
    "identity.json": "seed fingerprint trainer",
    "training.json": "state epochs seconds peak_memory_bytes finished weights",
    "result.json": "experiment seconds metrics versions",
    "config.yaml": "model seed optimizer optimizer._target_ evaluation._target_ trainer.epochs",
}
WRONG = [
    ("identity.json", "seed", "42"),
    ("config.yaml", "seed", "42"),
    ("config.yaml", "optimizer.lr", None),  # it may be gone, where nothing is learned by gradient
    ("config.yaml", "optimizer.lr", "0.1"),
    ("config.yaml", "data.fraction", 0),
    ("config.yaml", "data.layout", 7),
    ("config.yaml", "model.attention", "bahdanau"),
    ("manifest.json", "versions.convnet", 1.0),
    ("manifest.json", "data.sizes.train", 0),
    ("manifest.json", "data.sizes.test", None),
    ("manifest.json", "data.provenance", "found"),
    ("manifest.json", "environment", []),
    ("training.json", "state", "finishd"),
    ("training.json", "epochs", 0),
    ("training.json", "seconds", -1.0),
    ("training.json", "seconds", NAN),
    ("training.json", "peak_memory_bytes", "1"),
    ("result.json", "metrics", {}),
    ("result.json", "metrics.test/accuracy", None),
    ("result.json", "metrics.test/accuracy", "0.9"),
    ("result.json", "metrics.test/accuracy", NAN),
    ("result.json", "metrics.test/accuracy", [0.9]),
    ("result.json", "metrics.test/accuracy", True),
    ("result.json", "seconds", None),
    ("config.yaml", "data", "intel"),
    ("config.yaml", "model.attention", {"size": 3}),
]


@pytest.mark.parametrize(
    ("file", "keys", "value"),
    [(file, keys, GONE) for file, required in REQUIRED.items() for keys in required.split()] + WRONG,
)
def test_a_record_with_an_odd_key_is_left_out_and_the_key_named(
    file: str, keys: str, value: Any, committed: Record
) -> None:
    committed = break_key(committed, file, keys, value)
    collection = collect([Store(committed.folder.parent)])
    assert collection.results == []
    (left_out,) = collection.left_out
    assert left_out.run == committed.id
    assert "\n" not in left_out.reason
    assert str(committed.folder) not in left_out.reason
    assert f"{file}: {keys}" in left_out.reason


@pytest.mark.parametrize(
    ("keys", "value"),
    [("_target_", GONE), ("decoding", "greedy"), ("decoding", {}), ("members", [None]), ("members", 3), ("k", None)],
)
def test_an_evaluation_with_odd_settings_is_left_out(
    keys: str, value: Any, decoded: Record, store: Store, finished: Record
) -> None:
    record = Record(shutil.copytree(decoded.folder, store.record(decoded.id).folder))
    break_key(record, "evaluations/*/config.yaml", keys, value)
    collection = collect([store])
    assert [result.run for result in collection.results] == [finished.id]
    (left_out,) = collection.left_out
    assert left_out.run == decoded.id
    assert f"config.yaml: {keys}" in left_out.reason


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('{"epoch": 1,', "{", "line 1 is damaged"),
        ('{"epoch": 1,', '{"epoch": 2,', "holds other epochs than 1 to 2"),
        ('{"epoch": 1,', '{"epoch": 1', "line 1 is damaged"),
        ('{"epoch": 2,', '{"epoch": 2', "holds other epochs than 1 to 2"),
        ('{"epoch": 2,', '{"epoch": null,', "holds other epochs than 1 to 2"),
        ('{"epoch": 2,', '{"epoch": 2, "val/accuracy_best": NaN,', "line 2: val/accuracy_best: "),
        ('{"epoch": 2,', '{"epoch": 2, "val/accuracy_best": "1",', "line 2: val/accuracy_best: "),
        ("{", "[{", "line 1 is damaged"),
    ],
)
def test_a_record_with_odd_curves_is_left_out(old: str, new: str, told: str, store: Store, finished: Record) -> None:
    path = store.record(finished.id).metrics
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    assert "metrics.jsonl: damaged" in collect([store]).left_out[0].reason
    reseal(store.record(finished.id))
    collection = collect([store])
    assert collection.results == []
    (left_out,) = collection.left_out
    assert (left_out.run, left_out.reason.partition(":")[0]) == (finished.id, "metrics.jsonl")
    assert told in left_out.reason


@pytest.mark.parametrize("lost", ["metrics.jsonl", "manifest.json", "config.yaml", "evaluations"])
def test_a_finished_record_that_lacks_something_is_named(lost: str, store: Store, finished: Record) -> None:
    path = store.record(finished.id).folder / lost
    path.rename(path.with_name("elsewhere"))
    collection = collect([store])
    assert collection.results == []
    (left_out,) = collection.left_out
    assert left_out.run == finished.id
    assert ("not evaluated" if lost == "evaluations" else lost) in left_out.reason


def test_what_is_being_evaluated_is_not_named(store: Store, finished: Record) -> None:
    record = store.record(finished.id)
    shutil.rmtree(record.folder / "evaluations")
    with record.lock():
        assert collect([store]).left_out == []
    assert collect([store]).left_out == [LeftOut(finished.id, NOT_EVALUATED)]


def test_what_was_trained_for_an_ensemble_needs_no_evaluation(store: Store, finished: Record) -> None:
    member = of_seed(43, finished, store)
    shutil.rmtree(member.folder / "evaluations")
    assert collect([store]).left_out == [LeftOut(member.id, NOT_EVALUATED)]
    (evaluation,) = store.record(finished.id).evaluations()
    reseal_evaluation(evaluation, members={member.id: "w"})
    assert collect([store]).left_out == []


def test_what_is_not_finished_or_was_set_aside_is_not_named(store: Store, finished: Record) -> None:
    diverged, begun = (of_seed(seed, finished, store) for seed in (43, 44))
    reseal(diverged, state="diverged", step=7)
    begun.training.unlink()
    begun.metrics.write_text("")
    aside = shutil.copytree(finished.folder, store.folder / f"{finished.id}.aside-1")
    (aside / "config.yaml").unlink()
    collection = collect([store])
    assert [result.run for result in collection.results] == [finished.id]
    assert collection.left_out == []


def test_what_diverged_is_counted_beside_the_results_of_its_configuration(store: Store, finished: Record) -> None:
    for seed in (43, 44):
        reseal(of_seed(seed, finished, store), state="diverged", step=7)
    other = of_seed(45, finished, store)
    change(other.config, optimizer={**read(other.config)["optimizer"], "lr": 0.5})
    reseal(renamed(other, lambda told: told["optimizer"].update(lr=0.5)), state="diverged", step=8)
    collection = collect([store])
    (result,) = collection.results
    assert collection.left_out == []
    (like,) = (runs.diverged for runs in alike(collection.results, collection.diverged))
    assert sorted((run.seed, run.step, run in like) for run in collection.diverged) == [
        (43, 7, True),
        (44, 7, True),
        (45, 8, False),
    ]
    cell = ours(Runs([result], like), "test/accuracy")
    assert cell.text == f"{result.metrics['test/accuracy']:.4f} (1), 2 diverged"
    assert cell.hint == "seeds 42; diverged: seeds 43, 44"
    assert ours(Runs((), like), "test/accuracy").text == "2 diverged"
    section = diverged(collection)
    assert section is not None
    (grid,) = grids(section)
    named = sorted((run.name, run.run) for run in collection.diverged)
    assert [(row[1].text, row[0].text) for row in grid.rows] == named
    # Elsewhere, under other versions or numerics, the same run may have ended well: that is its result.
    assert collect([store, Store(finished.folder.parent)]).diverged == collection.diverged
    run = collection.diverged[0]
    again = Store(store.folder.parent / "again")
    shutil.copytree(run.record.folder, again.record(run.record.id).folder)
    reseal(again.record(run.record.id), state="finished")
    assert run.record.id not in {each.record.id for each in collect([store, again]).diverged}


def test_a_diverged_record_of_another_meaning_is_left_out(store: Store, finished: Record) -> None:
    record = of_seed(43, finished, store)
    reseal(record, state="diverged", step=7)
    made_by(record, {"convnet": "9.0"})
    collection = collect([store])
    assert collection.diverged == []
    assert collection.left_out == [LeftOut(record.id, NO_LONGER)]


@pytest.mark.slow
def test_the_report_is_written_beside_odd_records(
    committed: Record, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, ids = committed.folder.parent, list[str]()
    for number, (file, keys, value) in enumerate(WRONG):
        odd = Record(shutil.copytree(committed.folder, runs / f"odd{number}"))
        change(odd.config, seed=1000 + number)
        odd = renamed(odd, lambda told, seed=1000 + number: told.update(seed=seed))  # type: ignore[misc]
        ids.append(break_key(odd, file, keys, value).id)
    assert (
        commands.call("report", ["--profile", "none", "--runs", str(runs), "--output", str(tmp_path / "report")]) == 0
    )
    assert capsys.readouterr().err == ""
    text = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    listed = text.partition("Records left out")[2]
    assert all(name in listed for name in ids)


def test_runs_without_a_known_test_metric_are_ranked_by_nothing() -> None:
    group = [made("cnn_vanilla", metrics={"val/accuracy": 0.5})]
    assert leaderboards([Runs(group)]).blocks == ()
    tested = [made("cnn_bn_gap", metrics={"test/accuracy": 0.5})]
    (board,) = grids(leaderboards([Runs(group), Runs(tested)]))
    assert [row[1].text for row in board.rows] == ["cnn_bn_gap"]


def test_a_run_whose_parts_are_gone_is_listed_without_a_command() -> None:
    result = made("cnn_vanilla", metrics={"test/accuracy": 0.5})
    gone = replace(result, config={**result.config, "model": {"_target_": "dlbench.models.gone.Net"}})
    commands = [grid.rows[0][2].text for each in (result, gone) for grid in grids(runs([each]))]
    assert commands[0].startswith("python -m dlbench +experiment=cnn_vanilla")
    assert commands[1] == "-"


def test_runs_share_a_row_only_where_one_command_makes_them() -> None:
    one, two = (made("cnn_vanilla", seed=seed, metrics={"test/accuracy": 0.5}) for seed in (42, 43))
    averaged = replace(two, identity={**two.identity, "callbacks.swa": {"is": "swa"}}, configuration="another")
    copied = replace(two, manifest={**two.manifest, "data": {**two.manifest["data"], "provenance": "user copy"}})
    for results, expected in (([one, two], 1), ([one, averaged], 2), ([one, copied], 2)):
        (grid,) = grids(runs(results))
        assert len(grid.rows) == expected
        shown = [row[2].text for row in grid.rows]
        assert shown[0].endswith("seed=42,43" if expected == 1 else "seed=42")
        assert ("-" in shown) == (averaged in results)


def test_a_record_of_an_unknown_experiment_is_left_out_by_name(store: Store, finished: Record) -> None:
    (evaluation,) = store.record(finished.id).evaluations()
    reseal_evaluation(evaluation, experiment="cnn_of_old")
    collection = collect([store])
    assert collection.results == []
    assert collection.left_out == [LeftOut(finished.id, "unknown experiment cnn_of_old")]


def test_results_of_one_configuration_are_those_that_differ_in_seed_alone() -> None:
    def result(*overrides: str, seed: int = 42, data: str = "f") -> Any:
        return made("cnn_vanilla", *overrides, seed=seed, fingerprint=data, metrics={})

    rate = "optimizer.lr=0.1"
    results = [result(), result(seed=1), result(rate), result(rate, seed=1), result(seed=1)]
    results += [result("data.source=npz", "data.synthetic_sizes=[6,6,6]", seed=2), result(rate, seed=3, data="other")]
    groups = by_configuration(results)
    assert {name: [result.seed for result in runs.results] for name, runs in groups.items()} == {
        configuration_of("cnn_vanilla", []): [1, 2, 42],
        configuration_of("cnn_vanilla", [rate]): [1, 42],
    }


def test_of_two_results_with_one_seed_the_one_that_is_up_to_date_counts() -> None:
    others = {"convnet": "1.9"}
    outdated, fresh = (made("cnn_vanilla", metrics={}, versions=versions) for versions in (others, None))
    other = made("cnn_vanilla", seed=1, metrics={}, versions=others)
    for results in ([outdated, other, fresh], [fresh, other, outdated]):
        assert [runs.results for runs in by_configuration(results).values()] == [[other, fresh]]
    (again,) = by_configuration([fresh, replace(fresh)]).values()
    assert again.first is fresh


@pytest.mark.parametrize(
    ("experiment", "overrides"),
    [
        ("cnn_bn_gap", ("data.layout=scrambled", "model.hidden_bn=[true,true]", "model.classes=null", "seed=1")),
        ("p2g_attention", ("decoding=beam", "evaluation.decoding={width: 3}", "optimizer.lr=1e-3")),
        ("p2g_attention", ("evaluation.decoding.max_length=9", "decoding=beam", "evaluation.decoding={width: 3}")),
        ("p2g_lstm", ("seed=${trainer.epochs}", "optimizer.lr=${seed}")),
        ("p2g_lstm", ("model/attention=bilinear", "model.size=64", "+model.attention.extra=1", "~scheduler.epochs")),
        ("p2g_lstm", ("name='a b'", "data.root=null", "trainer.epochs=3", "trainer.epochs=4")),
        ("p2g_lstm", ("data.synthetic_sizes={a: 1}",)),
        ("p2g_lstm", ("evaluation.decoding={nonsense: 1}",)),
        ("p2g_lstm", ("trainer.epochs.more=1",)),
        ("p2g_lstm", ("trainer.epoch=1",)),
        ("p2g_lstm", ("seed=1,2",)),
    ],
)
def test_values_that_are_set_compose_as_hydra_composes_them(experiment: str, overrides: tuple[str, ...]) -> None:
    def made_by(compose: Callable[[], dict[str, Any]]) -> Any:
        try:
            return compose()
        except Exception as error:
            return type(error)

    found = made_by(lambda: composed(experiment, overrides))
    assert found == made_by(lambda: _compose(f"+experiment={experiment}", *overrides))
    assert found != composed(experiment, ())
