"""The benchmark of sequences: the plain loop does what ours does, and it counts rightly. No speed is asserted."""

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dlbench.bench import plain_sequences as plain
from dlbench.bench.__main__ import PARTS
from dlbench.bench.arithmetic import countable_lstm, step_flops
from dlbench.bench.ours import BARE, bare_steps, plan_of
from dlbench.bench.part import QUICK, Case
from dlbench.bench.sequence_orders import (
    DECODERS,
    PlainSequences,
    decode,
    describe_sequences,
    id_pairs,
    obey,
    spread,
    symbols_in,
)
from dlbench.bench.sequences import epoch_seconds
from dlbench.data.pair_datamodule import TransductionDataModule
from dlbench.data.pairs import PairBatch, PairTensors
from dlbench.data.vocabulary import PAD
from dlbench.models.attention import AdditiveAttention, BilinearAttention
from dlbench.models.seq2seq import Seq2Seq
from dlbench.tasks.transduction import Transduction

SIZE = 32


@pytest.fixture(scope="module")
def data() -> TransductionDataModule:
    return TransductionDataModule(
        format="phonemes_word", train="a", val="b", test="c", source="embedded", embedded_sizes=(320, 20, 60), seed=1
    )


def make(data: TransductionDataModule, **settings: Any) -> Seq2Seq:
    torch.manual_seed(0)
    defaults = {"attention": AdditiveAttention, "size": SIZE}
    drops = dict.fromkeys(("encoder_dropout", "decoder_dropout", "output_dropout"), 0.0)
    return Seq2Seq(**(data.model_arguments() | defaults | drops | settings))


def make_task(model: nn.Module) -> Transduction:
    return Transduction(model, lambda parameters: torch.optim.Adam(parameters, lr=0.01), None)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def trained(data: TransductionDataModule) -> Transduction:
    """Ours after a few epochs of a bare loop."""
    task = make_task(make(data))
    batches = itertools.chain.from_iterable(itertools.repeat(list(data.train_dataloader())))
    bare_steps(task, task.optimizer_factory(task.parameters()), batches, 120, **BARE["checked"])
    assert task.epoch_losses[-1] < 0.5 * task.epoch_losses[0]
    return task


def test_both_give_the_same_loss_on_the_same_batch_and_learn_the_same(data: TransductionDataModule) -> None:
    """Without dropout: the same losses over five steps, so the same gradients, up to rounding."""
    task = make_task(make(data))
    yardstick = plain.like(task.model)  # type: ignore[arg-type]
    batch = data.tensors("train")[0, torch.arange(64)]
    pairs = id_pairs(data, "train")[:64]
    source, lengths, target = plain.collate(pairs)
    for ours, theirs in zip(batch, (source, lengths, target), strict=False):
        assert torch.equal(ours, theirs)
    assert plain.loss_of(yardstick, (source, lengths, target)).item() == pytest.approx(
        task.loss(batch).item(), rel=1e-5
    )
    theirs = [loss for loss, _ in itertools.islice(plain.train(yardstick, pairs, lr=0.01), 5)]
    bare_steps(task, task.optimizer_factory(task.parameters()), itertools.repeat(batch), 5, **BARE["checked"])
    assert task.epoch_losses == pytest.approx(theirs, rel=1e-4)
    assert theirs[-1] < theirs[0]


def test_both_decode_every_word_alike(data: TransductionDataModule, trained: Transduction) -> None:
    ours = decode(trained, data, DECODERS["greedy"])["written"]
    yardstick = plain.like(trained.model).eval()  # type: ignore[arg-type]
    theirs = [[plain.greedy(yardstick, source)] for source, _ in id_pairs(data, "test")]
    assert len(ours) == 60
    assert ours == theirs
    assert len({tuple(written) for (written,) in ours}) > 30  # of words, not of one answer to all
    assert trained.training and trained.decoder is not DECODERS["greedy"]


