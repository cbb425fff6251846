"""What decoders ask of a model, what they deliver, and the loop that greedy decoding and sampling share."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

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
