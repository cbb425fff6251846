"""One run that the report lacks: what it is, what it is compared with, and the data that it needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from dlbench import identity
from dlbench.data import intel_files
from dlbench.data.fetch import is_present
from dlbench.data.ljspeech import METADATA, WAVES
from dlbench.data.registry import REGISTRY
from dlbench.paths import data_folder, existing_data_folder

SYNTHETIC = "synthetic"


@dataclass(frozen=True)
class Job:
    """One run: its overrides, its seed, and what they compose to but for the seed."""

    overrides: tuple[str, ...]
    seed: int
    config: Mapping[str, Any] = field(repr=False, compare=False)

    @property
    def experiment(self) -> str:
        """The experiment's name."""
        return str(self.config["name"])

    @cached_property
    def configuration(self) -> str:
        """What is averaged over seeds: see `dlbench.identity.compared_id`."""
        return identity.compared_id(self._meaning, self.config["evaluation"])

    @cached_property
    def training(self) -> str:
        """The same without the evaluation: several jobs may need one training."""
        return identity.configuration_id(self._meaning)

    @property
    def members(self) -> tuple[int, ...]:
        """The seeds of the further runs that it averages, if it is an ensemble."""
        count = further_members(self.config)
        return tuple(range(self.seed + 1, self.seed + 1 + count))

    @property
    def data(self) -> str:
        """The data set's name, as records have it."""
        data = self.config["data"]
        if train := data.get("train"):
            return Path(train).parts[0].partition(".")[0]
        if corpus := data.get("corpus"):
            return str(corpus)
        return str(data["_target_"]).rpartition(".")[2].removesuffix("DataModule").lower()

    @property
    def is_synthetic(self) -> bool:
        """Whether it wants synthetic data even where the real data is at hand."""
        return bool(self.config["data"]["source"] == SYNTHETIC)

    @property
    def fraction(self) -> float:
        """The part of the training data in use."""
        return float(self.config["data"].get("fraction", 1))

    @property
    def synthetic_sizes(self) -> dict[str, int]:
        """How much synthetic data of every split is in use."""
        train, val, test = self.config["data"]["synthetic_sizes"]
        return {"train": max(1, round(train * self.fraction)), "val": val, "test": test}

    @cached_property
    def _meaning(self) -> dict[str, Any]:
        return identity.training(self.config, fingerprint="", device="")


def further_members(config: Mapping[str, Any]) -> int:
    """How many further runs the evaluation averages with the first."""
    return len(config["evaluation"].get("members") or ())


def missing_data(job: Job) -> str | None:
    """How to get the data that a job lacks; None if it is at hand, or synthetic data is asked for.

    Raises:
        DataError: The data folder that was asked for does not exist.
    """
    if job.is_synthetic:
        return None
    data = job.config["data"]
    files = tuple(data[split] for split in ("train", "val", "test") if data.get(split))
    if corpus := data.get("corpus"):
        files = f"{corpus}/{METADATA}", f"{corpus}/{WAVES}"
    return _missing(job.data, files, job.config["paths"]["data"])


def _is_there(path: Path) -> bool:
    return path.is_dir() if path.name == WAVES else path.is_file()


def _missing(name: str, files: tuple[str, ...], given: str | None) -> str | None:
    folder = existing_data_folder(given) or data_folder(given)
    if files:
        is_there = all(_is_there(folder / path) for path in files)
    elif name == "intel":
        is_there = intel_files.find(folder) is not None
    else:
        is_there = name not in REGISTRY or all(is_present(REGISTRY[name], folder))
    if is_there:
        return None
    fetch = f"get it with: python -m dlbench data fetch {name}"
    return fetch if name in REGISTRY else f"put {', '.join(files)} into {folder}"
