"""The records at hand as results: read and checked, the odd ones named, those alike but for the seed together."""

import json
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from typing import Any

from hydra.errors import HydraException
from pydantic import BaseModel

from dlbench import components, identity
from dlbench.cli import experiments, explain
from dlbench.config import meanings_of
from dlbench.errors import ConfigError, RecordError
from dlbench.records import history, schema
from dlbench.records.files import ODD, problem_of
from dlbench.records.index import Index
from dlbench.records.labels import DECODED_BY, decoding, evaluation_name, run_name, settings
from dlbench.records.store import Contents, Evaluation, Record, State, Store
from dlbench.records.summary import Use, rebound
from dlbench.report.schema import Configuration, Overrides, Report, Substitute, Variant

REAL = "verified"
OTHER_SPLIT, STAND_IN = "other split", "stand-in"
SUBSTITUTES = (OTHER_SPLIT, STAND_IN)
"""Data that may be shown in place of the real, and is held against nothing published."""

NOT_EVALUATED = "trained, but not evaluated; the same command again evaluates it, or says why it cannot"
SUPERSEDED = "made by other versions; another folder's record of the same run, by today's, is taken"
OUTDATED_TOO = "made by other versions; another folder's record of the same run, by others too, is taken"
NO_LONGER = f"{Use.NEITHER}: a component means something else today"


# --- results ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Closed:
    """A run whose training is over: its record, and the files that tell what it is, ``config`` in today's words."""

    record: Record
    config: Mapping[str, Any]
    identity: Mapping[str, Any]
    manifest: Mapping[str, Any]

    @property
    def run(self) -> str:
        """The record's id."""
        return self.record.id

    @property
    def seed(self) -> int:
        """The training's seed."""
        return int(self.config["seed"])

    @property
    def data(self) -> str:
        """The data set's name."""
        return str(self.manifest["data"]["name"])

    @property
    def fingerprint(self) -> str:
        """The hash of the data's very content."""
        return str(self.manifest["data"]["fingerprint"])

    @property
    def provenance(self) -> str:
        """``verified`` (the real data), ``other split`` of it, ``user copy``, ``stand-in`` or ``synthetic``."""
        return str(self.manifest["data"]["provenance"])

    @cached_property
    def trained(self) -> str:
        """The configuration without the evaluation: see `dlbench.identity.configuration_id`."""
        return identity.configuration_id(self.identity)

    @cached_property
    def name(self) -> str:
        """What TensorBoard shows it as."""
        return run_name(self.manifest, self.config)


@dataclass(frozen=True)
class Diverged(Closed):
    """A run whose loss left the finite numbers in a ``step``: it has no result, but it is counted."""

    step: int


@dataclass(frozen=True)
class Result(Closed):
    """An evaluation of a finished run.

    ``training`` and ``result`` are the files that closed them, ``evaluated`` the evaluation's settings,
    ``configuration`` what is averaged over seeds (see `dlbench.identity.compared_id`).
    """

    evaluation: Evaluation
    training: Mapping[str, Any]
    result: Mapping[str, Any]
    evaluated: Mapping[str, Any]
    configuration: str

    @property
    def versions(self) -> Mapping[str, str]:
        """The versions of all components it is made of, those of its evaluation included, by name."""
        versions: Mapping[str, str] = self.result["versions"]
        return versions

    @cached_property
    def is_outdated(self) -> bool:
        """Whether one of these is another today: it is comparable, but today's code gives other bits."""
        return bool(components.outdated(self.versions))

    @property
    def experiment(self) -> str:
        """The experiment that it was evaluated for."""
        return str(self.result["experiment"])

    @property
    def metrics(self) -> Mapping[str, float]:
        """What was measured."""
        metrics: Mapping[str, float] = self.result["metrics"]
        return metrics

    @cached_property
    def decoding(self) -> str:
        """How it decodes; empty where nothing is decoded."""
        return decoding(self.evaluated)

    @cached_property
    def settings(self) -> str:
        """What tells its configuration from others: ``lr=0.01 layout=chw epochs=10``, ``... decoded by greedy``."""
        words = settings(self.experiment, self.config)
        return f"{words}{DECODED_BY}{self.decoding}" if self.decoding else words

    @cached_property
    def name(self) -> str:
        """What TensorBoard shows it as."""
        if self.decoding:
            return evaluation_name(self.manifest, self.config, self.result, self.decoding)
        return run_name(self.manifest, self.config)

    @cached_property
    def curves(self) -> list[dict[str, Any]]:
        """A row an epoch: ``epoch`` (from 1) and the metrics after it."""
        return history.read(self.record.metrics)


