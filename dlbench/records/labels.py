"""Runs in words: what a person tells them apart by."""

import json
import re
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from dlbench import components, paths
from dlbench.cli import experiments
from dlbench.config import composed
from dlbench.identity import TRAINING_SECTIONS, settings_of

HOPFIELD = ("patterns", "beta")
ALWAYS_NAMED = {
    ("optimizer", "lr"),
    ("data", "layout"),
    ("model", "attention"),
    ("trainer", "precision"),
    *(("model", key) for key in HOPFIELD),
}
NEVER_NAMED = {("trainer", "device"), ("trainer", "threads"), ("data", "eval_batch_size")}
"""They change a result's last bits at most. Only ``eval_batch_size`` changes more, where a speech recogniser hears the
padding (``model.mask_padding=false``) of batches padded to their longest (``data.frames=null``)."""

USUAL_PRECISION = "32-true"

TELLING = {("decoding", "p"), ("decoding", "k"), ("decoding", "width")}
"""They are named even where they are the usual ones."""

NOT_TELLING = {"max_length", "attention_examples", "members", "decoding"}

SYNTHETIC, SYNTHETIC_SOURCE = "synthetic data", "synthetic"
VERIFIED = "verified"
NONE = "none"
DECODED_BY = " decoded by "


def brief(config: Mapping[str, Any], *, with_seed: bool = True) -> str:
    """The settings that are compared most: ``lr=0.01 layout=chw seed=42``, ``lr=0.003 attention=bahdanau seed=42``.

    Of a Hopfield network these are its patterns and, if it has one, beta: ``patterns=100 beta=64 seed=42``.
    The precision is named where it is not the usual one; without the seed it names what is averaged over seeds.
    """
    model = config["model"]
    attention = model.get("attention", {})
    attention = attention if attention is None or isinstance(attention, Mapping) else {}  # an own network's argument
    precision = config["trainer"].get("precision", USUAL_PRECISION)
    shown = (
        f"lr={config['optimizer']['lr']}" if "lr" in config["optimizer"] else None,
        f"layout={config['data']['layout']}" if "layout" in config["data"] else None,
        f"attention={choice('model/attention', attention, ',')}"
        if attention is None or "_target_" in attention
        else None,
        *(f"{key}={model[key]:g}" for key in HOPFIELD if type(model.get(key)) in (int, float)),
        f"precision={precision}" if precision != USUAL_PRECISION else None,
        f"seed={config['seed']}" if with_seed else None,
    )
    return " ".join(part for part in shown if part)


def settings(experiment: str, config: Mapping[str, Any]) -> str:
    """What tells a configuration from others, the seed left out: ``lr=0.01 layout=chw epochs=10``."""
    return " ".join([brief(config, with_seed=False), *changed_settings(experiment, config)])


def choice(group: str, node: Mapping[str, Any] | None, separator: str = " ") -> str:
    """What was chosen of a configuration group, by its file's name, and its telling settings: ``nucleus p=0.8``.

    Settings are telling that are not as in that file, and those in `TELLING`. Nothing chosen is ``none``.
    """
    if node is None:
        return NONE
    usual = _files(group).get(node["_target_"], ("", {}))[1]
    settings = [
        f"{key}={plain(value)}"
        for key, value in node.items()
        if not key.startswith("_") and key not in NOT_TELLING
        if (group, key) in TELLING or usual.get(key) != value
    ]
    return separator.join([chosen(group, node), *settings])


def chosen(group: str, node: Mapping[str, Any]) -> str:
    """The name of a configuration group's file that fills the same, or else what it fills."""
    target = str(node["_target_"])
    return _files(group).get(target, (target.rpartition(".")[2], {}))[0]


def decoding(evaluation: Mapping[str, Any]) -> str:
    """How an evaluation decodes: ``greedy``, ``beam width=5, ensemble of 3``; empty where nothing is decoded."""
    if not evaluation.get("decoding"):
        return ""
    own = choice("evaluation", evaluation).partition(" ")[2]
    members = evaluation.get("members")
    parts = (choice("decoding", evaluation["decoding"]), own, f"ensemble of {1 + len(members)}" if members else "")
    return ", ".join(part for part in parts if part)


def data_line(data: Mapping[str, Any]) -> str:
    """What data is, and how many examples its splits have: ``intel (verified): 12,630 train, 1,404 val, 3,000 test``.

    Args:
        data: What the data says of itself.
    """
    sizes = ", ".join(f"{count:,} {split}" for split, count in data.get("sizes", {}).items())
    name = "SYNTHETIC data" if data["source"] == SYNTHETIC_SOURCE else f"{data['name']} ({data['provenance']})"
    return f"{name}: {sizes}" if sizes else name


