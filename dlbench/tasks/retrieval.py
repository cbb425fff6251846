"""Storing pictures in a Hopfield network, and retrieving them from corrupted copies."""

from typing import Annotated, Any, Literal, NamedTuple

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn

from dlbench.components import component
from dlbench.errors import ConfigError
from dlbench.metrics.best_epoch import Monitor
from dlbench.models.hopfield import HopfieldNetwork
from dlbench.seeding import generator
from dlbench.tasks.base import Task

Corruption = Literal["mask", "noise"]


def corrupt(patterns: Tensor, kind: Corruption, amount: float, seed: int, purpose: str) -> Tensor:
    """Corrupted copies of centred patterns (Q, channels, height, width), each by a stream of its own.

    ``mask`` sets a band of whole rows, at a place drawn at random, to 0. ``noise`` mixes the pattern x with Gaussian
    noise n of its own root mean square, (1 - amount) x + amount n. With an amount of 1 nothing of a pattern is left.
    """
    streams = [generator(seed, purpose, place) for place in range(len(patterns))]
    if kind == "noise":
        shape, like = patterns.shape[1:], patterns
        noise = torch.stack([torch.randn(shape, generator=stream, dtype=torch.float64) for stream in streams]).to(like)
        return (1 - amount) * patterns + amount * noise * patterns.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    rows = patterns.shape[2]
    masked = round(amount * rows)
    first = torch.cat([torch.randint(rows - masked + 1, (1,), generator=stream) for stream in streams])
    row = torch.arange(rows) - first[:, None]
    is_masked = ((row >= 0) & (row < masked)).to(patterns.device)
    return patterns.masked_fill(is_masked[:, None, :, None], 0)


class RetrievalResult(NamedTuple):
    """What a network made of Q queries, the first Q of its patterns corrupted.

    Distances are Euclidean and relative to the longest pattern (all are of one length, but for pictures of a single
    colour). With signs a distance of d is a share d^2 / 4 of wrong ones.
    """

    patterns: Tensor
    """The true ones, (Q, channels, height, width)."""
    queries: Tensor
    """The same corrupted, as the network began."""
    states: Tensor
    """The same where the network ended."""
    nearest_before: Tensor
    """The stored pattern nearest to each query, by position, (Q,); the true one where it is as near."""
    nearest: Tensor
    """The one nearest to the state, in the same way."""
    distance_before: Tensor
    """From a query to its true pattern, (Q,)."""
    distance: Tensor
    """From a state to its true pattern, (Q,)."""
    steps: Tensor
    """Updates, the last one counted, which shows that the state stands still, (Q,)."""
    converged: Tensor
    """Whether it came to a fixed point before its steps ran out, (Q,)."""

    def retrieved(self, tolerance: float) -> Tensor:
        """Whether the network came to a fixed point to which the true pattern is nearest, and near enough, (Q,)."""
        own = torch.arange(len(self.nearest), device=self.nearest.device)
        return self.converged & (self.nearest == own) & (self.distance <= tolerance)

    def metrics(self, split: str, tolerance: float) -> dict[str, float]:
        """Four means over the queries.

        ``retrieval_accuracy`` is the share of queries from which the network came to a fixed point whose nearest stored
        pattern is the true one, at a relative distance of at most ``tolerance``: see `retrieved`. ``nearest_before`` is
        the share that are nearest to their true pattern already as they are. ``steps`` is the mean number of updates,
        ``distance`` the mean relative distance from where the network ended to the true pattern.
        """
        own = torch.arange(len(self.nearest), device=self.nearest.device)
        found = {"retrieval_accuracy": self.retrieved(tolerance), "nearest_before": self.nearest_before == own}
        found |= {"steps": self.steps, "distance": self.distance}
        return {f"{split}/{name}": values.double().mean().item() for name, values in found.items()}


