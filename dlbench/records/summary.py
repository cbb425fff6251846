"""A record at a glance, for listings."""

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from enum import StrEnum
from functools import cache
from typing import Any

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from dlbench import components
from dlbench.errors import RecordError
from dlbench.numerics import differences, numerics, torch_version, untold
from dlbench.records.files import ODD, problem_of, read_json
from dlbench.records.index import Index
from dlbench.records.labels import brief, changed_settings, decoding
from dlbench.records.store import Contents, Evaluation, Record, State


class Use(StrEnum):
    """What a finished record may be used for."""

    REPRODUCIBLE = "reproducible here"
    """Same versions, same numerics: today's code gives its bits on this machine."""
    COMPARABLE = "comparable"
    """Same meaning: it counts in means, intervals and verdicts."""
    NEITHER = "no longer comparable"
    """A component, or what a library does by default, means something else today."""


@dataclass(frozen=True, config=ConfigDict(strict=True))
class Summary:
    """One line of a listing.

    ``use`` is None for what is not finished; ``decoding`` is empty where nothing is; ``started`` is a time in ISO 8601,
    empty where the record does not tell.
    """

    run: str
    state: State
    use: Use | None
    experiment: str
    data: str
    settings: str
    metrics: dict[str, float]
    problem: str | None = None
    decoding: str = ""
    started: str = ""


def summarise(record: Record, read: Callable[[Record], Contents] = Record.read) -> list[Summary]:
    """A record in a line a decoding, or else one; damage becomes a ``problem``, not an error.

    Args:
        record: The record.
        read: What reads it; see `dlbench.records.index.Index.read`.
    """
    try:
        contents = read(record)
        manifest = contents.manifest
        state = State(contents.closing["state"]) if contents.closing else record.state()
        kind = None
        if state in (State.FINISHED, State.DIVERGED):
            kind = Use.NEITHER if rebound(manifest) else use(manifest["versions"], manifest["numerics"])
        line = Summary(
            record.id,
            state,
            kind,
            manifest["experiment"],
            f"{manifest['data']['name']}, {manifest['data']['provenance']}",
            _settings(manifest["experiment"], contents.config),
            {},
            str(read_json(record.failure)["error"]) if record.failure.exists() else None,
            started=str(manifest.get("started", "")),
        )
        found = []
        for identity, result in contents.results.items():
            own = use(result["versions"], result.get("numerics"))
            if how := decoding(contents.settings[identity]):
                # A training may be shared: the experiment is the one that it was decoded for.
                about = {"experiment": result["experiment"], "metrics": result["metrics"], "decoding": how}
                found.append(replace(line, **about, use=_worst(line.use, own)))
            elif own != Use.NEITHER:
                line = replace(line, metrics=line.metrics | result["metrics"], use=_worst(line.use, own))
        return sorted(found, key=lambda found: found.decoding) or [line]
    except (RecordError, *ODD) as error:
        return [Summary(record.id, State.CORRUPT, None, "?", "?", "", {}, problem_of(error))]


def decoding_of(evaluation: Evaluation) -> str:
    """See `dlbench.records.labels.decoding`; empty too where the evaluation's settings are gone or damaged."""
    with contextlib.suppress(RecordError):
        return decoding(evaluation.settings())
    return ""


def use(versions: Mapping[str, str], numerics: Mapping[str, Any] | None) -> Use:
    """What a finished record may be used for today, here.

    Args:
        versions: Those of its components.
        numerics: What its bits depended on beside the code; None: it does not tell, as the oldest evaluations.
    """
    if not components.is_comparable(versions):
        return Use.NEITHER
    if numerics is None:
        return Use.COMPARABLE
    here = numerics_here(str(numerics["device"]), int(numerics["threads"]))
    is_unknown = None in here.values()  # a GPU, say, that is not here
    if is_unknown or components.outdated(versions) or differences(numerics, here) or untold(numerics, here):
        return Use.COMPARABLE
    return Use.REPRODUCIBLE


def uses(records: Iterable[Record]) -> dict[Use, int]:
    """How many finished records, or decodings of them, may be used for what; damaged ones are passed over."""
    with Index() as index:
        found = Counter(line.use for record in records for line in summarise(record, index.read))
    return {kind: found[kind] for kind in Use if found[kind]}


def rebound(manifest: Mapping[str, Any]) -> str | None:
    """Where an argument that a configuration left open has another default now than in its record, in words.

    Torch's optimisers and schedules are asked only if another torch is installed; a user's own code, of which a record
    may name any, only if it is imported already and declares itself a component.
    """
    for target, then in manifest.get("bound", {}).items():
        if components.TRUSTED.fullmatch(target):
            asked = components.locate(target) if manifest["numerics"]["torch"] != torch_version() else None
        else:
            module, _, name = target.rpartition(".")
            asked = getattr(sys.modules.get(module), name, None)
            asked = asked if asked and components.declared(asked) else None
        now = components.defaults_of(asked) if asked else {}
        for key, value in then.items():
            if now.get(key, value) != value:
                return f"{target} has another default of {key} now, {now[key]}, where it was {value}"
    return None


def _worst(*kinds: Use | None) -> Use | None:
    """What a training and an evaluation of it may be used for together; None where the one is not finished."""
    order = list(Use)
    return None if None in kinds else max((kind for kind in kinds if kind), key=order.index)


@cache
def numerics_here(device: str, threads: int) -> dict[str, Any]:
    """See `dlbench.numerics.numerics`; a GPU is known by its name. Torch is asked only where it alone can tell."""
    kind = device if device in ("cpu", "mps") else "cuda"
    if None in (found := numerics(kind, threads)).values():
        import torch  # noqa: F401

        found = numerics(kind, threads)
    return found


def _settings(experiment: str, config: dict[str, Any]) -> str:
    """Those compared most, the epochs, and what else is not as in the experiment today."""
    changed = changed_settings(experiment, config)
    others = [each for each in changed if not each.removeprefix("trainer.").startswith("epochs=")]
    return " ".join([brief(config), f"epochs={config['trainer']['epochs']}", *others])
