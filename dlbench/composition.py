"""What an experiment with overrides composes to, without running it."""

import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from dlbench import identity, resources


def configuration_of(experiment: str, overrides: Iterable[str]) -> str:
    """The configuration, evaluation included, that an experiment with overrides composes to."""
    plain = composed(experiment, tuple(overrides))
    return identity.compared_id(identity.training(plain, fingerprint="", device=""), plain["evaluation"])


@cache
def composed(experiment: str, overrides: tuple[str, ...]) -> dict[str, Any]:
    """The resolved configuration, as plain containers; it must not be changed.

    Raises:
        HydraException: There is no such experiment, or an override means nothing.
    """
    # Hydra takes a tenth of a second, and a report has dozens of configurations, most of which only set values. No
    # setting refers to another (`paths` to the environment alone), so these are set in what Hydra made of the rest.
    settings = [override for override in overrides if re.match(r"\w+\.[\w.]+=", override)]
    if not settings:
        return _by_hydra(experiment, overrides)
    plain = composed(experiment, tuple(override for override in overrides if override not in settings))
    for override in OverridesParser.create().parse_overrides(settings):
        changed = _changed(plain, override.key_or_group.split("."), override.value())
        if changed is None:
            return _by_hydra(experiment, overrides)  # which says what is wrong
        plain = changed
    return plain


def _changed(config: dict[str, Any], keys: Sequence[str], value: Any) -> dict[str, Any] | None:
    """A copy where another value stands under these keys, one inside the other; None if nothing stands there."""
    key, *inner = keys
    if key not in config:
        return None
    if not inner:
        return {**config, key: value}
    changed = _changed(config[key], inner, value) if isinstance(config[key], dict) else None
    return None if changed is None else {**config, key: changed}


def _by_hydra(experiment: str, overrides: tuple[str, ...]) -> dict[str, Any]:
    with initialize_config_dir(str(resources.conf()), version_base="1.3"):
        config = compose("config", [f"+experiment={experiment}", *overrides])
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    return plain
