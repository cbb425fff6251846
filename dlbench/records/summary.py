"""A record at a glance, for listings."""

import contextlib
from dataclasses import dataclass, replace
from typing import Any

from dlbench.errors import RecordError
from dlbench.records.confirmations import is_made_by
from dlbench.records.files import read_config, read_json
from dlbench.records.labels import brief, decoding
from dlbench.records.store import Evaluation, Record, State, read_done
from dlbench.source import evaluation_modules_of, modules_of, source_hash


@dataclass(frozen=True)
class Summary:
    """One line of a listing. ``stale`` is None where it cannot be told; ``decoding`` is empty where nothing is."""

    run: str
    state: State
    stale: bool | None
    experiment: str
    data: str
    settings: str
    metrics: dict[str, float]
    problem: str | None = None
    decoding: str = ""


def summarise(record: Record) -> list[Summary]:
    """Read what there is: a line a decoding, or else one; damage becomes a ``problem``, not an error."""
    try:
        manifest = read_json(record.manifest)
        whole = Summary(
            record.id,
            record.state(),
            is_stale(record, manifest),
            manifest["experiment"],
            f"{manifest['data']['name']}, {manifest['data']['provenance']}",
            _settings(manifest["scientific"]),
            {},
            _problem(record),
        )
        found = []
        for evaluation in record.evaluations():
            result = read_done(evaluation.result)
            if how := decoding_of(evaluation):
                # A training may be shared: the experiment is the one that it was decoded for.
                about = {"experiment": result["experiment"], "metrics": result["metrics"], "decoding": how}
                found.append(replace(whole, **about, stale=whole.stale or is_evaluation_stale(record, evaluation)))
            else:
                whole.metrics.update(result["metrics"])
        return sorted(found, key=lambda line: line.decoding) or [whole]
    except (RecordError, KeyError, TypeError, AttributeError) as error:
        return [Summary(record.id, State.CORRUPT, None, "?", "?", "", {}, str(error))]


def decoding_of(evaluation: Evaluation) -> str:
    """See `dlbench.records.labels.decoding`; empty too where the evaluation's settings are gone or damaged."""
    with contextlib.suppress(RecordError):
        return decoding(read_config(evaluation.config))
    return ""


def is_stale(record: Record, manifest: dict[str, Any]) -> bool:
    """Whether today's code neither made the record nor was confirmed to, as far as its result depends on it."""
    return not is_made_by(record, manifest, source_hash(modules_of(read_config(record.config))))


def is_evaluation_stale(record: Record, evaluation: Evaluation) -> bool:
    """Whether an evaluation was made by other source than today's, as far as its own source was recorded."""
    recorded = read_done(evaluation.result).get("evaluation_source")
    if recorded is None:
        return False
    settings = read_config(evaluation.config)
    return bool(recorded != source_hash(evaluation_modules_of({"evaluation": settings})))


def _settings(scientific: dict[str, Any]) -> str:
    return f"{brief(scientific)} {scientific['trainer']['epochs']} epochs"


def _problem(record: Record) -> str | None:
    """Why the last try failed, or what is damaged."""
    if record.training.exists():
        read_done(record.training)
    return str(read_json(record.failure)["error"]) if record.failure.exists() else None
