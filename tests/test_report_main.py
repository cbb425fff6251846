"""The command: what it writes, prints and refuses; and that TensorBoard tells the same."""

import csv
import re
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
from board import accumulated
from scipy import stats

from dlbench import commands, paths
from dlbench.errors import ConfigError
from dlbench.records.store import Store
from dlbench.report.checks import Verdicts
from dlbench.report.files import MARKS, main_table
from dlbench.report.pages import render
from dlbench.report.results import Collection, Evidence
from dlbench.report.schema import load_all
from dlbench.tensorboard.app import View

DOCS = Path(__file__).parent.parent / "docs"


def report(folder: Path, *words: str) -> int:
    """The command, which runs nothing; by default the report goes into the folder too."""
    return commands.call(
        "report", ["--profile", "none", "--runs", str(folder / "runs"), "--output", str(folder), *words]
    )


def test_without_running_the_report_is_written_from_the_records_at_hand(written: SimpleNamespace) -> None:
    folder = written.folder
    assert (written.code, written.err) == (0, "")
    assert "Published against reproduced" in written.out
    assert f"the whole report: {folder / 'index.html'}" in written.out
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    figures = {name for name in names if name.startswith("figures/")}
    assert names - figures == {"index.html", "report.md", "tables.tex", "numbers.csv"}
    page = (folder / "index.html").read_text(encoding="utf-8")
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    for name in figures:
        ElementTree.parse(folder / name)
        assert f'id="{Path(name).stem}"' in markdown
        assert f'id="{Path(name).stem}"' in page
    assert not written.runs.exists()


@pytest.mark.slow
def test_the_same_records_give_the_same_bytes(
    written: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DLBENCH_CACHE", str(tmp_path / "cache"))  # figures are drawn again
    report(tmp_path, "--output", str(tmp_path / "report"))
    one, other = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}
        for folder in (written.folder, tmp_path / "report")
    )
    assert one == other


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are no committed records, so that there is little to write."""
    nothing = Verdicts(Evidence(load_all(), Collection([])))
    monkeypatch.setattr("dlbench.commands.report.judge", lambda *_: nothing)


@pytest.mark.usefixtures("quick")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert report(tmp_path, "--output", str(tmp_path / "file" / "report")) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "file") in line


OWN = """
title: "mine26 (2026): scenes"
data: synthetic scenes.
configurations:
  small: {experiment: small}
  wider: {experiment: small, overrides: ["model.hidden=[8,8]"]}
tables:
  - title: Scenes
    rows:
      - {of: small, label: small, published: {test/accuracy: 0.3}, headline: test/accuracy}
claims:
  - {id: mine26.wider, text: Wider is better., checks: [{of: wider, metric: test/accuracy, higher_than: small}]}
