"""The records at hand, grouped by configuration: what is averaged over seeds, and held against a report."""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from dlbench import identity, resources
from dlbench.errors import RecordError
from dlbench.messages import say
from dlbench.records.files import read_config, read_json
from dlbench.records.store import Record, State, Store, read_done
from dlbench.records.summary import is_evaluation_stale, is_stale


@dataclass(frozen=True)
class Result:
    """An evaluation of a finished run; ``provenance`` is what its data was (see `PictureSet.provenance`)."""

    run: str
    configuration: str
    seed: int
    fingerprint: str
    provenance: str
    metrics: dict[str, float]
    is_stale: bool = False


def collect(stores: Iterable[Store]) -> list[Result]:
    """Evaluations of the finished runs of all stores; what is unreadable is named and left out.

    The same evaluation counts once, from the first store that has it.
    """
    results: dict[str, Result] = {}
    for store in stores:
        for record in store.all():
            try:
                if record.training.exists() and read_done(record.training)["state"] == State.FINISHED:
                    results = dict(_read(record)) | results
            except (RecordError, KeyError, TypeError, AttributeError) as error:
                say(f"record {record.id} left out: {error}")
    return list(results.values())


def _read(record: Record) -> Iterator[tuple[str, Result]]:
    """A record's evaluations by their identity."""
    manifest = read_json(record.manifest)
    scientific = manifest["scientific"]
    stale = is_stale(record, manifest)
    for evaluation in record.evaluations():
        settings: Any = OmegaConf.to_container(read_config(evaluation.config))
        yield (
            evaluation.id,
            Result(
                record.id,
                identity.compared_id(scientific, settings),
                scientific["seed"],
                manifest["data"]["fingerprint"],
                manifest["data"]["provenance"],
                read_done(evaluation.result)["metrics"],
                stale or is_evaluation_stale(record, evaluation),
            ),
        )


def by_configuration(results: Iterable[Result]) -> dict[str, list[Result]]:
    """Results on the same data that differ only in seed, together; a seed counts once, the first it is found.

    Of one configuration on several data sets the largest group is kept and the others are named: data is never mixed.
    """
    groups: dict[tuple[str, str], dict[int, Result]] = defaultdict(dict)
    for result in results:
        groups[result.configuration, result.fingerprint].setdefault(result.seed, result)
    chosen: dict[str, list[Result]] = {}
    for (configuration, _), seeds in sorted(groups.items(), key=lambda group: -len(group[1])):
        if configuration in chosen:
            say(f"left out: {', '.join(result.run for result in seeds.values())}, same configuration on other data")
        else:
            chosen[configuration] = list(seeds.values())
    return chosen


def configuration_of(experiment: str, overrides: Iterable[str]) -> str:
    """The configuration, evaluation included, that an experiment with overrides composes to."""
    return _composed(experiment, tuple(overrides))


@cache
def _composed(experiment: str, overrides: tuple[str, ...]) -> str:
    with initialize_config_dir(str(resources.conf()), version_base="1.3"):
        config = compose("config", [f"+experiment={experiment}", *overrides])
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    return identity.compared_id(identity.canonical(plain, fingerprint="", device=""), plain["evaluation"])


def mean_and_spread(values: list[float]) -> str:
    """``mean ± standard deviation (n)``; a single value, or one that never varies, stands without a spread."""
    if len(set(values)) == 1:
        return f"{format_value(values[0])} ({len(values)})"
    return f"{format_value(statistics.fmean(values))} ± {format_value(statistics.stdev(values))} ({len(values)})"


def format_value(value: float) -> str:
    """Counts whole, everything else with four decimals, as the reports print them."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4f}"
