"""The reports and the records at hand, brought together: which results speak for which configuration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from hydra.errors import HydraException

from dlbench.cli import explain
from dlbench.config import configuration_of
from dlbench.errors import ConfigError
from dlbench.report.results import Collection, Result, ResultsOf, by_configuration
from dlbench.report.schema import Configuration, Overrides, Report, Substitute

REAL = "verified"
OTHER_SPLIT, STAND_IN = "other split", "stand-in"
SUBSTITUTES = (OTHER_SPLIT, STAND_IN)
"""Data that may be shown in place of the real, and is held against nothing published."""


@dataclass(frozen=True)
class Substituted:
    """What stands in for a configuration: a substitute by its heading, and its results, a seed each."""

    heading: str
    substitute: Substitute
    results: Sequence[Result]


@dataclass(frozen=True)
class Evidence:
    """Reports by name, and what was collected; only results on the real data speak for a report's configurations."""

    reports: Mapping[str, Report]
    collection: Collection

    @cached_property
    def real(self) -> dict[str, list[Result]]:
        """Results on the real data, by configuration, a seed each."""
        return by_configuration(self._on(REAL))

    @cached_property
    def elsewhere(self) -> dict[tuple[str, str], dict[str, list[Result]]]:
        """The same on the data of each substitute, by report and heading: of its provenance, and made as it says."""
        return {
            (name, heading): by_configuration(
                result for result in self._on(substitute.provenance) if _is_made_as(result, substitute)
            )
            for name, report in self.reports.items()
            for heading, substitute in report.substitutes.items()
        }

    @cached_property
    def others(self) -> dict[str, dict[str, list[Result]]]:
        """Results on other data, by provenance and configuration, whether or not a report has a place for them."""
        return {provenance: by_configuration(self._on(provenance)) for provenance in SUBSTITUTES}

    def _on(self, provenance: str) -> list[Result]:
        return [result for result in self.collection.results if result.provenance == provenance]

    def results_of(self, name: str, variant: str | None = None) -> ResultsOf:
        """What gives the results of a report's configurations, as the report has them or in a variant.

        Args:
            name: The report's.
            variant: One of its ``variants``; a configuration that it does not concern has no results in it.
        """
        report = self.reports[name]
        overrides = report.variants[variant].overrides if variant else ()

        def lookup(configuration: str) -> list[Result]:
            wanted = in_variant(report.configurations[configuration], overrides)
            return [] if wanted is None else self._found(name, configuration, wanted, self.real)

        return lookup

    def _found(
        self, name: str, configuration: str, wanted: Configuration, among: Mapping[str, list[Result]]
    ) -> list[Result]:
        if wanted.planned:
            return []
        try:
            return among.get(configuration_of(wanted.experiment, wanted.overrides), [])
        except HydraException as error:
            raise ConfigError(f"{name}/report.yaml: {configuration}: {explain(error)}") from error

    def substitutes_of(self, name: str, substitute: str) -> ResultsOf:
        """What gives the results of one of a report's ``substitutes``, of the configurations that it stands in for."""
        report = self.reports[name]
        given = report.substitutes[substitute]

        def lookup(configuration: str) -> list[Result]:
            if configuration not in given.of:
                return []
            wanted = _with(report.configurations[configuration], given.overrides)
            return self._found(name, configuration, wanted, self.elsewhere[name, substitute])

        return lookup

    def substituted(self, name: str, configuration: str) -> Substituted | None:
        """What stands in for a configuration that has no results of its own; None where nothing was run for it."""
        if self.results_of(name)(configuration):
            return None
        for heading, substitute in self.reports[name].substitutes.items():
            if results := self.substitutes_of(name, heading)(configuration):
                return Substituted(heading, substitute, results)
        return None

    def concerned(self, name: str, variant: str, configuration: str) -> bool:
        """Whether a variant concerns a configuration."""
        report = self.reports[name]
        return in_variant(report.configurations[configuration], report.variants[variant].overrides) is not None


def _is_made_as(result: Result, substitute: Substitute) -> bool:
    """Whether a record says of its data what the substitute says of its own."""
    made = result.manifest["data"].get("stand_in") or {}
    return all(key in made and made[key] == value for key, value in substitute.stand_in.items())


def in_variant(configuration: Configuration, overrides: Overrides) -> Configuration | None:
    """The configuration with the overrides in place of its own of the same keys; None if it has none of these keys."""
    keys = {_key(override) for override in overrides}
    if keys and not keys & {_key(override) for override in configuration.overrides}:
        return None
    return _with(configuration, overrides)


def _with(configuration: Configuration, overrides: Overrides) -> Configuration:
    """The configuration with the overrides in place of its own of the same keys."""
    keys = {_key(override) for override in overrides}
    kept = tuple(override for override in configuration.overrides if _key(override) not in keys)
    return configuration.model_copy(update={"overrides": (*kept, *overrides)})


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")