def test_the_smallest_nucleus_is_greedy(data: TransductionDataModule, trained: Transduction) -> None:
    yardstick = plain.like(trained.model).eval()  # type: ignore[arg-type]
    for source, _ in id_pairs(data, "test")[:10]:
        assert plain.nucleus(yardstick, source, p=1e-6) == plain.greedy(yardstick, source)


def test_the_plain_nucleus_draws_from_the_same_distribution_as_ours(
    data: TransductionDataModule, trained: Transduction
) -> None:
    """First symbols of many samples of one word, total variation distance."""
    source = id_pairs(data, "test")[0][0]
    yardstick = plain.like(trained.model).eval()  # type: ignore[arg-type]
    torch.manual_seed(0)
    drawn = [plain.nucleus(yardstick, source, p=0.99, max_length=1) for _ in range(300)]
    with torch.no_grad():
        state = trained.eval().model.encode(source[None], torch.tensor([len(source)]))
        logits, _ = trained.model.step(torch.tensor([1]), state)
    trained.train()
    mass, symbols = logits[0].softmax(0).sort(descending=True)
    kept = mass * ((mass.cumsum(0) - mass) < 0.99)
    expected = torch.zeros_like(mass).scatter(0, symbols, kept / kept.sum())
    found = torch.bincount(torch.tensor([written[0] for written in drawn if written]), minlength=len(mass)) / len(drawn)
    assert (found - expected).abs().sum() / 2 < 0.1


@pytest.mark.parametrize(
    "settings",
    [
        {"attention": None},
        {"attention": BilinearAttention},
        {"layers": 2},
        {"attention": lambda size: AdditiveAttention(size, output_bias=True)},
    ],
)
def test_a_network_of_another_kind_is_refused(data: TransductionDataModule, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="one layer and additive attention"):
        plain.like(make(data, **settings))


def test_the_plain_loop_learns_and_counts_its_symbols(data: TransductionDataModule) -> None:
    pairs = id_pairs(data, "train")
    yardstick = plain.like(make(data, decoder_dropout=0.1))
    assert yardstick.decoder_dropout.p == 0.1 and yardstick.encoder.dropout.p == 0
    steps = list(itertools.islice(plain.train(yardstick, pairs, lr=0.01), 40))
    epoch = describe_sequences(data)
    assert epoch == {"symbols": sum(len(source) + len(target) - 1 for source, target in pairs), "words": 60}
    assert sum(count for _, count in steps[:5]) == epoch["symbols"]
    assert sum(loss for loss, _ in steps[-5:]) < 0.7 * sum(loss for loss, _ in steps[:5])


# what is counted


def test_an_epoch_of_ours_has_the_same_symbols(data: TransductionDataModule) -> None:
    assert sum(map(symbols_in, data.train_dataloader())) == describe_sequences(data)["symbols"]
    assert symbols_in((torch.zeros(8, 3, 4, 4), torch.zeros(8))) == 0
    assert describe_sequences(object()) == {}


def lstm_flops(inputs: int, size: int, symbols: int) -> int:
    """Forward and twice that backward; a multiplication and an addition count as two."""
    return 3 * 2 * 4 * size * (inputs + size) * symbols


def test_an_lstm_is_counted_in_full() -> None:
    """Against the formula; no gradient of the first hidden state, which is given as zeros, is needed."""
    layer, inputs = nn.LSTM(12, 20, batch_first=True), torch.randn(5, 7, 12, requires_grad=True)

    def loss() -> Tensor:
        outputs, _ = layer(inputs)
        return outputs.sum()

    was_enabled = torch.backends.mkldnn.enabled
    with countable_lstm():
        flops = step_flops(loss)
    assert flops == lstm_flops(12, 20, 5 * 7) - 2 * 5 * 4 * 20 * 20
    assert torch.backends.mkldnn.enabled == was_enabled


