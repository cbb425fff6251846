"""Runs on another split or on stand-in data: shown where the real ones lack, called what they are, judging nothing."""

import csv
import io
import statistics
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made import made

from dlbench.records import history
from dlbench.report.checks import ELSEWHERE, Verdicts
from dlbench.report.document import Document, Picture, Section, Verdict, grids, walk
from dlbench.report.figures.plots import draw
from dlbench.report.files import csv_text
from dlbench.report.render import render_html, render_latex, render_markdown
from dlbench.report.results import OTHER_SPLIT, REAL, STAND_IN, Collection, Diverged, Evidence, Result
from dlbench.report.schema import Report
from dlbench.report.sections import build
from dlbench.terminal import mean_and_spread

REPORT = Report.model_validate(
    yaml.safe_load("""
title: a report
data: as theirs
configurations:
  fast: {experiment: kmnist_cnn, overrides: [optimizer.lr=0.01]}
  slow: {experiment: kmnist_cnn, overrides: [optimizer.lr=0.0005]}
  spelling: {experiment: p2g_lstm}
  other: {experiment: cnn_vanilla}
substitutes:
  test pictures: {provenance: other split, of: [fast, slow], about: a tenth of them}
  noise: {provenance: stand-in, of: [spelling], overrides: [data.noise=0.5], about: no words}
tables:
  - title: Pictures
    rows:
      - {of: fast, label: "0.01", published: {test/accuracy: 0.72, model/parameters: 420906}, headline: test/accuracy}
      - {of: slow, label: "0.0005", published: {test/accuracy: 0.96}}
  - {title: Words, rows: [{of: spelling, label: none, published: {test/cer: 0.3}}]}
figures:
  - {title: Curves, kind: curves, of: [fast, slow], metrics: [val/accuracy]}
  - {title: Bars, kind: bars, of: [fast, slow, other], metrics: [test/accuracy]}
claims:
  - {id: r.slow, text: Slow is better., checks: [{of: slow, metric: test/accuracy, higher_than: fast}]}
  - {id: r.mixed, text: Pictures are easier., checks: [{of: slow, metric: test/accuracy, higher_than: spelling}]}
  - {id: r.figure, text: It is beautiful.}
""")
)
FAST, SLOW = ("kmnist_cnn", "optimizer.lr=0.01"), ("kmnist_cnn", "optimizer.lr=0.0005")
SPOKEN = ("p2g_lstm", "data.noise=0.5")
SEEDS = (42, 43, 44)


def runs(
    of: tuple[str, ...],
    provenance: str,
    values: Iterable[float],
    metric: str = "test/accuracy",
    curves: Path | None = None,
) -> Iterator[Result]:
    """A run a seed, on data of this provenance."""
    for seed, value in zip(SEEDS, values, strict=False):
        result = made(*of, seed=seed, provenance=provenance, metrics={metric: value}, curves=curves)
        if curves:
            result.record.folder.mkdir(parents=True)
            history.append(result.record.metrics, {"epoch": 1, "val/accuracy": value})
        yield result


def verdicts_on(*results: Result) -> Verdicts:
    return Verdicts(Evidence({"r": REPORT}, Collection(list(results))))


def on_the_other_split(curves: Path | None = None) -> list[Result]:
    fast, slow = (0.71, 0.70, 0.72), (0.951, 0.949, 0.955)
    return [*runs(FAST, OTHER_SPLIT, fast, curves=curves), *runs(SLOW, OTHER_SPLIT, slow, curves=curves)]


def sections(document: Document) -> dict[str, Section]:
    return {section.id: section for _, section in walk(document.sections)}


