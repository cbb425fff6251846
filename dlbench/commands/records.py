"""``dlbench records list|show|verify|export|clean``: look after the records of runs."""

import csv
import dataclasses
import io
import json
import os
import re
import shutil
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from dlbench import components, paths
from dlbench.commands import Json, OwnFolder, Runs, Trust, group
from dlbench.errors import RecordError
from dlbench.metrics.names import HEADINGS
from dlbench.records import seal
from dlbench.records.checkpoints import CheckpointFolder
from dlbench.records.files import ODD, is_set_aside, problem_of, read_json
from dlbench.records.index import Index
from dlbench.records.labels import data_line, settings
from dlbench.records.store import CORE, DATA_COLUMNS, OUTPUTS, Record, State, Store, find
from dlbench.records.summary import Summary, decoding_of, summarise
from dlbench.terminal import duration, format_metric, print_columns, say, tell, width_of

PORTABLE = (*CORE, "training.json", "evaluations")
"""What a record is without weights and event files; these are committed."""

DATA_PICTURES = {"artifacts/before_after.png"}
"""Whole pictures of a data set, whose licence may not allow to share them."""

PREDICTIONS = "predictions.csv"

app = group("Look after the records of runs.")

Id = Annotated[
    str, typer.Argument(metavar="ID", help="the run's identity, or how it begins; committed records are found too")
]


@app.command("list")
def list_records(
    *,
    check: Annotated[bool, typer.Option("--check", help="hold every file of every record against its hash")] = False,
    runs: Runs,
    config_dir: OwnFolder = None,
    as_json: Json = False,
) -> int:
    """A line for every record, the newest first."""
    records = Store(runs).all()
    with Index() as index:
        read = partial(Record.read, whole=True) if check else index.read
        summaries = [line for record in records for line in summarise(record, read)]
    summaries.sort(key=lambda line: line.started, reverse=True)
    if as_json:
        print(json.dumps([dataclasses.asdict(summary) for summary in summaries], indent=2))
        return 0
    if summaries:
        rows = _table(summaries)
        if sys.stdout.isatty() and width_of(rows) > shutil.get_terminal_size().columns:
            rows = _narrow_table(summaries)
        print_columns(rows)
    else:
        committed = paths.experiments() / "results"
        others = f"; {len(Store(committed).all())} committed ones: --runs {committed}" if runs != committed else ""
        print(f"no records in {runs}{others}")
    for problem in dict.fromkeys(f"{row.run}: {row.problem}" for row in summaries if row.problem):
        tell(problem)
    if check:
        damaged = len({row.run for row in summaries if row.state == State.CORRUPT})
        print(f"{len(records) - damaged} of {len(records)} records are whole")
        return int(damaged > 0)
    return 0


def _table(summaries: Sequence[Summary]) -> list[list[str]]:
    """All that is known, a row a line, below its headings."""
    metrics = [name for name in HEADINGS if any(name in row.metrics for row in summaries)]
    decoding = ["decoding"] if any(row.decoding for row in summaries) else []
    headings = (HEADINGS[name] for name in metrics)
    rows = [["run", "started", "experiment", "settings", *decoding, "data", "state", *headings]]
    for row in summaries:
        state = f"{row.state}, {row.use}" if row.use else str(row.state)
        shown = (f"{row.metrics[name]:.4f}" if name in row.metrics else "" for name in metrics)
        how = [row.decoding] if decoding else []
        rows.append([row.run, row.started[:10], row.experiment, row.settings, *how, row.data, state, *shown])
    return rows


def _narrow_table(summaries: Sequence[Summary]) -> list[list[str]]:
    """The first metric of the test, or else the state, and what tells runs apart."""
    rows = [["run", "experiment", "result", "settings"]]
    for row in summaries:
        tested = [name for name in HEADINGS if name.startswith("test/") and name in row.metrics]
        result = f"{HEADINGS[tested[0]]} {row.metrics[tested[0]]:.4f}" if tested else str(row.state)
        told = (row.settings, row.decoding, "SYNTHETIC" if row.data.endswith("synthetic") else "")
        rows.append([row.run[:8], row.experiment, result, " ".join(filter(None, told))])
    return rows


@app.command()
def show(run: Id, *, runs: Runs, as_json: Json = False) -> None:
    """What a record says of its run, and every metric; with --json everything."""
    record = _find(run, runs)
    content: dict[str, Any] = {"state": record.state(), "manifest": read_json(record.manifest)}
    if record.training.exists():
        content["training"] = record.closed()
    if record.failure.exists():
        content["failure"] = read_json(record.failure)
    content["evaluations"] = [
        {**({"decoding": how} if (how := decoding_of(evaluation)) else {}), **evaluation.read()}
        for evaluation in record.evaluations()
    ]
    if as_json:
        print(json.dumps(content, indent=2))
        return
    try:
        _print_record(record, content)
    except BrokenPipeError:  # whoever reads has enough
        raise
    except ODD as error:
        raise RecordError(f"{record.folder}: {problem_of(error)}; --json shows what is there") from error


