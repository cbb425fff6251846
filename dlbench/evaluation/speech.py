"""What is measured of a trained speech recogniser under a decoding, and the transcripts and alignments kept of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import pytorch_lightning as pl
import torch
from annotated_types import Ge

from dlbench.components import component
from dlbench.data.ljspeech import RATE
from dlbench.data.pairs import Pair
from dlbench.data.recordings import HOP
from dlbench.data.speech_datamodule import SpeechDataModule
from dlbench.data.vocabulary import UNK, Vocabulary
from dlbench.evaluation.transduction import Prediction, SequenceEvaluation, collect
from dlbench.metrics.best_epoch import summarise_curves
from dlbench.metrics.sequences import CharacterErrorRate, Cosine, DamerauLevenshtein, Jaccard, edits
from dlbench.models.cost import count_parameters
from dlbench.protocols import Weights
from dlbench.seeding import generator
from dlbench.tasks.speech import SpeechRecognition, scores
from dlbench.tasks.transduction import Decoded

PLACE_SECONDS = 2 * HOP / RATE
"""The encoder halves the number of frames."""

UNKNOWN = "#"
"""Stands in a text for every symbol outside the vocabulary."""


def written(vocabulary: Vocabulary) -> list[str]:
    """The symbols as they stand in a transcript."""
    symbols = list(vocabulary.symbols)
    symbols[UNK] = UNKNOWN
    return symbols


def times(prediction: Prediction) -> list[str]:
    """When the encoder's places begin, to which a prediction attends."""
    assert prediction.attention is not None
    return [f"{place * PLACE_SECONDS:.2f} s" for place in range(prediction.attention.shape[1])]


def transcripts(decoded: Sequence[Decoded], data: SpeechDataModule, split: str) -> list[Prediction]:
    """What was written for each utterance of a split, in order: a pair is its ``id`` and the symbols of its text.

    Attention is to all places of the encoder, those of padding too.
    """
    symbols = written(data.vocabulary)
    pairs = [
        Pair((heard.id,), tuple(symbols[token] for token in data.vocabulary.encode(heard.text)))
        for heard in data.utterances(split)
    ]
    return collect(decoded, pairs, symbols, crop_attention=False)


@component(
    "speech_evaluation",
    "1.1",  # the word error rate in double precision
    uses=(summarise_curves, Jaccard, Cosine, DamerauLevenshtein, CharacterErrorRate),
)
@dataclass(kw_only=True)
class SpeechEvaluation(SequenceEvaluation):
    """Decode the test split with the weights of the last or the best epoch.

    Of the first hypotheses come the three similarities as means over examples, and once more with each one's symbols in
    a random order (``test/jaccard_shuffled`` and so on), ``test/cer`` (micro) and ``test/wer`` (edit distance in words,
    micro), and what the edits behind these two are (``test/wer_substitutions`` and so on).

    Args:
        decoding: The decoding; see `dlbench.decoding`.
        checkpoint: ``last``, as published, or ``best`` (highest Damerau-Levenshtein similarity in validation).
        attention_examples: How many test utterances' attention to keep.
    """

    checkpoint: Literal["best", "last"] = "last"
    attention_examples: Annotated[int, Ge(0)] = 2

    def __call__(
        self, trainer: pl.Trainer, task: SpeechRecognition, data: SpeechDataModule, last: Weights, best: Weights
    ) -> tuple[dict[str, float], list[Prediction]]:
        """Metrics by name, and a transcript for every test utterance in the split's order; see `Evaluation`."""
        task.load_state_dict(last if self.checkpoint == "last" else best)
        metrics, decoded = self.decode(trainer, task, data)
        found = transcripts(decoded, data, "test")
        parameters = {"model/parameters": float(count_parameters(task.model))}
        return metrics | measure(found, task.seed) | parameters, found

    def joiners(self, data: SpeechDataModule) -> tuple[str, str]:
        """A source is one word, the utterance's name."""
        return "", ""

    def read(self, prediction: Prediction) -> list[str]:
        """See `times`."""
        return times(prediction)


def measure(predictions: Sequence[Prediction], seed: int) -> dict[str, float]:
    """The scores by name; what is shuffled depends on the seed and the example."""
    truth = ["".join(each.pair.target) for each in predictions]
    guesses = ["".join(each.texts[0]) for each in predictions]
    own, without_order = scores("test"), scores("test")
    own.update(guesses, truth)
    streams = [generator(seed, "shuffled prediction", place) for place in range(len(guesses))]
    orders = [torch.randperm(len(guess), generator=stream) for guess, stream in zip(guesses, streams, strict=True)]
    shuffled = [[guess[at] for at in order.tolist()] for guess, order in zip(guesses, orders, strict=True)]
    without_order.update(shuffled, truth)
    similarities = {f"{name}_shuffled": value for name, value in without_order.compute().items() if name != "test/cer"}
    rates = {name: float(value) for name, value in {**own.compute(), **similarities}.items()}
    words = edits(map(str.split, guesses), map(str.split, truth))
    return rates | edits(guesses, truth).named("test/cer") | {"test/wer": words.rate} | words.named("test/wer")