@given(
    fast=st.lists(st.integers(0, 1000), min_size=1, max_size=3),
    slow=st.lists(st.integers(0, 1000), min_size=1, max_size=3),
    provenance=st.sampled_from([OTHER_SPLIT, STAND_IN, "user copy", "synthetic"]),
)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_other_data_says_what_it_would_if_it_were_real_and_judges_nothing(
    fast: list[int], slow: list[int], provenance: str
) -> None:
    def judged(provenance: str) -> Verdicts:
        ours = ([value / 1000 for value in values] for values in (fast, slow))
        return verdicts_on(
            *(run for of, each in zip((FAST, SLOW), ours, strict=True) for run in runs(of, provenance, each))
        )

    real, other, nothing = judged(REAL), judged(provenance), verdicts_on()
    assert [value.judged.verdict for value in other.values] == [value.judged.verdict for value in nothing.values]
    assert [claim.verdict for claim in other.claims] == [claim.verdict for claim in nothing.claims]
    assert not any(claim.substitutes for claim in real.claims)
    told = {claim.claim.id: claim.substitutes for claim in other.claims if claim.substitutes}
    if provenance != OTHER_SPLIT:  # its own, for these configurations
        assert told == {}
        return
    (verdict, (judgement,)) = told["r.slow"]["test pictures"]
    (as_if_real,) = real.claims[0].judgements
    assert verdict == judgement.verdict == ELSEWHERE[as_if_real.verdict]
    assert (judgement.difference, judgement.interval, judgement.n) == (
        as_if_real.difference,
        as_if_real.interval,
        as_if_real.n,
    )
    assert told.keys() == {"r.slow"}


def test_a_value_has_what_stands_in_beside_it() -> None:
    verdicts = verdicts_on(*on_the_other_split(), *runs(SPOKEN, STAND_IN, (0.41, 0.43), "test/cer"))
    fast, parameters, slow, spelling = verdicts.values
    assert fast.stood_in == [0.71, 0.70, 0.72]
    assert spelling.stood_in == [0.41, 0.43]
    assert not any(value.ours for value in verdicts.values)
    assert parameters.judged.verdict == Verdict.REPRODUCED
    for value, provenance in ((fast, OTHER_SPLIT), (slow, OTHER_SPLIT), (spelling, STAND_IN)):
        assert value.judged.verdict == Verdict.NOT_RUN
        told = f"{mean_and_spread(value.stood_in)} on other data ({provenance}), not compared"
        assert told in value.judged.reason
    found = sections(build(verdicts))
    pictures, words = grids(found["r-values"])
    assert pictures.columns[-1].heading == "other split, not compared: test pictures"
    assert words.columns[-1].heading == "stand-in, not compared: noise"
    assert [row[-1].text for row in pictures.rows] == [
        "0.7100 ± 0.0100 (3)",
        "-",
        mean_and_spread(slow.stood_in),
    ]
    assert "Other split, test pictures: a tenth of them." in (pictures.note or "")
    assert not any(block.id == "r-overview" for block in found["r-values"].blocks if isinstance(block, Picture))


def test_what_stands_in_is_found_by_its_provenance_and_settings_alone() -> None:
    own = ("p2g_lstm",)
    for of, provenance in ((own, STAND_IN), (SPOKEN, OTHER_SPLIT), (SPOKEN, REAL), (SPOKEN, "user copy")):
        *_, spelling = verdicts_on(*runs(of, provenance, (0.4, 0.5), "test/cer")).values
        assert spelling.substituted is None
    *_, spelling = verdicts_on(*runs(SPOKEN, STAND_IN, (0.4, 0.5), "test/cer")).values
    assert spelling.stood_in == [0.4, 0.5]


def test_data_made_in_another_way_takes_no_place_however_much_was_run_on_it() -> None:
    asked = {"voice": "en-us", "speed": 300, "stop": None}
    substitutes = {"noise": REPORT.substitutes["noise"].model_copy(update={"stand_in": asked})}
    report = REPORT.model_copy(update={"substitutes": substitutes})

    def stood_in(*results: Result) -> list[float]:
        *_, spelling = Verdicts(Evidence({"r": report}, Collection(list(results)))).values
        return spelling.stood_in

    def spoken(fingerprint: str, seeds: Iterable[int], **facts: object) -> list[Result]:
        made_as = {"provenance": STAND_IN, "fingerprint": fingerprint * 64, "stand_in": facts}
        return [made(*SPOKEN, seed=seed, metrics={"test/cer": seed / 100}, **made_as) for seed in seeds]

    ours = spoken("a", (42, 43), **asked, engine="1.51")
    assert stood_in(*ours) == [0.42, 0.43]
    for other in (asked | {"speed": 160}, asked | {"stop": 10}, {"voice": "en-us", "speed": 300}):
        others = spoken("b", (44, 45, 46), **other)
        assert stood_in(*others) == []
        assert stood_in(*others, *ours) == [0.42, 0.43]


