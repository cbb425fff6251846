"""The repository's pages of results in ``docs``: templates in ``experiments/pages`` that ask records for numbers."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hydra.errors import HydraException
from jinja2 import Environment, StrictUndefined, TemplateError

from dlbench import paths
from dlbench.cli import explain
from dlbench.config import configuration_of
from dlbench.errors import ConfigError
from dlbench.records.files import write_text
from dlbench.report.results import REAL, Evidence, Result, Runs, by_configuration, paired
from dlbench.report.statistics import Interval, difference_of_means, mean_interval, one_more


@dataclass(frozen=True)
class Numbers:
    """What a template can ask of a configuration's runs, one a seed; ``name`` is what the template calls it."""

    name: str
    results: Sequence[Result]

    @property
    def n(self) -> int:
        """How many there are."""
        return len(self.results)

    def values(self, metric: str) -> dict[int, float]:
        """A metric by seed."""
        if lacking := [result.run for result in self.results if metric not in result.metrics]:
            raise ConfigError(f"{self.name}: record {lacking[0]} has no {metric}")
        return {result.seed: result.metrics[metric] for result in self.results}

    def mean(self, metric: str) -> float:
        """A metric's mean."""
        return statistics.fmean(self.values(metric).values())

    def distance(self, metric: str, published: float) -> float:
        """How far a published value lies from the mean, in standard deviations of one more run."""
        if len(set(values := [*self.values(metric).values()])) < 2:
            raise ConfigError(f"{self.name}: {metric} does not vary between its runs; no distance is known")
        return one_more(values).distance(published) or 0.0

    def __call__(self, metric: str, decimals: int = 4) -> str:
        """Mean and standard deviation, ``.2035 ± .0044``; a whole number that never varies as one: ``1``."""
        values = [*self.values(metric).values()]
        if len(set(values)) == 1:
            return f"{values[0]:.0f}" if float(values[0]).is_integer() else short(values[0], decimals)
        return f"{short(statistics.fmean(values), decimals)} ± {short(statistics.stdev(values), decimals)}"

    def against(self, other: "Numbers", metric: str) -> str:
        """The mean difference to other runs and its 95% interval, paired by seed: ``-.0071 [-.0103, -.0038]``.

        As in the report only seeds are paired whose runs are made by equal versions.
        """
        for each in (self, other):
            each.values(metric)  # all have it
        differences = paired(self.results, other.results, metric)
        if len(differences) < 2:
            raise ConfigError(f"{self.name} against {other.name}: fewer than two pairs of one seed and equal versions")
        return _told(statistics.fmean(differences), mean_interval(differences))

    def unpaired(self, other: "Numbers", metric: str) -> str:
        """The difference of the means and its 95% interval by Welch's test: of runs that other versions made."""
        for each in (self, other):
            if each.n < 2:
                raise ConfigError(f"{self.name} against {other.name}: {each.name} has one run; two are needed")
        found = difference_of_means([*self.values(metric).values()], [*other.values(metric).values()])
        return _told(found.mean, found.interval)


def _told(difference: float, interval: Interval) -> str:
    low, high = (short(bound, sign="+") for bound in interval)
    return f"{short(difference, sign='+')} [{low}, {high}]"


def short(value: float, decimals: int = 4, sign: str = "") -> str:
    """A number without the zero before its point: ``.2035``, ``-.0071``; with its sign for ``sign="+"``."""
    text = f"{round(value, decimals) + 0.0:{sign}.{decimals}f}"  # without a sign of zero
    return text.replace("0.", ".", 1) if abs(value) < 1 else text


def render(template: Path, evidence: Evidence) -> str:
    """A page from its template.

    Raises:
        ConfigError: It asks for a configuration, seed or metric that no record has, or cannot be read.
    """
    environment = Environment(
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=StrictUndefined
    )
    environment.filters |= {"short": short, "whole": "{:,.0f}".format}
    try:
        page = environment.from_string(template.read_text(encoding="utf-8"))
        return page.render(runs=partial(_numbers, evidence))
    except (ConfigError, TemplateError) as error:
        raise ConfigError(f"{template}: {error}") from error


def _numbers(
    evidence: Evidence, experiment: str, *overrides: str, seeds: Sequence[int] = (), on: str = REAL
) -> Numbers:
    """What a template calls ``runs``: an experiment with overrides, all of its seeds or these, on such data."""
    name = " ".join((experiment, *overrides))
    try:
        found = by_configuration(evidence.on(on)).get(configuration_of(experiment, overrides), Runs())
    except HydraException as error:
        raise ConfigError(f"{name}: {explain(error)}") from error
    chosen = [result for result in found.results if not seeds or result.seed in seeds]
    if not chosen or len(chosen) < len(seeds):
        wanted = f" of every seed of {', '.join(map(str, seeds))}" if seeds else ""
        raise ConfigError(f"{name}: no {on} record{wanted}")
    return Numbers(name, chosen)


def write(evidence: Evidence, folder: Path) -> None:
    """Write every page into a folder, once all are rendered.

    Raises:
        ConfigError: See `render`.
        RecordError: The folder cannot be written.
    """
    templates = sorted((paths.experiments() / "pages").glob("*.md.j2"))
    pages = {template.stem: render(template, evidence) for template in templates}
    for name, text in pages.items():
        write_text(folder / name, text)
