"""The report files: what stands in them is what the reports state, can be run, and is named where it is wrong."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from dlbench import paths
from dlbench.cli import experiments
from dlbench.config import check, composed, configuration_of
from dlbench.data.pair_files import PairFiles
from dlbench.errors import ConfigError
from dlbench.report.checks import judge_slip
from dlbench.report.document import Verdict
from dlbench.report.expressions import evaluate
from dlbench.report.jobs import Job
from dlbench.report.results import in_variant
from dlbench.report.schema import Comparison, Configuration, Part, Report, line_of, load, load_all

REPORTS = load_all()
FILES = [pytest.param(report, id=name) for name, report in REPORTS.items()]
CONFIGURATIONS = [
    pytest.param(configuration, id=f"{name}-{key}".replace(" ", "_"))
    for name, report in REPORTS.items()
    for key, configuration in report.configurations.items()
]


# --- the five reports ------------------------------------------------------------------------------------------------


def test_every_report_file_is_loaded() -> None:
    folders = {path.parent.name for path in paths.experiments().glob("*/report.yaml")}
    assert {"a2425", "b2425", "c2425", "d2223", "e2324"} <= folders == REPORTS.keys()


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_every_configuration_can_be_run_unless_planned(
    configuration: Configuration, compose: Callable[..., Any]
) -> None:
    assert configuration.planned == (configuration.experiment not in experiments())
    if configuration.planned:
        return
    config = compose(f"+experiment={configuration.experiment}", *configuration.overrides)
    check(OmegaConf.to_container(config, resolve=True))  # type: ignore[arg-type]
    assert config.name == configuration.experiment


@pytest.mark.parametrize("report", FILES)
def test_every_variant_concerns_some_configurations_and_these_can_be_run(
    report: Report, compose: Callable[..., Any]
) -> None:
    for variant in report.variants.values():
        concerned = [found for name in report.configurations if (found := in_variant(report, name, variant))]
        assert concerned
        for configuration in concerned:
            config = compose(f"+experiment={configuration.experiment}", *configuration.overrides)
            check(OmegaConf.to_container(config, resolve=True))  # type: ignore[arg-type]
            assert set(variant.overrides) <= set(configuration.overrides)


@pytest.mark.parametrize("report", FILES)
def test_every_other_split_is_of_data_that_the_report_uses(report: Report) -> None:
    used = {
        Job((), 0, composed(own.experiment, own.overrides)).data
        for own in report.configurations.values()
        if not own.planned
    }
    assert report.other_splits.keys() <= used


@pytest.mark.parametrize(
    ("configuration", "experiment"),
    [("LSTM decoder", "asr_lstm_spoken"), ("attention decoder", "asr_attention_spoken")],
)
def test_what_stands_in_for_speech_is_what_the_spoken_experiments_run(configuration: str, experiment: str) -> None:
    report = REPORTS["e2324"]
    (substitute,) = report.substitutes.values()
    own = report.configurations[configuration]
    assert configuration in substitute.of
    assert configuration_of(own.experiment, (*own.overrides, *substitute.overrides)) == configuration_of(experiment, ())


@pytest.mark.parametrize("report", FILES)
def test_a_report_has_no_more_headlines_than_a_first_screen_takes(report: Report) -> None:
    headlines = [row.headline for table in report.tables for row in table.rows if row.headline]
    assert 1 <= len(headlines) <= 3


@pytest.mark.parametrize("report", FILES)
def test_every_configuration_is_spoken_of(report: Report) -> None:
    named = {row.of for table in report.tables for row in table.rows}
    named |= {name for figure in report.figures for name in figure.of}
    named |= {name for claim in report.claims for name in claim.configurations}
    assert named == report.configurations.keys()


# --- against what the reports state ----------------------------------------------------------------------------------

NAMES = {
    "val_accuracy": "val/accuracy",
    "test_accuracy": "test/accuracy",
    "train_loss": "train/loss_running_mean",
    "val_loss": "val/loss",
    "best_val_cer": "val/cer_best",
    "test_cer": "test/cer",
    "test_wer": "test/wer",
    "test_wer_at_3": "test/wer_at_3",
    "val_error_rate": "val/error_rate_macro",
    "test_error_rate": "test/error_rate_macro",
    "loss": "train/loss_last_batch",
    "test_loss": "test/loss",
    "jaccard": "test/jaccard",
    "cosine": "test/cosine",
    "damerau_levenshtein": "test/damerau_levenshtein",
}
"""Names in ``reported.yaml``, and ours."""

Stated = dict[tuple[str, float | None, str], float]
"""Values by experiment, learning rate where the report varies it, and metric."""


@pytest.fixture(scope="module")
def shared(real_data_folder: Path) -> Path:
    """The folder of what the reports state and claim, beside the real data."""
    folder = real_data_folder.parent / "reports"
    if not (folder / "reported.yaml").is_file():
        pytest.skip(f"{folder}: no reported.yaml; what the reports state is not at hand")
    return folder


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def stated_values(stated: dict[str, Any]) -> Stated:
    values: Stated = {}
    for name, content in stated.items():
        if name in ("parameters", "p2g_examples"):
            continue
        experiment = name.removeprefix("intel_")
        by_rate = content if all(isinstance(value, dict) for value in content.values()) else {None: content}
        for rate, row in by_rate.items():
            values |= {(experiment, rate, NAMES[key]): value for key, value in row.items()}
    return values


def rows_of(report: Report) -> Iterator[tuple[Configuration, dict[str, float]]]:
    for table in report.tables:
        for row in table.rows:
            yield report.configurations[row.of], row.published


def published_values(report: Report) -> Stated:
    values: Stated = {}
    for configuration, published in rows_of(report):
        rates = [text.partition("=")[2] for text in configuration.overrides if text.startswith("optimizer.lr=")]
        rate = float(*rates) if rates else None
        found = {(configuration.experiment, rate, metric): value for metric, value in published.items()}
        found = {key: value for key, value in found.items() if key[2] != "model/parameters"}
        assert not values.keys() & found.keys()
        values |= found
    return values


@pytest.mark.parametrize("name", REPORTS)
def test_published_values_are_those_that_the_report_states(name: str, shared: Path) -> None:
    assert published_values(REPORTS[name]) == stated_values(read(shared / "reported.yaml")[name])


@pytest.mark.parametrize("name", REPORTS)
def test_every_stated_count_of_parameters_is_published(name: str, shared: Path) -> None:
    stated = read(shared / "reported.yaml")[name].get("parameters", {})
    counts = [values["model/parameters"] for _, values in rows_of(REPORTS[name]) if "model/parameters" in values]
    assert sorted(counts) == sorted(stated.values())


@pytest.mark.parametrize("report", FILES)
def test_published_counts_of_parameters_are_those_of_the_network_they_stand_beside(report: Report) -> None:
    """Unless a slip says that the report counted wrong."""
    slips = [judge_slip("any", slip) for slip in report.slips]
    wrong = {slip.slip.stated for slip in slips if slip.verdict == Verdict.WRONG}
    for configuration, published in rows_of(report):
        if "model/parameters" in published and not configuration.planned:
            overrides = ", ".join(f'"{override}"' for override in configuration.overrides)
            counted = evaluate(f'parameters("{configuration.experiment}", {overrides})')
            assert published["model/parameters"] == counted or f"{published['model/parameters']:.0f}" in wrong


@pytest.mark.parametrize(
    ("name", "experiment", "override"),
    [
        ("a2425", "cnn_bn_gap", "model.hidden_bn=[true,true]"),
        ("c2425", "cnn_vanilla", "model.classes=null"),
        ("c2425", "cnn_bn_gap", "model.classes=null"),
    ],
)
def test_values_stand_beside_the_network_that_they_were_measured_on(name: str, experiment: str, override: str) -> None:
    networks = [each for each, _ in rows_of(REPORTS[name]) if each.experiment == experiment]
    assert networks
    assert all(override in each.overrides for each in networks)


def test_claims_of_c2425_that_stand_elsewhere_are_judged_on_its_own_network_too() -> None:
    marked = {
        key.removesuffix(" (c2425)"): configuration
        for key, configuration in REPORTS["a2425"].configurations.items()
        if key.endswith(" (c2425)")
    }
    assert marked
    assert marked == {key: REPORTS["c2425"].configurations[key] for key in marked}
    claims = {claim.id: claim.configurations for claim in REPORTS["a2425"].claims}
    for name in ("attention", "nucleus_worse", "wer3"):
        own = {key.removesuffix(" (c2425)") for key in claims[f"a2425.{name}"] if key.endswith(" (c2425)")}
        assert own == {key for key in claims[f"a2425.{name}"] if not key.endswith(" (c2425)")}


@pytest.mark.parametrize("name", REPORTS)
def test_scenes_are_recomputed_in_the_layout_of_the_reports(name: str) -> None:
    for configuration, _ in rows_of(REPORTS[name]):
        is_intel = configuration.experiment in ("cnn_vanilla", "cnn_bn_gap")
        assert ("data.layout=scrambled" in configuration.overrides) == is_intel


@pytest.mark.parametrize("name", REPORTS)
def test_quoted_words_stand_at_their_places_in_the_test_split(name: str, shared: Path, real_data_folder: Path) -> None:
    stated = read(shared / "reported.yaml")[name].get("p2g_examples", {})
    quoted = {key: word for figure in REPORTS[name].figures for key, word in figure.words.items()}
    assert {key: list(word.published) for key, word in quoted.items()} == stated
    if not (real_data_folder / "p2g").is_dir():
        pytest.skip("no p2g in DLBENCH_DATA: the places of the words cannot be checked")
    files = PairFiles("phonemes_word", "p2g/train.tsv", "p2g/valid.tsv", "p2g/test.tsv")
    spellings = ["".join(pair.target) for pair in files.read(real_data_folder).test]
    assert {key: spellings[word.place] for key, word in quoted.items()} == {key: key for key in quoted}


def test_every_claim_stands_once_in_the_file_that_its_id_names_with_all_that_make_it(shared: Path) -> None:
    stated = {claim["id"]: set(claim["reports"]) for claim in read(shared / "claims_quoted.yaml")["claims"]}
    found = [(name, claim) for name, report in REPORTS.items() for claim in report.claims]
    assert all(claim.id.startswith(f"{name}.") for name, claim in found)
    assert len(found) == len({claim.id for _, claim in found})
    made_by = {claim.id: set(claim.reports) or {name} for name, claim in found}
    assert {key: made_by[key] for key in stated} == stated


def test_claims_say_what_the_reports_say_in_their_own_words(shared: Path) -> None:
    stated = {claim["id"]: claim for claim in read(shared / "claims_quoted.yaml")["claims"]}
    found = {claim.id: claim for report in REPORTS.values() for claim in report.claims}
    for id, claim in stated.items():
        assert (found[id].text, found[id].implied) == (claim["text"], claim.get("implied"))
        assert [quote.model_dump() for quote in found[id].quotes] == claim["quotes"]


@pytest.mark.parametrize("report", FILES)
def test_a_claim_is_quoted_or_says_why_it_is_not(report: Report) -> None:
    for claim in report.claims:
        assert claim.quotes or claim.implied
        assert {quote.report for quote in claim.quotes} <= {*claim.reports, claim.id.partition(".")[0]}


@pytest.mark.parametrize("report", FILES)
def test_a_claim_has_checks_unless_it_is_for_the_reader(report: Report) -> None:
    assert {claim.id for claim in report.claims if not claim.checks} <= {"d2223.maps", "d2223.beam_cost", "e2324.long"}


# --- bad report files ------------------------------------------------------------------------------------------------

GOOD = """\
title: T
data: D
configurations:
  plain: {experiment: cnn_vanilla}
  deep: {experiment: cnn_bn_gap, overrides: []}
  later: {experiment: kmnist_cnm, planned: true}