def retrieve(network: HopfieldNetwork, corrupted: Tensor) -> RetrievalResult:
    """Retrieve corrupted copies (Q, channels, height, width) of the first Q patterns that a network has stored."""
    patterns, queries = network.memory[: len(corrupted)], network.admit(corrupted)
    states, steps, converged = network(queries)
    stored = network.memory.flatten(1)
    nearest_before, distance_before = _compared(queries.flatten(1), stored)
    nearest, distance = _compared(states, stored)
    return RetrievalResult(
        *(patterns, queries, states.reshape(patterns.shape)),
        *(nearest_before, nearest, distance_before, distance, steps, converged),
    )


def _compared(states: Tensor, stored: Tensor) -> tuple[Tensor, Tensor]:
    """For each state (Q, D) the position of the nearest stored pattern, and the relative distance to its own."""
    own = stored[: len(states)]
    # The nearest is that with the largest x's - x'x / 2.
    nearest = (states @ stored.T - stored.square().sum(dim=1) / 2).argmax(dim=1)
    is_same = (stored[nearest] == own).all(dim=1)  # a picture may be stored twice
    nearest = torch.where(is_same, torch.arange(len(own), device=own.device), nearest)
    return nearest, (states - own).norm(dim=1) / stored.norm(dim=1).amax()


Batch = tuple[Tensor, Tensor]


@component("nothing", "1.0")
def no_optimizer() -> None:
    """Stands where another task has its optimiser and schedule: nothing is learned by gradient."""


@component("picture_retrieval", "1.0")
class PictureRetrieval(Task):
    """An epoch stores the first pictures of its order, which is a function of (seed, epoch); no step is taken.

    Validation asks for what was stored, not for the validation split, whose pictures the network never saw: it
    retrieves corrupted copies of stored patterns. So does the test, whose copies are corrupted by streams of their own.
    What they tell is `dlbench.tasks.retrieval.RetrievalResult.metrics`.

    Args:
        model: A Hopfield network.
        optimizer: None: see `no_optimizer`.
        scheduler: None.
        seed: See `Task`.
        stored: ``pictures``, or ``random``: signs drawn at random in their place, as many and of their shape.
        corruption: See `dlbench.tasks.retrieval.corrupt`.
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
        super().__init__(model, no_optimizer, no_optimizer, seed)  # type: ignore[arg-type]
        self.automatic_optimization = False
        self.stored, self.corruption, self.amount = stored, corruption, amount
        self.queries, self.tolerance = queries, tolerance
        self.last_result: RetrievalResult | None = None
        """What the last validation gave."""

    def check_data(self, data: Any) -> None:
        """See that there are as many pictures as are to be stored, and make room for them.

        Raises:
            ConfigError: There are fewer.
        """
        images = data.tensors("train").images
        if len(images) < self.model.patterns:
            there = f"there are {len(images)} training pictures to store; choose fewer patterns"
            raise ConfigError(f"model.patterns={self.model.patterns}: {there}")
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
            why = f"only {self.model.stored} pictures were stored, but model.patterns={self.model.patterns}"
            limit = f"trainer.limit_train_batches={self.trainer.limit_train_batches}"
            raise ConfigError(f"{limit}: {why}; allow more batches or choose fewer patterns")

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Nothing is asked of the validation split."""

    def on_validation_epoch_end(self) -> None:
        """Retrieve, and log the metrics."""
        self.last_result = self.retrieve("val")
        self.log_dict(self.last_result.metrics("val", self.tolerance), logger=False)

    def retrieve(self, split: str) -> RetrievalResult:
        """Corrupt stored patterns by the split's own streams, and retrieve them."""
        patterns = self.model.memory[: self.queries]
        return retrieve(self.model, corrupt(patterns, self.corruption, self.amount, self.seed, f"{split} corruption"))

    def _random(self, pictures: Tensor) -> Tensor:
        """Random signs of the shape of pictures (batch, channels, height, width); each is a function of its place."""
        places = range(self.model.stored, min(self.model.stored + len(pictures), self.model.patterns))
        streams = [generator(self.seed, "random pattern", place) for place in places]
        signs = [torch.randint(2, pictures.shape[1:], generator=stream) for stream in streams]
        return torch.stack(signs).mul(2).sub(1).to(pictures) if signs else pictures[:0]