def _print_record(record: Record, content: Mapping[str, Any]) -> None:
    manifest, config, training = record.read_manifest(), record.settings(), content.get("training", {})
    rows = [
        ["run", record.id],
        ["experiment", manifest["experiment"]],
        ["settings", f"{settings(manifest['experiment'], config)} seed={config['seed']}"],
        ["data", data_line(manifest["data"])],
        ["data hash", manifest["data"]["fingerprint"]],
        ["state", str(content["state"]) + (f", step {training['step']}" if "step" in training else "")],
        *([["error", str(content["failure"]["error"])]] if "failure" in content else []),
        ["begun", manifest["started"]],
        *([["trained in", duration(training["seconds"])]] if training else []),
        ["commit", f"{manifest['code']['commit'] or 'unknown'}{' with changes' if manifest['code']['dirty'] else ''}"],
        ["numerics", ", ".join(f"{key} {value}" for key, value in manifest["numerics"].items())],
        ["versions", ", ".join(f"{name} {version}" for name, version in manifest["versions"].items())],
        ["folder", str(record.folder)],
    ]
    print_columns(rows)
    for evaluation in content["evaluations"]:
        how = f", decoded by {evaluation['decoding']}" if "decoding" in evaluation else ""
        print()
        tell(f"evaluation {evaluation['evaluation']}{how}, {duration(evaluation['seconds'])}")
        metrics = sorted(evaluation["metrics"].items())
        print_columns([[f"  {name}", format_metric(value)] for name, value in metrics])


@app.command(short_help="Train a record again and compare every value.")
def verify(
    run: Id,
    *,
    epochs: Annotated[int | None, typer.Option(min=1, metavar="N", help="only the first N epochs' curves")] = None,
    own_commit: Annotated[
        bool, typer.Option("--own-commit", help="have the record's commit do it, also where today's code would")
    ] = False,
    trust: Trust = False,
    data: Annotated[str | None, typer.Option(envvar="DLBENCH_DATA", metavar="FOLDER", help="the data folder")] = None,
    runs: Runs,
    as_json: Json = False,
) -> int:
    """Train a record again from nothing and compare every value; all epochs and the metrics, or only some curves."""
    from dlbench.verify import verify

    folders = {"data": data, "cache": os.environ.get("DLBENCH_CACHE")}
    verdict = verify(_find(run, runs), folders, "none" if as_json else None, epochs, own_commit, trust=trust)
    if as_json:
        print(json.dumps(dataclasses.asdict(verdict), indent=2))
    else:
        for key, recorded, here in verdict.numerics:
            tell(f"numerics differ: {key} was {recorded}, here {here}; equal bits are not promised")
        if verdict.untold:
            tell(f"the record does not tell its {', '.join(verdict.untold)}: on another machine bits may differ")
        for name, recorded, here in verdict.differences[:20]:
            tell(f"{name}: recorded {recorded}, now {here}")
        equal = verdict.compared - len(verdict.differences)
        said = f"{equal} of {verdict.compared} values equal to the bit (epochs 1-{verdict.epochs})"
        left_out = f"; left out: {', '.join(verdict.left_out)}" if verdict.left_out else ""
        tell(f"{verdict.run}: {said}{left_out}")
    return int(verdict.is_failure)


@app.command(short_help="Copy finished records for committing.")
def export(
    folder: Annotated[Path, typer.Argument(parser=paths.folder, metavar="FOLDER")],
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID", help="identities; default: all")] = None,
    *,
    weights: Annotated[
        bool, typer.Option("--weights", help="also the weights that were evaluated, without the optimiser's state")
    ] = False,
    runs: Runs,
    as_json: Json = False,
) -> None:
    """Copy finished and diverged records, without event files, quoted data and, unless asked for, weights."""
    copied: list[str] = []
    for record in [_find(prefix, runs) for prefix in ids] if ids else Store(runs).all():
        target, state = folder / record.id, record.state()
        # What diverged has no evaluation, but it counts in the report.
        if state != State.DIVERGED and not (state == State.FINISHED and record.evaluations()):
            say(f"{record.id} is {state}, not finished and evaluated: left out")
        elif foreign := _foreign(record):
            say(f"{foreign}: a link or no plain file, which export does not follow; {record.id} left out")
        elif target.exists():
            say(f"{target} is there already: left as it is")
        else:
            half = target.with_name(f".{record.id}.tmp")
            shutil.rmtree(half, ignore_errors=True)
            try:
                _copy(record, half)
                if weights and state == State.FINISHED:
                    _copy_weights(record, half)
            except RecordError as error:
                say(f"{error}; left out")
                shutil.rmtree(half)
                continue
            half.rename(target)
            copied.append(str(target))
            if not as_json:
                print(target)
    if as_json:
        print(json.dumps(copied, indent=2))


