"""What is run for the report: the jobs of a profile that are not done yet, and how long they take."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, zip_longest
from math import inf
from statistics import fmean
from typing import Any

from hydra.errors import HydraException
from omegaconf import OmegaConf

from dlbench import identity, paths
from dlbench.cli import experiments, explain
from dlbench.config import composed, trusted
from dlbench.errors import ConfigError
from dlbench.metrics.names import is_exact
from dlbench.records import labels
from dlbench.report.evidence import REAL, STAND_IN, SUBSTITUTES, in_variant
from dlbench.report.jobs import SYNTHETIC, Job, further_members, missing_data
from dlbench.report.results import Result
from dlbench.report.schema import Configuration, Report
from dlbench.terminal import nearest, say

Key = tuple[str, ...]


class Paces:
    """Seconds of trainings and evaluations, for each example and epoch.

    A job goes at the pace of its own configuration on data of its own kind, else of its experiment on such data, else
    of its experiment.
    """

    def __init__(self, results: Iterable[Result]) -> None:
        self._trainings: dict[Key, list[float]] = defaultdict(list)
        self._evaluations: dict[Key, list[float]] = defaultdict(list)
        self._real_sizes: dict[str, dict[str, float]] = {}
        for result in results:
            sizes = result.manifest["data"]["sizes"]
            if result.provenance not in (SYNTHETIC, *SUBSTITUTES):
                whole = sizes["train"] / result.config["data"].get("fraction", 1)
                self._real_sizes.setdefault(result.data, {**sizes, "train": whole})
            # Pictures of another split cost what they cost; other utterances are shorter, or longer.
            kind = result.provenance if result.provenance in (SYNTHETIC, STAND_IN) else REAL
            training = result.training["seconds"] / (result.training["epochs"] * sizes["train"])
            for key in _kinds_of(identity.configuration_id(result.identity), result.experiment, kind):
                self._trainings[key].append(training)
            for key in _kinds_of(result.configuration, result.experiment, kind):
                self._evaluations[key].append(result.result["seconds"] / sizes["test"])

    def training(self, job: Job) -> float | None:
        """How many seconds its training takes; None if nothing like it was measured."""
        keys = _kinds_of(job.training, job.experiment, _kind(job))
        sizes, pace = self._sizes(job), _first(self._trainings, keys)
        return pace * job.config["trainer"]["epochs"] * sizes["train"] if sizes and pace is not None else None

    def evaluation(self, job: Job) -> float | None:
        """How many seconds its evaluation takes; None if nothing like it was measured."""
        keys = _kinds_of(job.configuration, job.experiment, _kind(job))
        sizes, pace = self._sizes(job), _first(self._evaluations, keys)
        return pace * sizes["test"] if sizes and pace is not None else None

    def _sizes(self, job: Job) -> dict[str, float] | None:
        if job.is_synthetic:
            return {**job.synthetic_sizes}
        sizes = self._real_sizes.get(job.data)
        return {**sizes, "train": sizes["train"] * job.fraction} if sizes else None


def _kind(job: Job) -> str:
    return SYNTHETIC if job.is_synthetic else REAL


def _kinds_of(configuration: str, experiment: str, kind: str) -> tuple[Key, ...]:
    return (configuration, kind), (experiment, kind), (experiment,)


def _first(paces: dict[Key, list[float]], keys: Iterable[Key]) -> float | None:
    return next((fmean(paces[key]) for key in keys if key in paces), None)


SEEDS = {"quick": (42,), "full": (42, 43, 44, 45, 46), "none": ()}
"""The seeds of every profile."""

PROFILES = tuple(SEEDS)

Runnable = tuple[tuple[str, ...], dict[str, Any]]
"""A job but for the seed: its overrides, and what they and the further ones compose to."""


def jobs(
    profile: str, reports: Mapping[str, Report], results: Sequence[Result], overrides: Sequence[str] = ()
) -> list[Job]:
    """What a profile runs: seed by seed, of every report in turn, a report's shortest first.

    ``quick``: all configurations of the reports and all other experiments, small. ``full``: all configurations of the
    reports as they are; those without their data are left out, which is said in a line a data set. Neither has what
    ``results`` have already, as far as ``rerun`` lets it be looked up.

    Args:
        profile: One of `PROFILES`.
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
    lists = [[_runnable(each, profile, overrides) for each in wanted] for wanted in _wanted(profile, reports)]
    is_seed_given = any(word.startswith("seed=") for word in overrides)
    paces = Paces(results)
    chosen: dict[tuple[str, int, str], Job] = {}
    for place, seed in enumerate(SEEDS[profile]):
        made = [
            # No run serves in two ensembles: they would not be independent.
            [_job(each, seed, is_seed_given) for each in runnables if place % (1 + further_members(each[1])) == 0]
            for runnables in lists
        ]
        for job in _in_turn(made, paces):
            chosen.setdefault((job.configuration, job.seed, job.data), job)
    return _with_data([job for job in chosen.values() if not any(_is_done(job, result) for result in results)])


