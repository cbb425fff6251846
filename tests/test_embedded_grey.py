"""The embedded glyphs and scans: reproducible, balanced, and to be learned by a small network, though not at once."""

import hashlib
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
import torch
from torch.nn import functional

from dlbench.data.embedded import glyphs, retina
from dlbench.data.image_files import Pictures, PictureSet
from dlbench.errors import DataError
from dlbench.models.lenet import LeNet

GOLDEN = {
    glyphs: "280fa4c54f8914a51b9eb50cfc2715b76d7790f0334b21e6b3c5231b7af60fad",
    retina: "39bfbd313df66d0f9e6abf517b78db59785849f3427e7c57ce33211068aa5b9a",
}
both = pytest.mark.parametrize("module", [glyphs, retina], ids=["glyphs", "retina"])


@pytest.fixture(scope="module")
def drawn() -> Callable[[ModuleType], PictureSet]:
    """Either set, drawn once."""
    kept = {module: module.generate(0, (1500, 40, 400)) for module in (glyphs, retina)}
    return lambda module: kept[module]


def test_classes() -> None:
    assert len(glyphs.CLASSES) == len(set(glyphs.CLASSES)) == 10
    assert retina.CLASSES == ("CNV", "DME", "drusen", "normal")


@both
def test_form(drawn: Callable[[ModuleType], PictureSet], module: ModuleType) -> None:
    found = drawn(module)
    assert (found.classes, found.source, found.provenance) == (module.CLASSES, "embedded", "embedded")
    for pictures, size in zip(found.splits().values(), (1500, 40, 400), strict=True):
        assert pictures.images.shape == (size, 28, 28, 1)
        assert pictures.images.dtype == np.uint8
        assert pictures.labels.dtype == np.int64
        counts = np.bincount(pictures.labels, minlength=len(module.CLASSES))
        assert counts.max() - counts.min() <= 1
        assert pictures.images.astype(float).std(axis=(1, 2, 3)).min() > 5


@both
def test_golden_bytes(module: ModuleType) -> None:
    # Exact arithmetic only, so this holds on every machine; it changes with the drawing or with numpy's streams.
    digest = hashlib.sha256()
    for pictures in module.generate(0, (60, 10, 10)).splits().values():
        digest.update(pictures.images.tobytes())
        digest.update(pictures.labels.astype("<i8").tobytes())
    assert digest.hexdigest() == GOLDEN[module]


@both
def test_a_larger_split_begins_with_the_smaller_one(
    drawn: Callable[[ModuleType], PictureSet], module: ModuleType
) -> None:
    few = module.generate(0, (20, 20, 20))
    for name, pictures in few.splits().items():
        np.testing.assert_array_equal(pictures.images, drawn(module).splits()[name].images[:20])
        np.testing.assert_array_equal(pictures.labels, drawn(module).splits()[name].labels[:20])


@both
def test_no_picture_comes_twice(drawn: Callable[[ModuleType], PictureSet], module: ModuleType) -> None:
    found = [image.tobytes() for pictures in drawn(module).splits().values() for image in pictures.images]
    found += [image.tobytes() for image in module.generate(1, (20, 5, 5)).train.images]
    assert len(found) == len(set(found)) == 1500 + 40 + 400 + 20


@both
def test_bad_arguments_are_named(module: ModuleType) -> None:
    with pytest.raises(DataError, match=r"data\.embedded_sizes must be three positive whole numbers"):
        module.generate(0, (6, 0, 6))
    with pytest.raises(DataError, match=r"the seed of embedded .* must be a whole number from 0 up, not -1"):
        module.generate(-1, (6, 6, 6))


def accuracy(network: torch.nn.Module, pictures: Pictures) -> float:
    with torch.no_grad():
        guesses = network(inputs(pictures)).argmax(dim=1).numpy()
    return float((guesses == pictures.labels).mean())


def inputs(pictures: Pictures) -> torch.Tensor:
    return torch.from_numpy(pictures.images).permute(0, 3, 1, 2) / 256


@both
def test_a_small_network_learns_them_but_not_all(drawn: Callable[[ModuleType], PictureSet], module: ModuleType) -> None:
    found = drawn(module)
    torch.manual_seed(0)
    network = LeNet(hidden=(64,), hidden_dropout=(0.0,), classes=len(module.CLASSES))
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    images, labels = inputs(found.train), torch.from_numpy(found.train.labels)
    for batch in torch.cat([torch.randperm(len(labels)) for _ in range(3)]).split(16):
        optimizer.zero_grad()
        functional.cross_entropy(network(images[batch]), labels[batch]).backward()
        optimizer.step()
    chance = 1 / len(module.CLASSES)
    assert chance + 0.25 < accuracy(network, found.test) < 0.97
