"""Published beside ours: the report files say what the reports say, and only what is comparable stands beside it."""

import os
import re
import shutil
import statistics
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from dlbench import resources
from dlbench.errors import ConfigError
from dlbench.identity import canonical, configuration_id, evaluation_id
from dlbench.models.cost import count_parameters
from dlbench.records.files import read_json, write_json
from dlbench.records.store import Record, State, Store
from dlbench.report.__main__ import OTHER_METRICS, STALE_NOTE, main, show
from dlbench.report.metrics import MAX_K, MAX_SHIFT, METRICS
from dlbench.report.published import Row, load, load_all
from dlbench.report.results import Result, by_configuration, collect, configuration_of, mean_and_spread
from dlbench.run import run
from dlbench.settings import build, check

TinyIn = Callable[..., list[str]]
REPORTS = load_all()
ROWS = [
    pytest.param(name, row, id=f"{name}-{table.title}-{row.label}".replace(" ", "_"))
    for name, report in REPORTS.items()
    for table in report.tables
    for row in table.rows
]
OF_ANOTHER_NETWORK = {("a2425", "cnn_bn_gap"), ("c2425", "cnn_vanilla"), ("c2425", "cnn_bn_gap")}
"""The reports' networks that ours are not: their parameters may not stand beside ours."""


@pytest.fixture(scope="module")
def finished(compose: Callable[..., Any], tiny_in: TinyIn, tmp_path_factory: pytest.TempPathFactory) -> Record:
    """A real run, finished."""
    runs = tmp_path_factory.mktemp("report") / "runs"
    return run(compose("+experiment=cnn_bn_gap", *tiny_in(runs, sizes=(24, 12, 12)))).record


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command sets this variable; it is put back by the end of each test."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")


# --- report files ----------------------------------------------------------------------------------------------------


def test_every_report_file_is_loaded() -> None:
    folders = {path.parent.name for path in resources.experiments().glob("*/report.yaml")}
    assert REPORTS.keys() == folders
    assert {"a2425", "b2425", "c2425"} <= folders


@pytest.mark.parametrize(("report", "row"), ROWS)
def test_every_row_names_a_run_that_can_be_made(report: str, row: Row, compose: Callable[..., Any]) -> None:
    for overrides in ([], *REPORTS[report].variants.values()):
        config = compose(f"+experiment={row.experiment}", *row.overrides, *overrides)
        check(OmegaConf.to_container(config, resolve=True))  # type: ignore[arg-type]
    assert config.name == row.experiment


@pytest.mark.parametrize(("report", "row"), ROWS)
def test_published_parameters_are_those_of_the_network(report: str, row: Row, compose: Callable[..., Any]) -> None:
    is_other = (report, row.experiment) in OF_ANOTHER_NETWORK
    if "model/parameters" not in row.published:
        assert is_other or report == "c2425"
        return
    assert not is_other
    model = build("model", compose(f"+experiment={row.experiment}", *row.overrides).model)
    assert row.published["model/parameters"] == count_parameters(model)


def test_the_known_metrics_are_those_of_runs(
    finished: Record, compose: Callable[..., Any], tiny_in: Callable[..., list[str]], tmp_path: Path
) -> None:
    (evaluation,) = finished.evaluations()
    shifts = {f"test/accuracy_shift_{pixels}" for pixels in range(MAX_SHIFT + 1)}
    samples = {f"test/wer_at_{k}" for k in range(2, MAX_K + 1)}
    transducer = run(compose("+experiment=p2g_nucleus", *tiny_in(tmp_path), "model.size=16")).result["metrics"].keys()
    assert "test/wer_at_3" in transducer
    assert read_json(evaluation.result)["metrics"].keys() | transducer | shifts | samples == METRICS
    config: Any = OmegaConf.to_container(compose("+experiment=cnn_vanilla", f"evaluation.max_shift={MAX_SHIFT}"))
    check(config)
    config["evaluation"]["max_shift"] += 1
    with pytest.raises(ConfigError, match="max_shift"):
        check(config)


def test_the_rows_run_by_default_are_one_of_each_network() -> None:
    rows = [row for report in REPORTS.values() for table in report.tables for row in table.rows if row.default]
    assert sorted(row.experiment for row in rows) == ["cnn_bn_gap", "cnn_vanilla"]


