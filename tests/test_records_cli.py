"""``python -m dlbench records``: what it shows of a store, what it exports, and what it dares to delete."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from resealed import change, copied, made_by, renamed, reseal

from dlbench import commands, identity
from dlbench.records.files import read_json, write_json
from dlbench.records.store import Evaluation, Record, State, Store
from dlbench.records.summary import Use
from dlbench.run import run

TOLD = {"failed": {"it": "failed"}, "interrupted": {"it": "was interrupted", "in epoch": 90}}
FAILED, INTERRUPTED = map(identity.digest, TOLD.values())  # both begin alike
CORRUPT = "xc0"  # no hexadecimal digits: like no real record


class Answer(NamedTuple):
    code: int
    out: str
    err: str


Records = Callable[..., Answer]


@pytest.fixture(scope="module")
def finished(
    compose: Callable[..., Any], tiny_in: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory
) -> Record:
    """A real run, finished."""
    runs = tmp_path_factory.mktemp("records") / "runs"
    return run(compose("+experiment=cnn_bn_gap", "evaluation.max_shift=1", *tiny_in(runs, epochs=1))).record


@pytest.fixture(scope="module")
def outdated(finished: Record) -> str:
    """The name of a run of another seed, which other versions made."""
    return identity.digest({**read_json(finished.identity), "seed": 43})


@pytest.fixture
def store(finished: Record, outdated: str, tmp_path: Path) -> Store:
    """The finished run, and a copy of it in each of the states that a store may show."""
    runs = tmp_path / "runs"
    for name in (finished.id, FAILED, INTERRUPTED, outdated, CORRUPT):
        shutil.copytree(finished.folder, runs / name)
    store = Store(runs)
    for name, told in zip((FAILED, INTERRUPTED), TOLD.values(), strict=True):
        write_json(store.record(name).identity, told)
        change(store.record(name).manifest, run=name)
        store.record(name).training.unlink()
        shutil.rmtree(store.record(name).folder / "evaluations")
        reseal(store.record(name))
    write_json(store.record(FAILED).failure, {"error": "RuntimeError: out of luck", "traceback": "..."})
    other = store.record(outdated)
    change(other.config, seed=43)
    made_by(renamed(other, lambda told: told.update(seed=43)), {"convnet": "1.9"})
    training = store.record(CORRUPT).training
    training.write_bytes(training.read_bytes()[:-20])
    return store


@pytest.fixture
def transducer(decoded: Record, store: Store) -> Record:
    """A run that was decoded in three ways, in the same store."""
    return copied(decoded, store.folder)


@pytest.fixture
def records(store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Records:
    """The command on this store, in a wide terminal."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # set by the command; put back by the end of the test

    def answer(command: str, *arguments: object) -> Answer:
        code = commands.call("records", [command, "--runs", str(store.folder), *map(str, arguments)])
        return Answer(code, *capsys.readouterr())

    return answer


def tree(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if ".locks" not in path.parts}


# --- list ------------------------------------------------------------------------------------------------------------


def test_every_record_is_listed_with_its_state(records: Records, finished: Record, outdated: str) -> None:
    rows = {row["run"]: row for row in json.loads(records("list", "--json").out)}
    assert {name: (row["state"], row["use"]) for name, row in rows.items() if name != CORRUPT} == {
        finished.id: (State.FINISHED, Use.REPRODUCIBLE),
        FAILED: (State.FAILED, None),
        INTERRUPTED: (State.INTERRUPTED, None),
        outdated: (State.FINISHED, Use.COMPARABLE),
    }
    assert rows[CORRUPT]["state"] == State.CORRUPT
    (evaluation,) = finished.evaluations()
    assert rows[finished.id]["metrics"] == read_json(evaluation.result)["metrics"]
    assert rows[INTERRUPTED]["metrics"] == {}
    assert (rows[finished.id]["experiment"], rows[finished.id]["data"]) == ("cnn_bn_gap", "intel, synthetic")
    assert rows[finished.id]["settings"] == "lr=0.01 layout=chw seed=42 epochs=1"