tables:
  - title: A
    rows:
      - {of: plain, label: first, published: {test/accuracy: 0.5}}
      - of: deep
        label: second
        published: {val/loss: 0.5}
figures:
  - title: F
    kind: curves
    of: [plain,
         later]
    metrics: [val/accuracy]
claims:
  - id: c.one
    text: One.
    checks:
      - statement: 1 < 2
      - {of: plain, metric: val/loss, lower_than: deep, by: 33%}
      - of: plain
        metric: train/loss
        curve: {slope_after: 20}
        higher_than: 0
  - id: c.two
    text: Two.
    reports:
      [good]
slips:
  - {id: s.one, text: S, stated: "1", computes: 2 - 1}
variants:
  other: {overrides: [seed=1], about: A}
substitutes:
  less: {provenance: other split, of: [plain], about: A}
  more: {provenance: stand-in, of: [deep], about: A}
"""
CURVES = """\
    kind: curves
    of: [plain,
         later]
    metrics: [val/accuracy]
"""
SAMPLES = """\
    kind: samples
    of: [plain]
    words:
      one: {place: 3, published: [a]}
      two: {place: 3, published: [b]}
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Makes the folder of reports one that holds this text as ``good``; gives the file's path."""
    monkeypatch.setattr(paths, "experiments", lambda: tmp_path)

    def write(text: str, name: str = "good") -> Path:
        path = tmp_path / name / "report.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_a_good_file_is_read(write: Callable[..., Path]) -> None:
    path = write(GOOD)
    assert load_all() == {"good": load(path)}
    (_, part, slope) = load(path).claims[0].checks
    assert isinstance(part, Comparison)
    assert isinstance(slope, Comparison)
    assert (part.relation, part.other) == ("lower_than", "deep")
    assert part.by == pytest.approx(0.33)
    assert isinstance(part.by, Part)
    assert (slope.relation, slope.other, slope.by) == ("higher_than", 0, 0)
    assert not isinstance(slope.by, Part)


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        # Keys and types.
        ("title: T", "titel: T", "1: title: Field required"),
        ("data: D", "data: D\ndate: 1", "3: date: Extra inputs are not permitted"),
        ("data: D", "data: [D]", "2: data: Input should be a valid string"),
        ("overrides: []", "overrides: seed=1", "5: configurations.deep.overrides: Input should be"),
        ("label: second", "label: second\n        lable: x", "13: tables.0.rows.1.lable: Extra inputs"),
        ("val/loss: 0.5", "val/loss: half", "13: tables.0.rows.1.published.val/loss: Input should be a valid number"),
        ("kind: curves", "kind: curve", "16: figures.0.kind: Input should be 'curves', 'bars'"),
        ("checks:", "check:", "23: claims.0.check: Extra inputs are not permitted"),
        ("lower_than: deep", "less_than: deep", "25: claims.0.checks.1.less_than: Extra inputs"),
        ("lower_than: deep, ", "", "25: claims.0.checks.1: Value error, name exactly one of higher_than"),
        ("higher_than: 0", "higher_than: 0\n        lower_than: 1", "26: claims.0.checks.2: Value error, name exactly"),
        ("by: 33%", "by: a%", "25: claims.0.checks.1.by: Input should be a valid number"),
        ("by: 33%", "by: a", "25: claims.0.checks.1.by: Input should be a valid number"),
        ("by: 33%", "by: -33%", "25: claims.0.checks.1.by: Input should be greater than or equal to 0"),
        ("by: 33%", "by: -0.1", "25: claims.0.checks.1.by: Input should be greater than or equal to 0"),
        ("by: 33%", "by: nan%", "25: claims.0.checks.1.by: Input should be a finite number"),
        ("by: 33%", "by: .inf", "25: claims.0.checks.1.by: Input should be a finite number"),
        ("val/loss: 0.5", "val/loss: .nan", "13: tables.0.rows.1.published.val/loss: Input should be a finite number"),
        ("higher_than: 0", "higher_than: .inf", "26: claims.0.checks.2: Value error, higher_than: must be a finite"),
        ("slope_after: 20", "slope_after: -1", "28: claims.0.checks.2.curve.slope_after: Input should be greater"),
        ("slope_after: 20", "roughness: -1", "28: claims.0.checks.2.curve.roughness: Input should be greater"),
        ("slope_after: 20", "at: 0", "28: claims.0.checks.2.curve.at: Input should be greater than or equal to 1"),
        ("slope_after: 20", "epochs_to: .inf", "28: claims.0.checks.2.curve.epochs_to: Input should be a finite"),
        ("slope_after: 20", "at: null", "28: claims.0.checks.2.curve: Value error, name exactly one of at"),
        ("slope_after: 20", "at: 1, roughness: 1", "28: claims.0.checks.2.curve: Value error, name exactly one of at"),
        ("1 < 2", "x < 2\n        over: {x: [.nan]}", "25: claims.0.checks.0.over.x.0: Input should be a finite"),
        ("    metrics: [val/accuracy]\n", "", "15: figures.0: Value error, metrics: curves need one or more"),
        ("kind: curves", "kind: maps", "15: figures.0: Value error, metrics: maps take none"),
        (CURVES, SAMPLES, "15: figures.0: Value error, words: one and two cannot both have place 3"),
        (CURVES, "    kind: samples\n    of: [plain]\n", "15: figures.0: Value error, words: samples need one or more"),
        (CURVES, SAMPLES.replace("samples", "maps"), "15: figures.0: Value error, words: maps take none"),
        (CURVES, "    kind: maps\n    of: []\n", "17: figures.0.of: Tuple should have at least 1 item"),
        ("[seed=1]", "[]", "37: variants.other.overrides: Tuple should have at least 1 item"),
        ("slope_after: 20", "slope: 20", "28: claims.0.checks.2.curve.slope: Extra inputs are not permitted"),
        ("statement: 1 < 2", "statement: 1 < 2\n        ovr: {x: [1]}", "25: claims.0.checks.0.ovr: Extra inputs"),
        ("stated: ", "states: ", "35: slips.0.stated: Field required"),
        ("other split", "verified", "39: substitutes.less.provenance: Input should be 'other split' or 'stand-in'"),
        ("of: [plain], about", "of: [], about", "39: substitutes.less.of: Tuple should have at least 1 item"),
        # YAML.
        ("data: D", "\tdata: D", "2: found a tab character"),
        ("title: T", "title: {{T}}", "1: found unhashable key"),
        ("title: T", "title: [", "3: did not find expected ',' or ']'"),
        ("data: D", "data: \x07", " unacceptable character"),
        ("title: T", "title: &a T", "1: anchors and aliases are not read"),
        ("title: T", "title: *a", "1: anchors and aliases are not read"),
        ("title: T", "title: !!set {T}", "1: tags such as tag:yaml.org,2002:set are not read"),
        ("title: T", "title: !!binary VA==", "1: tags such as tag:yaml.org,2002:binary are not read"),
        ("title: T", f"title: {'9' * 10**5}", "1: a number of more than 40 characters"),
        ("title: T", f"title: {'1:' * 10**5}1", "1: a number of more than 40 characters"),
        ("title: T", "title: 0b_", "1: 0b_: no number"),
        ("title: T", f"title: {'[' * 10**5}", "1: is nested deeper than 32"),
        ("title: T", f"title: {'T' * 2**20}", " has more than 1,048,576 bytes"),
        ("label: second", "label: second\n        label: third", "13: label: stands twice"),
        (GOOD, "", "1: report: Input should be a valid dictionary"),
        (GOOD, "- 1", "1: report: Input should be a valid dictionary"),
        # Names.
        ("cnn_bn_gap", "cnn_bngap", "5: configurations.deep: cnn_bngap: no such experiment; did you mean cnn_bn_gap"),
        ("kmnist_cnm", "cnn_kernel5", "6: configurations.later: cnn_kernel5: exists now; remove planned"),
        ("test/accuracy:", "test/acuracy:", "10: tables.0.rows.0.published.test/acuracy: test/acuracy: no such metric"),
        (
            "test/accuracy:",
            "test/accuracy_shift_17:",
            "10: tables.0.rows.0.published.test/accuracy_shift_17: test/accuracy_shift_17: no such metric",
        ),
        ("of: deep", "of: depe", "11: tables.0.rows.1.of: depe: no such configuration; did you mean deep"),
        ("         later]", "         latter]", "18: figures.0.of.1: latter: no such configuration"),
        ("[val/accuracy]", "[val/acuracy]", "19: figures.0.metrics.0: val/acuracy: no such metric"),
        ("metric: train/loss", "metric: train/los", "27: claims.0.checks.2.metric: train/los: no such metric"),
        ("lower_than: deep", "lower_than: depe", "25: claims.0.checks.1: depe: no such configuration"),
        ("by: 33%", "than_metric: val/los", "25: claims.0.checks.1.than_metric: val/los: no such metric"),
        ("of: [deep], about", "of: [depe], about", "40: substitutes.more.of.0: depe: no such configuration"),
        ("of: [deep], about", "of: [deep, plain], about", "40: plain: less stands in for it already; name it once"),
        ("[good]", "[good, gud]", "33: claims.1.reports.1: gud: no such report; did you mean good"),
        (
            "[good]",
            "[]\n    unjudged: {good: why}",
            "30: claims.1: Value error, unjudged: good: name it in reports first",
        ),
        ("c.two", "c.one", "30: c.one: stands in good/report.yaml already; choose another id"),
        ("s.one", "c.two", "35: c.two: stands in good/report.yaml already; choose another id"),
    ],
)
def test_what_is_wrong_in_a_report_file_is_named_with_file_and_line(
    right: str, wrong: str, message: str, write: Callable[..., Path]
) -> None:
    assert GOOD.count(right) == 1
    path = write(GOOD.replace(right, wrong))
    with pytest.raises(ConfigError, match=re.escape(f"{path}:{message}")) as caught:
        load_all()
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_that_is_no_utf_8_is_named(write: Callable[..., Path]) -> None:
    path = write(GOOD)
    path.write_bytes(GOOD.replace("label: first", "label: première").encode("latin-1"))
    with pytest.raises(ConfigError, match=re.escape(f"{path}: is not UTF-8 ")):
        load_all()


