"""Runs for the report: which a profile lacks, how long they take, and making them while the report is renewed."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from itertools import chain, zip_longest
from math import inf
from pathlib import Path
from statistics import fmean
from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import OmegaConf

from dlbench import identity, paths
from dlbench.cli import explain, named_folders, one_line
from dlbench.config import composed, trusted
from dlbench.data import intel_files
from dlbench.data.fetch import is_present
from dlbench.data.ljspeech import METADATA, WAVES
from dlbench.data.registry import REGISTRY, data_name, find
from dlbench.environment import interrupted_by_signals
from dlbench.errors import ConfigError
from dlbench.metrics.names import is_exact
from dlbench.paths import data_folder, require
from dlbench.records import labels
from dlbench.report.results import REAL, STAND_IN, SUBSTITUTES, Result, in_variant, is_on, key_of
from dlbench.report.schema import Configuration, Report
from dlbench.sweep.launch import as_cores_carry
from dlbench.terminal import duration, nearest, say

SEEDS = {"quick": (42,), "full": (42, 43, 44, 45, 46), "none": ()}
"""The seeds of every profile."""


@dataclass(frozen=True)
class Job:
    """One run: its overrides, its seed, and what these and the further overrides compose to, but for the seed.

    ``own_data`` is that of the report that it is for: see `dlbench.report.schema.Report`.
    """

    overrides: tuple[str, ...]
    seed: int
    config: Mapping[str, Any] = field(repr=False, compare=False)
    own_data: tuple[str, ...] = ()

    @property
    def experiment(self) -> str:
        """The experiment's name."""
        return str(self.config["name"])

    @cached_property
    def configuration(self) -> str:
        """What is averaged over seeds: see `dlbench.identity.compared_id`."""
        return identity.compared_id(self._meaning, self.config["evaluation"])

    @cached_property
    def training(self) -> str:
        """The same without the evaluation: several jobs may need one training."""
        return identity.configuration_id(self._meaning)

    @cached_property
    def _meaning(self) -> dict[str, Any]:
        return identity.training(self.config, fingerprint="", device="")

    @property
    def members(self) -> tuple[int, ...]:
        """The seeds of the further runs that it averages, if it is an ensemble."""
        return tuple(self.seed + 1 + n for n in range(len(self.config["evaluation"].get("members") or ())))

    @property
    def data(self) -> str:
        """See `data_set`."""
        return data_set(self.config)

    @property
    def is_synthetic(self) -> bool:
        """Whether it wants synthetic data even where the real data is at hand."""
        return bool(self.config["data"].get("source") == labels.SYNTHETIC_SOURCE)

    @property
    def fraction(self) -> float:
        """The part of the training data in use."""
        return float(self.config["data"].get("fraction", 1))

    @property
    def synthetic_sizes(self) -> dict[str, int]:
        """How much synthetic data of every split is in use."""
        train, val, test = self.config["data"]["synthetic_sizes"]
        return {"train": max(1, round(train * self.fraction)), "val": val, "test": test}


def data_set(config: Mapping[str, Any]) -> str:
    """The name of a configuration's data set, as records have it."""
    data = config["data"]
    if train := data.get("train") or (f"{root.rstrip('/')}/train" if (root := data.get("root")) else None):
        return data_name(train)
    return str(data.get("corpus") or data["_target_"].rpartition(".")[2].removesuffix("DataModule").lower())


def missing_data(job: Job) -> str | None:
    """How to get the data that a job lacks; None if it is at hand, or synthetic data is asked for.

    Raises:
        DataError: The data folder that was asked for does not exist.
    """
    if job.is_synthetic:
        return None
    data, given = job.config["data"], job.config["paths"]["data"]
    folder = require(data_folder(given))
    files = [data[split] for split in ("train", "val", "test") if data.get(split)]
    if corpus := data.get("corpus"):
        files = [f"{corpus}/{METADATA}", f"{corpus}/{WAVES}"]
        is_there = (folder / files[0]).is_file() and (folder / files[1]).is_dir()
    elif files:
        is_there = all(find(path, folder) for path in files)
    elif job.data == "intel":
        is_there = intel_files.find(folder) is not None
    else:
        is_there = job.data not in REGISTRY or all(is_present(REGISTRY[job.data], folder))
    if is_there:
        return None
    fetch = f"get it with: python -m dlbench data fetch {job.data}"
    return fetch if job.data in REGISTRY else f"put {', '.join(files)} into {folder}"


# --- how long runs take -----------------------------------------------------------------------------------------------


