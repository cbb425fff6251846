"""Any decoding, with the attention of its first hypothesis."""

import torch
from torch import Tensor

from dlbench.components import component
from dlbench.decoding.hypotheses import Decoder, Hypotheses, StepModel, unroll


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