def test_an_id_of_another_report_is_named_with_both(write: Callable[..., Path]) -> None:
    write(GOOD)
    path = write(GOOD.replace("c.two", "d.two").replace("s.one", "t.one"), "other")
    message = f"{path}:21: c.one: stands in good/report.yaml already"
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_all()


def test_a_sixth_report_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in REPORTS:
        (tmp_path / name).mkdir()
        shutil.copy(paths.experiments() / name / "report.yaml", tmp_path / name)
    (tmp_path / "f2526").mkdir()
    (tmp_path / "f2526" / "report.yaml").write_text(GOOD.replace("[good]", "[f2526, a2425]"))
    monkeypatch.setattr(paths, "experiments", lambda: tmp_path)
    reports = load_all()
    assert {name: report for name, report in reports.items() if name != "f2526"} == REPORTS
    assert [claim.id for claim in reports["f2526"].claims] == ["c.one", "c.two"]


def test_the_sixth_report_of_the_documentation_is_one(write: Callable[..., Path]) -> None:
    documentation = (Path(__file__).parents[1] / "docs" / "reports.md").read_text(encoding="utf-8")
    (sample,) = re.findall(r"## A report of your own.*?```yaml\n(.*?)```", documentation, flags=re.DOTALL)
    write(sample, "mine")
    (report,) = load_all().values()
    assert {row.of for table in report.tables for row in table.rows} <= report.configurations.keys()
    assert report.figures
    assert report.claims
    assert report.slips


