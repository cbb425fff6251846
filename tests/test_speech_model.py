"""The recognisers: published sizes, steps that equal teacher forcing, causality, padding that changes nothing."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from dlbench.decoding.beam import Beam
from dlbench.decoding.sampling import Greedy
from dlbench.models.asr import SpeechRecognizer
from dlbench.models.cost import count_parameters

MELS, SYMBOLS = 6, 11
DECODERS = ("lstm", "attention")
all_decoders = pytest.mark.parametrize("decoder", DECODERS)
CLOSE = {"atol": 1e-5, "rtol": 1e-4}


def model_of(decoder: Any, **settings: Any) -> SpeechRecognizer:
    torch.manual_seed(3)
    shape = {"mels": MELS, "symbols": SYMBOLS, "size": 16, "feedforward": 24, "positions": 12}
    return SpeechRecognizer(decoder=decoder, **{**shape, **settings}).eval()


def random_batch(lengths: list[int], target_length: int = 7) -> tuple[Tensor, Tensor, Tensor]:
    stream = torch.Generator().manual_seed(sum(lengths))
    source = torch.randn(len(lengths), max(lengths), MELS, generator=stream)
    source[torch.arange(max(lengths)) >= torch.tensor(lengths)[:, None]] = 0
    return source, torch.tensor(lengths), torch.randint(3, SYMBOLS, (len(lengths), target_length), generator=stream)


@pytest.mark.parametrize(("decoder", "parameters"), [("lstm", 1_471_235), ("attention", 1_329_835)])
def test_published_parameter_counts(decoder: Any, parameters: int) -> None:
    assert count_parameters(SpeechRecognizer(mels=80, symbols=35, decoder=decoder)) == parameters


@all_decoders
@pytest.mark.parametrize("mask_padding", [False, True])
def test_step_by_step_equals_all_at_once(decoder: str, mask_padding: bool) -> None:
    model, (source, lengths, target) = model_of(decoder, mask_padding=mask_padding), random_batch([9, 4, 7, 1])
    state, steps = model.encode(source, lengths), []
    for tokens in target.unbind(dim=1):
        logits, state = model.step(tokens, state)
        steps.append(logits)
        torch.testing.assert_close(state["attention"].sum(dim=1), torch.ones(4))
    torch.testing.assert_close(torch.stack(steps, dim=1), model(source, lengths, target), **CLOSE)


@all_decoders
@given(place=st.integers(0, 6), symbol=st.integers(0, SYMBOLS - 1))
def test_a_later_symbol_changes_no_earlier_output(decoder: str, place: int, symbol: int) -> None:
    model, (source, lengths, target) = model_of(decoder), random_batch([9, 4])
    other = target.clone()
    other[:, place] = symbol
    before, after = model(source, lengths, target), model(source, lengths, other)
    torch.testing.assert_close(after[:, :place], before[:, :place], **CLOSE)
    is_same = bool((other == target).all())
    assert is_same or not torch.allclose(after[:, place:], before[:, place:], atol=1e-4)


@all_decoders
@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=5), more=st.integers(0, 5))
def test_masked_padding_and_company_change_nothing(decoder: str, lengths: list[int], more: int) -> None:
    model, (source, counts, target) = model_of(decoder, mask_padding=True), random_batch(lengths)
    together = model(nn.functional.pad(source, (0, 0, 0, more)), counts, target)
    for row, length in enumerate(lengths):
        alone = model(source[row : row + 1, :length], counts[row : row + 1], target[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone, **CLOSE)


@all_decoders
def test_unmasked_padding_is_heard(decoder: str) -> None:
    model, (source, counts, target) = model_of(decoder), random_batch([9, 4])
    assert not torch.allclose(
        model(nn.functional.pad(source, (0, 0, 0, 4)), counts, target), model(source, counts, target), atol=1e-4
    )


@all_decoders
def test_what_masked_padding_holds_changes_nothing(decoder: str) -> None:
    model, (source, counts, target) = model_of(decoder, mask_padding=True), random_batch([9, 4])
    noisy = source.clone()
    noisy[1, 5:] = 3.0  # frame 4 is within reach of the last frame's convolution
    noisy[1, 4] = 0
    torch.testing.assert_close(model(noisy, counts, target)[1], model(source, counts, target)[1], **CLOSE)


@all_decoders
def test_a_beam_of_one_is_greedy_and_a_wider_one_is_no_less_likely(decoder: str) -> None:
    model, (source, lengths, _) = model_of(decoder, mask_padding=True), random_batch([9, 4, 7])
    index = torch.arange(3)
    greedy, one, five = (
        decode(model, source, lengths, index, 0)
        for decode in (Greedy(8), Beam(1, max_length=8), Beam(40, max_length=8))
    )
    width = greedy.tokens.shape[2]
    assert torch.equal(greedy.tokens, one.tokens[:, :, :width])
    torch.testing.assert_close(greedy.log_probs, one.log_probs)
    assert (five.log_probs[:, 0] >= greedy.log_probs[:, 0] - 1e-5).all()
    assert greedy.attention is not None
    assert greedy.attention.shape == (3, width, 5)


def test_more_symbols_than_positions_are_named() -> None:
    model, (source, lengths, target) = model_of("attention"), random_batch([5], target_length=13)
    with pytest.raises(ValueError, match=r"13 symbols; model\.positions=12"):
        model(source, lengths, target)
    assert model.most_symbols == 12
    assert model_of("lstm").most_symbols is None


@pytest.mark.parametrize("size", [9, 15])
def test_a_width_that_does_not_fit_the_heads_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"size={size} must be even"):
        model_of("lstm", size=size)


@all_decoders
def test_no_key_projection_has_a_bias(decoder: str) -> None:
    names = [name for name, _ in model_of(decoder).named_parameters() if name.endswith("key.bias")]
    assert names == []
    assert [name for name, _ in model_of(decoder).named_parameters() if name.endswith("key.weight")]