class Paces:
    """Seconds of trainings and evaluations, for each example and epoch.

    A job goes at the pace of its own configuration on data of its own kind, else of its experiment on such data, else
    of its experiment.
    """

    def __init__(self, results: Iterable[Result]) -> None:
        self._paces: dict[tuple[str, ...], list[float]] = defaultdict(list)
        self._real_sizes: dict[str, dict[str, float]] = {}
        for result in results:
            sizes = result.manifest["data"]["sizes"]
            if result.provenance not in (labels.SYNTHETIC_SOURCE, *SUBSTITUTES):
                whole = sizes["train"] / result.config["data"].get("fraction", 1)
                self._real_sizes.setdefault(result.data, {**sizes, "train": whole})
            # Pictures of another split cost what they cost; other utterances are shorter, or longer.
            kind = result.provenance if result.provenance in (labels.SYNTHETIC_SOURCE, STAND_IN) else REAL
            trained = result.training
            for key in _paced_as("training", result.trained, result.experiment, kind):
                self._paces[key].append(trained["seconds"] / (trained["epochs"] * sizes["train"]))
            for key in _paced_as("evaluation", result.configuration, result.experiment, kind):
                self._paces[key].append(result.result["seconds"] / sizes["test"])

    def training(self, job: Job) -> float:
        """How many seconds its training takes; infinitely many if nothing like it was measured."""
        return self._seconds("training", job.training, job, "train") * float(job.config["trainer"]["epochs"])

    def evaluation(self, job: Job) -> float:
        """How many seconds its evaluation takes; infinitely many if nothing like it was measured."""
        return self._seconds("evaluation", job.configuration, job, "test")

    def _seconds(self, what: str, configuration: str, job: Job, split: str) -> float:
        """Seconds for all examples of a split, once."""
        if job.is_synthetic:
            kind, size = labels.SYNTHETIC_SOURCE, float(job.synthetic_sizes[split])
        elif sizes := self._real_sizes.get(job.data):
            kind, size = REAL, sizes[split] * (job.fraction if split == "train" else 1)
        else:
            return inf
        keys = _paced_as(what, configuration, job.experiment, kind)
        return next((fmean(self._paces[key]) * size for key in keys if key in self._paces), inf)


def _paced_as(what: str, configuration: str, experiment: str, kind: str) -> tuple[tuple[str, ...], ...]:
    return (what, configuration, kind), (what, experiment, kind), (what, experiment)


@dataclass(frozen=True)
class Estimate:
    """How long jobs take together: ``seconds`` for those of ``runs`` that are not ``unknown``, side by side."""

    seconds: float
    runs: int
    unknown: int
    workers: int

    @property
    def text(self) -> str:
        """The estimate in words."""
        runs = f"{self.runs} run{'s' * (self.runs != 1)}"
        if self.unknown == self.runs:
            return f"{runs}, {self.workers} at a time; nothing like them was measured yet"
        left_out = f" ({self.unknown} without a measurement left out)" if self.unknown else ""
        return f"{runs}, {self.workers} at a time: about {duration(self.seconds)}{left_out}"


def workers(jobs: Sequence[Job], overrides: Iterable[str]) -> int:
    """How many jobs a sweep with these overrides makes at a time on this machine."""
    given = [word.partition("=")[2] for word in overrides if word.lstrip("+").startswith("hydra.launcher.n_jobs=")]
    if given and given[-1].isdecimal():
        return int(given[-1]) or 1
    settings = [job.config["trainer"] for job in jobs]
    return as_cores_carry(each["threads"] * each["devices"] for each in settings)


def estimate(lacking: Sequence[Job], results: Iterable[Result], workers: int) -> Estimate:
    """How long jobs take, so many of them side by side.

    What several need is trained once; what is trained already, and has its checkpoints yet, is evaluated alone.
    """
    results = list(results)
    paces = Paces(results)
    trained: dict[tuple[str, str, int], list[Result]] = defaultdict(list)
    for result in results:
        if result.record.checkpoints.all():  # committed records have none
            trained[result.trained, result.data, result.seed].append(result)
    trainings: dict[tuple[str, str, int], float] = {}
    evaluations, unknown = 0.0, 0
    for job in lacking:
        training, evaluation = paces.training(job), paces.evaluation(job)
        if training == inf:
            unknown += 1
            continue
        needed = ((job.training, job.data, seed) for seed in (job.seed, *job.members))
        trainings |= {key: training for key in needed if not any(_is_usable(job, result) for result in trained[key])}
        evaluations += evaluation if evaluation < inf else 0.0
    longest = max(trainings.values(), default=0.0)
    together = sum(trainings.values()) + evaluations
    return Estimate(max(together / workers, longest), len(lacking), unknown, workers)


