"""The reports and the records at hand, brought together: which results speak for which configuration."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from hydra.errors import HydraException

from dlbench.cli import explain
from dlbench.composition import configuration_of
from dlbench.errors import ConfigError
from dlbench.report.published import Configuration, Overrides, Report
from dlbench.report.results import Collection, Result, ResultsOf, by_configuration

REAL = "verified"


@dataclass(frozen=True)
class Evidence:
    """Reports by name, and what was collected; only results on the real data speak for a report's configurations."""

    reports: Mapping[str, Report]
    collection: Collection

    @cached_property
    def real(self) -> dict[str, list[Result]]:
        """Results on the real data, by configuration, a seed each."""
        return by_configuration(result for result in self.collection.results if result.provenance == REAL)

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
            if wanted is None or wanted.planned:
                return []
            try:
                return self.real.get(configuration_of(wanted.experiment, wanted.overrides), [])
            except HydraException as error:
                raise ConfigError(f"{name}/report.yaml: {configuration}: {explain(error)}") from error

        return lookup

    def concerned(self, name: str, variant: str, configuration: str) -> bool:
        """Whether a variant concerns a configuration."""
        report = self.reports[name]
        return in_variant(report.configurations[configuration], report.variants[variant].overrides) is not None


def in_variant(configuration: Configuration, overrides: Overrides) -> Configuration | None:
    """The configuration with the overrides in place of its own of the same keys; None if it has none of these keys."""
    if not overrides:
        return configuration
    keys = {_key(override) for override in overrides}
    if not keys & {_key(override) for override in configuration.overrides}:
        return None
    kept = tuple(override for override in configuration.overrides if _key(override) not in keys)
    return configuration.model_copy(update={"overrides": (*kept, *overrides)})


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")
