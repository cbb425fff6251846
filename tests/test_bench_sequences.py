"""The benchmark of sequences: the plain loop does what ours does, and it counts rightly. No speed is asserted."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from dlbench.bench import plain
from dlbench.bench.parts import P2G, QUICK, overrides
from dlbench.bench.plain import PlainSeq2Seq, id_pairs
from dlbench.bench.worker import DECODERS, Ours, Plain, facts_of, flops_of, plan_of, spread, symbols_in
from dlbench.bench.workers import speed
from dlbench.data.pair_datamodule import TransductionDataModule
from dlbench.data.pairs import PairBatch, PairTensors
from dlbench.data.vocabulary import EOS, PAD
from dlbench.models.attention import PARTS, AdditiveAttention, BilinearAttention
from dlbench.models.seq2seq import DENSE_SHARE, Seq2Seq
from dlbench.tasks.transduction import Transduction

SIZE = 32


@pytest.fixture(scope="module")
def data() -> TransductionDataModule:
    return TransductionDataModule(
        format="phonemes_word", train="a", val="b", test="c", source="synthetic", synthetic_sizes=(320, 20, 60), seed=1
    )


def make(data: TransductionDataModule, **settings: Any) -> Seq2Seq:
    torch.manual_seed(0)
    defaults = {"attention": AdditiveAttention, "size": SIZE}
    drops = dict.fromkeys(("encoder_dropout", "decoder_dropout", "output_dropout"), 0.0)
    return Seq2Seq(**(data.model_arguments() | defaults | drops | settings))


def held(data: TransductionDataModule, batches: Iterator[Any]) -> Ours:
    task = Transduction(make(data), lambda parameters: torch.optim.Adam(parameters, lr=0.01), None)  # type: ignore[arg-type]
    return Ours(task, task.optimizer_factory(task.parameters()), data, batches)


def train_plain(model: PlainSeq2Seq, pairs: list[plain.IdPair], steps: int) -> tuple[list[float], list[int]]:
    """Losses and symbols of so many steps."""
    batches = torch.utils.data.DataLoader(pairs, batch_size=64, shuffle=True, collate_fn=plain.collate)  # type: ignore[arg-type]
    training = plain.train(model, batches, torch.optim.Adam(model.parameters(), lr=0.01), plain.sequence_loss)
    losses, made = zip(*itertools.islice(training, steps), strict=True)
    return list(losses), [symbols_in(batch) for batch in made]


@pytest.fixture(scope="module")
def trained(data: TransductionDataModule) -> Ours:
    """Ours after a few epochs of a bare loop."""
    ours = held(data, itertools.cycle(list(data.train_dataloader())))
    ours.bare(120, checks_loss=True, reseeds=False)
    assert ours.task.epoch_losses[-1] < 0.5 * ours.task.epoch_losses[0]
    return ours


def test_both_give_the_same_loss_on_the_same_batch_and_learn_the_same(data: TransductionDataModule) -> None:
    """Without dropout: the same losses over five steps, so the same gradients, up to rounding."""
    batch = data.tensors("train")[0, torch.arange(64)]
    ours = held(data, itertools.repeat(batch))
    yardstick = PlainSeq2Seq(ours.task.model)
    pairs = id_pairs(data, "train")[:64]
    collated = plain.collate(pairs)
    for own, other in zip(batch, collated, strict=False):
        assert torch.equal(own, other)
    assert plain.sequence_loss(yardstick, collated).item() == pytest.approx(ours.task.loss(batch).item(), rel=1e-5)
    losses, _ = train_plain(yardstick, pairs, 5)
    ours.bare(5, checks_loss=True, reseeds=False)
    assert ours.task.epoch_losses == pytest.approx(losses, rel=1e-4)
    assert losses[-1] < losses[0]


def test_both_decode_every_word_alike(data: TransductionDataModule, trained: Ours) -> None:
    ours = trained.decode("greedy")["written"]
    yardstick = PlainSeq2Seq(trained.task.model).eval()
    theirs = [[plain.decode(yardstick, source, plain.greedy)] for source, _ in id_pairs(data, "test")]
    assert len(ours) == 60
    assert ours == theirs
    assert len({tuple(written) for (written,) in ours}) > 30  # of words, not of one answer to all
    assert trained.task.training and trained.task.decoder is not DECODERS["greedy"]


def test_the_smallest_nucleus_is_greedy() -> None:
    logits = torch.randn(1, 30)
    assert plain.nucleus(logits, p=1e-6) == plain.greedy(logits)


def test_the_plain_nucleus_draws_from_the_same_distribution_as_ours() -> None:
    """Many samples of one step, total variation distance."""
    torch.manual_seed(0)
    logits = torch.randn(1, 30)
    drawn = torch.cat([plain.nucleus(logits, p=0.8) for _ in range(3000)])
    mass, symbols = logits[0].softmax(0).sort(descending=True)
    kept = mass * ((mass.cumsum(0) - mass) < 0.8)
    expected = torch.zeros_like(mass).scatter(0, symbols, kept / kept.sum())
    assert (kept > 0).sum() > 5
    assert (torch.bincount(drawn, minlength=30) / len(drawn) - expected).abs().sum() / 2 < 0.05


@pytest.mark.parametrize(
    "settings",
    [
        {"attention": None},
        {"attention": BilinearAttention},
        {"layers": 2},
        {"bidirectional": False},
        {"tied_output": False},
        {"output_dropout_place": "before_attention"},
        {"attention": lambda size: AdditiveAttention(size, output_bias=True)},
    ],
)
def test_a_network_of_another_kind_is_refused(data: TransductionDataModule, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="one layer, two directions, a tied output and additive attention"):
        PlainSeq2Seq(make(data, **settings))


def test_the_plain_loop_learns_and_counts_its_symbols(data: TransductionDataModule) -> None:
    pairs = id_pairs(data, "train")
    yardstick = PlainSeq2Seq(make(data, decoder_dropout=0.1))
    assert yardstick.decoder_dropout.p == 0.1 and yardstick.encoder.embedding_dropout.p == 0
    losses, counts = train_plain(yardstick, pairs, 40)
    assert sum(counts[:5]) == sum(len(source) + len(target) - 1 for source, target in pairs)
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


# what is counted


def test_an_epoch_of_ours_has_the_same_symbols(data: TransductionDataModule) -> None:
    counted = sum(len(source) + len(target) - 1 for source, target in id_pairs(data, "train"))
    assert sum(map(symbols_in, data.train_dataloader())) == counted
    assert symbols_in((torch.zeros(8, 3, 4, 4), torch.zeros(8))) == 0


def lstm_flops(inputs: int, size: int, symbols: int) -> int:
    """Forward and twice that backward; a multiplication and an addition count as two."""
    return 3 * 2 * 4 * size * (inputs + size) * symbols


def test_an_lstm_is_counted_in_full() -> None:
    """Against the formula; no gradient of the first hidden state, which is given as zeros, is needed."""
    layer, inputs = nn.LSTM(12, 20, batch_first=True), torch.randn(5, 7, 12, requires_grad=True)

    was_enabled = torch.backends.mkldnn.enabled
    flops = flops_of(lambda: layer(inputs)[0].sum().backward())
    assert flops == lstm_flops(12, 20, 5 * 7) - 2 * 5 * 4 * 20 * 20
    assert torch.backends.mkldnn.enabled == was_enabled


def test_a_training_step_is_counted_in_full(data: TransductionDataModule) -> None:
    half = SIZE // 2
    batch = next(iter(data.train_dataloader()))
    counted = held(data, iter([batch])).flops()
    assert counted["symbols"] == symbols_in(batch)
    (rows, longest), places = batch.source.shape, batch.target.shape[1] - 1
    read, given = batch.source_lengths, batch.target[:, :-1]
    written = ((given != EOS) & (given != PAD)).sum(1)
    order = written.argsort(stable=True)
    parts = [
        (len(part), int(written[part].max()), int(read[part].max())) for part in order.tensor_split(PARTS) if len(part)
    ]
    queries = sum(count * steps for count, steps, _ in parts)
    linear = 3 * 2 * SIZE * SIZE
    attention = linear * (rows * longest + queries + 2 * queries)
    scores_and_context = 2 * 3 * 2 * SIZE * sum(count * steps * width for count, steps, width in parts)
    output = 3 * 2 * SIZE * data.model_arguments()["target_symbols"] * rows * places
    is_dense = int(written.sum()) >= DENSE_SHARE * rows * places
    decoded = rows * places if is_dense else int(written.sum())
    lstms = 2 * lstm_flops(SIZE, half, int(read.sum())) + lstm_flops(SIZE, SIZE, decoded)
    assert counted["flops"] == lstms + attention + scores_and_context + output


def test_words_are_spread_over_the_lengths() -> None:
    sources = [torch.zeros(length) for length in (9, 1, 8, 2, 7, 3, 6, 4, 5)]
    assert [len(source) for source in spread(sources, 3)] == [8, 2, 5]
    assert spread(sources, 9) == sources
    assert [len(source) for source in spread(sources, 1)] == [5]


def test_workers_side_by_side_add_their_speeds() -> None:
    class Fake:
        def __init__(self, seconds: float) -> None:
            self.answer = {"seconds": seconds, "symbols": 100}

        def send(self, do: str, steps: int) -> None:
            assert (do, steps) == ("step", 4)

        def receive(self) -> dict[str, Any]:
            return self.answer

    assert speed([Fake(2.0)], 4, unit="symbols") == 50  # type: ignore[list-item]
    assert speed([Fake(2.0), Fake(4.0)], 4, unit="symbols") == 75  # type: ignore[list-item]
    assert speed([Fake(2.0), Fake(2.0)], 4) == 4  # type: ignore[list-item]


def test_sources_end_in_padding_only(data: TransductionDataModule) -> None:
    """The plain network takes its mask from the padding."""
    tensors = data.tensors("train")
    assert isinstance(tensors, PairTensors)
    batch: PairBatch = tensors[0, torch.arange(len(tensors))]
    assert ((batch.source != PAD).sum(dim=1) == batch.source_lengths).all()


def test_the_plain_worker_trains_takes_weights_and_decodes(tmp_path: Path) -> None:
    plan = plan_of([*overrides(QUICK, P2G), f"paths.runs={tmp_path}"])
    worker, facts = Plain(plan), facts_of(plan)
    trained = worker.step(2)
    assert trained["symbols"] == 2 * facts["symbols"]
    before = worker.decode("greedy", words=6)["written"]
    torch.save(worker.model.state_dict(), tmp_path / "weights.pt")
    worker.load(str(tmp_path / "weights.pt"))
    after = worker.decode("greedy", words=6)["written"]
    assert len(before) == len(after) == 6 and before != after
    sampled = worker.decode("nucleus", words=2)
    assert [len(samples) for samples in sampled["written"]] == [3] * 2
