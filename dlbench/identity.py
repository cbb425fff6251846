"""What a run IS: its canonical scientific configuration, and hashes of it (DESIGN, principle 1)."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

TRAINING_SECTIONS = ("task", "data", "model", "optimizer", "scheduler", "trainer")
DELIVERY_KEYS = {
    "data": (
        *("source", "embedded_sizes", "folder", "cache", "train", "val", "test", "max_source_length"),
        *("corpus", "splits", "strict", "jobs"),
    ),
    "trainer": ("progress",),
}
"""How data gets here and what people see is not science: the data's fingerprint stands for what was delivered."""

EXECUTION_KEYS = ("device", "threads")
"""They decide the last bits of a result, so they belong to its identity, but not to what is averaged over."""


def canonical(config: Mapping[str, Any], fingerprint: str, device: str) -> dict[str, Any]:
    """The part of a resolved configuration that decides a training's result.

    Args:
        config: The resolved configuration, as plain containers.
        fingerprint: The data's fingerprint.
        device: The kind of device the run is made on (``auto`` says nothing).
    """
    sections = {
        name: {key: value for key, value in config[name].items() if key not in DELIVERY_KEYS.get(name, ())}
        for name in TRAINING_SECTIONS
    }
    sections["trainer"]["device"] = device
    return {**sections, "seed": config["seed"], "fingerprint": fingerprint}


def training_id(config: Mapping[str, Any]) -> str:
    """The identity of a training, from its canonical configuration."""
    return digest(config)


def evaluation_id(training: str, evaluation: Mapping[str, Any]) -> str:
    """The identity of an evaluation: the training's, and the evaluation's own settings."""
    return digest({"training": training, "evaluation": evaluation})


def configuration_id(config: Mapping[str, Any]) -> str:
    """The same for trainings that differ only in seed, data, device and threads.

    These are what is averaged over, and held against a report.
    """
    trainer = {key: value for key, value in config["trainer"].items() if key not in EXECUTION_KEYS}
    return digest({**{name: config[name] for name in TRAINING_SECTIONS}, "trainer": trainer})


def compared_id(config: Mapping[str, Any], evaluation: Mapping[str, Any]) -> str:
    """`configuration_id` and the evaluation's settings: what a row of a table averages over seeds.

    Of an ensemble only the number of members counts, since they are seeds too.
    """
    members = {"members": len(evaluation["members"] or ())} if "members" in evaluation else {}
    return evaluation_id(configuration_id(config), {**evaluation, **members})


def digest(value: Any) -> str:
    """The first 12 hexadecimal digits of the SHA-256 of canonical JSON; 1 and 1.0 are the same number."""
    text = json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