"""


def test_an_own_report_of_an_own_experiment_is_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path, text in (
        ("experiment/small.yaml", "# @package _global_\nname: small\ntrainer: {epochs: 3}\n"),
        ("reports/mine26/report.yaml", OWN),
    ):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(text)
    assert report(tmp_path, "--config-dir", str(tmp_path), "--only", "mine26") == 0
    out = capsys.readouterr().out
    assert "mine26: Scenes, small: test accuracy" in " ".join(out.split())
    assert "1 published value: 1 not run. 1 claim: 1 not run.\n" in out
    assert "d2223" not in (tmp_path / "report.md").read_text(encoding="utf-8").partition("## All runs")[0]
    assert report(tmp_path, "--config-dir", str(tmp_path)) == 0
    assert "97 published values: " in capsys.readouterr().out
    assert report(tmp_path) == 0
    assert "96 published values: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--only", "d2224"], "--only d2224: no such report; did you mean d2223 or e2324?"),
        (["--only", "d2223", "--readme", "README.md"], "--only d2223: --readme and --pages are made from all reports"),
        (["--only", "d2223", "--pages", "docs"], "--only d2223: --readme and --pages are made from all reports"),
    ],
)
def test_one_report_alone_is_one_that_is_there(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(tmp_path, *words) == 1
    assert capsys.readouterr().err.startswith(f"dlbench: {said}")
    assert not [*tmp_path.iterdir()]


def test_an_unknown_profile_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(tmp_path, "--profile", "fast") == 2
    assert "quick" in capsys.readouterr().err


def test_overrides_for_no_run_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(tmp_path, "--profile", "none", "--output", str(tmp_path / "report"), "seed=3") == 1
    assert "seed=3: is for runs, and --profile none makes none" in capsys.readouterr().err
    assert not (tmp_path / "report").exists()


def test_tensorboard_and_report_agree_in_names_and_numbers(
    written: SimpleNamespace, committed: Verdicts, tmp_path: Path
) -> None:
    with (written.folder / "numbers.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["evaluation"]]
    results = {(result.experiment, result.provenance): result for result in committed.evidence.collection.results}
    (tmp_path / "records").mkdir()
    for run, folder in {result.run: result.record.folder for result in results.values()}.items():
        (tmp_path / "records" / run).symlink_to(folder, target_is_directory=True)
    View(tmp_path / "view", [Store(tmp_path / "records")]).refresh()
    for result in results.values():
        numbers = {row["metric"]: float(row["value"]) for row in rows if row["evaluation"] == result.evaluation.id}
        events = accumulated(tmp_path / "view" / result.name)
        measured = {metric: value for metric, value in numbers.items() if not metric.startswith("model/")}
        shown = {metric: events.Scalars(metric)[-1].value for metric in measured}
        assert shown == pytest.approx(measured, rel=1e-6), result.name


def test_the_committed_report_is_that_of_the_committed_records(written: SimpleNamespace, committed: Verdicts) -> None:
    # make docs-report renews both.
    now, docs = (folder / "report.md" for folder in (written.folder, DOCS / "report"))
    assert docs.read_text(encoding="utf-8") == now.read_text(encoding="utf-8")
    assert main_table(committed) in (DOCS.parent / "README.md").read_text(encoding="utf-8")


def test_the_committed_pages_are_those_of_the_committed_records(committed: Verdicts) -> None:
    # make docs-report renews them.
    templates = list((paths.experiments() / "pages").glob("*.j2"))
    assert templates
    for template in templates:
        assert (DOCS / template.stem).read_text(encoding="utf-8") == render(template, committed.evidence)


def test_the_readme_says_of_the_layout_what_the_records_say(committed: Verdicts) -> None:
    told = []
    for variant in ("correct layout", None):
        values = committed.evidence.runs("a2425", "plain lr 0.01", variant=variant).measured("test/accuracy")
        count = ("no runs", "one run", "two runs", "three runs", "four runs", "five runs")[len(values)]
        told.append(f"{np.mean(values):.3f} ({count})")
    assert " instead of ".join(told) in " ".join((DOCS.parent / "README.md").read_text(encoding="utf-8").split())


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ('runs("p2g_beam", seeds=(42, 7))("test/cer")', "p2g_beam: no verified record of every seed of 42, 7"),
        ('runs("p2g_beam", on="stand-in").n', "p2g_beam: no stand-in record"),
        ('runs("p2g_beam", "model.size=7").n', "p2g_beam model.size=7: no verified record"),
        ('runs("p2g_beam", "model.sise=7").n', "model.sise: no such key"),
        ('runs("p2g_bean").n', "p2g_bean: no such experiment"),
        ('runs("p2g_beam")("test/accuracy")', "has no test/accuracy"),
        ('runs("translit_ensemble").against(runs("translit_attention"), "test/cer")', "fewer than two pairs"),
        ('runs("p2g_ensemble", seeds=(42,)).unpaired(runs("p2g_lstm"), "test/cer")', "has one run; two are needed"),
        ("rums()", "'rums' is undefined"),
        ("{{", "expected token"),
    ],
)
def test_what_a_page_cannot_be_told_is_named(asked: str, told: str, committed: Verdicts, tmp_path: Path) -> None:
    template = tmp_path / "page.md.j2"
    template.write_text(f"{{{{ {asked} }}}}")
    with pytest.raises(ConfigError, match=re.escape(told)) as raised:
        render(template, committed.evidence)
    assert str(raised.value).startswith(f"{template}: ")
    assert "\n" not in str(raised.value)


def test_a_difference_is_paired_among_equal_versions(committed: Verdicts, tmp_path: Path) -> None:
    # Seeds 45 and 46 of the two are made by other versions.
    template = tmp_path / "page.md.j2"
    template.write_text('{{ runs("translit_lstm").against(runs("translit_attention"), "test/error_rate_macro") }}')
    ours, theirs = (
        [
            each.metrics["test/error_rate_macro"]
            for each in committed.evidence.runs("d2223", name).results
            if each.seed < 45
        ]
        for name in ("no attention", "attention")
    )
    expected = np.mean(np.subtract(ours, theirs)), *stats.ttest_rel(ours, theirs).confidence_interval()
    shown = re.findall(r"[+-]\.\d{4}", render(template, committed.evidence))
    assert list(map(float, shown)) == pytest.approx(expected, abs=5e-5)


def test_a_difference_of_runs_that_are_no_pairs_is_told(committed: Verdicts, tmp_path: Path) -> None:
    template = tmp_path / "page.md.j2"
    template.write_text('{{ runs("translit_lstm").unpaired(runs("translit_attention"), "test/error_rate_macro") }}')
    ours, theirs = (
        committed.evidence.runs("d2223", name).measured("test/error_rate_macro")
        for name in ("no attention", "attention")
    )
    test = stats.ttest_ind(ours, theirs, equal_var=False)
    expected = np.mean(ours) - np.mean(theirs), *test.confidence_interval()
    shown = re.findall(r"[+-]\.\d{4}", render(template, committed.evidence))
    assert list(map(float, shown)) == pytest.approx(expected, abs=5e-5)


@pytest.mark.usefixtures("quick")
def test_a_page_without_records_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(tmp_path, "--pages", str(tmp_path / "pages")) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "ablations.md.j2: cnn_bn_gap trainer.epochs=10: no verified record" in line
    assert not (tmp_path / "pages").exists()


@pytest.mark.usefixtures("quick")
def test_a_file_without_a_place_for_the_table_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("nothing\n")
    assert report(tmp_path, "--readme", str(readme)) == 1
    assert str(readme) in capsys.readouterr().err
    assert readme.read_text() == "nothing\n"
    assert not (tmp_path / "index.html").exists()  # that is told before anything is run
    readme.write_text(f"before\n{MARKS[0]}\nold\n{MARKS[1]}\nafter\n")
    report(tmp_path, "--readme", str(readme))
    text = readme.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "| what |" in text
    assert "old" not in text
