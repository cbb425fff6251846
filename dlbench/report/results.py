"""The records at hand as results: collected from folders, the odd ones named, those alike but for the seed together."""

from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from dlbench import components, identity
from dlbench.cli import experiments
from dlbench.errors import RecordError
from dlbench.records import history
from dlbench.records.files import is_set_aside
from dlbench.records.labels import DECODED_BY, decoding, evaluation_name, run_name, settings
from dlbench.records.store import Evaluation, Record, Store
from dlbench.report.recorded import is_finished, read_evaluation, read_training

NO_CONFIG = "config.yaml: is missing"
NOT_EVALUATED = "trained, but never evaluated; the same command again evaluates it"
SUPERSEDED = "made by other versions; another folder's record of the same run, by today's, is taken"
OUTDATED_TOO = "made by other versions; another folder's record of the same run, by others too, is taken"
NO_LONGER = "no longer comparable: a component means something else today"


@dataclass(frozen=True)
class Result:
    """An evaluation of a finished run.

    ``config``, ``identity``, ``manifest``, ``training`` and ``result`` are the record's files, ``evaluated`` the
    evaluation's settings, ``configuration`` what is averaged over seeds (see `dlbench.identity.compared_id`).
    """

    record: Record
    evaluation: Evaluation
    config: Mapping[str, Any]
    identity: Mapping[str, Any]
    manifest: Mapping[str, Any]
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
    def run(self) -> str:
        """The record's id."""
        return self.record.id

    @property
    def experiment(self) -> str:
        """The experiment that it was evaluated for."""
        return str(self.result["experiment"])

    @property
    def seed(self) -> int:
        """The training's seed."""
        return int(self.config["seed"])

    @property
    def metrics(self) -> Mapping[str, float]:
        """What was measured."""
        metrics: Mapping[str, float] = self.result["metrics"]
        return metrics

    @property
    def members(self) -> tuple[str, ...]:
        """The ids of the further runs that it averages, if it is an ensemble's."""
        return tuple(self.result.get("members", ()))

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

    @property
    def decoding(self) -> str:
        """How it decodes; empty where nothing is decoded."""
        return decoding(self.evaluated)

    @cached_property
    def settings(self) -> str:
        """What tells its configuration from others: ``lr=0.01 chw epochs=10``, ``... decoded by greedy``."""
        words = settings(self.experiment, self.config)
        return f"{words}{DECODED_BY}{self.decoding}" if self.decoding else words

    @property
    def name(self) -> str:
        """What TensorBoard shows it as."""
        if self.decoding:
            return evaluation_name(self.manifest, self.config, self.result, self.decoding)
        return run_name(self.manifest, self.config)

    @cached_property
    def curves(self) -> list[dict[str, Any]]:
        """A row an epoch: ``epoch`` (from 1) and the metrics after it."""
        return history.read(self.record.metrics)


ResultsOf = Callable[[str], Sequence[Result]]
"""What gives the results of a configuration, a seed each, by its name in a report; none where it was not run."""


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
    left_out: list[LeftOut] = field(default_factory=list)
    contradictions: list[Contradiction] = field(default_factory=list)


def collect(stores: Iterable[Store]) -> Collection:
    """Evaluations of the finished runs of all stores; a record that cannot be used is left out, by name.

    The same evaluation counts once: from the first store where today's versions made it, else from the first. Where
    another store's says something else though it should not, that is a contradiction.
    """
    collection, known = Collection(), experiments()
    found: dict[str, list[Result]] = defaultdict(list)
    not_evaluated: list[Record] = []
    for store in stores:
        collection.left_out += [LeftOut(name, NO_CONFIG) for name in _without_config(store)]
        for record in store.all():
            try:
                if not is_finished(record):
                    continue
                read = list(_read(record, known))
            except (RecordError, OSError, KeyError, TypeError, AttributeError, ValueError) as error:
                collection.left_out.append(LeftOut(record.id, _reason(error, record)))
                continue
            if not read and not record.is_locked():
                not_evaluated.append(record)
            for result in read:
                found[result.evaluation.id].append(result)
    collection.results = [min(same, key=lambda result: result.is_outdated) for same in found.values()]
    _compare(found.values(), collection)
    # An ensemble's members may be trained for its sake alone.
    used = {run for same in found.values() for result in same for run in (result.run, *result.members)}
    collection.left_out += [LeftOut(record.id, NOT_EVALUATED) for record in not_evaluated if record.id not in used]
    return collection


