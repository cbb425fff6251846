"""Several models decoded as one."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from dlbench.components import component
from dlbench.decoding.hypotheses import State, StepModel


@component("ensemble", "1.0")
class Ensemble:
    """A model whose next-symbol distribution is the arithmetic mean of its members', step by step.

    Its logits are log-probabilities. Member i's state stands under keys that begin with ``i/``.

    Args:
        members: Models of the same symbols.

    Raises:
        ValueError: There is no member, or they choose from different numbers of symbols.
    """

    def __init__(self, members: Sequence[StepModel]) -> None:
        sizes = sorted({member.outputs for member in members})
        if len(sizes) != 1:
            raise ValueError(f"an ensemble needs members with the same number of outputs, not {sizes or 'no members'}")
        self.members = list(members)
        self.outputs = sizes[0]

    def encode(self, source: Tensor, lengths: Tensor) -> State:
        """All members' states before the first step."""
        return _joined([member.encode(source, lengths) for member in self.members])

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """The log of the mean probabilities (B, V), and all members' new states."""
        logits, states = zip(
            *(member.step(tokens, _part(state, place)) for place, member in enumerate(self.members)), strict=True
        )
        log_probs = torch.stack([values.float().log_softmax(dim=-1) for values in logits])
        return log_probs.logsumexp(dim=0) - math.log(len(self.members)), _joined(states)


def _joined(states: Sequence[State]) -> State:
    return {f"{place}/{name}": value for place, state in enumerate(states) for name, value in state.items()}


def _part(state: State, place: int) -> State:
    prefix = f"{place}/"
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
