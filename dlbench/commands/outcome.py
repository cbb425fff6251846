"""What a run says on the terminal: what it is about to do, and what came of it, beside what was published."""

import os
from collections.abc import Container, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from hydra.errors import HydraException

from dlbench import identity, paths
from dlbench.config import composed
from dlbench.errors import ConfigError, RecordError
from dlbench.metrics.names import HEADINGS, METRICS
from dlbench.records.files import ODD, read_json
from dlbench.records.labels import (
    DECODED_BY,
    NEVER_NAMED,
    SYNTHETIC_SOURCE,
    chosen,
    data_line,
    decoding,
    plain,
    settings,
)
from dlbench.records.store import Record, State, Store
from dlbench.report.jobs import data_set
from dlbench.report.schema import load_all
from dlbench.run import Outcome
from dlbench.run.plan import Plan
from dlbench.run.training import obstacles
from dlbench.terminal import duration, format_metric, print_columns, tell


def announce(plan: Plan) -> None:
    """Print what a run is made of, whether it is trained, and how long that takes."""
    made_by = plan.settings
    how = decoding(plan.config["evaluation"])
    by = f"{made_by.device_kind()}, {_count(made_by.threads, 'thread')}"
    if (batches := made_by.devices * made_by.accumulate) > 1:
        by = f"{made_by.devices} x {by}" if made_by.devices > 1 else by
        by += f"; a step takes {batches} batches of {plan.data.batch_size}"
    rows = {
        "data": data_line(plan.facts),
        "settings": f"{settings(plan.config['name'], plan.config)}{f'{DECODED_BY}{how}' if how else ''}",
        "training": f"{_count(made_by.epochs, 'epoch')} on {by}",
        "record": f"{_near(plan.record.folder)} ({_what_is_to_do(plan)})",
    }
    print_columns(list(rows.items()))


def show(plan: Plan, outcome: Outcome) -> None:
    """Print what came of a run: its state, the metrics that matter most beside those published, and its record."""
    result, metrics = outcome.result, outcome.result["metrics"]
    trained, evaluated = duration(outcome.record.closed()["seconds"]), duration(result["seconds"])
    how = f"trained in {trained}, evaluated in {evaluated}"
    if not outcome.trained:
        looked_up = f"the training of {trained} was looked up; evaluated in {evaluated}"
        how = looked_up if outcome.evaluated else f"looked up; it was {how}"
    step = f" at step {result['step']}" if "step" in result else ""
    print()
    tell(f"{result['experiment']} on {data_line(result['data']).partition(':')[0]}: {result['state']}{step}")
    tell(how)
    print()
    is_judged = result["data"]["source"] != SYNTHETIC_SOURCE and result["state"] == State.FINISHED
    nearest = published_nearest(plan.config, metrics) if is_judged else []
    rows = [["  metric", "here", *(["published"] if nearest else [])]]
    for name in headlines(metrics, {name for each in nearest for name in each.values}):
        told = ", ".join(
            f"{format_metric(each.values[name])} ({each.where})" for each in nearest if name in each.values
        )
        rows.append([f"  {name}", format_metric(metrics[name]), *([told] if nearest else [])])
    if len(rows) > 1:
        print_columns(rows)
        print()
    option = paths.runs_option(outcome.record.folder.parent)
    if nearest and (others := nearest[0].others):
        tell(f"published with {' '.join(_setting(key, value) for key, value in others.items())}")
    tell(f"all {len(metrics)} metrics: python -m dlbench records show {outcome.record.id}{option}")
    tell(f"curves: python -m dlbench tensorboard{option}")
    tell(f"record: {_near(outcome.record.folder)}")


def headlines(metrics: Mapping[str, float], published: Container[str] = ()) -> list[str]:
    """The metrics that tell most: `dlbench.metrics.names.HEADINGS`, those published, a user's own; tests first."""
    told = [name for name in HEADINGS if name in metrics]
    told += [name for name in sorted(metrics) if name not in told and (name in published or name not in METRICS)]
    told += [] if "model/parameters" in told or "model/parameters" not in metrics else ["model/parameters"]
    return sorted(told, key=lambda name: not name.startswith("test/"))


# --- what was published -----------------------------------------------------------------------------------------------


class Published(NamedTuple):
    """A published line of an experiment: the report and the line, its values, and settings that are other ones here."""

    where: str
    values: Mapping[str, float]
    others: Mapping[str, Any]


