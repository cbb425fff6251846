"""The reports' figures: what they draw is what the records hold, as SVG; damage is named."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from resealed import put

from dlbench.metrics.names import is_fraction
from dlbench.records.store import Record
from dlbench.report.checks import Verdicts
from dlbench.report.document import Grid, Picture, Verdict
from dlbench.report.figures import artifacts, style
from dlbench.report.figures.plots import bars, draw, line, published_against_ours
from dlbench.report.results import Collection, Evidence, Result, Runs
from dlbench.report.schema import Configuration, Figure, Report
from dlbench.report.statistics import prediction_interval
from dlbench.terminal import format_value

PLAIN, BN_GAP = "cnn_vanilla", "cnn_bn_gap"
NO_ATTENTION, ATTENTION, NUCLEUS, LATER = "without attention", "with attention", "nucleus", "later"
REPORT = Report.model_validate(
    yaml.safe_load("""
title: a report
data: the data
configurations:
  cnn_vanilla: {experiment: cnn_vanilla, overrides: [data.layout=chw, trainer.epochs=10]}
  cnn_bn_gap: {experiment: cnn_bn_gap, overrides: [data.layout=chw, trainer.epochs=10]}
  without attention: {experiment: p2g_lstm}
  with attention: {experiment: p2g_attention}
  nucleus: {experiment: p2g_nucleus}
  later: {experiment: p2g_never, planned: true}
  unheard of: {experiment: p2g_lstm, overrides: [model.size=7]}
tables:
  - title: Spelling
    rows:
      - {of: without attention, label: none, published: {test/cer: 0.3168, test/wer: 0.817}}
      - {of: with attention, label: Bahdanau, published: {test/cer: 0.2585, model/parameters: 322781}}
      - {of: later, label: later, published: {test/cer: 0.1234}}
figures:
  - {title: Curves, kind: curves, of: [without attention, with attention], metrics: [val/cer, train/loss]}
  - {title: Bars, kind: bars, of: [without attention, with attention, later], metrics: [test/cer, test/wer]}
  - {title: Attention, kind: attention, of: [with attention]}
  - {title: Maps, kind: maps, of: [cnn_vanilla, cnn_bn_gap]}
  - {title: Confusion, kind: confusion, of: [cnn_vanilla, cnn_bn_gap]}
  - title: Samples
    kind: samples
    of: [nucleus]
    words: {remainder: {place: 0, published: [ramainder]}, misperception: {place: 1, published: [misseption]}}
""")
)
FIGURES = {figure.kind: figure for figure in REPORT.figures}
PICTURES = [kind for kind in FIGURES if kind != "samples"]
LIMITS = {"maps": 250_000}
"""Bytes; photographs do not get smaller."""

ResultsOf = Callable[[str], list[Result]]


@pytest.fixture(scope="module")
def results_of(committed: Verdicts) -> ResultsOf:
    """The committed records of the report's configurations, real ones only."""
    evidence = Evidence({"a": REPORT}, committed.evidence.collection)
    return lambda name: [*evidence.runs("a", name).results]


