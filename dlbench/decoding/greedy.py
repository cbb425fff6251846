"""Greedy decoding: the likeliest symbol at every step."""

from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from dlbench.components import component
from dlbench.decoding.hypotheses import Hypotheses, StepModel, unroll


@component("greedy", "1.0")
class Greedy:
    """The plain argmax over all outputs, specials included, as in the published reports (REPORTS sections 2 and 4).

    Args:
        max_length: Most symbols of a hypothesis, EOS included.
    """

    def __init__(self, max_length: Annotated[int, Ge(1)] = 50) -> None:
        self.max_length = max_length

    @torch.inference_mode()
    def __call__(self, model: StepModel, source: Tensor, lengths: Tensor, index: Tensor, seed: int) -> Hypotheses:
        """One hypothesis a source, with its attention if the model has any; ``index`` and ``seed`` play no part."""
        state = model.encode(source, lengths)
        tokens, log_probs, attention = unroll(
            model, state, len(source), max_length=self.max_length, choose=_likeliest, attend=True
        )
        return Hypotheses(tokens[:, None], log_probs[:, None], attention)


def _likeliest(logits: Tensor, _rows: Tensor, _step: int) -> Tensor:
    return logits.argmax(dim=-1)
