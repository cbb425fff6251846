"""What the report says: only what is comparable stands beside what was published, and everything can be found."""

import csv
import io
import shlex
import statistics
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import made

from dlbench.files import as_cell
from dlbench.records.labels import settings
from dlbench.report.checks import Verdicts
from dlbench.report.document import Alert, Block, Document, Grid, Picture, Section, Verdict, all_blocks, grids, walk
from dlbench.report.files import COLUMNS, _cells, csv_text, main_table
from dlbench.report.listings import NOTES, other_data
from dlbench.report.results import REAL, Collection, Contradiction, Diverged, Evidence, LeftOut, Result, in_variant
from dlbench.report.schema import Configuration, Report, Row, Table, Variant, load_all
from dlbench.report.sections import build, summary

REPORTS = load_all()
METRICS = ("val/accuracy", "test/accuracy", "test/cer", "test/wer", "model/parameters")


def verdicts_on(*results: Result, **collection: list[object]) -> Verdicts:
    """Verdicts of all reports on these results."""
    return Verdicts(Evidence(REPORTS, Collection(list(results), **collection)))  # type: ignore[arg-type]


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """No figures, which take most of a report's time."""
    for name in ("draw", "published_against_ours"):
        monkeypatch.setattr(f"dlbench.report.sections.{name}", lambda *_: None)


def every_result(provenance: str, seeds: tuple[int, ...] = (42,), value: float = 0.123) -> list[Result]:
    """Runs for every configuration of every report in every variant, told by their values from what was published."""
    wanted = {
        (found.experiment, found.overrides)
        for report in REPORTS.values()
        for name, configuration in report.configurations.items()
        for found in (configuration, *(in_variant(report, name, variant) for variant in report.variants.values()))
        if found and not configuration.planned
    }
    return [
        made(
            experiment,
            *overrides,
            seed=seed,
            provenance=provenance,
            metrics=dict.fromkeys(METRICS, value + 0.011 * number),
        )
        for (experiment, overrides), (number, seed) in product(sorted(wanted), enumerate(seeds))
    ]


def sections(document: Document) -> dict[str, Section]:
    """The sections by id."""
    return {section.id: section for _, section in walk(document.sections)}


def texts(section: Section) -> list[str]:
    """Every cell of a section and those within it."""
    return [cell.text for grid in grids(section) for row in grid.rows for cell in row]


def test_every_published_value_claim_and_slip_is_in_the_report(committed_document: Document) -> None:
    found = sections(committed_document)
    for name, report in REPORTS.items():
        published = [value for table in report.tables for row in table.rows for value in row.published.values()]
        assert [row[3].value for grid in grids(found[f"{name}-values"]) for row in grid.rows] == published
        for claim in report.claims:
            assert any(section.title == claim.text for section in found.values())
        for slip in report.slips:
            assert slip.text in texts(found["slips"])


def test_the_summary_counts_every_value_and_claim_once(committed: Verdicts) -> None:
    for sentence in summary(committed).rstrip(".").split(". "):
        whole, parts = sentence.split(": ")
        counts = [part.split(" ", 1) for part in parts.split(", ")]
        assert int(whole.split()[0]) == sum(int(count) for count, _ in counts)
        verbs = {word for count, word in counts if word.startswith(("hold", "fail", "differ")) and count == "1"}
        assert all(word.endswith("s") for word in verbs)


def test_ids_are_unique_and_links_lead_somewhere(committed_document: Document) -> None:
    ids = [section.id for _, section in walk(committed_document.sections)]
    ids += [block.id for block in all_blocks(committed_document) if isinstance(block, Grid | Picture)]
    assert len(ids) == len(set(ids))
    links = {cell.link for grid in grids(committed_document) for row in grid.rows for cell in row}
    assert links - {None} <= set(ids)


def test_rows_are_as_wide_as_their_heading(committed_document: Document) -> None:
    for grid in grids(committed_document):
        assert {len(row) for row in grid.rows} <= {len(grid.columns)}, grid.id


def told(section: Section) -> Section:
    """A section without the reasons of verdicts."""

    def without(block: Block) -> Block:
        if not isinstance(block, Grid):
            return block
        return replace(
            block, rows=tuple(tuple(replace(c, text="") if c.verdict else c for c in row) for row in block.rows)
        )

    return replace(section, blocks=tuple(map(without, section.blocks)), sections=tuple(map(told, section.sections)))