def _is_usable(job: Job, result: Result) -> bool:
    """Whether a result is on such data as the job is to have, and would not be made again."""
    if not (result.provenance == labels.SYNTHETIC_SOURCE if job.is_synthetic else is_on(job.own_data, result)):
        return False
    if job.is_synthetic and job.synthetic_sizes != result.manifest["data"]["sizes"]:
        return False
    return bool(job.config["rerun"] == "never" or (job.config["rerun"] == "outdated" and not result.is_outdated))


# --- what a profile lacks ---------------------------------------------------------------------------------------------


def jobs(
    profile: str, reports: Mapping[str, Report], results: Sequence[Result], overrides: Sequence[str] = ()
) -> list[Job]:
    """What a profile runs: seed by seed, of every report in turn, a report's shortest first.

    ``quick``: all configurations of the reports and all other experiments, small. ``full``: all configurations of the
    reports as they are; those without their data are left out, which is said in a line a data set. Neither has what
    ``results`` have already, as far as ``rerun`` lets it be looked up.

    Args:
        profile: One of `SEEDS`.
        reports: By name.
        results: What is recorded.
        overrides: Further overrides that every run gets; they are not among the jobs' own.

    Raises:
        ConfigError: There is no such profile, or an override means nothing.
        DataError: The data folder that was asked for does not exist.
    """
    if profile not in SEEDS:
        raise ConfigError(f"profile {profile}: no such profile; {nearest(profile, SEEDS)}")
    if not SEEDS[profile]:
        return []
    seedless = [
        [_seedless(each, profile, overrides, own_data) for each in wanted]
        for own_data, wanted in _wanted(profile, reports)
    ]
    is_seed_given = any(word.startswith("seed=") for word in overrides)
    paces = Paces(results)

    def seconds(job: Job) -> float:
        return paces.training(job) * (1 + len(job.members))

    recorded: dict[tuple[str, int, str], list[Result]] = defaultdict(list)
    for result in results:
        recorded[result.configuration, result.seed, result.data].append(result)
    chosen: dict[tuple[str, int, str, tuple[str, ...]], Job] = {}
    for place, seed in enumerate(SEEDS[profile]):
        made = [
            # No run serves in two ensembles: they would not be independent.
            [_seeded(job, job.seed if is_seed_given else seed) for job in each if place % (1 + len(job.members)) == 0]
            for each in seedless
        ]
        for job in chain.from_iterable(zip_longest(*(sorted(each, key=seconds) for each in made))):
            if job:
                chosen.setdefault((job.configuration, job.seed, job.data, job.own_data), job)
    lacking = {
        key[:3]: job for key, job in chosen.items() if not any(_is_usable(job, result) for result in recorded[key[:3]])
    }
    remedies = {job: missing_data(job) for job in lacking.values()}
    for (data, remedy), count in Counter((job.data, remedy) for job, remedy in remedies.items() if remedy).items():
        runs = "1 run is" if count == 1 else f"{count} runs are"
        say(f"no {data} data at hand: {runs} left out; {remedy}")
    return [job for job, remedy in remedies.items() if not remedy]


def _wanted(profile: str, reports: Mapping[str, Report]) -> Iterator[tuple[tuple[str, ...], list[Configuration]]]:
    """The own data and the configurations of every report, and with ``quick`` every experiment of the suite."""
    for report in reports.values():
        if profile == "quick" and report.own_data:  # which is not replaced by synthetic data
            continue
        rows = [row for table in report.tables for row in table.rows]
        measured = {row.of for row in rows if not all(map(is_exact, row.published))}
        measured |= {name for figure in report.figures for name in figure.of}
        # Of others only properties of the network are told, for which no run is needed.
        only_counted = {row.of for row in rows}.difference(measured, *(claim.configurations for claim in report.claims))
        found: list[Configuration | None] = []
        for name in (name for name in report.configurations if name not in only_counted):
            found.append(report.configurations[name])
            found += (in_variant(report, name, variant) for variant in report.variants.values())
        yield report.own_data, [each for each in found if each and not each.planned]
    if profile == "quick":
        yield (), [Configuration(experiment=path.stem) for path in sorted((paths.conf() / "experiment").glob("*.yaml"))]


