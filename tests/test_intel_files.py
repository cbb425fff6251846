"""The Intel scenes from disk: every good form is read, every bad one refused in a line that names it."""

import hashlib
import io
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from damage import NO_FILES
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dlbench import commands
from dlbench.data import image_folders, intel_files, registry
from dlbench.data.fetch import State, check
from dlbench.data.image_files import Pictures, PictureSet
from dlbench.data.image_folders import tenth
from dlbench.data.intel_files import CLASSES, find, folders, load_folder, load_npz
from dlbench.errors import DataError, OddDataNotice

KNOWN = "67d6f63e5eba789677ca945ca10489a39ebfa1c1a896ac184046aa56f392a5a1"


def arrays(n: int = 6) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        f"{split}_{kind}": rng.integers(0, 256, (n, 48, 48, 3), np.uint8) if kind == "images" else np.arange(n) % 6
        for split in ("train", "val", "test")
        for kind in ("images", "labels")
    }


def saved(path: Path, **changes: np.ndarray | None) -> Path:
    kept = {key: value for key, value in (arrays() | changes).items() if value is not None}
    np.savez(path, **kept)
    return path


def paint(file: Path, seed: int, size: tuple[int, int] = (20, 15), mode: str = "RGB") -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), np.uint8)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).convert(mode).save(file)


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """Three training pictures and one test picture a class."""
    base = tmp_path / "data" / "intel_folder"
    for label, name in enumerate(CLASSES):
        for k, number in enumerate((7, 10, 101)):
            paint(base / "seg_train" / name / f"{number}.png", 10 * label + k)
        paint(base / "seg_test" / name / "5.png", 100 + label)
    return base


def equal(a: Pictures, b: Pictures) -> bool:
    return np.array_equal(a.images, b.images) and np.array_equal(a.labels, b.labels)


# --- finding ---------------------------------------------------------------------------------------------------------


def test_an_npz_is_found_before_a_folder(official: Path) -> None:
    data = official.parent
    assert find(data) == ("folder", official)
    direct = saved(data / "intel_landscapes.npz")
    assert find(data) == ("npz", direct)
    (data / "intel").mkdir()
    own = saved(data / "intel" / "mine.npz")
    assert find(data) == ("npz", direct)
    usual = saved(data / "intel" / "intel_landscapes.npz")
    assert find(data) == ("npz", usual)
    assert find(data, "folder") == ("folder", official)
    usual.unlink(), direct.unlink()
    assert find(data) == ("npz", own)
    saved(data / "intel" / "other.npz")
    with pytest.raises(DataError, match=r"several npz files \(mine.npz, other.npz\)"):
        find(data)


KAGGLE = ["archive", "archive (1)", "intel-image-classification", "data/archive", "intel/archive"]


@pytest.mark.parametrize("place", [".", "intel", "intel_folder", *KAGGLE])
def test_folders_are_found_in_every_place_and_nesting(place: str, official: Path, tmp_path: Path) -> None:
    expected = load_folder(official, tmp_path / "cache")
    base = tmp_path / "kaggle" / place
    for name in ("seg_train", "seg_test"):
        (base / name).mkdir(parents=True)
        (official / name).rename(base / name / name)
    assert find(tmp_path / "kaggle") == ("folder", base)
    nested = load_folder(base, tmp_path / "cache")
    assert nested.files == expected.files
    assert all(equal(nested.splits()[name], part) for name, part in expected.splits().items())