@pytest.mark.parametrize("name", [FAILED, CORRUPT])
def test_what_went_wrong_is_listed_with_its_reason(name: str, records: Records) -> None:
    reason = {FAILED: "RuntimeError: out of luck", CORRUPT: "training.json: cannot be read"}[name]
    (row,) = [row for row in json.loads(records("list", "--json").out) if row["run"] == name]
    assert reason in str(row["problem"])
    (line,) = [line for line in records("list").out.splitlines() if line.startswith(f"{name}: ")]
    assert reason in line


@pytest.mark.parametrize("name", ["config.yaml", "manifest.json"])
@pytest.mark.parametrize("content", ["{", "[1, 2]"])
def test_one_damaged_record_does_not_hide_the_others(name: str, content: str, records: Records, store: Store) -> None:
    (store.record(INTERRUPTED).folder / name).write_text(content)
    answer = records("list", "--json")
    assert answer.code == 0
    rows = {row["run"]: row for row in json.loads(answer.out)}
    assert len(rows) == 5
    assert rows[INTERRUPTED]["state"] == State.CORRUPT
    assert rows[INTERRUPTED]["problem"]


@pytest.mark.parametrize("numerics", [{"cpu": "another"}, {"torch": "1.0.0"}, {"cpu": None}])
def test_a_record_of_another_machine_is_comparable(
    numerics: dict[str, Any], records: Records, store: Store, finished: Record
) -> None:
    manifest = store.record(finished.id).manifest
    told = read_json(manifest)["numerics"] | numerics
    change(manifest, numerics={name: value for name, value in told.items() if value})
    reseal(store.record(finished.id))
    rows = {row["run"]: row for row in json.loads(records("list", "--json").out)}
    assert (rows[finished.id]["state"], rows[finished.id]["use"]) == (State.FINISHED, Use.COMPARABLE)


