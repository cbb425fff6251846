"""Fully connected classifiers of pictures, to be held against convolutional ones (report d2223)."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

from annotated_types import Gt
from torch import Tensor, nn

from dlbench.components import component
from dlbench.models.dropout import Dropout
from dlbench.models.wide_linear import WideLinear, linear

Width = Annotated[int, Gt(0)]


def fully_connected(
    inputs: int,
    hidden: Sequence[int],
    dropout: Sequence[float],
    outputs: int | None,
    batch_norm: Sequence[bool] | None = None,
) -> nn.Sequential:
    """Linear -> (BN) -> ReLU -> dropout for each hidden layer, then the linear output layer.

    Without ``outputs`` the last hidden layer, without its ReLU, is the output; without ``batch_norm`` no layer has any.

    Raises:
        ValueError: The lists are of unequal length.
    """
    batch_norm = batch_norm or [False] * len(hidden)
    if not len(hidden) == len(dropout) == len(batch_norm):
        raise ValueError("hidden_dropout must have one entry for each hidden layer")
    widths = [*hidden, *([] if outputs is None else [outputs])]
    layers: list[nn.Module] = []
    for layer, (source, target) in enumerate(pairwise([inputs, *widths])):
        layers.append(linear(source, target))
        if layer < len(hidden):
            layers += [nn.BatchNorm1d(target)] if batch_norm[layer] else []
            layers += [nn.ReLU()] if layer < len(widths) - 1 else []
            layers += [Dropout(dropout[layer])] if dropout[layer] else []
    return nn.Sequential(*layers)


@component("mlp", "1.2", uses=(Dropout, WideLinear))
class MLP(nn.Module):
    """Hidden layers on the flattened picture, with as many parameters as asked for, or a few more.

    The first hidden layer is the narrowest with which the network has ``least_parameters``; with the defaults, those of
    the convolutional `dlbench.models.lenet.LeNet`.

    Args:
        in_channels: Channels of a picture.
        image_size: Height and width of a picture in pixels.
        least_parameters: How many parameters the network has at least.
        hidden: Widths of the hidden layers after the first.
        hidden_dropout: For each hidden layer, the first one too, dropout probability after its ReLU.
        classes: Width of the output layer.

    Raises:
        ValueError: The lists are of unequal length.
    """

    def __init__(
        self,
        *,
        in_channels: int = 1,
        image_size: int = 28,
        least_parameters: int = 420_906,
        hidden: Sequence[Width] = (120,),
        hidden_dropout: Sequence[float] = (0.3, 0.0),
        classes: Width = 10,
    ) -> None:
        super().__init__()
        pixels = in_channels * image_size**2
        widths = (*hidden, classes)
        others = sum((source + 1) * target for source, target in pairwise(widths)) + widths[0]
        # Each unit of the first hidden layer has its bias, a weight from every pixel and one to every unit after it.
        first = max(1, -(-(least_parameters - others) // (pixels + 1 + widths[0])))
        self.features = nn.Sequential(nn.Flatten())
        self.head = fully_connected(pixels, (first, *hidden), hidden_dropout, classes)
        self.outputs = classes

    def forward(self, images: Tensor) -> Tensor:
        """Logits of shape (batch, classes) for images of shape (batch, in_channels, image_size, image_size)."""
        logits: Tensor = self.head(self.features(images))
        return logits