@pytest.fixture
def copied(results_of: ResultsOf, tmp_path: Path) -> Callable[[str], list[Result]]:
    """The same, as copies that a test may damage."""

    def copy(result: Result) -> Result:
        record = Record(shutil.copytree(result.record.folder, tmp_path / result.run, dirs_exist_ok=True))
        return replace(result, record=record, evaluation=record.evaluation(result.evaluation.id))

    return lambda configuration: list(map(copy, results_of(configuration)))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No figure that another test drew."""
    monkeypatch.setenv("DLBENCH_CACHE", str(tmp_path / "cache"))


def redrawn(figure: Figure, report: Report, results_of: ResultsOf, identity: str) -> Picture | Grid | None:
    """What is drawn of these results."""
    return draw(figure, report, lambda name: Runs(results_of(name)), identity)


def picture(figure: Figure, results_of: ResultsOf, identity: str = "fig") -> Picture:
    drawn = redrawn(figure, REPORT, results_of, identity)
    assert isinstance(drawn, Picture)
    return drawn


# --- the SVG ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", PICTURES)
def test_svg_is_whole_small_and_keeps_to_itself(kind: str, results_of: ResultsOf) -> None:
    drawn = picture(FIGURES[kind], results_of, "a2425-figure-1")
    root = ElementTree.fromstring(drawn.svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert len(drawn.svg) < LIMITS.get(kind, 120_000)
    tags = {node.tag.rpartition("}")[2] for node in root.iter()}
    assert not tags & {"script", "metadata", "text"}  # letters are drawn: they look the same in every reader
    assert not re.findall(r"href=\"(?!#|data:)", drawn.svg)


@pytest.mark.parametrize("kind", PICTURES)
def test_same_records_same_bytes_whatever_the_users_settings(kind: str, results_of: ResultsOf) -> None:
    first = picture(FIGURES[kind], results_of)
    before = dict(mpl.rcParams)
    assert picture(FIGURES[kind], results_of) == first
    assert dict(mpl.rcParams) == before
    with mpl.rc_context({"font.size": 20, "axes.grid": True, "lines.linewidth": 7}):
        assert picture(FIGURES[kind], results_of) == first


def test_drawing_does_without_torch_and_pyplot() -> None:
    code = "import sys, dlbench.report.figures.plots; print({'torch', 'matplotlib.pyplot'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


# --- curves ----------------------------------------------------------------------------------------------------------

VALUES = st.floats(-1e6, 1e6)


@given(st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(VALUES, min_size=n, max_size=n), min_size=1, max_size=9)))
def test_a_line_is_the_mean_within_the_extremes(rows: list[list[float]]) -> None:
    values = np.array(rows)
    found = line("a", [dict(enumerate(run, start=1)) for run in values.T.tolist()])
    assert found is not None
    assert found.n == values.shape[1]
    assert found.epochs.tolist() == list(range(1, len(rows) + 1))
    np.testing.assert_allclose(found.mean, values.mean(axis=1))
    np.testing.assert_array_equal(found.low, values.min(axis=1))
    np.testing.assert_array_equal(found.high, values.max(axis=1))


def test_a_line_has_the_epochs_that_all_runs_have() -> None:
    found = line("a", [{1: 1.0, 2: 2.0, 3: 3.0}, {2: 4.0, 3: 5.0, 4: 6.0}, {}])
    assert found is not None
    assert (found.n, found.epochs.tolist(), found.mean.tolist()) == (2, [2, 3], [3.0, 4.0])
    assert line("a", [{}]) is None
    assert line("a", [{1: 1.0}, {2: 1.0}]) is None


def test_curves_are_those_of_the_records(results_of: ResultsOf) -> None:
    figure = FIGURES["curves"]
    drawn = picture(figure, results_of)
    for metric in figure.metrics:
        for name in figure.of:
            runs = [json.loads(text) for run in results_of(name) for text in run.record.metrics.open()]
            last = [row[metric] for row in runs if row["epoch"] == 20]
            assert f"{name} {format_value(float(np.mean(last)))} (n={len(last)})" in drawn.description
    assert "After epoch 20" in drawn.description
    assert "validation CER" in drawn.description


def test_every_epoch_is_drawn_where_it_belongs(results_of: ResultsOf) -> None:
    drawn = picture(Figure(title="", kind="curves", of=(PLAIN,), metrics=("val/accuracy",)), results_of)
    runs = [[row["val/accuracy"] for row in run.curves] for run in results_of(PLAIN)]
    strokes = re.findall(r'd="(M[^"zZ]*)"[^>]*fill: none[^>]*stroke: #0072b2', drawn.svg)
    (x, y) = np.array(re.findall(r"[ML] (\S+) (\S+)", strokes[0]), dtype=float).T
    assert len(y) == len(runs[0])
    assert np.corrcoef(x, np.arange(len(x)))[0, 1] == pytest.approx(1, abs=1e-6)
    assert np.corrcoef(y, np.mean(runs, axis=0))[0, 1] == pytest.approx(-1, abs=1e-4)


def test_what_is_not_there_is_said(results_of: ResultsOf) -> None:
    figure = Figure(
        title="Curves",
        kind="curves",
        of=(ATTENTION, LATER, "unheard of"),
        metrics=("val/cer", "val/accuracy"),
        note="as published",
    )
    assert picture(figure, results_of).note == (
        "As published. Not run yet: unheard of. No experiment yet: later. No run has validation accuracy by epoch."
    )


@pytest.mark.parametrize("kind", FIGURES)
def test_without_results_there_is_no_figure(kind: str) -> None:
    assert redrawn(FIGURES[kind], REPORT, lambda _: [], "fig") is None


def test_a_run_with_damaged_curves_is_left_out(copied: ResultsOf) -> None:
    runs = copied(ATTENTION)
    runs[0].record.metrics.write_text('{"epoch": 1, "val/\n{"epoch": 2, "val/cer": 0.5}\n')
    drawn = picture(Figure(title="", kind="curves", of=(ATTENTION,), metrics=("val/cer", "val/wer")), lambda _: runs)
    assert drawn.note == f"Run {runs[0].run} is left out: its metrics.jsonl is damaged."
    assert f"(n={len(runs) - 1})" in drawn.description


# --- bars ------------------------------------------------------------------------------------------------------------


def test_bars_hold_our_runs_and_the_published_value(results_of: ResultsOf) -> None:
    names = (NO_ATTENTION, ATTENTION, LATER)
    found = bars("test/cer", REPORT, {name: results_of(name) for name in names}, names)
    assert [bar.label for bar in found] == list(names)
    assert [bar.published for bar in found] == [(0.3168,), (0.2585,), (0.1234,)]
    assert list(found[0].values) == [run.metrics["test/cer"] for run in results_of(NO_ATTENTION)]
    assert found[0].mean == pytest.approx(np.mean(found[0].values))
    low, high = found[0].interval or (1, 0)
    assert low < min(found[0].values) < max(found[0].values) < high
    assert (found[2].mean, found[2].interval) == (None, None)
    (single,) = bars("test/cer", REPORT, {ATTENTION: results_of(ATTENTION)[:1]}, [ATTENTION])
    assert single.interval is None


def test_on_another_split_the_interval_of_a_bar_is_the_judged_one(committed: Verdicts) -> None:
    value = next(each for each in committed.values if each.split and each.metric == "test/accuracy")
    report = committed.evidence.reports[value.report]
    (bar,) = bars(value.metric, report, {value.row.of: value.runs.results}, [value.row.of])
    assert bar.interval == value.judged.interval != prediction_interval(value.ours)


def test_bars_are_told_in_words(results_of: ResultsOf) -> None:
    drawn = picture(FIGURES["bars"], results_of)
    mean = format_value(float(np.mean([run.metrics["test/cer"] for run in results_of(ATTENTION)])))
    assert f"{ATTENTION} ours {mean} (n={len(results_of(ATTENTION))}), published 0.2585" in drawn.description
    assert "later published 0.1234" in drawn.description
    assert drawn.note == "No experiment yet: later."


def test_what_does_not_vary_is_one_value(results_of: ResultsOf) -> None:
    (bar,) = bars("model/parameters", REPORT, {ATTENTION: results_of(ATTENTION)}, [ATTENTION])
    assert (bar.values, bar.published, bar.interval) == ((322781,), (322781,), None)


def test_published_against_ours_shows_each_fraction(committed: Verdicts) -> None:
    drawn = published_against_ours(Verdicts(Evidence({"a": REPORT}, committed.evidence.collection)).values, "all")
    assert drawn is not None
    ElementTree.fromstring(drawn.svg)
    for said in ("Bahdanau: test CER ours", "none: test WER ours", "published 0.8170", "published 0.1234"):
        assert said in drawn.description
    assert "arameters" not in drawn.description
    assert published_against_ours(Verdicts(Evidence({"a": REPORT}, Collection())).values, "all") is None


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("test/accuracy_shift_2", True),
        ("val/cer_best", True),
        ("test/wer_at_3", True),
        ("val/cosine", True),
        ("test/retrieval_accuracy", True),
        ("test/nearest_before", True),
        ("test/steps", False),
        ("val/accuracy_last10_std", False),
        ("train/loss", False),
        ("model/parameters", False),
    ],
)
def test_fractions(metric: str, expected: bool) -> None:
    assert is_fraction(metric) is expected


# --- artifacts -------------------------------------------------------------------------------------------------------


def output(result: Result, name: str) -> str:
    """What the evaluation wrote, as text."""
    content = result.evaluation.output(name)
    assert content is not None
    return content.decode("utf-8")


def test_confusion_is_the_mean_of_the_runs(results_of: ResultsOf) -> None:
    runs = results_of(BN_GAP)
    rows, columns, counts = artifacts.mean_counts([artifacts.read_confusion(run) for run in runs])
    tables = [output(run, "artifacts/confusion_matrix.csv").splitlines() for run in runs]
    read = [np.genfromtxt(table, delimiter=",", skip_header=1)[:, 1:] for table in tables]
    assert rows == columns
    np.testing.assert_allclose(counts, np.mean(read, axis=0))
    accuracy = format_value(float(np.mean([run.metrics["test/accuracy"] for run in runs])))
    assert f"{BN_GAP} (n={len(runs)}): {accuracy} right" in picture(FIGURES["confusion"], results_of).description


def test_a_class_that_only_one_run_predicted_counts_as_none_in_the_other() -> None:
    some = {"a": {"a": 3, "b": 1}, "b": {"a": 0, "b": 4}}
    other = {"a": {"a": 1, "b": 1, "no class": 2}, "b": {"a": 0, "b": 0, "no class": 4}}
    rows, columns, counts = artifacts.mean_counts([some, other])
    assert (rows, columns) == (["a", "b"], ["a", "b", "no class"])
    assert counts.tolist() == [[2, 1, 1], [0, 2, 2]]


def test_attention_is_that_of_the_first_words(results_of: ResultsOf) -> None:
    first = results_of(ATTENTION)[0]
    kept = json.loads(output(first, "artifacts/attention.json"))
    drawn = picture(FIGURES["attention"], results_of)
    words = ["".join(one["hypothesis"]).removesuffix("<eos>") for one in kept]
    assert f"{ATTENTION}: {', '.join(words[:4])}." in drawn.description
    assert words[4] not in drawn.description
    pairs = (
        f"{written}←{kept[0]['source'][int(np.argmax(row))]}"
        for written, row in zip(kept[0]["hypothesis"], kept[0]["weights"], strict=True)
    )
    assert " ".join(pairs) in drawn.description


DAMAGE = [
    ("attention", "artifacts/attention.json", '[{"source": ["a"], "hypothesis": ["b"]'),
    ("attention", "artifacts/attention.json", '[{"source": ["a"], "hypothesis": ["b"], "weights": [[0.1, 0.2]]}]'),
    ("attention", "artifacts/attention.json", '[{"source": ["a"], "hypothesis": ["b"], "weights": [[NaN]]}]'),
    ("attention", "artifacts/attention.json", "7"),
    ("confusion", "artifacts/confusion_matrix.csv", "label,a,b\na,1\n"),
    ("confusion", "artifacts/confusion_matrix.csv", "label,a,b\na,1,x\n"),
    ("confusion", "artifacts/confusion_matrix.csv", ""),
    ("maps", "artifacts/activation_maps.png", "no picture"),
    ("samples", "predictions.csv", "index,rank\n0,1\n"),
    ("samples", "predictions.csv", "index,rank,hypothesis\n0,one,a\n"),
    ("samples", "predictions.csv", ""),
]


@pytest.mark.parametrize(("kind", "file", "content"), DAMAGE)
def test_damage_is_named_and_the_rest_is_drawn(
    kind: str, file: str, content: str, copied: ResultsOf, results_of: ResultsOf
) -> None:
    whole = FIGURES[kind].of[0]
    damaged = copied(whole)[:1]
    put(damaged[0].evaluation, file, content)
    report = REPORT.model_copy(
        update={"configurations": {**REPORT.configurations, "damaged": Configuration(experiment="x")}}
    )
    figure = FIGURES[kind].model_copy(update={"of": ("damaged", whole)})
    drawn = redrawn(figure, report, lambda name: damaged if name == "damaged" else results_of(name), "fig")
    assert drawn is not None
    assert drawn.note is not None
    assert f"{Path(file).name} of run {damaged[0].run} is damaged" in drawn.note
    assert "damaged" in drawn.note.split()[0].lower()
    alone = figure.model_copy(update={"of": ("damaged",)})
    assert redrawn(alone, report, lambda _: damaged, "fig") is None


@pytest.mark.parametrize("kind", ["attention", "maps", "confusion", "samples"])
def test_what_an_evaluation_did_not_keep_is_left_out_and_said(
    kind: str, copied: ResultsOf, results_of: ResultsOf
) -> None:
    whole = FIGURES[kind].of[0]
    (bare, *_) = copied(whole)
    shutil.rmtree(bare.evaluation.folder)
    figure = FIGURES[kind].model_copy(update={"of": (whole, NO_ATTENTION)})
    drawn = redrawn(figure, REPORT, lambda name: results_of(name) if name == whole else [bare], "fig")
    assert drawn is not None
    assert drawn.note is not None
    assert re.fullmatch(rf"Without attention.* is left out: run {bare.run} has no \S+\.(json|png|csv)\.", drawn.note)


def test_attention_of_nothing_is_not_drawn(copied: ResultsOf) -> None:
    run = copied(ATTENTION)[0]
    nothing = {"source": ["a"], "hypothesis": [], "weights": []}
    put(run.evaluation, "artifacts/attention.json", json.dumps([nothing]))
    assert redrawn(FIGURES["attention"], REPORT, lambda _: [run], "fig") is None
    something = {"source": ["$", " "], "hypothesis": ["b"], "weights": [[1.0, 0.0]]}
    put(run.evaluation, "artifacts/attention.json", json.dumps([nothing, something]))
    assert picture(FIGURES["attention"], lambda _: [run], "other").description.endswith("b←$.")


# --- samples ---------------------------------------------------------------------------------------------------------


def test_samples_stand_beside_the_published_ones(results_of: ResultsOf) -> None:
    figure = FIGURES["samples"]
    drawn = redrawn(figure, REPORT, results_of, "words")
    assert isinstance(drawn, Grid)
    assert [column.heading for column in drawn.columns] == ["word", "published", "ours", ""]
    run = results_of(NUCLEUS)[0]
    table = output(run, "predictions.csv").splitlines()[1:]
    for (word, quoted), row in zip(figure.words.items(), drawn.rows, strict=True):
        kept = [line.split(",") for line in table if line.startswith(f"{quoted.place},")][:3]
        assert row[0].text == word
        assert row[1].text == ", ".join(quoted.published)
        assert row[2].text == ", ".join(dict.fromkeys(cells[2] for cells in kept))
        is_right = any(cells[-1] == "1" for cells in kept)
        assert row[3].verdict is (Verdict.RIGHT if is_right else Verdict.WRONG)


def test_only_as_many_samples_count_as_the_evaluation_says(results_of: ResultsOf) -> None:
    run = results_of(NUCLEUS)[0]
    places = artifacts.read_predictions(run)
    assert {len(kept) for kept in places.values()} == {4}  # one is drawn for CER and WER alone
    every = [one.hypothesis for one in places[1]]
    for k in (1, 3, 4):
        counted = replace(run, evaluated={**run.evaluated, "k": k})
        assert artifacts.hypotheses("misperception", 1, places, counted, []) == list(dict.fromkeys(every[:k]))


def test_another_word_at_the_place_is_told(copied: ResultsOf) -> None:
    run = copied(NUCLEUS)[0]
    table = "index,rank,source,reference,hypothesis,probability,correct\n0,1,x,remander,remander,0.1,1\n"
    put(run.evaluation, "predictions.csv", table)
    drawn = redrawn(FIGURES["samples"], REPORT, lambda _: [run], "words")
    assert isinstance(drawn, Grid)
    assert drawn.note == f"Run {run.run} has remander at place 0, not remainder."
    assert [[cell.text for cell in row[2:]] for row in drawn.rows] == [["-", "-"], ["-", "-"]]


# --- kept ------------------------------------------------------------------------------------------------------------


def test_a_figure_is_drawn_again_only_for_other_results(results_of: ResultsOf, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = FIGURES["curves"]
    first = picture(figure, results_of)
    monkeypatch.setattr(style, "svg", lambda _: pytest.fail("drawn again"))
    assert picture(figure, results_of) == first
    for other in (lambda name: results_of(name)[:-1], lambda name: [*results_of(name)][::-1]):
        with pytest.raises(pytest.fail.Exception):
            redrawn(figure, REPORT, other, "fig")