def test_a_claim_that_other_data_cannot_tell_is_not_counted_and_what_is_computed_decides_nothing() -> None:
    def told(*checks: dict[str, object]) -> tuple[list[Verdict], bool]:
        claims = {"claims": [{"id": "r.one", "text": "One.", "checks": checks}]}
        report = Report.model_validate(REPORT.model_dump(exclude_defaults=True) | claims)
        verdicts = Verdicts(Evidence({"r": report}, Collection(on_the_other_split())))
        found = [verdict for verdict, _ in verdicts.claims[0].substitutes.values()]
        return found, any(grid.id == "glance-elsewhere" for grid in grids(build(verdicts)))

    higher = {"of": "slow", "metric": "test/accuracy", "higher_than": "fast"}
    assert told(higher) == ([Verdict.HOLDS_ELSEWHERE], True)
    assert told(higher, {"statement": "1 > 2"}) == ([Verdict.HOLDS_ELSEWHERE], True)
    assert told(higher, higher | {"metric": "test/loss"}) == ([Verdict.NOT_RUN], False)
    assert told({"statement": "1 > 2"}) == ([], False)


def test_a_figure_is_looked_at_where_real_runs_are_in_it() -> None:
    claims = (REPORT.claims[-1].model_copy(update={"of": ("fast",)}),)
    report = REPORT.model_copy(update={"claims": claims})
    for provenance, verdict in ((OTHER_SPLIT, Verdict.NOT_RUN), (REAL, Verdict.READER)):
        (claim,) = Verdicts(Evidence({"r": report}, Collection(list(runs(FAST, provenance, (0.7,)))))).claims
        assert claim.verdict == verdict


def test_real_runs_leave_no_place_for_others() -> None:
    verdicts = verdicts_on(*on_the_other_split(), *runs(FAST, REAL, (0.715, 0.72, 0.721)))
    fast, _, slow, _ = verdicts.values
    assert fast.substituted is None
    assert fast.judged.verdict == Verdict.REPRODUCED
    assert slow.stood_in
    # The claim compares both: what is said of it is the other split's alone, never one with the other.
    claim = verdicts.claims[0]
    assert claim.verdict == Verdict.NOT_RUN
    (_, (judgement,)) = claim.substitutes["test pictures"]
    assert judgement.difference == pytest.approx(statistics.fmean(slow.stood_in) - 0.71)
    both = verdicts_on(*on_the_other_split(), *runs(FAST, REAL, (0.7, 0.71)), *runs(SLOW, REAL, (0.8, 0.82)))
    assert both.claims[0].substitutes == {}
    assert (
        build(verdicts_on(*runs(FAST, REAL, (0.7, 0.71)), *runs(SLOW, REAL, (0.8, 0.82)))).sections[0]
        == (build(both).sections[0])
    )


def test_a_run_of_a_substitute_that_diverged_is_counted_there() -> None:
    first = made(*SLOW, seed=9, provenance=OTHER_SPLIT, metrics={})
    diverged = Diverged(first.record, first.config, first.identity, first.manifest, 7)
    evidence = Evidence({"r": REPORT}, Collection(on_the_other_split(), [diverged]))
    found = {value.row.of: value.substituted for value in Verdicts(evidence).values}
    assert {name: used.runs.lost for name, used in found.items() if used} == {"fast": [], "slow": [9]}


def test_a_claim_that_only_one_side_was_run_for_is_not_told() -> None:
    assert not any(claim.substitutes for claim in verdicts_on(*runs(SLOW, OTHER_SPLIT, (0.9, 0.91))).claims)


def test_the_glance_tells_it_apart() -> None:
    before, after = (sections(build(verdicts_on(*found)))["glance"] for found in ((), on_the_other_split()))
    tables = {grid.id: grid for grid in grids(after)}
    elsewhere = tables.pop("glance-elsewhere")
    ((claim, data, said),) = elsewhere.rows
    assert claim.link == "claim-r-slow"
    assert data.text == "other split: test pictures"
    assert said.verdict == Verdict.HOLDS_ELSEWHERE
    unchanged = {grid.id: grid for grid in grids(before)}
    assert unchanged.keys() == tables.keys()
    assert all(unchanged[name].rows == tables[name].rows for name in ("glance-counts", "glance-claims"))
    assert "[0.7100 ± 0.0100 (3)]" in [cell.text for row in tables["glance-headlines"].rows for cell in row]
    assert "In brackets: on other data" in (tables["glance-headlines"].note or "")


