"""Beam search over a batch of sources at once."""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
from annotated_types import Ge
from torch import Tensor

from dlbench.components import component
from dlbench.data.vocabulary import EOS, PAD, SOS
from dlbench.protocols import Hypotheses, StepModel

Count = Annotated[int, Ge(1)]


@component("beam", "1.0")
@dataclass
class Beam:
    """Beam search that keeps what has ended: each such hypothesis takes a place of the beam for good.

    So the beam narrows as hypotheses end (Sutskever et al., 2014), and one of width 1 is greedy decoding. Hypotheses
    are ranked by log-probability / length ** ``length_normalisation``, the length counting EOS; those cut off at
    ``max_length`` take part as they are.

    Args:
        width: Hypotheses kept for each source.
        length_normalisation: 0 ranks by probability, 1 by the mean log-probability of a symbol.
        nbest: Hypotheses delivered for each source, best first.
        max_length: Most symbols of a hypothesis, EOS included.

    Raises:
        ValueError: ``nbest`` is more than ``width``.
    """

    width: Count = 5
    length_normalisation: Annotated[float, Ge(0)] = 0.0
    nbest: Count = 1
    max_length: Count = 50

    def __post_init__(self) -> None:
        if self.nbest > self.width:
            holds = f"a beam of width={self.width} holds; raise width or lower nbest"
            raise ValueError(f"nbest={self.nbest} is more than {holds}")

    @torch.inference_mode()
    def __call__(self, model: StepModel, source: Tensor, lengths: Tensor, index: Tensor, seed: int) -> Hypotheses:
        """The n-best hypotheses of each source; where fewer exist, the rest is PAD with log-probability -inf."""
        state = model.encode(source, lengths)
        places = torch.arange(len(source), device=source.device)  # the sources still searched
        empty = torch.full((len(source), 1, self.max_length), PAD, device=source.device)
        zeros = torch.zeros(len(source), 1, device=source.device)
        beams = _Beams(empty, torch.full_like(empty[..., 0], SOS), zeros, zeros, zeros.bool())
        tokens = torch.full((len(source), self.nbest, self.max_length), PAD, device=source.device)
        log_probs = torch.full((len(source), self.nbest), -torch.inf, device=source.device)
        own: set[str] = set()  # parts of the state in which the hypotheses of a source differ
        step = 0
        while len(places):
            before = state
            logits, state = model.step(beams.last.flatten(), state)
            own |= {name for name, value in state.items() if value is not before.get(name)}
            slots = beams.last.shape[1]
            beams, parent = _extend(beams, logits.float().log_softmax(dim=-1), self.width, step)
            step += 1
            rows = torch.arange(len(places), device=places.device)[:, None] * slots + parent
            done = self._settled(beams) if step < self.max_length else torch.ones_like(places, dtype=torch.bool)
            # Leaving copies the whole state: it pays once a quarter of the sources can go.
            if left := 4 * int(done.sum()) >= len(places):
                best = self._best(beams, cut_off=step == self.max_length)
                tokens[places, : best.tokens.shape[1]] = best.tokens
                log_probs[places, : best.tokens.shape[1]] = best.log_probs
                places, rows, beams = places[~done], rows[~done], _Beams(*(part[~done] for part in beams))
            every = left or slots != rows.shape[1]
            state = {name: value[rows.flatten()] if every or name in own else value for name, value in state.items()}
        return Hypotheses(tokens[:, :, :step], log_probs, None)

    def _settled(self, beams: "_Beams") -> Tensor:
        """Sources (B,) none of whose unended hypotheses can still enter the n-best: a probability only falls."""
        longest: float = self.max_length**self.length_normalisation
        bound = (beams.log_probs / longest).masked_fill(beams.ended, -torch.inf).amax(dim=1)
        if self.nbest > beams.ended.shape[1]:
            return bound.isneginf()
        ended = self._scores(beams).masked_fill(~beams.ended, -torch.inf)
        return ended.topk(self.nbest, dim=1).values[:, -1] >= bound

    def _best(self, beams: "_Beams", cut_off: bool) -> Hypotheses:
        """The n-best of each source; unended hypotheses take part if they are ``cut_off``."""
        scores = self._scores(beams)
        if not cut_off:
            scores = scores.masked_fill(~beams.ended, -torch.inf)
        scores, order = scores.sort(dim=1, descending=True, stable=True)
        order, none = order[:, : self.nbest], scores[:, : self.nbest].isneginf()
        log_probs = beams.log_probs.gather(1, order).masked_fill(none, -torch.inf)
        return Hypotheses(_pick(beams.tokens, order).masked_fill(none[..., None], PAD), log_probs, None)

    def _scores(self, beams: "_Beams") -> Tensor:
        return beams.log_probs / beams.lengths**self.length_normalisation


class _Beams(NamedTuple):
    """The hypotheses of B sources, in K places each. A place of log-probability -inf is free."""

    tokens: Tensor  # (B, K, max_length)
    last: Tensor  # (B, K)
    log_probs: Tensor  # (B, K)
    lengths: Tensor  # (B, K)
    ended: Tensor  # (B, K) bool


def _extend(beams: _Beams, log_probs: Tensor, width: int, step: int) -> tuple[_Beams, Tensor]:
    """The ended hypotheses and the likeliest extensions (B * K, V) of the others; and where each came from (B, K')."""
    sources, slots = beams.last.shape
    outputs = log_probs.shape[-1]
    ranked = log_probs.view(sources, slots, outputs) + beams.log_probs[..., None]
    # What has ended goes on in one way only, and before all others.
    ranked = ranked.masked_fill(beams.ended[..., None], -torch.inf)
    ranked[..., PAD] = ranked[..., PAD].masked_fill(beams.ended, torch.inf)
    best, place = ranked.flatten(1).topk(min(width, slots * outputs), dim=1)
    parent, symbol = place // outputs, place % outputs
    kept = best.isposinf()
    tokens = _pick(beams.tokens, parent)
    tokens[..., step] = symbol
    return _Beams(
        tokens=tokens,
        last=symbol,
        log_probs=torch.where(kept, beams.log_probs.gather(1, parent), best),
        lengths=beams.lengths.gather(1, parent) + ~kept,
        ended=kept | ((symbol == EOS) & ~best.isneginf()),
    ), parent


def _pick(values: Tensor, places: Tensor) -> Tensor:
    """values (B, K, L) at places (B, N) -> (B, N, L)."""
    return values.gather(1, places[..., None].expand(-1, -1, values.shape[-1]))
