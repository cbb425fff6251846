"""Sequences in, sequences out: trained by teacher forcing, judged by what greedy decoding writes."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, NamedTuple

from annotated_types import Ge
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import MeanMetric, MetricCollection

from dlbench.components import component
from dlbench.data.vocabulary import PAD, until_end
from dlbench.decoding.sampling import Greedy
from dlbench.metrics.best_epoch import Monitor
from dlbench.metrics.sequences import CharacterErrorRate, MacroErrorRate, WordErrorRate
from dlbench.protocols import Decoder, Hypotheses, StepModel
from dlbench.tasks.base import OptimizerFactory, SchedulerFactory, Task, mean_loss
from dlbench.terminal import say


class Decoded(NamedTuple):
    """A batch's hypotheses, and the positions (B,) in their split of the examples they are for."""

    places: Tensor
    hypotheses: Hypotheses


class SequenceTask(Task):
    """What transduction and speech recognition share: full teacher forcing, greedy decoding in validation.

    Batches have ``source``, ``source_lengths``, ``target`` (B, T) beginning with SOS, and ``index``, the examples'
    positions in their split: see `dlbench.data.pairs.PairBatch`.

    Args (beside those of `Task`):
        model: A network as `dlbench.protocols.StepModel` describes, that is called with (source, lengths, target) in
            training.
        val_max_length: The most symbols that validation decodes, EOS included.
    """

    def __init__(
        self, model: nn.Module, optimizer: OptimizerFactory, scheduler: SchedulerFactory, seed: int, val_max_length: int
    ) -> None:
        super().__init__(model, optimizer, scheduler, seed)
        self.val_max_length = val_max_length
        self.decoder: Decoder = Greedy(val_max_length)
        """Greedy, unless an evaluation sets another."""
        self.ensemble: StepModel | None = None
        """What is decoded in the model's place, if an evaluation sets it."""
        self.val_loss, self.test_loss = mean_loss(), mean_loss()

    def check_data(self, data: Any) -> None:
        """Say which validation targets are too long to be decoded whole; see `Task.check_data`."""
        super().check_data(data)
        self.test_lengths = data.tensors("test").target_lengths - 1
        _tell_longer("validation", data.tensors("val").target_lengths - 1, "task.val_max_length", self.val_max_length)

    def check_evaluation(self, settings: Mapping[str, Any]) -> None:
        """Say which test targets are too long to be decoded whole, after `check_data`."""
        if most := settings["decoding"].get("max_length"):
            _tell_longer("test", self.test_lengths, "evaluation.decoding.max_length", most)

    @abstractmethod
    def measure_loss(self, batch: Any, loss: MeanMetric) -> None:
        """Add a batch's loss to a mean over symbols."""

    def logits(self, batch: Any) -> Tensor:
        """Logits (B, T - 1, V) of ``target[:, 1:]`` by teacher forcing."""
        logits: Tensor = self.model(batch.source, batch.source_lengths, batch.target[:, :-1])
        return logits

    @abstractmethod
    def measure(self, tokens: Tensor, target: Tensor) -> None:
        """Accumulate and log what greedy decoding wrote, (B, L), against the targets (B, T)."""

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        """Accumulate ``val/loss`` and `measure`; what was decoded."""
        self.measure_loss(batch, self.val_loss)
        self.log("val/loss", self.val_loss, logger=False)
        decoded = self.predict_step(batch, batch_idx)
        self.measure(decoded.hypotheses.tokens[:, 0], batch.target)
        return decoded

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Accumulate ``test/loss``; what is decoded is the evaluation's matter."""
        self.measure_loss(batch, self.test_loss)
        self.log("test/loss", self.test_loss, logger=False)

    def predict_step(self, batch: Any, batch_idx: int) -> Decoded:
        """Decode the model, or the ``ensemble``, if set, with ``decoder``."""
        model: Any = self.ensemble or self.model
        return Decoded(batch.index, self.decoder(model, batch.source, batch.source_lengths, batch.index, self.seed))


def _tell_longer(split: str, lengths: Tensor, key: str, most: int) -> None:
    """Lengths count the EOS, as ``most`` does."""
    if longer := int((lengths > most).sum()):
        _say_once(f"{longer} of {len(lengths)} {split} targets are longer than {key}={most}, so never right; raise it")


@cache
def _say_once(text: str) -> None:
    say(text)


def symbols(tokens: Tensor, keep_end: bool = False) -> list[Sequence[Any]]:
    """The symbols of each row (B, L): up to the first EOS, with it if asked for, without SOS and padding."""
    return [until_end(row, keep_end) for row in tokens.tolist()]


@component("transduction", "1.0", uses=(Greedy, CharacterErrorRate, WordErrorRate, MacroErrorRate))
class Transduction(SequenceTask):
    """Train with cross-entropy under full teacher forcing; validate with it and with greedy decoding.

    Beside the means of the training loss it logs ``train/loss_last_batch`` (what d2223 states as "loss"), and after
    each epoch ``val/loss`` (cross-entropy a symbol, EOS included), ``val/cer`` (micro), ``val/wer`` and
    ``val/error_rate_macro``. The best epoch is the first of the lowest validation CER (the 2024/25 reports).

    Args (beside those of `SequenceTask`):
        drop_last_symbol: Drop the last symbol written before ``val/error_rate_macro`` is measured, even when it is not
            EOS (d2223's published rows).
    """

    monitor = Monitor("val/cer", "min")

    def __init__(
        self,
        model: nn.Module,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory,
        seed: int = 0,
        *,
        val_max_length: Annotated[int, Ge(1)] = 50,
        drop_last_symbol: bool = False,
    ) -> None:
        super().__init__(model, optimizer, scheduler, seed, val_max_length)
        rates: Any = {"val/cer": CharacterErrorRate(), "val/wer": WordErrorRate()}
        self.val_rates = MetricCollection(rates, compute_groups=False)
        self.val_macro = MacroErrorRate(drop_last_symbol)

    def loss(self, batch: Any) -> Tensor:
        """Cross-entropy, averaged over the batch's symbols without padding."""
        truth = batch.target[:, 1:].flatten()
        return functional.cross_entropy(self.logits(batch).flatten(0, 1), truth, ignore_index=PAD)

    def measure_loss(self, batch: Any, loss: MeanMetric) -> None:
        """Add every symbol's cross-entropy, padding left out."""
        truth = batch.target[:, 1:].flatten()
        losses = functional.cross_entropy(self.logits(batch).float().flatten(0, 1), truth, reduction="none")
        loss.update(losses[truth != PAD])

    def on_train_epoch_end(self) -> None:
        """Log the means of the training loss, and its last value."""
        super().on_train_epoch_end()
        self.log("train/loss_last_batch", self.epoch_losses[-1], logger=False)

    def measure(self, tokens: Tensor, target: Tensor) -> None:
        """Accumulate the error rates."""
        written, truth = symbols(tokens), symbols(target)
        self.val_rates.update(written, truth)
        self.val_macro.update(symbols(tokens, keep_end=True) if self.val_macro.drop_last_symbol else written, truth)
        self.log_dict({**dict(self.val_rates.items()), "val/error_rate_macro": self.val_macro}, logger=False)