def test_it_is_called_what_it_is_wherever_it_is_shown() -> None:
    results = on_the_other_split()
    document = build(verdicts_on(*results))
    shown = {mean_and_spread([run.metrics["test/accuracy"] for run in each]) for each in (results[:3], results[3:])}
    places = 0
    for grid in grids(document):
        for row in grid.rows:
            for cell, column in zip(row, grid.columns, strict=True):
                if cell.text in shown:
                    assert "split" in grid.title + column.heading, grid.id
                    places += 1
    assert places == 4  # among the values and among the runs on other data
    named = [row for grid in grids(document) if grid.id == "runs-grid" for row in grid.rows]
    assert all("other split" in row[4].text for row in named)
    assert "6 on another split of it" in document.about
    texts = render_html(document), render_markdown(document), render_latex(document)
    assert all("holds on other data" in text and "not compared" in text for text in texts)


def test_figures_are_drawn_of_it_under_its_name(tmp_path: Path) -> None:
    verdicts = verdicts_on(*on_the_other_split(tmp_path))
    evidence = verdicts.evidence
    runs_of, substituted = partial(evidence.runs, "r"), partial(evidence.substituted, "r")
    curves, bars = (draw(figure, REPORT, runs_of, "fig", substituted) for figure in REPORT.figures)
    assert isinstance(curves, Picture)
    assert isinstance(bars, Picture)
    assert "fast (other split) 0.7100 (n=3)" in curves.description
    assert "fast (other split) ours 0.7100 (n=3), slow (other split)" in bars.description
    assert ", published" not in bars.description  # nothing published is drawn beside it
    assert curves.note == "Other split, test pictures: a tenth of them."
    assert bars.note == "Other split, test pictures: a tenth of them. Not run yet: other."
    assert draw(REPORT.figures[0], REPORT, runs_of, "fig") is None


def test_no_figure_holds_real_runs_beside_others() -> None:
    verdicts = verdicts_on(*on_the_other_split(), *runs(FAST, REAL, (0.7, 0.71)))
    evidence = verdicts.evidence
    runs_of, substituted = partial(evidence.runs, "r"), partial(evidence.substituted, "r")
    bars = draw(REPORT.figures[1], REPORT, runs_of, "fig", substituted)
    assert isinstance(bars, Picture)
    assert "fast ours 0.7050 (n=2)" in bars.description
    assert OTHER_SPLIT not in bars.description
    assert bars.note == "Not run yet: slow and other."


def test_the_table_of_all_numbers_says_on_what_data() -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text(verdicts_on(*on_the_other_split())))))
    ours = [row for row in rows if row["source"] == "ours"]
    assert {row["provenance"] for row in ours} == {OTHER_SPLIT}
    assert {row["statistic"] for row in ours} >= {"value", "mean", "sd", "n"}
    claims = [row for row in rows if row["source"] == "claim"]
    assert {(row["provenance"], row["verdict"]) for row in claims} == {(OTHER_SPLIT, "holds on other data")}
    assert {row["verdict"] for row in rows if row["source"] == "published"} == {"not run", "reproduced"}


# --- a report of one's own data --------------------------------------------------------------------------------------


def test_a_report_is_held_against_runs_on_its_own_data_alone() -> None:
    own, other = "a" * 64, "b" * 64

    def results(fingerprint: str, provenance: str) -> list[Result]:
        values = enumerate((0.719, 0.72, 0.721), start=42)
        told = {"fingerprint": fingerprint, "provenance": provenance}
        return [
            made("kmnist_cnn", "optimizer.lr=0.01", metrics={"test/accuracy": v}, seed=seed, **told)
            for seed, v in values
        ]

    report = REPORT.model_copy(update={"own_data": (own[:12],), "substitutes": {}})
    everything = [*results(other, "user copy"), *results("f" * 64, REAL)]
    for found, expected in (
        (everything, Verdict.NOT_RUN),
        ([*everything, *results(own, "user copy")], Verdict.REPRODUCED),
    ):
        value = Verdicts(Evidence({"r": report}, Collection(found))).values[0]
        assert value.judged.verdict == expected
        if expected == Verdict.NOT_RUN:
            assert f"user copy, {other[:12]}" in value.judged.reason and f"verified, {'f' * 12}" in value.judged.reason
        else:
            assert {result.fingerprint for result in value.runs.results} == {own}
    without = REPORT.model_copy(update={"substitutes": {}})
    value = Verdicts(Evidence({"r": without}, Collection(results(own, "user copy")))).values[0]
    assert value.judged.verdict == Verdict.NOT_RUN and f"kmnist (user copy, {own[:12]}) alone" in value.judged.reason
