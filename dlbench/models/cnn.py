"""The convolutional image classifiers of the 2024/25 reports (question 2), and their ablations."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal

from annotated_types import MinLen
from torch import Tensor, nn

from dlbench.components import component
from dlbench.models.dropout import Dropout
from dlbench.models.mlp import Width, fully_connected
from dlbench.models.wide_linear import WideLinear

Pooling = Literal["max", "average", "none"]


@component("convnet", "1.2", uses=(Dropout, WideLinear))
class ConvNet(nn.Module):
    """Convolution blocks, then global average pooling or flattening, then fully connected layers.

    A block is convolution -> (BN) -> ReLU -> pooling 2 -> dropout; it halves height and width.

    With the defaults this is the plain network of the reports (5,340,742 parameters); ``convolution_bn=True, gap=True,
    hidden_bn=(True, False)`` is b2425's BN+GAP network (755,718), ``hidden_bn=(True, True)`` a2425's (756,742).
    ``classes=None`` leaves the output layer out, as c2425's code does (752,640; 5,340,160 with ``gap=False``): the last
    hidden layer's outputs, without BN, ReLU and dropout unless asked for, then are the logits.

    Args:
        in_channels: Channels of a picture.
        image_size: Height and width of a picture in pixels.
        channels: Output channels of each convolution block; every block halves height and width.
        kernel_size: Odd kernel size of every convolution, with same padding.
        convolution_bn: Batch normalisation between each convolution and its ReLU.
        pooling: Pooling of 2x2 with stride 2, or ``none``: the convolutions take stride 2 instead.
        dropout: Dropout probability of every convolution block.
        dropout_kind: Drop single elements or whole channels in the convolution blocks.
        dropout_place: Where in a block dropout stands.
        gap: Global average pooling instead of flattening.
        hidden: Widths of the fully connected layers.
        hidden_bn: For each fully connected layer, batch normalisation before its ReLU.
        hidden_dropout: For each fully connected layer, dropout probability after its ReLU.
        classes: Width of the output layer, or None for no output layer.

    Raises:
        ValueError: An even kernel, lists of unequal length, or a picture too small for the blocks.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        image_size: int = 48,
        channels: Annotated[Sequence[Width], MinLen(1)] = (32, 64, 128),
        kernel_size: Width = 3,
        convolution_bn: bool = False,
        pooling: Pooling = "max",
        dropout: float = 0.1,
        dropout_kind: Literal["element", "channel"] = "element",
        dropout_place: Literal["after_pooling", "before_pooling"] = "after_pooling",
        gap: bool = False,
        hidden: Sequence[Width] = (1024, 512),
        hidden_bn: Sequence[bool] = (False, False),
        hidden_dropout: Sequence[float] = (0.1, 0.0),
        classes: Width | None = 6,
    ) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, for same padding, not {kernel_size}")
        if not len(hidden) == len(hidden_bn) == len(hidden_dropout):
            raise ValueError("hidden, hidden_bn and hidden_dropout must be of equal length, one entry a layer")
        final_size = image_size
        for _ in channels:  # pooling rounds an odd size down, a strided convolution with same padding up
            final_size = (final_size + (pooling == "none")) // 2
        if final_size < 1:
            raise ValueError(f"image_size={image_size} is too small for {len(channels)} halvings")

        drop = Dropout if dropout_kind == "element" else nn.Dropout2d
        stride = 2 if pooling == "none" else 1
        blocks: list[nn.Module] = []
        for source, target in pairwise((in_channels, *channels)):
            blocks.append(nn.Conv2d(source, target, kernel_size, stride=stride, padding=kernel_size // 2))
            blocks += [nn.BatchNorm2d(target)] if convolution_bn else []
            pools = [] if pooling == "none" else [nn.MaxPool2d(2) if pooling == "max" else nn.AvgPool2d(2)]
            drops = [drop(dropout)] if dropout else []
            if dropout_place == "before_pooling":
                blocks += [nn.ReLU(), *drops, *pools]
            elif pooling == "max":  # ReLU after the maximum: the same values and gradients, a quarter of the elements
                blocks += [*pools, nn.ReLU(), *drops]
            else:
                blocks += [nn.ReLU(), *pools, *drops]
        self.features = nn.Sequential(*blocks)
        self.flatten = nn.Sequential(*([nn.AdaptiveAvgPool2d(1)] if gap else []), nn.Flatten())
        width = channels[-1] * (1 if gap else final_size**2)
        self.head = fully_connected(width, hidden, hidden_dropout, classes, hidden_bn)
        self.outputs = [width, *hidden][-1] if classes is None else classes

    def forward(self, images: Tensor) -> Tensor:
        """Logits of shape (batch, outputs) for images of shape (batch, in_channels, image_size, image_size)."""
        logits: Tensor = self.head(self.flatten(self.features(images)))
        return logits
