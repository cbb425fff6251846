"""Decoders that let others listen."""

from torch import Tensor

from dlbench.decoding.hypotheses import Decoder, Hypotheses, StepModel
from dlbench.tasks.transduction import Decoded


def overheard(decoder: Decoder, heard: list[Decoded]) -> Decoder:
    """The same decoder, whose results also go into ``heard``."""

    def decode(model: StepModel, source: Tensor, lengths: Tensor, index: Tensor, seed: int) -> Hypotheses:
        hypotheses = decoder(model, source, lengths, index, seed)
        on_cpu = Hypotheses(*(None if part is None else part.cpu() for part in hypotheses))  # type: ignore[arg-type]
        heard.append(Decoded(index.cpu(), on_cpu))
        return hypotheses

    return decode
