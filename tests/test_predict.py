"""``python -m dlbench predict``: what a recorded model writes, and what is said where it cannot."""

import csv
import io
import itertools
import json
import math
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import soundfile
from PIL import Image
from resealed import change, copied, made_by, reseal

from dlbench import commands
from dlbench.components import by_name
from dlbench.data.image_datamodules import PictureDataModule
from dlbench.data.image_folders import load_image_folder
from dlbench.data.ljspeech import RATE
from dlbench.data.pair_files import normalise
from dlbench.data.synthetic.tones import generate
from dlbench.predict import InputError, Network, Speller
from dlbench.records.files import read_json, write_json, write_text
from dlbench.records.store import Record, Store
from dlbench.run import Outcome, execute, run
from dlbench.run.plan import prepare

RUN = ("trainer.epochs=2", "trainer.device=cpu", "trainer.progress=none", "callbacks.pictures.epochs=[]")
TINY = ("trainer.epochs=2", "trainer.device=cpu", "trainer.progress=none", "model.size=16", "optimizer.lr=0.01")


class Answer(NamedTuple):
    code: int
    out: str
    err: str

    def json(self) -> list[dict[str, Any]]:
        content: list[dict[str, Any]] = json.loads(self.out)
        return content


Predict = Callable[..., Answer]


@pytest.fixture(scope="module")
def evaluated(compose: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Outcome]:
    """A real run on invented words, its source reversed, under a decoding; trained once, with its last weights."""
    runs = tmp_path_factory.mktemp("predict") / "runs"
    data = ("data.source=synthetic", "data.synthetic_sizes=[300,20,40]", "data.reverse_source=true")
    settings = ("evaluation.checkpoint=last", "evaluation.decoding.max_length=12", *TINY, f"paths.runs={runs}")
    return lambda decoding: run(compose("+experiment=p2g_attention", f"decoding={decoding}", *data, *settings))


@pytest.fixture(scope="module")
def trained(evaluated: Callable[[str], Outcome]) -> Outcome:
    """The run under beam search."""
    return evaluated("beam")


