"""An LSTM over sequences of unequal length that computes no padding, for training on a CPU.

There `torch.nn.LSTM` reads a packed sequence in some thirty small operations a step, forward and backward. Here a step
is one matrix product and a few operations on its gates, and the gradients are written out, so that those of the weights
are one product over all steps. Parameters and equations are those of `torch.nn.LSTM`; dropout between layers draws its
mask as `Dropout` does, and arithmetic is in single precision where autocast would take 16 bits.
"""

from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from dlbench.models.dropout import Dropout

States = tuple[Tensor, Tensor]
"""Hidden and cell states."""


def lstm(module: nn.LSTM, inputs: Tensor, lengths: Tensor, start: States | None = None) -> tuple[Tensor, States]:
    """What a batch-first LSTM makes of sequences, as if each came alone.

    Args:
        module: It has biases and no projection.
        inputs: (B, T, I).
        lengths: (B,), how many places of each row are no padding, at least 1.
        start: The states before the first place, (layers * directions, B, H) each; None: zeros.

    Returns:
        Outputs (B, T, directions * H), 0 at padding, and the states after each row's last place.

    Raises:
        ValueError: A length is 0, or more than T.
    """
    if inputs.device.type != "cpu":
        packed = pack_padded_sequence(inputs, lengths.cpu(), batch_first=True, enforce_sorted=False)
        outputs, states = module(packed, start)
        return pad_packed_sequence(outputs, batch_first=True, total_length=inputs.shape[1])[0], states
    if not 1 <= int(lengths.min()) <= int(lengths.max()) <= inputs.shape[1]:
        raise ValueError(f"lengths must be from 1 to {inputs.shape[1]}, the places of a row, not {lengths.tolist()}")
    layout = Layout.of(lengths, inputs.shape[1])
    dropout = Dropout(module.dropout).train(module.training)
    directions = {"": layout.forward, **({"_reverse": layout.backward} if module.bidirectional else {})}
    if start is None:
        start = (inputs.new_zeros(module.num_layers * len(directions), len(inputs), module.hidden_size),) * 2
    before = zip(*(state[:, layout.order] for state in start), strict=True)
    outputs, ends = inputs, []
    for layer in range(module.num_layers):
        read = (dropout(outputs) if layer else outputs).flatten(0, 1)
        written = []
        for direction, places in directions.items():
            names = (f"{name}_l{layer}{direction}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
            input_weight, weight, *biases = (getattr(module, name) for name in names)
            states = _Lstm.apply(
                _Take.apply(read, places), *next(before), input_weight, weight, sum(biases), layout.rows
            )
            written.append(_Put.apply(states[0], places, len(read)))
            ends.append([_Take.apply(state, layout.last) for state in states])
        outputs = torch.cat(written, 1).view(*inputs.shape[:2], -1)
    hidden, cell = (torch.stack(states) for states in zip(*ends, strict=True))
    return outputs, (hidden, cell)


class Layout(NamedTuple):
    """How the N places of a padded batch (B, T) that are no padding are packed: all first ones, all second ones, ...

    Within a step longer rows come first. ``order`` (B,) are the rows by falling length; ``rows`` how many of them there
    are at each step; ``forward`` and ``backward`` (N,) the places b * T + t in the order in which either direction
    reads them; ``last`` (B,) where in that order each row ends.
    """

    order: Tensor
    rows: list[int]
    forward: Tensor
    backward: Tensor
    last: Tensor

    @classmethod
    def of(cls, lengths: Tensor, width: int) -> "Layout":
        """That of rows of these lengths, in a batch of so many places."""
        order = lengths.argsort(descending=True, stable=True)
        falling = lengths[order]
        is_read = torch.arange(int(falling[0]))[:, None] < falling
        step, row = is_read.nonzero(as_tuple=True)
        rows = is_read.sum(1)
        last = (rows.cumsum(0) - rows)[lengths - 1] + order.argsort()
        forward = order[row] * width + step
        return cls(order, rows.tolist(), forward, forward + falling[row] - 1 - 2 * step, last)


class _Take(torch.autograd.Function):
    """Rows of (M, H) at places (N,), all different: as indexing, with a gradient that need not add up."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, places: Tensor) -> Tensor:
        ctx.places, ctx.count = places, len(inputs)
        return inputs.index_select(0, places)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _put(gradient, ctx.places, ctx.count), None


class _Put(torch.autograd.Function):
    """Rows (N, H) at places (N,) of (M, H), all different, and 0 elsewhere: the reverse of `_Take`."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, places: Tensor, count: int) -> Tensor:
        ctx.places = places
        return _put(inputs, places, count)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient.index_select(0, ctx.places), None, None


def _put(rows: Tensor, places: Tensor, count: int) -> Tensor:
    return rows.new_zeros(count, rows.shape[1]).index_copy_(0, places, rows)


class _Lstm(torch.autograd.Function):
    """One layer in one direction: hidden and cell states (N, H) after every packed place.

    It reads inputs (N, I), states (B, H) by falling length, weights (4H, I) and (4H, H), a bias (4H,), and how many
    rows each step has. Gates stand as torch has them: input, forget, new content (tanh), output.
    """

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)  # type: ignore[untyped-decorator]
    def forward(  # noqa: PLR0917  # autograd passes them by place
        ctx: Any,
        inputs: Tensor,
        hidden: Tensor,
        cell: Tensor,
        input_weight: Tensor,
        weight: Tensor,
        bias: Tensor,
        rows: list[int],
    ) -> States:
        size = hidden.shape[1]
        gates = torch.addmm(bias, inputs, input_weight.t())
        hiddens, cells, tanh_cells = inputs.new_empty(3, len(inputs), size).unbind()
        i, f, g, o = gates.chunk(4, 1)
        h, c = hidden, cell
        parts = (gates, gates[:, : 2 * size], i, f, g, o, cells, tanh_cells, hiddens)
        steps = zip(rows, *(torch.split(part, rows) for part in parts), strict=True)
        for count, all_gates, i_and_f, i, f, g, o, c_now, s_now, h_now in steps:
            torch.addmm(all_gates, h[:count], weight.t(), out=all_gates)
            i_and_f.sigmoid_()
            g.tanh_()
            o.sigmoid_()
            c = torch.mul(f, c[:count], out=c_now).addcmul_(i, g)
            h = torch.mul(o, torch.tanh(c, out=s_now), out=h_now)
        ctx.rows = rows
        ctx.save_for_backward(inputs, hidden, cell, input_weight, weight, gates, hiddens, cells, tanh_cells)
        return hiddens, cells

    @staticmethod
    @once_differentiable
    @torch.amp.custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad_hiddens: Tensor, grad_cells: Tensor) -> Any:  # type: ignore[override]
        inputs, hidden, cell, input_weight, weight, gates, hiddens, cells, tanh_cells = ctx.saved_tensors
        rows, size = ctx.rows, hidden.shape[1]
        # The states before each place: those of its row one step earlier.
        earlier = [
            slice(start, start + count) for start, count in zip(accumulate(rows, initial=0), rows[1:], strict=False)
        ]
        hiddens_before = torch.cat([hidden[: rows[0]], *(hiddens[step] for step in earlier)])
        cells_before = torch.cat([cell[: rows[0]], *(cells[step] for step in earlier)])
        # Derivatives by what goes into a gate: of the cell state for the first three, of the hidden state for the last.
        i, f, g, o = gates.chunk(4, 1)
        slopes = torch.addcmul(gates, gates, gates, value=-1).view(-1, 4, size)
        slopes[:, 0] *= g
        slopes[:, 1] *= cells_before
        torch.addcmul(i, i * g, g, value=-1, out=slopes[:, 2])
        slopes[:, 3] *= tanh_cells
        # Of the hidden state by the cell state.
        by_cell = torch.addcmul(o, o * tanh_cells, tanh_cells, value=-1)
        grad_gates = torch.empty_like(slopes)
        grad_sums = grad_gates.flatten(1)
        grad_hidden, grad_cell = torch.zeros_like(hidden), torch.zeros_like(cell)
        by_gate = slopes[:, :3], slopes[:, 3], grad_gates[:, :3], grad_gates[:, 3]
        parts = (grad_hiddens, grad_cells, by_cell, *by_gate, f, grad_sums)
        steps = zip(rows, *(torch.split(part, rows) for part in parts), strict=True)
        for count, dh, dc, by_c, slope, o_slope, grad_ifg, grad_o, f, all_grads in reversed(list(steps)):
            h = grad_hidden[:count].add_(dh)
            c = grad_cell[:count].add_(dc).addcmul_(h, by_c)
            torch.mul(slope, c[:, None], out=grad_ifg)
            torch.mul(o_slope, h, out=grad_o)
            c.mul_(f)
            torch.mm(all_grads, weight, out=h)
        grad_weights = grad_sums.t() @ inputs, grad_sums.t() @ hiddens_before
        return grad_sums @ input_weight, grad_hidden, grad_cell, *grad_weights, grad_sums.sum(0), None