def settings(profile: str, task: str) -> tuple[str, ...]:
    """The overrides that apply a profile's settings, the task's own where the profile has any."""
    return tuple(f"+profile={name}" for name in _files(profile, task)[:1])


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
            return f"{runs} on {_cores(self.workers)}; nothing like them was measured yet"
        known = f"{runs}: about {_duration(self.seconds)} on {_cores(self.workers)}"
        left_out = f" ({self.unknown} without a measurement left out)" if self.unknown else ""
        return known + left_out


def estimate(lacking: Sequence[Job], results: Iterable[Result], workers: int | None = None) -> Estimate:
    """How long jobs take on so many workers (default: one a core).

    What several need is trained once; what is trained already, and has its checkpoints yet, is evaluated alone.
    """
    workers, results = workers or os.cpu_count() or 1, list(results)
    paces, trained = Paces(results), _trained(results)
    trainings: dict[tuple[str, str, int], float] = {}
    evaluations, unknown = 0.0, 0
    for job in lacking:
        training = paces.training(job)
        if training is None:
            unknown += 1
            continue
        needed = ((job.training, job.data, seed) for seed in (job.seed, *job.members))
        trainings |= {key: training for key in needed if not any(_is_usable(job, result) for result in trained[key])}
        evaluations += paces.evaluation(job) or 0.0
    longest = max(trainings.values(), default=0.0)
    together = sum(trainings.values()) + evaluations
    return Estimate(max(together / workers, longest), len(lacking), unknown, workers)


def _wanted(profile: str, reports: Mapping[str, Report]) -> Iterator[list[Configuration]]:
    """The configurations of every report, and with ``quick`` every experiment."""
    for report in reports.values():
        variants = [(), *(variant.overrides for variant in report.variants.values())]
        needed = [report.configurations[name] for name in report.configurations if name not in _only_counted(report)]
        found = (in_variant(each, overrides) for each in needed for overrides in variants)
        yield [each for each in found if each and not each.planned]
    if profile == "quick":
        yield [Configuration(experiment=name) for name in experiments()]


def _only_counted(report: Report) -> set[str]:
    """The configurations of which only properties of the network are told, for which no run is needed."""
    rows = [row for table in report.tables for row in table.rows]
    measured = {row.of for row in rows if not all(map(is_exact, row.published))}
    measured |= {name for figure in report.figures for name in figure.of}
    return {row.of for row in rows}.difference(measured, *(claim.configurations for claim in report.claims))


