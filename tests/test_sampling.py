"""Nucleus and top-k sampling: what is kept, how it is drawn, and what a sample depends on."""

from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import chisquare
from step_models import Markov, Recurrent, sources, trimmed

from dlbench.data.vocabulary import SOS
from dlbench.decoding.sampling import Greedy, Nucleus, TopK, invert, uniforms
from dlbench.protocols import Decoder, Hypotheses
from dlbench.seeding import generator

SAMPLERS: dict[str, Any] = {"nucleus": Nucleus, "top_k": TopK}
every_sampler = pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS.keys())
# Multiples of 1/256 that sum to 1: sums of them are exact in floating point, and ties are common.
DISTRIBUTIONS = st.lists(st.integers(0, 256), min_size=1, max_size=8).map(
    lambda cuts: [Fraction(high - low, 256) for low, high in zip([0, *sorted(cuts)], [*sorted(cuts), 256], strict=True)]
)


def decode(decoder: Decoder) -> Hypotheses:
    return decoder(Recurrent(1), *sources(20), torch.arange(20), 42)


# --- what is kept ----------------------------------------------------------------------------------------------------


@given(distribution=DISTRIBUTIONS, p=st.integers(1, 255).map(lambda part: Fraction(part, 256)))
def test_nucleus_keeps_the_smallest_set_that_reaches_p(distribution: list[Fraction], p: Fraction) -> None:
    mass, symbols = Nucleus(p=float(p)).truncate(torch.tensor([list(map(float, distribution))]))
    kept = symbols[0, mass[0] > 0].tolist()
    size = next(n for n in range(1, 10) if sum(sorted(distribution, reverse=True)[:n]) >= p)
    assert len(kept) == len(set(kept)) == size
    assert sum(distribution[symbol] for symbol in kept) >= p
    assert [Fraction(value) for value in mass[0, :size].tolist()] == [distribution[symbol] for symbol in kept]


@given(logits=st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=50))
def test_p_of_one_keeps_all(logits: list[float]) -> None:
    probabilities = torch.tensor([logits]).softmax(dim=-1)
    mass, symbols = Nucleus(p=1.0).truncate(probabilities)
    assert torch.equal(mass.float(), probabilities.gather(1, symbols))


@given(distribution=DISTRIBUTIONS, k=st.integers(1, 12))
def test_top_k_keeps_the_k_likeliest(distribution: list[Fraction], k: int) -> None:
    mass, symbols = TopK(k=k).truncate(torch.tensor([list(map(float, distribution))]))
    expected = sorted(distribution, reverse=True)[:k]
    assert [Fraction(value) for value in mass[0].tolist()] == expected
    assert [distribution[symbol] for symbol in symbols[0].tolist()] == expected


@pytest.mark.parametrize("decoder", [Nucleus(p=0.5, max_length=8), TopK(k=2, max_length=8)], ids=["nucleus", "top_k"])
def test_every_sampled_symbol_was_kept(decoder: Any) -> None:
    model = Markov(3)
    source, lengths = sources(30)
    found = decoder(model, source, lengths, torch.arange(30), 7)
    for place, samples in enumerate(found.tokens):
        for tokens in map(trimmed, samples):
            before = (SOS, SOS)
            for token in tokens:
                probabilities = model.logits[source[place, 0], *before].softmax(dim=-1)
                mass, symbols = decoder.truncate(probabilities[None])
                assert token in symbols[mass > 0].tolist()
                before = (before[1], token)


# --- how it is drawn -------------------------------------------------------------------------------------------------


@given(distribution=DISTRIBUTIONS, part=st.integers(0, 255), p=st.integers(1, 256))
@example(distribution=[Fraction(1, 2), Fraction(1, 4), Fraction(1, 4)], part=128, p=256)
def test_inverse_of_the_cumulative_distribution(distribution: list[Fraction], part: int, p: int) -> None:
    mass, symbols = Nucleus(p=p / 256).truncate(torch.tensor([list(map(float, distribution))]))
    uniform = Fraction(part, 256)
    drawn = invert(mass, symbols, torch.tensor([float(uniform)], dtype=torch.float64))
    kept = [Fraction(value) for value in mass[0].tolist()]
    place = next(n for n in range(len(kept)) if sum(kept[: n + 1]) > uniform * sum(kept))
    assert drawn.tolist() == [symbols[0, place].item()]


