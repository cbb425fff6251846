"""What an experiment with overrides composes to, without running it."""

import copy
import re
from collections.abc import Iterable
from functools import cache
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dlbench import identity, resources


def configuration_of(experiment: str, overrides: Iterable[str]) -> str:
    """The configuration, evaluation included, that an experiment with overrides composes to."""
    plain = composed(experiment, tuple(overrides))
    return identity.compared_id(identity.canonical(plain, fingerprint="", device=""), plain["evaluation"])


@cache
def composed(experiment: str, overrides: tuple[str, ...] = ()) -> dict[str, Any]:
    """The resolved configuration, as plain containers; it must not be changed.

    Raises:
        HydraException: There is no such experiment, or an override means nothing.
    """
    plain: dict[str, Any] = OmegaConf.to_container(_composed(experiment, overrides), resolve=True)  # type: ignore[assignment]
    return plain


def _composed(experiment: str, overrides: tuple[str, ...]) -> DictConfig:
    # Hydra takes a tenth of a second. A report has dozens of configurations, most of which only set values.
    settings = [override for override in overrides if re.match(r"\w+\.[\w.]+=", override)]
    choices = tuple(override for override in overrides if override not in settings)
    config = copy.deepcopy(_chosen(experiment, choices))
    try:
        for override in OverridesParser.create().parse_overrides(settings):
            OmegaConf.update(config, override.key_or_group, override.value())
    except OmegaConfBaseException:
        return _chosen(experiment, overrides)  # says it in Hydra's words
    return config


@cache
def _chosen(experiment: str, overrides: tuple[str, ...]) -> DictConfig:
    with initialize_config_dir(str(resources.conf()), version_base="1.3"):
        return compose("config", [f"+experiment={experiment}", *overrides])
