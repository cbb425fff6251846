"""A record at a glance, for listings."""

from dataclasses import dataclass
from typing import Any

from omegaconf import OmegaConf

from dlbench.errors import RecordError
from dlbench.records.confirmations import is_made_by
from dlbench.records.files import read_config, read_json
from dlbench.records.labels import brief
from dlbench.records.store import Record, State, read_done
from dlbench.source import modules_of, source_hash


@dataclass(frozen=True)
class Summary:
    """One line of a listing. ``stale`` is None where it cannot be told."""

    run: str
    state: State
    stale: bool | None
    experiment: str
    data: str
    settings: str
    metrics: dict[str, float]
    problem: str | None = None


def summarise(record: Record) -> Summary:
    """Read what there is; damage becomes a ``problem``, not an error."""
    try:
        manifest = read_json(record.manifest)
        metrics = {
            name: value
            for evaluation in record.evaluations()
            for name, value in read_done(evaluation.result)["metrics"].items()
        }
        return Summary(
            record.id,
            record.state(),
            is_stale(record, manifest),
            manifest["experiment"],
            f"{manifest['data']['name']}, {manifest['data']['provenance']}",
            _settings(manifest["scientific"]),
            metrics,
            _problem(record),
        )
    except (RecordError, KeyError, TypeError, AttributeError) as error:
        return Summary(record.id, State.CORRUPT, None, "?", "?", "", {}, str(error))


def is_stale(record: Record, manifest: dict[str, Any]) -> bool:
    """Whether today's code neither made the record nor was confirmed to, as far as its result depends on it."""
    config: dict[str, Any] = OmegaConf.to_container(read_config(record.config))  # type: ignore[assignment]
    return not is_made_by(record, manifest, source_hash(modules_of(config)))


def _settings(scientific: dict[str, Any]) -> str:
    return f"{brief(scientific)} {scientific['trainer']['epochs']} epochs"


def _problem(record: Record) -> str | None:
    """Why the last try failed, or what is damaged."""
    if record.training.exists():
        read_done(record.training)
    return str(read_json(record.failure)["error"]) if record.failure.exists() else None
