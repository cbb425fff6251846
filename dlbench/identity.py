"""What a run IS: the names and meanings of its parts, what differs from their defaults, and a hash of that.

Nothing in it tells where code lies, who launched the run, or what was shown beside it (DESIGN, principle 1).
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from dlbench import components

TRAINING_SECTIONS = ("task", "data", "model", "optimizer", "scheduler", "trainer")

ALWAYS_SAID = ("epochs", "precision", "threads")
"""Of a trainer's settings these stand in every identity, as does the kind of device."""

EXECUTION_KEYS = ("device", "threads")
"""They decide the last bits of a result, so they belong to its identity, but not to what is averaged over."""


def training(config: Mapping[str, Any], fingerprint: str, device: str) -> dict[str, Any]:
    """What decides a training's result; its `digest` is the training's identity.

    Args:
        config: The resolved configuration, as plain containers.
        fingerprint: The data's fingerprint.
        device: The kind of device the run is made on (``auto`` says nothing).

    Raises:
        ConfigError: A target is not there, or its source cannot be found.
    """
    sections = {name: part(config[name]) for name in TRAINING_SECTIONS}
    said = {key: config["trainer"][key] for key in ALWAYS_SAID if key in config["trainer"]}
    sections["trainer"] = {**sections["trainer"], **said, "device": device}
    learned = {f"callbacks.{name}": part(node) for name, node in changing_callbacks(config)}
    found: dict[str, Any] = plain({**sections, **learned, "seed": config["seed"], "fingerprint": fingerprint})
    return found


def evaluation(training_id: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What decides an evaluation's result: the training, and its own settings."""
    found: dict[str, Any] = plain({"training": training_id, "evaluation": part(settings)})
    return found


def part(node: Mapping[str, Any]) -> dict[str, Any]:
    """A component of a configuration: what it is, and its arguments that are not as by default.

    Arguments stand under the names they had when the component got its MAJOR version.
    """
    node = components.today(node)
    meaning, known = components.describe(node["_target_"])
    said = {key: value for key, value in node.items() if not key.startswith("_") or key == "_args_"}
    arguments = {key: value for key, value in said.items() if key not in known.outside}
    for old, new in known.former.items():
        values = [arguments[name] for name in new if name in arguments]
        if len(values) == len(new) and all(value == values[0] for value in values):
            arguments = {old: values[0], **{key: value for key, value in arguments.items() if key not in new}}
    former = {old: known.defaults[new[0]] for old, new in known.former.items() if new[0] in known.defaults}
    defaults = {**known.defaults, **former}
    told = {
        key: _told(value)
        for key, value in sorted(arguments.items())
        if not (key in defaults and plain(defaults[key]) == plain(value))
    }
    return {**meaning, **told}


def _told(value: Any) -> Any:
    """An argument, components told wherever they stand in it."""
    if isinstance(value, Mapping):
        return part(value) if "_target_" in value else {str(key): _told(item) for key, item in value.items()}
    return [_told(item) for item in value] if isinstance(value, list | tuple) else plain(value)


def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration's settings that can change a training's result, by section as they stand there, and its seed."""

    def inside(node: Mapping[str, Any]) -> dict[str, Any]:
        outside = components.outside(str(node.get("_target_")))
        return {key: value for key, value in node.items() if key not in outside}

    return {name: inside(config[name]) for name in TRAINING_SECTIONS if name in config} | {"seed": config["seed"]}


def changing_callbacks(config: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The callbacks of a configuration that do not declare that they only show something."""
    for name, node in sorted((config.get("callbacks") or {}).items()):
        if node is not None and not components.is_display_only(node["_target_"]):
            yield name, node


def configuration_id(identity: Mapping[str, Any]) -> str:
    """The same for trainings that differ only in seed, data, device and threads.

    These are what is averaged over, and held against a report.
    """
    trainer = {key: value for key, value in identity["trainer"].items() if key not in EXECUTION_KEYS}
    others = {key: value for key, value in identity.items() if key not in ("seed", "fingerprint")}
    return digest({**others, "trainer": trainer})


def compared_id(identity: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """`configuration_id` and the evaluation's settings: what a row of a table averages over seeds.

    Of an ensemble only the number of members counts, since they are seeds too.
    """
    return compared_as(identity, plain(part(settings)))


def compared_as(identity: Mapping[str, Any], told: Mapping[str, Any]) -> str:
    """`compared_id` where it is told already what the evaluation is, as in a record."""
    members = {"members": len(told["members"])} if told.get("members") else {}
    return digest({"training": configuration_id(identity), "evaluation": {**told, **members}})


def digest(value: Any) -> str:
    """The first 12 hexadecimal digits of the SHA-256 of canonical JSON; 1 and 1.0 are the same number."""
    text = json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def plain(value: Any) -> Any:
    """A value as JSON gives it back; whole numbers are integers."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
