"""The embedded scenes: reproducible, balanced, told apart by their content and not by their colour."""

import hashlib
import random

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dlbench.data.embedded.scenes import CLASSES, generate
from dlbench.data.image_files import Pictures, PictureSet
from dlbench.errors import DataError


@pytest.fixture(scope="module")
def scenes() -> PictureSet:
    return generate(0, (600, 60, 300))


def _digests(pictures: Pictures) -> set[bytes]:
    return {hashlib.sha256(image.tobytes()).digest() for image in pictures.images}


def _linear_accuracy(scenes: PictureSet, side: int) -> float:
    """Test accuracy of a logistic regression on the picture averaged down to ``side`` x ``side``."""

    def features(pictures: Pictures) -> npt.NDArray[np.float64]:
        cell = 48 // side
        return pictures.images.reshape(-1, side, cell, side, cell, 3).mean(axis=(2, 4)).reshape(len(pictures), -1)

    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=500))
    model.fit(features(scenes.train), scenes.train.labels)
    return float(model.score(features(scenes.test), scenes.test.labels))


def test_form(scenes: PictureSet) -> None:
    assert scenes.classes == CLASSES == ("buildings", "forest", "glacier", "mountain", "sea", "street")
    assert (scenes.source, scenes.provenance, scenes.files) == ("embedded", "embedded", {})
    for pictures, size in zip(scenes.splits().values(), (600, 60, 300), strict=True):
        assert pictures.images.shape == (size, 48, 48, 3)
        assert pictures.images.dtype == np.uint8
        assert pictures.images.flags.c_contiguous
        assert pictures.labels.shape == (size,)
        assert pictures.labels.dtype == np.int64
    assert scenes.train.images.min() == 0
    assert scenes.train.images.max() == 255


def test_no_picture_is_flat(scenes: PictureSet) -> None:
    spread = scenes.train.images.astype(np.float64).std(axis=(1, 2, 3))
    assert spread.min() > 5


def test_default_sizes() -> None:
    assert generate.__defaults__ == (0, (1200, 240, 480))


def test_same_seed_same_pictures(scenes: PictureSet) -> None:
    again = generate(0, (20, 20, 20))
    for name, pictures in again.splits().items():
        larger = scenes.splits()[name]
        np.testing.assert_array_equal(pictures.images, larger.images[:20])
        np.testing.assert_array_equal(pictures.labels, larger.labels[:20])


def test_another_seed_other_pictures(scenes: PictureSet) -> None:
    other = generate(1, (24, 6, 6))
    assert not _digests(other.train) & _digests(scenes.train)
    assert (other.train.labels != scenes.train.labels[:24]).any()


def test_no_picture_twice(scenes: PictureSet) -> None:
    digests = [_digests(pictures) for pictures in scenes.splits().values()]
    assert len(set.union(*digests)) == 600 + 60 + 300


def test_golden_bytes() -> None:
    # Exact arithmetic only, so this holds on every machine; it changes with the drawing or with numpy's streams.
    digest = hashlib.sha256()
    for pictures in generate(0, (30, 6, 6)).splits().values():
        digest.update(pictures.images.tobytes())
        digest.update(pictures.labels.astype("<i8").tobytes())
    assert digest.hexdigest() == "d81cb7487ac1abcb71643a2787d4a2c253709f0c41e294f7c56b078140a15927"


@pytest.mark.parametrize("size", [1, 5, 6, 7, 50])
def test_balance(size: int) -> None:
    for pictures in generate(3, (size, 1, 2)).splits().values():
        counts = np.bincount(pictures.labels, minlength=6)
        assert counts.max() - counts.min() <= 1


def test_labels_are_shuffled(scenes: PictureSet) -> None:
    rounds = scenes.train.labels.reshape(-1, 6)
    np.testing.assert_array_equal(np.sort(rounds, axis=1), np.tile(np.arange(6), (100, 1)))
    assert len({tuple(order) for order in rounds.tolist()}) > 50


def test_content_tells_classes_apart_and_mean_colour_does_not(scenes: PictureSet) -> None:
    colour, layout = _linear_accuracy(scenes, 1), _linear_accuracy(scenes, 6)
    assert 1 / 6 < colour < 0.55
    assert layout > colour + 0.1


def test_global_random_state_is_left_alone() -> None:
    numpy_state, python_state = np.random.get_state(legacy=False), random.getstate()  # noqa: NPY002
    generate(5, (6, 6, 6))
    np.testing.assert_equal(np.random.get_state(legacy=False), numpy_state)  # noqa: NPY002
    assert random.getstate() == python_state


def test_numpy_integers_are_welcome() -> None:
    one = generate(np.int64(2), (np.int64(3), 1, 1))  # type: ignore[arg-type]
    np.testing.assert_array_equal(one.train.images, generate(2, (3, 1, 1)).train.images)


@pytest.mark.parametrize(
    "sizes", [(0, 1, 1), (6, -1, 6), (6, 6), (6, 6, 6, 6), (6, 6, 1.5), (6, True, 6), ("6", 6, 6), 6, None]
)
def test_bad_sizes(sizes: object) -> None:
    with pytest.raises(DataError, match=r"^data\.embedded_sizes must be three positive whole numbers .*$"):
        generate(0, sizes)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [-1, 0.5, True, "0", None])
def test_bad_seed(seed: object) -> None:
    with pytest.raises(DataError, match=r"^the seed of embedded scenes must be a whole number from 0 up, not .*$"):
        generate(seed, (1, 1, 1))  # type: ignore[arg-type]