def data_caveat(data: Mapping[str, Any]) -> str:
    """What must be said of data beside any result of it: `` (synthetic data)``, `` (other split)``; verified: nothing.

    Args:
        data: What the data says of itself; of that, ``source`` and ``provenance``.
    """
    if data["source"] == SYNTHETIC_SOURCE:
        return " (synthetic data)"
    return "" if data["provenance"] == VERIFIED else f" ({data['provenance']})"


def run_name(manifest: Mapping[str, Any], config: Mapping[str, Any], most: int = 200) -> str:
    """A readable name, as TensorBoard shows it: ``cnn_bn_gap/lr=0.01 layout=scrambled seed=42 (529c0c64)``.

    Before the stroke stands what may be in one chart: the experiment, and what its data is if it is not the verified
    one. Besides the brief settings, ``most`` bytes of them, it names what differs from the experiment's own.
    """
    group = f"{manifest['experiment']}{data_caveat(manifest['data'])}"
    settings = " ".join([brief(config), *changed_settings(str(manifest["experiment"]), config)])
    return f"{_file_name(group, 200)}/{_file_name(settings, most)} ({_file_name(manifest['run'], 8)})"


def evaluation_name(manifest: Mapping[str, Any], config: Mapping[str, Any], result: Mapping[str, Any], how: str) -> str:
    """A readable name of one of a run's decodings: ``... seed=42 (529c0c64) decoded by beam width=5 (0a1b2c3d)``.

    Args:
        manifest: The run's.
        config: Its configuration.
        result: The evaluation's.
        how: How it decodes; see `decoding`.
    """
    decoded = _file_name(f"{DECODED_BY}{how}", 90)
    return f"{run_name(manifest, config, 120)}{decoded} ({_file_name(result['evaluation'], 8)})"


def _file_name(text: str, limit: int) -> str:
    """A text as one part of a path, that leads nowhere else, of so many bytes at most."""
    text = re.sub(r"[/\\\0-\x1f\x7f-\x9f]", "_", text)
    return re.sub(r"^\.+$", "_", text.encode("utf-8", "replace")[:limit].decode("utf-8", "ignore"))


def changed_settings(experiment: str, config: Mapping[str, Any]) -> list[str]:
    """``key=value`` for each setting that is not the experiment's own; none where there is no such experiment now."""
    if not _defaults(experiment):
        return []
    try:
        # Most records differ from another in their seed alone.
        sections = json.dumps({section: config[section] for section in TRAINING_SECTIONS if section in config})
        return list(_changed_already(experiment, sections))
    except (TypeError, ValueError):  # it is no JSON
        return _changed(experiment, config)


@lru_cache(maxsize=1024)
def _changed_already(experiment: str, sections: str) -> tuple[str, ...]:
    return tuple(_changed(experiment, {**json.loads(sections), "seed": None}))


def _changed(experiment: str, config: Mapping[str, Any]) -> list[str]:
    usual, own = _defaults(experiment), settings_of(config)
    found: list[str] = []
    for section in TRAINING_SECTIONS:
        there = usual[section]
        if own.get(section) == there:
            continue
        here = components.with_younger(own.get(section, {}), there)
        if here.get("_target_") != there.get("_target_"):
            found.append(f"{section}={chosen(section, here)}")
        for key, value in here.items():
            if key not in there or there[key] == value or key.startswith("_"):
                continue
            if (section, key) not in ALWAYS_NAMED | NEVER_NAMED:
                # A trainer and its schedule, say, may differ in their epochs.
                others = [own[name][key] for name in TRAINING_SECTIONS if key in own.get(name, {})]
                place = f"{section}." if any(other != value for other in others) else ""
                found.append(f"{place}{key}={plain(value)}".replace(" ", ""))
    return list(dict.fromkeys(found))


def plain(value: Any) -> str:
    """A setting as it stands in a configuration."""
    return value if isinstance(value, str) else json.dumps(value)


@cache
def _files(group: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """By what they are filled into: the names and settings of a configuration group's files."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for path in sorted((paths.conf() / group).glob("*.yaml")):
        content: Any = OmegaConf.to_container(OmegaConf.load(path))
        if "_target_" in content:
            found.setdefault(content["_target_"], (path.stem, content))
    return found


@cache
def _defaults(experiment: str) -> dict[str, Any]:
    if experiment not in experiments():  # such as "null" or "3", which Hydra would not even take for names
        return {}
    try:
        return settings_of(composed(experiment, ()))
    except (HydraException, OmegaConfBaseException, YAMLError, UnicodeDecodeError):  # a plugin's may be broken
        return {}