@pytest.fixture(scope="module")
def translator(compose: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Record:
    """A run on files of plain text in another folder, which is gone when the record is used; without attention."""
    folder = tmp_path_factory.mktemp("translator")
    (folder / "data").mkdir()
    for split in ("train", "val", "test"):
        lines = ["who is it ?\t quien es ?", "hello .\thola .", "i paint\tpinto"]
        (folder / "data" / f"{split}.txt").write_text("\n".join(lines * 4), encoding="utf-8")
    files = [f"data.{split}={split}.txt" for split in ("train", "val", "test")]
    paths = (f"paths.runs={folder / 'runs'}", f"paths.data={folder / 'data'}")
    record = run(compose("+experiment=translit_lstm", "data.source=files", *files, *TINY, *paths)).record
    shutil.rmtree(folder / "data")
    return record


@pytest.fixture
def predict(trained: Outcome, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Predict:
    """The command; ``lines`` go to standard input."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # set by the command; put back by the end of the test
    monkeypatch.delenv("DLBENCH_DATA", raising=False)

    def answer(*arguments: object, record: Record = trained.record, lines: bytes = b"", asked: str = "") -> Answer:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines)))
        capsys.readouterr()
        words = ["--runs", record.folder.parent, asked or record.id[:8], *arguments]
        code = commands.call("predict", [str(word) for word in words])
        return Answer(code, *capsys.readouterr())

    return answer


@pytest.fixture
def copy(trained: Outcome, tmp_path: Path) -> Record:
    """The trained record, free to be spoilt."""
    return copied(trained.record, tmp_path / "runs")


def table(outcome: Outcome) -> list[dict[str, str]]:
    with (outcome.evaluation.folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def sources(outcome: Outcome) -> list[str]:
    return [row["source"] for row in table(outcome) if row["rank"] == "1"]


def one_line(text: str) -> str:
    assert text.count("\n") == 1 and text.startswith("dlbench: "), text
    return text


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- what is written -------------------------------------------------------------------------------------------------


def test_predictions_are_those_of_the_evaluation(predict: Predict, trained: Outcome) -> None:
    before = files(trained.record.folder)
    answer = predict("--json", lines="\n".join(sources(trained)).encode())
    assert (answer.code, answer.err) == (0, "")
    rows = [
        (str(index), given["input"], row["output"], row["probability"])
        for index, given in enumerate(answer.json())
        for row in given["hypotheses"]
    ]
    assert [row[:3] for row in rows] == [(row["index"], row["source"], row["hypothesis"]) for row in table(trained)]
    assert [row[3] for row in rows] == pytest.approx([float(row["probability"]) for row in table(trained)], rel=1e-3)
    assert files(trained.record.folder) == before


def test_an_experiment_stands_for_its_newest_network_own_ones_first(
    predict: Predict, trained: Outcome, copy: Record, tmp_path: Path
) -> None:
    word = sources(trained)[0]
    assert predict(word, asked="p2g_attention").out == predict(word).out
    older = Record(Path(shutil.copytree(copy.folder, tmp_path / "runs" / "older")))
    change(older.manifest, started="2020-01-01T00:00:00+00:00")
    shutil.rmtree(older.checkpoints.folder)
    assert predict(word, record=copy, asked="p2g_attention").out == predict(word).out
    change(older.manifest, started="2999-01-01T00:00:00+00:00")
    shutil.copytree(copy.checkpoints.folder, older.checkpoints.folder)
    (older.training).write_text("damaged")
    assert predict(word, record=copy, asked="p2g_attention").out == predict(word).out
    assert "nosuch: no record in " in one_line(predict(word, asked="nosuch").err)
    assert "did you mean p2g_attention" in one_line(predict(word, asked="p2g_atention").err)
    answer = predict(word, asked="cnn_vanilla")
    assert answer.code == 1
    assert one_line(answer.err).startswith("dlbench: cnn_vanilla: no trained network of it in ")


def test_a_fresh_checkout_spells(predict: Predict, tmp_path: Path) -> None:
    answer = predict("k æ t", "m æ p", "--json", record=Store(tmp_path).record("none"), asked="p2g_attention")
    assert answer.code == 0
    assert one_line(answer.err) == "dlbench: record f4a5fa3f8a7f, p2g (verified): 10,000 train, 1,000 val, 1,000 test\n"
    assert [given["hypotheses"][0]["output"] for given in answer.json()] == ["cat", "map"]


def test_what_is_exported_with_weights_predicts_the_same(
    predict: Predict, trained: Outcome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record, target = trained.record, tmp_path / "networks"
    assert (
        commands.call("records", ["export", str(target), record.id, "--weights", f"--runs={record.folder.parent}"]) == 0
    )
    exported = Store(target).record(record.id)
    exported.read(whole=True)
    (own,), (lean,) = ([each for each in one.checkpoints.all() if each.epoch == 2] for one in (record, exported))
    assert lean.path.stat().st_size < own.path.stat().st_size / 2
    assert len(exported.checkpoints.all()) == 1
    words = sources(trained)[:3]
    assert predict(*words, record=exported).out == predict(*words).out


def test_arguments_and_lines_are_read_alike(predict: Predict, trained: Outcome) -> None:
    first, second = sources(trained)[:2]
    by_arguments = predict(first, "--nbest", 2, second)
    assert by_arguments == predict("--nbest", 2, lines=f"\ufeff{first}\r\n{second}\n".encode())
    shown = by_arguments.out.splitlines()
    assert (shown[0], shown[3], len(shown)) == (first, second, 6)
    probability, output = shown[1].split()
    expected = next(row for row in table(trained) if row["source"] == first)
    assert output.removesuffix("...") == expected["hypothesis"]
    assert float(probability) == pytest.approx(float(expected["probability"]), rel=1e-3)


def test_probabilities_fall_and_are_those_of_the_logarithms(predict: Predict, trained: Outcome) -> None:
    (given,) = predict("--json", "--nbest", 8, sources(trained)[0]).json()
    probabilities = [row["probability"] for row in given["hypotheses"]]
    assert len(probabilities) == 8 and probabilities == sorted(probabilities, reverse=True)
    assert 0 < sum(probabilities) <= 1
    assert probabilities == [math.exp(row["log_probability"]) for row in given["hypotheses"]]


def test_a_beam_of_one_writes_what_greedy_decoding_does(predict: Predict, trained: Outcome) -> None:
    given = sources(trained)[:5]
    narrow, greedy = predict("--nbest", 1, "--width", 1, *given), predict("--decoding", "greedy", *given)
    assert narrow == greedy and narrow.code == 0


def test_samples_depend_on_the_seed_which_is_the_runs_by_default(predict: Predict, trained: Outcome) -> None:
    options = ("--decoding", "nucleus", "--p", 1, "--samples", 7, sources(trained)[0])
    default = predict(*options)
    assert len(default.out.splitlines()) == 8
    assert default == predict(*options, "--seed", 42) != predict(*options, "--seed", 43)
    cold = predict(*options, "--temperature", 0.001).out.splitlines()
    assert {*cold[1:]} == {*predict("--decoding", "greedy", sources(trained)[0]).out.splitlines()[1:]}


def test_the_best_epochs_weights_can_be_asked_for(predict: Predict, copy: Record) -> None:
    reseal(copy, best_epoch=1)
    last = copy.checkpoints.all()[-1].path
    copy.checkpoints.save(1, lambda path: path.write_bytes(last.read_bytes()))
    assert predict("--checkpoint", "best", "k æ t", record=copy) == predict("k æ t", record=copy)
    last.unlink()
    assert predict("--checkpoint", "best", "k æ t", record=copy).code == 0
    problem = one_line(predict("k æ t", record=copy).err)
    assert "the checkpoint of its last epoch, 2, is missing" in problem


def test_what_was_cut_off_is_marked(predict: Predict, copy: Record) -> None:
    text = copy.config.read_text(encoding="utf-8")
    write_text(copy.config, text.replace("max_length: 12", "max_length: 1"))
    reseal(copy)
    rows = predict("--json", "k æ t", record=copy).json()[0]["hypotheses"]
    assert all(len(row["output"]) == 1 - row["complete"] for row in rows)
    assert not all(row["complete"] for row in rows)
    assert "..." in predict("k æ t", record=copy).out


def test_attention_is_that_of_the_evaluation(predict: Predict, evaluated: Callable[[str], Outcome]) -> None:
    kept = json.loads((evaluated("greedy").evaluation.artifacts / "attention.json").read_text(encoding="utf-8"))
    texts = [" ".join(example["source"]) for example in kept]
    found = [given["attention"] for given in predict("--decoding", "greedy", "--attention", "--json", *texts).json()]
    assert len(found) == 10
    for example, attention in zip(kept, found, strict=True):
        assert (attention["source"], attention["hypothesis"]) == (example["source"], example["hypothesis"])
        assert np.array(attention["weights"]) == pytest.approx(np.array(example["weights"]), abs=2e-4)


def test_attention_is_printed_with_a_line_for_each_symbol_written(predict: Predict, trained: Outcome) -> None:
    source = sources(trained)[0]
    (given,) = predict("--attention", "--json", source).json()
    _, _, head, *shown = predict("--attention", "--nbest", 1, source).out.splitlines()
    assert head.split() == given["attention"]["source"] == source.split()
    matrix = zip(shown, given["attention"]["hypothesis"], given["attention"]["weights"], strict=True)
    for line, symbol, weights in matrix:
        first, *cells = line.split()
        assert first == symbol
        assert [float(cell) for cell in cells] == pytest.approx(weights, abs=0.006)
        assert sum(weights) == pytest.approx(1, abs=2e-3)
    assert len(predict(source, "--decoding", "greedy").out.splitlines()) == 2  # not unasked


def test_a_translator_reads_plain_text_normalised_as_its_data(predict: Predict, translator: Record) -> None:
    def hypotheses(*texts: str) -> list[Any]:
        return [given["hypotheses"] for given in predict("--json", *texts, record=translator).json()]

    one, same, other = hypotheses("¿Quién es?", normalise("¿Quién es?"), "hola .")
    assert one == same != other
    answer = predict("--attention", "hola", record=translator)
    assert answer.code == 1 and answer.out.startswith("hola\n")
    assert "gives no attention" in one_line(answer.err)


# --- pictures --------------------------------------------------------------------------------------------------------

CLASSIFIERS = {
    "scrambled": ("+experiment=cnn_bn_gap", "data.layout=scrambled"),
    "permuted": ("+experiment=kmnist_mlp", "data.permute_pixels=true"),
    "grey": ("+experiment=octmnist_cnn_strided",),
}


@pytest.fixture(scope="module")
def classifier(compose: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """A run on own pictures, of several sizes and kinds, with a test split."""
    folder = tmp_path_factory.mktemp("classifier")
    random = np.random.default_rng(0)
    for split, name, number in itertools.product(("train", "test"), ("dark", "light"), range(12)):
        path = folder / "pictures" / split / name / f"{number}.{'jpg' if number % 2 else 'png'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (60, 80) if number % 3 == 0 else (90, 50, 3)
        low = 60 * (name == "light")
        Image.fromarray(random.integers(low, low + 196, shape, dtype=np.uint8)).save(path)
    data = ("data=image_folder", f"data.root={folder / 'pictures'}", "model.classes=2", "evaluation.max_shift=0")
    return run(compose("+experiment=cnn_bn_gap", *data, *RUN, f"paths.runs={folder / 'runs'}"))


def test_a_class_of_another_name_is_other_data(classifier: Outcome, tmp_path: Path) -> None:
    root = shutil.copytree(classifier.record.folder.parents[1] / "pictures", tmp_path / "pictures")
    before = load_image_folder(root, 48, tmp_path / "cache")
    for split in ("train", "test"):
        (root / split / "light").rename(root / split / "lit")
    after = load_image_folder(root, 48, tmp_path / "cache")
    assert (before.classes, after.classes) == (("dark", "light"), ("dark", "lit"))
    assert (before.test.images == after.test.images).all()
    assert before.fingerprint() != after.fingerprint()


def held_against_the_evaluation(answer: Answer, outcome: Outcome) -> None:
    assert (answer.code, answer.err) == (0, "")
    rows = table(outcome)
    assert [given["classes"][0]["class"] for given in answer.json()] == [row["predicted"] for row in rows]
    found = [given["classes"][0]["probability"] for given in answer.json()]
    assert found == pytest.approx([float(row["probability"]) for row in rows], abs=6e-5)
    assert len({*found}) > 10


def test_pictures_are_classified_as_in_the_evaluation(predict: Predict, classifier: Outcome) -> None:
    folder = classifier.record.folder.parents[1] / "pictures" / "test"
    files = sorted(folder.glob("*/*"), key=lambda path: (path.parent.name, int(path.stem)))
    held_against_the_evaluation(predict("--json", *files, record=classifier.record), classifier)
    for given in predict("--json", *files, record=classifier.record).json():
        values = [row["probability"] for row in given["classes"]]
        assert values == sorted(values, reverse=True) and sum(values) == pytest.approx(1)
        assert {row["class"] for row in given["classes"]} == {"dark", "light"}


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_pictures_are_arranged_as_in_training(
    kind: str, predict: Predict, compose: Callable[..., Any], tiny: list[str], tmp_path: Path
) -> None:
    moved = () if kind == "scrambled" else ("evaluation.rotations=[]", "evaluation.scales=[]")
    plan = prepare(compose(*CLASSIFIERS[kind], *tiny, *moved, "evaluation.max_shift=0"))
    outcome = execute(plan)
    assert isinstance(plan.data, PictureDataModule)
    files = [tmp_path / f"{number}.png" for number in range(24)]
    for file, picture in zip(files, plan.data.pictures.test.images, strict=True):
        Image.fromarray(picture.squeeze()).save(file)
    held_against_the_evaluation(predict("--json", *files, record=outcome.record), outcome)


def test_classes_are_printed_the_likeliest_first(
    predict: Predict, classifier: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = classifier.record.folder.parents[1] / "pictures" / "test"
    monkeypatch.chdir(folder)
    by_arguments = predict("dark/0.png", "light/1.jpg", record=classifier.record)
    assert by_arguments == predict(lines=b"dark/0.png\nlight/1.jpg\n", record=classifier.record)
    first, *ranked, second = by_arguments.out.splitlines()[:4]
    assert (first, second) == ("dark/0.png", "light/1.jpg")
    (given,) = predict("--json", "dark/0.png", record=classifier.record).json()
    assert [line.split()[1] for line in ranked] == [row["class"] for row in given["classes"]]
    assert len(predict("dark/0.png", "--nbest", 1, record=classifier.record).out.splitlines()) == 2


def test_what_is_no_picture_is_named_and_the_others_answered(
    predict: Predict, classifier: Outcome, tmp_path: Path
) -> None:
    picture = next(classifier.record.folder.parents[1].glob("pictures/test/dark/*.png"))
    (tmp_path / "text.jpg").write_text("no picture")
    Image.new("RGBA", (9, 9), (0, 0, 0, 99)).save(tmp_path / "clear.png")
    files = [tmp_path / "gone.jpg", picture, tmp_path / "text.jpg", tmp_path, tmp_path / "clear.png", "", "a\0b"]
    answer = predict("--json", lines="\n".join(map(str, files)).encode(), record=classifier.record)
    assert answer.code == 1
    assert ["classes" in given for given in answer.json()] == [file == picture for file in files]
    said = dict(line.removeprefix("dlbench: ").split(": ", 1) for line in answer.err.splitlines())
    assert [*said] == ["line 1", "line 3", "line 4", "line 5", "line 6", "line 7"]
    assert said["line 1"] == f"{tmp_path / 'gone.jpg'}: no such file"
    assert "text.jpg" in said["line 3"] and "a folder" in said["line 4"] and "transparent" in said["line 5"]


@pytest.mark.parametrize("option", [("--decoding", "greedy"), ("--attention",), ("--width", "5")])
def test_how_to_write_is_not_asked_of_a_classifier(
    predict: Predict, classifier: Outcome, option: tuple[str, ...]
) -> None:
    answer = predict("x.png", *option, record=classifier.record)
    assert answer.code == 1
    assert one_line(answer.err).startswith(f"dlbench: {option[0]} is for what writes; cnn_bn_gap classifies pictures")


def test_a_record_that_does_not_name_its_classes_has_them_by_number(
    predict: Predict, classifier: Outcome, tmp_path: Path
) -> None:
    picture = next(classifier.record.folder.parents[1].glob("pictures/test/dark/*.png"))
    record = copied(classifier.record, tmp_path / "runs")
    data = read_json(record.manifest)["data"]
    assert data.pop("classes") == ["dark", "light"]
    change(record.manifest, data=data)
    reseal(record)
    (named,), (numbered,) = (predict("--json", picture, record=each).json() for each in (classifier.record, record))
    names = {"0": "dark", "1": "light"}
    assert [{**row, "class": names[row["class"]]} for row in numbered["classes"]] == named["classes"]


# --- recordings ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recogniser(
    compose: Callable[..., Any], tiny_in: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Outcome]:
    """A small run on tones, trained once for each experiment, and decoded."""
    runs = tmp_path_factory.mktemp("recogniser") / "runs"
    small = ("model.size=16", "model.feedforward=16", "data.batch_size=8", "evaluation.decoding.max_length=20")
    settings = [*tiny_in(runs, sizes=(48, 12, 20)), *small]
    return lambda experiment, *more: run(compose(f"+experiment={experiment}", *settings, *more))


@pytest.fixture(scope="module")
def recordings(recogniser: Callable[..., Outcome], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The test tones as files."""
    folder, tones = tmp_path_factory.mktemp("recordings"), generate(0, (48, 12, 20))
    files = [folder / f"{heard.id}.wav" for heard in tones.test]
    for file, heard in zip(files, tones.test, strict=True):
        soundfile.write(file, tones.waveforms[heard.recording.row], RATE, "PCM_16")
    return files


@pytest.mark.parametrize(
    ("experiment", "settings"),
    [
        ("asr_attention_spoken", ("decoding=beam",)),
        ("asr_attention_spoken", ("decoding=greedy",)),
        ("asr_lstm", ("decoding=greedy", "data.frames=150")),  # padded or cropped, as published
    ],
)
def test_recordings_are_transcribed_as_in_the_evaluation(
    predict: Predict,
    recogniser: Callable[..., Outcome],
    recordings: list[Path],
    experiment: str,
    settings: tuple[str, ...],
) -> None:
    outcome = recogniser(experiment, *settings)
    options = ("--decoding", settings[0].partition("=")[2], "--json")
    answer = predict(*options, *recordings, record=outcome.record)
    assert answer.code == 0
    rows = [(index, row) for index, given in enumerate(answer.json()) for row in given["hypotheses"]]
    assert [(str(index), row["output"]) for index, row in rows] == [
        (row["index"], row["hypothesis"]) for row in table(outcome)
    ]
    found = [row["probability"] for _, row in rows]
    assert found == pytest.approx([float(row["probability"]) for row in table(outcome)], rel=1e-3)
    assert len({*found}) > 10
    alone = predict(*options, recordings[3], record=outcome.record).json()[0]["hypotheses"]
    (beside,) = ([row for index, row in rows if index == 3],)
    assert [row["output"] for row in alone] == [row["output"] for row in beside]
    cropped = "which the network hears the first 1.1" in answer.err
    assert cropped == (experiment == "asr_lstm")


def test_what_a_recogniser_attends_to_is_told_by_time(
    predict: Predict, recogniser: Callable[..., Outcome], recordings: list[Path]
) -> None:
    outcome = recogniser("asr_attention_spoken", "decoding=greedy")
    asked = ("--decoding", "greedy", "--attention", recordings[0])
    (given,) = predict("--json", *asked, record=outcome.record).json()
    assert given["attention"]["source"][:3] == ["0.00 s", "0.01 s", "0.03 s"]
    assert all(sum(line) == pytest.approx(1, abs=0.02) for line in given["attention"]["weights"])
    assert "add --json" in one_line(predict(*asked, record=outcome.record).err)


def test_what_is_no_recording_of_the_right_kind_is_named(
    predict: Predict, recogniser: Callable[..., Outcome], recordings: list[Path], tmp_path: Path
) -> None:
    record = recogniser("asr_attention_spoken", "decoding=greedy").record
    soundfile.write(tmp_path / "two.wav", np.zeros((4000, 2)), RATE)
    soundfile.write(tmp_path / "slow.wav", np.zeros(4000), 8000)
    (tmp_path / "text.wav").write_text("no recording")
    files = ["two.wav", "slow.wav", "text.wav", "gone.wav"]
    answer = predict("--json", recordings[0], *(tmp_path / file for file in files), record=record)
    assert answer.code == 1
    assert ["hypotheses" in given for given in answer.json()] == [True, False, False, False, False]
    said = answer.err.splitlines()
    for number, (line, file) in enumerate(zip(said, files, strict=True), start=2):
        assert line.startswith(f"dlbench: argument {number}: {tmp_path / file}: ")
    assert "not mono (two.wav has 2 channels)" in said[0] and "slow.wav has 8000 Hz" in said[1]
    assert "cannot be read as audio" in said[2] and "no such file" in said[3]


# --- what cannot be read ---------------------------------------------------------------------------------------------


def test_unknown_symbols_are_named_and_the_others_answered(predict: Predict) -> None:
    lines = ["k æ t", "k ɬ t q ɬ", "", "kæt", "t æ k"]
    answer = predict("--json", "--nbest", 1, lines="\n".join(lines).encode() + b"\n\xff\n")
    assert answer.code == 1
    assert [given["input"] for given in answer.json()] == [*lines, "\\xff"]
    assert ["error" in given for given in answer.json()] == [False, True, True, True, False, True]
    assert ["hypotheses" in given for given in answer.json()] == [True, False, False, False, True, False]
    said = {line.split(": ")[1]: line for line in answer.err.splitlines()}
    assert said.keys() == {"line 2", "line 3", "line 4", "line 6"}
    assert "'ɬ' (nearest: l " in said["line 2"] and "'q' (nearest: " in said["line 2"]
    assert said["line 2"].count("ɬ") == 1
    assert "empty" in said["line 3"] and "meant 'k æ t'?" in said["line 4"] and "UTF-8" in said["line 6"]
    alone = predict("--json", "--nbest", 1, "k æ t", "t æ k").json()
    assert [row["output"] for given in alone for row in given["hypotheses"]] == [
        row["output"] for given in answer.json() for row in given.get("hypotheses", [])
    ]


def test_an_argument_that_cannot_be_read_is_named_by_its_number(predict: Predict) -> None:
    answer = predict("k æ t", " ", os.fsdecode(b"\xff"))
    assert answer.code == 1
    assert [line.split(": ")[1] for line in answer.err.splitlines()] == ["argument 2", "argument 3"]


def test_special_symbols_are_no_input(predict: Predict) -> None:
    answer = predict("k <eos> t")
    assert (answer.code, answer.out) == (1, "")
    assert "'<eos>'" in one_line(answer.err)


def test_what_a_translator_cannot_read_is_named(predict: Predict, translator: Record) -> None:
    answer = predict("hola", "zorro", "¿¡", "a" * 101, record=translator)
    assert answer.code == 1 and answer.out.startswith("hola\n")
    unknown, empty, long = answer.err.splitlines()
    assert unknown.startswith("dlbench: argument 2: the model does not know 'z'")
    assert "argument 3: empty" in empty
    assert "argument 4: 101 symbols, more than max_source_length=100" in long


def test_equivalent_spellings_in_unicode_are_the_same_symbol(copy: Record) -> None:
    manifest = read_json(copy.manifest)
    symbols = manifest["data"]["vocabularies"]["source"]
    manifest["data"]["vocabularies"]["source"] = [*symbols[:4], *sorted([*symbols[5:], "c\u0327"])]
    write_json(copy.manifest, manifest)
    reseal(copy)
    speller = Speller(Network(copy))
    assert speller.read("\u00e7") == speller.read("c\u0327") == ("c\u0327",)
    with pytest.raises(InputError, match="does not know"):
        speller.read("\u00e8")


def test_input_is_read_as_the_data_was(compose: Callable[..., Any], tmp_path: Path) -> None:
    lines = "kʰ æ t\tcat\nd ɔ g\tdog\n" * 4
    for split in ("train", "val", "test"):
        (tmp_path / f"{split}.tsv").write_text(lines, encoding="utf-8")
    files = [f"data.{split}={split}.tsv" for split in ("train", "val", "test")]
    paths = (f"paths.runs={tmp_path / 'runs'}", f"paths.data={tmp_path}")
    overrides = ("+experiment=p2g_lstm", "data.source=files", "data.normalisation=NFKC", *files, *TINY, *paths)
    speller = Speller(Network(run(compose(*overrides)).record))
    assert speller.read("kʰ æ t") == speller.read("kh æ t") == ("kh", "æ", "t")


def test_no_input_at_all_is_said(predict: Predict) -> None:
    answer = predict(lines=b"")
    assert (answer.code, answer.out) == (1, "")
    assert "no input" in one_line(answer.err)


# --- records that cannot be used -------------------------------------------------------------------------------------


def spoil_manifest(record: Record) -> None:
    record.manifest.write_text("{}", encoding="utf-8")


def spoil_vocabulary(record: Record) -> None:
    manifest = read_json(record.manifest)
    manifest["data"]["vocabularies"]["target"].append("\U0001f600")
    write_json(record.manifest, manifest)


def spoil_config(record: Record) -> None:
    write_text(record.config, record.config.read_text(encoding="utf-8").replace("decoder_dropout", "dekoder_dropout"))


def spoil_checkpoint(record: Record) -> None:
    path = record.checkpoints.all()[-1].path
    path.write_bytes(path.read_bytes()[:-1])


def recorded_so(spoil: Callable[[Record], object]) -> Callable[[Record], object]:
    """The same, under a seal that fits."""

    def spoilt(record: Record) -> None:
        spoil(record)
        reseal(record)

    return spoilt


def plant_code(record: Record) -> None:
    checkpoint = record.checkpoints.all()[-1]
    checkpoint.path.unlink()
    record.checkpoints.save(checkpoint.epoch, lambda path: path.write_bytes(pickle.dumps(print)))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda record: record.training.unlink(), "is interrupted; choose a finished one"),
        (lambda record: shutil.rmtree(record.checkpoints.folder), "has no checkpoints"),
        (spoil_checkpoint, "is damaged"),
        (plant_code, "holds more than tensors and plain values, which can run code and is not read)"),
        (spoil_manifest, "manifest.json: damaged"),
        (spoil_vocabulary, "manifest.json: damaged"),
        (spoil_config, "config.yaml: damaged"),
        (recorded_so(spoil_manifest), "manifest.json is damaged"),
        (recorded_so(spoil_vocabulary), "another network or vocabulary"),
        (recorded_so(spoil_config), "config.yaml does not fit this version"),
    ],
)
def test_a_record_that_cannot_be_used_says_why_and_stays(
    predict: Predict, copy: Record, spoil: Callable[[Record], object], said: str
) -> None:
    spoil(copy)
    before = files(copy.folder)
    answer = predict("k æ t", record=copy)
    assert (answer.code, answer.out) == (1, "")
    assert said in answer.err.splitlines()[-1]
    assert files(copy.folder) == before