@pytest.mark.parametrize("largest", [1 - 2**-53, 1 - 2**-24])
def test_the_largest_number_draws_a_kept_symbol(largest: float) -> None:
    probabilities = torch.randn(500, 93, generator=torch.Generator().manual_seed(0)).softmax(dim=-1)
    for p in (0.1, 0.8, 1.0):
        mass, symbols = Nucleus(p=p).truncate(probabilities)
        drawn = invert(mass, symbols, torch.full((500,), largest, dtype=torch.float64))
        assert (mass[symbols == drawn[:, None]] > 0).all()


@pytest.mark.parametrize(
    ("decoder", "temperature", "kept"),
    [
        pytest.param(Nucleus(p=1.0, samples=4000, max_length=1), 1.0, 5, id="plain"),
        pytest.param(Nucleus(p=1.0, temperature=2.0, samples=4000, max_length=1), 2.0, 5, id="temperature"),
        pytest.param(TopK(k=5, samples=4000, max_length=1), 1.0, 5, id="top_k-all"),
        pytest.param(TopK(k=2, temperature=3.0, samples=4000, max_length=1), 3.0, 2, id="top_k-2"),
    ],
)
def test_symbols_come_as_often_as_they_should(decoder: Decoder, temperature: float, kept: int) -> None:
    model = Markov(2)
    source, lengths = sources(1)
    drawn = decoder(model, source, lengths, torch.tensor([17]), 5).tokens.flatten()
    probabilities = (model.logits[source[0, 0], SOS, SOS].double() / temperature).softmax(dim=-1)
    order = probabilities.argsort(descending=True)[:kept]
    counts = torch.bincount(drawn, minlength=5)
    assert counts[order].sum() == 4000
    expected = 4000 * probabilities[order] / probabilities[order].sum()
    assert chisquare(counts[order].numpy(), expected.numpy()).pvalue > 0.001


@every_sampler
def test_samples_are_the_greedy_one_where_nothing_else_can_be(sampler: Any) -> None:
    greedy = decode(Greedy(10))
    narrow = {"p": 1e-9} if sampler is Nucleus else {"k": 1}
    for options in (narrow, {"temperature": 1e-4}):
        found = decode(sampler(**options, samples=2, max_length=10))
        assert torch.equal(found.tokens, greedy.tokens.expand(-1, 2, -1))
        torch.testing.assert_close(found.log_probs, greedy.log_probs.expand(-1, 2), rtol=1e-4, atol=1e-4)


# --- what a sample depends on ----------------------------------------------------------------------------------------


@every_sampler
def test_further_samples_and_steps_leave_the_first_as_they_are(sampler: Any) -> None:
    few = decode(sampler(samples=2, max_length=6)).tokens
    many = decode(sampler(samples=5, max_length=15)).tokens
    assert torch.equal(few, many[:, :2, : few.shape[2]])
    assert not torch.equal(many[:, 0], many[:, 1])


@every_sampler
def test_seed_and_example_count_and_nothing_else(sampler: Any) -> None:
    model, decoder = Recurrent(1), sampler(temperature=2.0, samples=2, max_length=10)
    # The same source again and again: only the example tells them apart.
    source, lengths = (values.repeat_interleave(20, dim=0) for values in sources(1))
    examples = torch.arange(20)
    state = torch.get_rng_state()
    first = decoder(model, source, lengths, examples, 1).tokens
    assert torch.equal(state, torch.get_rng_state())
    assert len({tuple(trimmed(tokens)) for tokens in first[:, 0]}) > 10
    torch.rand(3)
    assert torch.equal(decoder(model, source, lengths, examples, 1).tokens, first)
    assert not torch.equal(decoder(model, source, lengths, examples, 2).tokens, first)


def test_numbers_are_one_stream_a_sample() -> None:
    numbers = uniforms(42, torch.tensor([7, 3]), 2, 50)
    assert numbers.shape == (2, 2, 50)
    assert numbers.dtype == torch.float64
    expected = torch.rand(50, dtype=torch.float64, generator=generator(42, "sampling", 3, 1))
    assert torch.equal(numbers[1, 1], expected)
    assert torch.equal(uniforms(42, torch.tensor([3]), 2, 20)[0, 1], expected[:20])
    assert len(numbers.unique()) == 200