@pytest.mark.usefixtures("undrawn")
def test_results_on_drawn_data_stand_in_their_own_section_only() -> None:
    nothing, drawn = build(verdicts_on()), build(verdicts_on(*every_result("synthetic"), *every_result("user copy")))
    before, after = sections(nothing), sections(drawn)
    assert after.keys() - before.keys() == {"other-data"}
    # Beside a value that has no run stands on which data there are some: no number.
    assert {name for name in before if told(before[name]) != told(after[name])} == {"runs"}
    titles = [grid.title for grid in grids(after["other-data"])]
    assert [title.split(":")[0] for title in titles] == ["Synthetic data", "Your own copies of data, content unknown"]
    assert "0.1230 (1)" in texts(after["other-data"])


def test_synthetic_data_of_two_versions_is_not_averaged() -> None:
    told = [("a", 42, 0.1), ("b", 42, 0.5), ("b", 43, 0.7)]
    found = [
        made("cnn_vanilla", seed=seed, provenance="synthetic", fingerprint=data * 64, metrics={"test/accuracy": value})
        for data, seed, value in told
    ]
    section = other_data(Evidence({}, Collection(found)))
    assert section is not None
    (grid,) = grids(section)
    shown = {row[2].text: [cell.text for cell in row[3:]] for row in grid.rows}
    assert shown == {"a" * 12: ["0.1000 (1)"], "b" * 12: ["0.6000 ± 0.1414 (2)"]}


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("seeds", [(42,), (42, 43, 44)])
def test_results_on_real_data_stand_beside_every_published_value(seeds: tuple[int, ...]) -> None:
    verdicts = verdicts_on(*every_result("verified", seeds))
    values = [0.123 + 0.011 * number for number in range(len(seeds))]
    for value in verdicts.values:
        planned = REPORTS[value.report].configurations[value.row.of].planned
        expected = [] if planned or value.metric not in METRICS else values
        assert value.ours == pytest.approx(expected)
        for others in value.variants.values():
            assert len(others.runs.results) == len(seeds)
        if expected and value.metric != "model/parameters":
            is_better = value.metric in ("test/cer", "test/wer")
            judged = Verdict.BETTER if is_better else Verdict.WORSE
            assert value.judged.verdict == (Verdict.UNDECIDED if len(seeds) == 1 else judged)
            assert (value.split is not None) == (value.runs.results[0].data == "intel")
    shown = [cell for name in REPORTS for cell in texts(sections(build(verdicts))[f"{name}-values"])]
    spread = f" ± {statistics.stdev(values):.4f}" if len(seeds) > 1 else ""
    assert f"{statistics.fmean(values):.4f}{spread} ({len(seeds)})" in shown


def by_others(result: Result) -> Result:
    """The same, made by another version of the network."""
    return replace(result, result={**result.result, "versions": {**result.versions, "convnet": "1.9"}})


def test_the_main_table_explains_its_marks() -> None:
    table = main_table(verdicts_on(*every_result("verified", seeds=(42, 43))))
    assert "\u2020" in table.partition("\n\n")[0]
    assert NOTES["\u2020"] in table
    assert NOTES["*"] not in table


@pytest.mark.usefixtures("undrawn")
def test_a_value_of_seeds_by_different_versions_is_marked_and_the_mark_explained() -> None:
    results = every_result("verified", seeds=(42, 43))
    earlier = [by_others(result) if result.experiment == "cnn_bn_gap" else result for result in results]
    mixed = [result if result.seed == 42 else other for result, other in zip(results, earlier, strict=True)]
    for document, counted in ((build(verdicts_on(*results)), False), (build(verdicts_on(*earlier)), True)):
        assert not any(NOTES["*"] in (grid.note or "") for grid in grids(document) if grid.id != "runs-grid")
        assert ("made by earlier versions" in document.about) == counted
    marked_tables = set()
    for grid in grids(sections(build(verdicts_on(*mixed)))["b2425-values"]):
        has_mark = any("*" in cell.marks for row in grid.rows for cell in row)
        assert has_mark == (NOTES["*"] in (grid.note or ""))
        marked_tables.add(has_mark)
    assert marked_tables == {True, False}