def paired(results: Iterable[Result], others: Iterable[Result], metric: str) -> list[float]:
    """By how much a metric of results exceeds that of others of the same seed, made by equal versions of components."""
    there = {other.seed: other for other in others if metric in other.metrics}
    return [
        result.metrics[metric] - other.metrics[metric]
        for result in results
        if (other := there.get(result.seed)) and metric in result.metrics
        if not components.unlike(other.versions, result.versions)
    ]


@dataclass(frozen=True)
class Runs:
    """The runs of one configuration on the same data: results, a seed each, and what diverged and has none."""

    results: Sequence[Result] = ()
    diverged: Sequence[Diverged] = ()

    @property
    def first(self) -> Result:
        """The first result: what is not of its seed is the same of all."""
        return self.results[0]

    def measured(self, metric: str) -> list[float]:
        """A metric in each result that has it."""
        return [result.metrics[metric] for result in self.results if metric in result.metrics]

    @property
    def lost(self) -> list[int]:
        """The seeds that have no result since their runs diverged; under other numerics one may have ended well."""
        return sorted({run.seed for run in self.diverged} - {result.seed for result in self.results})


RunsOf = Callable[[str], Runs]
"""What gives the runs of a configuration by its name in a report; none where it was not run."""


@dataclass(frozen=True)
class LeftOut:
    """A record that cannot be used, and why."""

    run: str
    reason: str


@dataclass(frozen=True)
class Contradiction:
    """Records of one run, made by the same code under the same numerics, that say different things."""

    run: str
    differing: tuple[str, ...]


@dataclass
class Collection:
    """What folders of records hold."""

    results: list[Result] = field(default_factory=list)
    diverged: list[Diverged] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    contradictions: list[Contradiction] = field(default_factory=list)


def collect(stores: Iterable[Store]) -> Collection:
    """Evaluations of the finished runs of all stores, and what diverged; what cannot be used is left out, by name.

    The same evaluation counts once: from the first store where today's versions made it, else from the first. Where
    another store's says something else though it should not, that is a contradiction.
    """
    collection, known = Collection(), experiments()
    found: dict[str, list[Result]] = defaultdict(list)
    not_evaluated: list[Record] = []
    diverged: dict[str, Diverged] = {}
    with Index() as index:
        for record in (record for store in stores for record in store.all() if record.training.exists()):
            try:
                contents = index.read(record, whole=True)
                state = _closing(record, contents, schema.CLOSED)["state"]
                _check_plan(record, contents)
                if state == State.DIVERGED:
                    diverged.setdefault(record.id, _diverged(record, contents))
                    continue
                results = list(_results_of(record, contents, known))
            except (RecordError, *ODD) as error:
                # Its files are named as they lie in it, whoever's folders they are in.
                collection.left_out.append(LeftOut(record.id, problem_of(error).replace(f"{record.folder}/", "")))
                continue
            if not results and not record.is_locked():
                not_evaluated.append(record)
            for result in results:
                found[result.evaluation.id].append(result)
    _choose(found.values(), collection)
    finished = {result.run for result in collection.results}  # under other versions or numerics it need not diverge
    collection.diverged = [each for run, each in sorted(diverged.items()) if run not in finished]
    # An ensemble's members may be trained for its sake alone.
    every = [result for same in found.values() for result in same]
    used = {result.run for result in every}.union(*(result.result.get("members", ()) for result in every))
    collection.left_out += [LeftOut(record.id, NOT_EVALUATED) for record in not_evaluated if record.id not in used]
    return collection


def _closing(record: Record, contents: Contents, kind: type[BaseModel]) -> dict[str, Any]:
    return schema.checked(record.training, kind, contents.closing or {})


def _check_plan(record: Record, contents: Contents) -> None:
    """See that the configuration, identity and manifest of a closed training are as they must be.

    Raises:
        RecordError: A key is not, or the record is comparable no longer.
    """
    config = schema.checked(record.config, schema.CONFIG, contents.config)
    told = schema.checked(record.identity, schema.IDENTITY, contents.identity)
    manifest = schema.checked(record.manifest, schema.MANIFEST, contents.manifest)
    if told["seed"] != config["seed"] or told["fingerprint"] != manifest["data"]["fingerprint"]:
        raise RecordError(f"{record.identity}: tells another seed or other data than the rest of the record")
    if other := rebound(manifest):
        raise RecordError(f"{Use.NEITHER}: {other}")


def _diverged(record: Record, contents: Contents) -> Diverged:
    """A training that diverged.

    Raises:
        RecordError: A component means something else today.
    """
    if not components.is_comparable(contents.manifest["versions"]):
        raise RecordError(NO_LONGER)
    step = _closing(record, contents, schema.STOPPED)["step"]
    found = Diverged(record, contents.config, contents.identity, contents.manifest, step)
    _ = found.name
    return found


