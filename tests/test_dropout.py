"""Dropout: how much it drops, what it leaves, and what its mask depends on."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dlbench.models.dropout import Dropout


def _dropped(p: float, inputs: Tensor, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    dropped: Tensor = Dropout(p)(inputs)
    return dropped


@given(p=st.floats(0, 1), seed=st.integers(0, 10**6))
def test_the_share_dropped_is_p_and_the_mean_stays(p: float, seed: int) -> None:
    count = 40_000
    outputs = _dropped(p, torch.ones(count), seed)
    six_deviations = 6 * ((p * (1 - p) + 2**-16) / count) ** 0.5 + 2**-16  # p is rounded to a multiple of 2**-16
    assert float((outputs == 0).double().mean()) == pytest.approx(p, abs=six_deviations)
    kept = outputs[outputs != 0]
    if len(kept) and p < 0.99:
        assert kept.unique().tolist() == pytest.approx([1 / (1 - p)], rel=2e-3)
        assert float(outputs.double().mean()) == pytest.approx(1, abs=six_deviations / (1 - p) + 1e-6)


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_elements_are_dropped_independently(p: float) -> None:
    """Of neighbours in the same 64 random bits, and of the same element in two draws."""
    gone, again = ((_dropped(p, torch.ones(400_000), seed) == 0).double() for seed in (1, 2))
    for distance in range(1, 9):
        assert float((gone[distance:] * gone[:-distance]).mean()) == pytest.approx(p * p, abs=0.003)
    assert float((gone * again).mean()) == pytest.approx(p * p, abs=0.003)


def test_the_mask_follows_the_global_seed_and_the_draw() -> None:
    inputs = torch.ones(1000)
    assert torch.equal(_dropped(0.5, inputs, 3), _dropped(0.5, inputs, 3))
    assert not torch.equal(_dropped(0.5, inputs, 3), _dropped(0.5, inputs, 4))
    torch.manual_seed(3)
    layer = Dropout(0.5)
    assert not torch.equal(layer(inputs), layer(inputs))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_inputs_keep_their_form(memory_format: torch.memory_format, dtype: torch.dtype) -> None:
    inputs = torch.randn(5, 3, 7, 7, dtype=dtype).to(memory_format=memory_format).requires_grad_()
    outputs = _dropped(0.25, inputs)
    assert outputs.shape == inputs.shape
    assert outputs.dtype == dtype
    assert outputs.is_contiguous(memory_format=memory_format)
    (gradient,) = torch.autograd.grad(outputs.sum(), inputs)
    torch.testing.assert_close(outputs, inputs * gradient)


@pytest.mark.parametrize("inputs", [torch.randn(4, 6).t(), torch.randn(4, 6)[:, ::2], torch.randn(4, 1).expand(4, 3)])
def test_inputs_may_lie_in_memory_in_any_way(inputs: Tensor) -> None:
    outputs = _dropped(0.5, inputs)
    assert bool(((outputs == 0) | torch.isclose(outputs, 2 * inputs)).all())


@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan")])
def test_what_is_no_probability_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match="must be from 0 to 1"):
        Dropout(p)


def test_nothing_is_dropped_in_evaluation_or_with_probability_0() -> None:
    inputs = torch.randn(100)
    assert torch.equal(Dropout(0.5).eval()(inputs), inputs)
    assert torch.equal(Dropout(0.0)(inputs), inputs)
    assert Dropout(0.5)(torch.empty(0, 3)).shape == (0, 3)
