"""The records at hand as results: collected from folders, the odd ones named, those alike but for the seed together."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from dlbench import identity
from dlbench.cli import experiments
from dlbench.errors import RecordError
from dlbench.records import history
from dlbench.records.files import read_config, read_json
from dlbench.records.labels import DECODED_BY, brief, decoding, differences, evaluation_name, run_name
from dlbench.records.store import Evaluation, Record, State, Store, read_done
from dlbench.records.summary import is_evaluation_stale, is_stale


@dataclass(frozen=True)
class Result:
    """An evaluation of a finished run.

    ``config``, ``manifest``, ``training`` and ``result`` are the record's files, ``evaluated`` the evaluation's
    settings, ``configuration`` what is averaged over seeds (see `dlbench.identity.compared_id`).
    """

    record: Record
    evaluation: Evaluation
    config: Mapping[str, Any]
    manifest: Mapping[str, Any]
    training: Mapping[str, Any]
    result: Mapping[str, Any]
    evaluated: Mapping[str, Any]
    configuration: str
    is_stale: bool = False

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
        return int(self.manifest["scientific"]["seed"])

    @property
    def metrics(self) -> Mapping[str, float]:
        """What was measured."""
        metrics: Mapping[str, float] = self.result["metrics"]
        return metrics

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
        """``verified`` (the real data), ``user copy`` or ``embedded``."""
        return str(self.manifest["data"]["provenance"])

    @property
    def decoding(self) -> str:
        """How it decodes; empty where nothing is decoded."""
        return decoding(self.evaluated)

    @cached_property
    def settings(self) -> str:
        """What tells its configuration from others: ``lr=0.01 chw epochs=10``, ``... decoded by greedy``."""
        scientific = self.manifest["scientific"]
        words = [brief(scientific, with_seed=False), *differences(self.experiment, scientific)]
        return " ".join(words) + (f"{DECODED_BY}{self.decoding}" if self.decoding else "")

    @property
    def name(self) -> str:
        """What TensorBoard shows it as."""
        is_decoded = bool(self.decoding)
        return evaluation_name(self.manifest, self.result, self.decoding) if is_decoded else run_name(self.manifest)

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
    """Two records of one identity, made under the same numerics, that say different things."""

    run: str
    differing: tuple[str, ...]
    other_source: bool


@dataclass
class Collection:
    """What folders of records hold."""

    results: list[Result] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    contradictions: list[Contradiction] = field(default_factory=list)


def collect(stores: Iterable[Store]) -> Collection:
    """Evaluations of the finished runs of all stores; what is corrupt, of an older schema or unknown is left out.

    The same evaluation counts once, from the first store that has it; where another store's says something else under
    the same numerics, that is a contradiction.
    """
    found: dict[str, Result] = {}
    collection = Collection()
    known = set(experiments())
    for store in stores:
        for record in store.all():
            try:
                if not record.training.exists() or read_done(record.training)["state"] != State.FINISHED:
                    continue
                read = list(_read(record))
                unknown = {result.experiment for result in read} - known
                if unknown:
                    raise RecordError(f"unknown experiment {', '.join(sorted(unknown))}")
            except (RecordError, KeyError, TypeError, AttributeError, ValueError) as error:
                reason = str(error) if isinstance(error, RecordError) else f"damaged ({type(error).__name__}: {error})"
                collection.left_out.append(LeftOut(record.id, reason))
                continue
            for result in read:
                first = found.setdefault(result.evaluation.id, result)
                if differing := _contradicting(first, result):
                    is_other = first.manifest["source"] != result.manifest["source"]
                    collection.contradictions.append(Contradiction(record.id, differing, is_other))
    collection.results = list(found.values())
    return collection


def _read(record: Record) -> Iterator[Result]:
    config, manifest, training = read_config(record.config), read_json(record.manifest), read_done(record.training)
    stale = is_stale(record, manifest)
    for evaluation in record.evaluations():
        evaluated = read_config(evaluation.config)
        result = read_done(evaluation.result)
        yield Result(
            record,
            evaluation,
            config,
            manifest,
            training,
            {**result, "metrics": dict(result["metrics"]), "experiment": result["experiment"]},
            evaluated,
            identity.compared_id(manifest["scientific"], evaluated),
            stale or is_evaluation_stale(record, evaluation),
        )


def _contradicting(first: Result, other: Result) -> tuple[str, ...]:
    """The metrics, or ``weights``, in which two of one identity and one numerics differ."""
    if first is other or first.manifest["numerics"] != other.manifest["numerics"]:
        return ()
    names = sorted(first.metrics.keys() | other.metrics.keys())
    differing = [name for name in names if first.metrics.get(name) != other.metrics.get(name)]
    if first.training["weights"] != other.training["weights"]:
        differing.append("weights")
    return tuple(differing)


def by_configuration(results: Iterable[Result]) -> dict[str, list[Result]]:
    """Results on the same data that differ only in seed, together, by seed; a seed counts once, the first found.

    Of one configuration on several data sets the largest group is kept: data is never mixed.
    """
    groups: dict[tuple[str, str], dict[int, Result]] = defaultdict(dict)
    for result in results:
        groups[result.configuration, result.fingerprint].setdefault(result.seed, result)
    chosen: dict[str, list[Result]] = {}
    for (configuration, _), seeds in sorted(groups.items(), key=lambda group: -len(group[1])):
        chosen.setdefault(configuration, [seeds[seed] for seed in sorted(seeds)])
    return chosen
