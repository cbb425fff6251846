"""What is measured of a trained transducer under a decoding, and the predictions and attention kept of it."""

import copy
import json
import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytorch_lightning as pl
import torch
from annotated_types import Ge
from torch import Tensor, nn

from dlbench.components import component
from dlbench.data.pair_datamodule import TransductionDataModule
from dlbench.data.pairs import Pair
from dlbench.data.vocabulary import EOS, PAD, SOS, SPECIALS
from dlbench.decoding.hypotheses import Ensemble
from dlbench.evaluation import tested, write_table
from dlbench.metrics.best_epoch import summarise_curves
from dlbench.metrics.sequences import CharacterErrorRate, MacroErrorRate, WordErrorRate, WordErrorRateAtK, edits
from dlbench.models.cost import count_parameters
from dlbench.protocols import Decoder, Weights
from dlbench.tasks.transduction import Decoded, SequenceTask, Transduction
from dlbench.terminal import doing

END = SPECIALS[EOS]
"""Ends every hypothesis that was not cut off."""


@dataclass(frozen=True)
class Prediction:
    """One test pair's hypotheses, best or first drawn first, with natural log-probabilities under the model.

    ``attention`` (symbols written, symbols or places read) belongs to the first one; None where the decoding keeps
    none.
    """

    pair: Pair
    hypotheses: tuple[tuple[str, ...], ...]
    log_probs: tuple[float, ...]
    attention: Tensor | None = None

    @property
    def texts(self) -> list[tuple[str, ...]]:
        """The hypotheses without their ends."""
        return [symbols[:-1] if symbols[-1:] == (END,) else symbols for symbols in self.hypotheses]

    def attention_as_json(self, read: Sequence[str]) -> dict[str, Any] | None:
        """What was read, the first hypothesis, and the weights (written, read) to four decimals, if there are any."""
        if self.attention is None:
            return None
        weights = [[round(value, 4) for value in row] for row in self.attention.tolist()]
        return {"source": read, "hypothesis": self.hypotheses[0], "weights": weights}


def collect(
    decoded: Sequence[Decoded],
    pairs: Sequence[Pair],
    symbols: Sequence[str],
    *,
    reverse_source: bool = False,
    crop_attention: bool = True,
) -> list[Prediction]:
    """Predictions in the order of ``pairs``, from batches in any order.

    Starts and padding, which a network may write before it has learned better, stand for no text and are left out, as
    in validation. Attention to a reversed source is turned round again, to what is behind it left out if asked for.
    """
    found: dict[int, Prediction] = {}
    for index, (tokens, log_probs, attention) in decoded:
        for row, position in enumerate(index.tolist()):
            ranked = [
                (tuple(symbols[token] for token in hypothesis if token not in (PAD, SOS)), value)
                for hypothesis, value in zip(tokens[row].tolist(), log_probs[row].tolist(), strict=True)
                if value > -torch.inf
            ]
            hypotheses, values = zip(*ranked, strict=True)
            weights = None
            if attention is not None:
                first = tokens[row, 0, : attention.shape[1]]  # others may be longer
                width = len(pairs[position].source) if crop_attention else None
                weights = attention[row, (first != PAD) & (first != SOS), :width].cpu()
                weights = weights.flip(-1) if reverse_source else weights
            found[position] = Prediction(pairs[position], hypotheses, values, weights)
    return [found[position] for position in range(len(pairs))]


@dataclass(kw_only=True)
class SequenceEvaluation:
    """What evaluations of transduction and speech share: decode the test split, keep predictions and attention."""

    decoding: Decoder
    checkpoint: Literal["best", "last"]
    attention_examples: Annotated[int, Ge(0)]

    def decode(self, trainer: pl.Trainer, task: SequenceTask, data: Any) -> tuple[dict[str, float], list[Decoded]]:
        """The metrics that the task itself logs of the test split, and what the decoding gives for it."""
        doing("testing: reading the true symbols")
        metrics = tested(trainer, task, data.evaluation_dataloader("test"))
        doing("testing: decoding")
        task.decoder, greedy = self.decoding, task.decoder
        decoded: Any = trainer.predict(task, data.evaluation_dataloader("test"))
        task.decoder = greedy
        return metrics, decoded

    @abstractmethod
    def joiners(self, data: Any) -> tuple[str, str]:
        """What stands between the symbols of a source, and of a reference or hypothesis."""

    def read(self, prediction: Prediction) -> Sequence[str]:
        """What attention is to."""
        return prediction.pair.source

    def write(self, folder: Path, task: SequenceTask, data: Any, predictions: Sequence[Prediction]) -> None:
        """Write ``predictions.csv`` and, if the decoding keeps attention, ``artifacts/attention.json``.

        The table has one row a hypothesis: position, rank, source, reference, hypothesis, its probability, and whether
        it is right. Attention is what was read, what was written, and the weights (written, read), to four decimals.
        """
        of_source, of_target = self.joiners(data)
        rows = (
            (
                *(index, rank, of_source.join(each.pair.source), of_target.join(each.pair.target)),
                *(of_target.join(guess), f"{math.exp(value):.4g}", int(guess == each.pair.target)),
            )
            for index, each in enumerate(predictions)
            for rank, (guess, value) in enumerate(zip(each.texts, each.log_probs, strict=True), start=1)
        )
        header = ["index", "rank", "source", "reference", "hypothesis", "probability", "correct"]
        write_table(folder / "predictions.csv", header, rows)
        kept = [each for each in predictions[: self.attention_examples] if each.attention is not None]
        if attended := [each.attention_as_json(self.read(each)) for each in kept]:
            content = json.dumps(attended, ensure_ascii=False)
            (folder / "artifacts" / "attention.json").write_text(f"{content}\n", encoding="utf-8")