def _seedless(configuration: Configuration, profile: str, overrides: Sequence[str], own_data: tuple[str, ...]) -> Job:
    """A job whose overrides say no seed yet."""
    experiment, own = configuration.experiment, configuration.overrides
    try:
        chosen, settled = _profile(profile, labels.chosen("task", composed(experiment, ())["task"]))
        own = (*(word for word in own if key_of(word) not in settled), *chosen)
        trusted(experiment, own)  # what else is named is the command line's
        config = composed(experiment, (*own, *overrides))
    except HydraException as error:
        raise ConfigError(f"{experiment} {' '.join((*own, *overrides))}: {explain(error)}") from error
    return Job((f"+experiment={experiment}", *own), config["seed"], config, own_data)


def _seeded(job: Job, seed: int) -> Job:
    job = replace(job, overrides=(*job.overrides, f"seed={seed}"), seed=seed)
    members = ",".join(map(str, job.members))
    return replace(job, overrides=(*job.overrides, f"evaluation.members=[{members}]")) if members else job


@cache
def _profile(profile: str, task: str) -> tuple[tuple[str, ...], frozenset[str]]:
    """What chooses a profile for a task, and the keys that it sets: there the reports' own overrides do not count."""

    def keys(node: Any, prefix: str = "") -> Iterator[str]:
        for key, value in node.items():
            yield from keys(value, f"{prefix}{key}.") if isinstance(value, dict) else [f"{prefix}{key}"]

    files = [paths.conf() / "profile" / f"{name}.yaml" for name in (f"{profile}_{task}", profile)]
    there = [file for file in files if file.exists()]  # the task's own, which includes the other, first
    settled = frozenset(key for file in there for key in keys(OmegaConf.to_container(OmegaConf.load(file))))
    return tuple(f"+profile={file.stem}" for file in there[:1]), settled


# --- running ----------------------------------------------------------------------------------------------------------

LOOK_SECONDS = 1.0
"""How often is looked for new results."""

PATIENCE = 10.0
"""So many times as long as a renewal took the next one waits: a tenth of the time at most goes into renewing."""

GRACE_SECONDS = 10.0
"""How long an interrupted sweep has for ending by itself."""

INTERRUPTED = 130


def run(jobs: Sequence[Job], runs: Path, overrides: Sequence[str], renew: Callable[[], None]) -> bool:
    """Make all runs side by side; whether all went well. The sweep shows its progress and names what failed.

    Args:
        jobs: What to run; what is finished is looked up, what was interrupted goes on.
        runs: The folder of records.
        overrides: Further overrides for every run, and for the sweep itself.
        renew: Called now and then after new results; not after the last ones, which is for the caller.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM, which end the sweep too.
        SystemExit: The same, where the sweep has said so already.
    """
    if not jobs:
        return True
    folder = runs.absolute() / ".sweep"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="report-") as temporary:
        listed = Path(temporary) / "jobs.json"
        listed.write_text(json.dumps([job.overrides for job in jobs]), encoding="utf-8")
        quoted = QuotedString(str(listed), Quote.single).with_quotes()
        sweep = ["-m", "hydra/sweeper=listed", f"hydra.sweeper.jobs={quoted}"]
        sweep += [f"--config-dir={folder}" for folder in named_folders()]
        environment = {**os.environ, "DLBENCH_RUNS": str(runs)}
        with subprocess.Popen([sys.executable, "-m", "dlbench", *sweep, *overrides], env=environment) as process:
            try:
                # Unlike Ctrl-C, SIGTERM comes to this process alone.
                with interrupted_by_signals(process.terminate):
                    _watch(process, runs, renew)
            except KeyboardInterrupt:
                try:
                    process.wait(GRACE_SECONDS)
                except subprocess.TimeoutExpired:
                    process.terminate()
                    process.wait()
                if process.returncode == INTERRUPTED:
                    sys.exit(INTERRUPTED)
                raise
    return process.returncode == 0


def _watch(process: subprocess.Popen[bytes], runs: Path, renew: Callable[[], None]) -> None:
    """Renew after new results until the process ends."""

    def results() -> set[Path]:
        return set(runs.glob("*/evaluations/*/result.json"))

    seen, earliest = results(), 0.0
    while process.poll() is None:
        with suppress(subprocess.TimeoutExpired):
            process.wait(LOOK_SECONDS)
        if time.monotonic() >= earliest and not (found := results()) <= seen:
            seen, began = found, time.monotonic()
            try:
                renew()
            except Exception as error:  # no reason to stop hours of training
                say(f"the report was not renewed: {one_line(error) or f'{type(error).__name__}: {error}'}")
            earliest = time.monotonic() + PATIENCE * (time.monotonic() - began)