def test_a_training_step_is_counted_in_full(data: TransductionDataModule) -> None:
    task, half = make_task(make(data)), SIZE // 2
    batch = next(iter(data.train_dataloader()))
    counted = obey({"do": "flops", "steps": 1}, task, data, iter([batch]))
    assert counted and counted["symbols"] == symbols_in(batch)
    read, (rows, longest) = int(batch.source_lengths.sum()), batch.source.shape
    written = rows * (batch.target.shape[1] - 1)
    linear = 3 * 2 * SIZE * SIZE
    attention = linear * (rows * longest + written + 2 * written)
    scores_and_context = 2 * 3 * 2 * SIZE * written * longest
    output = 3 * 2 * SIZE * data.model_arguments()["target_symbols"] * written
    # As above; backwards the shorter ones join those under way, which have a gradient.
    first = 2 * 4 * half * half * (rows + int((batch.source_lengths == longest).sum()))
    lstms = 2 * lstm_flops(SIZE, half, read) + lstm_flops(SIZE, SIZE, written) - first
    assert counted["flops"] == lstms + attention + scores_and_context + output


def test_words_are_spread_over_the_lengths() -> None:
    sources = [torch.zeros(length) for length in (9, 1, 8, 2, 7, 3, 6, 4, 5)]
    assert [len(source) for source in spread(sources, 3)] == [8, 2, 5]
    assert spread(sources, 9) == sources
    assert [len(source) for source in spread(sources, 1)] == [5]


def test_workers_side_by_side_add_their_speeds() -> None:
    class Fake:
        def __init__(self, seconds: float) -> None:
            self.facts = {"symbols": 1000}
            self.answer = {"seconds": seconds, "symbols": 100}

        def send(self, do: str, steps: int) -> None:
            assert (do, steps) == ("step", 4)

        def receive(self) -> dict[str, Any]:
            return self.answer

    assert epoch_seconds([Fake(2.0)], 4) == 20  # type: ignore[list-item]
    assert epoch_seconds([Fake(2.0), Fake(2.0)], 4) == 10  # type: ignore[list-item]


def test_sources_end_in_padding_only(data: TransductionDataModule) -> None:
    """The plain network takes its mask from the padding."""
    tensors = data.tensors("train")
    assert isinstance(tensors, PairTensors)
    batch: PairBatch = tensors[0, torch.arange(len(tensors))]
    assert ((batch.source != PAD).sum(dim=1) == batch.source_lengths).all()


# workers and the part


def test_the_plain_worker_trains_takes_weights_and_decodes(tmp_path: Path) -> None:
    plan = plan_of([*Case("p2g_attention").overrides(QUICK), f"paths.runs={tmp_path}"])
    worker = PlainSequences(plan)
    trained = worker.obey({"do": "step", "steps": 2})
    assert trained["seconds"] > 0 and trained["symbols"] == 2 * describe_sequences(plan.data)["symbols"]
    before = worker.obey({"do": "decode", "decoder": "greedy", "words": 24})["written"]
    torch.save(worker.model.state_dict(), tmp_path / "weights.pt")
    assert worker.obey({"do": "load", "path": str(tmp_path / "weights.pt")}) == {"loaded": True}
    after = worker.obey({"do": "decode", "decoder": "greedy", "words": 24})["written"]
    assert len(before) == len(after) == 24 and before != after
    sampled = worker.obey({"do": "decode", "decoder": "nucleus", "words": 5})
    assert sampled["seconds"] > 0 and [len(samples) for samples in sampled["written"]] == [3] * 5


@pytest.mark.slow
def test_the_part_in_its_quick_form() -> None:
    part = PARTS["sequences"](QUICK)
    assert [row.what for row in part.rows] == [
        "training epoch / plain on one core",
        "two runs side by side / one",
        "training epoch / its arithmetic limit",
        "greedy / plain on one core",
        "nucleus, 3 samples / plain on one core",
        "beam search, width 5",
    ]
    for row in part.rows:
        assert math.isfinite(row.ours) and row.ours > 0
        assert (row.ratio is None) == (row.what == "beam search, width 5")
    assert any("embedded, 64 training pairs" in note for note in part.notes)
    assert any("on 24 of 24 words" in note for note in part.notes)
