"""Iterating a map of states, many at once, until each stands still."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Retrieval(NamedTuple):
    """Where each of Q states of width D ended."""

    states: Tensor
    """(Q, D)."""
    steps: Tensor
    """How often each was mapped, (Q,) int64; the last step, which shows that it stands still, counts."""
    converged: Tensor
    """(Q,), false where the steps ran out first."""


def iterate(step: Callable[[Tensor], Tensor], states: Tensor, tolerance: float, max_steps: int) -> Retrieval:
    """Map each state until a step is no longer than the tolerance (Euclidean); one that stands still is left out.

    Args:
        step: Maps states (any number, D), each for itself.
        states: The starts, (Q, D); they are not changed.
        tolerance: The longest step of a state that stands still; 0: it must not change at all.
        max_steps: How often a state is mapped at most.
    """
    states = states.clone()
    steps = torch.zeros(len(states), dtype=torch.int64, device=states.device)
    moving = torch.arange(len(states), device=states.device)
    for _ in range(max_steps):
        if not len(moving):
            break
        before = states[moving]
        after = step(before)
        states[moving] = after
        steps[moving] += 1
        # Written so that what is not a number never counts as standing still.
        moving = moving[~((after - before).norm(dim=-1) <= tolerance)]
    converged = torch.ones_like(steps, dtype=torch.bool)
    converged[moving] = False
    return Retrieval(states, steps, converged)
