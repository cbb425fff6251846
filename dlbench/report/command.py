"""The command that makes a recorded run again."""

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString

from dlbench import components
from dlbench.config import composed
from dlbench.identity import TRAINING_SECTIONS
from dlbench.records.labels import NONE, chosen
from dlbench.report.results import STAND_IN, Result

GROUPS = {
    "task": "task",
    "data": "data",
    "model": "model",
    "model.attention": "model/attention",
    "optimizer": "optimizer",
    "scheduler": "scheduler",
    "evaluation": "evaluation",
    "evaluation.decoding": "decoding",
}
"""Where a configuration group's choice stands, and the group."""

IGNORED = {"trainer.progress", "data.jobs"}
"""They change nothing that is recorded."""


def command(result: Result, *others: Result) -> str:
    """``python -m dlbench +experiment=NAME ...`` with every setting that is not the experiment's own.

    What is on stand-in data needs that first: see `preparation`.

    Args:
        result: What it makes.
        others: Results that differ from it in nothing but their seeds: a sweep then makes them all.
    """
    return with_seeds(seedless(result), (result, *others))


def with_seeds(words: Iterable[str], results: Iterable[Result]) -> str:
    """The command of which `seedless` gave the words, for the seeds of these results."""
    seeds = list(dict.fromkeys(str(each.seed) for each in results))
    sweep = ["-m"] if len(seeds) > 1 else []
    return shlex.join(["python", "-m", "dlbench", *sweep, *words, f"seed={','.join(seeds)}"])


def seedless(result: Result) -> list[str]:
    """The words of a result's `command`, but for its seed: results with the same ones differ in nothing else."""
    wanted: dict[str, Any] = {**result.config, "evaluation": dict(result.evaluated)}
    ignored = IGNORED
    if result.provenance == "synthetic":
        # It was made where there was no real data; where there is, the default would take that.
        wanted["data"] = {**wanted["data"], "source": "synthetic"}
    else:  # real data has the sizes it has
        ignored = IGNORED | {"data.synthetic_sizes"}
    own = composed(result.experiment, ())
    choices = []
    for path, group in GROUPS.items():
        here, there = _at(wanted, path), _at(own, path)
        if (here or {}).get("_target_") != (there or {}).get("_target_"):
            choices.append(f"{group}={chosen(group, here) if here else NONE}")
    usual = composed(result.experiment, tuple(choices))
    sections = (*TRAINING_SECTIONS, "evaluation")
    changes = [change for section in sections for change in _changes(section, wanted.get(section), usual[section])]
    settings = [change for change in changes if change.lstrip("+~").partition("=")[0] not in ignored]
    return [f"+experiment={result.experiment}", *choices, *settings]


def preparation(result: Result) -> str | None:
    """The command that makes the data that a run is on: of speech that was spoken for it; None for all other data."""
    if result.provenance != STAND_IN:
        return None
    made_by = result.manifest["data"].get("stand_in") or {}
    rows = f"{made_by.get('start') or 0}:{made_by.get('stop') or ''}"
    options = {
        "rows": "" if rows == "0:" else rows,
        "max-characters": made_by.get("max_characters"),
        "voice": made_by.get("voice"),
        "speed": made_by.get("speed"),
        "to": result.data,
    }
    given = [word for name, value in options.items() if value for word in (f"--{name}", str(value))]
    return shlex.join(["python", "-m", "dlbench", "data", "speak", "ljspeech", *given])


def _at(config: Mapping[str, Any] | None, path: str) -> Mapping[str, Any] | None:
    for key in path.split("."):
        config = (config or {}).get(key)
    return config


def _changes(path: str, here: Any, there: Any) -> Iterator[str]:
    """Overrides that lead from ``there`` to ``here``."""
    if not (isinstance(here, Mapping) and isinstance(there, Mapping)):
        if here != there:
            yield f"{path}={_literal(here)}"
        return
    was = components.with_younger(here, there)
    for key in dict.fromkeys((*here, *there)):
        inner = f"{path}.{key}"
        if key not in was:
            yield f"~{inner}"
        elif key not in there:
            yield f"+{inner}={_literal(was[key])}"
        else:
            yield from _changes(inner, was[key], there[key])


def _literal(value: Any) -> str:
    """A value in Hydra's grammar of overrides."""
    if isinstance(value, str):
        reads_otherwise = value.lower() in ("true", "false", "null", "nan", "inf")
        is_plain = re.fullmatch(r"[A-Za-z_][\w./-]*", value, re.ASCII) and not reads_otherwise
        return value if is_plain else QuotedString(value, Quote.double).with_quotes()
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_literal, value)) + "]"
    return json.dumps(value)
