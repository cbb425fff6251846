"""Speech recognition: log-mel features in, characters out (REPORTS section 6)."""

from typing import Annotated, Any

from annotated_types import Ge, Lt
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import MeanMetric, MetricCollection

from dlbench.components import component
from dlbench.data.speech_batches import SpeechBatch
from dlbench.data.vocabulary import PAD
from dlbench.decoding.hypotheses import Decoder, Hypotheses
from dlbench.decoding.sampling import Greedy
from dlbench.errors import ConfigError
from dlbench.metrics.error_rates import CharacterErrorRate
from dlbench.metrics.similarities import Cosine, DamerauLevenshtein, Jaccard
from dlbench.tasks.base import Monitor, OptimizerFactory, SchedulerFactory, Task
from dlbench.tasks.transduction import Decoded, symbols


def scores(split: str) -> MetricCollection:
    """The three similarities the report measures, and the character error rate (micro)."""
    rates = {"jaccard": Jaccard(), "cosine": Cosine(), "damerau_levenshtein": DamerauLevenshtein()}
    named = {f"{split}/{name}": metric for name, metric in {**rates, "cer": CharacterErrorRate()}.items()}
    return MetricCollection(named, compute_groups=False)  # type: ignore[arg-type]


@component("speech_recognition", "1.0", uses=(Greedy, Jaccard, Cosine, DamerauLevenshtein, CharacterErrorRate))
class SpeechRecognition(Task):
    """Train with cross-entropy under full teacher forcing; validate with it and with greedy decoding.

    After each epoch it logs ``val/loss``, computed as the training loss is, and what `scores` measures of the symbols
    between start and end.

    Args:
        model: A network as `dlbench.decoding.hypotheses.StepModel` describes, that is called with (source, lengths,
            target) in training.
        optimizer: See `Task`.
        scheduler: See `Task`.
        seed: See `Task`.
        label_smoothing: The probability mass spread over all symbols.
        ignore_padding: Average the loss over symbols alone; False, as published: over the padding behind them too.
        val_max_length: The most symbols that validation decodes, EOS included.
    """

    monitor = Monitor("val/damerau_levenshtein", "max")

    def __init__(
        self,
        model: nn.Module,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory,
        seed: int = 0,
        *,
        label_smoothing: Annotated[float, Ge(0), Lt(1)] = 0.1,
        ignore_padding: bool = False,
        val_max_length: Annotated[int, Ge(1)] = 98,
    ) -> None:
        super().__init__(model, optimizer, scheduler, seed)
        self.label_smoothing, self.ignore_padding = label_smoothing, ignore_padding
        self.decoder: Decoder = Greedy(val_max_length)
        self.val_max_length = val_max_length
        self.val_loss, self.test_loss = MeanMetric(), MeanMetric()
        self.val_scores = scores("val")

    def check_data(self, data: Any) -> None:
        """See that the decoder reads targets as long as the data's, and that the optimiser takes its settings.

        Raises:
            ConfigError: It does not, or the optimiser or the schedule refuses its settings.
        """
        self.check_optimizers()
        for split in ("train", "val", "test"):
            self.check_length(f"data: the {split} transcripts", data.tensors(split).target.shape[1] - 1)
        self.check_length("task.val_max_length", self.val_max_length)

    def check_length(self, what: str, length: int) -> None:
        """See that the decoder can read so many symbols.

        Raises:
            ConfigError: It cannot.
        """
        most = self.model.most_symbols
        if isinstance(most, int) and length > most:
            raise ConfigError(f"{what}: {length} symbols, where the decoder has model.positions={most}; raise it")

    def loss(self, batch: SpeechBatch) -> Tensor:
        """Label-smoothed cross-entropy, averaged over the batch's symbols, padding included unless it is ignored."""
        logits = self.model(batch.source, batch.source_lengths, batch.target[:, :-1])
        return functional.cross_entropy(
            logits.float().flatten(0, 1),
            batch.target[:, 1:].flatten(),
            ignore_index=PAD if self.ignore_padding else -100,
            label_smoothing=self.label_smoothing,
        )

    def validation_step(self, batch: SpeechBatch, batch_idx: int) -> None:
        """Accumulate the loss and, decoding greedily, the scores."""
        self._measure_loss(batch, "val", self.val_loss)
        self.val_scores.update(symbols(self.decode(batch).tokens[:, 0]), symbols(batch.target))
        self.log_dict(dict(self.val_scores.items()), logger=False)

    def test_step(self, batch: SpeechBatch, batch_idx: int) -> None:
        """Accumulate the loss; what is decoded is the evaluation's matter."""
        self._measure_loss(batch, "test", self.test_loss)

    def predict_step(self, batch: SpeechBatch, batch_idx: int) -> Decoded:
        """Decode; see `decode`."""
        return Decoded(batch.index, self.decode(batch))

    def decode(self, batch: SpeechBatch) -> Hypotheses:
        """Decode with ``decoder``, greedy unless an evaluation sets another."""
        model: Any = self.model
        return self.decoder(model, batch.source, batch.source_lengths, batch.index, self.seed)

    def _measure_loss(self, batch: SpeechBatch, split: str, loss: MeanMetric) -> None:
        truth = batch.target[:, 1:]
        loss.update(self.loss(batch), (truth != PAD).sum() if self.ignore_padding else truth.numel())
        self.log(f"{split}/loss", loss, logger=False)