def test_contradictions_come_first_and_what_is_left_out_is_listed() -> None:
    contradiction, left_out = Contradiction("abc", ("test/accuracy",)), LeftOut("0bad", "cannot be read")
    document = build(verdicts_on(contradictions=[contradiction], left_out=[left_out]))
    (alert,) = document.blocks
    assert isinstance(alert, Alert)
    assert "Reproducibility failure" in alert.title
    assert alert.lines == ("abc: test/accuracy",)
    assert texts(sections(document)["left-out"]) == ["0bad", "cannot be read"]
    assert build(verdicts_on()).blocks == ()


def test_a_variant_replaces_what_a_configuration_says_of_the_same_key() -> None:
    own = {
        "a": Configuration(experiment="x", overrides=("data.layout=scrambled", "optimizer.lr=0.1")),
        "b": Configuration(experiment="x"),
    }
    report = Report(title="t", data="d", configurations=own)

    def concerned(overrides: str, of: tuple[str, ...] = ()) -> dict[str, tuple[str, ...]]:
        variant = Variant(overrides=(overrides,), of=of, about="")
        found = {name: in_variant(report, name, variant) for name in own}
        return {name: configuration.overrides for name, configuration in found.items() if configuration}

    assert concerned("data.layout=chw") == {"a": ("optimizer.lr=0.1", "data.layout=chw")}
    assert concerned("model.size=3") == {}
    assert concerned("model.size=3", of=("b",)) == {"b": ("model.size=3",)}
    assert concerned("data.layout=chw", of=("b",)) == {"b": ("data.layout=chw",)}


READINGS = Report(
    title="t",
    data="d",
    variants={
        "no embedding dropout": Variant(
            overrides=("model.embedding_dropout=0",), of=("p2g",), kind="post hoc", about="A"
        ),
        "other place": Variant(overrides=("model.encoder_output_dropout=0",), of=("p2g",), kind="reading", about="B"),
        "half": Variant(overrides=("data.fraction=0.5",), of=("p2g",), about="C"),
    },
    configurations={"p2g": Configuration(experiment="p2g_lstm")},
    tables=(Table(title="Spelling", rows=(Row(of="p2g", label="no attention", published={"test/cer": 0.3}),)),),
)


@pytest.mark.usefixtures("undrawn")
def test_readings_of_a_protocol_are_shown_but_never_counted() -> None:
    def runs(cer: float, *overrides: str) -> list[Result]:
        metrics = [cer - 0.001, cer, cer + 0.001]
        return [
            made("p2g_lstm", *overrides, seed=42 + place, metrics={"test/cer": value})
            for place, value in enumerate(metrics)
        ]

    protocol, post_hoc = runs(0.2), runs(0.3, "model.embedding_dropout=0")
    verdicts = Verdicts(Evidence({"r": READINGS}, Collection([*protocol, *post_hoc])))
    assert [value.judged.verdict for value in verdicts.values] == [Verdict.BETTER]
    (grid,) = grids(sections(build(verdicts))["readings"])
    assert [[cell.text for cell in row[1:3]] for row in grid.rows] == [
        ["as in the tables", "no"],
        ["no embedding dropout (post hoc)", "yes"],
        ["other place", "not run"],
    ]
    assert "readings" not in sections(build(Verdicts(Evidence({"r": READINGS}, Collection(protocol)))))


def test_a_report_of_whose_part_the_checks_do_not_speak_has_no_verdict(committed_document: Document) -> None:
    (shared,) = (grid for grid in grids(sections(committed_document)["c2425-claims"]) if "shared" in grid.id)
    told = {claim.link: verdict for claim, verdict in shared.rows}
    assert told["claim-b2425-gap-params"].verdict is None
    assert "BatchNorm" in told["claim-b2425-gap-params"].text
    assert all((cell.verdict is None) == bool(cell.text) for cell in told.values())


@pytest.mark.usefixtures("undrawn")
def test_runs_of_a_reading_that_diverged_are_counted_there() -> None:
    runs = [
        made("p2g_lstm", "model.embedding_dropout=0", seed=seed, metrics={"test/cer": 0.3}) for seed in (42, 43, 44)
    ]
    lost = [Diverged(run.record, run.config, run.identity, run.manifest, 7) for run in runs]
    document = build(Verdicts(Evidence({"r": READINGS}, Collection(diverged=lost))))
    (grid,) = grids(sections(document)["readings"])
    assert [cell.text for cell in grid.rows[1]][1:5] == [
        *("no embedding dropout (post hoc)", "no", "0.3000", "3 diverged"),
    ]
    values = texts(sections(document)["r-values"])
    assert "3 diverged" in values


