"""Pictures with their pixels in one fixed random order: the same values, but no arrangement (REPORTS section 3)."""

import torch
from torch import Tensor

from dlbench.randomness import generator


def pixel_order(pixels: int) -> Tensor:
    """Which pixel comes to each place, (pixels,): a function of their number alone, the same in every run."""
    return torch.randperm(pixels, generator=generator(0, "pixels"))


def permute_pixels(pictures: Tensor) -> Tensor:
    """Pictures (N, channels, height, width) with their pixels in `pixel_order`, in every channel alike."""
    return pictures.flatten(2)[..., pixel_order(pictures[0, 0].numel())].reshape(pictures.shape)
