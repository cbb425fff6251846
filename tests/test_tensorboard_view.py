"""All runs in one TensorBoard: their names, what is shown and when, the charts, and the command."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from board import Board, accumulated, measured
from browser import launched
from omegaconf import DictConfig, OmegaConf
from resealed import change, copied, reseal, reseal_evaluation

from dlbench import commands, paths
from dlbench.records import history, seal
from dlbench.records.files import read_json, set_aside
from dlbench.records.labels import decoding, evaluation_name, run_name
from dlbench.records.store import Record, Store
from dlbench.records.summary import Use, decoding_of, summarise, uses
from dlbench.tensorboard import events
from dlbench.tensorboard.app import View

COMMITTED = Store(paths.experiments() / "results")
OWN_SEEDS = (1043, 1044)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder of two runs of the user's own, with event files; the second one's data is synthetic."""
    folder = tmp_path / "runs"
    for seed, source in zip(OWN_SEEDS, ("npz", "synthetic"), strict=True):
        add(folder, seed, source)
    return folder


def add(runs: Path, seed: int, source: str) -> Record:
    """A run of the user's own, made of a committed one."""
    record = Record(Path(shutil.copytree(COMMITTED.find("b2e0cd9b").folder, runs / source)))
    manifest = read_json(record.manifest)
    change(record.manifest, data={**manifest["data"], "source": source})
    change(record.config, seed=seed)
    change(record.identity, seed=seed)
    record = reseal(record)
    events.rebuild(record, record.tensorboard)
    return record


def own(runs: Path, number: int) -> Record:
    """One of the user's own runs."""
    (found,) = [record for record in Store(runs).all() if record.settings()["seed"] == OWN_SEEDS[number]]
    return found


def named(record: Record) -> str:
    return run_name(read_json(record.manifest), record.settings())


def names(*stores: Store) -> set[str]:
    return {named(record) for store in stores for record in store.all()}


def decodings(*stores: Store) -> set[str]:
    """The names of what was decoded."""
    return {
        evaluation_name(read_json(record.manifest), record.settings(), seal.read(evaluation.result), how)
        for store in stores
        for record in store.all()
        for evaluation in record.evaluations()
        if (how := decoding_of(evaluation))
    }


@pytest.fixture
def classifiers(tmp_path: Path) -> Store:
    """The committed records of classifiers, which decode nothing."""
    folder = tmp_path / "classifiers"
    folder.mkdir()
    for record in COMMITTED.all():
        if not any(map(decoding_of, record.evaluations())):
            (folder / record.id).symlink_to(record.folder)
    return Store(folder)


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("run", "name"),
    [
        ("0c52659b", "cnn_bn_gap/lr=0.01 layout=scrambled seed=42 (0c52659b)"),
        ("b6d1ead6", "cnn_vanilla/lr=0.01 layout=chw seed=42 (b6d1ead6)"),
    ],
)
def test_a_run_of_the_experiments_own_settings_has_a_short_name(run: str, name: str) -> None:
    assert named(COMMITTED.find(run)) == name


def test_a_name_tells_what_differs_from_the_experiment() -> None:
    record = COMMITTED.find("b2e0cd9b")
    config = record.settings()
    config["model"] |= {"hidden_bn": [True, True], "pooling": "no/thing", "classes": None}
    config["data"]["_target_"] = "dlbench.data.pair_datamodule.TransductionDataModule"
    config["optimizer"] |= {"_target_": "dlbench.tasks.optim.adam", "beta1": 0.9}
    config["trainer"] |= {"epochs": 4, "device": "cuda"}
    name = run_name(read_json(record.manifest), config)
    (settings,) = re.findall(r"^cnn_bn_gap/lr=0.01 layout=chw seed=42 (.*) \(b2e0cd9b\)$", name)
    different = {"pooling=no_thing", "hidden_bn=[true,true]", "classes=null", "data=p2g", "optimizer=adam", "epochs=4"}
    assert set(settings.split()) == different


def test_a_name_tells_synthetic_data() -> None:
    record = COMMITTED.find("b2e0cd9b")
    manifest = read_json(record.manifest)
    manifest["data"]["source"] = "synthetic"
    assert run_name(manifest, record.settings()) == "cnn_bn_gap (synthetic data)/lr=0.01 layout=chw seed=42 (b2e0cd9b)"


