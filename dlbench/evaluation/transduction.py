"""What is measured of a trained transducer under a decoding, and the predictions and attention kept of it."""

import copy
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
from torch import Tensor, nn
from torch.utils.data import DataLoader

from dlbench.components import component
from dlbench.data.pairs import Pair, PairBatch, PairSet
from dlbench.data.vocabulary import EOS, PAD, SOS, SPECIALS, Vocabulary
from dlbench.decoding.hypotheses import Decoder, Ensemble
from dlbench.metrics.error_rates import (
    CharacterErrorRate,
    MacroErrorRate,
    WordErrorRate,
    WordErrorRateAtK,
    edits,
)
from dlbench.models.cost import count_parameters
from dlbench.records import history
from dlbench.tasks.base import read_metrics
from dlbench.tasks.transduction import Decoded, Transduction

Weights = Mapping[str, Tensor]

NO_TEXT = (PAD, SOS)
END = SPECIALS[EOS]
"""Ends every hypothesis that was not cut off."""


class PairData(Protocol):
    """What an evaluation asks of a DataModule."""

    pair_set: PairSet
    target_vocabulary: Vocabulary
    reverse_source: bool

    def pairs(self, split: str) -> Sequence[Pair]:
        """A split as it was read."""

    def evaluation_dataloader(self, split: str) -> DataLoader[PairBatch]:
        """A split in batches, each pair with its position."""


@dataclass(frozen=True)
class Prediction:
    """One test pair's hypotheses, best or first drawn first, with natural log-probabilities under the model.

    ``attention`` (symbols written, symbols read) belongs to the first one; None where the decoding keeps none.
    """

    pair: Pair
    hypotheses: tuple[tuple[str, ...], ...]
    log_probs: tuple[float, ...]
    attention: Tensor | None

    @property
    def texts(self) -> list[tuple[str, ...]]:
        """The hypotheses without their ends."""
        return [symbols[:-1] if symbols[-1:] == (END,) else symbols for symbols in self.hypotheses]


@component(
    "transduction_evaluation",
    "1.0",
    uses=(history.summarise, Ensemble, CharacterErrorRate, WordErrorRate, WordErrorRateAtK, MacroErrorRate),
)
class TransductionEvaluation:
    """Decode the test split with the weights of the best or the last epoch.

    From the first hypothesis come ``test/cer`` (micro), ``test/wer`` and ``test/error_rate_macro``, and what the edits
    behind the first of these are (``test/cer_substitutions``, ``..._deletions``, ``..._insertions``); where a decoding
    gives ``k`` or more, ``test/wer_at_k`` from the first k. With ``separate_pass`` all but the last come from a further
    sample of their own, as in the published nucleus rows (REPORTS section 2): one more than k must then be drawn.

    Args:
        decoding: The decoding; see `dlbench.decoding`.
        checkpoint: ``best`` (lowest validation CER, as in REPORTS section 2) or ``last`` (section 4).
        members: Seeds of further runs of the same configuration, averaged with this one step by step.
        k: Hypotheses that count for ``test/wer_at_k``.
        separate_pass: Take CER and WER from the last hypothesis, which does not count for ``test/wer_at_k``.
        drop_last_symbol: Drop the last symbol written before ``test/error_rate_macro`` is measured, even when it is not
            EOS (d2223's published rows).
        attention_examples: How many test pairs' attention to keep.
    """

    def __init__(
        self,
        *,
        decoding: Decoder,
        checkpoint: Literal["best", "last"] = "best",
        members: Sequence[int] = (),
        k: Annotated[int, Ge(1)] = 3,
        separate_pass: bool = False,
        drop_last_symbol: bool = False,
        attention_examples: Annotated[int, Ge(0)] = 10,
    ) -> None:
        if separate_pass and getattr(decoding, "samples", 0) <= k:
            raise ValueError(f"separate_pass needs decoding.samples of at least k + 1 = {k + 1}")
        self.decoding, self.checkpoint, self.members = decoding, checkpoint, members
        self.k, self.separate_pass, self.drop_last_symbol = k, separate_pass, drop_last_symbol
        self.attention_examples = attention_examples

    def __call__(
        self,
        trainer: pl.Trainer,
        task: Transduction,
        data: PairData,
        last: Weights,
        best: Weights,
        *,
        members: Sequence[tuple[Weights, Weights]] = (),
    ) -> tuple[dict[str, float], list[Prediction]]:
        """Metrics by name, and a prediction for every test pair in the split's order.

        Args:
            trainer: Gives device and precision.
            task: The task; its weights are replaced.
            data: The data.
            last: Weights after the last epoch.
            best: Weights after the best epoch.
            members: The same two of each member.
        """
        choose = {"last": 0, "best": 1}[self.checkpoint]
        task.load_state_dict((last, best)[choose])
        trainer.test(task, data.evaluation_dataloader("test"), verbose=False)
        metrics = {} if members else read_metrics(trainer)  # the loss is that of one network
        if members:
            # Registered with the task, so that they share its device and mode.
            task.others = _networks(task, [weights[choose] for weights in members])
            task.ensemble = Ensemble([task.model, *task.others])  # type: ignore[list-item]
        task.decoder, greedy = self.decoding, task.decoder
        decoded: Any = trainer.predict(task, data.evaluation_dataloader("test"))
        task.decoder = greedy
        if members:
            del task.others
            task.ensemble = None
        predictions = collect(decoded, data.pairs("test"), data.target_vocabulary, data.reverse_source)
        parameters = count_parameters(task.model) * (1 + len(members))
        return metrics | self.measure(predictions) | {"model/parameters": float(parameters)}, predictions

    def measure(self, predictions: Sequence[Prediction]) -> dict[str, float]:
        """The error rates by name."""
        truth = [prediction.pair.target for prediction in predictions]
        own = -1 if self.separate_pass else 0
        first = [prediction.hypotheses[own] for prediction in predictions]
        cer, wer, macro = CharacterErrorRate(), WordErrorRate(), MacroErrorRate(self.drop_last_symbol)
        texts = [prediction.texts[own] for prediction in predictions]
        cer.update(texts, truth)
        wer.update(texts, truth)
        macro.update(first if self.drop_last_symbol else texts, truth)
        rates = {"test/cer": cer, "test/wer": wer, "test/error_rate_macro": macro}
        candidates = [prediction.texts[: self.k] for prediction in predictions]
        if self.k > 1 and min(map(len, candidates), default=0) == self.k:
            rates[f"test/wer_at_{self.k}"] = at_k = WordErrorRateAtK(self.k)
            at_k.update(candidates, truth)
        found = {name: float(rate.compute()) for name, rate in rates.items()}
        return found | edits(texts, truth).named("test/cer")

    def write(self, folder: Path, task: Transduction, data: PairData, predictions: Sequence[Prediction]) -> None:
        """Write ``predictions.csv`` and, if the decoding keeps it, ``artifacts/attention.json``."""
        joiners = data.pair_set.source_joiner, data.pair_set.target_joiner
        write_predictions(folder / "predictions.csv", predictions, joiners)
        examples = predictions[: self.attention_examples]
        attended = [prediction for prediction in examples if prediction.attention is not None]
        if attended:
            write_attention(folder / "artifacts" / "attention.json", attended)