@pytest.mark.parametrize("report", ["a2425", "b2425", "c2425"])
def test_published_values_are_what_the_reports_state(report: str) -> None:
    path = Path(os.environ.get("DLBENCH_DATA", "")) / ".." / "reports" / "reported.yaml"
    if "DLBENCH_DATA" not in os.environ or not path.is_file():
        pytest.skip("the reports' values (DLBENCH_DATA/../reports/reported.yaml) are not at hand")
    stated = yaml.safe_load(path.read_text(encoding="utf-8"))[report]
    names = {"train_loss": "train/loss_running_mean", "val_loss": "val/loss"}
    names |= {f"{split}_accuracy": f"{split}/accuracy" for split in ("val", "test")}
    expected = {
        (experiment, rate): {names[name]: value for name, value in values.items()}
        for experiment in ("cnn_vanilla", "cnn_bn_gap")
        for rate, values in stated[f"intel_{experiment}"].items()
    }
    found, parameters = {}, {}
    for row in (row for table in REPORTS[report].tables for row in table.rows):
        (rate,) = (float(text.removeprefix("optimizer.lr=")) for text in row.overrides if "optimizer.lr=" in text)
        assert row.label == f"lr {rate:g}"
        assert "data.layout=scrambled" in row.overrides
        metrics = dict(row.published)
        if "model/parameters" in metrics:
            parameters[row.experiment] = metrics.pop("model/parameters")
        found[row.experiment, rate] = metrics
    assert found == expected
    of_our_networks = {
        name: value for name, value in stated["parameters"].items() if (report, name) not in OF_ANOTHER_NETWORK
    }
    assert parameters == of_our_networks


