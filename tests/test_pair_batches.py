"""Vocabularies, and batches of sequence pairs: padding, order by length, noise, subsets."""

import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dlbench.data.pairs import BatchOrder, Pair, PairBatch, PairTensors, loader, pad, subset
from dlbench.data.vocabulary import EOS, PAD, SOS, SPECIALS, UNK, Vocabulary
from dlbench.seeding import generator

SYMBOLS = st.sampled_from("abcdefgh")
PAIRS = st.lists(
    st.builds(Pair, *(st.lists(SYMBOLS, min_size=1, max_size=9).map(tuple) for _ in range(2))), min_size=1, max_size=60
)
LETTERS = Vocabulary.from_sequences(["abcdefgh"])
SEEDS = st.integers(0, 2**32)
EPOCHS = st.integers(0, 1000)
SMALL = st.integers(1, 10)


def tensors(pairs: list[Pair], **arguments: object) -> PairTensors:
    return PairTensors(pairs, LETTERS, LETTERS, **arguments)  # type: ignore[arg-type]


def many(n: int = 500) -> list[Pair]:
    lengths = torch.randint(1, 20, (n, 2), generator=torch.Generator().manual_seed(0)).tolist()
    return [Pair(tuple("abcdefgh"[k % 8] for k in range(s)), tuple("a" * t)) for s, t in lengths]


def batches_of(order: BatchOrder, epoch: int) -> list[list[int]]:
    order.set_epoch(epoch)
    return [positions.tolist() for _, positions in order]


# --- vocabularies ----------------------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.text(min_size=1).filter(lambda symbol: symbol not in SPECIALS))))
def test_known_symbols_are_encoded_and_decoded(sequences: list[list[str]]) -> None:
    vocabulary = Vocabulary.from_sequences(sequences)
    assert vocabulary.symbols[:4] == ("<pad>", "<sos>", "<eos>", "<unk>")
    assert list(vocabulary.symbols[4:]) == sorted({symbol for sequence in sequences for symbol in sequence})
    for sequence in sequences:
        numbers = vocabulary.encode(sequence)
        assert min(numbers, default=4) >= 4
        assert vocabulary.decode(numbers) == sequence
        assert vocabulary.decode([SOS, *numbers, EOS, 4, PAD]) == sequence
        assert vocabulary.decode([*numbers, PAD, PAD]) == sequence
    assert not vocabulary.unknown(sequences)
    assert Vocabulary(tuple(vocabulary.symbols)) == vocabulary


def test_unknown_symbols_are_counted_and_encoded_as_such() -> None:
    vocabulary = Vocabulary.from_sequences(["abc"])
    assert vocabulary.encode("axb") == [4, UNK, 5]
    assert vocabulary.decode([4, UNK, 5]) == ["a", "<unk>", "b"]
    assert vocabulary.unknown(["axb", "xy", "c"]) == Counter(x=2, y=1)


def test_text_that_looks_like_a_special_symbol_is_unknown() -> None:
    vocabulary = Vocabulary.from_sequences([["a", "<eos>"]])
    assert vocabulary.symbols == (*SPECIALS, "a")
    assert vocabulary.encode(["<eos>", "a"]) == [UNK, 4]
    assert vocabulary.unknown([["<eos>"]]) == Counter({"<eos>": 1})


@pytest.mark.parametrize("symbols", [("a",), (*SPECIALS, "b", "a"), (*SPECIALS, "a", "a"), (*SPECIALS, "<pad>", "a")])
def test_a_vocabulary_in_another_order_is_refused(symbols: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="<pad> <sos> <eos> <unk>"):
        Vocabulary(symbols)


def test_a_vocabulary_comes_back_from_a_record() -> None:
    assert Vocabulary(list(LETTERS.symbols)) == LETTERS  # type: ignore[arg-type]


