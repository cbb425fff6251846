"""From a model's steps to whole hypotheses; and several models decoded as one."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dlbench.components import component
from dlbench.data.vocabulary import EOS, PAD, SOS
from dlbench.protocols import Decoder, Hypotheses, State, StepModel

Choose = Callable[[Tensor, Tensor, int], Tensor]
"""Tokens (R,) from logits (R, V), for the rows (R,) still going, at a step."""


def unroll(
    model: StepModel, state: State, count: int, *, max_length: int, choose: Choose, attend: bool = False
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Extend ``count`` sequences by the tokens that ``choose`` picks, each until EOS or ``max_length``.

    Sequences that have ended leave the batch, so that a step costs what is left to do.

    Returns:
        Tokens (count, L), log-probabilities (count,) and, if ``attend`` and the model attends, weights (count, L, S).
    """
    device = next(iter(state.values())).device
    tokens = torch.full((count, max_length), PAD, device=device)
    log_probs = torch.zeros(count, device=device)
    attention: Tensor | None = None
    rows = torch.arange(count, device=device)
    last = torch.full_like(rows, SOS)
    length = 0
    while len(rows) and length < max_length:
        logits, state = model.step(last, state)
        last = choose(logits, rows, length)
        tokens[rows, length] = last
        log_probs[rows] += logits.float().log_softmax(dim=-1).gather(1, last[:, None])[:, 0]
        if attend and "attention" in state:
            if attention is None:
                weights = state["attention"]
                attention = weights.new_zeros(count, max_length, weights.shape[1], dtype=torch.float32)
            attention[rows, length] = state["attention"].float()
        length += 1
        going = (last != EOS).nonzero()[:, 0]
        if len(going) < len(rows):
            rows, last = rows[going], last[going]
            state = {name: value[going] for name, value in state.items()}
    return tokens[:, :length], log_probs, None if attention is None else attention[:, :length]


@component("attended", "1.0")
@dataclass
class Attended:
    """Another decoding, whose first hypothesis is run through the model once more to keep its attention."""

    decoder: Decoder

    @torch.inference_mode()
    def __call__(self, model: StepModel, source: Tensor, lengths: Tensor, index: Tensor, seed: int) -> Hypotheses:
        """What the decoding gives, with attention if the model has any."""
        hypotheses = self.decoder(model, source, lengths, index, seed)
        first = hypotheses.tokens[:, 0]

        def choose(_logits: Tensor, rows: Tensor, step: int) -> Tensor:
            return first[rows, step]

        state = model.encode(source, lengths)
        *_, attention = unroll(model, state, len(first), max_length=first.shape[1], choose=choose, attend=True)
        return hypotheses._replace(attention=attention)


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
        log_probs, states = [], []
        for place, member in enumerate(self.members):
            prefix = f"{place}/"
            own = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
            logits, own = member.step(tokens, own)
            log_probs.append(logits.float().log_softmax(dim=-1))
            states.append(own)
        return torch.stack(log_probs).logsumexp(dim=0) - math.log(len(self.members)), _joined(states)


def _joined(states: Sequence[State]) -> State:
    return {f"{place}/{name}": value for place, state in enumerate(states) for name, value in state.items()}