def test_the_table_of_all_numbers_holds_every_number_once(committed: Verdicts) -> None:
    verdicts = committed
    rows = list(csv.DictReader(io.StringIO(csv_text(verdicts))))
    assert tuple(rows[0]) == COLUMNS
    told = [row for row in rows if row["source"] == "published"]
    published = [float(row["value"]) for row in told if row["statistic"] == "value"]
    assert published == [value.published for value in verdicts.values]
    results = verdicts.evidence.collection.results
    ours = {(row["evaluation"], row["metric"]): float(row["value"]) for row in rows if row["evaluation"]}
    assert ours == {(result.evaluation.id, name): value for result in results for name, value in result.metrics.items()}
    assert len(ours) == sum(bool(row["evaluation"]) for row in rows)
    numbers = {(row["report"], row["table"], row["row"], row["metric"], row["statistic"]): row["value"] for row in told}
    for value in verdicts.values:
        where, judged = (value.report, value.table.title, value.row.label, value.metric), value.judged
        low, high = judged.interval or (None, None)
        for name, number in {"interval_low": low, "interval_high": high, "distance": judged.distance}.items():
            assert numbers.get((*where, name)) == (None if number is None else str(number))


def test_every_run_has_its_name_its_origin_and_its_command(committed: Verdicts, committed_document: Document) -> None:
    (grid,) = grids(sections(committed_document)["runs"])
    results = {f"{result.run}/{result.evaluation.id}": result for result in committed.evidence.collection.results}
    seedless = set()
    for experiment, told, command, runs, data, commits, *_ in ([cell.text for cell in row] for row in grid.rows):
        seeds = []
        for seed, name in (run.split(": ") for run in runs.split(", ")):
            result = results.pop(name.rstrip("*"))
            assert (result.experiment, result.settings, str(result.seed)) == (experiment, told, seed)
            assert result.fingerprint[:12] in data
            assert result.manifest["code"]["commit"][:8] in commits
            seeds.append(seed)
        words = shlex.split(command)
        assert words[:3] == ["python", "-m", "dlbench"]
        assert f"+experiment={experiment}" in words
        assert words[-1] == f"seed={','.join(dict.fromkeys(seeds))}"
        assert ("-m" in words[3:]) == ("," in words[-1])
        seedless.add((data, *(word for word in words[3:-1] if word != "-m")))
    assert results == {}
    assert len(seedless) == len(grid.rows)


def test_an_empty_folder_gives_a_report_too() -> None:
    document = build(verdicts_on())
    assert "no finished runs" in document.about
    verdicts = {value.judged.verdict for value in verdicts_on().values}
    assert verdicts == {Verdict.NOT_RUN, Verdict.REPRODUCED, Verdict.DIFFERS}
    without_runs = {value.metric for value in verdicts_on().values if value.judged.verdict != Verdict.NOT_RUN}
    assert without_runs == {"model/parameters"}


def test_a_training_costs_once_however_often_it_is_decoded(committed: Verdicts, committed_document: Document) -> None:
    (grid,) = grids(sections(committed_document)["costs"])
    results = [result for result in committed.evidence.collection.results if result.provenance == REAL]
    trained = {result.trained: result for result in results}
    assert len(grid.rows) == len(trained)
    assert sum(int(row[2].text) for row in grid.rows) == len({result.run for result in results})
    rows = {(row[0].text, row[1].text): row for row in grid.rows}
    assert len(rows) == len(grid.rows)
    for result in trained.values():
        if result.manifest["experiment"] == "p2g_attention" and not result.evaluated.get("members"):
            row = rows["p2g_attention", settings("p2g_attention", result.config)]
            counts = [int(count.replace(",", "")) for count in row[6].text.split(" to ")]
            assert min(counts) <= result.metrics["model/parameters"] <= max(counts)


@given(st.lists(st.one_of(st.text(), st.floats(), st.booleans(), st.none(), st.integers()), min_size=1, max_size=4))
def test_cells_of_a_line_are_read_again(values: list[Any]) -> None:
    (row,) = csv.reader(io.StringIO(f"{_cells(*values)},{_cells(values[0])},end\n", newline=""))
    assert row == ["" if value is None else str(as_cell(value)) for value in [*values, values[0]]] + ["end"]