# --- what a batch holds ----------------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.integers(1, 99), min_size=1), min_size=1))
def test_padding_agrees_with_torch(sequences: list[list[int]]) -> None:
    padded, lengths = pad(sequences)
    expected = torch.nn.utils.rnn.pad_sequence([torch.tensor(sequence) for sequence in sequences], batch_first=True)
    assert padded.dtype == lengths.dtype == torch.int64
    assert padded.tolist() == expected.tolist()
    assert lengths.tolist() == [len(sequence) for sequence in sequences]


def check_batch(batch: PairBatch, pairs: list[Pair], *, reverse: bool = False) -> None:
    for number, position in enumerate(batch.index.tolist()):
        pair, length = pairs[position], int(batch.source_lengths[number])
        source = LETTERS.decode(batch.source[number, :length].tolist())
        assert tuple(source[::-1] if reverse else source) == pair.source
        assert not batch.source[number, length:].any()
        target = batch.target[number].tolist()
        assert target[0] == SOS
        assert target[len(pair.target) + 1] == EOS
        assert set(target[len(pair.target) + 2 :]) <= {PAD}
        assert tuple(LETTERS.decode(target)) == pair.target
    assert batch.source.shape[1] == max(len(pairs[position].source) for position in batch.index.tolist())
    assert batch.target.shape[1] == max(len(pairs[position].target) for position in batch.index.tolist()) + 2


@given(pairs=PAIRS, batch_size=SMALL, bucket=SMALL, seed=SEEDS, reverse=st.booleans())
def test_an_epoch_holds_every_pair_once_cut_to_the_longest(
    pairs: list[Pair], batch_size: int, bucket: int, seed: int, reverse: bool
) -> None:
    data = tensors(pairs, reverse_source=reverse)
    for batches in (loader(data, batch_size, bucket, seed), loader(data, batch_size)):
        read = list(batches)
        assert len(read) == len(batches) == math.ceil(len(pairs) / batch_size)
        assert sorted(torch.cat([batch.index for batch in read]).tolist()) == list(range(len(pairs)))
        for batch in read:
            check_batch(batch, pairs, reverse=reverse)


def test_a_loader_leaves_the_global_stream_alone() -> None:
    stream = torch.get_rng_state()
    assert len(list(loader(tensors(many(50), noise=0.5), 8, 2, seed=1))) == 7
    assert torch.equal(torch.get_rng_state(), stream)


# --- order -----------------------------------------------------------------------------------------------------------


def test_only_the_last_batch_is_smaller_and_its_pairs_are_a_random_draw() -> None:
    data = tensors(many(500))
    order = BatchOrder(data, 64, 3, seed=0)
    rest = []
    for epoch in range(40):
        batches = batches_of(order, epoch)
        assert [len(batch) for batch in batches] == [64] * 7 + [52]
        rest += batches[-1]
    everywhere, last = data.source_lengths.double(), data.source_lengths[rest].double()
    assert abs(last.mean() - everywhere.mean()) < 4 * everywhere.std() / math.sqrt(len(rest))


def test_a_pool_of_one_batch_gives_the_plain_random_batches() -> None:
    data = tensors(many(500))
    plain = batches_of(BatchOrder(data, 64, 1, seed=0), 3)
    shuffled = torch.randperm(500, generator=generator(0, "order", 3)).split(64)
    assert {frozenset(batch) for batch in plain} == {frozenset(part.tolist()) for part in shuffled}
    assert plain[-1] == shuffled[-1].tolist()


def test_pairs_of_a_pool_are_dealt_by_length() -> None:
    data = tensors(many(512))
    pool = {frozenset(batch) for batch in batches_of(BatchOrder(data, 64, 4, seed=0), 3)}
    shuffled = torch.randperm(512, generator=generator(0, "order", 3))
    for half in shuffled.split(256):
        key = [
            (int(data.source_lengths[i]), int(data.target_lengths[i]), place, i)
            for place, i in enumerate(half.tolist())
        ]
        in_order = [i for *_, i in sorted(key)]
        assert all(frozenset(in_order[start : start + 64]) in pool for start in range(0, 256, 64))