# --- lines -----------------------------------------------------------------------------------------------------------

KEYS = st.text("abcdefgh/ _", min_size=1, max_size=6).map(str.strip).filter(bool)
TREES = st.recursive(
    st.none(),
    lambda inner: st.lists(inner, min_size=1, max_size=4) | st.dictionaries(KEYS, inner, min_size=1, max_size=4),
    max_leaves=20,
)


def with_leaves(tree: Any, places: dict[str, list[str | int]], keys: list[str | int]) -> Any:
    """The tree with a word in place of each leaf that stands nowhere else; where each stands is entered."""
    if isinstance(tree, dict):
        return {key: with_leaves(value, places, [*keys, key]) for key, value in tree.items()}
    if isinstance(tree, list):
        return [with_leaves(value, places, [*keys, number]) for number, value in enumerate(tree)]
    word = f"LEAF{len(places)}."
    places[word] = keys
    return word


@given(tree=TREES)
def test_the_line_of_a_key_is_where_it_stands(tree: Any) -> None:
    places: dict[str, list[str | int]] = {}
    text = yaml.safe_dump(with_leaves(tree, places, []), sort_keys=False, default_flow_style=False)
    lines, node = text.splitlines(), yaml.compose(text)
    for word, keys in places.items():
        assert word in lines[line_of(node, keys) - 1]
        assert line_of(node, [*keys, "beyond", 3]) == line_of(node, keys)
