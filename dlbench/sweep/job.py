"""One job of a sweep: a run whose end, good or bad, is a value, and the folder where all jobs leave word."""

import contextlib
import io
import json
import math
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from dlbench import identity
from dlbench.cli import one_line
from dlbench.errors import DlbenchError
from dlbench.files import atomic_path

FAILED, BUSY = "failed", "busy"


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    Args:
        number: Its place in the sweep.
        overrides: What the command line and the sweep set.
        training: The identity of its training, as far as the configuration tells; jobs may share it.
        configuration: The same for jobs that are averaged over: see `dlbench.identity.compared_id`. Other data is
            another row.
        epochs: How long it trains.
        threads: How many cores it uses.
    """

    number: int
    overrides: tuple[str, ...]
    training: str
    configuration: str
    epochs: int
    threads: int

    @classmethod
    def of(cls, number: int, overrides: Sequence[str], config: Mapping[str, Any]) -> "Job":
        """The job that a composed configuration describes; one that cannot be run, as it will say, is like no other."""
        try:
            meaning = identity.training(config, fingerprint="", device="")
            compared = identity.compared_id(meaning, config["evaluation"])
            training = identity.digest({**meaning, "delivery": config["data"]})
            configuration = identity.digest({"compared": compared, "delivery": config["data"]})
            trainer = config["trainer"]
            epochs, threads = int(trainer["epochs"]), int(trainer["threads"]) * int(trainer.get("devices", 1))
        except Exception:
            return cls(number, tuple(overrides), f"job {number}", f"job {number}", epochs=1, threads=1)
        return cls(number, tuple(overrides), training, configuration, epochs, threads)


@dataclass(frozen=True)
class JobOutcome:
    """What a job came to; as a number its objective, which sweepers that search ask for.

    Args:
        state: That of the training (``finished``, ``diverged``), ``failed``, or ``busy``: another process makes it.
        run: The record's ID.
        trained: Whether anything had to be trained.
        folder: Where the record lies among others.
        data: What the data is, in words.
        metrics: Those of the evaluation.
        step: Where the loss was lost.
        metric: What a search goes by.
        mode: Whether the highest (``max``) or the lowest (``min``) of it is the best.
        objective: Its value; None where there is none.
        error: The cause of a failure in one line.
        details: Its traceback, if it was not foreseen and ``verbose=true`` asks for it.
        notices: What the run had to say.
    """

    state: str
    run: str | None = None
    trained: bool = False
    folder: str | None = None
    data: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    step: int | None = None
    metric: str | None = None
    mode: str | None = None
    objective: float | None = None
    error: str | None = None
    details: str | None = None
    notices: tuple[str, ...] = ()

    def __float__(self) -> float:
        return math.nan if self.objective is None else float(self.objective)


class Words:
    """The folder of a sweep where every job leaves word, whatever process or machine it runs on.

    Args:
        folder: All jobs and who started them see it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._jobs: dict[int, Job] = {}

    @classmethod
    def of_sweep(cls, hydra: Any) -> "Words":
        """Those of the sweep that a configuration of Hydra's is of: see `dlbench.sweep.watch.Watch`."""
        return cls(Path(hydra.callbacks.watch.folder))

    def leave(self, kind: str, number: int, word: Mapping[str, Any]) -> None:
        """Leave word: ``job``, what it is, ``curves``, that it has begun, or ``outcome``."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(self._path(kind, number)) as temporary:
            temporary.write_text(json.dumps(word), encoding="utf-8")

    def read(self, kind: str, number: int) -> dict[str, Any] | None:
        """The word of a job; None if it has left none."""
        try:
            word: dict[str, Any] = json.loads(self._path(kind, number).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return word

    def forget(self, number: int) -> None:
        """Let a job count as not begun."""
        self._path("curves", number).unlink(missing_ok=True)

    def jobs(self) -> list[Job]:
        """All jobs known so far, by number."""
        numbers = {int(path.name.partition(".")[0]) for path in self.folder.glob("*.job.json")}
        for number in numbers - self._jobs.keys():  # each is read once: it stays what it is
            if word := self.read("job", number):
                self._jobs[number] = Job(**word | {"overrides": tuple(word["overrides"])})
        return [self._jobs[number] for number in sorted(self._jobs)]

    def outcome(self, number: int) -> JobOutcome | None:
        """What a job came to; None as long as it is at work."""
        word = self.read("outcome", number)
        return JobOutcome(**word | {"notices": tuple(word["notices"])}) if word else None

    def _path(self, kind: str, number: int) -> Path:
        return self.folder / f"{number}.{kind}.json"


def perform(config: DictConfig, wait: bool = True) -> JobOutcome:
    """Make the run of a job, and leave word of what it is, that it began, and what it came to.

    Args:
        config: The composed configuration.
        wait: Whether to wait where another process makes this run; else the outcome is ``busy`` and no word is left.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM; the same sweep goes on from its last checkpoint.
    """
    hydra = HydraConfig.get()
    words, number, said = Words.of_sweep(hydra), int(hydra.job.num), io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        outcome = _outcome(config, list(hydra.overrides.task), words, number, wait)
    lines = said.getvalue().splitlines()
    notices = tuple(line.removeprefix("dlbench: ") for line in lines if line.startswith("dlbench: "))
    outcome = replace(outcome, notices=notices)
    if outcome.state != BUSY:
        words.leave("outcome", number, asdict(outcome))
    return outcome


def _outcome(config: DictConfig, overrides: Sequence[str], words: Words, number: int, wait: bool) -> JobOutcome:
    if words.read("job", number) is None:  # the launcher may have said it
        plain: Any = OmegaConf.to_container(config)
        words.leave("job", number, asdict(Job.of(number, overrides, plain)))
    try:
        # Here, not above: the parent process does without torch, unless code of a user's own imports it.
        from dlbench.records import history
        from dlbench.records.labels import data_line
        from dlbench.records.lock import BusyError
        from dlbench.run import execute
        from dlbench.run.plan import prepare

        if config.rerun == "always" and (words.read("curves", number) or {}).get("curves"):
            config.rerun = "never"  # a requeued job goes on with what it began anew
        words.leave("curves", number, {"curves": None, "epochs_before": 0})
        plan = prepare(OmegaConf.merge(config, {"trainer": {"progress": "none"}}))  # type: ignore[arg-type]
        curves = plan.record.metrics
        begun = {"curves": str(curves.resolve()), "epochs_before": len(history.read(curves))}
        words.leave("curves", number, begun)
        try:
            outcome = execute(plan, wait=wait)
        except BusyError:
            words.forget(number)
            return JobOutcome(BUSY)
    except Exception as error:
        cause = one_line(error) or f"{type(error).__name__}: {error}"
        is_asked = config.get("verbose") is True and not isinstance(error, DlbenchError)
        return JobOutcome(FAILED, error=cause, details=traceback.format_exc() if is_asked else None)
    result = outcome.result
    return JobOutcome(
        state=result["state"],
        run=outcome.record.id,
        folder=str(outcome.record.folder.parent),
        data=data_line(result["data"]),
        trained=outcome.trained,
        metrics=result["metrics"],
        step=result.get("step"),
        metric=outcome.metric,
        mode=outcome.mode,
        objective=outcome.objective,
    )


def labels(jobs: Sequence[Job]) -> dict[int, tuple[str, ...]]:
    """For each job, by number, the overrides that not all jobs share."""
    own = {job.number: [word.lstrip("+") for word in job.overrides] for job in jobs}
    shared = set.intersection(*map(set, own.values())) if len(jobs) > 1 else set()
    return {number: tuple(word for word in words if word not in shared) for number, words in own.items()}
