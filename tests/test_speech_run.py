"""Whole speech runs on synthetic tones: train once and decode twice, what is measured, resuming, bad input."""

import json
from pathlib import Path
from typing import Any

import jiwer
import pytest
import textdistance
import torch
from bits import rows, same_bits
from conftest import Compose, TinyIn
from diverging import interrupted_at

from dlbench.data.pairs import Pair
from dlbench.data.vocabulary import PAD
from dlbench.errors import DlbenchError
from dlbench.evaluation.speech import measure
from dlbench.evaluation.transduction import Prediction
from dlbench.records.store import Store
from dlbench.run import Outcome, run
from dlbench.run.evaluation import read_weights
from dlbench.run.plan import build_task, prepare
from dlbench.tasks.speech import SpeechRecognition


@pytest.fixture(scope="module")
def greedy(compose: Compose, recogniser: TinyIn, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run(compose(*recogniser(tmp_path_factory.mktemp("speech"))))


@pytest.fixture(scope="module")
def beam(compose: Compose, recogniser: TinyIn, greedy: Outcome) -> Outcome:
    return run(compose(*recogniser(greedy.record.folder.parent), "decoding=beam", "evaluation.decoding.max_length=98"))


def test_a_training_is_made_once_and_decoded_twice(greedy: Outcome, beam: Outcome) -> None:
    assert not beam.trained
    assert beam.record == greedy.record
    assert len(rows(greedy)) == 20
    ranks = [int(row["rank"]) for row in rows(beam) if row["index"] == "0"]
    assert ranks == list(range(1, len(ranks) + 1))
    assert len(ranks) > 1


def test_the_scores_are_those_of_the_predictions(greedy: Outcome) -> None:
    metrics = greedy.result["metrics"]
    truth, guesses = zip(*((row["reference"], row["hypothesis"]) for row in rows(greedy)), strict=True)
    oracles: dict[str, Any] = {
        "jaccard": textdistance.Jaccard(external=False),
        "cosine": textdistance.Cosine(external=False),
        "damerau_levenshtein": textdistance.DamerauLevenshtein(restricted=True, external=False),
    }
    for name, oracle in oracles.items():
        each = [oracle.normalized_similarity(*pair) for pair in zip(guesses, truth, strict=True)]
        assert metrics[f"test/{name}"] == pytest.approx(sum(each) / len(each))
    assert metrics["test/cer"] == pytest.approx(jiwer.cer(list(truth), list(guesses)))
    assert metrics["test/wer"] == pytest.approx(jiwer.wer(list(truth), list(guesses)))
    assert metrics["test/jaccard_shuffled"] == pytest.approx(metrics["test/jaccard"])
    assert metrics["test/cosine_shuffled"] == pytest.approx(metrics["test/cosine"])
    assert greedy.result["data"]["provenance"] == "synthetic"


def test_shuffling_costs_the_similarity_that_sees_order(greedy: Outcome, compose: Compose, recogniser: TinyIn) -> None:
    right = [Prediction(Pair((text,), tuple(text)), (tuple(text),), (0.0,)) for text in ("abcdefgh", "tone")]
    scores = measure(right, seed=42)
    assert scores["test/jaccard_shuffled"] == scores["test/damerau_levenshtein"] == 1
    assert scores["test/damerau_levenshtein_shuffled"] < 0.9
    assert measure(right, seed=42) == scores
    assert scores["test/cer"] == scores["test/wer"] == 0


def test_attention_is_kept_by_time_and_symbol(greedy: Outcome, beam: Outcome) -> None:
    kept = json.loads((greedy.evaluation.artifacts / "attention.json").read_text(encoding="utf-8"))
    assert len(kept) == 2
    for one, row in zip(kept, rows(greedy), strict=False):
        assert "".join(one["hypothesis"]).removesuffix("<eos>") == row["hypothesis"]
        assert len(one["weights"]) == len(one["hypothesis"])
        assert all(len(line) == len(one["source"]) for line in one["weights"])
        assert all(sum(line) == pytest.approx(1, abs=0.02) for line in one["weights"])
    assert kept[0]["source"][:3] == ["0.00 s", "0.01 s", "0.03 s"]
    assert not (beam.evaluation.artifacts / "attention.json").exists()


@pytest.mark.parametrize("experiment", ["asr_lstm_spoken", "asr_attention"])
def test_the_loss_counts_padding_as_published_or_leaves_it_out(
    experiment: str, compose: Compose, recogniser: TinyIn, tmp_path: Path
) -> None:
    plan = prepare(compose(*recogniser(tmp_path, experiment), "data.frames=300"))
    task, data = build_task(plan).eval(), plan.data
    assert isinstance(task, SpeechRecognition)
    batch = next(iter(data.val_dataloader()))
    logits = task.model(batch.source, batch.source_lengths, batch.target[:, :-1]).log_softmax(dim=-1)
    truth = batch.target[:, 1:]
    each = -0.9 * logits.gather(2, truth[..., None])[..., 0] - 0.1 * logits.mean(dim=-1)
    counted = truth != PAD if experiment == "asr_lstm_spoken" else torch.ones_like(truth, dtype=torch.bool)
    torch.testing.assert_close(task.loss(batch), each[counted].mean())
    assert batch.target.shape[1] == (
        99 if experiment == "asr_attention" else int(data.tensors("val").target_lengths.max())
    )


def test_validation_weighs_every_symbol_alike(greedy: Outcome, compose: Compose, recogniser: TinyIn) -> None:
    plan = prepare(compose(*recogniser(greedy.record.folder.parent), "data.eval_batch_size=5"))
    task = build_task(plan).eval()
    task.load_state_dict(read_weights(prepare(compose(*recogniser(greedy.record.folder.parent)))).last)
    losses, symbols = 0.0, 0
    with torch.inference_mode():
        for batch in plan.data.val_dataloader():
            count = int((batch.target[:, 1:] != PAD).sum())
            losses, symbols = losses + count * float(task.loss(batch)), symbols + count
    assert greedy.result["metrics"]["val/loss"] == pytest.approx(losses / symbols, rel=1e-5)


def test_two_runs_are_the_same_to_the_bit_also_when_one_is_interrupted(
    greedy: Outcome, compose: Compose, recogniser: TinyIn, tmp_path: Path
) -> None:
    config = compose(*recogniser(tmp_path))
    with interrupted_at(8, SpeechRecognition):
        run(config)
    assert same_bits(run(config), greedy)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["model.positions=9"], "data: the train transcripts: .*model.positions=9; raise it"),
        (["task.val_max_length=99"], "task.val_max_length: 99 symbols, where .*model.positions=98"),
        (["evaluation.decoding.max_length=99"], "evaluation.decoding.max_length: 99 symbols, where .*positions=98"),
        (["scheduler.epochs=2"], "optimizer or scheduler: .*scheduler.warmup_epochs=2 leaves"),
        (["task.label_smoothing=1"], "task.label_smoothing=1: "),
        (["model.decoder=gru"], "model.decoder='gru': "),
        (["model.heads=3"], "model: size=16 must be even and a multiple of heads=3"),
        (["callbacks=images"], "callbacks.pictures: ClassifierPictures .*; choose callbacks=speech or none"),
        (["callbacks=sequences"], "callbacks.pictures: TransductionPictures is not for SpeechRecognition"),
    ],
)
def test_bad_values_are_named_before_anything_is_trained(
    overrides: list[str], line: str, compose: Compose, recogniser: TinyIn, tmp_path: Path
) -> None:
    with pytest.raises(DlbenchError, match=f"^{line}"):
        run(compose(*recogniser(tmp_path), *overrides))
    assert Store(tmp_path).all() == []


def test_a_decoding_need_not_state_its_length(compose: Compose, recogniser: TinyIn, tmp_path: Path) -> None:
    assert build_task(prepare(compose(*recogniser(tmp_path), "~evaluation.decoding.max_length")))


@pytest.mark.slow
@pytest.mark.parametrize("decoder", ["lstm", "attention"])
def test_tones_are_learned(decoder: str, compose: Compose, tmp_path: Path) -> None:
    overrides = [
        f"+experiment=asr_{decoder}_spoken",
        "data.source=synthetic",
        "data.synthetic_sizes=[400,50,50]",
        "data.batch_size=8",
        "trainer.epochs=12",
        "scheduler.epochs=12",
        "optimizer.lr=0.002",
        "model.size=64",
        "model.feedforward=128",
        "model.layers=1",
        "task.val_max_length=24",
        "evaluation.decoding.max_length=24",
        "trainer.device=cpu",
        "trainer.progress=none",
        "callbacks=none",
        f"paths.runs={tmp_path}",
    ]
    metrics = run(compose(*overrides)).result["metrics"]
    assert metrics["test/damerau_levenshtein"] > 0.5
    assert metrics["test/damerau_levenshtein_shuffled"] < metrics["test/damerau_levenshtein"] - 0.1
