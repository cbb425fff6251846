"""Synthetic pictures: reproducible, balanced, learned by small networks that differ; and sizes that are refused."""

import hashlib
import random
from collections.abc import Callable
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import nn
from torch.nn import functional

from dlbench.config import _check_section
from dlbench.data.image_files import Pictures, PictureSet
from dlbench.data.synthetic.images import glyphs, scans, scenes
from dlbench.errors import ConfigError
from dlbench.models.lenet import LeNet
from dlbench.models.mlp import MLP

Generate = Callable[..., PictureSet]
SHAPES = {scenes: (48, 48, 3), glyphs: (28, 28, 1), scans: (28, 28, 1)}
DIGESTS = {
    scenes: "324a8e094a9f8478d81a8538f66c8c32cb3a9802fdf0fcebc52f65fbdc80a05b",
    glyphs: "a687d33a5a60a944c0b462968d666d6e505cab5d8899f91306cacb02f190a499",
    scans: "22c4a93d807020ec9e7bfaf47cbcbc282c3e62cdc6ced0571f5eb5b639a9c568",
}
every = pytest.mark.parametrize("generate", SHAPES, ids=lambda each: each.__name__)


def test_classes() -> None:
    assert scenes(sizes=(1, 1, 1)).classes == ("buildings", "forest", "glacier", "mountain", "sea", "street")
    assert len(set(glyphs(sizes=(1, 1, 1)).classes)) == 10
    assert scans(sizes=(1, 1, 1)).classes == ("CNV", "DME", "drusen", "normal")


@every
def test_the_pictures_are_the_same_on_every_machine(generate: Generate) -> None:
    # Exact arithmetic only, so this holds everywhere; it changes with the drawing or with numpy's streams.
    digest = hashlib.sha256()
    for pictures in generate(0, (70, 10, 10)).splits().values():
        digest.update(pictures.images.tobytes())
        digest.update(pictures.labels.astype("<i8").tobytes())
    assert digest.hexdigest() == DIGESTS[generate]


@every
@pytest.mark.parametrize("size", [1, 7, 60, 130])
def test_form_and_balance(generate: Generate, size: int) -> None:
    found = generate(3, (size, 1, 2))
    assert (found.source, found.provenance, found.files) == ("synthetic", "synthetic", {})
    for pictures, length in zip(found.splits().values(), (size, 1, 2), strict=True):
        assert pictures.images.shape == (length, *SHAPES[generate])
        assert pictures.labels.shape == (length,)
        assert (pictures.images.dtype.str, pictures.labels.dtype.str) == ("|u1", "<i8")
        assert pictures.images.flags.c_contiguous
        assert pictures.images.astype(float).std(axis=(1, 2, 3)).min() > 5  # none is flat
        counts = np.bincount(pictures.labels, minlength=len(found.classes))
        assert counts.max() - counts.min() <= 1


@every
def test_a_larger_split_begins_with_the_smaller_one_and_no_picture_comes_twice(generate: Generate) -> None:
    large, small, other = generate(0, (130, 70, 60)), generate(0, (20, 65, 1)), generate(np.int64(1), (60, 1, 1))
    for name, pictures in small.splits().items():
        np.testing.assert_array_equal(pictures.images, large.splits()[name].images[: len(pictures)])
        np.testing.assert_array_equal(pictures.labels, large.splits()[name].labels[: len(pictures)])
    found = [image.tobytes() for pictures in large.splits().values() for image in pictures.images]
    found += [image.tobytes() for image in other.train.images]
    assert len(found) == len(set(found)) == 320


@every
def test_global_random_state_is_left_alone(generate: Generate) -> None:
    numpy_state, python_state = np.random.get_state(legacy=False), random.getstate()  # noqa: NPY002
    generate(5, (6, 6, 6))
    np.testing.assert_equal(np.random.get_state(legacy=False), numpy_state)  # noqa: NPY002
    assert random.getstate() == python_state


def accuracy(network: nn.Module, found: PictureSet, pixels: torch.Tensor | None = None) -> float:
    """Test accuracy after two epochs; ``pixels`` is an order in which the pixels are dealt out anew."""

    def inputs(pictures: Pictures) -> torch.Tensor:
        images = torch.from_numpy(pictures.images).permute(0, 3, 1, 2) / 256
        return images if pixels is None else images.flatten(2)[..., pixels].view_as(images)

    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    images, labels = inputs(found.train), torch.from_numpy(found.train.labels)
    for batch in torch.split(torch.cat([torch.randperm(len(labels)) for _ in range(2)]), 16):
        optimizer.zero_grad()
        functional.cross_entropy(network(images[batch]), labels[batch]).backward()
        optimizer.step()
    with torch.no_grad():
        guesses = network.eval()(inputs(found.test)).argmax(dim=1)
    return float((guesses.numpy() == found.test.labels).mean())


@pytest.mark.slow
def test_convolutions_help_with_glyphs_whose_pixels_are_in_their_places() -> None:
    torch.manual_seed(0)
    found = glyphs(0, (1500, 1, 400))
    convolutions, connected = accuracy(LeNet(), found), accuracy(MLP(), found)
    permuted = fmean(accuracy(LeNet(), found, torch.randperm(28 * 28)) for _ in range(3))  # one alone: 0.27 to 0.59
    assert 0.3 < permuted < convolutions - 0.1
    assert permuted < connected < convolutions < 0.99


@pytest.mark.parametrize(("generate", "channels", "side"), [(scenes, 3, 48), (scans, 1, 28)])
def test_a_small_network_learns_most_but_not_all(generate: Generate, channels: int, side: int) -> None:
    torch.manual_seed(0)
    found = generate(0, (900, 1, 300))
    network = LeNet(
        in_channels=channels, image_size=side, hidden=(64,), hidden_dropout=(0.0,), classes=len(found.classes)
    )
    assert 0.6 < accuracy(network, found) < 0.99


@pytest.mark.parametrize("data", ["intel", "kmnist", "octmnist", "p2g", "ljspeech"])
@pytest.mark.parametrize("sizes", [[1, 2], [1, 2, 3, 4], [1, 2, 0], [1, -1, 2], [1, 2, True], [1.0, 2, 3], "123", 5])
def test_bad_sizes_are_named(compose: Callable[..., Any], data: str, sizes: Any) -> None:
    node: Any = OmegaConf.to_container(compose(f"data={data}").data)
    with pytest.raises(ConfigError, match=r"^data\.synthetic_sizes(\[\d\])?=.*: (Input|Value|.str. inst)"):
        _check_section("data", node | {"synthetic_sizes": sizes})