@component(
    "transduction_evaluation",
    "1.0",
    uses=(summarise_curves, Ensemble, CharacterErrorRate, WordErrorRate, WordErrorRateAtK, MacroErrorRate),
)
@dataclass(kw_only=True)
class TransductionEvaluation(SequenceEvaluation):
    """Decode the test split with the weights of the best or the last epoch.

    From the first hypothesis come ``test/cer`` (micro), ``test/wer`` and ``test/error_rate_macro``, and what the edits
    behind the first of these are (``test/cer_substitutions``, ``..._deletions``, ``..._insertions``); where a decoding
    gives ``k`` or more, ``test/wer_at_k`` from the first k. With ``separate_pass`` all but the last come from a further
    sample of their own, as in the published nucleus rows (the 2024/25 reports): one more than k must then be drawn.

    Args:
        decoding: The decoding; see `dlbench.decoding`.
        checkpoint: ``best`` (lowest validation CER, as in the 2024/25 reports) or ``last`` (report d2223).
        members: Seeds of further runs of the same configuration, averaged with this one step by step.
        k: Hypotheses that count for ``test/wer_at_k``.
        separate_pass: Take CER and WER from the last hypothesis, which does not count for ``test/wer_at_k``.
        drop_last_symbol: Drop the last symbol written before ``test/error_rate_macro`` is measured, even when it is not
            EOS (d2223's published rows).
        attention_examples: How many test pairs' attention to keep.
    """

    checkpoint: Literal["best", "last"] = "best"
    members: Sequence[int] = ()
    k: Annotated[int, Ge(1)] = 3
    separate_pass: bool = False
    drop_last_symbol: bool = False
    attention_examples: Annotated[int, Ge(0)] = 10

    def __post_init__(self) -> None:
        if self.separate_pass and getattr(self.decoding, "samples", 0) <= self.k:
            raise ValueError(f"separate_pass needs decoding.samples of at least k + 1 = {self.k + 1}")

    def __call__(
        self,
        trainer: pl.Trainer,
        task: Transduction,
        data: TransductionDataModule,
        last: Weights,
        best: Weights,
        *,
        members: Sequence[tuple[Weights, Weights]] = (),
    ) -> tuple[dict[str, float], list[Prediction]]:
        """Metrics by name, and a prediction for every test pair in the split's order; see `Evaluation`."""
        choose = {"last": 0, "best": 1}[self.checkpoint]
        task.load_state_dict((last, best)[choose])
        if members:
            copies = [copy.deepcopy(task) for _ in members]
            for other, weights in zip(copies, members, strict=True):
                other.load_state_dict(weights[choose])
            # Registered with the task, so that they share its device and mode.
            task.others = nn.ModuleList(other.model for other in copies)
            task.ensemble = Ensemble([task.model, *task.others])  # type: ignore[list-item]
        metrics, decoded = self.decode(trainer, task, data)
        if members:
            metrics = {}  # the loss is that of one network
            del task.others
            task.ensemble = None
        symbols, reverse_source = data.target_vocabulary.symbols, data.reverse_source
        predictions = collect(decoded, data.pairs("test"), symbols, reverse_source=reverse_source)
        parameters = count_parameters(task.model) * (1 + len(members))
        return metrics | self.measure(predictions) | {"model/parameters": float(parameters)}, predictions

    def measure(self, predictions: Sequence[Prediction]) -> dict[str, float]:
        """The error rates by name."""
        truth = [prediction.pair.target for prediction in predictions]
        own = -1 if self.separate_pass else 0
        texts = [prediction.texts[own] for prediction in predictions]
        cer, wer, macro = CharacterErrorRate(), WordErrorRate(), MacroErrorRate(self.drop_last_symbol)
        cer.update(texts, truth)
        wer.update(texts, truth)
        macro.update([each.hypotheses[own] for each in predictions] if self.drop_last_symbol else texts, truth)
        rates = {"test/cer": cer, "test/wer": wer, "test/error_rate_macro": macro}
        candidates = [prediction.texts[: self.k] for prediction in predictions]
        if self.k > 1 and min(map(len, candidates), default=0) == self.k:
            rates[f"test/wer_at_{self.k}"] = at_k = WordErrorRateAtK(self.k)
            at_k.update(candidates, truth)
        found = {name: float(rate.compute()) for name, rate in rates.items()}
        return found | edits(texts, truth).named("test/cer")

    def joiners(self, data: TransductionDataModule) -> tuple[str, str]:
        """Those of the data set."""
        return data.pair_set.source_joiner, data.pair_set.target_joiner