def published_nearest(config: Mapping[str, Any], metrics: Container[str]) -> list[Published]:
    """What reports published of an experiment, measured at the settings most like those of a configuration."""
    found: list[Published] = []
    with suppress(ConfigError, HydraException):  # a report that cannot be read is told where it is asked for
        found = [each for each in published(config) if any(name in metrics for name in each.values)]
    fewest = min((len(each.others) for each in found), default=0)
    nearest = [each for each in found if len(each.others) == fewest]
    return [each for each in nearest if each.others == nearest[0].others]


def published(config: Mapping[str, Any]) -> Iterator[Published]:
    """Every published line of a configuration's experiment, on its data set; not of reports of data of their own."""
    own, data = _flat(config), data_set(config)
    for name, report in load_all().items():
        if report.own_data:
            continue
        for row in (row for table in report.tables for row in table.rows if row.published):
            configuration = report.configurations[row.of]
            if configuration.experiment == config["name"]:
                theirs = composed(configuration.experiment, configuration.overrides)
                if data_set(theirs) != data:
                    continue
                # What is null on one side may be a part with settings on the other, whose keys are missing here.
                others = {key: value for key, value in _flat(theirs).items() if (key, value) not in own.items()}
                yield Published(f"{name}: {row.label}", row.published, others)


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """Every setting that changes more than a result's last bits, but for the seed, by its dotted key."""
    parts = {**identity.settings_of(config), "evaluation": config["evaluation"]}
    del parts["seed"]

    def inside(prefix: str, node: Any) -> Iterator[tuple[str, Any]]:
        if isinstance(node, Mapping):
            for key, value in node.items():
                yield from inside(f"{prefix}.{key}", value)
        else:
            yield prefix.lstrip("."), node

    return {key: value for key, value in inside("", parts) if tuple(key.split(".")) not in NEVER_NAMED}


# --- words ------------------------------------------------------------------------------------------------------------


def _what_is_to_do(plan: Plan) -> str:
    """Whether a record is there already, and else how long it takes."""
    if reason := next(obstacles(plan), None):
        return f"made anew: {reason}"
    state = plan.record.state()
    if state in (State.FINISHED, State.DIVERGED):
        return "trained already" if not plan.evaluation.result.exists() else "finished already"
    how = {State.RUNNING: "being made now", State.INTERRUPTED: "goes on", State.FAILED: "failed; tried again"}
    seconds, like = _expected_seconds(plan)
    took = f"; about {duration(seconds)}, as {_count(like, 'run')} like it took" if like else ""
    return f"{how.get(state, 'new')}{took}"


def _expected_seconds(plan: Plan) -> tuple[float, int]:
    """How long the training still takes at the pace of runs of the experiment, and how many these are."""
    if plan.settings.limit_train_batches is not None:
        return 0.0, 0
    paces: list[float] = []
    for store in (Store(plan.record.folder.parent), Store(paths.experiments() / "results")):
        for record in store.all():
            with suppress(RecordError, *ODD):
                paces += _pace(record, plan)
    done = max((checkpoint.epoch for checkpoint in plan.record.checkpoints.all()), default=0)
    examples = plan.facts.get("sizes", {}).get("train", 0) * (plan.settings.epochs - done)
    return (median(paces) * examples, len(paces)) if paces and examples else (0.0, 0)


def _pace(record: Record, plan: Plan) -> list[float]:
    """Seconds an epoch and example of a finished training of the same experiment on data of the same kind."""
    if not record.training.exists():
        return []
    manifest, training = record.read_manifest(), read_json(record.training)
    is_like = manifest["experiment"] == plan.config["name"] and training["state"] == State.FINISHED
    is_like = is_like and (manifest["data"]["source"] == SYNTHETIC_SOURCE) == (plan.facts["source"] == SYNTHETIC_SOURCE)
    is_like = is_like and manifest["numerics"]["device"] == plan.settings.device_kind()
    if not is_like or record.settings()["trainer"].get("limit_train_batches") is not None:
        return []
    return [training["seconds"] / training["epochs"] / manifest["data"]["sizes"]["train"]]


def _near(folder: Path) -> str:
    """A folder as it is reached from here, if it lies below."""
    return os.path.relpath(folder) if folder.is_relative_to(Path.cwd()) else str(folder)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _setting(key: str, value: Any) -> str:
    """A setting in few words: a class stands by its configuration file's name, and for all that it fills."""
    part = key.removesuffix("._target_")
    return f"{part}={plain(value) if part == key else chosen(part.replace('.', '/'), {'_target_': value})}"
