"""The LSTM that skips padding gives what torch's own gives, gradients too."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from dlbench.models.recurrent import lstm

EXACT = {"atol": 1e-10, "rtol": 1e-10}


def _by_torch(module: nn.LSTM, inputs: Tensor, lengths: Tensor, start: Any) -> Any:
    packed = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
    outputs, states = module(packed, start)
    return pad_packed_sequence(outputs, batch_first=True, total_length=inputs.shape[1])[0], states


def _outcome(read: Any, module: nn.LSTM, inputs: Tensor, lengths: Tensor, start: Any) -> list[Tensor]:
    """Outputs, final states, and the gradients of all that they depend on."""
    outputs, (hidden, cell) = read(module, inputs, lengths, start)
    loss = outputs.sin().sum() + (1.3 * hidden).cos().sum() + cell.square().sum()
    leaves = [inputs, *(start or ()), *module.parameters()]
    return [outputs, hidden, cell, *torch.autograd.grad(loss, leaves)]


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
@given(lengths=st.lists(st.integers(1, 7), min_size=1, max_size=6), more=st.integers(0, 2), starts=st.booleans())
def test_it_is_the_lstm_of_torch(layers: int, bidirectional: bool, lengths: list[int], more: int, starts: bool) -> None:
    torch.manual_seed(len(lengths))
    module = nn.LSTM(4, 3, layers, batch_first=True, bidirectional=bidirectional).double()
    inputs = torch.randn(len(lengths), max(lengths) + more, 4, dtype=torch.double, requires_grad=True)
    shape = (layers * (1 + bidirectional), len(lengths), 3)
    start = tuple(torch.randn(shape, dtype=torch.double, requires_grad=True) for _ in range(2)) if starts else None
    ours, theirs = (_outcome(read, module, inputs, torch.tensor(lengths), start) for read in (lstm, _by_torch))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, **EXACT)


def test_dropout_stands_between_layers_and_only_in_training() -> None:
    torch.manual_seed(0)
    module = nn.LSTM(4, 64, 2, batch_first=True, dropout=0.5)
    inputs, lengths = torch.randn(3, 5, 4), torch.tensor([5, 2, 3])
    one, other = (lstm(module, inputs, lengths) for _ in range(2))
    torch.testing.assert_close(one[1][0][0], other[1][0][0])  # the first layer
    assert not torch.allclose(one[0], other[0])
    torch.testing.assert_close(lstm(module.eval(), inputs, lengths)[0], _by_torch(module, inputs, lengths, None)[0])


def test_under_bfloat16_it_computes_in_single_precision() -> None:
    module = nn.LSTM(4, 3, batch_first=True)
    inputs, lengths = torch.randn(2, 5, 4, requires_grad=True), torch.tensor([5, 2])
    with torch.autocast("cpu", torch.bfloat16):
        halved = _outcome(lstm, module, inputs, lengths, None)
    for one, other in zip(halved, _outcome(lstm, module, inputs, lengths, None), strict=True):
        assert one.dtype == torch.float32
        assert torch.equal(one, other)


@pytest.mark.parametrize("lengths", [[0, 2], [3, 9]])
def test_impossible_lengths_are_named(lengths: list[int]) -> None:
    with pytest.raises(ValueError, match=r"from 1 to 5, the places of a row, not \["):
        lstm(nn.LSTM(4, 3, batch_first=True), torch.randn(2, 5, 4), torch.tensor(lengths))