def collect(
    decoded: Sequence[Decoded], pairs: Sequence[Pair], vocabulary: Vocabulary, reverse_source: bool = False
) -> list[Prediction]:
    """Predictions in the order of ``pairs``, from batches in any order; attention in the order of the pair's source.

    Starts and padding, which a network may write before it has learned better, stand for no text and are left out, as
    in validation.
    """
    found: dict[int, Prediction] = {}
    for index, (tokens, log_probs, attention) in decoded:
        for row, position in enumerate(index.tolist()):
            pair = pairs[position]
            ranked = [
                (tuple(vocabulary.symbols[token] for token in hypothesis if token not in NO_TEXT), value)
                for hypothesis, value in zip(tokens[row].tolist(), log_probs[row].tolist(), strict=True)
                if value > -torch.inf
            ]
            hypotheses, values = zip(*ranked, strict=True)
            weights = None
            if attention is not None:
                first = tokens[row, 0, : attention.shape[1]]  # others may be longer
                weights = attention[row, (first != PAD) & (first != SOS), : len(pair.source)].cpu()
                weights = weights.flip(-1) if reverse_source else weights
            found[position] = Prediction(pair, hypotheses, values, weights)
    return [found[position] for position in range(len(pairs))]


def write_predictions(path: Path, predictions: Sequence[Prediction], joiners: tuple[str, str]) -> None:
    """One row a hypothesis: position, rank, source, reference, hypothesis, its probability, and whether it is right."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["index", "rank", "source", "reference", "hypothesis", "probability", "correct"])
        for index, prediction in enumerate(predictions):
            source, truth = joiners[0].join(prediction.pair.source), prediction.pair.target
            for rank, (guess, value) in enumerate(zip(prediction.texts, prediction.log_probs, strict=True), start=1):
                probability = f"{math.exp(value):.4g}"
                written = joiners[1].join(truth), joiners[1].join(guess)
                table.writerow([index, rank, source, *written, probability, int(guess == truth)])


def write_attention(path: Path, predictions: Sequence[Prediction]) -> None:
    """For each pair the symbols read and written, and the weights (written, read), to four decimals."""
    content = [
        {
            "source": prediction.pair.source,
            "hypothesis": prediction.hypotheses[0],
            "weights": [[round(value, 4) for value in row] for row in prediction.attention.tolist()],
        }
        for prediction in predictions
        if prediction.attention is not None
    ]
    path.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")


def _networks(task: Transduction, members: Sequence[Weights]) -> nn.ModuleList:
    """Copies of the task's network with the members' weights."""
    copies = [copy.deepcopy(task) for _ in members]
    for other, weights in zip(copies, members, strict=True):
        other.load_state_dict(weights)
    return nn.ModuleList(other.model for other in copies)
