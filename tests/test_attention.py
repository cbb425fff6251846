"""Each attention against the formula of its paper, written out as loops."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from dlbench.models import asr, transformer
from dlbench.models.attention import AdditiveAttention, Attention, BilinearAttention, DotAttention, sinusoids

BATCH, TARGET, SOURCE, SIZE = 3, 4, 5, 6
LENGTHS = (5, 2, 3)


def additive_score(attention: AdditiveAttention, query: Tensor, output: Tensor) -> Tensor:
    return attention.v.weight[0] @ torch.tanh(attention.query.weight @ query + attention.key.weight @ output)


def bilinear_score(attention: BilinearAttention, query: Tensor, output: Tensor) -> Tensor:
    return query @ attention.key.weight @ output


def dot_score(_attention: DotAttention, query: Tensor, output: Tensor) -> Tensor:
    return query @ output


def context_first(query: Tensor, context: Tensor) -> Tensor:
    return torch.cat([context, query])


def query_first(query: Tensor, context: Tensor) -> Tensor:
    return torch.cat([query, context])


@pytest.mark.parametrize(
    ("attention", "score", "join"),
    [
        (AdditiveAttention(SIZE), additive_score, context_first),
        (BilinearAttention(SIZE), bilinear_score, query_first),
        (DotAttention(SIZE), dot_score, query_first),
    ],
    ids=["additive", "bilinear", "dot"],
)
def test_an_attention_is_its_formula(
    attention: Attention, score: Callable[..., Tensor], join: Callable[[Tensor, Tensor], Tensor]
) -> None:
    stream = torch.Generator().manual_seed(1)
    query, memory = (torch.randn(BATCH, places, SIZE, generator=stream) for places in (TARGET, SOURCE))
    mask = torch.arange(SOURCE) < torch.tensor(LENGTHS)[:, None]
    outputs, weights = attention(query, memory, attention.keys(memory), mask)
    for row, length in enumerate(LENGTHS):
        for place in range(TARGET):
            scores = [score(attention, query[row, place], memory[row, at]).exp().item() for at in range(length)]
            expected = torch.tensor([value / sum(scores) for value in scores])
            torch.testing.assert_close(weights[row, place, :length], expected, atol=1e-5, rtol=1e-5)
            assert not weights[row, place, length:].any()
            context = sum(weight * memory[row, at] for at, weight in enumerate(expected))
            joined = torch.tanh(attention.output(join(query[row, place], torch.as_tensor(context))))
            torch.testing.assert_close(outputs[row, place], joined, atol=1e-5, rtol=1e-5)


def test_the_published_variants_are_options() -> None:
    torch.manual_seed(0)
    theirs = AdditiveAttention(128, layer_norm=True, v_std=0.01)
    assert isinstance(theirs.norm, nn.LayerNorm)
    assert theirs.v.weight.std().item() == pytest.approx(0.01, rel=0.2)
    biased = AdditiveAttention(128, bias=True, output_bias=True)
    count = {name: sum(weight.numel() for weight in module.parameters()) for name, module in biased.named_children()}
    assert count["query"] == count["key"] == 128 * 128 + 128
    assert count["output"] == 256 * 128 + 128


@pytest.mark.parametrize("longest", [asr.MAX_TIMESCALE, transformer.MAX_TIMESCALE])
def test_positions_are_sines_and_cosines(longest: int) -> None:
    angles = torch.arange(50)[:, None] * longest ** (-torch.arange(4) / 3)
    expected = torch.cat([angles.sin(), angles.cos()], dim=1)
    torch.testing.assert_close(sinusoids(50, 8, longest), expected, atol=1e-4, rtol=1e-4)
