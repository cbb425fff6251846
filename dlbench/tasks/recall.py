"""Corrupted copies of stored patterns, what a Hopfield network makes of them, and how good that is."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from dlbench.models.hopfield import HopfieldNetwork
from dlbench.randomness import generator

Corruption = Literal["mask", "noise"]


def corrupt(patterns: Tensor, kind: Corruption, amount: float, seed: int, purpose: str) -> Tensor:
    """Corrupted copies of patterns (Q, channels, height, width), each by a stream of its own.

    Args:
        patterns: Centred, so that 0 is a pattern's mean.
        kind: ``mask`` sets a band of whole rows, at a place drawn at random, to 0. ``noise`` mixes the pattern x with
            Gaussian noise n of the pattern's own root mean square, (1 - amount) x + amount n.
        amount: The share of rows, rounded to whole ones, or of noise, 0 to 1; with 1 nothing of the pattern is left.
        seed: The run's.
        purpose: What the copies are for.
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


@dataclass(frozen=True)
class Recall:
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
        found = {
            "retrieval_accuracy": self.retrieved(tolerance),
            "nearest_before": self.nearest_before == own,
            "steps": self.steps,
            "distance": self.distance,
        }
        return {f"{split}/{name}": values.double().mean().item() for name, values in found.items()}


def recall(network: HopfieldNetwork, corrupted: Tensor) -> Recall:
    """Retrieve corrupted copies (Q, channels, height, width) of the first Q patterns that a network has stored."""
    patterns, queries = network.memory[: len(corrupted)], network.admit(corrupted)
    states, steps, converged = network(queries)
    stored = network.memory.flatten(1)
    nearest_before, distance_before = _compared(queries.flatten(1), stored)
    nearest, distance = _compared(states, stored)
    return Recall(
        patterns,
        queries,
        states.reshape(patterns.shape),
        nearest_before,
        nearest,
        distance_before,
        distance,
        steps,
        converged,
    )


def _compared(states: Tensor, stored: Tensor) -> tuple[Tensor, Tensor]:
    """For each state (Q, D) the position of the nearest stored pattern, and the relative distance to its own."""
    own = stored[: len(states)]
    # The nearest is that with the largest x's - x'x / 2.
    nearest = (states @ stored.T - stored.square().sum(dim=1) / 2).argmax(dim=1)
    is_same = (stored[nearest] == own).all(dim=1)  # a picture may be stored twice
    nearest = torch.where(is_same, torch.arange(len(own), device=own.device), nearest)
    return nearest, (states - own).norm(dim=1) / stored.norm(dim=1).amax()