def _results_of(record: Record, contents: Contents, known: Container[str]) -> Iterator[Result]:
    """The evaluations of a finished training.

    Raises:
        RecordError: A key is not as it must be, or none of its evaluations can be used.
    """
    training = _closing(record, contents, schema.TRAINING)
    problem, is_used = "", False
    for evaluation in map(record.evaluation, contents.results):
        evaluated = schema.checked(evaluation.config, schema.EVALUATED, contents.settings[evaluation.id])
        result = schema.checked(evaluation.result, schema.RESULT, contents.results[evaluation.id])
        if result["experiment"] not in known:
            raise RecordError(f"unknown experiment {result['experiment']}")
        if result["weights"] != training["weights"]:
            problem = f"evaluation {evaluation.id} is of other weights than the training's"
        elif not components.is_comparable(result["versions"]):
            problem = NO_LONGER
        else:
            told = contents.identity
            configuration = _compared(json.dumps([{**told, "seed": 0}, result["identity"]["evaluation"]]))
            closed = record, contents.config, told, contents.manifest
            found = Result(*closed, evaluation, training, result, evaluated, configuration)
            _ = found.name, found.settings, found.decoding  # what cannot be told in words fails here, not in the report
            yield found
            is_used = True
    if problem and not is_used:
        raise RecordError(problem)


@lru_cache(maxsize=1024)
def _compared(told: str) -> str:
    """See `dlbench.identity.compared_as`, whose arguments ``told`` are as JSON; of all seeds it is the same."""
    return identity.compared_as(*json.loads(told))


def _choose(found: Iterable[Sequence[Result]], collection: Collection) -> None:
    """Take one of each evaluation's results, and name the records that contradict it or are superseded."""
    contradictory: dict[str, set[str]] = defaultdict(set)
    superseded: dict[LeftOut, None] = {}
    for same in found:
        chosen = min(same, key=lambda result: result.is_outdated)
        collection.results.append(chosen)
        for other in same:
            both = chosen.metrics.keys() & other.metrics.keys()
            differing = {name for name in both if chosen.metrics[name] != other.metrics[name]}
            if chosen.training["weights"] != other.training["weights"]:
                differing.add("weights")
            if differing and chosen.versions != other.versions:
                superseded[LeftOut(other.run, OUTDATED_TOO if chosen.is_outdated else SUPERSEDED)] = None
            elif differing and chosen.manifest["numerics"] == other.manifest["numerics"]:
                contradictory[chosen.run] |= differing
    collection.left_out += superseded
    collection.contradictions += [Contradiction(run, tuple(sorted(names))) for run, names in contradictory.items()]


def alike(results: Iterable[Result], diverged: Sequence[Diverged] = ()) -> list[Runs]:
    """Results of one configuration on the same data, which differ only in seed, by seed; the largest groups first.

    A seed counts once, the first found; one made by other versions gives way to one made by today's. Data is never
    mixed, not even synthetic data with that of an earlier version. With them stands what ``diverged`` of each.
    """
    lost: dict[tuple[str, str], list[Diverged]] = defaultdict(list)
    for run in diverged:
        lost[run.trained, run.fingerprint].append(run)
    groups: dict[tuple[str, str], dict[int, Result]] = defaultdict(dict)
    for result in results:
        seeds = groups[result.configuration, result.fingerprint]
        if seeds.setdefault(result.seed, result).is_outdated and not result.is_outdated:
            seeds[result.seed] = result
    found = [[seeds[seed] for seed in sorted(seeds)] for seeds in sorted(groups.values(), key=len, reverse=True)]
    return [Runs(group, lost[group[0].trained, group[0].fingerprint] if lost else ()) for group in found]


def by_configuration(results: Iterable[Result], diverged: Sequence[Diverged] = ()) -> dict[str, Runs]:
    """Of each configuration the largest group that is `alike`."""
    chosen: dict[str, Runs] = {}
    for runs in alike(results, diverged):
        chosen.setdefault(runs.first.configuration, runs)
    return chosen


# --- which results speak for which configuration of a report ----------------------------------------------------------


@dataclass(frozen=True)
class Substituted:
    """What stands in for a configuration: a substitute by its heading, and its runs."""

    heading: str
    substitute: Substitute
    runs: Runs