def _foreign(record: Record) -> Path | None:
    """The first link, or what else is neither file nor folder, where what is exported lies."""
    named = [record.folder, *(record.folder / name for name in PORTABLE)]
    paths = (path for path in (*named, *named[-1].rglob("*")) if path.exists() or path.is_symlink())
    return next((path for path in paths if path.is_symlink() or not (path.is_file() or path.is_dir())), None)


def _copy(record: Record, folder: Path) -> None:
    """Write what is portable of a record into a new folder, each evaluation's outputs in one file, sealed anew.

    Raises:
        RecordError: An evaluation is damaged.
    """
    folder.mkdir(parents=True)
    for path in (record.folder / name for name in PORTABLE):
        if path.is_file():
            shutil.copy2(path, folder)
    for evaluation in record.evaluations():
        target = folder / "evaluations" / evaluation.id
        target.mkdir(parents=True)
        result = evaluation.check()
        sealed = evaluation.outputs() if OUTPUTS in result["files"] else result["files"]
        names = {*sealed} - {*DATA_PICTURES, evaluation.config.name}
        with zipfile.ZipFile(target / OUTPUTS, "w") as archive:
            for name in (evaluation.config.name, *sorted(names, key=lambda name: (name != PREDICTIONS, name))):
                content = evaluation.output(name)
                if content is None:
                    raise RecordError(f"{evaluation.folder / name}: is missing")
                if name == PREDICTIONS:
                    content = _without_data(content, evaluation.folder / name)
                # Without times, so that the same content is the same file.
                archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
        told = {key: value for key, value in result.items() if key not in ("schema", "files", "seal")}
        seal.close(target / "result.json", told, seal.hashes(target))


def _without_data(content: bytes, path: Path) -> bytes:
    """Predictions without what they quote; an example's index says where it stands in its split.

    Raises:
        RecordError: They are no CSV.
    """
    rest = io.StringIO()
    try:
        reader = csv.DictReader(io.StringIO(content.decode("utf-8"), newline=""))
        kept = [name for name in reader.fieldnames or () if name not in DATA_COLUMNS]
        writer = csv.DictWriter(rest, kept, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(reader)
    except (csv.Error, UnicodeDecodeError) as error:
        raise RecordError(f"{path}: no CSV ({error})") from error
    return rest.getvalue().encode("utf-8")


def _copy_weights(record: Record, target: Path) -> None:
    """Write the checkpoints whose weights were evaluated, without all that only a training needs.

    Raises:
        RecordError: One is missing or damaged.
    """
    import torch

    from dlbench.callbacks.recorder import load

    whole = {checkpoint.epoch: checkpoint for checkpoint in record.checkpoints.all() if checkpoint.is_whole()}
    closing, taken = record.closed(), {"checkpoint": "last"}
    choices = {components.with_younger(each.settings(), taken).get("checkpoint") for each in record.evaluations()}
    for epoch in {closing["best_epoch" if choice == "best" else "epochs"] for choice in choices}:
        if epoch not in whole:
            raise RecordError(f"record {record.id}: epoch {epoch} has no whole checkpoint; rerun=always trains it anew")
        weights = {"state_dict": load(whole[epoch])["state_dict"]}
        CheckpointFolder(target / "checkpoints").save(epoch, partial(torch.save, weights))


@app.command(short_help="Delete what was set aside; shows it first.")
def clean(
    *,
    weights: Annotated[bool, typer.Option("--weights", help="also the checkpoints of finished runs")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="really delete")] = False,
    runs: Runs,
    as_json: Json = False,
) -> None:
    """Delete what was set aside or left over by killed writers; shows first, deletes with --yes."""
    doomed = list(_doomed(runs, weights))
    if as_json:
        print(json.dumps([str(path) for path in doomed], indent=2))
    else:
        closing = [] if yes else ["nothing deleted yet: repeat with --yes"]
        print(*(doomed + closing if doomed else ["nothing to clean"]), sep="\n")
    for path in doomed if yes else ():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)  # it may have lain in a folder that is gone already


def _doomed(runs: Path, weights: bool) -> Iterator[Path]:
    yield from sorted(path for path in runs.glob("*") if is_set_aside(path))
    for record in (record for record in Store(runs).all() if not record.is_locked()):
        leftover = re.compile(r"\..*\.tmp")
        inside = record.folder.rglob("*")
        yield from sorted(path for path in inside if is_set_aside(path) or leftover.fullmatch(path.name))
        has_weights_to_spare = record.state() == State.FINISHED and record.evaluations()
        if weights and has_weights_to_spare and record.checkpoints.folder.exists():
            yield record.checkpoints.folder


def _find(prefix: str, runs: Path) -> Record:
    """A record of the user's own, or else a committed one."""
    return find(prefix, runs, paths.experiments() / "results")
