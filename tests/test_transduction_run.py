"""Whole transduction runs: train once and decode many, ensembles, toy tasks learned to the end, resuming, bad input."""

import itertools
import json
import random
from collections.abc import Callable
from pathlib import Path

import jiwer
import pytest
import torch
from bits import rows, same_bits
from conftest import Compose, TinyIn
from diverging import interrupted_at, weights_are_nan
from resealed import reseal_evaluation

from dlbench.decoding.hypotheses import Ensemble
from dlbench.decoding.sampling import Greedy
from dlbench.errors import ConfigError, DlbenchError, RecordError
from dlbench.evaluation.transduction import TransductionEvaluation
from dlbench.records import history, seal
from dlbench.records.store import State, Store
from dlbench.run import Outcome, run
from dlbench.run.evaluation import read_weights
from dlbench.run.plan import build_task, prepare
from dlbench.tasks.transduction import Transduction, symbols
from dlbench.verify import verify


@pytest.fixture(scope="module")
def small(tiny_in: TinyIn) -> TinyIn:
    """A small network on a few invented words."""
    return lambda runs: [
        "+experiment=p2g_attention",
        *tiny_in(runs, sizes=(200, 30, 40)),
        "model.size=16",
        "data.batch_size=16",
    ]


@pytest.fixture(scope="module")
def greedy(compose: Compose, small: TinyIn, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run(compose(*small(tmp_path_factory.mktemp("transduction"))))


@pytest.fixture
def again(compose: Compose, small: TinyIn, greedy: Outcome) -> Callable[..., Outcome]:
    """The same training with further overrides."""
    return lambda *overrides: run(compose(*small(greedy.record.folder.parent), *overrides))


def test_a_training_is_made_once_and_decoded_in_many_ways(greedy: Outcome, again: Callable[..., Outcome]) -> None:
    decodings = ("nucleus", "top_k", "beam", "greedy")
    others = {name: again(f"decoding={name}") for name in decodings}
    assert not any(other.trained for other in others.values())
    assert {other.record for other in others.values()} == {greedy.record}
    assert len({other.evaluation.id for other in others.values()}) == len(decodings)
    assert others["greedy"].result == greedy.result
    assert len(rows(greedy)) == 40
    for name in ("nucleus", "top_k"):
        assert len(rows(others[name])) == 3 * 40
        assert "test/wer_at_3" in others[name].result["metrics"]
    assert "test/wer_at_3" not in greedy.result["metrics"]
    for _, ranked in itertools.groupby(rows(others["beam"]), key=lambda row: row["index"]):
        probabilities = [float(row["probability"]) for row in ranked]
        assert probabilities == sorted(probabilities, reverse=True)


@pytest.mark.parametrize("experiment", ["p2g_attention", "asr_attention", "asr_lstm"])
def test_double_precision_decodes_with_attention(
    experiment: str, compose: Compose, tiny_in: TinyIn, tmp_path: Path
) -> None:
    tiny = tiny_in(tmp_path, epochs=1, sizes=(32, 8, 8))
    outcome = run(compose(f"+experiment={experiment}", *tiny, "model.size=16", "trainer.precision=64-true"))
    assert outcome.record.state() == State.FINISHED


@pytest.mark.parametrize("decoding", ["greedy", "nucleus", "beam"])
def test_a_network_without_finite_outputs_has_no_result(decoding: str, again: Callable[..., Outcome]) -> None:
    said = r"^test/loss is not finite, so the run has no result"
    with weights_are_nan(TransductionEvaluation), pytest.raises(RecordError, match=said):
        again(f"decoding={decoding}", "evaluation.attention_examples=1")


def test_words_that_cannot_be_decoded_whole_are_counted(
    compose: Compose, small: TinyIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = ("task.val_max_length=4", "evaluation.decoding.max_length=5")
    plan = prepare(compose(*small(tmp_path), *limits))
    for _ in range(2):
        build_task(plan)
    said = capsys.readouterr().err
    for split, what, limit in (("val", "validation", limits[0]), ("test", "test", limits[1])):
        lengths = plan.data.tensors(split).target_lengths - 1  # type: ignore[attr-defined]
        longer = int((lengths > int(limit[-1])).sum())
        assert longer and said.count(f"{longer} of {len(lengths)} {what} targets are longer than {limit}") == 1


def test_an_evaluation_made_by_other_versions_is_made_again_when_asked(
    again: Callable[..., Outcome], capsys: pytest.CaptureFixture[str]
) -> None:
    first = again("decoding=top_k")
    reseal_evaluation(first.evaluation, versions={**first.result["versions"], "top_k": "1.9"})
    capsys.readouterr()
    assert again("decoding=top_k").result["versions"]["top_k"] == "1.9"
    assert "made by top_k 1.9, now 1.0; rerun=outdated makes it again" in capsys.readouterr().err
    remade = again("decoding=top_k", "rerun=outdated")
    assert not remade.trained
    assert remade.result["versions"] == first.result["versions"]
    assert remade.result["metrics"] == first.result["metrics"]


def test_a_beam_of_one_is_greedy(greedy: Outcome, again: Callable[..., Outcome]) -> None:
    beam = again("decoding=beam", "evaluation.decoding.width=1", "evaluation.decoding.nbest=1")
    assert [row["hypothesis"] for row in rows(beam)] == [row["hypothesis"] for row in rows(greedy)]


def test_error_rates_are_those_of_the_predictions(greedy: Outcome) -> None:
    written = [(row["reference"], row["hypothesis"]) for row in rows(greedy)]
    truth, guesses = map(list, zip(*written, strict=True))
    metrics = greedy.result["metrics"]
    assert metrics["test/cer"] == pytest.approx(jiwer.cer(truth, guesses))
    assert metrics["test/wer"] == pytest.approx(sum(a != b for a, b in written) / len(written))
    each = [jiwer.cer(reference, hypothesis) for reference, hypothesis in written]
    assert metrics["test/error_rate_macro"] == pytest.approx(sum(each) / len(each))


def test_the_published_nucleus_row_takes_its_rates_from_a_pass_of_their_own(again: Callable[..., Outcome]) -> None:
    overrides = ("decoding=nucleus", "evaluation.decoding.samples=4", "evaluation.separate_pass=true")
    outcome = again(*overrides)
    guesses = [row for row in rows(outcome) if row["rank"] == "4"]
    wrong = sum(row["hypothesis"] != row["reference"] for row in guesses)
    assert outcome.result["metrics"]["test/wer"] == pytest.approx(wrong / len(guesses))
    three = again("decoding=nucleus")
    assert outcome.result["metrics"]["test/wer_at_3"] == three.result["metrics"]["test/wer_at_3"]


def test_predictions_do_not_depend_on_the_batches_they_are_made_in(
    greedy: Outcome, compose: Compose, small: TinyIn, tmp_path: Path
) -> None:
    other = run(compose(*small(tmp_path), "data.eval_batch_size=7", "decoding=nucleus"))
    same = run(compose(*small(greedy.record.folder.parent), "decoding=nucleus"))
    assert [row["hypothesis"] for row in rows(other)] == [row["hypothesis"] for row in rows(same)]


def test_attention_is_kept_with_its_symbols(greedy: Outcome, again: Callable[..., Outcome]) -> None:
    examples = json.loads((greedy.evaluation.artifacts / "attention.json").read_text(encoding="utf-8"))
    assert len(examples) == 10
    for example, row in zip(examples, rows(greedy), strict=False):
        assert " ".join(example["source"]) == row["source"]
        weights = torch.tensor(example["weights"])
        assert weights.shape == (len(example["hypothesis"]), len(example["source"]))
        torch.testing.assert_close(weights.sum(dim=1), torch.ones(len(weights)), atol=2e-3, rtol=0)
    beam = again("decoding=beam")
    assert not (beam.evaluation.artifacts / "attention.json").exists()


@pytest.fixture(scope="module")
def ensemble(compose: Compose, small: TinyIn, greedy: Outcome) -> Outcome:
    return run(compose(*small(greedy.record.folder.parent), "evaluation.members=[43,44]"))


def test_an_ensemble_averages_the_networks_of_its_members(
    greedy: Outcome, ensemble: Outcome, compose: Compose, small: TinyIn
) -> None:
    plans = [prepare(compose(*small(greedy.record.folder.parent), f"seed={seed}")) for seed in (42, 43, 44)]
    networks = []
    for plan in plans:
        task = build_task(plan).eval()
        task.load_state_dict(read_weights(plan).best)
        networks.append(task.model)
    expected = {}
    for batch in plans[0].data.test_dataloader():
        tokens, log_probs, _ = Greedy()(Ensemble(networks), batch.source, batch.source_lengths, batch.index, seed=0)
        for place, written, log_prob in zip(batch.index.tolist(), symbols(tokens[:, 0]), log_probs[:, 0], strict=True):
            text = "".join(plans[0].data.target_vocabulary.symbols[number] for number in written)
            expected[str(place)] = (text, f"{log_prob.exp().item():.4g}")
    assert {row["index"]: (row["hypothesis"], row["probability"]) for row in rows(ensemble)} == expected


def test_an_ensemble_trains_its_members_once(
    greedy: Outcome, ensemble: Outcome, compose: Compose, small: TinyIn
) -> None:
    assert not ensemble.trained  # its own training was there
    assert len({greedy.record.id, *ensemble.result["members"]}) == 3
    metrics = ensemble.result["metrics"]
    assert metrics["model/parameters"] == 3 * greedy.result["metrics"]["model/parameters"]
    assert not [name for name in metrics if name.startswith(("val/", "train/")) or name == "test/loss"]
    alone = run(compose(*small(greedy.record.folder.parent), "seed=43"))
    assert not alone.trained
    assert alone.record.id in ensemble.result["members"]


@pytest.mark.parametrize("loss", ["damaged", "made by other versions", "a member trained anew"])
def test_an_ensemble_made_again_is_an_ensemble_again(
    loss: str, ensemble: Outcome, again: Callable[..., Outcome]
) -> None:
    evaluation, content = ensemble.evaluation, seal.read(ensemble.evaluation.result)
    if loss == "damaged":
        evaluation.result.write_text("{")
    elif loss == "made by other versions":
        reseal_evaluation(evaluation, versions={**content["versions"], "ensemble": "1.9"})
    else:
        reseal_evaluation(evaluation, members=dict.fromkeys(content["members"], "other weights"))
    remade = again("evaluation.members=[43,44]", "rerun=outdated")
    assert not remade.trained
    assert remade.result["metrics"] == ensemble.result["metrics"]
    assert rows(remade) == rows(ensemble)


def test_a_seed_stands_in_an_ensemble_once(compose: Compose, small: TinyIn, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"evaluation.members=\[42\]: name each other seed once"):
        prepare(compose(*small(tmp_path), "evaluation.members=[42]"))
    with pytest.raises(ConfigError, match="seed 43 has another vocabulary than seed 42"):
        prepare(compose(*small(tmp_path), "evaluation.members=[43]", "data.fraction=0.1"))


def toy_files(folder: Path, task: str) -> None:
    """Sequences of up to five of six symbols, to be copied or reversed; no test sequence is one of training's."""
    stream = random.Random(0)
    every = [word for length in range(1, 6) for word in itertools.product("abcdef", repeat=length)]
    chosen = stream.sample(every, 1000)
    (folder / "toy").mkdir(parents=True)
    for split, words in (("train", chosen[:900]), ("val", chosen[900:950]), ("test", chosen[950:])):
        lines = (f"{' '.join(word)}\t{''.join(word[::-1] if task == 'reverse' else word)}\n" for word in words)
        (folder / "toy" / f"{split}.tsv").write_text("".join(lines), encoding="utf-8")


LSTM = [
    "model.size=32",
    "optimizer.lr=0.01",
    *(f"model.{place}_dropout=0" for place in ("encoder", "decoder", "output")),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "settings"),
    [
        ("copy", ["+experiment=p2g_attention", "model/attention=bilinear", *LSTM]),
        ("reverse", ["+experiment=p2g_attention", *LSTM]),
        ("reverse", ["+experiment=p2g_transformer", "model.size=32", "model.dropout=0", "optimizer.lr=0.003"]),
    ],
)
def test_a_toy_task_is_learned_to_the_end(task: str, settings: list[str], compose: Compose, tmp_path: Path) -> None:
    toy_files(tmp_path / "data", task)
    files = [f"data.{split}=toy/{split}.tsv" for split in ("train", "val", "test")]
    outcome = run(
        compose(
            *settings,
            *files,
            f"paths.data={tmp_path / 'data'}",
            f"paths.runs={tmp_path / 'runs'}",
            "data.source=files",
            "data.batch_size=32",
            "trainer.epochs=25",
            "trainer.device=cpu",
            "trainer.progress=none",
            "callbacks=none",
        )
    )
    assert outcome.result["metrics"]["test/cer"] <= 0.01
    assert outcome.result["metrics"]["test/wer"] <= 0.04


def test_a_run_interrupted_in_training_ends_in_the_same_bits(compose: Compose, small: TinyIn, tmp_path: Path) -> None:
    changed = ["data.noise=0.1", "data.fraction=0.5", "data.bucket_batches=3", "data.reverse_source=true"]
    expected = run(compose(*small(tmp_path / "whole"), *changed))
    assert expected.result["data"]["sizes"]["train"] == 100
    examples = json.loads((expected.evaluation.artifacts / "attention.json").read_text(encoding="utf-8"))
    assert " ".join(examples[0]["source"]) == rows(expected)[0]["source"]  # not reversed

    config = compose(*small(tmp_path / "stopped"), *changed)
    with interrupted_at(10, Transduction):
        run(config)
    outcome = run(config)
    assert outcome.record.id == expected.record.id
    assert same_bits(outcome, expected)
    assert [row["epoch"] for row in history.read(outcome.record.metrics)] == [1, 2]


@pytest.mark.slow
def test_a_record_with_several_evaluations_is_verified(greedy: Outcome, ensemble: Outcome) -> None:
    verdict = verify(greedy.record, {"data": None, "cache": None}, progress="none")
    assert verdict.differences == []
    assert verdict.compared > len(greedy.result["metrics"]) + len(ensemble.result["metrics"])


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["decoding=nucleus", "evaluation.decoding.p=0"], "evaluation.decoding.p=0: "),
        (["decoding=nucleus", "evaluation.decoding.p=1.5"], "evaluation.decoding.p=1.5: "),
        (["decoding=nucleus", "evaluation.decoding.temperature=0"], "evaluation.decoding.temperature=0: "),
        (["decoding=top_k", "evaluation.decoding.temperature=1e-38"], "evaluation.decoding.temperature=1e-38: "),
        (["decoding=beam", "evaluation.decoding.width=0"], "evaluation.decoding.width=0: "),
        (["decoding=beam", "evaluation.decoding.nbest=9"], "evaluation: .*nbest=9 is more than a beam of width=5"),
        (["decoding=nucleus", "evaluation.separate_pass=true"], "evaluation: .*samples of at least k \\+ 1 = 4"),
        (["model.size=15"], "model.size=15: "),
        (["model.attention.v_std=wide"], "model.attention.v_std='wide': "),
        (["+model.attention.width=3"], "model.attention.width: no such key"),
        (["evaluation.decoding=beam"], "evaluation.decoding=beam: .*choose one with decoding=NAME"),
        (["callbacks=images"], "callbacks.pictures: ClassifierPictures is not for Transduction"),
        (["evaluation.checkpoint=first"], "evaluation.checkpoint='first': "),
        (["data.fraction=0"], "data.fraction=0: "),
    ],
)
def test_bad_values_are_named_before_anything_is_trained(
    overrides: list[str], line: str, compose: Compose, small: TinyIn, tmp_path: Path
) -> None:
    with pytest.raises(DlbenchError, match=f"^{line}"):
        run(compose(*small(tmp_path), *overrides))
    assert Store(tmp_path).all() == []


def test_a_decoding_asked_of_weights_that_were_cleaned_away_says_so(
    compose: Compose, small: TinyIn, tmp_path: Path
) -> None:
    first = run(compose(*small(tmp_path)))
    for checkpoint in first.record.checkpoints.all():
        checkpoint.path.unlink()
    first.record.checkpoints.folder.rmdir()
    with pytest.raises(DlbenchError, match="its weights were cleaned away; rerun=always trains it again"):
        run(compose(*small(tmp_path), "decoding=beam"))
    assert run(compose(*small(tmp_path))).result == first.result