def _without_config(store: Store) -> list[str]:
    """The names of folders that hold something of a record, but not what it is a record of."""
    folders = {path.parent for name in ("manifest.json", "training.json") for path in store.folder.glob(f"*/{name}")}
    lacking = (folder for folder in folders if not Record(folder).config.exists() and not is_set_aside(folder))
    return sorted(folder.name for folder in lacking)


def _read(record: Record, known: Container[str]) -> Iterator[Result]:
    training = read_training(record)
    problem, is_used = "", False
    for evaluation in record.evaluations():
        evaluated, result = read_evaluation(evaluation)
        if result["experiment"] not in known:
            raise RecordError(f"unknown experiment {result['experiment']}")
        if result["weights"] != training.closed["weights"]:
            problem = f"evaluation {evaluation.id} is of other weights than the training's"
            continue
        if not components.is_comparable(result["versions"]):
            problem = NO_LONGER
            continue
        configuration = identity.compared_as(training.identity, result["identity"]["evaluation"])
        yield Result(record, evaluation, *training, result, evaluated, configuration)
        is_used = True
    if problem and not is_used:
        raise RecordError(problem)


def _reason(error: Exception, record: Record) -> str:
    """Why a record cannot be used; its files are named as they lie in it, whoever's folders they are in."""
    reason = str(error) if isinstance(error, RecordError) else f"damaged ({type(error).__name__}: {error})"
    return reason.replace(f"{record.folder}/", "")


def _compare(found: Iterable[Sequence[Result]], collection: Collection) -> None:
    """Name the records, among those of the same evaluation, that contradict each other or are superseded."""
    contradictory: dict[str, set[str]] = defaultdict(set)
    superseded: dict[LeftOut, None] = {}
    for same in found:
        chosen = min(same, key=lambda result: result.is_outdated)
        for other in same:
            differing = _differing(chosen, other)
            if differing and chosen.versions != other.versions:
                superseded[LeftOut(other.run, OUTDATED_TOO if chosen.is_outdated else SUPERSEDED)] = None
            elif differing and chosen.manifest["numerics"] == other.manifest["numerics"]:
                contradictory[chosen.run] |= differing
    collection.left_out += superseded
    collection.contradictions += [Contradiction(run, tuple(sorted(names))) for run, names in contradictory.items()]


def _differing(one: Result, other: Result) -> set[str]:
    """The metrics that both have, or ``weights``, in which two of one identity differ."""
    differing = {name for name in one.metrics.keys() & other.metrics.keys() if one.metrics[name] != other.metrics[name]}
    return differing | ({"weights"} if one.training["weights"] != other.training["weights"] else set())


def by_configuration(results: Iterable[Result]) -> dict[str, list[Result]]:
    """Results on the same data that differ only in seed, together, by seed; a seed counts once, the first found.

    One made by other versions gives way to one made by today's. Of one configuration on several data sets the largest
    group is kept: data is never mixed.
    """
    groups: dict[tuple[str, str], dict[int, Result]] = defaultdict(dict)
    for result in results:
        seeds = groups[result.configuration, result.fingerprint]
        if seeds.setdefault(result.seed, result).is_outdated and not result.is_outdated:
            seeds[result.seed] = result
    chosen: dict[str, list[Result]] = {}
    for (configuration, _), seeds in sorted(groups.items(), key=lambda group: -len(group[1])):
        chosen.setdefault(configuration, [seeds[seed] for seed in sorted(seeds)])
    return chosen