def test_a_name_tells_attention_and_precision(decoded: Record) -> None:
    manifest, config = read_json(decoded.manifest), decoded.settings()
    group, settings = "p2g_attention (synthetic data)", "seed=42 size=16 epochs=2"
    assert run_name(manifest, config) == f"{group}/lr=0.003 attention=bahdanau {settings} ({decoded.id[:8]})"
    config["model"]["attention"]["layer_norm"] = True
    config["trainer"]["precision"] = "bf16-mixed"
    expected = f"lr=0.003 attention=bahdanau,layer_norm=true precision=bf16-mixed {settings}"
    assert run_name(manifest, config) == f"{group}/{expected} ({decoded.id[:8]})"
    config["model"]["attention"] = None
    assert run_name(manifest, config).startswith(f"{group}/lr=0.003 attention=none precision=bf16-mixed seed=42")
    del config["model"]["attention"]
    assert run_name(manifest, config).startswith(f"{group}/lr=0.003 precision=bf16-mixed seed=42")


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (["+experiment=cnn_vanilla"], ""),
        (["+experiment=p2g_lstm"], "greedy"),
        (["+experiment=p2g_lstm", "evaluation.decoding.max_length=9"], "greedy"),
        (["+experiment=p2g_nucleus"], "nucleus p=0.8 samples=4, separate_pass=true"),
        (["+experiment=p2g_lstm", "decoding=top_k", "evaluation.k=2"], "top_k k=5, k=2"),
        (
            ["+experiment=p2g_lstm", "decoding=beam", "evaluation.decoding.length_normalisation=0.5"],
            "beam width=5 length_normalisation=0.5",
        ),
        (["+experiment=p2g_lstm", "evaluation.members=[43,44]"], "greedy, ensemble of 3"),
        (
            ["+experiment=translit_lstm", "decoding=beam", "evaluation.members=[1]"],
            "beam width=5, checkpoint=last drop_last_symbol=true, ensemble of 2",
        ),
    ],
)
def test_a_decoding_has_a_name(overrides: list[str], name: str, compose: Callable[..., DictConfig]) -> None:
    evaluation: Any = OmegaConf.to_container(compose(*overrides).evaluation, resolve=True)
    assert decoding(evaluation) == name


def test_a_run_of_an_experiment_that_is_gone_has_a_name() -> None:
    record = COMMITTED.find("b2e0cd9b")
    manifest = read_json(record.manifest) | {"experiment": "gone"}
    assert run_name(manifest, record.settings()) == "gone/lr=0.01 layout=chw seed=42 (b2e0cd9b)"


# --- the view --------------------------------------------------------------------------------------------------------


def test_committed_runs_and_decodings_are_shown_by_name_and_as_they_were_measured(tmp_path: Path) -> None:
    view = View(tmp_path, [COMMITTED])
    assert view.refresh() == len(COMMITTED.all())
    assert decodings(COMMITTED)
    assert Board(view.folder).runs() == names(COMMITTED) | decodings(COMMITTED)
    record = COMMITTED.find("b2e0cd9b")
    name, rows = named(record), history.read(record.metrics)
    found = accumulated(tmp_path / name)
    for tag in ("train/loss", "val/accuracy", "val/loss", "time/epoch_seconds"):
        curve = [(event.step, event.value) for event in found.Scalars(tag)]
        assert curve == [(row["epoch"], pytest.approx(row[tag], rel=1e-6)) for row in rows]
    times = [event.wall_time for event in found.Scalars("val/loss")]
    assert times[-1] - times[0] == pytest.approx(sum(row["time/epoch_seconds"] for row in rows[1:]))
    (evaluation,) = record.evaluations()
    recorded = measured(seal.read(evaluation.result)["metrics"])
    _, metrics, _ = Board(tmp_path).hparams()[name]
    assert {tag: metrics[tag] for tag in recorded} == pytest.approx(recorded, rel=1e-6)


def test_own_and_committed_runs_are_shown_by_name(runs: Path, classifiers: Store, tmp_path: Path) -> None:
    view = View(tmp_path / "view", [Store(runs), classifiers])
    assert view.refresh() == len(classifiers.all()) + 2
    board = Board(view.folder)
    assert board.runs() == board.hparams().keys() == names(Store(runs), classifiers)
    settings, metrics = board.columns()
    assert settings[:5] == ["experiment", "optimizer.lr", "data.layout", "seed", "data"]
    assert metrics[:2] == ["test/accuracy", "val/accuracy"]
    assert not [name for name in metrics if name.startswith("optimizer/")]


