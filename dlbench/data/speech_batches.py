"""Batches of recordings with their transcripts: one gather each out of an array of features that may lie on disk."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from dlbench.data.pairs import Place, Split, pad
from dlbench.data.vocabulary import EOS, PAD, SOS, Vocabulary

VOCABULARY = Vocabulary.from_sequences([" ,.?-abcdefghijklmnopqrstuvwxyz"])
"""The published 35 symbols (REPORTS section 6); ``@ < > #`` are padding, start, end and unknown, as everywhere here."""


class SpeechBatch(NamedTuple):
    """B recordings with what is said in them.

    ``source`` (B, F, bands) holds float32 features, zeros after ``source_lengths`` (B,) frames; ``target`` (B, T) is
    SOS, the symbols, EOS and padding; ``index`` (B,) is the position of each recording in its split. All but
    ``source`` are int64.
    """

    source: Tensor
    source_lengths: Tensor
    target: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody needs here


class SpeechTensors(Split["SpeechBatch"]):
    """A whole split; an index is an epoch and a vector of positions and gives a whole batch.

    Args:
        features: All recordings' frames one after the other (frames in all, bands); may be mapped from a file.
        starts: Where each of the N recordings of the split begins in ``features``.
        lengths: How many frames each has.
        targets: The symbols of each transcript, without start and end.
        frames: Pad with zeros, or crop, every recording to so many frames; default: to the longest of its batch.
        target_symbols: Pad every target to so many symbols; default: to the longest of its batch.

    Raises:
        ValueError: A target is longer than ``target_symbols``.
    """

    def __init__(
        self,
        features: npt.NDArray[np.float32],
        starts: Sequence[int],
        lengths: Sequence[int],
        targets: Sequence[Sequence[int]],
        *,
        frames: int | None = None,
        target_symbols: int | None = None,
    ) -> None:
        self.features, self.starts = features, list(starts)
        self.source_lengths = torch.tensor([min(length, frames or length) for length in lengths])
        self.target, self.target_lengths = pad([[SOS, *target, EOS] for target in targets])
        self.frames, self.target_symbols = frames, target_symbols
        if target_symbols is not None:
            missing = target_symbols - self.target.shape[1]
            if missing < 0:
                raise ValueError(f"target_symbols={target_symbols}: a target has {self.target.shape[1]}")
            self.target = functional.pad(self.target, (0, missing), value=PAD)

    def __getitem__(self, place: Place) -> SpeechBatch:
        _, index = place
        lengths = self.source_lengths[index]
        source = torch.zeros(len(index), self.frames or int(lengths.max()), self.features.shape[1])
        rows = source.numpy()
        for row, position, length in zip(rows, index.tolist(), lengths.tolist(), strict=True):
            row[:length] = self.features[self.starts[position] :][:length]
        width = self.target_symbols or int(self.target_lengths[index].max())
        return SpeechBatch(source, lengths, self.target[index, :width], index)
