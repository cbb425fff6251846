"""TensorBoard events made from a record: what the run was and came to, and curves where their event files are gone."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import metadata as hparams
from tensorboard.plugins.hparams.api_pb2 import Status
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.record_writer import RecordWriter

from dlbench.errors import RecordError
from dlbench.identity import settings_of
from dlbench.records import history
from dlbench.records.files import atomic_path
from dlbench.records.labels import NONE, SYNTHETIC, SYNTHETIC_SOURCE, chosen, data_line, plain
from dlbench.records.lock import still_held
from dlbench.records.store import Evaluation, Record, State
from dlbench.records.summary import decoding_of

FINAL = "events.out.tfevents.final"
"""Readers take a folder's event files by name; this one sorts after those that were named by time."""

EARLIER = "events.out.tfevents.0000000000.earlier"
"""This one sorts before them."""

SECTIONS = ("model", "optimizer", "scheduler", "data", "trainer")
NOT_COMPARED = {"eval_batch_size", "device", "limit_train_batches"}

Events = Iterator[tuple[int, float, Any]]
"""Step, time in seconds since 1970, and TensorBoard's Summary."""

Settings = dict[str, bool | float | str]
"""Hyperparameters by dotted name."""


def write_final(record: Record, result: Mapping[str, Any]) -> None:
    """Write hyperparameters and final metrics into the record's events: once, however often it is evaluated.

    The curves too, where the training wrote none (``logger`` without TensorBoard).

    What was decoded is a row of its own in the HParams tab, and its events lie with the evaluation; evaluations that
    decode nothing share the training's row.

    Args:
        record: A record whose training is closed.
        result: What its newest evaluation gave; metrics that only earlier ones measured are kept.
    """
    newest = record.evaluation(result["evaluation"])
    found = [*((evaluation, kept) for evaluation, kept in _results(record) if evaluation != newest), (newest, result)]
    for evaluation, kept in found:
        is_wanted = evaluation == newest or not (evaluation.folder / FINAL).exists()
        if is_wanted and decoding_of(evaluation):
            write_decoding(record, evaluation, kept, evaluation.folder)
    if undecoded := [kept for evaluation, kept in found if not decoding_of(evaluation)]:
        has_curves = any(path.name != FINAL for path in record.tensorboard.glob("*tfevents*"))
        curves = () if has_curves else _curves(record)
        _write(record.tensorboard / FINAL, [*curves, *_undecoded(record, undecoded)])


def discard_final(record: Record) -> None:
    """Forget what `write_final` wrote, before the training goes on; it is made anew at the end."""
    for folder in (record.tensorboard, *(evaluation.folder for evaluation in record.evaluations())):
        still_held(folder)
        (folder / FINAL).unlink(missing_ok=True)


def rebuild(record: Record, folder: Path, name: str = FINAL) -> None:
    """Write all that a record without event files still tells into ``folder``: description, curves, final metrics.

    Of what was decoded there is nothing: see `write_decoding`.

    Raises:
        RecordError: A file of the record is damaged.
    """
    results = [result for evaluation, result in _results(record) if not decoding_of(evaluation)]
    _write(folder / name, [*_curves(record), *(_undecoded(record, results) if results else ())])


def write_decoding(record: Record, evaluation: Evaluation, result: Mapping[str, Any], folder: Path) -> None:
    """Write the hyperparameters of a run and of one of its decodings into ``folder``, and all metrics of the latter.

    Raises:
        RecordError: A file of the record is damaged.
    """
    settings = evaluation.settings()
    others = {key: value for key, value in settings.items() if key != "decoding"}
    # Those of the decoding stand under a name without prefix.
    own = _flat("", {"decoding": settings["decoding"]}) | _flat("evaluation", others)
    _write(folder / FINAL, _final(record, result, result["metrics"], {"experiment": result["experiment"], **own}))


def description(manifest: Mapping[str, Any], config: Mapping[str, Any]) -> Any:
    """A run in a Markdown table, for the Text tab, as TensorBoard's Summary: experiment, data and settings."""
    name, _, sizes = data_line(manifest["data"]).partition(": ")
    source = f"**{SYNTHETIC}**" if manifest["data"]["source"] == SYNTHETIC_SOURCE else name
    own = {"run": manifest["run"], "experiment": manifest["experiment"], "data": f"{source}: {sizes}"}
    rows = own | _settings(config)
    head, *body = (f"| {key} | {plain(value)} |" for key, value in rows.items())
    return text_pb("run", "\n".join([head, "|---|---|", *body]))


