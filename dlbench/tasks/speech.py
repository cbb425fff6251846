"""Speech recognition: log-mel features in, characters out (report e2324)."""

from collections.abc import Mapping
from typing import Annotated, Any

from annotated_types import Ge, Lt
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import MeanMetric, MetricCollection

from dlbench.components import component
from dlbench.data.pairs import PairBatch
from dlbench.data.vocabulary import PAD
from dlbench.decoding.sampling import Greedy
from dlbench.errors import ConfigError
from dlbench.metrics.best_epoch import Monitor
from dlbench.metrics.sequences import CharacterErrorRate, Cosine, DamerauLevenshtein, Jaccard
from dlbench.tasks.base import OptimizerFactory, SchedulerFactory
from dlbench.tasks.transduction import SequenceTask, symbols


def scores(split: str) -> MetricCollection:
    """The three similarities the report measures, and the character error rate (micro)."""
    named: Any = {"jaccard": Jaccard(), "cosine": Cosine(), "damerau_levenshtein": DamerauLevenshtein()}
    named["cer"] = CharacterErrorRate()
    return MetricCollection({f"{split}/{name}": metric for name, metric in named.items()}, compute_groups=False)


@component("speech_recognition", "1.0", uses=(Greedy, Jaccard, Cosine, DamerauLevenshtein, CharacterErrorRate))
class SpeechRecognition(SequenceTask):
    """Train with cross-entropy under full teacher forcing; validate with it and with greedy decoding.

    After each epoch it logs ``val/loss``, computed as the training loss is, and what `scores` measures of the symbols
    between start and end.

    Args (beside those of `SequenceTask`):
        label_smoothing: The probability mass spread over all symbols.
        ignore_padding: Average the loss over symbols alone; False, as published: over the padding behind them too.
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
        super().__init__(model, optimizer, scheduler, seed, val_max_length)
        self.label_smoothing, self.ignore_padding = label_smoothing, ignore_padding
        self.val_scores = scores("val")

    def check_data(self, data: Any) -> None:
        """See that the decoder reads targets as long as the data's, and that the optimiser takes its settings.

        Raises:
            ConfigError: It does not, or the optimiser or the schedule refuses its settings.
        """
        super().check_data(data)
        for split in ("train", "val", "test"):
            self._check_length(f"data: the {split} transcripts", data.tensors(split).target.shape[1] - 1)
        self._check_length("task.val_max_length", self.val_max_length)

    def check_evaluation(self, settings: Mapping[str, Any]) -> None:
        """See that the decoder can read as many symbols as the decoding may write, if that is stated.

        Raises:
            ConfigError: It cannot.
        """
        super().check_evaluation(settings)
        self._check_length("evaluation.decoding.max_length", settings["decoding"].get("max_length", 0))

    def _check_length(self, what: str, length: int) -> None:
        most = self.model.most_symbols
        if isinstance(most, int) and length > most:
            raise ConfigError(f"{what}: {length} symbols, where the decoder has model.positions={most}; raise it")

    def loss(self, batch: PairBatch) -> Tensor:
        """Label-smoothed cross-entropy, averaged over the batch's symbols, padding included unless it is ignored."""
        return functional.cross_entropy(
            self.logits(batch).float().flatten(0, 1),
            batch.target[:, 1:].flatten(),
            ignore_index=PAD if self.ignore_padding else -100,
            label_smoothing=self.label_smoothing,
        )

    def measure_loss(self, batch: PairBatch, loss: MeanMetric) -> None:
        """Add the batch's loss, weighed by the symbols it is a mean of."""
        truth = batch.target[:, 1:]
        loss.update(self.loss(batch), (truth != PAD).sum() if self.ignore_padding else truth.numel())

    def measure(self, tokens: Tensor, target: Tensor) -> None:
        """Accumulate the scores."""
        self.val_scores.update(symbols(tokens), symbols(target))
        self.log_dict(dict(self.val_scores.items()), logger=False)
