"""OctMNIST: MedMNIST's npz file, the course's cut of its test split, and what the DataModule makes of them."""

import io
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlbench import commands
from dlbench.data import registry
from dlbench.data.fetch import State, check
from dlbench.data.image_datamodules import OctmnistDataModule
from dlbench.data.image_files import COURSE_CUT, load_octmnist
from dlbench.errors import DataError, SyntheticDataNotice


def arrays(test: int = 1000) -> dict[str, np.ndarray]:
    """As in MedMNIST's file, the test split shuffled, its classes of equal size."""
    rng = np.random.default_rng(0)
    labels = {"train": np.arange(40) % 4, "val": np.arange(12) % 4, "test": rng.permutation(np.arange(test) % 4)}
    return {
        f"{split}_{kind}": rng.integers(0, 256, (len(own), 28, 28), np.uint8)
        if kind == "images"
        else own.astype(np.uint8)[:, None]
        for split, own in labels.items()
        for kind in ("images", "labels")
    }


def saved(folder: Path, place: str = "octmnist/octmnist.npz", **changes: np.ndarray) -> Path:
    path = folder / place
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **(arrays() | changes))
    return path


def test_the_file_is_read_as_it_is(tmp_path: Path) -> None:
    path = saved(tmp_path)
    found = load_octmnist(path)
    assert (found.source, found.provenance) == ("npz", "user copy")
    assert found.classes == ("CNV", "DME", "drusen", "normal")
    for split, pictures in found.splits().items():
        np.testing.assert_array_equal(pictures.images[..., 0], arrays()[f"{split}_images"])
        np.testing.assert_array_equal(pictures.labels, arrays()[f"{split}_labels"][:, 0])
        assert pictures.labels.dtype == np.int64


def test_the_course_cut_keeps_the_first_of_each_class_in_their_order(tmp_path: Path) -> None:
    whole, cut = (load_octmnist(saved(tmp_path), cut) for cut in ("official", "course529"))
    assert len(cut.test) == sum(COURSE_CUT) == 529
    np.testing.assert_array_equal(np.bincount(cut.test.labels), [182, 55, 42, 250])
    seen = [0] * 4
    kept = []
    for place, label in enumerate(whole.test.labels):
        if seen[label] < COURSE_CUT[label]:
            kept.append(place)
        seen[label] += 1
    np.testing.assert_array_equal(cut.test.images, whole.test.images[kept])
    np.testing.assert_array_equal(cut.test.labels, whole.test.labels[kept])
    np.testing.assert_array_equal(cut.train.images, whole.train.images)


def test_a_test_split_smaller_than_the_cut_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path, **arrays(400))
    with pytest.raises(DataError, match=r"octmnist.npz: test_labels has \[100, 100, 100, 100\] .*test_cut=official"):
        load_octmnist(path, "course529")
    assert len(load_octmnist(path, "official").test) == 400


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train_images", np.zeros((40, 28, 28, 3), np.uint8), r"train_images is uint8 \(40, 28, 28, 3\), expected u"),
        (
            "train_images",
            np.zeros((40, 64, 64), np.uint8),
            r"train_images is uint8 \(40, 64, 64\), expected uint8 \(N, 28",
        ),
        ("val_labels", np.zeros((11, 1), np.uint8), r"val_labels is uint8 \(11, 1\), expected integers \(12, 1\)"),
        ("val_labels", np.zeros(12, np.uint8), r"val_labels is uint8 \(12,\), expected integers \(12, 1\)"),
        ("test_labels", np.full((1000, 1), 4), r"is in 4\.\.4, expected 0\.\.3; get it again with .* fetch octmnist"),
    ],
)
def test_a_wrong_file_is_named_with_its_key(tmp_path: Path, key: str, value: np.ndarray, message: str) -> None:
    path = saved(tmp_path, **{key: value})
    with pytest.raises(DataError, match=message) as caught:
        OctmnistDataModule(source="npz", folder=str(tmp_path)).describe()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    (finding,) = check(registry.get("octmnist"), tmp_path)
    assert finding.state == State.BROKEN