def test_records_are_listed_without_torch(store: Store, finished: Record) -> None:
    assert read_json(finished.manifest)["bound"]  # whose defaults would have to be asked of torch
    code = (
        "import sys; from dlbench import commands\n"
        f"commands.call('records', ['list', '--runs', {str(store.folder)!r}]); sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "finished, reproducible here" in " ".join(done.stdout.split())


def test_a_record_whose_parts_mean_something_else_is_no_longer_comparable(
    records: Records, store: Store, outdated: str
) -> None:
    made_by(store.record(outdated), {"convnet": "9.0"})
    rows = {row["run"]: row for row in json.loads(records("list", "--json").out)}
    assert (rows[outdated]["state"], rows[outdated]["use"]) == (State.FINISHED, Use.NEITHER)


@pytest.mark.parametrize("name", ["identity.json", "config.yaml", "manifest.json", "metrics.jsonl", "result.json"])
def test_a_finished_record_with_a_damaged_file_is_corrupt_and_the_file_named(
    name: str, records: Records, store: Store, finished: Record
) -> None:
    path = next(store.record(finished.id).folder.rglob(name))
    path.write_text(path.read_text(encoding="utf-8").replace("0", "1", 1), encoding="utf-8")
    (row,) = [row for row in json.loads(records("list", "--json").out) if row["run"] == finished.id]
    assert (row["state"], row["use"]) == (State.CORRUPT, None)
    assert f"{name}: " in row["problem"]


def test_every_file_is_checked_on_request(records: Records, store: Store, finished: Record) -> None:
    shutil.rmtree(store.record(CORRUPT).folder)
    answer = records("list", "--check")
    assert (answer.code, answer.out.splitlines()[-1]) == (0, "4 of 4 records are whole")
    path = next(store.record(finished.id).folder.rglob("predictions.csv"))
    path.write_bytes(path.read_bytes()[:-1])
    (row,) = [row for row in json.loads(records("list", "--json").out) if row["run"] == finished.id]
    assert row["state"] == State.FINISHED
    answer = records("list", "--check")
    assert (answer.code, answer.out.splitlines()[-1]) == (1, "3 of 4 records are whole")
    assert "predictions.csv: damaged" in answer.out


def test_the_listing_has_a_line_a_record(records: Records, store: Store, finished: Record, outdated: str) -> None:
    answer = records("list")
    assert (answer.code, answer.err) == (0, "")
    lines = {line.split()[0]: " ".join(line.split()) for line in answer.out.splitlines() if ": " not in line}
    assert set(lines) == {"run", *(record.id for record in store.all())}
    (evaluation,) = finished.evaluations()
    metrics = read_json(evaluation.result)["metrics"]
    accuracies = f"{metrics['val/accuracy']:.4f} {metrics['test/accuracy']:.4f}"
    started = read_json(finished.manifest)["started"]
    settings = f"{started[:10]} cnn_bn_gap lr=0.01 layout=chw seed=42 epochs=1 intel, synthetic"
    assert lines[finished.id] == f"{finished.id} {settings} finished, reproducible here {accuracies}"
    others = settings.replace("seed=42", "seed=43")
    assert lines[outdated] == f"{outdated} {others} finished, comparable {accuracies}"
    assert lines[INTERRUPTED] == f"{INTERRUPTED} {settings} interrupted"


def test_the_listing_is_whole_in_a_pipe(records: Records, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = records("list").out
    monkeypatch.delenv("COLUMNS")
    assert records("list").out == wide


@pytest.mark.parametrize("steers", ["\x1b[2J", "\x9b2J", "\r", "\x07", "\u202e", "\u2028", "\x1b]0;x\x07"])
def test_what_would_steer_a_terminal_is_escaped(steers: str, store: Store, records: Records, finished: Record) -> None:
    record = store.record(finished.id)
    manifest = read_json(record.manifest)
    data = {**manifest["data"], "name": f"d{steers}d"}
    change(record.manifest, experiment=f"e{steers}e", data=data)
    reseal(record)
    failure = {"error": f"f{steers}f"}
    write_json(store.record(FAILED).failure, failure)
    for answer in (records("list"), records("show", record.id), records("show", FAILED)):
        shown = answer.out + answer.err
        assert not {*steers} & {*shown} - {*"[]2J0;x"}
    assert ascii(steers)[1:-1] in records("list").out


def test_an_empty_store_says_so(store: Store, records: Records) -> None:
    shutil.rmtree(store.folder)
    said = records("list")
    assert (said.code, said.err) == (0, "")
    assert re.fullmatch(rf"no records in {store.folder}; \d+ committed ones: --runs .*/experiments/results\n", said.out)
    assert json.loads(records("list", "--json").out) == []


def test_a_record_has_a_line_a_decoding(transducer: Record, records: Records, finished: Record) -> None:
    rows = [row for row in json.loads(records("list", "--json").out) if row["run"] == transducer.id]
    assert [row["decoding"] for row in rows] == ["beam width=5", "greedy", "nucleus p=0.8"]
    recorded = [read_json(evaluation.result)["metrics"] for evaluation in transducer.evaluations()]
    assert all(row["metrics"] in recorded for row in rows)
    assert len({row["metrics"]["test/cer"] for row in rows}) == 3
    assert {row["settings"] for row in rows} == {"lr=0.003 attention=bahdanau seed=42 epochs=2 size=16"}
    head, *lines = records("list").out.splitlines()
    titles = ["decoding", "data", "state", "val acc.", "test acc.", "best val CER", "test CER", "test WER", "WER@3"]
    assert re.split(r"\s{2,}", head.strip())[4:] == [*titles, "macro error"]
    (beam,) = [line for line in lines if "beam width=5" in line]
    metrics = rows[0]["metrics"]
    names = ("val/cer_best", "test/cer", "test/wer", "test/wer_at_3", "test/error_rate_macro")
    assert beam.split()[-5:] == [f"{metrics[name]:.4f}" for name in names]


def test_the_precision_is_listed_where_it_is_not_the_usual_one(store: Store, records: Records, outdated: str) -> None:
    record = store.record(outdated)
    change(record.config, trainer={**record.settings()["trainer"], "precision": "bf16-mixed"})
    reseal(record)
    assert "lr=0.01 layout=chw precision=bf16-mixed seed=43 epochs=1" in records("list").out


# --- show ------------------------------------------------------------------------------------------------------------


def test_show_tells_a_person_what_a_record_is_of_and_every_metric(records: Records, finished: Record) -> None:
    answer = records("show", finished.id[:6])
    assert (answer.code, answer.err) == (0, "")
    shown = dict(re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in answer.out.splitlines() if "  " in line)
    manifest = read_json(finished.manifest)
    assert shown["run"] == finished.id
    assert shown["data"].startswith("SYNTHETIC data: ")
    assert (shown["state"], shown["begun"]) == (State.FINISHED, manifest["started"])
    (evaluation,) = finished.evaluations()
    metrics = read_json(evaluation.result)["metrics"]
    assert metrics.keys() <= shown.keys()
    for name, value in metrics.items():
        assert float(shown[name].replace(",", "")) == pytest.approx(value, abs=5e-5)


def test_show_ends_quietly_when_nobody_reads_on(records: Records, finished: Record, store: Store) -> None:
    words = f"{sys.executable} -m dlbench records show {finished.id} --runs {store.folder} | head -1"
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (f"run         {finished.id}\n", "")


def test_show_says_everything_of_a_record_as_json(records: Records, finished: Record) -> None:
    answer = records("show", finished.id[:6], "--json")
    assert (answer.code, answer.err) == (0, "")
    shown = json.loads(answer.out)
    assert shown["state"] == State.FINISHED
    assert shown["manifest"] == read_json(finished.manifest)
    assert shown["training"] == read_json(finished.training)
    assert shown["evaluations"] == [read_json(evaluation.result) for evaluation in finished.evaluations()]


def test_show_says_why_a_run_failed(records: Records) -> None:
    shown = json.loads(records("show", FAILED, "--json").out)
    assert shown["failure"]["error"] == "RuntimeError: out of luck"
    assert "training" not in shown


@pytest.mark.parametrize(
    ("prefix", "message"),
    [
        (
            FAILED[:2],
            f"several records begin with '{FAILED[:2]}' in {{folder}}; there are: {FAILED}, {INTERRUPTED}",
        ),
        ("zz", "no record begins with 'zz' in {folder}; all: python -m dlbench records list --runs {folder}"),
        (CORRUPT, "{folder}/xc0/training.json: cannot be read"),
    ],
)
@pytest.mark.parametrize("command", ["show", "verify"])
def test_a_record_that_cannot_be_told_or_read_is_one_line(
    command: str, prefix: str, message: str, records: Records, store: Store
) -> None:
    answer = records(command, prefix)
    assert (answer.code, answer.out, len(answer.err.splitlines())) == (1, "", 1)
    assert answer.err.startswith("dlbench: " + message.format(folder=store.folder))


def test_show_names_decodings(transducer: Record, records: Records) -> None:
    shown = json.loads(records("show", transducer.id, "--json").out)["evaluations"]
    assert {evaluation["decoding"] for evaluation in shown} == {"beam width=5", "greedy", "nucleus p=0.8"}


# --- export ----------------------------------------------------------------------------------------------------------


def test_an_exported_record_is_whole_but_for_weights_and_events(
    records: Records, finished: Record, store: Store, tmp_path: Path
) -> None:
    target = tmp_path / "results"
    answer = records("export", target, finished.id)
    assert (answer.code, answer.out, answer.err) == (0, f"{target / finished.id}\n", "")
    (exported,) = Store(target).all()
    (own,), (packed,) = finished.evaluations(), exported.evaluations()
    kept = {Path(name) for name in ("identity.json", "config.yaml", "manifest.json", "metrics.jsonl", "training.json")}
    for path in kept:
        assert (exported.folder / path).read_bytes() == (finished.folder / path).read_bytes()
    evaluation = packed.folder.relative_to(exported.folder)
    kept |= {evaluation.parent, evaluation, evaluation / "result.json", evaluation / "outputs.zip"}
    assert tree(exported.folder) == kept
    assert {"predictions.csv", "artifacts/confusion_matrix.csv"} <= {*own.outputs()}
    assert packed.outputs() == own.outputs()
    assert all(packed.output(name) == own.output(name) for name in [*own.outputs(), "config.yaml"])
    assert packed.settings() == own.settings()
    unlike = ("files", "seal")
    results = [{key: value for key, value in each.read().items() if key not in unlike} for each in (own, packed)]
    assert results[0] == results[1]
    exported.read(whole=True)
    assert exported.state() == State.FINISHED


def test_a_diverged_record_is_exported_though_nothing_evaluates_it(
    store: Store, records: Records, finished: Record, tmp_path: Path
) -> None:
    record = store.record(finished.id)
    shutil.rmtree(record.folder / "evaluations")
    assert "not finished and evaluated" in records("export", tmp_path / "out", record.id).err
    reseal(record, state="diverged", step=7)
    assert records("export", tmp_path / "out", record.id).code == 0
    (exported,) = Store(tmp_path / "out").all()
    assert exported.state() == State.DIVERGED
    exported.read(whole=True)


@pytest.mark.parametrize("place", ["metrics.jsonl", "evaluations/x", "artifacts/x", "predictions.csv", "."])
@pytest.mark.parametrize("kind", ["file", "folder", "broken", "pipe"])
def test_a_record_with_links_is_not_exported(  # noqa: PLR0917
    place: str, kind: str, store: Store, records: Records, finished: Record, tmp_path: Path
) -> None:
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "result.json").write_text("secret")
    record = store.record(finished.id)
    evaluation = record.evaluations()[0].folder
    path = evaluation / place if place in ("artifacts/x", "predictions.csv") else record.folder / place
    if place == ".":
        record.folder.rename(tmp_path / "elsewhere")
    path.unlink(missing_ok=True)
    if place == "." and kind == "folder":
        path.symlink_to(tmp_path / "elsewhere")
    elif place == "." or (place == "evaluations/x" and kind != "folder"):
        return  # what is no folder is no record and no evaluation
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        targets = {"file": "private/result.json", "folder": "private", "broken": "gone"}
        path.symlink_to(tmp_path / targets[kind])
    answer = records("export", tmp_path / "out")
    assert answer.code == 0 and answer.err.count(f"{finished.id} ") + answer.err.count(f"; {finished.id} left out") > 0
    assert not list((tmp_path / "out").glob(f"*{finished.id}*"))


def test_the_same_record_is_exported_to_the_same_bytes(records: Records, finished: Record, tmp_path: Path) -> None:
    for name in ("one", "other"):
        assert records("export", tmp_path / name, finished.id).code == 0
    one, other = (tmp_path / name / finished.id for name in ("one", "other"))
    assert tree(one) == tree(other)
    assert all((other / path).read_bytes() == (one / path).read_bytes() for path in tree(one) if (one / path).is_file())


def test_events_of_decodings_are_not_exported(transducer: Record, records: Records, tmp_path: Path) -> None:
    assert records("export", tmp_path / "results", transducer.id).code == 0
    (exported,) = Store(tmp_path / "results").all()
    assert len(exported.evaluations()) == 3
    assert not list(exported.folder.rglob("*tfevents*"))


def test_exported_predictions_quote_no_data(transducer: Record, records: Records, tmp_path: Path) -> None:
    records("export", str(tmp_path / "out"), transducer.id)
    exported = Store(tmp_path / "out").record(transducer.id)
    exported.read(whole=True)
    for evaluation in transducer.evaluations():
        rows, found = (predictions(each) for each in (evaluation, exported.evaluation(evaluation.id)))
        kept = [{name: row[name] for name in row if name not in ("source", "reference")} for row in rows]
        assert "source" in rows[0]
        assert found == kept


def test_what_a_record_does_not_tell_of_is_not_exported(
    transducer: Record, decoded: Record, records: Records, tmp_path: Path
) -> None:
    for evaluation in transducer.evaluations():
        evaluation.artifacts.mkdir(exist_ok=True)
        (evaluation.artifacts / ".x.csv.tmp").write_text("x")
        (evaluation.artifacts / "before_after.png.bak").write_text("a picture with a licence")
    assert records("export", tmp_path / "out", transducer.id).code == 0
    for evaluation in Store(tmp_path / "out").record(transducer.id).evaluations():
        assert evaluation.outputs() == decoded.evaluation(evaluation.id).outputs()


def test_the_weights_that_an_evaluation_takes_by_default_are_exported(
    transducer: Record, records: Records, tmp_path: Path
) -> None:
    last = transducer.checkpoints.all()[-1].path.read_bytes()
    transducer.checkpoints.save(1, lambda path: path.write_bytes(last))
    for evaluation in transducer.evaluations():
        settings = evaluation.settings()
        assert settings.pop("checkpoint") == "best"  # which is the default
        write_json(evaluation.config, settings)
    reseal(transducer, best_epoch=1)
    assert records("export", tmp_path / "out", transducer.id, "--weights").code == 0
    assert [each.epoch for each in Store(tmp_path / "out").record(transducer.id).checkpoints.all()] == [1]


@pytest.mark.parametrize("name", ["predictions.csv", "config.yaml"])
@pytest.mark.parametrize("is_gone", [True, False])
def test_damage_is_not_sealed_anew(
    name: str, is_gone: bool, transducer: Record, records: Records, tmp_path: Path
) -> None:
    path = transducer.evaluations()[0].folder / name
    path.unlink() if is_gone else path.write_bytes(path.read_bytes().replace(b"0", b"1"))
    answer = records("export", tmp_path / "out", transducer.id)
    assert str(path) in answer.err
    assert not (tmp_path / "out" / transducer.id).exists()


def predictions(evaluation: Evaluation) -> list[dict[str, str]]:
    content = evaluation.output("predictions.csv")
    assert content is not None
    return list(csv.DictReader(io.StringIO(content.decode("utf-8"), newline="")))


def test_export_leaves_out_what_is_not_finished_and_says_so(
    records: Records, finished: Record, outdated: str, tmp_path: Path
) -> None:
    answer = records("export", tmp_path / "results")
    assert answer.code == 0
    assert {record.id for record in Store(tmp_path / "results").all()} == {finished.id, outdated}
    assert set(answer.err.splitlines()) == {
        f"dlbench: {FAILED} is failed, not finished and evaluated: left out",
        f"dlbench: {INTERRUPTED} is interrupted, not finished and evaluated: left out",
        f"dlbench: {CORRUPT} is corrupt, not finished and evaluated: left out",
    }


def test_export_says_in_json_what_it_copied(records: Records, finished: Record, outdated: str, tmp_path: Path) -> None:
    target = tmp_path / "results"
    copied = [str(target / name) for name in sorted((finished.id, outdated))]
    assert json.loads(records("export", target, "--json").out) == copied
    assert json.loads(records("export", target, "--json").out) == []


def test_export_overwrites_nothing(records: Records, finished: Record, tmp_path: Path) -> None:
    target = tmp_path / "results"
    mine = target / finished.id / "config.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    answer = records("export", target, finished.id)
    assert (answer.code, answer.out) == (0, "")
    assert answer.err == f"dlbench: {target / finished.id} is there already: left as it is\n"
    assert tree(target) == {Path(finished.id), Path(finished.id, "config.yaml")}
    assert mine.read_text() == "mine"


def test_export_leaves_out_what_was_set_aside_in_a_record(
    records: Records, store: Store, outdated: str, tmp_path: Path
) -> None:
    evaluations = store.record(outdated).folder / "evaluations"
    (evaluation,) = evaluations.iterdir()
    shutil.copytree(evaluation, evaluations / f"{evaluation.name}.aside-1")
    (evaluation / ".result.json.abc.tmp").touch()
    records("export", tmp_path / "results", outdated)
    assert [path.name for path in (tmp_path / "results" / outdated / "evaluations").iterdir()] == [evaluation.name]
    assert not list((tmp_path / "results").rglob("*.tmp"))


# --- clean -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def litter(store: Store, finished: Record, outdated: str) -> list[Path]:
    """What a hard life leaves in a store: records, evaluations and checkpoints set aside, files of killed writers."""
    record = store.record(finished.id).folder
    (evaluation,) = (record / "evaluations").iterdir()
    aside = [
        store.folder / f"{finished.id}.aside-1",
        record / "evaluations" / f"{evaluation.name}.aside-1",
    ]
    shutil.copytree(store.record(outdated).folder, aside[0])
    shutil.copytree(evaluation, aside[1])
    files = [
        record / "checkpoints" / "epoch-0001.0123456789abcdef.ckpt.aside-2",
        record / ".manifest.json.x1.tmp",
        store.record(INTERRUPTED).folder / "checkpoints" / ".epoch-0002.x2.tmp",
    ]
    for path in files:
        path.write_bytes(b"left over")
    (aside[1] / ".result.json.x3.tmp").touch()
    return aside + files


def test_clean_shows_first_and_deletes_nothing(records: Records, store: Store, litter: list[Path]) -> None:
    before = tree(store.folder)
    answer = records("clean", "--weights")
    *lines, last = answer.out.splitlines()
    assert answer.code == 0
    assert last == "nothing deleted yet: repeat with --yes"
    assert {str(path) for path in litter} <= set(lines)
    assert tree(store.folder) == before


def test_clean_deletes_litter_and_never_a_record(records: Records, store: Store, litter: list[Path]) -> None:
    gone = {path.relative_to(store.folder) for path in litter}
    kept = {path for path in tree(store.folder) if not gone & {path, *path.parents}}
    answer = records("clean", "--yes")
    assert (answer.code, answer.err) == (0, "")
    assert tree(store.folder) == kept
    assert records("clean", "--yes") == Answer(0, "nothing to clean\n", "")


def test_clean_says_in_json_what_it_would_delete_and_what_it_deleted(
    records: Records, store: Store, litter: list[Path]
) -> None:
    before = tree(store.folder)
    would = json.loads(records("clean", "--json").out)
    assert {str(path) for path in litter} <= set(would)
    assert tree(store.folder) == before
    assert json.loads(records("clean", "--json", "--yes").out) == would
    assert not any(Path(path).exists() for path in would)
    assert json.loads(records("clean", "--json", "--yes").out) == []


def test_clean_deletes_weights_of_finished_runs_alone_and_on_request(
    records: Records, store: Store, finished: Record, outdated: str
) -> None:
    before = tree(store.folder)
    assert records("clean", "--weights", "--yes").code == 0
    weights = {Path(name, "checkpoints") for name in (finished.id, outdated)}
    assert tree(store.folder) == {path for path in before if not weights & {path, *path.parents}}
    assert store.record(INTERRUPTED).checkpoints.whole()
    assert store.record(finished.id).state() == State.FINISHED
    assert records("clean", "--weights", "--yes") == Answer(0, "nothing to clean\n", "")


def test_clean_leaves_a_running_run_in_peace(records: Records, store: Store) -> None:
    record = store.record(INTERRUPTED)
    writing = record.folder / ".manifest.json.x1.tmp"
    writing.touch()
    with record.lock():
        assert records("clean", "--yes").out == "nothing to clean\n"
    assert writing.exists()


def test_clean_keeps_weights_that_are_still_to_be_tested(records: Records, store: Store, finished: Record) -> None:
    shutil.rmtree(store.record(finished.id).folder / "evaluations")
    records("clean", "--weights", "--yes")
    assert store.record(finished.id).checkpoints.whole()


def test_the_newest_record_is_listed_first(finished: Record, store: Store, records: Records) -> None:
    copy = copied(finished, store.folder.parent / "copy")
    change(copy.manifest, started="1999-01-02T03:04:05+00:00")
    change(copy.identity, seed=7)
    change(copy.config, seed=7)
    shutil.move(reseal(copy).folder, store.folder)
    started = [row["started"] for row in json.loads(records("list", "--json").out) if row["started"]]
    assert started == sorted(started, reverse=True)
    assert started[-1].startswith("1999-01-02")


@pytest.mark.parametrize("columns", [80, 60, 400])
def test_the_listing_fits_a_terminal(
    columns: int, records: Records, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = records("list").out
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys.stdout.__class__, "isatty", lambda _: True, raising=False)
    lines = [line for line in records("list").out.splitlines() if ": " not in line]
    assert all(len(line) <= columns for line in lines)
    assert (lines[0].split() == ["run", "experiment", "result", "settings"]) == (columns < 400)
    begun = [line for line in lines if not line.startswith(" ")]  # the others go on with the last column
    assert len(begun) == len([line for line in wide.splitlines() if ": " not in line])
    assert {line.split()[0][:8] for line in begun[1:]} == {record.id[:8] for record in store.all()}
    assert not any("…" in line for line in lines)
