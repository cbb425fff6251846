"""What can be told of a network without training it; kept from one report to the next, as torch takes its time."""

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.errors import HydraException

from dlbench import files
from dlbench.cli import experiments
from dlbench.config import build, trusted
from dlbench.errors import ConfigError
from dlbench.terminal import nearest


def parameters(experiment: str, *overrides: str, **vocabularies: int) -> int:
    """Trainable parameters; a network for symbols needs the sizes of its vocabularies, ``source`` and ``target``."""
    sizes = {f"{side}_symbols": size for side, size in vocabularies.items()}
    return _told("parameters", _settings(experiment, overrides), sizes)


def flops(experiment: str, *overrides: str) -> int:
    """Operations of a forward pass over one picture (see `dlbench.models.cost.count_flops`)."""
    return _told("flops", _of_pictures(experiment, overrides))


def receptive_field(experiment: str, *overrides: str) -> int:
    """Side in pixels of what one output of an image network's convolutions and poolings sees."""
    return _told("receptive field", _of_pictures(experiment, overrides))


@functools.cache
def _settings(experiment: str, overrides: tuple[str, ...]) -> dict[str, Any]:
    """The settings of an experiment's network."""
    if experiment not in experiments():
        raise ConfigError(f"{experiment}: no such experiment; {nearest(experiment, experiments())}")
    try:
        settings: dict[str, Any] = trusted(experiment, overrides)["model"]
    except HydraException as error:
        raise ConfigError(f"{experiment} {' '.join(overrides)}: {error}") from error
    return settings


def _of_pictures(experiment: str, overrides: tuple[str, ...]) -> dict[str, Any]:
    """The settings of a network that classifies pictures."""
    settings = _settings(experiment, overrides)
    if not {"in_channels", "image_size"} <= settings.keys():
        raise ConfigError(f"{experiment}: classifies no pictures; of its network only parameters() is known")
    return settings


def _told(what: str, settings: Mapping[str, Any], sizes: Mapping[str, int] | None = None) -> int:
    return int(files.kept(_measured, what, dict(settings), dict(sizes or {}), code=code_hash("models")))


@functools.cache
def code_hash(package: str) -> str:
    """The SHA-256 of all modules of one of the suite's packages: other code's answers are not this code's."""
    digest = hashlib.sha256()
    for path in sorted((Path(__file__).parents[1] / package).glob("*.py")):
        digest.update(f"{path.name}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def _measured(what: str, settings: dict[str, Any], sizes: dict[str, int]) -> int:
    """Build the network without memory for its weights, and measure it."""
    import torch

    from dlbench.models import cost

    with torch.device("meta"):
        network = build("model", settings, **sizes)
    if what == "parameters":
        return cost.count_parameters(network)
    if what == "flops":
        return cost.count_flops(network, (settings["in_channels"], settings["image_size"], settings["image_size"]))
    return cost.receptive_field(network.features)
