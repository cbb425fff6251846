"""What a step must compute, and how fast this core computes at best."""

import contextlib
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode


def step_flops(loss: Callable[[], Tensor]) -> int:
    """Floating-point operations of a loss and its gradients, by torch's own counter.

    A multiplication and an addition count as two; only matrix products and convolutions are counted.
    """
    with FlopCounterMode(display=False) as counter:
        loss().backward()  # type: ignore[no-untyped-call]
    return int(counter.get_total_flops())


@contextlib.contextmanager
def countable_lstm() -> Iterator[None]:
    """Have LSTMs computed by matrix products that torch's counter knows; oneDNN's one operation for all it does not."""
    was_enabled = torch.backends.mkldnn.enabled
    torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = was_enabled


def matmul_rate(sizes: list[int], dtype: torch.dtype) -> float:
    """Operations a second of square matrix products on torch's current threads: the best of the sizes."""
    return max(_one_size(size, dtype) for size in sizes)


def _one_size(size: int, dtype: torch.dtype) -> float:
    left, right = (torch.randn(size, size).to(dtype) for _ in range(2))
    product = torch.mm(left, right)  # the first one sets up buffers
    began = time.perf_counter()
    torch.mm(left, right, out=product)
    return 2 * size**3 / (time.perf_counter() - began)