GOOD = """
title: T
tables:
  - title: A
    rows:
      - {label: l, experiment: cnn_vanilla, overrides: [], published: {test/accuracy: 0.5}}
"""


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("title: T", "titel: T", "title: Field required"),
        ("label: l", "label: l, lable: x", "tables.0.rows.0.lable: Extra inputs are not permitted"),
        ("overrides: []", "overrides: seed=1", "tables.0.rows.0.overrides: "),
        ("0.5", "half", "tables.0.rows.0.published.test/accuracy: Input should be a valid number"),
        ("{test/accuracy: 0.5}", "0.5", "tables.0.rows.0.published: "),
        ("test/accuracy", "test/acuracy", "A, l: test/acuracy: no such metric; did you mean test/accuracy"),
        ("test/accuracy", "test/accuracy_shift_17", "A, l: test/accuracy_shift_17: no such metric; did you mean test/"),
        ("title: T", "title: [", ""),
        (GOOD, "", ""),
    ],
)
def test_what_is_wrong_in_a_report_file_is_named_with_the_file(
    right: str, wrong: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "report.yaml"
    path.write_text(GOOD)
    assert load(path).title == "T"
    path.write_text(GOOD.replace(right, wrong))
    with pytest.raises(ConfigError, match=re.escape(f"{path}: {message}")):
        load(path)


# --- results ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def store(finished: Record, tmp_path: Path) -> Store:
    """The finished run and one that is not."""
    for name in (finished.id, "0begun"):
        shutil.copytree(finished.folder, tmp_path / "runs" / name)
    store = Store(tmp_path / "runs")
    store.record("0begun").training.unlink()
    return store


def test_finished_runs_are_collected(store: Store, finished: Record, compose: Callable[..., Any]) -> None:
    (result,) = collect([store])
    (evaluation,) = finished.evaluations()
    assert (result.run, result.seed, result.provenance, result.is_stale) == (finished.id, 42, "embedded", False)
    assert result.metrics == read_json(evaluation.result)["metrics"]
    assert result.configuration == configuration_of("cnn_bn_gap", ["trainer.epochs=2"])


def test_a_run_made_by_other_source_is_stale(store: Store, finished: Record) -> None:
    manifest = store.record(finished.id).manifest
    write_json(manifest, {**read_json(manifest), "source": "0" * 64})
    (result,) = collect([store])
    assert result.is_stale


def test_a_run_in_two_stores_counts_once_and_the_first_is_taken(store: Store, finished: Record, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    shutil.copytree(finished.folder, other.record(finished.id).folder)
    (evaluation,) = other.record(finished.id).evaluations()
    write_json(evaluation.result, {**read_json(evaluation.result), "metrics": {"test/accuracy": 0.25}})
    assert [result.metrics for result in collect([other, store])] == [{"test/accuracy": 0.25}]
    assert [len(result.metrics) > 1 for result in collect([store, other])] == [True]


@pytest.mark.parametrize("file", ["training.json", "manifest.json", "result.json"])
@pytest.mark.parametrize("content", ["{", "[]", '{"schema": 1}', '{"schema": 99}'])
def test_a_damaged_record_is_left_out_by_name(
    file: str, content: str, store: Store, finished: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished.folder, store.record("0bad").folder)
    (path,) = store.record("0bad").folder.rglob(file)
    path.write_text(content)
    assert [result.run for result in collect([store])] == [finished.id]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("dlbench: record 0bad left out: ")


def test_results_of_one_configuration_are_those_that_differ_in_seed_alone(compose: Callable[..., Any]) -> None:
    def result(*overrides: str, fingerprint: str = "f", device: str = "cpu") -> Result:
        config = OmegaConf.to_container(compose("+experiment=cnn_vanilla", *overrides), resolve=True)
        scientific = canonical(config, fingerprint, device)  # type: ignore[arg-type]
        configuration = evaluation_id(configuration_id(scientific), config["evaluation"])  # type: ignore[call-overload,index]
        return Result(" ".join(overrides), configuration, scientific["seed"], fingerprint, "verified", {})

    results = [result(), result("seed=1"), result("optimizer.lr=0.1"), result("seed=1", "optimizer.lr=0.1")]
    results.append(result("seed=2", "data.source=npz", "data.embedded_sizes=[6,6,6]", device="cuda"))
    results.append(result("seed=1", device="cuda"))  # a seed counts once
    groups = by_configuration(results)
    assert [[result.seed for result in group] for group in groups.values()] == [[42, 1, 2], [42, 1]]
    assert list(groups) == [configuration_of("cnn_vanilla", []), configuration_of("cnn_vanilla", ["optimizer.lr=0.1"])]


@given(values=st.lists(st.floats(0, 1), min_size=2, max_size=12, unique=True))
def test_means_and_standard_deviations_are_numpys(values: list[float]) -> None:
    mean, deviation, count = re.fullmatch(r"(\S+) ± (\S+) \((?:n=)?(\d+)\)", mean_and_spread(values)).groups()  # type: ignore[union-attr]
    assert float(mean) == pytest.approx(np.mean(values), abs=0.51e-4)
    assert float(deviation) == pytest.approx(np.std(values, ddof=1), abs=0.51e-4)
    assert int(count) == len(values)


@pytest.mark.parametrize(
    ("values", "shown"), [([0.71234], "0.7123"), ([0.5, 0.5, 0.5], "0.5000"), ([5340742.0] * 2, "5,340,742")]
)
def test_a_value_that_does_not_vary_stands_without_a_spread(values: list[float], shown: str) -> None:
    text = mean_and_spread(values)
    assert text.startswith(f"{shown} (")
    assert str(len(values)) in text.removeprefix(shown)
    assert "±" not in text


# --- tables ----------------------------------------------------------------------------------------------------------


@cache
def configurations() -> set[str]:
    """Those of every row in every variant."""
    return {
        configuration_of(row.experiment, [*row.overrides, *overrides])
        for report in REPORTS.values()
        for row in (row for table in report.tables for row in table.rows)
        for overrides in ([], *report.variants.values())
    }


def every_result(provenance: str, seeds: int = 1) -> list[Result]:
    """For every row and every variant, runs whose metrics are told from everything published."""
    results = []
    for configuration, seed in product(sorted(configurations()), range(seeds)):
        metrics = dict.fromkeys(OTHER_METRICS, 0.123 + 0.011 * seed) | {"model/parameters": 5_340_742}
        results.append(Result(f"{configuration}-{seed}", configuration, seed, "f", provenance, metrics))
    return results


def tables(out: str) -> list[str]:
    """What was printed, cut before each table's title."""
    titles = "|".join(re.escape(report.title) for report in REPORTS.values())
    return re.split(rf"^(?={titles}|EMBEDDED)", out, flags=re.MULTILINE)[1:]


def test_results_on_real_pictures_stand_beside_the_published(capsys: pytest.CaptureFixture[str]) -> None:
    show(REPORTS, every_result("verified"))
    shown = tables(capsys.readouterr().out)
    assert len(shown) == len(REPORTS)
    for text, report in zip(shown, REPORTS.values(), strict=True):
        rows = [row for table in report.tables for row in table.rows]
        accuracies = [row.published["test/accuracy"] for row in rows]
        lines = [line.split() for line in text.splitlines() if "test/accuracy" in line]
        assert [float(line[line.index("test/accuracy") + 1]) for line in lines] == accuracies
        assert all(line.count("0.1230") == 1 + len(report.variants) for line in lines)


def test_results_on_drawn_pictures_never_stand_beside_the_published(capsys: pytest.CaptureFixture[str]) -> None:
    show(REPORTS, [])
    nothing = tables(capsys.readouterr().out)
    show(REPORTS, every_result("embedded"))
    *published, embedded = tables(capsys.readouterr().out)
    assert published == nothing
    assert embedded.startswith("EMBEDDED (drawn) pictures: comparable with no report")
    assert embedded.count("0.1230") == 4 * len({(row.values[1].experiment, *row.values[1].overrides) for row in ROWS})
    values = {f"{value:.4f}" for row in ROWS for value in row.values[1].published.values() if value < 100}
    assert not values & set(embedded.split())


def test_a_mean_over_seeds_is_shown_with_its_spread(capsys: pytest.CaptureFixture[str]) -> None:
    show(REPORTS, every_result("verified", seeds=3))
    spread = f"{0.134:.4f} ± {statistics.stdev([0.123, 0.134, 0.145]):.4f}"
    assert spread in capsys.readouterr().out


@pytest.mark.parametrize("provenance", ["verified", "embedded"])
def test_a_value_of_other_code_is_marked_and_the_mark_explained(
    provenance: str, capsys: pytest.CaptureFixture[str]
) -> None:
    results = every_result(provenance, seeds=2)
    stale = {configuration_of("cnn_bn_gap", ["data.layout=scrambled", "optimizer.lr=0.01"])}
    show(REPORTS, results)
    fresh = capsys.readouterr().out
    assert "*" not in fresh
    show(REPORTS, [replace(r, is_stale=r.configuration in stale and r.seed == 1) for r in results])
    marked = capsys.readouterr().out
    texts = tables(marked)
    assert 0 < sum("(2)*" in text for text in texts) <= len(texts)
    assert all(("(2)*" in text) == (STALE_NOTE in text) for text in texts)
    unmarked = marked.replace("(2)*", "(2)").replace(STALE_NOTE, "")
    assert unmarked.replace("─", "").split() == fresh.replace("─", "").split()


def test_the_tables_are_whole_and_the_same_in_every_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    results = [*every_result("verified", seeds=10), *every_result("embedded", seeds=10)]
    shown = []
    for columns in ("20", "300", None):
        monkeypatch.delenv("COLUMNS", raising=False)
        if columns:
            monkeypatch.setenv("COLUMNS", columns)
        show(REPORTS, results)
        shown.append(capsys.readouterr().out)
    assert len(set(shown)) == 1
    assert "…" not in shown[0]
    assert max(map(len, shown[0].splitlines())) < 120


# --- command ---------------------------------------------------------------------------------------------------------


def test_without_running_the_tables_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--no-run", "--runs", str(tmp_path / "runs")]) == 0
    out, err = capsys.readouterr()
    published = [text for text in tables(out) if not text.startswith("EMBEDDED")]
    assert len(published) == len(REPORTS)
    assert err == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_default_rows_are_run_and_then_looked_up(
    tiny_in: TinyIn, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tiny = tiny_in(tmp_path / "runs", epochs=1, sizes=(16, 6, 6))
    command = ["--runs", str(tmp_path / "runs"), *tiny, "trainer.progress=lines", "evaluation.max_shift=0"]
    assert main(command) == 0
    records = Store(tmp_path / "runs").all()
    assert {read_json(record.manifest)["experiment"] for record in records} == {"cnn_vanilla", "cnn_bn_gap"}
    assert all(record.state() == State.FINISHED and record.evaluations() for record in records)
    assert {line.split("  ")[0] for line in capfd.readouterr().out.splitlines() if ": epoch " in line} == {
        "cnn_vanilla: epoch 1/1",
        "cnn_bn_gap: epoch 1/1",
    }


def test_a_run_that_fails_is_told_and_the_tables_are_still_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["--runs", str(tmp_path / "runs"), "optimizer.lrr=1"]) == 1
    out, _ = capfd.readouterr()
    for experiment in ("cnn_vanilla", "cnn_bn_gap"):
        assert f"{experiment}: dlbench: optimizer.lrr: no such key; did you mean optimizer.lr" in out
    assert len(tables(out)) >= len(REPORTS)