def test_the_view_follows_the_records(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs.rename(tmp_path / "elsewhere")
    view = View(tmp_path / "view", [Store(runs)])
    assert view.refresh() == 0  # the folder itself may come later
    (tmp_path / "elsewhere").rename(runs)
    assert view.refresh() == 2
    set_aside(own(runs, 0).folder)
    assert view.refresh() == 1
    assert Board(view.folder).runs() == names(Store(runs))
    begun = Record(runs / "begun")
    begun.folder.mkdir()
    begun.config.write_text("{}")
    with begun.lock():
        assert view.refresh() == 1
    assert "begun" not in capsys.readouterr().err
    for _ in range(2):
        assert view.refresh() == 1
    assert capsys.readouterr().err.count("record begun left out: ") == 1


def test_at_most_so_many_are_shown_own_and_newest_first(runs: Path, classifiers: Store, tmp_path: Path) -> None:
    view = View(tmp_path / "view", [Store(runs), classifiers], most=4)
    assert view.refresh() == 4
    newest = sorted(classifiers.all(), key=lambda record: read_json(record.manifest)["started"])[-2:]
    assert Board(view.folder).runs() == names(Store(runs)) | set(map(named, newest))
    assert "--only" in view.advice()
    added = add(runs, 1045, "npz_again")
    assert view.refresh() == 4
    assert Board(view.folder).runs() == names(Store(runs)) | {named(newest[1])}
    shutil.rmtree(added.folder)
    assert view.refresh() == 4
    assert Board(view.folder).runs() == names(Store(runs)) | set(map(named, newest))


def test_decodings_count_among_those_shown(decoded: Record, tmp_path: Path) -> None:
    for most, is_cut in ((3, True), (4, False)):  # a training and its three decodings
        view = View(tmp_path / str(most), [Store(decoded.folder.parent)], most=most)
        view.refresh()
        assert len(Board(view.folder).runs()) == most
        assert bool(view.advice()) == is_cut


def test_as_many_as_may_be_shown_are_all(runs: Path, tmp_path: Path) -> None:
    view = View(tmp_path / "view", [Store(runs)], most=2)
    assert view.refresh() == 2
    assert view.advice() == ""


def test_only_runs_with_a_wanted_name_are_shown(
    runs: Path, decoded: Record, classifiers: Store, tmp_path: Path
) -> None:
    stores = [Store(runs), Store(decoded.folder.parent), classifiers]
    every = names(*stores) | decodings(stores[1])
    for only in ("seed=42.*scrambled|scrambled.*seed=42", "decoded by beam", "synthetic"):
        view = View(tmp_path / only[:4], stores, only=re.compile(only))
        view.refresh()
        assert Board(view.folder).runs() == {name for name in every if re.search(only, name)}
    many = View(tmp_path / "many", stores, only=re.compile("."))
    many.refresh()
    assert re.match(r"\d+ runs: above 40 ", many.advice())


def test_a_run_appears_with_its_first_event(runs: Path, tmp_path: Path) -> None:
    record = own(runs, 0)
    for path in (record.training, record.folder / "evaluations", record.tensorboard):
        path.rename(tmp_path / path.name)
    reseal(record)
    view = View(tmp_path / "view", [Store(runs)])
    assert view.refresh() == 1
    (tmp_path / "tensorboard").rename(record.tensorboard)
    assert view.refresh() == 2


def test_a_run_whose_events_lack_the_final_metrics_is_shown_with_them(runs: Path, tmp_path: Path) -> None:
    record = own(runs, 0)
    (record.tensorboard / events.FINAL).rename(record.tensorboard / "events.out.tfevents.1")
    view = View(tmp_path / "view", [Store(runs)])
    view.refresh()
    place = view.folder / named(record)
    assert not place.is_symlink()
    assert Board(view.folder).hparams().keys() == names(Store(runs))


def test_a_chart_holds_the_runs_of_one_experiment(runs: Path, classifiers: Store, tmp_path: Path) -> None:
    View(tmp_path / "view", [Store(runs), classifiers]).refresh()
    board = Board(tmp_path / "view")
    tab = board.charts()
    categories = json.loads(tab.layout_impl(board.request, ""))["category"]
    titles = [category["title"] for category in categories]
    assert set(titles) == {run.partition("/")[0] for run in board.runs()}
    began = {record: read_json(record.manifest)["started"] for record in (*Store(runs).all(), *classifiers.all())}
    newest = sorted(began, key=lambda record: began[record], reverse=True)
    assert titles == list(dict.fromkeys(named(record).partition("/")[0] for record in newest))
    assert {"cnn_bn_gap", "cnn_bn_gap (synthetic data)", "cnn_vanilla"} <= set(titles)
    for category in categories:
        charts = {chart["title"]: chart["multiline"]["tag"] for chart in category["chart"]}
        classified = ["validation accuracy", "validation loss", "training loss"]
        is_retrieval = category["title"].startswith("hopfield_retrieval")
        assert list(charts) == (["share of pictures retrieved"] if is_retrieval else classified)
        for (tag,) in charts.values():
            curves = {run: tab.scalars_impl(board.request, run, tag, "")["tag_to_events"] for run in board.runs()}
            expected = {run for run in curves if run.startswith(category["title"] + "/")}
            assert {run for run, found in curves.items() if found} == expected
            assert {len(curves[run]) for run in expected} == {1}


def test_decodings_are_shown_beside_their_training(decoded: Record, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    record = copied(decoded, runs)
    training = named(record)
    hows = {decoding_of(evaluation): evaluation for evaluation in record.evaluations()}
    expected = {f"{training} decoded by {how} ({evaluation.id[:8]})": how for how, evaluation in hows.items()}
    assert set(hows) == {"greedy", "nucleus p=0.8", "beam width=5"}

    hidden = hows["beam width=5"].folder.rename(tmp_path / "beam")
    view = View(tmp_path / "view", [Store(runs)])
    assert view.refresh() == 1
    assert Board(view.folder).hparams().keys() == {name for name, how in expected.items() if "beam" not in how}
    hidden.rename(hows["beam width=5"].folder)  # a later decoding appears by itself
    assert view.refresh() == 1
    board = Board(view.folder)
    assert board.runs() == {training, *expected}
    shown = board.hparams()
    assert {name: settings["decoding"] for name, (settings, _, _) in shown.items()} == {
        name: how.partition(" ")[0] for name, how in expected.items()
    }
    assert board.columns()[0][0] == "decoding"  # the one that they differ in and that tells most
    assert board.columns()[1][:5] == ["test/cer", "test/wer", "test/wer_at_3", "test/error_rate_macro", "val/cer_best"]
    set_aside(hows["greedy"].folder)
    assert view.refresh() == 1
    assert board.runs() - Board(view.folder).runs() == {name for name, how in expected.items() if how == "greedy"}


def test_decodings_of_a_record_without_events_are_shown_as_well(decoded: Record, tmp_path: Path) -> None:
    View(tmp_path / "with", [Store(decoded.folder.parent)]).refresh()
    record = copied(decoded, tmp_path / "runs")
    shutil.rmtree(record.tensorboard)
    events.discard_final(record)
    view = View(tmp_path / "without", [Store(tmp_path / "runs")])
    assert view.refresh() == 1
    boards = Board(tmp_path / "with"), Board(view.folder)
    assert boards[0].runs() == boards[1].runs()
    assert boards[0].hparams() == boards[1].hparams()


def test_a_damaged_decoding_is_named_once_and_hides_no_other_until_it_is_whole(
    decoded: Record, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = copied(decoded, tmp_path / "runs")
    result = record.evaluations()[0].result
    content = result.read_bytes()
    result.write_text("{")
    view = View(tmp_path / "view", [Store(tmp_path / "runs")])
    for _ in range(2):
        assert view.refresh() == 1
    assert len(Board(view.folder).hparams()) == 2
    assert capsys.readouterr().err.count("left out: ") == 1
    result.write_bytes(content)  # made again, say
    assert view.refresh() == 1
    assert len(Board(view.folder).hparams()) == 3


def test_what_runs_may_be_used_for_is_counted_as_it_is_listed(decoded: Record, tmp_path: Path) -> None:
    record = copied(decoded, tmp_path)
    assert uses([record]) == {Use.REPRODUCIBLE: 3}
    for evaluation, version in zip(record.evaluations(), ("1.9", "9.0"), strict=False):
        versions = {**seal.read(evaluation.result)["versions"], "transduction_evaluation": version}
        reseal_evaluation(evaluation, versions=versions)
    assert uses([record]) == {Use.REPRODUCIBLE: 1, Use.COMPARABLE: 1, Use.NEITHER: 1}
    assert uses([record]) == Counter(line.use for line in summarise(record))
    record.training.unlink()
    assert uses([record]) == {}


def test_a_chart_of_a_transducer_shows_its_error_rate_and_no_decoding(
    decoded: Record, runs: Path, tmp_path: Path
) -> None:
    View(tmp_path, [Store(decoded.folder.parent), Store(runs)]).refresh()
    board = Board(tmp_path)
    tab = board.charts()
    categories = json.loads(tab.layout_impl(board.request, ""))["category"]
    group, training = "p2g_attention (synthetic data)", named(decoded)
    (charts,) = [category["chart"] for category in categories if category["title"] == group]
    assert [chart["title"] for chart in charts] == [
        "validation character error rate",
        "validation loss",
        "training loss",
    ]
    (tag,) = charts[0]["multiline"]["tag"]
    curves = {run: tab.scalars_impl(board.request, run, tag, "")["tag_to_events"] for run in board.runs()}
    assert [run for run, found in curves.items() if found] == [training]


# --- the command -----------------------------------------------------------------------------------------------------


def test_a_missing_folder_is_named_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.call("tensorboard", ["--runs", str(tmp_path / "nowhere")]) == 1
    line = f"dlbench: {tmp_path}/nowhere: no such folder of runs; name one with --runs FOLDER\n"
    assert capsys.readouterr().err == line


def test_no_runs_at_all_are_named_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(paths, "experiments", lambda: tmp_path)
    assert commands.call("tensorboard", ["--runs", str(tmp_path)]) == 1
    assert re.fullmatch(r"dlbench: no runs in .*; make one: .*\n", capsys.readouterr().err)


@pytest.mark.parametrize(("only", "code"), [("no such name", 1), ("(", 2)])
def test_a_selection_of_nothing_is_named(only: str, code: int, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.call("tensorboard", [f"--runs={runs}", "--only", only]) == code
    assert only in capsys.readouterr().err.splitlines()[-1]


@pytest.fixture
def served(runs: Path, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of TensorBoard over the runs, started with some options."""
    command = [sys.executable, "-m", "dlbench", "tensorboard", "--port=0", *request.param]
    environment = {"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path), "DLBENCH_RUNS": str(runs)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        addresses = (re.search(r"http://localhost:\d+/", line) for line in process.stderr)
        yield next(match[0] for match in addresses if match)
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert not list(tmp_path.glob("dlbench-tensorboard-*"))


@pytest.mark.slow
@pytest.mark.parametrize("served", [["--load_fast=true"], ["--load_fast=false"]], indirect=True)
def test_own_runs_are_served_by_either_reader(served: str, runs: Path) -> None:
    for is_new in (False, True):
        if is_new:
            add(runs, 1045, "npz")
        wanted = names(Store(runs))
        deadline = time.monotonic() + 60
        while not wanted <= set(fetch(f"{served}data/runs")) and time.monotonic() < deadline:
            time.sleep(0.5)
        assert set(fetch(f"{served}data/runs")) == wanted
    tabs = [name for name, tab in fetch(f"{served}data/plugins_listing").items() if tab["enabled"]]
    assert tabs[:2] == ["custom_scalars", "hparams"]
    assert {"scalars", "text", "timeseries"} <= set(tabs)
    assert fetch(f"{served}data/plugin/custom_scalars/layout")["category"]


@pytest.mark.slow
@pytest.mark.parametrize("served", [["--committed"]], indirect=True)
def test_the_first_tab_shows_curves_unasked(served: str) -> None:
    with launched() as browser:
        page = browser.new_page()
        page.goto(served)
        page.get_by_text(re.compile(r"^\s*Matches \([1-9]")).first.wait_for(timeout=120_000)


@pytest.mark.slow
def test_ctrl_c_ends_at_once_while_runs_are_still_being_added(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dlbench", "tensorboard", "--port=0", f"--runs={tmp_path}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if "http://localhost" in line)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=30)[1]
    assert process.returncode == 0
    assert "Traceback" not in said


def fetch(address: str) -> Any:
    with urllib.request.urlopen(address) as answer:
        return json.load(answer)
