"""Transduction: sequences in, sequences out; trained by teacher forcing, judged by what greedy decoding writes."""

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

from annotated_types import Ge
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import MeanMetric, MetricCollection

from dlbench.components import component
from dlbench.data.pairs import PairBatch
from dlbench.data.vocabulary import EOS, PAD, SOS
from dlbench.decoding.hypotheses import Decoder, Hypotheses, StepModel
from dlbench.decoding.sampling import Greedy
from dlbench.metrics.error_rates import CharacterErrorRate, MacroErrorRate, WordErrorRate
from dlbench.tasks.base import Monitor, OptimizerFactory, SchedulerFactory, Task


class Decoded(NamedTuple):
    """A batch's hypotheses, and the positions (B,) in their split of the pairs they are for."""

    places: Tensor
    hypotheses: Hypotheses


@component("transduction", "1.0", uses=(Greedy, CharacterErrorRate, WordErrorRate, MacroErrorRate))
class Transduction(Task):
    """Train with cross-entropy under full teacher forcing; validate with it and with greedy decoding.

    Beside the means of the training loss it logs ``train/loss_last_batch`` (what d2223 states as "loss"), and after
    each epoch ``val/loss`` (cross-entropy a symbol, EOS included), ``val/cer`` (micro), ``val/wer`` and
    ``val/error_rate_macro``. The best epoch is the first of the lowest validation CER (REPORTS section 2).

    Args:
        model: A network as `dlbench.decoding.hypotheses.StepModel` describes, that is called with (source, lengths,
            target) in training.
        optimizer: See `Task`.
        scheduler: See `Task`.
        seed: See `Task`.
        val_max_length: The most symbols that validation decodes, EOS included.
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
        super().__init__(model, optimizer, scheduler, seed)
        self.decoder: Decoder = Greedy(val_max_length)
        self.ensemble: StepModel | None = None
        self.val_loss, self.test_loss = MeanMetric(), MeanMetric()
        self.val_rates = MetricCollection(
            {"val/cer": CharacterErrorRate(), "val/wer": WordErrorRate()}, compute_groups=False
        )
        self.val_macro = MacroErrorRate(drop_last_symbol)

    def check_data(self, data: Any) -> None:
        """See that the optimiser and the schedule take their settings."""
        self.check_optimizers()

    def logits(self, batch: PairBatch) -> Tensor:
        """Logits (B, T - 1, V) of ``target[:, 1:]`` by teacher forcing."""
        logits: Tensor = self.model(batch.source, batch.source_lengths, batch.target[:, :-1])
        return logits

    def loss(self, batch: PairBatch) -> Tensor:
        """Cross-entropy, averaged over the batch's symbols without padding."""
        return functional.cross_entropy(
            self.logits(batch).flatten(0, 1), batch.target[:, 1:].flatten(), ignore_index=PAD
        )

    def on_train_epoch_end(self) -> None:
        """Log the means of the training loss, and its last value."""
        super().on_train_epoch_end()
        self.log("train/loss_last_batch", self.epoch_losses[-1], logger=False)

    def validation_step(self, batch: PairBatch, batch_idx: int) -> None:
        """Accumulate the loss and, decoding greedily, the error rates."""
        self._measure_loss(batch, "val", self.val_loss)
        tokens = self.decode(batch).tokens[:, 0]
        written, truth = symbols(tokens), symbols(batch.target)
        self.val_rates.update(written, truth)
        self.val_macro.update(symbols(tokens, keep_end=True) if self.val_macro.drop_last_symbol else written, truth)
        self.log_dict({**dict(self.val_rates.items()), "val/error_rate_macro": self.val_macro}, logger=False)

    def test_step(self, batch: PairBatch, batch_idx: int) -> None:
        """Accumulate the loss; what is decoded is the evaluation's matter."""
        self._measure_loss(batch, "test", self.test_loss)

    def predict_step(self, batch: PairBatch, batch_idx: int) -> Decoded:
        """Decode; see `decode`."""
        return Decoded(batch.index, self.decode(batch))

    def decode(self, batch: PairBatch) -> Hypotheses:
        """Decode with ``decoder``, greedy unless an evaluation sets another, the model or the ``ensemble``, if set."""
        model: Any = self.ensemble or self.model
        return self.decoder(model, batch.source, batch.source_lengths, batch.index, self.seed)

    def _measure_loss(self, batch: PairBatch, split: str, loss: MeanMetric) -> None:
        truth = batch.target[:, 1:].flatten()
        losses = functional.cross_entropy(self.logits(batch).float().flatten(0, 1), truth, reduction="none")
        loss.update(losses[truth != PAD])
        self.log(f"{split}/loss", loss, logger=False)


def symbols(tokens: Tensor, keep_end: bool = False) -> list[Sequence[Any]]:
    """The symbols of each row (B, L): up to the first EOS, with it if asked for, without SOS and padding."""
    rows: list[Sequence[Any]] = []
    for row in tokens.tolist():
        end = row.index(EOS) + keep_end if EOS in row else len(row)
        rows.append([token for token in row[:end] if token not in (PAD, SOS)])
    return rows
