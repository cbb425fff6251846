"""Hopfield networks that store pictures: the modern, continuous one, and the classical, binary one."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor, nn
from torch.nn.functional import normalize

from dlbench.components import component
from dlbench.theory import classical_hopfield, hopfield
from dlbench.theory.hopfield import Retrieval

Positive = Annotated[int, Gt(0)]


class HopfieldNetwork(nn.Module):
    """Stores pictures as patterns, and retrieves them; it has no parameters, and its checkpoint holds the patterns.

    Each picture is centred by its own mean over all pixels and channels, so that a pixel of which nothing is known is
    0. A subclass scales what is centred; patterns that are not of a single colour are then all of one length.

    Args:
        patterns: How many to store.
        grey: Whether coloured pictures are made grey first (the mean of their channels).
    """

    memory: Tensor
    """The patterns in the form of pictures, (patterns, channels, height, width); zeros where none is stored yet."""

    def __init__(self, patterns: Positive, grey: bool) -> None:
        super().__init__()
        self.patterns, self.grey = patterns, grey
        self.stored = 0
        self.register_buffer("memory", torch.empty(0))

    @property
    def load(self) -> float:
        """Patterns a neuron, N / D."""
        return self.patterns / self.memory[0].numel()

    def make_room(self, shape: Sequence[int]) -> None:
        """Make room for pictures of a shape (channels, height, width)."""
        channels, *size = shape
        self.memory = torch.zeros(self.patterns, 1 if self.grey else channels, *size)

    def forget(self) -> None:
        """Begin anew."""
        self.memory.zero_()
        self.stored = 0

    def store(self, pictures: Tensor) -> None:
        """Store pictures (batch, channels, height, width), as far as there is room for them."""
        new = self.encode(pictures[: self.patterns - self.stored])
        self.memory[self.stored : self.stored + len(new)] = new
        self.stored += len(new)

    def encode(self, pictures: Tensor) -> Tensor:
        """The patterns of pictures (batch, channels, height, width)."""
        if self.grey:
            pictures = pictures.mean(dim=1, keepdim=True)
        return self.scale(pictures - pictures.mean(dim=(1, 2, 3), keepdim=True))

    @abstractmethod
    def scale(self, centred: Tensor) -> Tensor:
        """What is stored of centred pictures (batch, channels, height, width)."""

    def admit(self, queries: Tensor) -> Tensor:
        """The states that retrieval begins at for queries of the patterns' form."""
        return queries

    @abstractmethod
    def forward(self, states: Tensor) -> Retrieval:
        """Update states (Q, channels, height, width) until each stands still; where they end is flat, (Q, D)."""


@component("modern_hopfield", "1.0")
class ModernHopfield(HopfieldNetwork):
    """Continuous patterns of length 1, retrieved by softmax attention: see `dlbench.theory.hopfield`.

    Args (beside those of `HopfieldNetwork`):
        beta: Inverse temperature; the association of a query of length 1 is softmax(beta times its correlations).
        max_steps: Updates, at most.
    """

    def __init__(
        self,
        *,
        patterns: Positive = 100,
        beta: Annotated[float, Gt(0)] = 64.0,
        grey: bool = False,
        max_steps: Positive = 200,
    ) -> None:
        super().__init__(patterns, grey)
        self.beta, self.max_steps = beta, max_steps

    def scale(self, centred: Tensor) -> Tensor:
        """To length 1; a picture of a single colour stays 0."""
        return normalize(centred.flatten(1), dim=1).reshape(centred.shape)

    def forward(self, states: Tensor) -> Retrieval:
        """See `dlbench.theory.hopfield.retrieve`."""
        return hopfield.retrieve(self.memory.flatten(1), states.flatten(1), self.beta, max_steps=self.max_steps)


@component("classical_hopfield", "1.0")
class ClassicalHopfield(HopfieldNetwork):
    """Patterns of signs, retrieved by the sum of their outer products: see `dlbench.theory.classical_hopfield`.

    Args (beside those of `HopfieldNetwork`):
        grey: See `HopfieldNetwork`; the weights are a matrix of neurons by neurons.
        synchronous: See `dlbench.theory.classical_hopfield.retrieve`.
        max_steps: Updates of all neurons, at most.
    """

    def __init__(
        self, *, patterns: Positive = 100, grey: bool = True, synchronous: bool = False, max_steps: Positive = 100
    ) -> None:
        super().__init__(patterns, grey)
        self.synchronous, self.max_steps = synchronous, max_steps

    def scale(self, centred: Tensor) -> Tensor:
        """1 where a picture is brighter than its mean, -1 elsewhere."""
        return (centred > 0).to(centred.dtype) * 2 - 1

    def admit(self, queries: Tensor) -> Tensor:
        """Their signs; a neuron of which nothing is known is 0 until its field is another."""
        return queries.sign()

    def forward(self, states: Tensor) -> Retrieval:
        """See `dlbench.theory.classical_hopfield.retrieve`."""
        weights = classical_hopfield.weights(self.memory.flatten(1))
        return classical_hopfield.retrieve(
            weights, states.flatten(1), synchronous=self.synchronous, max_steps=self.max_steps
        )
