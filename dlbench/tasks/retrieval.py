"""Storing pictures in a Hopfield network, and retrieving them from corrupted copies."""

from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn

from dlbench.components import component
from dlbench.errors import ConfigError
from dlbench.models.hopfield import HopfieldNetwork
from dlbench.randomness import generator
from dlbench.tasks.base import Monitor, Task
from dlbench.tasks.recall import Corruption, Recall, corrupt, recall

Batch = tuple[Tensor, Tensor]


@component("nothing", "1.0")
def nothing() -> None:
    """What stands where another task has its optimiser and schedule: nothing is learned by gradient here."""


@component("picture_retrieval", "1.0")
class PictureRetrieval(Task):
    """An epoch stores the first pictures of its order, which is a function of (seed, epoch); no step is taken.

    Validation asks for what was stored, not for the validation split, whose pictures the network never saw: it
    retrieves corrupted copies of stored patterns. So does the test, whose copies are corrupted by streams of their own.
    What they tell is `dlbench.tasks.recall.Recall.metrics`.

    Args:
        model: A Hopfield network.
        optimizer: None: see `nothing`.
        scheduler: None.
        seed: See `Task`.
        stored: ``pictures``, or ``random``: signs drawn at random in their place, as many and of their shape.
        corruption: See `dlbench.tasks.recall.corrupt`.
        amount: See there.
        queries: How many of the patterns are corrupted and retrieved, the first ones stored.
        tolerance: How far a retrieved picture may be from the true one, relative to its length. The default lets 2.25 %
            of signs be wrong, an overlap of 0.955; at the critical load of the classical network 0.967 is left.

    Raises:
        ValueError: The model is no Hopfield network, or there is an optimiser or schedule.
    """

    monitor = Monitor("val/retrieval_accuracy", "max")
    model: HopfieldNetwork

    def __init__(
        self,
        *,
        model: nn.Module,
        optimizer: None = None,
        scheduler: None = None,
        seed: int = 0,
        stored: Literal["pictures", "random"] = "pictures",
        corruption: Corruption = "mask",
        amount: Annotated[float, Ge(0), Le(1)] = 0.5,
        queries: Annotated[int, Gt(0)] = 100,
        tolerance: Annotated[float, Gt(0)] = 0.3,
    ) -> None:
        if not isinstance(model, HopfieldNetwork):
            raise ValueError("retrieval is of a Hopfield network; choose model=hopfield or model=hopfield_classical")
        if optimizer is not None or scheduler is not None:
            raise ValueError("nothing is learned by gradient; choose optimizer=none scheduler=none")
        super().__init__(model, nothing, nothing, seed)  # type: ignore[arg-type]
        self.automatic_optimization = False
        self.stored, self.corruption, self.amount = stored, corruption, amount
        self.queries, self.tolerance = queries, tolerance
        self.recalled: Recall | None = None
        """What the last validation gave."""

    def check_data(self, data: Any) -> None:
        """See that there are as many pictures as are to be stored, and make room for them.

        Raises:
            ConfigError: There are fewer.
        """
        images = data.tensors("train").images
        if len(images) < self.model.patterns:
            raise ConfigError(
                f"model.patterns={self.model.patterns}: there are {len(images)} training pictures to store; choose "
                "fewer patterns"
            )
        self.model.make_room(images.shape[1:])

    def loss(self, batch: Batch) -> Tensor:
        """There is none."""
        raise NotImplementedError

    def configure_optimizers(self) -> Any:
        """None; Lightning takes an empty list without remark."""
        return []

    def on_train_epoch_start(self) -> None:
        """Forget what an earlier epoch stored."""
        self.model.forget()

    def training_step(self, batch: Batch, batch_idx: int) -> None:  # type: ignore[override]
        """Store the batch's pictures, as far as there is room."""
        pictures, _ = batch
        self.model.store(self._random(pictures) if self.stored == "random" else pictures)

    def on_train_epoch_end(self) -> None:
        """See that all is stored.

        Raises:
            ConfigError: The epoch was too short.
        """
        if self.model.stored < self.model.patterns:
            raise ConfigError(
                f"trainer.limit_train_batches={self.trainer.limit_train_batches}: only {self.model.stored} pictures "
                f"were stored, but model.patterns={self.model.patterns}; allow more batches or choose fewer patterns"
            )

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Nothing is asked of the validation split."""

    def on_validation_epoch_end(self) -> None:
        """Retrieve, and log the metrics."""
        self.recalled = self.recall("val")
        self.log_dict(self.recalled.metrics("val", self.tolerance), logger=False)

    def recall(self, split: str) -> Recall:
        """Corrupt stored patterns by the split's own streams, and retrieve them."""
        patterns = self.model.memory[: self.queries]
        return recall(self.model, corrupt(patterns, self.corruption, self.amount, self.seed, f"{split} corruption"))

    def _random(self, pictures: Tensor) -> Tensor:
        """Random signs of the shape of pictures (batch, channels, height, width); each is a function of its place."""
        places = range(self.model.stored, min(self.model.stored + len(pictures), self.model.patterns))
        streams = [generator(self.seed, "random pattern", place) for place in places]
        signs = [torch.randint(2, pictures.shape[1:], generator=stream) for stream in streams]
        return torch.stack(signs).mul(2).sub(1).to(pictures) if signs else pictures[:0]
