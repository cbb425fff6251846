"""Beam search against greedy decoding, exhaustive search and a plain beam search of one source at a time."""

from itertools import pairwise

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from step_models import Markov, Recurrent, sources, trimmed

from dlbench.data.vocabulary import EOS, PAD, SOS
from dlbench.decoding.beam import Beam
from dlbench.decoding.sampling import Greedy

SEEDS = st.integers(0, 10_000)
ALPHAS = st.sampled_from([0.0, 0.6, 1.0, 2.0])
Ranking = list[tuple[float, float, list[int]]]


def plain_beam(model: Recurrent, source: torch.Tensor, width: int, alpha: float, max_length: int) -> Ranking:
    """(score, log-probability, tokens), best first: a list of hypotheses, no early stop.

    Where float32 may not tell which hypotheses come first, nothing is returned.
    """
    alive = [(0.0, [SOS], model.encode(source[None], torch.tensor([len(source)])))]
    found: Ranking = []
    for length in range(1, max_length + 1):
        candidates = []
        for log_prob, tokens, state in alive:
            logits, following = model.step(torch.tensor(tokens[-1:]), state)
            for symbol, more in enumerate(logits[0].log_softmax(dim=-1).tolist()):
                candidates.append((log_prob + more, [*tokens, symbol], following))
        candidates.sort(key=lambda candidate: -candidate[0])
        places = width - len(found)
        if not clear([candidate[0] for candidate in candidates[: places + 1]][-2:]):
            return []
        best = candidates[:places]
        alive = [candidate for candidate in best if candidate[1][-1] != EOS and length < max_length]
        found += [(total / length**alpha, total, tokens[1:]) for total, tokens, _ in best if (tokens[-1] == EOS)]
        if length == max_length:
            found += [(total / length**alpha, total, tokens[1:]) for total, tokens, _ in best if tokens[-1] != EOS]
    found.sort(key=lambda entry: -entry[0])
    return found if clear([entry[0] for entry in found]) else []


def clear(falling: list[float]) -> bool:
    """Whether these scores can be told apart."""
    return all(high - low > 2e-5 for high, low in pairwise(falling))


@settings(max_examples=25)
@given(seed=SEEDS, alpha=ALPHAS, max_length=st.integers(1, 15))
def test_width_one_is_greedy(seed: int, alpha: float, max_length: int) -> None:
    batch = (Recurrent(seed), *sources(8, seed), torch.arange(8), 0)
    greedy = Greedy(max_length)(*batch)
    beam = Beam(1, length_normalisation=alpha, max_length=max_length)(*batch)
    assert torch.equal(beam.tokens, greedy.tokens)
    torch.testing.assert_close(beam.log_probs, greedy.log_probs)


@settings(max_examples=25)
@given(seed=SEEDS, alpha=ALPHAS, max_length=st.integers(1, 4), nbest=st.integers(1, 6))
def test_a_wide_beam_is_exhaustive_search(seed: int, alpha: float, max_length: int, nbest: int) -> None:
    model = Markov(seed)
    source, lengths = sources(6, seed)
    decoder = Beam(5**4, length_normalisation=alpha, nbest=nbest, max_length=max_length)
    found = decoder(model, source, lengths, torch.arange(6), 0)
    for place, first in enumerate(source[:, 0].tolist()):
        ranking = {tokens: (score, log_prob) for score, log_prob, tokens in model.ranking(first, max_length, alpha)}
        count = min(nbest, len(ranking))
        best = [tuple(trimmed(tokens)) for tokens in found.tokens[place, :count]]
        assert len(set(best)) == count
        # By score, since two hypotheses may differ by less than float32 can tell.
        assert [ranking[tokens][0] for tokens in best] == pytest.approx(
            [score for score, _ in list(ranking.values())[:count]], abs=1e-4
        )
        assert found.log_probs[place, :count].tolist() == pytest.approx(
            [ranking[tokens][1] for tokens in best], abs=1e-4
        )
        assert not found.tokens[place, count:].any()
        assert found.log_probs[place, count:].isneginf().all()


@settings(max_examples=25)
@given(seed=SEEDS, alpha=ALPHAS, width=st.integers(1, 7), max_length=st.integers(1, 12), data=st.data())
def test_batches_find_what_a_plain_beam_search_finds(
    seed: int, alpha: float, width: int, max_length: int, data: st.DataObject
) -> None:
    # That one never stops early: so stopping early loses nothing.
    nbest = data.draw(st.integers(1, width))
    model = Recurrent(seed)
    source, lengths = sources(8, seed)
    decoder = Beam(width, length_normalisation=alpha, nbest=nbest, max_length=max_length)
    found = decoder(model, source, lengths, torch.arange(8), 0)
    compared = 0
    with torch.inference_mode():
        for place in range(8):
            expected = plain_beam(model, source[place, : lengths[place]], width, alpha, max_length)[:nbest]
            if not expected:
                continue
            compared += 1
            assert [trimmed(tokens)[: found.tokens.shape[2]] for tokens in found.tokens[place]] == [
                tokens if EOS in tokens else tokens + [PAD] * (found.tokens.shape[2] - len(tokens))
                for _, _, tokens in expected
            ]
            log_probs = torch.tensor([log_prob for _, log_prob, _ in expected])
            torch.testing.assert_close(found.log_probs[place], log_probs, rtol=1e-4, atol=1e-4)
    assume(compared)


def test_it_stops_when_nothing_can_improve() -> None:
    class Counting(Markov):
        steps = 0

        def step(self, *arguments: object) -> tuple:
            self.steps += 1
            return super().step(*arguments)  # type: ignore[arg-type]

    model = Counting(0)
    model.logits[..., EOS] = 50.0
    found = Beam(4, max_length=50)(model, *sources(3), torch.arange(3), 0)
    assert found.tokens.tolist() == [[[EOS]]] * 3
    assert model.steps == 1


def test_where_fewer_hypotheses_exist_the_rest_is_empty() -> None:
    model = Markov(0)
    model.logits[:] = -torch.inf
    model.logits[..., EOS] = 0.0
    found = Beam(8, nbest=7, max_length=4)(model, *sources(3), torch.arange(3), 0)
    assert found.tokens.tolist() == [[[EOS]] + [[PAD]] * 6] * 3
    assert found.log_probs.tolist() == [[0.0] + [-torch.inf] * 6] * 3


def test_what_cannot_be_takes_no_place() -> None:
    model = Markov(0)
    model.logits[:, SOS, SOS] = torch.tensor([-torch.inf] * 4 + [0.0])
    found = Beam(5, nbest=5, max_length=2)(model, *sources(3), torch.arange(3), 0)
    assert found.log_probs.isfinite().all()
    assert [sorted(tokens.tolist()) for tokens in found.tokens] == [[[4, symbol] for symbol in range(5)]] * 3


def test_more_hypotheses_than_the_beam_holds_are_refused() -> None:
    with pytest.raises(ValueError, match="nbest=6 is more than a beam of width=5 holds"):
        Beam(width=5, nbest=6)
