"""What is measured of a trained speech recogniser under a decoding, and the transcripts and alignments kept of it."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import pytorch_lightning as pl
import torch
from annotated_types import Ge
from torch import Tensor
from torch.utils.data import DataLoader

from dlbench.components import component
from dlbench.data.recordings import HOP, RATE
from dlbench.data.speech_batches import SpeechBatch
from dlbench.data.vocabulary import EOS, PAD, SOS, SPECIALS, Vocabulary
from dlbench.decoding.hypotheses import Decoder
from dlbench.metrics.error_rates import CharacterErrorRate, edits
from dlbench.metrics.similarities import Cosine, DamerauLevenshtein, Jaccard
from dlbench.models.cost import count_parameters
from dlbench.records import history
from dlbench.seeding import generator
from dlbench.tasks.base import read_metrics
from dlbench.tasks.speech import SpeechRecognition, scores
from dlbench.tasks.transduction import Decoded

Weights = Mapping[str, Tensor]

END = SPECIALS[EOS]
PLACE_SECONDS = 2 * HOP / RATE
"""The encoder halves the number of frames."""

UNKNOWN = "#"
"""Stands in a text for every symbol outside the vocabulary."""


class SpeechData(Protocol):
    """What an evaluation asks of a DataModule."""

    vocabulary: Vocabulary

    def utterances(self, split: str) -> Sequence[Any]:
        """A split, in order; of each one ``id`` and ``text`` are read."""

    def evaluation_dataloader(self, split: str) -> DataLoader[SpeechBatch]:
        """A split in batches, each utterance with its position."""


@dataclass(frozen=True)
class Transcript:
    """What was written for one utterance of an ``id`` and a true ``text``, best hypothesis first, without its end.

    ``log_probs`` are natural, under the model, the end included; ``attention`` (symbols written and perhaps an end,
    places of the encoder heard) belongs to the first; None where the decoding keeps none.
    """

    id: str
    text: str
    hypotheses: tuple[str, ...]
    log_probs: tuple[float, ...]
    attention: Tensor | None


@component(
    "speech_evaluation",
    "1.1",  # the word error rate in double precision
    uses=(history.summarise, Jaccard, Cosine, DamerauLevenshtein, CharacterErrorRate),
)
class SpeechEvaluation:
    """Decode the test split with the weights of the last or the best epoch.

    Of the first hypotheses come the three similarities as means over examples, and once more with each one's symbols in
    a random order (``test/jaccard_shuffled`` and so on), ``test/cer`` (micro) and ``test/wer`` (edit distance in words,
    micro), and what the edits behind these two are (``test/wer_substitutions`` and so on).

    Args:
        decoding: The decoding; see `dlbench.decoding`.
        checkpoint: ``last``, as published, or ``best`` (highest Damerau-Levenshtein similarity in validation).
        attention_examples: How many test utterances' attention to keep.
    """

    def __init__(
        self,
        *,
        decoding: Decoder,
        checkpoint: Literal["best", "last"] = "last",
        attention_examples: Annotated[int, Ge(0)] = 2,
    ) -> None:
        self.decoding, self.checkpoint, self.attention_examples = decoding, checkpoint, attention_examples

    def __call__(
        self, trainer: pl.Trainer, task: SpeechRecognition, data: SpeechData, last: Weights, best: Weights
    ) -> tuple[dict[str, float], list[Transcript]]:
        """Metrics by name, and a transcript for every test utterance in the split's order.

        Args:
            trainer: Gives device and precision.
            task: The task; its weights are replaced.
            data: The data.
            last: Weights after the last epoch.
            best: Weights after the best epoch.

        Raises:
            ConfigError: The decoding may write more symbols than the decoder can read.
        """
        task.check_length("evaluation.decoding.max_length", self.decoding.max_length)  # type: ignore[attr-defined]
        task.load_state_dict(last if self.checkpoint == "last" else best)
        trainer.test(task, data.evaluation_dataloader("test"), verbose=False)
        metrics = read_metrics(trainer)
        task.decoder, greedy = self.decoding, task.decoder
        decoded: Any = trainer.predict(task, data.evaluation_dataloader("test"))
        task.decoder = greedy
        transcripts = collect(decoded, data.utterances("test"), data.vocabulary)
        parameters = {"model/parameters": float(count_parameters(task.model))}
        return metrics | measure(transcripts, task.seed) | parameters, transcripts

    def write(self, folder: Path, task: SpeechRecognition, data: SpeechData, transcripts: Sequence[Transcript]) -> None:
        """Write ``predictions.csv`` and, if the decoding keeps attention, ``artifacts/attention.json``."""
        write_predictions(folder / "predictions.csv", transcripts)
        attended = [each for each in transcripts[: self.attention_examples] if each.attention is not None]
        if attended:
            write_attention(folder / "artifacts" / "attention.json", attended)


def collect(decoded: Sequence[Decoded], utterances: Sequence[Any], vocabulary: Vocabulary) -> list[Transcript]:
    """Transcripts in the order of ``utterances``, from batches in any order.

    Starts and padding, which a network may write before it has learned better, stand for no text and are left out, as
    in validation.
    """
    found: dict[int, Transcript] = {}
    for index, (tokens, log_probs, attention) in decoded:
        for row, position in enumerate(index.tolist()):
            ranked = [
                (text(hypothesis, vocabulary), value)
                for hypothesis, value in zip(tokens[row].tolist(), log_probs[row].tolist(), strict=True)
                if value > -torch.inf
            ]
            hypotheses, values = zip(*ranked, strict=True)
            weights = None
            if attention is not None:
                first = tokens[row, 0, : attention.shape[1]]  # others may be longer
                weights = attention[row, (first != PAD) & (first != SOS)].cpu()
            heard = utterances[position]
            truth = text(vocabulary.encode(heard.text), vocabulary)
            found[position] = Transcript(heard.id, truth, hypotheses, values, weights)
    return [found[position] for position in range(len(utterances))]


def text(tokens: Sequence[int], vocabulary: Vocabulary) -> str:
    """The text of tokens up to the first end, without starts and padding."""
    return "".join(symbol if symbol not in SPECIALS else UNKNOWN for symbol in vocabulary.decode(tokens))


def measure(transcripts: Sequence[Transcript], seed: int) -> dict[str, float]:
    """The scores by name; what is shuffled depends on the seed and the example."""
    truth = [transcript.text for transcript in transcripts]
    guesses = [transcript.hypotheses[0] for transcript in transcripts]
    own, without_order = scores("test"), scores("test")
    own.update(guesses, truth)
    without_order.update([_shuffled(guess, seed, place) for place, guess in enumerate(guesses)], truth)
    shuffled = {f"{name}_shuffled": value for name, value in without_order.compute().items() if name != "test/cer"}
    rates = {name: float(value) for name, value in {**own.compute(), **shuffled}.items()}
    words = edits(map(str.split, guesses), map(str.split, truth))
    return rates | edits(guesses, truth).named("test/cer") | {"test/wer": words.rate} | words.named("test/wer")


def _shuffled(text: str, seed: int, place: int) -> str:
    order = torch.randperm(len(text), generator=generator(seed, "shuffled prediction", place))
    return "".join(text[position] for position in order.tolist())


def write_predictions(path: Path, transcripts: Sequence[Transcript]) -> None:
    """One row a hypothesis: position, rank, utterance, reference, hypothesis, its probability, whether it is right."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["index", "rank", "source", "reference", "hypothesis", "probability", "correct"])
        for index, transcript in enumerate(transcripts):
            ranked = zip(transcript.hypotheses, transcript.log_probs, strict=True)
            for rank, (guess, value) in enumerate(ranked, start=1):
                correct = int(guess == transcript.text)
                table.writerow([index, rank, transcript.id, transcript.text, guess, f"{math.exp(value):.4g}", correct])


def write_attention(path: Path, transcripts: Sequence[Transcript]) -> None:
    """For each utterance the times heard, the symbols written, and the weights (written, heard), to four decimals."""
    content = [
        {
            "source": [f"{place * PLACE_SECONDS:.2f} s" for place in range(attention.shape[1])],
            "hypothesis": [*transcript.hypotheses[0], END][: len(attention)],
            "weights": [[round(value, 4) for value in row] for row in attention.tolist()],
        }
        for transcript in transcripts
        if (attention := transcript.attention) is not None
    ]
    path.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")