def _settings(config: Mapping[str, Any]) -> Settings:
    """The seed and every setting that is set."""
    settings = settings_of(config)
    found: Settings = {"seed": settings["seed"]}
    for section in SECTIONS:
        if section not in ("data", "trainer"):
            found[section] = chosen(section, settings[section])
        found |= _flat(section, settings[section])
    return {"model.attention": NONE, **found} if "attention" in settings["model"] else found


def _flat(prefix: str, settings: Mapping[str, Any]) -> Settings:
    """Settings by dotted name; a group within is named by its file, what is null is left out."""
    found: Settings = {}
    for key, value in settings.items():
        name = f"{prefix}.{key}" if prefix else key
        if isinstance(value, Mapping) and "_target_" in value:
            found[name] = chosen(name.replace(".", "/"), value)
            found |= _flat(name, value)
        elif not key.startswith("_") and key not in NOT_COMPARED and value is not None:
            found[name] = value if isinstance(value, bool | int | float) else plain(value)
    return found


def _results(record: Record) -> Iterator[tuple[Evaluation, Mapping[str, Any]]]:
    """What the evaluations gave; damaged ones are passed over: they are made again when they are asked for."""
    for evaluation in record.evaluations():
        with contextlib.suppress(RecordError):
            yield evaluation, evaluation.read()


def _curves(record: Record) -> Events:
    manifest = record.read_manifest()
    time = _seconds(manifest["started"])
    yield 0, time, description(manifest, record.settings())
    for row in history.read(record.metrics):
        time += row.get("time/epoch_seconds", 0.0)
        for name, value in row.items():
            if "/" in name:
                yield row["epoch"], time, _value(tag=name, simple_value=value)


def _undecoded(record: Record, results: list[Mapping[str, Any]]) -> Events:
    """The final events of a training's own run: the metrics that no curve ends in."""
    metrics = {name: value for result in results for name, value in result["metrics"].items()}
    in_curves = {name for row in history.read(record.metrics)[-1:] for name in row}
    others = {name: value for name, value in metrics.items() if name not in in_curves}
    return _final(record, results[-1], others, {})


def _final(record: Record, result: Mapping[str, Any], metrics: Mapping[str, float], own: Settings) -> Events:
    """Hyperparameters, among them what is known of the model before training and its ``own``; then the metrics.

    Torch's and TensorBoard's own writers of hyperparameters know no failure and no times, or need TensorFlow.
    """
    manifest, rows = record.read_manifest(), history.read(record.metrics)
    data = manifest["data"]
    compared: Settings = {
        "experiment": manifest["experiment"],
        "data": SYNTHETIC if data["source"] == "synthetic" else f"{data['name']}, {data['provenance']}",
        "state": result["state"],
        **_settings(record.settings()),
        **{name.replace("/", "."): value for name, value in metrics.items() if name.startswith("model/")},
        **own,
    }
    start = SessionStartInfo(start_time_secs=_seconds(manifest["started"]))
    for name, value in compared.items():
        kind = {bool: "bool_value", str: "string_value"}.get(type(value), "number_value")
        setattr(start.hparams[name], kind, value)
    step, ended = rows[-1]["epoch"] if rows else 0, _seconds(result["finished"])
    status = Status.STATUS_SUCCESS if result["state"] == State.FINISHED else Status.STATUS_FAILURE
    end = SessionEndInfo(status=status, end_time_secs=ended)
    sessions = {
        hparams.SESSION_START_INFO_TAG: HParamsPluginData(session_start_info=start),
        hparams.SESSION_END_INFO_TAG: HParamsPluginData(session_end_info=end),
    }
    for tag, session in sessions.items():
        about = hparams.create_summary_metadata(session)
        yield step, ended, _value(tag=tag, metadata=about, tensor=hparams.NULL_TENSOR)
    for name, value in metrics.items():
        if not name.startswith("model/"):
            yield step, ended, _value(tag=name, simple_value=value)


def _value(**fields: Any) -> Any:
    return Summary(value=[Summary.Value(**fields)])


def _write(path: Path, events: Iterable[tuple[int, float, Any]]) -> None:
    # Readers take any file with "tfevents" in its name: the temporary one has another.
    with atomic_path(path.with_name("final"), name=lambda _: path.name) as temporary, temporary.open("wb") as file:
        writer = RecordWriter(file)
        for number, (step, time, summary) in enumerate(events):
            if number == 0:
                writer.write(Event(wall_time=time, file_version="brain.Event:2").SerializeToString())
            writer.write(Event(step=step, wall_time=time, summary=summary).SerializeToString())
        writer.flush()


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
