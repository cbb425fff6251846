"""Labelled pictures as LightningDataModules: Intel scenes, Kuzushiji-MNIST and OctMNIST."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property, partial
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Gt
from torch import Tensor
from torch.utils.data import DataLoader

from dlbench.components import component
from dlbench.data import image_files, intel_files, registry
from dlbench.data.datamodule import SuiteDataModule, read_once
from dlbench.data.image_files import PictureSet, TestCut
from dlbench.data.image_folders import load_image_folder
from dlbench.data.images import BatchOrder, Layout, PictureTensors, loader, permute_pixels, shift, to_network
from dlbench.data.synthetic import images
from dlbench.errors import DataError
from dlbench.paths import cache_folder, check_cache

Loader = DataLoader[tuple[Tensor, Tensor]]
Size = Annotated[int, Gt(0)]
Transform = Callable[[Tensor], Tensor]
"""Of pictures (N, height, width, channels) of uint8 into others."""


class PictureDataModule(SuiteDataModule[PictureSet]):
    """A data set of labelled pictures; a subclass says where they are and how they are read, drawn and arranged.

    Its arguments are those of `SuiteDataModule`.
    """

    shown: ClassVar[tuple[str, int]] = "train", 4
    """Split and position of the picture whose activation maps are shown."""

    @cached_property
    def pictures(self) -> PictureSet:
        """The pictures, read, or drawn, once; see `SuiteDataModule.load`."""
        return self.load()

    def absence(self) -> str:
        """What was looked for, and what is there instead."""
        return registry.get(self.name).absence(self.folder)

    def arrange(self, pictures: Tensor) -> Tensor:
        """Pictures (N, height, width, channels) as the network takes them, (N, channels, height, width)."""
        return to_network(pictures, "chw")

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in the order of their labels."""
        return self.pictures.classes

    def describe(self) -> dict[str, Any]:
        """See `SuiteDataModule.facts`."""
        return self.facts(self.pictures)

    def model_arguments(self) -> dict[str, Any]:
        """What the data decides of a network: nothing; its configuration says how many classes it has."""
        return {}

    def tensors(self, split: str, transform: Transform | None = None) -> PictureTensors:
        """A split as the network takes it, its pictures transformed if asked for."""
        pictures = self.pictures.splits()[split]
        images = torch.from_numpy(pictures.images)
        images = self.arrange(transform(images) if transform else images)
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

    def evaluation_dataloader(self, split: str, down: int = 0, right: int = 0) -> Loader:
        """A split in order, moved by whole pixels if asked for."""
        return self.transformed_dataloader(split, partial(shift, down=down, right=right))

    def transformed_dataloader(self, split: str, transform: Transform) -> Loader:
        """A split in order, its pictures transformed as a person sees them, before they are arranged."""
        return loader(self.tensors(split, transform), self.eval_batch_size)


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

    The others are those of `SuiteDataModule`.
    """

    name, real, drawn = "intel", "Intel pictures", "scenes"
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
        return read_once(intel_files.load_npz, [path], path) if kind == "npz" else intel_files.load_folder(path, cache)

    def absence(self) -> str:
        """What was looked for of the sources chosen, and what is there instead."""
        names = {"npz": ("intel",), "folder": ("intel_folder",)}.get(self.source, ("intel", "intel_folder"))
        sets = [registry.get(name) for name in names]
        found = [place for each in sets for place in each.similar(self.folder)]
        return registry.absence([part for each in sets for part in each.parts], list(dict.fromkeys(found)))

    def arrange(self, pictures: Tensor) -> Tensor:
        """Pictures (N, height, width, channels) in the layout chosen, (N, channels, height, width)."""
        return to_network(pictures, self.layout)


@picture_component("image_folder", "1.0", outside=("root",))
class ImageFolderDataModule(PictureDataModule):
    """Anybody's pictures, in folders of their classes; see `dlbench.data.image_folders.load_image_folder`.

    Args:
        root: Their folder, absolute or below the data folder or the working folder.
        side: To how many pixels a side they are resized.
        batch_size: Pictures a training step.
        eval_batch_size: Pictures a validation or test step.
        folder: The data folder; default: see `dlbench.paths.data_folder`.
        cache: Where resized pictures are kept; default: see `dlbench.paths.cache_folder`.
        seed: The run's seed, on which the order of training examples depends.
    """

    shown = "val", 0

    def __init__(
        self,
        *,
        root: str,
        side: Size = 48,
        batch_size: Size = 8,
        eval_batch_size: Size = 250,
        folder: str | None = None,
        cache: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__("folder", batch_size, eval_batch_size, (), folder, seed=seed)
        self.root, self.side, self.given_cache = root, side, cache
        self.name = registry.data_name(f"{root.rstrip('/')}/train")

    def read(self) -> PictureSet:
        """See `dlbench.data.image_folders.load_image_folder`."""
        if (found := registry.find(self.root, self.folder)) is None:
            places = " and ".join(map(str, registry.places(self.root, self.folder)))
            raise DataError(f"data.root={self.root}: no such folder; looked for {places}")
        cache = cache_folder(self.given_cache)
        check_cache(cache, self.folder)
        return load_image_folder(found, self.side, cache)


@picture_component("kmnist", "1.0")
class KmnistDataModule(PictureDataModule):
    """Kuzushiji-MNIST in memory: 55 MB for the real set.

    Args:
        source: ``idx`` (the official files in the published split), ``test10k`` (the official test pictures alone in a
            split of their own: see `dlbench.data.image_files.load_kmnist`), ``synthetic`` (drawn glyphs), or ``auto``:
            the published split if the training pictures are there, else synthetic ones with a notice.
        permute_pixels: Whether the network gets all pixels in one fixed random order.

    The others are those of `SuiteDataModule`.
    """

    name, real, drawn = "kmnist", "Kuzushiji-MNIST pictures", "glyphs"
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
        return read_once(image_files.load_kmnist, found, *found) if found else None

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

    The others are those of `SuiteDataModule`.
    """

    name, real, drawn = "octmnist", "OctMNIST pictures", "scans"
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
        found = image_files.OCTMNIST.find(self.folder)
        return read_once(image_files.load_octmnist, [found], found, self.test_cut) if found else None
