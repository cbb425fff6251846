"""Sealed records: no damage and no forgery goes unnoticed, and a resumed training carries none along."""

import contextlib
import io
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from bits import same_bits
from board import Board, accumulated
from damage import damage, digit
from resealed import change, change_and_seal, copied, read

from dlbench import commands, identity
from dlbench.errors import RecordError
from dlbench.files import digest
from dlbench.records import history, seal
from dlbench.records.files import read_json, write_json
from dlbench.records.store import Record, State, Store
from dlbench.records.summary import Summary, summarise
from dlbench.report.results import collect
from dlbench.run import Outcome, run
from dlbench.run.plan import prepare
from dlbench.run.training import train
from dlbench.tensorboard.app import View

EPOCHS = 3
TINY = ("data.synthetic_sizes=[24,6,6]", "model.size=8", "evaluation.decoding.max_length=6")
SPELLED = ("k æ t", "t æ k")


@pytest.fixture(scope="module")
def overrides(tiny_in: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    runs = tmp_path_factory.mktemp("sealed") / "runs"
    return ["+experiment=p2g_lstm", *bare(tiny_in(runs, epochs=EPOCHS)), *TINY]


def bare(overrides: list[str]) -> list[str]:
    """The same without any callback."""
    return [*(word for word in overrides if not word.startswith("callbacks.")), "callbacks=none"]


@pytest.fixture(scope="module")
def finished(compose: Callable[..., Any], overrides: list[str]) -> Outcome:
    return run(compose(*overrides))


@pytest.fixture(scope="module")
def classifying(tiny_in: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    runs = tmp_path_factory.mktemp("classifying") / "runs"
    return ["+experiment=cnn_bn_gap", *bare(tiny_in(runs, epochs=EPOCHS)), "evaluation.max_shift=0"]


@pytest.fixture(scope="module")
def classifier(compose: Callable[..., Any], classifying: list[str]) -> Outcome:
    """A run that decodes nothing: its result is shown with its training."""
    return run(compose(*classifying))


@pytest.fixture(scope="module")
def trained(compose: Callable[..., Any], overrides: list[str], tmp_path_factory: pytest.TempPathFactory) -> Record:
    """A record whose training is done, and not yet evaluated."""
    plan = prepare(compose(*overrides, f"paths.runs={tmp_path_factory.mktemp('trained')}"))
    with plan.record.lock():
        train(plan)
    return plan.record


@pytest.fixture(scope="module")
def interrupted(trained: Record, tmp_path_factory: pytest.TempPathFactory) -> Record:
    """A record as a kill leaves it after its last epoch, before it is closed."""
    record = copied(trained, tmp_path_factory.mktemp("interrupted"))
    record.training.unlink()
    return record


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in seal.DERIVED)


class Looks(NamedTuple):
    """What is told of a folder of records by those who only read it."""

    listed: list[Summary]
    results: list[dict[str, float]]
    left_out: int
    predicted: tuple[int, str, str]
    shown: dict[str, Any]
    said: str


def tensorboard(runs: Store) -> tuple[dict[str, Any], str]:
    """What TensorBoard shows of a folder of records, by run, and what it says of those that it does not show."""
    said = io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.redirect_stderr(said):
            View(Path(folder), [runs]).refresh()
        found = Board(Path(folder))
        rows = found.hparams()
        shown = {}
        for name in found.runs():
            events = accumulated(Path(folder) / name)
            curves = {tag: [each.value for each in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
            shown[name] = (curves, rows.get(name))
    return shown, said.getvalue()


def look(record: Record) -> Looks:
    """Have `records list --check`, the report, `predict` and TensorBoard look at a record."""
    runs = Store(record.folder.parent)
    listed = [line for each in runs.all() for line in summarise(each, partial(Record.read, whole=True))]
    collection = collect([runs])
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        words = ["--runs", str(runs.folder), record.id, "--decoding", "greedy", "--json", *SPELLED]
        code = commands.call("predict", words)
    results = [dict(result.metrics) for result in collection.results]
    return Looks(listed, results, len(collection.left_out), (code, out.getvalue(), err.getvalue()), *tensorboard(runs))


def silent(before: Looks, after: Looks, path: str, done: str) -> list[str]:
    """Who tells something else of a damaged record than of the whole one, and says nothing of the damage."""
    is_named = bool(after.listed) and all(line.problem or line.state == State.CORRUPT for line in after.listed)
    is_done = before.listed[0].state == State.FINISHED
    if done == "deleted" and path.startswith(seal.OPTIONAL) and is_done:
        is_named = True  # as it is cleaned away, and is with a committed record
    elif done == "deleted" and path.endswith("result.json"):
        is_named = not after.listed[0].metrics and bool(after.left_out)
    elif done == "deleted" and path == "training.json":
        is_named = {line.state for line in after.listed} == {State.INTERRUPTED}
    elif not is_done:  # its curves and checkpoints are held against each other when it goes on
        is_named |= after.listed == before.listed
    code, out, err = after.predicted
    is_left_out = "left out: " in after.said or (done == "deleted" and path.endswith("result.json"))
    is_right = after.shown == before.shown or (is_left_out and after.shown.items() <= before.shown.items())
    if path.startswith("tensorboard/") and (not is_done or done == "deleted"):
        is_right = True  # the events of a training that goes on are what they are; without any they are made anew
    is_refused = code == 1 and not out and len(err.splitlines()) == 1
    wrong = {
        "list": not is_named,
        "report": after.results not in ([], before.results),
        "predict": not is_refused and after.predicted != before.predicted,
        "tensorboard": not is_right,
    }
    return [name for name, is_wrong in wrong.items() if is_wrong]


def tries(
    whole: Record, runs: Path, again: Callable[[], Outcome], truth: Outcome, *, number: int, every: int = 1
) -> Counter[str]:
    """Damage a record so many times, one file each, and count what was silent.

    Args:
        whole: The record.
        runs: The folder of records in which it is damaged.
        again: Runs it again there.
        truth: What that is to come to.
        number: How many times.
        every: Every which of them is run again.
    """
    counts: Counter[str] = Counter()
    before = look(copied(whole, runs))
    for attempt in range(number):
        shutil.rmtree(runs)
        chance, record = random.Random(f"0 {attempt}"), copied(whole, runs)
        path = chance.choice(files_of(record.folder))
        name, content = path.relative_to(record.folder).as_posix(), path.read_bytes()
        done = damage(path, chance)
        if path.is_file() and path.read_bytes() == content:
            counts["no damage"] += 1
            continue
        after = look(record)
        wrong = silent(before, after, name, done)
        wrong += ["resume"] if attempt % every == 0 and not is_as_before(again(), truth, path) else []
        counts[f"silent in {', '.join(wrong)}: {name} {done}" if wrong else "not silent"] += 1
    return counts


def is_as_before(outcome: Outcome, truth: Outcome, path: Path) -> bool:
    """Whether a record came to the same bits, and to a record that tells the same."""
    try:
        outcome.record.read(whole=True)
    except RecordError as error:  # what a closed training keeps, but is not made of, is named when it is looked at
        if path.name not in str(error):
            return False
    is_right = same_bits(outcome, truth) and outcome.record.settings() == truth.record.settings()
    is_right &= read_json(outcome.record.identity) == read_json(truth.record.identity)
    keys = ("data", "versions", "bound", "numerics")
    told = [read_json(each.record.manifest) for each in (outcome, truth)]
    return is_right and all(told[0][key] == told[1][key] for key in keys)


def no_silence(counts: Counter[str]) -> bool:
    return not [name for name in counts if name.startswith("silent")]


@pytest.mark.parametrize(
    ("command", "made", "every"), [("overrides", "finished", 8), ("classifying", "classifier", 20)]
)
def test_every_damage_of_a_finished_record_is_named(  # noqa: PLR0917
    compose: Callable[..., Any], command: str, made: str, every: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Of one that decodes, and of one that decodes nothing."""
    outcome: Outcome = request.getfixturevalue(made)
    config = compose(*request.getfixturevalue(command), f"paths.runs={tmp_path / 'runs'}")
    counts = tries(outcome.record, tmp_path / "runs", lambda: run(config), outcome, number=40, every=every)
    assert no_silence(counts), counts
    assert counts["not silent"] > 30


def test_tensorboard_names_every_changed_digit_of_a_result_that_is_shown_with_its_training(
    classifier: Outcome, tmp_path: Path
) -> None:
    """Its event files hold what the result was before."""
    whole, said = tensorboard(Store(classifier.record.folder.parent))
    assert len(whole) == 1
    assert not said
    for attempt in range(20):
        record = copied(classifier.record, tmp_path / f"runs{attempt}")
        (evaluation,) = record.evaluations()
        content = evaluation.result.read_bytes()
        evaluation.result.write_bytes(digit(content, random.Random(attempt)))
        shown, said = tensorboard(Store(record.folder.parent))
        assert not shown
        assert f"record {record.id} left out: {evaluation.result}" in said


@pytest.mark.slow
def test_of_300_damages_none_is_silent(  # noqa: PLR0917
    compose: Callable[..., Any],
    overrides: list[str],
    finished: Outcome,
    trained: Record,
    interrupted: Record,
    tmp_path: Path,
) -> None:
    config = compose(*overrides, f"paths.runs={tmp_path / 'runs'}")
    counts: Counter[str] = Counter()
    for record, number, every in ((finished.record, 200, 10), (trained, 70, 2), (interrupted, 60, 2)):
        counts += tries(record, tmp_path / "runs", lambda: run(config), finished, number=number, every=every)
        shutil.rmtree(tmp_path / "runs")
    assert no_silence(counts), counts
    assert counts["not silent"] >= 300


def forge_learning_rate(folder: Path) -> None:
    """Another learning rate, in the configuration as in the identity."""
    for path in (folder / "config.yaml", folder / "identity.json"):
        change(path, optimizer={**read(path)["optimizer"], "lr": 0.001})


def forge_seed(folder: Path) -> None:
    change(folder / "identity.json", seed=43)


def forge_run(folder: Path) -> None:
    change_and_seal(folder / "training.json", run="0" * 12)


def forge_metric(folder: Path) -> None:
    path = result_of(folder)
    change(path, metrics={**read(path)["metrics"], "test/wer": 0.01})


def forge_evaluation(folder: Path) -> None:
    path = result_of(folder)
    told = read(path)["identity"]
    change_and_seal(path, identity={**told, "evaluation": {**told["evaluation"], "checkpoint": "last"}})


def forge_folder(folder: Path) -> None:
    folder.rename(folder.with_name("0" * 12))


def forge_hashes(folder: Path) -> None:
    """A file with its hash, but without the seal."""
    (folder / "metrics.jsonl").write_text("{}\n")
    path = folder / "training.json"
    change(path, files={**read(path)["files"], "metrics.jsonl": digest(folder / "metrics.jsonl")})


def forge_weights(folder: Path) -> None:
    change_and_seal(result_of(folder), weights="0" * 64)


def result_of(folder: Path) -> Path:
    return next(folder.glob("evaluations/*/result.json"))


@pytest.mark.parametrize(
    "forge",
    [
        *(forge_learning_rate, forge_seed, forge_run, forge_metric, forge_evaluation, forge_folder, forge_hashes),
        forge_weights,
    ],
)
def test_a_forged_record_counts_for_nothing(finished: Outcome, tmp_path: Path, forge: Callable[[Path], None]) -> None:
    forge(copied(finished.record, tmp_path / "runs").folder)
    collection = collect([Store(tmp_path / "runs")])
    assert not collection.results
    assert len(collection.left_out) == 1


def strip_the_seal(folder: Path) -> None:
    """Another learning rate, and no word of what it was."""
    config, content = read(folder / "config.yaml"), read(folder / "manifest.json")
    change(folder / "config.yaml", optimizer={**config["optimizer"], "lr": 0.001})
    write_json(folder / "manifest.json", {key: content[key] for key in content if key not in ("seal", "files")})


def seal_nothing(folder: Path) -> None:
    change_and_seal(folder / "manifest.json", files={})


@pytest.mark.parametrize(
    ("forge", "named"),
    [(forge_seed, "identity.json"), (strip_the_seal, "manifest.json"), (seal_nothing, "no hash of identity.json")],
)
def test_a_forged_plan_of_a_record_that_is_not_done_is_named(
    forge: Callable[[Path], None], named: str, interrupted: Record, tmp_path: Path
) -> None:
    record = copied(interrupted, tmp_path / "runs")
    assert not summarise(record)[0].problem
    forge(record.folder)
    for whole in (False, True):
        (line,) = summarise(record, partial(Record.read, whole=whole))
        assert line.state == State.CORRUPT
        assert named in str(line.problem)
    assert f"record {record.id} left out: " in tensorboard(Store(tmp_path / "runs"))[1]


def test_curves_that_are_damaged_while_the_training_runs_are_not_sealed(
    compose: Callable[..., Any],
    overrides: list[str],
    finished: Outcome,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    append = history.append

    def damaged(path: Path, row: dict[str, Any]) -> bytes:
        written = append(path, row)
        if row["epoch"] == 2:
            path.write_bytes(path.read_bytes().replace(b'"epoch": 1', b'"epoch": 7', 1))
        return written

    monkeypatch.setattr(history, "append", damaged)
    with pytest.raises(RecordError, match="damaged while the training ran"):
        run(compose(*overrides, f"paths.runs={tmp_path}"))
    monkeypatch.setattr(history, "append", append)
    assert same_bits(run(compose(*overrides, f"paths.runs={tmp_path}")), finished)


def test_a_record_of_a_newer_schema_is_named(finished: Outcome, tmp_path: Path) -> None:
    record = copied(finished.record, tmp_path / "runs")
    change(record.training, schema=3)
    with pytest.raises(RecordError, match="schema 3, but this version reads 2; update dlbench"):
        record.closed()
    (line,) = summarise(record)
    assert line.state == State.CORRUPT


def test_a_closing_file_is_named_by_its_own_content(tmp_path: Path) -> None:
    path = tmp_path / "training.json"
    seal.close(path, {"state": "finished"}, {"a": "b"})
    assert seal.read(path)["files"] == {"a": "b"}
    path.write_text(path.read_text().replace("finished", "diverged"))
    with pytest.raises(RecordError, match="its seal does not fit"):
        seal.read(path)


def test_what_is_cleaned_away_is_no_damage(finished: Outcome, tmp_path: Path) -> None:
    record = copied(finished.record, tmp_path / "runs")
    for folder in (record.checkpoints.folder, record.tensorboard):
        for path in folder.iterdir():
            path.unlink()
    record.read(whole=True)
    assert identity.digest(read_json(record.identity)) == record.id