def test_a_record_that_answers_nothing_is_refused(predict: Predict, copy: Record) -> None:
    text = copy.config.read_text(encoding="utf-8")
    write_text(copy.config, text.replace("transduction.Transduction\n", "retrieval.PictureRetrieval\n"))
    reseal(copy)
    assert "(p2g_attention) neither writes nor classifies anything" in one_line(predict("k æ t", record=copy).err)


def test_an_unknown_record_is_named_with_where_to_look(predict: Predict) -> None:
    answer = predict("k æ t", asked="0000000")
    assert answer.code == 1
    assert "no record begins with '0000000' in" in one_line(answer.err) and "records list --runs" in answer.err
    assert "xyz: no record in " in one_line(predict("k æ t", asked="xyz").err)


def test_a_record_of_other_versions_is_used_with_a_warning(predict: Predict, copy: Record) -> None:
    made_by(copy, {"seq2seq": "1.9"})
    answer = predict("k æ t", record=copy)
    assert answer.code == 0 and answer.out
    assert f"was made by other versions (seq2seq 1.9, now {by_name()['seq2seq'].version})" in one_line(answer.err)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--width", "0"], "Invalid value for '--width'"),
        (["--nbest", "many"], "Invalid value for '--nbest'"),
        (["--nbest", "6", "--width", "3"], "raise --width"),
        (["--decoding", "nucleus", "--p", "1.5"], "--p 1.5: must be above 0, at most 1"),
        (["--decoding", "nucleus", "--temperature", "nan"], "--temperature nan: must be above 0"),
        (["--decoding", "greedy", "--nbest", "2"], "--nbest goes with --decoding beam, not greedy"),
        (["--seed", "1"], "--seed goes with --decoding nucleus, not beam"),
    ],
)
def test_options_out_of_range_or_place_are_named(predict: Predict, arguments: Iterable[str], said: str) -> None:
    answer = predict("k æ t", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert said in answer.err.splitlines()[-1]


# --- as a process ----------------------------------------------------------------------------------------------------


def started(record: Record) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "dlbench", "predict", record.id, "--runs", str(record.folder.parent)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)


@pytest.mark.slow
def test_a_reader_that_leaves_is_no_error(trained: Outcome) -> None:
    with started(trained.record) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdout.close()
        process.stdin.write("k æ t\n".encode() * 50)
        process.stdin.close()
        assert (process.wait(), process.stderr.read()) == (141, b"")


@pytest.mark.slow
def test_ctrl_c_ends_in_a_line(trained: Outcome) -> None:
    with started(trained.record) as process:
        assert process.stdin and process.stderr
        # More than a pipe holds: once it is written, the process has begun to read, and waits for more.
        process.stdin.write("k æ t\n".encode() * 200_000)
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        assert (process.wait(timeout=60), process.stderr.read()) == (130, b"dlbench: interrupted\n")
