"""How long runs take, judged by the recorded ones."""

from collections import defaultdict
from collections.abc import Iterable
from statistics import fmean

from dlbench import identity
from dlbench.report.evidence import REAL, STAND_IN, SUBSTITUTES
from dlbench.report.jobs import EMBEDDED, Job
from dlbench.report.results import Result

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
            if result.provenance not in (EMBEDDED, *SUBSTITUTES):
                whole = sizes["train"] / result.config["data"].get("fraction", 1)
                self._real_sizes.setdefault(result.data, {**sizes, "train": whole})
            # Pictures of another split cost what they cost; other utterances are shorter, or longer.
            kind = result.provenance if result.provenance in (EMBEDDED, STAND_IN) else REAL
            training = result.training["seconds"] / (result.training["epochs"] * sizes["train"])
            for key in _keys(identity.configuration_id(result.identity), result.experiment, kind):
                self._trainings[key].append(training)
            for key in _keys(result.configuration, result.experiment, kind):
                self._evaluations[key].append(result.result["seconds"] / sizes["test"])

    def training(self, job: Job) -> float | None:
        """How many seconds its training takes; None if nothing like it was measured."""
        keys = _keys(job.training, job.experiment, _kind(job))
        sizes, pace = self._sizes(job), _first(self._trainings, keys)
        return pace * job.config["trainer"]["epochs"] * sizes["train"] if sizes and pace is not None else None

    def evaluation(self, job: Job) -> float | None:
        """How many seconds its evaluation takes; None if nothing like it was measured."""
        keys = _keys(job.configuration, job.experiment, _kind(job))
        sizes, pace = self._sizes(job), _first(self._evaluations, keys)
        return pace * sizes["test"] if sizes and pace is not None else None

    def _sizes(self, job: Job) -> dict[str, float] | None:
        if job.is_embedded:
            return {**job.embedded_sizes}
        sizes = self._real_sizes.get(job.data)
        return {**sizes, "train": sizes["train"] * job.fraction} if sizes else None


def _kind(job: Job) -> str:
    return EMBEDDED if job.is_embedded else REAL


def _keys(configuration: str, experiment: str, kind: str) -> tuple[Key, ...]:
    return (configuration, kind), (experiment, kind), (experiment,)


def _first(paces: dict[Key, list[float]], keys: Iterable[Key]) -> float | None:
    return next((fmean(paces[key]) for key in keys if key in paces), None)