def _runnable(configuration: Configuration, profile: str, overrides: Sequence[str]) -> Runnable:
    experiment, own = configuration.experiment, configuration.overrides
    try:
        task = labels.chosen("task", composed(experiment, ())["task"])
        settled = _settled(profile, task)
        words = [word for word in own if word.partition("=")[0].lstrip("+~") not in settled]
        own = (*words, *settings(profile, task))
        trusted(experiment, own)  # what else is named is the command line's
        config = composed(experiment, (*own, *overrides))
    except HydraException as error:
        raise ConfigError(f"{experiment} {' '.join((*own, *overrides))}: {explain(error)}") from error
    return (f"+experiment={experiment}", *own), config


def _job(runnable: Runnable, seed: int, is_seed_given: bool) -> Job:
    words, config = runnable
    if is_seed_given:
        seed = config["seed"]
    job = Job((*words, f"seed={seed}"), seed, config)
    if not job.members:
        return job
    members = ",".join(map(str, job.members))
    return Job((*job.overrides, f"evaluation.members=[{members}]"), seed, config)


def _in_turn(lists: Iterable[list[Job]], paces: Paces) -> Iterator[Job]:
    """The shortest of every list, then the second shortest, and so on; unmeasured ones last."""

    def seconds(job: Job) -> float:
        training = paces.training(job)
        return inf if training is None else training * (1 + len(job.members))

    turns = zip_longest(*(sorted(each, key=seconds) for each in lists))
    return (job for job in chain.from_iterable(turns) if job)


def _is_done(job: Job, result: Result) -> bool:
    is_it = (job.configuration, job.seed, job.data) == (result.configuration, result.seed, result.data)
    return is_it and _is_usable(job, result)


def _is_usable(job: Job, result: Result) -> bool:
    """Whether a result is on such data as the job is to have, and would not be made again."""
    if result.provenance != (SYNTHETIC if job.is_synthetic else REAL):
        return False
    if job.is_synthetic and job.synthetic_sizes != result.manifest["data"]["sizes"]:
        return False
    return bool(job.config["rerun"] == "never" or (job.config["rerun"] == "outdated" and not result.is_outdated))


def _trained(results: Iterable[Result]) -> dict[tuple[str, str, int], list[Result]]:
    """By training, data and seed: the results whose networks can be evaluated again; committed ones have none."""
    found = defaultdict(list)
    for result in results:
        if result.record.checkpoints.all():
            found[identity.configuration_id(result.identity), result.data, result.seed].append(result)
    return found


def _with_data(found: Sequence[Job]) -> list[Job]:
    """Those whose data is at hand; what others lack is said."""
    remedies = {job: missing_data(job) for job in found}
    for (data, remedy), count in Counter((job.data, remedy) for job, remedy in remedies.items() if remedy).items():
        runs = "1 run is" if count == 1 else f"{count} runs are"
        say(f"no {data} data at hand: {runs} left out; {remedy}")
    return [job for job, remedy in remedies.items() if not remedy]


def _files(profile: str, task: str) -> list[str]:
    """The names of a profile's files that concern a task, the task's own, which includes the other, first."""
    folder = paths.conf() / "profile"
    return [name for name in (f"{profile}_{task}", profile) if (folder / f"{name}.yaml").exists()]


@cache
def _settled(profile: str, task: str) -> frozenset[str]:
    """The keys that a profile sets: there the reports' own overrides do not count."""
    files = (paths.conf() / "profile" / f"{name}.yaml" for name in _files(profile, task))
    return frozenset(key for file in files for key in _keys(OmegaConf.to_container(OmegaConf.load(file))))


def _keys(node: Any, prefix: str = "") -> Iterator[str]:
    if not isinstance(node, dict):
        yield prefix.rstrip(".")
        return
    for key, value in node.items():
        yield from _keys(value, f"{prefix}{key}.")


def _cores(workers: int) -> str:
    return f"{workers} core{'s' * (workers != 1)}"


def _duration(seconds: float) -> str:
    for unit, length in (("hour", 3600), ("minute", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.0f} {unit}s"
    return "a minute" if seconds > 30 else "half a minute"
