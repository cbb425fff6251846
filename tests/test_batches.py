"""Batches of pictures: layout, scale, shifts; and what holds for every order of batches."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from dlbench.data import pairs
from dlbench.data.datamodule import Batches
from dlbench.data.image_datamodules import BatchOrder, PictureTensors, loader, shift, to_network
from dlbench.data.vocabulary import Vocabulary

SIZES = st.integers(1, 200)
BATCH_SIZES = st.integers(1, 64)
SEEDS = st.integers(0, 2**32)
EPOCHS = st.integers(0, 1000)


def pictures(n: int = 3, height: int = 48, width: int = 48) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, height, width, 3), np.uint8)


def positions(size: int, batch_size: int, seed: int | None, epoch: int = 0) -> list[int]:
    order = BatchOrder(size, batch_size, seed)
    order.set_epoch(epoch)
    return torch.cat(list(order)).tolist()


# --- layout and scale ------------------------------------------------------------------------------------------------


def test_chw_is_a_transposition() -> None:
    images = pictures(height=5, width=4)
    np.testing.assert_array_equal(to_network(torch.from_numpy(images), "chw"), images.transpose(0, 3, 1, 2))


def test_scrambled_reshapes_each_flat_picture_as_the_course_did() -> None:
    images = pictures()
    expected = np.stack([flat.reshape(3, 48, 48) for flat in images.reshape(3, -1)])
    np.testing.assert_array_equal(to_network(torch.from_numpy(images), "scrambled"), expected)


def test_both_layouts_hold_the_same_values_in_other_places() -> None:
    chw, scrambled = (to_network(torch.from_numpy(pictures()), layout) for layout in ("chw", "scrambled"))
    assert chw.shape == scrambled.shape
    assert not torch.equal(chw, scrambled)
    assert torch.equal(chw.flatten(1).sort().values, scrambled.flatten(1).sort().values)


def test_pixels_are_divided_by_256_exactly() -> None:
    data = PictureTensors(torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16), torch.tensor([3]))
    images, labels = data[torch.tensor([0])]
    assert images.dtype == torch.float32
    np.testing.assert_array_equal(images.flatten(), np.arange(256) / 256)
    assert labels.tolist() == [3]


def test_reading_a_batch_leaves_the_stored_pictures_as_they_were() -> None:
    data = PictureTensors(torch.full((2, 1, 1, 1), 128, dtype=torch.uint8), torch.tensor([0, 1]))
    first, again = (data[torch.tensor([1])] for _ in range(2))
    assert torch.equal(first[0], again[0])


# --- order -----------------------------------------------------------------------------------------------------------


@given(size=SIZES, batch_size=BATCH_SIZES, seed=st.none() | SEEDS, epoch=EPOCHS)
def test_every_picture_comes_once_an_epoch_in_full_batches_but_the_last(
    size: int, batch_size: int, seed: int | None, epoch: int
) -> None:
    order = BatchOrder(size, batch_size, seed)
    order.set_epoch(epoch)
    batches = list(order)
    assert sorted(torch.cat(batches).tolist()) == list(range(size))
    assert len(batches) == len(order) == math.ceil(size / batch_size)
    assert {len(batch) for batch in batches[:-1]} <= {batch_size}


def of_pairs(size: int, batch_size: int, seed: int) -> pairs.BatchOrder:
    lengths = torch.randint(1, 20, (size, 2), generator=torch.Generator().manual_seed(size)).tolist()
    words = [pairs.Pair(("a",) * source, ("a",) * target) for source, target in lengths]
    letters = Vocabulary.from_sequences(["a"])
    return pairs.BatchOrder(pairs.PairTensors(words, letters, letters), batch_size, bucket_batches=3, seed=seed)


every_order = pytest.mark.parametrize("order_of", [BatchOrder, of_pairs], ids=["pictures", "pairs"])


def told(batches: Iterable[Any]) -> str:
    """The positions in each batch; a pair's place also tells the epoch."""
    return str([(batch[1] if isinstance(batch, tuple) else batch).tolist() for batch in batches])


def drawn(order: Batches[Any], epoch: int) -> str:
    order.set_epoch(epoch)
    return told(order)


@every_order
@given(arguments=st.tuples(SIZES, BATCH_SIZES, SEEDS), epoch=EPOCHS, earlier=st.lists(EPOCHS, max_size=3))
def test_an_order_depends_on_seed_and_epoch_and_not_on_what_came_before(
    order_of: Callable[..., Batches[Any]], arguments: tuple[int, int, int], epoch: int, earlier: list[int]
) -> None:
    order = order_of(*arguments)
    for other in earlier:
        order.set_epoch(other)
        next(iter(order))
    assert drawn(order, epoch) == drawn(order_of(*arguments), epoch)


@every_order
def test_an_epoch_announced_after_the_iterator_was_made_still_counts(order_of: Callable[..., Batches[Any]]) -> None:
    order = order_of(100, 8, 1)
    batches = iter(order)
    order.set_epoch(5)
    assert told(batches) == drawn(order_of(100, 8, 1), 5)


@every_order
def test_orders_differ_between_epochs_and_between_seeds(order_of: Callable[..., Batches[Any]]) -> None:
    assert len({drawn(order_of(50, 8, seed), epoch) for seed in range(5) for epoch in range(5)}) == 25


def test_the_batch_size_does_not_change_the_order() -> None:
    assert positions(50, 8, 3, 2) == positions(50, 50, 3, 2)


def test_without_a_seed_pictures_come_as_they_are_stored_in_every_epoch() -> None:
    assert positions(20, 8, None, epoch=0) == positions(20, 8, None, epoch=7) == list(range(20))


@pytest.mark.parametrize("seed", [None, 4])
def test_a_loader_gives_whole_batches_and_leaves_the_global_stream_alone(seed: int | None) -> None:
    images, labels = torch.from_numpy(pictures(20)).permute(0, 3, 1, 2), torch.arange(20)
    stream = torch.get_rng_state()
    batches = list(loader(PictureTensors(images, labels), 8, seed))
    assert torch.equal(torch.get_rng_state(), stream)
    assert [len(batch) for batch, _ in batches] == [8, 8, 4]
    places = torch.cat([batch for _, batch in batches])
    assert places.tolist() == positions(20, 8, seed)
    torch.testing.assert_close(torch.cat([batch for batch, _ in batches]), images[places] / 256, rtol=0, atol=0)


# --- shifts ----------------------------------------------------------------------------------------------------------


@given(down=st.integers(-9, 9), right=st.integers(-9, 9))
def test_a_shift_moves_whole_pixels_and_repeats_the_rim(down: int, right: int) -> None:
    images: Any = pictures(2, 7, 5)
    expected = ndimage.shift(images, (0, down, right, 0), order=0, mode="nearest")
    np.testing.assert_array_equal(shift(torch.from_numpy(images), down, right), expected)
