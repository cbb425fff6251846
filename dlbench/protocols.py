"""The seams of a run: what it asks of data, tasks, evaluations and decoders, whoever wrote them.

A class fits a protocol by having its methods; it need not name it. Data and tasks are Lightning's besides
(`LightningDataModule`, `LightningModule`). Shapes: B examples, S symbols or frames read, T or L symbols written, V
symbols to choose from, N hypotheses an example.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import pytorch_lightning as pl
from torch import Tensor, nn

from dlbench.metrics.best_epoch import Monitor

Weights = Mapping[str, Tensor]
"""A task's ``state_dict``."""

State = dict[str, Tensor]
"""A model's memory between steps; the first dimension of every tensor is the batch, so rows can be chosen by index."""


class DataModule(Protocol):
    """A data set in its splits ``train``, ``val`` and ``test``, as a LightningDataModule gives them.

    Its constructor may take ``folder``, ``cache`` and ``seed``. Batches depend on (seed, epoch) alone. Tasks,
    evaluations and callbacks of a kind ask for more, which the DataModules in `dlbench.data` have.
    """

    batch_size: int
    """Of training."""

    def describe(self) -> dict[str, Any]:
        """What a record keeps of the data, as plain JSON; reads it.

        ``fingerprint`` identifies its content, ``source`` and ``provenance`` tell where it came from, ``name`` what it
        is, ``vocabularies`` (of sequences) which symbols there are. Doubts are warnings of `DataNotice`.

        Raises:
            DataError: It is missing, altered, or cannot be read.
        """

    def model_arguments(self) -> dict[str, Any]:
        """What the model's constructor takes of the data, such as sizes of vocabularies."""


class Task(Protocol):
    """What a training step and a loss are, as a LightningModule: see `dlbench.tasks.base.Task`.

    Its constructor takes ``model``, ``optimizer``, ``scheduler`` and ``seed``. It logs the monitored metric in
    validation, as all its metrics, with ``self.log(..., logger=False)``. Pictures show what its ``validation_step``
    returns.
    """

    monitor: ClassVar[Monitor]
    model: nn.Module

    def check_data(self, data: Any) -> None:
        """See that the model can be trained on the data at all, before the first step.

        Raises:
            ConfigError: It cannot.
        """

    def check_evaluation(self, settings: Mapping[str, Any]) -> None:
        """See that what is trained can be evaluated by the settings of ``evaluation``, before the first step.

        Raises:
            ConfigError: It cannot.
        """


class Evaluation(Protocol):
    """What is measured of trained weights on the test split.

    The annotation of ``task`` in its ``__call__`` tells which kind of task it is for. One with a setting ``members``
    (seeds of other runs) is also called with ``members=[(last, best), ...]``, the weights of these runs.
    """

    def __call__(
        self, trainer: pl.Trainer, task: Any, data: Any, last: Weights, best: Weights
    ) -> tuple[dict[str, float], Any]:
        """Metrics by name, and what `write` takes.

        Args:
            trainer: Gives device and precision.
            task: The task; its weights are replaced.
            data: The DataModule.
            last: Weights after the last epoch.
            best: Weights after the best epoch.
        """

    def write(self, folder: Path, task: Any, data: Any, outputs: Any) -> None:
        """Write ``predictions.csv`` and what belongs into ``artifacts``, both in an evaluation's folder."""


@runtime_checkable
class Shown(Protocol):
    """A callback that shows something of one kind of task; others go with every task."""

    shows: type[pl.LightningModule]


class StepModel(Protocol):
    """A model that predicts a target symbol by symbol. Decoders leave it in the mode (train, eval) they find it in."""

    @property
    def outputs(self) -> int:
        """Number V of symbols a step chooses from."""

    def encode(self, source: Tensor, lengths: Tensor) -> State:
        """The state before the first step, from sources (B, S) or (B, S, features), padded, and their lengths (B,)."""

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits (B, V) of the next symbols after ``tokens`` (B,), and the new state.

        The given state is not changed. A tensor handed on as the same object counts as untouched: beam search does not
        move it when it reorders the hypotheses of a source. Attention weights (B, S), if any, stand under
        ``attention``.
        """


class Hypotheses(NamedTuple):
    """Decoded sequences for B sources, N for each.

    Attributes:
        tokens: (B, N, L) int64, without SOS, with EOS where it was reached, PAD after it.
        log_probs: (B, N) float32, natural logarithm of each sequence's probability, EOS included, under the model; -inf
            where there is no further hypothesis.
        attention: (B, L, S) weights of the first hypothesis, 0 after its end; None where the decoder keeps none.
    """

    tokens: Tensor
    log_probs: Tensor
    attention: Tensor | None


class Decoder(Protocol):
    """A way to decode a batch."""

    def __call__(self, model: StepModel, source: Tensor, lengths: Tensor, index: Tensor, seed: int) -> Hypotheses:
        """Decode sources (B, S) of ``lengths`` (B,), examples ``index`` (B,) of their split, in a run of ``seed``."""
