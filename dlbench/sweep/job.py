"""One job of a sweep: a run in a worker process, whose end, good or bad, is a value."""

import contextlib
import io
import json
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import filter_overrides
from omegaconf import DictConfig, OmegaConf

from dlbench import identity
from dlbench.cli import one_line
from dlbench.errors import DlbenchError
from dlbench.files import atomic_path

FAILED = "failed"


@dataclass(frozen=True)
class Job:
    """One run of a sweep: its number, its overrides, and its composed configuration."""

    number: int
    overrides: tuple[str, ...]
    config: dict[str, Any]

    @property
    def training(self) -> str:
        """The identity of its training, as far as the configuration tells; jobs may share it."""
        return identity.digest({**self._meaning, "delivery": self.config["data"]})

    @property
    def configuration(self) -> str:
        """The same for jobs that are averaged over: see `dlbench.identity.compared_id`. Other data is another row."""
        compared = identity.compared_id(self._meaning, self.config["evaluation"])
        return identity.digest({"compared": compared, "delivery": self.config["data"]})

    @cached_property
    def _meaning(self) -> dict[str, Any]:
        return identity.training(self.config, fingerprint="", device="")


def labels(jobs: Sequence[Job]) -> dict[int, tuple[str, ...]]:
    """For each job, by number, the overrides that not all jobs share."""
    own = {job.number: [word.lstrip("+") for word in filter_overrides(job.overrides)] for job in jobs}
    shared = set.intersection(*map(set, own.values())) if len(jobs) > 1 else set()
    return {number: tuple(word for word in words if word not in shared) for number, words in own.items()}


@dataclass(frozen=True)
class JobOutcome:
    """What a job came to.

    ``state`` is that of the training (finished, diverged) or ``failed``; ``result`` the evaluation's; ``error`` the
    cause in one line and ``details`` its traceback, if it was not foreseen; ``notices`` what the run had to say.
    """

    state: str
    run: str | None = None
    trained: bool = False
    result: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    details: str | None = None
    notices: tuple[str, ...] = ()


def perform(config: DictConfig, folder: Path) -> JobOutcome:
    """Make the run; leave word in ``folder`` that it began, and where its curves are."""
    number = HydraConfig.get().job.num
    _announce(folder, number)
    said = io.StringIO()
    try:
        # Here, not above: the parent process does without torch.
        from dlbench.records import history
        from dlbench.run import execute, prepare

        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            plan = prepare(OmegaConf.merge(config, {"trainer": {"progress": "none"}}))  # type: ignore[arg-type]
            curves = plan.record.metrics
            _announce(folder, number, curves=str(curves.resolve()), epochs_before=len(history.read(curves)))
            outcome = execute(plan)
    except Exception as error:
        cause = one_line(error) or f"{type(error).__name__}: {error}"
        details = None if isinstance(error, DlbenchError) else traceback.format_exc()
        return JobOutcome(FAILED, error=cause, details=details, notices=_notices(said))
    return JobOutcome(
        outcome.result["state"], outcome.record.id, outcome.trained, outcome.result, notices=_notices(said)
    )


def started(folder: Path, job: Job) -> dict[str, Any] | None:
    """What a begun job left word of: ``curves`` and ``epochs_before``, once known; None if it has not begun."""
    try:
        word: dict[str, Any] = json.loads(_word_of(folder, job.number).read_text())
    except FileNotFoundError:
        return None
    return word


def forget(folder: Path, job: Job) -> None:
    """Let a job count as not begun."""
    _word_of(folder, job.number).unlink(missing_ok=True)


def _announce(folder: Path, number: int, **word: Any) -> None:
    with atomic_path(_word_of(folder, number)) as temporary:
        temporary.write_text(json.dumps({"begun": True, **word}))


def _word_of(folder: Path, number: int) -> Path:
    return folder / f"{number}.json"


def _notices(said: io.StringIO) -> tuple[str, ...]:
    lines = said.getvalue().splitlines()
    return tuple(line.removeprefix("dlbench: ") for line in lines if line.startswith("dlbench: "))