@pytest.mark.parametrize("trick", ["shape", "trailing", "bzip2", "header", "two members"])
def test_no_more_is_unpacked_than_can_be_right(tmp_path: Path, trick: str) -> None:
    path, content = tmp_path / "octmnist.npz", arrays()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for key, array in content.items():
            buffer = io.BytesIO()
            np.save(buffer, array)
            packed, zeros = buffer.getvalue(), key == "train_images"
            if zeros and trick == "two members":
                archive.writestr(key, b"not what its name says")
            member = zipfile.ZipInfo(f"{key}.npy")
            member.compress_type = zipfile.ZIP_BZIP2 if trick == "bzip2" else zipfile.ZIP_DEFLATED
            with archive.open(member, "w") as file:
                if zeros and trick == "header":
                    file.write(b"\x93NUMPY\x02\x00" + (2**31).to_bytes(4, "little"))
                else:
                    file.write(
                        packed.replace(b"(40, 28, 28), }", b"(999999, 28, 28), }") if trick == "shape" else packed
                    )
                for _ in range(100 if zeros and trick in ("header", "trailing", "shape") else 0):
                    file.write(bytes(1 << 20))
    tracemalloc.start()
    if trick == "two members":
        np.testing.assert_array_equal(load_octmnist(path).train.images[..., 0], content["train_images"])
    else:
        with pytest.raises(
            DataError, match=r"octmnist.npz: (train_images is uint8 \(999999, .* to 200000|cannot be read)"
        ):
            load_octmnist(path)
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("place", ["octmnist_64.npz", "octmnist/octmnist_128.npz", "medmnist/octmnist_224.npz"])
def test_other_sizes_are_named(tmp_path: Path, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).touch()
    words = f"found {place} (another size; only the 28x28 pictures of octmnist.npz are read)"
    with pytest.warns(SyntheticDataNotice, match="fetch octmnist$") as said:
        assert OctmnistDataModule(folder=str(tmp_path), synthetic_sizes=(6, 5, 4)).describe()["source"] == "synthetic"
    assert words in str(said[0].message)
    (finding,) = check(registry.get("octmnist"), tmp_path)
    assert finding.state is State.MISSING
    assert words in finding.note
    assert commands.call("data", ["list", "--folder", str(tmp_path)]) == 0
    assert words in capsys.readouterr().out


@pytest.mark.parametrize("place", ["octmnist/octmnist.npz", "octmnist.npz"])
def test_auto_takes_the_file_where_it_is(tmp_path: Path, place: str) -> None:
    saved(tmp_path, place)
    module = OctmnistDataModule(folder=str(tmp_path))
    assert module.describe()["sizes"] == {"train": 40, "val": 12, "test": 529}
    assert module.tensors("train").images.shape == (40, 1, 28, 28)
    official = OctmnistDataModule(folder=str(tmp_path), test_cut="official")
    assert official.describe()["sizes"]["test"] == 1000
    assert official.describe()["fingerprint"] != module.describe()["fingerprint"]
    (finding,) = check(registry.get("octmnist"), tmp_path)
    assert finding.state == State.ALTERED


def test_without_the_file_scans_are_drawn_and_not_cut(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"folder": str(tmp_path), "synthetic_sizes": (6, 5, 40)}
    with pytest.warns(
        SyntheticDataNotice, match=r"no OctMNIST pictures in .*: using synthetic scans; looked for .*; get the"
    ):
        found = OctmnistDataModule(**settings).describe()
    assert (found["provenance"], found["sizes"]) == ("synthetic", {"train": 6, "val": 5, "test": 40})
    with pytest.raises(DataError, match=r"data\.source=npz: no such OctMNIST pictures in "):
        OctmnistDataModule(source="npz", **settings).describe()