@dataclass(frozen=True)
class Evidence:
    """Reports by name, and what was collected; only results on a report's data speak for its configurations."""

    reports: Mapping[str, Report]
    collection: Collection

    @cached_property
    def meanings_of(self) -> Callable[[str, Overrides], tuple[str, str]]:
        """See `dlbench.config.meanings_of`: asked again and again, answered once."""
        return cache(meanings_of)

    @cached_property
    def runs_on(self) -> Callable[[tuple[str, ...]], dict[str, Runs]]:
        """By configuration, what a report of this own data is held against; without own data, the runs on the real."""
        results, diverged = self.collection.results, self.collection.diverged
        return cache(lambda own_data: by_configuration((one for one in results if is_on(own_data, one)), diverged))

    @property
    def real(self) -> dict[str, Runs]:
        """The runs on the real data, by configuration."""
        return self.runs_on(())

    def on_other_data(self, configuration: Configuration) -> list[Result]:
        """The results of a configuration that has none on the data that a report judges by."""
        _, compared = self.meanings_of(configuration.experiment, configuration.overrides)
        return [result for result in self.collection.results if result.configuration == compared]

    @cached_property
    def elsewhere(self) -> dict[tuple[str, str], dict[str, Runs]]:
        """Those on the data of each substitute, by report and heading: of its provenance, and made as it says."""
        found = {}
        for name, report in self.reports.items():
            for heading, given in report.substitutes.items():
                results = [each for each in self.collection.results if is_made_as(given, each)]
                diverged = [each for each in self.collection.diverged if is_made_as(given, each)]
                found[name, heading] = by_configuration(results, diverged)
        return found

    def on(self, provenance: str) -> list[Result]:
        """Results on data of one provenance, whether or not a report has a place for them."""
        return [result for result in self.collection.results if result.provenance == provenance]

    def runs(self, name: str, configuration: str, *, variant: str | None = None, substitute: str | None = None) -> Runs:
        """The runs of a report's configuration, as the report has it or otherwise; none where there is no such.

        In one of its ``variants`` there are none of what it does not concern, on one of its ``substitutes`` none of
        what it does not stand in for.

        Raises:
            ConfigError: The configuration cannot be composed.
        """
        report = self.reports[name]
        own = report.configurations[configuration]
        wanted: Configuration | None = own
        if variant:
            wanted = in_variant(report, configuration, report.variants[variant])
        elif substitute:
            given = report.substitutes[substitute]
            wanted = with_overrides(own, given.overrides) if configuration in given.of else None
        if wanted is None or wanted.planned:
            return Runs()
        try:
            trained, compared = self.meanings_of(wanted.experiment, wanted.overrides)
        except HydraException as error:
            raise ConfigError(f"{name}/report.yaml: {configuration}: {explain(error)}") from error
        if substitute:
            return self.elsewhere[name, substitute].get(compared, Runs())
        lost = [run for run in self.collection.diverged if run.trained == trained and is_on(report.own_data, run)]
        return self.runs_on(report.own_data).get(compared, Runs(diverged=lost))

    def substituted(self, name: str, configuration: str) -> Substituted | None:
        """What stands in for a configuration that has no results of its own; None where nothing was run for it."""
        if not self.runs(name, configuration).results:
            for heading, substitute in self.reports[name].substitutes.items():
                if (runs := self.runs(name, configuration, substitute=heading)).results:
                    return Substituted(heading, substitute, runs)
        return None


def is_on(own_data: tuple[str, ...], run: Closed) -> bool:
    """Whether a run is on the data that the values of a report of this own data, if any, are held against."""
    return run.fingerprint.startswith(own_data) if own_data else run.provenance == REAL


def is_made_as(given: Substitute, run: Closed) -> bool:
    """Whether a run is on data of a substitute's provenance, and made as it says."""
    made = run.manifest["data"].get("stand_in") or {}
    return run.provenance == given.provenance and given.stand_in.items() <= made.items()


def in_variant(report: Report, name: str, variant: Variant) -> Configuration | None:
    """A report's configuration as a variant has it; None where the variant does not concern it."""
    configuration = report.configurations[name]
    keys = set(map(key_of, variant.overrides)) & set(map(key_of, configuration.overrides))
    is_concerned = name in variant.of if variant.of else keys
    return with_overrides(configuration, variant.overrides) if is_concerned else None


def with_overrides(configuration: Configuration, overrides: Overrides) -> Configuration:
    """The configuration with the overrides in place of its own of the same keys."""
    keys = set(map(key_of, overrides))
    kept = tuple(override for override in configuration.overrides if key_of(override) not in keys)
    return configuration.model_copy(update={"overrides": (*kept, *overrides)})


def key_of(override: str) -> str:
    """The key that an override sets, adds or deletes."""
    return override.partition("=")[0].lstrip("+~")
