"""Kuzushiji-MNIST: its files, its splits, and what the DataModule makes of them."""

import gzip
import hashlib
import shutil
import tracemalloc
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split
from torchvision.datasets import KMNIST

from dlbench.data import image_files, registry
from dlbench.data.fetch import State, check, is_present
from dlbench.data.image_datamodules import KmnistDataModule, permute_pixels, pixel_order, shift
from dlbench.data.image_files import PictureSet
from dlbench.errors import DataError, SyntheticDataNotice

TRAIN, TEST = 10_300, 2_200
NAMES = tuple(f"{part}-{kind}-ubyte.gz" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))
IMAGES, LABELS = NAMES[2:]


def idx(array: np.ndarray) -> bytes:
    """An array of unsigned bytes in IDX format: 0, 0, type 8, dimensions; their sizes; the values."""
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes()


def save(folder: Path, name: str, array: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(gzip.compress(idx(array), compresslevel=1))


def numbered(n: int) -> np.ndarray:
    """Pictures that bear their number in their first two pixels, so that none is like another."""
    pictures = np.zeros((n, 28, 28), np.uint8)
    pictures[:, 0, 0], pictures[:, 0, 1], pictures[:, 9, 5] = np.arange(n) // 256, np.arange(n) % 256, 200
    return pictures


def numbers(images: np.ndarray) -> np.ndarray:
    return images[:, 0, 0, 0].astype(int) * 256 + images[:, 0, 1, 0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with four files in the official format; labels are the pictures' numbers modulo 10."""
    data = tmp_path_factory.mktemp("data")
    for part, n in (("train", TRAIN), ("t10k", TEST)):
        save(data / "kmnist", f"{part}-images-idx3-ubyte.gz", numbered(n))
        save(data / "kmnist", f"{part}-labels-idx1-ubyte.gz", (np.arange(n) % 10).astype(np.uint8))
    return data


@pytest.fixture
def some(tmp_path: Path) -> Callable[..., Path]:
    """Make a data folder with a few of the files, ten pictures each."""

    def made(*names: str) -> Path:
        for name in names:
            save(tmp_path / "kmnist", name, numbered(10) if "images" in name else np.arange(10, dtype=np.uint8))
        return tmp_path

    return made


def read(folder: Path, source: Any = "idx", **settings: Any) -> PictureSet:
    return KmnistDataModule(source=source, folder=str(folder), **settings).pictures


# --- splits ----------------------------------------------------------------------------------------------------------


@given(n=st.integers(2, 3000), data=st.data())
def test_the_order_is_that_of_scikit_learn(n: int, data: st.DataObject) -> None:
    held_out = data.draw(st.integers(1, n - 1))
    train, test = train_test_split(np.arange(n), test_size=held_out, random_state=42)
    order = image_files.shuffled(n)
    np.testing.assert_array_equal(order[held_out:], train)
    np.testing.assert_array_equal(order[:held_out], test)


def test_the_published_split_is_that_of_scikit_learn() -> None:
    train, val = train_test_split(np.arange(60_000), test_size=10_000, random_state=42)
    order = image_files.shuffled(60_000)
    np.testing.assert_array_equal(order, np.concatenate([val, train]))


def test_the_published_split_keeps_pictures_and_labels_together(folder: Path) -> None:
    found = read(folder)
    train, val = train_test_split(np.arange(TRAIN), test_size=10_000, random_state=42)
    for pictures, expected in ((found.train, train), (found.val, val), (found.test, np.arange(TEST))):
        np.testing.assert_array_equal(numbers(pictures.images), expected)
        np.testing.assert_array_equal(pictures.labels, expected % 10)
        assert pictures.images.shape == (len(expected), 28, 28, 1)
    assert (found.source, found.provenance) == ("idx", "user copy")
    assert found.files.keys() == set(NAMES)


def test_the_other_split_deals_the_test_pictures_out_once(folder: Path) -> None:
    found = read(folder, "test10k")
    assert {name: len(split) for name, split in found.splits().items()} == {"train": 200, "val": 1000, "test": 1000}
    places = np.concatenate([numbers(split.images) for split in found.splits().values()])
    np.testing.assert_array_equal(np.sort(places), np.arange(TEST))
    assert (found.source, found.provenance) == ("test10k", "user copy")
    assert found.files.keys() == {IMAGES, LABELS}


def test_files_are_trusted_only_in_their_own_places(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder / "kmnist", tmp_path / "kmnist")
    official = registry.get("kmnist")
    files = tuple(
        replace(file, sha256=hashlib.sha256((tmp_path / file.path).read_bytes()).hexdigest()) for file in official.files
    )
    monkeypatch.setitem(registry.REGISTRY, "kmnist", replace(official, files=files))
    assert read(tmp_path).provenance == "verified"
    assert read(tmp_path, "test10k").provenance == "other split"
    for kind in ("images-idx3", "labels-idx1"):
        shutil.copy(tmp_path / "kmnist" / f"train-{kind}-ubyte.gz", tmp_path / "kmnist" / f"t10k-{kind}-ubyte.gz")
    found = read(tmp_path)
    assert len(found.test) == TRAIN
    assert found.provenance == read(tmp_path, "test10k").provenance == "user copy"


@pytest.mark.real_data
def test_the_other_split_of_the_official_pictures_never_changes(real_data_folder: Path) -> None:
    module = KmnistDataModule(source="test10k", folder=str(real_data_folder))
    facts = module.describe()
    assert facts["sizes"] == {"train": 8000, "val": 1000, "test": 1000}
    assert facts["provenance"] == "other split"
    assert facts["fingerprint"] == "f09a5e29d56f4c50ace63fbf186e60b6c90b64f87adfd0712a81133026c2fb74"
    digests = [{image.tobytes() for image in split.images} for split in module.pictures.splits().values()]
    assert sum(map(len, digests)) == len(set.union(*digests))


@pytest.mark.real_data
def test_pictures_are_those_of_torchvision(real_data_folder: Path, tmp_path: Path) -> None:
    raw = tmp_path / "KMNIST" / "raw"
    raw.mkdir(parents=True)
    for name in (IMAGES, LABELS):
        (raw / name.removesuffix(".gz")).write_bytes(gzip.decompress((real_data_folder / "kmnist" / name).read_bytes()))
        (raw / name.removesuffix(".gz").replace("t10k", "train")).touch()  # it asks for all four
    expected = KMNIST(str(tmp_path), train=False)
    found = image_files.read_idx(*(real_data_folder / "kmnist" / name for name in (IMAGES, LABELS)))
    np.testing.assert_array_equal(found.images[..., 0], expected.data)
    np.testing.assert_array_equal(found.labels, expected.targets)


def test_the_classes_and_checksums_are_those_of_torchvision() -> None:
    assert list(image_files.KMNIST_CLASSES) == KMNIST.classes
    registered = {Path(file.path).name: file.md5 for file in registry.get("kmnist").files}
    assert registered == dict(KMNIST.resources)


# --- where they come from --------------------------------------------------------------------------------------------


def test_auto_takes_the_published_split_if_the_training_pictures_are_there(folder: Path) -> None:
    assert read(folder, "auto").source == "idx"


@pytest.mark.parametrize(("names", "hint"), [(NAMES[1:], True), (NAMES[1:3], False), ((), False)])
def test_auto_without_them_draws_and_says_so(some: Callable[..., Path], names: tuple[str, ...], hint: bool) -> None:
    with pytest.warns(
        SyntheticDataNotice, match=r"synthetic glyphs; looked for .*; get the real ones .* fetch kmnist"
    ) as said:
        found = read(some(*names), "auto", synthetic_sizes=(3, 3, 3))
    assert ("data.source=test10k" in str(said[0].message)) == hint
    assert (found.source, found.provenance) == ("synthetic", "synthetic")


def test_synthetic_pictures_are_drawn_without_a_notice_or_a_folder() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read(Path("/nowhere"), "synthetic", synthetic_sizes=(4, 3, 2))
    assert [len(split) for split in found.splits().values()] == [4, 3, 2]


@pytest.mark.parametrize(
    ("source", "names", "message"),
    [
        (
            "idx",
            NAMES[1:],
            "data.source=idx: no such Kuzushiji-MNIST pictures in .*; looked for kmnist/train.*; get the real ones",
        ),
        ("test10k", NAMES[:2], r"data.source=test10k: no such Kuzushiji-MNIST pictures in "),
        (
            "idx",
            NAMES[:3],
            r"kmnist/t10k-labels-idx1-ubyte.gz: no such file, though train-images.* is there; .*; get it",
        ),
        ("auto", NAMES[:1], r"kmnist/train-labels-idx1-ubyte.gz: no such file"),
    ],
)
def test_missing_files_are_named(some: Callable[..., Path], source: str, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(some(*names), source)
    assert "\n" not in str(caught.value)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such data folder"):
        read(tmp_path / "nowhere", "auto")


def test_the_places_where_torchvision_keeps_files_are_known(some: Callable[..., Path], tmp_path: Path) -> None:
    data = some(*NAMES)
    (data / "KMNIST").mkdir()
    (data / "kmnist").rename(data / "KMNIST" / "raw")
    assert image_files.find_kmnist(data, "t10k") == tuple(
        tmp_path / "KMNIST" / "raw" / name for name in (IMAGES, LABELS)
    )


def unpacked(name: str, dotted: bool = False) -> str:
    bare = name.removesuffix(".gz")
    return bare.replace("-idx", ".idx") if dotted else bare


LAYOUTS: dict[str, Callable[[str], str]] = {
    "gunzip": lambda name: f"kmnist/{unpacked(name)}",
    "torchvision": lambda name: f"KMNIST/raw/{unpacked(name)}",
    "torchvision, packed": lambda name: f"KMNIST/raw/{name}",
    "raw": lambda name: f"kmnist/raw/{unpacked(name)}",
    "data folder": unpacked,
    "data folder, packed": lambda name: name,
    "dot": lambda name: f"kmnist/{unpacked(name, dotted=True)}",
    "dot, packed": lambda name: f"kmnist/{unpacked(name, dotted=True)}.gz",
    "Kaggle": lambda name: f"archive/{unpacked(name)}/{unpacked(name, dotted=True)}",
    "folders of the archives' names": lambda name: f"kmnist/{unpacked(name)}/{unpacked(name)}",
    "browser": lambda name: f"kmnist/{name}",  # unpacked under the packed file's name
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_programs_leave_behind_is_the_same_data(folder: Path, tmp_path: Path, layout: str) -> None:
    for name in NAMES:
        place, content = tmp_path / LAYOUTS[layout](name), (folder / "kmnist" / name).read_bytes()
        place.parent.mkdir(parents=True, exist_ok=True)
        is_packed = place.suffix == ".gz" and layout != "browser"
        place.write_bytes(content if is_packed else gzip.decompress(content))
    expected, found = (KmnistDataModule(source="idx", folder=str(data)).describe() for data in (folder, tmp_path))
    assert found["fingerprint"] == expected["fingerprint"]
    assert found["provenance"] == "user copy"
    findings = list(check(registry.get("kmnist"), tmp_path))
    assert [finding.path for finding in findings] == [
        LAYOUTS[layout](file.path[7:]) for file in registry.get("kmnist").files
    ]
    assert {finding.state for finding in findings} == {State.ALTERED}
    assert all(is_present(registry.get("kmnist"), tmp_path))


@pytest.mark.real_data
def test_unpacked_official_files_are_known(real_data_folder: Path, tmp_path: Path) -> None:
    raw = tmp_path / "KMNIST" / "raw"
    raw.mkdir(parents=True)
    for path in (real_data_folder / "kmnist").glob("*.gz"):
        (raw / unpacked(path.name)).write_bytes(gzip.decompress(path.read_bytes()))
    packed, found = (KmnistDataModule(source="test10k", folder=str(f)).describe() for f in (real_data_folder, tmp_path))
    assert found.pop("files") != packed.pop("files")
    assert found == packed
    states = {Path(found.path).name: found.state for found in check(registry.get("kmnist"), tmp_path)}
    assert {states[path.name] for path in raw.iterdir()} == {State.OK}


def test_what_was_looked_for_and_what_is_there_instead_is_said(tmp_path: Path) -> None:
    for place in ("kmnist/foo", "kmnist/kmnist-train-imgs.npz", "KMNIST/processed/x", "kmnist.zip", "octmnist/x"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    line = str(caught.value)
    for words in (
        "looked for kmnist/train-images-idx3-ubyte.gz (unpacked too, also in KMNIST/raw, kmnist/raw, archive, .)",
        "found kmnist.zip, KMNIST/processed, kmnist/foo and 1 more",
    ):
        assert words in line
    assert "octmnist" not in line
    assert len(line) < 500
    assert "npz (the authors' npz form; only IDX files are read)" in " ".join(registry.get("kmnist").similar(tmp_path))


# --- bad files -------------------------------------------------------------------------------------------------------


def damaged(content: bytes) -> dict[str, bytes]:
    return {
        "neither gzip nor IDX": b"\n" + content,
        "gzip cut short": gzip.compress(content)[:-9],
        "idx cut short": gzip.compress(content[:-1]),
        "cut within the header": gzip.compress(content[:6]),
        "empty": gzip.compress(b""),
        "wrong magic": gzip.compress(b"\x00\x01" + content[2:]),
        "other type": gzip.compress(content[:2] + b"\x0c" + content[3:]),
        "too long": gzip.compress(content + b"\x00"),
    }


@pytest.mark.parametrize("damage", damaged(b""))
@pytest.mark.parametrize("name", [IMAGES, LABELS])
def test_a_bad_file_is_named_in_one_line(some: Callable[..., Path], name: str, damage: str) -> None:
    data = some(*NAMES)
    whole = gzip.decompress((data / "kmnist" / name).read_bytes())
    (data / "kmnist" / name).write_bytes(damaged(whole)[damage])
    with pytest.raises(
        DataError, match=f"kmnist/{name}: .*; get it again with python -m dlbench data fetch kmnist"
    ) as e:
        read(data, "test10k")
    assert "\n" not in str(e.value)
    states = {Path(found.path).name: found.state for found in check(registry.get("kmnist"), data)}
    assert states.pop(name) in (State.BROKEN, State.TRUNCATED)
    assert set(states.values()) == {State.ALTERED}


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        (IMAGES, np.zeros((10, 27, 28), np.uint8), r"holds uint8 \(10, 27, 28\), expected uint8 \(N, 28, 28\)"),
        (IMAGES, np.zeros((0, 28, 28), np.uint8), "t10k-images.*: no IDX file of pictures, or cut short"),
        (IMAGES, np.zeros(10, np.uint8), "no IDX file of pictures"),
        (LABELS, np.zeros((10, 1), np.uint8), "no IDX file of labels"),
        (LABELS, np.zeros(9, np.uint8), "t10k-labels.*: 9 labels for the 10 pictures in t10k-images"),
        (LABELS, np.full(10, 10, np.uint8), r"a label is 10, expected 0\.\.9"),
        (LABELS, np.zeros(10, np.uint8), "t10k-images.*: 10 pictures, too few to split off twice 1000"),
    ],
)
def test_what_does_not_fit_is_named(some: Callable[..., Path], name: str, array: np.ndarray, message: str) -> None:
    data = some(*NAMES)
    save(data / "kmnist", name, array)
    with pytest.raises(DataError, match=message):
        read(data, "test10k")


@pytest.mark.parametrize("promised", [10, 70_000, 70_001, 2**31 - 1])
@pytest.mark.parametrize("name", [IMAGES, LABELS])
def test_no_more_is_unpacked_than_the_header_promises(some: Callable[..., Path], name: str, promised: int) -> None:
    data = some(*NAMES)
    header = idx(np.zeros((10, 28, 28) if name == IMAGES else 10, np.uint8))[: 16 if name == IMAGES else 8]
    with gzip.open(data / "kmnist" / name, "wb", compresslevel=1) as file:
        file.write(header[:4] + promised.to_bytes(4, "big") + header[8:])
        for _ in range(200):
            file.write(bytes(1 << 20))
    tracemalloc.start()
    with pytest.raises(DataError, match=f"{name}: (has more bytes than its header says|holds uint8 .* up to 70000)"):
        read(data, "test10k")
    states = {Path(found.path).name: found.state for found in check(registry.get("kmnist"), data)}
    assert states[name] in (State.BROKEN, State.TRUNCATED)
    assert tracemalloc.get_traced_memory()[1] < 2.5 * 70_000 * 784
    tracemalloc.stop()


def test_check_tells_files_that_do_not_fit_each_other(some: Callable[..., Path]) -> None:
    data = some(*NAMES)
    save(data / "kmnist", LABELS, np.zeros(9, np.uint8))
    findings = {Path(found.path).name: found for found in check(registry.get("kmnist"), data)}
    assert findings[LABELS].state == State.TRUNCATED
    assert "9 labels for the 10 pictures" in findings[LABELS].note
    assert findings[IMAGES].state == State.ALTERED


# --- permuted pixels -------------------------------------------------------------------------------------------------


def test_the_order_of_pixels_is_the_same_in_every_run() -> None:
    digest = hashlib.sha256(pixel_order(784).numpy().astype("<i8").tobytes()).hexdigest()
    assert digest == "54caa4e5533402154031cbaf455beb0ed00ebb990fac344a238bc3909df53095"


@given(st.integers(1, 2000))
def test_the_order_of_pixels_is_a_permutation_that_leaves_the_global_stream_alone(pixels: int) -> None:
    stream = torch.get_rng_state()
    assert sorted(pixel_order(pixels).tolist()) == list(range(pixels))
    assert torch.equal(torch.get_rng_state(), stream)


def test_all_pictures_and_channels_are_permuted_alike() -> None:
    pictures = torch.randint(256, (5, 3, 4, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    permuted = permute_pixels(pictures)
    places = permute_pixels(torch.arange(28).reshape(1, 1, 4, 7)).flatten()
    assert permuted.shape == pictures.shape
    assert torch.equal(permuted.flatten(2), pictures.flatten(2)[..., places])
    assert not torch.equal(permuted, pictures)


def module(permute_pixels: bool, seed: int = 0) -> KmnistDataModule:
    return KmnistDataModule(source="synthetic", permute_pixels=permute_pixels, synthetic_sizes=(20, 5, 8), seed=seed)


def test_pixels_are_permuted_in_every_split_and_for_every_seed_after_shifts_and_transforms() -> None:
    plain, permuted, other = module(False), module(True), module(True, seed=1)
    for split in ("train", "val", "test"):
        expected = permute_pixels(plain.tensors(split).images)
        assert torch.equal(permuted.tensors(split).images, expected)
        assert torch.equal(other.tensors(split).images, expected)
    moved = permute_pixels(plain.tensors("test", lambda pictures: shift(pictures, 2, -1)).images)
    assert torch.equal(permuted.tensors("test", lambda pictures: shift(pictures, 2, -1)).images, moved)
    loader = permuted.evaluation_dataloader("test", lambda pictures: shift(pictures, 2, -1))
    assert torch.equal(torch.cat([images for images, _ in loader]), moved / 256)
    assert plain.describe() == permuted.describe()


def test_the_example_is_the_training_picture_at_index_4() -> None:
    picture, example = module(True).example()
    images = module(True).pictures.train.images
    np.testing.assert_array_equal(picture, images[4])
    assert torch.equal(example, module(True).tensors("train").images[4:5] / 256)
    few = KmnistDataModule(source="synthetic", synthetic_sizes=(2, 1, 1))
    np.testing.assert_array_equal(few.example()[0], few.pictures.train.images[1])
