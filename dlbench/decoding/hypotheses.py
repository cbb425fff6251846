"""What decoders ask of a model and what they deliver; several models decoded as one."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from dlbench.components import component
from dlbench.data.vocabulary import EOS, PAD, SOS

State = dict[str, Tensor]
"""A model's memory between steps; the first dimension of every tensor is the batch, so rows can be chosen by index."""


class StepModel(Protocol):
    """A model that predicts a target symbol by symbol. Decoders leave it in the mode (train, eval) they find it in."""

    @property
    def outputs(self) -> int:
        """Number V of symbols a step chooses from."""

    def encode(self, source: Tensor, lengths: Tensor) -> State:
        """The state before the first step, from sources (B, S), padded, and their lengths (B,)."""

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits (B, V) of the next symbols after ``tokens`` (B,), and the new state.

        The given state is not changed. A tensor handed on as the same object counts as untouched: beam search does not
        move it when it reorders the hypotheses of a source. Attention weights (B, S), if any, stand under
        ``attention``.
        """


class Hypotheses(NamedTuple):
    """Decoded sequences for B sources, N for each.

    Attributes:
        tokens: (B, N, L) int64, without SOS, with EOS where it was reached, PAD after it.
        log_probs: (B, N) float32, natural logarithm of each sequence's probability, EOS included, under the model.
        attention: (B, L, S) weights of the first hypothesis, 0 after its end; None where the decoder keeps none.
    """

    tokens: Tensor
    log_probs: Tensor
    attention: Tensor | None


class Decoder(Protocol):
    """A way to decode a batch."""

    def __call__(self, model: StepModel, source: Tensor, lengths: Tensor, index: Tensor, seed: int) -> Hypotheses:
        """Decode sources (B, S) of ``lengths`` (B,), examples ``index`` (B,) of their split, in a run of ``seed``."""


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
                attention = log_probs.new_zeros(count, max_length, state["attention"].shape[1])
            attention[rows, length] = state["attention"].float()
        length += 1
        going = (last != EOS).nonzero()[:, 0]
        if len(going) < len(rows):
            rows, last = rows[going], last[going]
            state = {name: value[going] for name, value in state.items()}
    return tokens[:, :length], log_probs, None if attention is None else attention[:, :length]


@component("attended", "1.0")
class Attended:
    """Another decoding, whose first hypothesis is run through the model once more to keep the attention it was given.

    Args:
        decoder: The decoding.
    """

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder

    @torch.inference_mode()
    def __call__(self, model: StepModel, source: Tensor, lengths: Tensor, index: Tensor, seed: int) -> Hypotheses:
        """What the decoding gives, with attention if the model has any."""
        hypotheses = self.decoder(model, source, lengths, index, seed)
        first = hypotheses.tokens[:, 0]
        state = model.encode(source, lengths)
        _, _, attention = unroll(
            model,
            state,
            len(first),
            max_length=first.shape[1],
            choose=lambda _logits, rows, step: first[rows, step],
            attend=True,
        )
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
