"""Labelled pictures as LightningDataModules: Intel scenes, Kuzushiji-MNIST and OctMNIST."""

import warnings
from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytorch_lightning as pl
import torch
from annotated_types import Gt
from torch import Tensor
from torch.utils.data import DataLoader

from dlbench.components import component
from dlbench.data import image_files, intel_files, registry
from dlbench.data.image_files import PictureSet, TestCut
from dlbench.data.images import BatchOrder, Layout, PictureTensors, loader, permute_pixels, shift, to_network
from dlbench.data.synthetic import images
from dlbench.errors import DataError, SyntheticDataNotice
from dlbench.paths import cache_folder, check_cache, data_folder

Loader = DataLoader[tuple[Tensor, Tensor]]
Size = Annotated[int, Gt(0)]
Transform = Callable[[Tensor], Tensor]
"""Of pictures (N, height, width, channels) of uint8 into others."""


class PictureDataModule(pl.LightningDataModule):
    """A data set of labelled pictures; a subclass says where they are and how they are read, drawn and arranged.

    Args:
        source: Where the pictures come from: ``synthetic`` ones are drawn; ``auto`` takes real ones if the data folder
            has them, else synthetic ones with a notice; what else there is, a subclass says.
        batch_size: Pictures a training step.
        eval_batch_size: Pictures a validation or test step.
        synthetic_sizes: Pictures to draw for train, val and test when the source is ``synthetic``.
        folder: The data folder; default: see `dlbench.paths.data_folder`.
        seed: The run's seed, from which the order of training pictures comes.
    """

    name: str
    """The data set's name in the registry."""

    title: ClassVar[str]
    """The data set's name, for people."""

    drawn: ClassVar[str]
    """What synthetic pictures are of."""

    generate: ClassVar[Callable[..., PictureSet]]
    """Draws synthetic pictures of the ``sizes`` of train, val and test; a static method."""

    shown: ClassVar[tuple[str, int]] = "train", 4
    """Split and position of the picture whose activation maps are shown."""

    def __init__(
        self,
        source: str,
        batch_size: int,
        eval_batch_size: int,
        synthetic_sizes: Sequence[int],
        folder: str | None,
        *,
        seed: int,
    ) -> None:
        super().__init__()
        self.source = source
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.synthetic_sizes = synthetic_sizes
        self.folder = data_folder(folder)
        self.seed = seed

    @cached_property
    def pictures(self) -> PictureSet:
        """The pictures, read, or drawn, once.

        Raises:
            DataError: They are missing, altered in structure, or cannot be read.
        """
        if self.source != "synthetic":
            if (found := self.read()) is not None:
                return found
            where, hints = f"{self.title} pictures in {self.folder}", f"{self.absence()}; {self.remedy()}"
            if self.source != "auto":
                raise DataError(f"data.source={self.source}: no such {where}; {hints}")
            notice = f"no {where}: using synthetic {self.drawn}; {hints}"
            warnings.warn(notice, SyntheticDataNotice, stacklevel=2)
        return _drawn(type(self).generate, tuple(self.synthetic_sizes))

    @abstractmethod
    def read(self) -> PictureSet | None:
        """The real pictures of the chosen source; None if they are not in the data folder.

        Raises:
            DataError: They are altered in structure, or cannot be read; or see `dlbench.paths.require`.
        """

    def absence(self) -> str:
        """What was looked for, and what is there instead."""
        return registry.get(self.name).absence(self.folder)

    def remedy(self) -> str:
        """How the real pictures are had."""
        return f"get the real ones with: python -m dlbench data fetch {self.name}"

    def arrange(self, pictures: Tensor) -> Tensor:
        """Pictures (N, height, width, channels) as the network takes them, (N, channels, height, width)."""
        return to_network(pictures, "chw")

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in the order of their labels."""
        return self.pictures.classes

    def describe(self) -> dict[str, Any]:
        """What a record says of the data: where from, how trusted, how many, and the fingerprint; no folders."""
        return {
            "name": self.name,
            "source": self.pictures.source,
            "provenance": self.pictures.provenance,
            "fingerprint": self.pictures.fingerprint(),
            "sizes": {name: len(split) for name, split in self.pictures.splits().items()},
            "files": self.pictures.files,
        }

    def model_arguments(self) -> dict[str, Any]:
        """What the data decides of a network: nothing; its configuration says how many classes it has."""
        return {}

    def tensors(self, split: str, down: int = 0, right: int = 0) -> PictureTensors:
        """A split, moved by whole pixels if asked for, as the network takes it."""
        return self._transformed(split, lambda pictures: shift(pictures, down, right) if down or right else pictures)

    def _transformed(self, split: str, transform: Transform) -> PictureTensors:
        pictures = self.pictures.splits()[split]
        images = self.arrange(transform(torch.from_numpy(pictures.images)))
        return PictureTensors(images, torch.from_numpy(pictures.labels))

    def example(self) -> tuple[Tensor, Tensor]:
        """The picture whose activation maps are shown.

        Returns:
            As a person sees it, (height, width, channels) of uint8, and as the network gets it,
            (1, channels, height, width).
        """
        split, position = self.shown
        pictures = self.pictures.splits()[split]
        picture = torch.from_numpy(pictures.images[min(position, len(pictures) - 1)])
        only = PictureTensors(self.arrange(picture[None]), torch.zeros(1, dtype=torch.int64))
        return picture, only[torch.tensor([0])][0]

    def train_dataloader(self) -> Loader:
        """Shuffled by (seed, epoch)."""
        return loader(self.tensors("train"), self.batch_size, self.seed)

    def val_dataloader(self) -> Loader:
        """In order."""
        return self.evaluation_dataloader("val")

    def test_dataloader(self) -> Loader:
        """In order."""
        return self.evaluation_dataloader("test")

    def evaluation_dataloader(self, split: str, down: int = 0, right: int = 0) -> Loader:
        """A split in order, moved by whole pixels if asked for."""
        return loader(self.tensors(split, down, right), self.eval_batch_size)

    def transformed_dataloader(self, split: str, transform: Transform) -> Loader:
        """A split in order, its pictures transformed as a person sees them, before they are arranged."""
        return loader(self._transformed(split, transform), self.eval_batch_size)


# The runs of a sweep share a process, and its pictures with it.
@lru_cache(maxsize=3)
def _drawn(generate: Callable[..., PictureSet], sizes: tuple[int, ...]) -> PictureSet:
    return generate(sizes=sizes)


@lru_cache(maxsize=3)
def _remembered(
    load: Callable[..., PictureSet], files: tuple[Path, ...], _changed_ns: Any, **options: str
) -> PictureSet:
    return load(*files, **options)


def _read(load: Callable[..., PictureSet], *files: Path, **options: str) -> PictureSet:
    """What ``load`` makes of files, read again only where one has changed."""
    try:
        changed = tuple(path.stat().st_mtime_ns for path in files)
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror}); make it a readable file") from error
    return _remembered(load, files, changed, **options)


picture_component = partial(
    component,
    outside=("source", "synthetic_sizes"),
    former={"embedded_sizes": ("synthetic_sizes",)},
    uses=(BatchOrder,),
)

IntelSource = Literal["auto", "npz", "folder", "synthetic"]


@picture_component("intel", "1.0")
class IntelDataModule(PictureDataModule):
    """The Intel scenes in memory: 117 MB for the real set, batches gathered by index.

    Args:
        source: ``npz`` (the course's keys), ``folder`` (official seg_train/seg_test), ``synthetic`` (drawn scenes), or
            ``auto``: real pictures if the data folder has them, else synthetic ones with a notice.
        layout: ``chw`` (correct) or ``scrambled`` (as published; see `dlbench.data.images.to_network`).
        cache: Where resized pictures are kept; default: see `dlbench.paths.cache_folder`.

    The others are those of `PictureDataModule`.
    """

    name, title, drawn = "intel", "Intel", "scenes"
    generate = staticmethod(images.scenes)
    shown = "val", 0
    source: IntelSource

    def __init__(
        self,
        *,
        source: IntelSource = "auto",
        layout: Layout = "chw",
        batch_size: Size = 8,
        eval_batch_size: Size = 250,
        synthetic_sizes: Sequence[int] = (1200, 240, 480),
        folder: str | None = None,
        cache: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(source, batch_size, eval_batch_size, synthetic_sizes, folder, seed=seed)
        self.layout: Layout = layout
        self.given_cache = cache

    def read(self) -> PictureSet | None:
        """See `dlbench.data.intel_files`; the cache may not lie in the data folder."""
        found = intel_files.find(self.folder, self.source if self.source in ("npz", "folder") else None)
        if found is None:
            return None
        cache = cache_folder(self.given_cache)
        check_cache(cache, self.folder)
        kind, path = found
        return _read(intel_files.load_npz, path) if kind == "npz" else intel_files.load_folder(path, cache)

    def absence(self) -> str:
        """What was looked for of the sources chosen, and what is there instead."""
        names = {"npz": ("intel",), "folder": ("intel_folder",)}.get(self.source, ("intel", "intel_folder"))
        sets = [registry.get(name) for name in names]
        found = [place for each in sets for place in each.similar(self.folder)]
        return registry.absence([part for each in sets for part in each.parts], list(dict.fromkeys(found)))

    def arrange(self, pictures: Tensor) -> Tensor:
        """Pictures (N, height, width, channels) in the layout chosen, (N, channels, height, width)."""
        return to_network(pictures, self.layout)


@picture_component("kmnist", "1.0")
class KmnistDataModule(PictureDataModule):
    """Kuzushiji-MNIST in memory: 55 MB for the real set.

    Args:
        source: ``idx`` (the official files in the published split), ``test10k`` (the official test pictures alone in a
            split of their own: see `dlbench.data.image_files.load_kmnist`), ``synthetic`` (drawn glyphs), or ``auto``:
            the published split if the training pictures are there, else synthetic ones with a notice.
        permute_pixels: Whether the network gets all pixels in one fixed random order.

    The others are those of `PictureDataModule`.
    """

    name, title, drawn = "kmnist", "Kuzushiji-MNIST", "glyphs"
    generate = staticmethod(images.glyphs)

    def __init__(
        self,
        *,
        source: Literal["auto", "idx", "test10k", "synthetic"] = "auto",
        permute_pixels: bool = False,
        batch_size: Size = 8,
        eval_batch_size: Size = 250,
        synthetic_sizes: Sequence[int] = (4000, 500, 1000),
        folder: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(source, batch_size, eval_batch_size, synthetic_sizes, folder, seed=seed)
        self.permute_pixels = permute_pixels

    def absence(self) -> str:
        """What was looked for first, and what is there instead."""
        part = "t10k" if self.source == "test10k" else "train"
        return registry.get("kmnist").absence(self.folder, image_files.registered_kmnist(part)[0])

    def read(self) -> PictureSet | None:
        """See `dlbench.data.image_files.find_kmnist` and `load_kmnist` there."""
        parts: tuple[image_files.KmnistPart, ...] = ("t10k",) if self.source == "test10k" else ("train", "t10k")
        found = image_files.find_kmnist(self.folder, *parts)
        return _read(image_files.load_kmnist, *found) if found else None

    def remedy(self) -> str:
        """How the real pictures are had, and whether those of the other split are there."""
        remedy = super().remedy()
        with suppress(DataError):
            if self.source == "auto" and image_files.find_kmnist(self.folder, "t10k"):
                remedy += "; the test pictures are there: data.source=test10k splits them"
        return remedy

    def arrange(self, pictures: Tensor) -> Tensor:
        """See `PictureDataModule.arrange`; pixels are permuted if that is asked for."""
        arranged = super().arrange(pictures)
        return permute_pixels(arranged) if self.permute_pixels else arranged


@picture_component("octmnist", "1.0")
class OctmnistDataModule(PictureDataModule):
    """OctMNIST in memory: 86 MB for the real set.

    Args:
        source: ``npz`` (MedMNIST's file), ``synthetic`` (drawn scans), or ``auto``: the real pictures if they are
            there, else synthetic ones with a notice.
        test_cut: ``course529`` (529 of the test pictures: see `dlbench.data.image_files.COURSE_CUT`) or ``official``
            (all 1000). Synthetic pictures are not cut.

    The others are those of `PictureDataModule`.
    """

    name, title, drawn = "octmnist", "OctMNIST", "scans"
    generate = staticmethod(images.scans)

    def __init__(
        self,
        *,
        source: Literal["auto", "npz", "synthetic"] = "auto",
        test_cut: TestCut = "course529",
        batch_size: Size = 8,
        eval_batch_size: Size = 250,
        synthetic_sizes: Sequence[int] = (4000, 500, 1000),
        folder: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(source, batch_size, eval_batch_size, synthetic_sizes, folder, seed=seed)
        self.test_cut: TestCut = test_cut

    def read(self) -> PictureSet | None:
        """See `dlbench.data.image_files.load_octmnist`."""
        found = image_files.find_octmnist(self.folder)
        return _read(image_files.load_octmnist, found, test_cut=self.test_cut) if found else None