def test_folders_unpacked_in_two_places_are_named(official: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = official.parent
    (data / "__MACOSX" / "seg_train").mkdir(parents=True)
    (data / ".fetch" / "seg_train").mkdir(parents=True)
    official.rename(data / "archive")
    assert find(data) == ("folder", data / "archive")
    (data / "other" / "seg_test").mkdir(parents=True)
    with pytest.raises(
        DataError, match=r"several folders with seg_train or seg_test \(archive, other\); name the right"
    ):
        find(data)
    assert {finding.state for finding in check(registry.get("intel_folder"), data)} == {State.BROKEN}
    assert commands.call("data", ["list", "--folder", str(data)]) == 0
    assert "Traceback" not in capsys.readouterr().err


def test_a_link_back_ends_in_a_line(official: Path, tmp_path: Path) -> None:
    sea = official / "seg_train" / "sea"
    (sea / "linked").symlink_to(official / "seg_test" / "sea")  # which is no way back
    count = len(load_folder(official, tmp_path / "cache").train) + 2  # of 19 pictures, two are for validation
    assert count == 19
    line = r"seg_train/sea/[ab](/c)?: a link that leads back to a folder above it; remove it"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "c").symlink_to(sea)
    (sea / "b").symlink_to(tmp_path / "other")
    with pytest.raises(DataError, match=line):
        load_folder(official, tmp_path / "cache")
    (sea / "b").unlink()
    for name in "ab":  # two of them could be followed in 2^40 ways
        (sea / name).symlink_to("..")
    with pytest.raises(DataError, match=line):
        load_folder(official, tmp_path / "cache")
    train, test = check(registry.get("intel_folder"), official.parent)
    assert (train.state, test.state) == (State.BROKEN, State.ALTERED)


@pytest.mark.parametrize("kind", ["pipe", "loop", "dangling"])
def test_what_is_named_like_a_picture_and_is_no_file_is_named(official: Path, tmp_path: Path, kind: str) -> None:
    NO_FILES[kind](official / "seg_test" / "sea" / "x.png")
    with pytest.raises(DataError, match=r"seg_test/sea/x\.png: cannot be read \(.*\); make it readable or remove it"):
        load_folder(official, tmp_path / "cache")
    with pytest.raises(DataError, match=r"seg_test/sea/x\.png in .*: cannot be read as a picture"):
        folders(official).read("seg_test")


def test_an_unreadable_folder_is_named(official: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, closed = os.scandir, str(official / "seg_train" / "sea")

    def scandir(path: str) -> object:
        if str(path) == closed:
            raise PermissionError(13, "Permission denied", closed)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match=r"sea: cannot be listed \(Permission denied\)"):
        load_folder(official, tmp_path / "cache")


