"""How long runs take, judged by the recorded ones."""

from collections import defaultdict
from collections.abc import Iterable
from statistics import fmean

from dlbench import identity
from dlbench.report.jobs import EMBEDDED, Job
from dlbench.report.results import Result

Key = tuple[str | bool, ...]


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
            sizes, scientific = result.manifest["data"]["sizes"], result.manifest["scientific"]
            is_embedded = result.provenance == EMBEDDED
            if not is_embedded:
                whole = sizes["train"] / scientific["data"].get("fraction", 1)
                self._real_sizes.setdefault(result.data, {**sizes, "train": whole})
            training = result.training["seconds"] / (result.training["epochs"] * sizes["train"])
            for key in _keys(identity.configuration_id(scientific), result.experiment, is_embedded):
                self._trainings[key].append(training)
            for key in _keys(result.configuration, result.experiment, is_embedded):
                self._evaluations[key].append(result.result["seconds"] / sizes["test"])

    def training(self, job: Job) -> float | None:
        """How many seconds its training takes; None if nothing like it was measured."""
        sizes, pace = self._sizes(job), _first(self._trainings, _keys(job.training, job.experiment, job.is_embedded))
        return pace * job.config["trainer"]["epochs"] * sizes["train"] if sizes and pace is not None else None

    def evaluation(self, job: Job) -> float | None:
        """How many seconds its evaluation takes; None if nothing like it was measured."""
        keys = _keys(job.configuration, job.experiment, job.is_embedded)
        sizes, pace = self._sizes(job), _first(self._evaluations, keys)
        return pace * sizes["test"] if sizes and pace is not None else None

    def _sizes(self, job: Job) -> dict[str, float] | None:
        if job.is_embedded:
            return {**job.embedded_sizes}
        sizes = self._real_sizes.get(job.data)
        return {**sizes, "train": sizes["train"] * job.fraction} if sizes else None


def _keys(configuration: str, experiment: str, is_embedded: bool) -> tuple[Key, ...]:
    return (configuration, is_embedded), (experiment, is_embedded), (experiment,)


def _first(paces: dict[Key, list[float]], keys: Iterable[Key]) -> float | None:
    return next((fmean(paces[key]) for key in keys if key in paces), None)
