"""Train a recorded run again from nothing, or its first epochs, and hold every number against the record's."""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from omegaconf import OmegaConf

from dlbench.errors import RecordError
from dlbench.plan import Plan, prepare, with_evaluation
from dlbench.records import history
from dlbench.records.confirmations import confirm, is_made_by
from dlbench.records.files import read_config, read_json
from dlbench.records.manifest import describe_code, now
from dlbench.records.store import Record, State, read_done
from dlbench.run import ensure_trained, execute


@dataclass(frozen=True)
class Verdict:
    """What came of verifying a record.

    ``differences`` holds (what, recorded, now); ``numerics`` the same for the numerics fingerprint: only where that
    is empty are bits promised to be equal. ``compared`` counts the values compared, over ``epochs`` epochs.
    """

    run: str
    epochs: int
    compared: int
    differences: list[tuple[str, Any, Any]] = field(default_factory=list)
    numerics: list[tuple[str, Any, Any]] = field(default_factory=list)

    @property
    def is_reproduced(self) -> bool:
        """Whether every value is the same to the bit."""
        return not self.differences

    @property
    def is_failure(self) -> bool:
        """Whether values differ that were promised to be equal."""
        return bool(self.differences) and not self.numerics


def verify(record: Record, paths: Mapping[str, Any], progress: str | None = None, epochs: int | None = None) -> Verdict:
    """Train and evaluate again in a temporary folder, then compare curves, weights and metrics.

    Where every bit is equal and today's source is other than the record's, that is noted in the record's
    ``confirmations.json``: it is no longer stale.

    Args:
        record: A finished record, with or without its checkpoints.
        paths: ``data`` and ``cache``, as in the configuration.
        progress: How to show progress; None: as the record says.
        epochs: Train only the first so many epochs and compare only their curves, which start from the initial weights
            and hold losses and validation accuracies to the last bit; None: all, and every evaluation.

    Raises:
        RecordError: The record is not finished, or the data here is not what it was made with.
    """
    if record.state() not in (State.FINISHED, State.DIVERGED):
        raise RecordError(f"record {record.id} is {record.state()}; only a finished one can be verified")
    manifest = read_json(record.manifest)
    with tempfile.TemporaryDirectory(prefix="dlbench-verify-") as scratch:
        # What the record resolved "auto" to must hold here too.
        overrides: dict[str, Any] = {
            "paths": {**paths, "runs": scratch},
            "trainer": {"device": manifest["scientific"]["trainer"]["device"]},
            "rerun": "never",
        }
        if progress:
            overrides["trainer"]["progress"] = progress
        if manifest["data"]["source"] == "embedded":
            overrides["data"] = {"source": "embedded"}
        again = prepare(OmegaConf.merge(OmegaConf.create(read_config(record.config)), overrides))  # type: ignore[arg-type]
        if again.record.id != record.id:
            raise RecordError(_why_not_comparable(again, manifest))
        recorded_epochs = again.settings.epochs
        epochs = min(epochs or recorded_epochs, recorded_epochs)
        ensure_trained(replace(again, settings=replace(again.settings, epochs=epochs)))
        pairs = list(_curve_pairs(record, again.record, epochs))
        if epochs == recorded_epochs:
            pairs += [*_training_pairs(record, again.record), *_evaluation_pairs(record, again)]
    differences = [(name, old, new) for name, old, new in pairs if old != new]
    recorded, here = manifest["numerics"], again.settings.numerics()
    numerics = [(key, recorded.get(key), here[key]) for key in here if recorded.get(key) != here[key]]
    if pairs and not differences and not is_made_by(record, manifest, again.source):
        confirm(record, source=again.source, epochs=epochs, values=len(pairs), code=describe_code(), finished=now())
    return Verdict(record.id, epochs, len(pairs), differences, numerics)


def _training_pairs(old: Record, new: Record) -> Iterator[tuple[str, Any, Any]]:
    for key in ("state", "step", "epochs", "best_epoch", "weights"):
        yield f"training {key}", read_done(old.training).get(key), read_done(new.training).get(key)


def _curve_pairs(old: Record, new: Record, epochs: int) -> Iterator[tuple[str, Any, Any]]:
    rows, new_rows = history.read(old.metrics), history.read(new.metrics)
    yield "epochs recorded", min(len(rows), epochs), len(new_rows)
    for row, new_row in zip(rows, new_rows, strict=False):
        for name in sorted({*row, *new_row}):
            if not name.startswith("time/"):
                yield f"epoch {row['epoch']} {name}", row.get(name), new_row.get(name)


def _evaluation_pairs(record: Record, again: Plan) -> Iterator[tuple[str, Any, Any]]:
    for evaluation in record.evaluations():
        settings = read_config(evaluation.config)
        metrics = read_done(evaluation.result)["metrics"]
        new_metrics = execute(with_evaluation(again, settings)).result["metrics"]
        for name in sorted({*metrics, *new_metrics}):
            yield f"evaluation {evaluation.id} {name}", metrics.get(name), new_metrics.get(name)


def _why_not_comparable(again: Plan, manifest: Mapping[str, Any]) -> str:
    recorded, here = manifest["data"], again.facts
    if recorded["fingerprint"] != here["fingerprint"]:
        return (
            f"record {manifest['run']} was made with other data ({recorded['source']}, {recorded['provenance']}; here "
            f"{here['source']}, {here['provenance']}); name the right data folder with --data FOLDER"
        )
    return f"record {manifest['run']}: its configuration has another identity in this version, {again.record.id}"
