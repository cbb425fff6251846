"""What softmax attention and its linear approximation cost over the length L, counted and measured."""

import math
import time
import timeit
import weakref
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dlbench.seeding import generator
from dlbench.theory.linear_attention import CAUSAL_CHUNK, feature_dimension, linear_attention

Form = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Queries, keys and values (..., L, D) to (..., L, D)."""


def softmax_operations(length: int, dim: int) -> int:
    """Floating-point operations of both matrix products of softmax attention, 4 L^2 D."""
    return 4 * length**2 * dim


def linear_operations(length: int, dim: int, terms: int, *, causal: bool = False, chunk: int = CAUSAL_CHUNK) -> int:
    """Floating-point operations of the matrix products of linear attention, 4 L M (D+1).

    The causal form has the kernel within each chunk of C positions as well, 2 L C (2D+1) where C divides L. Both forms
    have about 4 L M more for the features.
    """
    features = 4 * length * feature_dimension(terms, dim) * (dim + 1)
    ends = [chunk] * (length // chunk) + [length % chunk]
    return features + (sum(2 * end**2 * (2 * dim + 1) for end in ends) if causal else 0)


def crossing_by_operations(dim: int, terms: int) -> float:
    """The length at which both have the same number of operations, M (D+1) / D: linear attention wins beyond it.

    That is more than M, for three terms more than D^2 / 2.
    """
    return feature_dimension(terms, dim) * (dim + 1) / dim


def softmax_attention(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Softmax attention as its formula has it, which holds all L^2 weights at once."""
    return (queries @ keys.mT / math.sqrt(queries.shape[-1])).softmax(dim=-1) @ values


def forms(terms: int, *, causal: bool = False) -> dict[str, Form]:
    """What is compared: softmax attention written out (not if causal) and fused, as torch has it, and linear attention.

    The fused one never holds all weights at once either (Dao et al. 2022): only its time grows as L^2.
    """
    return {
        **({} if causal else {"softmax": softmax_attention}),
        "fused softmax": lambda q, k, v: scaled_dot_product_attention(q, k, v, is_causal=causal),
        "linear": lambda q, k, v: linear_attention(q, k, v, terms, causal=causal),
    }


class Cost(NamedTuple):
    """What one call costs."""

    seconds: float
    """The shortest of several calls: what else the machine does only adds to it."""
    peak_bytes: int
    """Of all tensors that the call makes, its result included, at the worst moment."""


class _LiveTensors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the tensors made while it is on, until they are gone; the scratch within an operation not."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now: int = 0
        self.peak: int = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._known |= {id(one.untyped_storage()) for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)}
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and id(storage := tensor.untyped_storage()) not in self._known:
                self._known.add(id(storage))
                self.now += storage.nbytes()
                weakref.finalize(storage, self._gone, id(storage), storage.nbytes())
        self.peak = max(self.peak, self.now)
        return result

    def _gone(self, name: int, size: int) -> None:
        self._known.discard(name)
        self.now -= size


def peak_bytes(form: Form, *inputs: Tensor) -> int:
    """`Cost.peak_bytes` of one call, the same on every machine."""
    live = _LiveTensors()
    with torch.no_grad(), live:
        form(*inputs)
    return live.peak


def seconds(form: Form, *inputs: Tensor, repeats: int = 5, clock: Callable[[], float] = time.perf_counter) -> float:
    """`Cost.seconds` on the CPU by this clock, after one call that does not count.

    On a machine that is busy, `time.process_time` and one thread tell how long it takes on an idle core.
    """
    with torch.no_grad():
        _, *times = timeit.repeat(lambda: form(*inputs), timer=clock, number=1, repeat=repeats + 1)
    return min(times)


def measure(
    compared: Mapping[str, Form],
    lengths: Sequence[int],
    dim: int,
    *,
    repeats: int = 5,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[Cost]]:
    """The cost of each form at each length, float32, one head; for `clock` see `seconds`."""
    costs: dict[str, list[Cost]] = {name: [] for name in compared}
    for length in lengths:
        inputs = torch.randn(3, 1, 1, length, dim, generator=generator(0, "attention cost", length, dim))
        for name, form in compared.items():
            costs[name].append(Cost(seconds(form, *inputs, repeats=repeats, clock=clock), peak_bytes(form, *inputs)))
    return costs


def crossing(lengths: Sequence[float], first: Sequence[float], second: Sequence[float]) -> float | None:
    """The length from which on the second cost is below the first; None if it is not so at the longest, or at all.

    Between two lengths both costs are taken for powers of the length, as straight lines in their logarithms are.
    """
    gaps = [math.log(one / other) for one, other in zip(first, second, strict=True)]
    steps = list(zip(pairwise(map(math.log, lengths)), pairwise(gaps), strict=True))
    if not gaps or gaps[-1] <= 0:
        return None
    for (low, high), (before, after) in reversed(steps):
        if before <= 0:
            return math.exp(low + (high - low) * -before / (after - before))
    return float(lengths[0])