def test_names_that_are_not_utf8_are_read(official: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sea = official / "seg_test" / "sea"
    content = (sea / "5.png").read_bytes()
    (sea / os.fsdecode(b"\xff.png")).write_bytes(content)
    (sea / os.fsdecode(b"\xff.gif")).write_bytes(content)
    with pytest.warns(OddDataNotice, match="not read"):
        assert len(load_folder(official, tmp_path / "cache").test) == 7
    npz = official.parent / "intel" / os.fsdecode(b"\xff.npz")
    npz.parent.mkdir()
    saved(npz)
    assert list(load_npz(npz).files) == [r"\udcff.npz"]
    assert commands.call("data", ["check", "intel", "--folder", str(official.parent)]) == 0
    assert r"user copy  intel/\udcff.npz" in capsys.readouterr().out


def test_nothing_to_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find(tmp_path) is None
    with pytest.raises(DataError, match="nowhere: no such data folder"):
        find(tmp_path / "nowhere")
    monkeypatch.chdir(tmp_path)
    assert find(Path("data")) is None


# --- npz -------------------------------------------------------------------------------------------------------------


def test_an_npz_of_right_structure_is_a_user_copy(tmp_path: Path) -> None:
    path = saved(tmp_path / "intel_landscapes.npz")
    data = load_npz(path)
    assert (data.source, data.provenance, data.classes) == ("npz", "user copy", CLASSES)
    assert data.files == {"intel_landscapes.npz": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert data.train.labels.dtype == np.int64
    assert np.array_equal(data.val.images, arrays()["val_images"])


def test_flattened_images_are_height_width_channels(tmp_path: Path) -> None:
    flat = arrays()["test_images"].reshape(6, -1)
    labels = np.arange(6, dtype=np.uint8)
    data = load_npz(saved(tmp_path / "flat.npz", test_images=flat, test_labels=labels))
    assert np.array_equal(data.test.images, arrays()["test_images"])
    assert data.test.labels.dtype == np.int64


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("val_images", None, "expected .*val_images"),
        ("more", np.zeros(3), "has the keys more, "),
        ("train_images", np.zeros((6, 48, 48, 3), np.float32), r"train_images is float32 \(6, 48, 48, 3\), expected u"),
        ("train_images", np.zeros((6, 3, 48, 48), np.uint8), r"train_images is uint8 \(6, 3, 48, 48\), expected"),
        ("train_images", np.zeros((0, 48, 48, 3), np.uint8), r"train_images is uint8 \(0, 48, 48, 3\), expected"),
        ("train_images", np.zeros((), np.uint8), r"train_images is uint8 \(\), expected"),
        ("test_labels", np.zeros(5, np.int64), r"test_labels is int64 \(5,\), expected integers \(6,\)"),
        ("test_labels", np.zeros(6), r"test_labels is float64 \(6,\), expected integers"),
        ("test_labels", np.zeros(6, np.bool_), r"test_labels is bool \(6,\), expected integers"),
        ("test_labels", np.arange(1, 7), r"test_labels is in 1\.\.6, expected 0\.\.5"),
        ("test_labels", np.arange(-1, 5), r"test_labels is in -1\.\.4, expected 0\.\.5"),
        ("val_labels", np.array([None] * 6), "val_labels contains pickled objects, which can run code"),
    ],
)
def test_a_wrong_npz_is_refused(tmp_path: Path, key: str, value: np.ndarray | None, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load_npz(saved(tmp_path / "bad.npz", **{key: value}))
    assert "bad.npz" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_files_under_the_name_of_an_npz(tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    with pytest.raises(DataError, match=r"bad.npz: no such file"):
        load_npz(path)
    for content in (b"", b"PK\3\4", b"\x80\4K\1.", b"no npz at all"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"bad.npz: cannot be read, truncated or altered"):
            load_npz(path)
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(DataError, match=r"bad.npz: a single array"):
        load_npz(path)


def packed() -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{key: value[:2] for key, value in arrays().items()})
    return buffer.getvalue()


PACKED = packed()


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged") / "damaged.npz"


@settings(max_examples=250, deadline=None)
@given(place=st.integers(0, len(PACKED) - 1), change=st.integers(1, 255))
def test_an_altered_byte_never_alters_a_picture(scratch: Path, place: int, change: int) -> None:
    scratch.write_bytes(PACKED[:place] + bytes([PACKED[place] ^ change]) + PACKED[place + 1 :])
    try:
        data = load_npz(scratch)
    except DataError as error:
        assert "damaged.npz" in str(error)
    else:
        assert np.array_equal(data.train.images, arrays()["train_images"][:2])
        assert data.provenance == "user copy"


@settings(max_examples=50, deadline=None)
@given(size=st.integers(0, len(PACKED) - 1))
def test_a_truncated_file_is_refused(scratch: Path, size: int) -> None:
    scratch.write_bytes(PACKED[:size])
    with pytest.raises(DataError, match=r"damaged.npz: cannot be read, truncated or altered"):
        load_npz(scratch)


# --- split -----------------------------------------------------------------------------------------------------------


@given(st.integers(1, 3000))
def test_the_split_partitions_the_files(n: int) -> None:
    train, val = tenth(n)
    assert len(val) == -(-n // 10)
    assert np.array_equal(np.sort(np.concatenate([train, val])), np.arange(n))
    assert (np.diff(train) > 0).all()
    assert (np.diff(val) > 0).all()
    assert set(val) == set(np.random.default_rng(42).permutation(n)[: len(val)])


# --- folder ----------------------------------------------------------------------------------------------------------


def test_a_folder_is_read_by_class_and_number_and_cached(official: Path, tmp_path: Path) -> None:
    cache = tmp_path / "new" / "cache"
    data = load_folder(official, cache)
    assert (data.source, data.provenance, data.classes) == ("folder", "user copy", CLASSES)
    assert {name: len(part) for name, part in data.splits().items()} == {"train": 16, "val": 2, "test": 6}
    whole = folders(official).read("seg_train")
    assert np.array_equal(whole.labels, np.repeat(np.arange(6), 3))
    for k, number in enumerate((7, 10, 101)):
        with Image.open(official / "seg_train" / "forest" / f"{number}.png") as picture:
            assert np.array_equal(whole.images[3 + k], picture.resize((48, 48), Image.Resampling.BILINEAR))
    (kept,) = cache.rglob("*.npz")
    before = kept.stat().st_mtime_ns
    again = load_folder(official, cache)
    assert kept.stat().st_mtime_ns == before
    assert all(equal(again.splits()[name], part) for name, part in data.splits().items())
    manifest = "".join(
        f"{hashlib.sha256((official / 'seg_test' / name / '5.png').read_bytes()).hexdigest()}  {name}/5.png\n"
        for name in CLASSES
    )
    assert data.files["seg_test"] == hashlib.sha256(manifest.encode()).hexdigest()


def test_a_changed_picture_is_never_served_stale(official: Path, tmp_path: Path) -> None:
    (official / "seg_test" / "sea" / "5.png").unlink()
    file = official / "seg_test" / "sea" / "5.bmp"
    paint(file, 1)
    before = load_folder(official, tmp_path / "cache")
    status = file.stat()
    paint(file, 2)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = load_folder(official, tmp_path / "cache")
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert [np.array_equal(a, b) for a, b in zip(before.test.images, after.test.images, strict=True)] == [
        name != "sea" for name in CLASSES
    ]


@pytest.mark.parametrize("damage", [b"", b"PK\3\4 and no more", None])
def test_a_damaged_cache_is_rebuilt(official: Path, tmp_path: Path, damage: bytes | None) -> None:
    cache = tmp_path / "cache"
    data = load_folder(official, cache)
    (kept,) = cache.rglob("*.npz")
    whole = kept.read_bytes()
    kept.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    assert equal(load_folder(official, cache).train, data.train)
    assert np.load(kept)["seg_train_images"].shape == (18, 48, 48, 3)
    assert list(cache.rglob("*.npz")) == [kept]


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P"])
def test_pictures_of_any_mode_and_size_become_rgb(official: Path, tmp_path: Path, mode: str) -> None:
    suffix = "jpg" if mode == "CMYK" else "png"
    paint(official / "seg_test" / "sea" / f"6.{suffix}", 1, (150, 111), mode)
    assert load_folder(official, tmp_path / "cache").test.images.shape == (7, 48, 48, 3)


def read(official: Path, picture: Image.Image, name: str = "6.png", **options: object) -> np.ndarray:
    """A further picture of the sea, as it is read; the file goes again."""
    file = official / "seg_test" / "sea" / name
    picture.save(file, **options)
    try:
        return folders(official).read("seg_test").images[CLASSES.index("sea") + 1]
    finally:
        file.unlink()


GREY = np.random.default_rng(0).integers(0, 256, (48, 48), np.uint8)


@given(st.binary(min_size=48 * 48, max_size=48 * 48))
@settings(max_examples=10)
def test_grey_of_16_bits_is_that_of_8(wide: Path, content: bytes) -> None:
    grey = np.frombuffer(content, np.uint8).reshape(48, 48)
    expected = np.repeat(grey[..., None], 3, axis=2)
    for name in ("6.png", "6.tif", "6.pgm"):
        assert np.array_equal(read(wide, Image.fromarray(grey.astype(np.uint16) * 257), name), expected)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("wide")
    for name in CLASSES:
        paint(base / "seg_test" / name / "5.png", 1)
    return base


def test_where_white_is_zero_grey_of_16_bits_is_turned(wide: Path) -> None:
    content = io.BytesIO()
    Image.fromarray(GREY.astype(np.uint16) * 257).save(content, "TIFF", tiffinfo={262: 0})
    with Image.open(content) as picture:
        is_kept = picture.tag_v2[262] == 0
    if not is_kept:
        pytest.skip("this Pillow writes black as zero")
    read_back = read(wide, Image.fromarray(GREY.astype(np.uint16) * 257), "6.tif", tiffinfo={262: 0})
    assert np.array_equal(read_back[..., 0], 255 - GREY)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA"])
def test_what_has_no_loss_is_read_as_it_is(wide: Path, mode: str) -> None:
    picture = Image.fromarray(GREY).convert(mode)
    assert np.array_equal(read(wide, picture), np.asarray(picture.convert("RGB")))


def with_alpha(mode: str) -> Image.Image:
    picture = Image.fromarray(GREY).convert(mode)
    picture.putpixel((3, 4), (*picture.getpixel((3, 4))[:-1], 254))  # type: ignore[index, misc]
    return picture


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[274] = 6
    return exif


SEVERAL = {"save_all": True, "append_images": [Image.fromarray(255 - GREY)]}


@pytest.mark.parametrize(
    ("picture", "name", "options", "message"),
    [
        (Image.fromarray(GREY.astype(np.float32) / 255), "6.tif", {}, "mode F"),
        (Image.fromarray(GREY.astype(np.int32)), "6.tiff", {}, "mode I"),
        (with_alpha("RGBA"), "6.png", {}, "transparent pixels"),
        (with_alpha("LA"), "6.PNG", {}, "transparent pixels"),
        (Image.fromarray(GREY), "6.png", {"transparency": int(GREY[0, 0])}, "transparent pixels"),
        (Image.fromarray(GREY).convert("P"), "6.png", {"transparency": int(GREY[0, 0])}, "transparent pixels"),
        (Image.fromarray(GREY.astype(np.uint16)), "6.png", {"transparency": 5}, "a transparent shade of grey"),
        (Image.fromarray(GREY), "6.jpg", {"exif": turned()}, "a picture that viewers turn"),
        (Image.fromarray(GREY), "6.tif", SEVERAL, "2 pictures in one file"),
        (Image.fromarray(GREY), "6.png", SEVERAL, "2 pictures in one file"),
        (Image.fromarray(GREY), "6.webp", SEVERAL, "2 pictures in one file"),
    ],
)
def test_what_would_be_lost_is_named(
    wide: Path, picture: Image.Image, name: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(DataError, match=rf"^seg_test/sea/{name} in .*: .*{message}.*; convert it to 8-bit RGB"):
        read(wide, picture, name, **options)


def test_pictures_that_are_not_read_are_named(official: Path, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = load_folder(official, tmp_path / "cache")
    sea = official / "seg_test" / "sea"
    paint(sea / ".ipynb_checkpoints" / "5.png", 1)
    paint(sea / ".ipynb_checkpoints" / "6.png", 2)
    paint(sea / "7.gif", 3)
    paint(sea / "8.png", 3)
    (sea / "8.png").rename(sea / "8")
    (sea / "9.HEIC").write_bytes(b"picture of a phone")
    (sea / "._5.jpg").write_bytes(b"what a Mac leaves")
    paint(official / "seg_test" / "1.png", 3)
    for name in ("notes.txt", ".DS_Store", "Thumbs.db"):
        (sea / name).write_text("no picture")
    for _ in range(2):  # the second time from the cache
        with pytest.warns(OddDataNotice) as notices:
            after = load_folder(official, tmp_path / "cache")
        assert all(equal(after.splits()[name], part) for name, part in before.splits().items())
        (notice,) = notices
        assert str(notice.message).startswith(
            f"{official}: files that look like pictures are not read: 2 in hidden folders "
            "(seg_test/sea/.ipynb_checkpoints/5.png), 1 "
        )
        for part in ("hidden", ".gif", "without extension", ".heic", "in no class folder"):
            assert f", 1 {part} (seg_test/" in str(notice.message)
    paint(sea / "10.png", 4)
    (sea / "10.png").rename(sea / "10.PNG")
    with pytest.warns(OddDataNotice):
        assert len(load_folder(official, tmp_path / "cache").test) == len(before.test) + 1


def test_the_extensions_are_those_of_image_folder() -> None:
    from torchvision.datasets.folder import IMG_EXTENSIONS

    assert set(IMG_EXTENSIONS) == image_folders.READ


def test_bad_folders_are_refused(official: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    bad = official / "seg_test" / "street" / "5.png"
    whole = bad.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"no picture"):
        bad.write_bytes(content)
        with pytest.raises(DataError, match=r"^seg_test/street/5.png in .*: cannot be read as a picture .*replace"):
            load_folder(official, cache)
    assert not list(cache.rglob("*.npz"))
    bad.unlink()
    with pytest.raises(DataError, match=r"seg_test in .*: a class without pictures .*street"):
        load_folder(official, cache)
    bad.parent.rename(bad.parent.parent / "road")
    with pytest.raises(DataError, match=r"seg_test in .* 6 class folders; missing street, extra road"):
        load_folder(official, cache)
    (official / "seg_test").rename(official / "elsewhere")
    with pytest.raises(DataError, match=r"seg_test in .*: no such folder"):
        load_folder(official, cache)


def test_bad_cache_folders_are_refused(official: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="may not lie in the data's own folder; set DLBENCH_CACHE"):
        load_folder(official, official / "cache")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file/cache: the cache cannot be written .*; set DLBENCH_CACHE"):
        load_folder(official, tmp_path / "file" / "cache")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser writes anywhere")
def test_a_read_only_cache_folder_is_refused(official: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o500)
    with pytest.raises(DataError, match="cache cannot be written"):
        load_folder(official, cache)


def test_importing_is_cheap() -> None:
    code = "import dlbench.data.fetch, dlbench.commands.data, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- the real data ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(real_data_folder: Path) -> PictureSet:
    found = find(real_data_folder, "npz")
    assert found is not None
    return load_npz(found[1])


@pytest.fixture(scope="module")
def real_folder(real_data_folder: Path) -> dict[str, Pictures]:
    found = find(real_data_folder, "folder")
    assert found is not None
    return {name: folders(found[1]).read(name) for name in intel_files.SPLITS}


@pytest.mark.real_data
class TestRealData:
    def test_the_npz_is_verified(self, real: PictureSet) -> None:
        assert real.provenance == "verified"
        assert real.files == {"intel_landscapes.npz": KNOWN}
        assert [len(part) for part in real.splits().values()] == [12630, 1404, 3000]

    def test_the_labels_follow_the_split(self, real: PictureSet) -> None:
        counts = np.bincount(real.train.labels) + np.bincount(real.val.labels)
        labels = np.repeat(np.arange(6), counts)
        train, val = tenth(14034)
        assert np.array_equal(real.train.labels, labels[train])
        assert np.array_equal(real.val.labels, labels[val])

    def test_resized_test_pictures_equal_the_npz(self, real: PictureSet, real_folder: dict[str, Pictures]) -> None:
        labels = {image.tobytes(): label for image, label in zip(real.test.images, real.test.labels, strict=True)}
        folder = real_folder["seg_test"]
        assert [labels.get(image.tobytes()) for image in folder.images] == folder.labels.tolist()

    def test_no_picture_of_the_official_folder_is_left_out(self, real_data_folder: Path) -> None:
        found = find(real_data_folder, "folder")
        assert found is not None
        assert folders(found[1]).left_out() is None

    def test_training_pictures_lie_in_the_npz_by_class_and_number(
        self, real: PictureSet, real_folder: dict[str, Pictures]
    ) -> None:
        train, val = tenth(14034)
        places: dict[bytes, list[int]] = {}
        for indices, part in ((train, real.train), (val, real.val)):
            for index, image in zip(indices, part.images, strict=True):
                places.setdefault(image.tobytes(), []).append(int(index))
        found = [places[image.tobytes()] for image in real_folder["seg_train"].images]
        unique = [indices[0] for indices in found if len(indices) == 1]  # some pictures occur twice in the official set
        assert len(unique) > 350
        assert (np.diff(unique) > 0).all()
