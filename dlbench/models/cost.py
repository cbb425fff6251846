"""What a network costs and sees: parameters, floating-point operations, receptive field."""

import copy
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def count_parameters(model: nn.Module) -> int:
    """Trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def count_flops(model: nn.Module, shape: Sequence[int]) -> int:
    """Floating-point operations of one forward pass over one input of ``shape`` (no batch), by torch's own counter.

    A multiplication and an addition count as two; only matrix products and convolutions are counted.
    """
    return forward_once(model, shape)[1]


def forward_once(model: nn.Module, shape: Sequence[int]) -> tuple[Tensor, int]:
    """What a network gives for one input of ``shape`` (no batch), of which the shape tells, and the operations of it.

    The pass runs on the meta device, so it costs nothing and changes nothing; where the network makes tensors of its
    own, or looks at values, it runs on the CPU with an input of zeros.

    Raises:
        RuntimeError: The network takes no such input.
    """

    def on(device: str) -> tuple[Tensor, int]:
        shadow = copy.deepcopy(model).to(device).eval()
        dtype = next((parameter.dtype for parameter in shadow.parameters()), None)
        with FlopCounterMode(display=False) as counter, torch.no_grad(), torch.random.fork_rng(devices=[]):
            answer = shadow(torch.zeros(1, *shape, device=device, dtype=dtype))
        return answer, int(counter.get_total_flops())

    try:
        return on("meta")
    except RuntimeError:
        return on("cpu")


def receptive_field(layers: Iterable[nn.Module]) -> int:
    """Side in pixels of the square of input that one output of a chain of convolutions and poolings depends on.

    Each layer of kernel k and dilation d widens the field by (k - 1) d times the product of the strides before it
    (Araujo, Norris and Sim, "Computing receptive fields of convolutional neural networks", Distill 2019). Other layers
    are point-wise.
    """
    field, jump = 1, 1
    for layer in layers:
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
            kernel, stride = _side(layer.kernel_size), _side(layer.stride)
            field += (kernel - 1) * _side(getattr(layer, "dilation", 1)) * jump
            jump *= stride
    return field


def _side(value: int | tuple[int, ...]) -> int:
    return value if isinstance(value, int) else value[0]