def padding(data: PairTensors, bucket: int) -> float:
    batches = list(loader(data, 16, bucket, seed=0))
    cells = sum(batch.source.numel() + batch.target.numel() for batch in batches)
    return cells / int((data.source_lengths + data.target_lengths).sum())


def test_the_larger_the_pool_the_less_padding() -> None:
    data = tensors(many(2000))
    random, small, large = (padding(data, bucket) for bucket in (1, 5, 100))
    assert random > small > large
    assert large < 1.25
    assert random > 1.5


def test_without_a_seed_pairs_come_by_length_in_every_epoch() -> None:
    pairs = many(100)
    order = BatchOrder(tensors(pairs), 16)
    positions = [position for batch in batches_of(order, 0) for position in batch]
    keys = [(len(pairs[position].source), len(pairs[position].target), position) for position in positions]
    assert keys == sorted(keys)
    assert batches_of(order, 7) == batches_of(order, 0)


# --- noise -----------------------------------------------------------------------------------------------------------


@given(pairs=PAIRS, batch_sizes=st.tuples(SMALL, SMALL), seed=SEEDS, epoch=EPOCHS, noise=st.floats(0, 1))
def test_noise_does_not_depend_on_the_batch(
    pairs: list[Pair], batch_sizes: tuple[int, int], seed: int, epoch: int, noise: float
) -> None:
    found: list[dict[int, list[int]]] = []
    for batch_size in batch_sizes:
        batches = loader(tensors(pairs, noise=noise, seed=seed), batch_size, 2, seed)
        assert isinstance(batches.sampler, BatchOrder)
        batches.sampler.set_epoch(epoch)
        found.append({})
        for batch in batches:
            for number, position in enumerate(batch.index.tolist()):
                length = int(batch.source_lengths[number])
                found[-1][position] = batch.source[number, :length].tolist()
                assert not batch.source[number, length:].any()
    assert found[0] == found[1]
    for position, numbers in found[0].items():
        assert len(numbers) == len(pairs[position].source)
        assert all(4 <= number < len(LETTERS) for number in numbers)


def test_noise_strikes_as_often_as_asked_and_differently_in_every_epoch() -> None:
    data = tensors(many(2000), noise=0.2, seed=3)
    is_symbol = data.source != PAD
    n = int(is_symbol.sum())
    epochs = [data.source_of(epoch) for epoch in range(3)]
    for noisy in epochs:
        changed = int((noisy != data.source).sum()) / n
        assert changed == pytest.approx(0.2 * 7 / 8, abs=4 * math.sqrt(0.2 / n))  # one draw in eight gives the same
        assert torch.equal(noisy == PAD, ~is_symbol)
    assert not torch.equal(epochs[0], epochs[1])
    assert torch.equal(data.source_of(0), epochs[0])
    assert not torch.equal(tensors(many(2000), noise=0.2, seed=4).source_of(0), epochs[0])


def test_no_noise_leaves_symbols_alone_and_the_target_is_never_touched() -> None:
    data, noisy = tensors(many(50)), tensors(many(50), noise=1.0)
    assert torch.equal(data.source_of(3), data.source)
    assert torch.equal(data.target, noisy.target)


# --- subsets ---------------------------------------------------------------------------------------------------------


@given(pairs=PAIRS, seed=SEEDS, fractions=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)))
def test_a_smaller_fraction_is_part_of_a_larger_one(
    pairs: list[Pair], seed: int, fractions: tuple[float, float]
) -> None:
    numbered = [Pair(pair.source, (*pair.target, str(number))) for number, pair in enumerate(pairs)]
    small, large = (subset(numbered, fraction, seed) for fraction in sorted(fractions))
    assert set(small) <= set(large)
    for part, fraction in zip((small, large), sorted(fractions), strict=True):
        assert len(part) == max(1, round(len(pairs) * fraction))
        assert list(part) == [pair for pair in numbered if pair in set(part)]
    assert subset(numbered, 1.0, seed) == tuple(numbered)


def test_the_subset_depends_on_the_seed() -> None:
    assert len({subset(many(100), 0.5, seed) for seed in range(5)}) == 5
