"""Runs in words: what a person tells them apart by."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf

from dlbench import resources
from dlbench.identity import TRAINING_SECTIONS, canonical

ALWAYS_NAMED = {("optimizer", "lr"), ("data", "layout")}
NEVER_NAMED = {("trainer", "device"), ("trainer", "threads"), ("data", "eval_batch_size")}
"""They change a result's last bits at most."""

EMBEDDED = "embedded (drawn) data"


def brief(scientific: Mapping[str, Any]) -> str:
    """The settings that are compared most: ``lr=0.01 chw seed=42``."""
    shown = (f"lr={scientific['optimizer']['lr']}", scientific["data"].get("layout"), f"seed={scientific['seed']}")
    return " ".join(part for part in shown if part)


def group(manifest: Mapping[str, Any]) -> str:
    """The experiment, and that its data is embedded if it is: what may stand in one chart."""
    is_embedded = manifest["data"]["source"] == "embedded"
    return str(manifest["experiment"]) + (" (embedded data)" if is_embedded else "")


def run_name(manifest: Mapping[str, Any]) -> str:
    """A readable name, as TensorBoard shows it: ``cnn_bn_gap/lr=0.01 scrambled seed=42 (529c0c64)``.

    Besides the brief settings it names what differs from the experiment's own.
    """
    scientific = manifest["scientific"]
    words = [brief(scientific), *differences(str(manifest["experiment"]), scientific)]
    settings = " ".join(words).replace("/", "_")[:200]  # a file name's length is limited
    return f"{group(manifest)}/{settings} ({manifest['run'][:8]})"


def differences(experiment: str, scientific: Mapping[str, Any]) -> list[str]:
    """``key=value`` for each setting that is not the experiment's own; none where there is no such experiment now."""
    usual = _defaults(experiment)
    found = []
    for section in TRAINING_SECTIONS if usual else ():
        here, there = scientific.get(section, {}), usual[section]
        target = here.get("_target_")
        if target != there.get("_target_"):
            found.append(f"{section}={str(target).rpartition('.')[2]}")
        found += [
            f"{key}={plain(value)}".replace(" ", "")
            for key, value in here.items()
            if (section, key) not in ALWAYS_NAMED | NEVER_NAMED
            if not key.startswith("_") and key in there and there[key] != value
        ]
    return found


def plain(value: Any) -> str:
    """A setting as it stands in a configuration."""
    return value if isinstance(value, str) else json.dumps(value)


@cache
def _defaults(experiment: str) -> dict[str, Any]:
    try:
        with initialize_config_dir(str(resources.conf()), version_base="1.3"):
            config = compose("config", [f"+experiment={experiment}"])
    except HydraException:
        return {}
    content: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    return canonical(content, fingerprint="", device="")
