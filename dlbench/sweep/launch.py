"""The jobs of a sweep on a pool of processes: no order of jobs and no number of workers changes a result."""

import tempfile
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, setup_globals
from hydra_plugins.hydra_joblib_launcher._core import execute_job
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.process_executor import TerminatedWorkerError
from omegaconf import OmegaConf

from dlbench.environment import end_with_parent, interrupted_by_sigterm
from dlbench.errors import SweepError
from dlbench.paths import folder
from dlbench.sweep.job import FAILED, Job, JobOutcome, forget, perform, started
from dlbench.sweep.progress import Progress, show

if TYPE_CHECKING:
    from hydra_plugins.dlbench_launcher import SideBySideLauncher

Made = list[tuple[int, JobOutcome]]


def launch(
    launcher: "SideBySideLauncher", job_overrides: Sequence[Sequence[str]], initial_job_idx: int
) -> list[JobReturn]:
    """Run all jobs side by side and print what they came to.

    Raises:
        SweepError: At least one run failed.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the same command goes on where it was.
    """
    setup_globals()
    # Loky replaces a worker whose memory has grown by a fresh one between two jobs, and warns; nothing is lost by it.
    warnings.filterwarnings("ignore", "A worker stopped while some jobs were given", UserWarning)
    assert launcher.config is not None
    jobs = [_job(launcher, initial_job_idx + index, overrides) for index, overrides in enumerate(job_overrides)]
    workers = launcher.n_jobs or _free_workers(jobs)
    sweep_folder = folder(str(launcher.config.hydra.sweep.dir))
    sweep_folder.mkdir(parents=True, exist_ok=True)
    outcomes: dict[int, JobOutcome] = {}
    with (
        interrupted_by_sigterm(),
        tempfile.TemporaryDirectory(dir=sweep_folder, prefix="jobs-") as begun,
        Progress(jobs, Path(begun)) as progress,
    ):
        for job, outcome in _make_all(launcher, jobs, workers, Path(begun)):
            outcomes[job.number] = outcome
            progress.add(job, outcome)
    show(jobs, outcomes, verbose=any(job.config["verbose"] for job in jobs))
    if failed := sum(outcome.state == FAILED for outcome in outcomes.values()):
        raise SweepError(f"{failed} of {len(jobs)} runs failed (see above); the same command tries them again")
    return [_returned(job, outcomes[job.number]) for job in jobs]


def _job(launcher: "SideBySideLauncher", number: int, overrides: Sequence[str]) -> Job:
    assert launcher.config is not None
    assert launcher.hydra_context is not None
    composed = launcher.hydra_context.config_loader.load_sweep_config(launcher.config, list(overrides))
    config = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    return Job(number, tuple(overrides), plain)


def _free_workers(jobs: Sequence[Job]) -> int:
    """As many as the cores carry, each with its threads."""
    threads = max(int(job.config["trainer"]["threads"]) for job in jobs)
    return max(1, int(joblib.cpu_count()) // threads)


def _make_all(
    launcher: "SideBySideLauncher", jobs: Sequence[Job], workers: int, folder: Path
) -> Iterator[tuple[Job, JobOutcome]]:
    """Each job with its outcome, in the order they end; a worker's death fails its own job at most.

    Jobs of one training go to one worker, one after the other: none idles behind another's lock.

    With a worker that dies all others end, and which of them died first is not told; nor need it be to blame: it was
    probably killed for lack of memory, which another may have used up. So whatever was at work goes on alone, one after
    the other: what dies then is to blame.
    """
    waiting = {job.number: job for job in jobs}
    suspects: set[str] = set()
    while waiting:
        groups: dict[str, list[Job]] = defaultdict(list)
        for job in waiting.values():
            groups[job.training].append(job)
        alone = [groups[training] for training in groups if training in suspects][:1]
        at_once = alone or list(groups.values())[: None if workers > 1 else 1]
        try:
            for made in _pool(launcher, at_once, workers, folder):
                for number, outcome in made:
                    yield waiting.pop(number), outcome
        except TerminatedWorkerError:
            # The last one begun was at work; those before it in its group are done and will be looked up. Where no job
            # has begun, the first ones are at fault.
            left = [[job for job in group if job.number in waiting] for group in at_once]
            begun = [job for group in left for job in [job for job in group if started(folder, job)][-1:]]
            begun = begun or [group[0] for group in left if group]
            suspects |= {job.training for job in begun}
            for job in begun if alone else ():
                error = (
                    "its process was killed, twice, the second time with no other beside it; is there enough memory?"
                )
                yield waiting.pop(job.number), JobOutcome(FAILED, error=error)
            for job in jobs:
                forget(folder, job)


def _pool(launcher: "SideBySideLauncher", groups: list[list[Job]], workers: int, folder: Path) -> Iterator[Made]:
    """What each group came to, in processes of their own: joblib would make a lone one in this process."""
    pool = joblib.Parallel(
        n_jobs=max(2, min(workers, len(groups))), backend="loky", batch_size=1, return_as="generator_unordered"
    )
    task = partial(perform, folder=folder)
    arguments = (launcher.hydra_context, launcher.config, task, Singleton.get_state())
    try:
        yield from pool(joblib.delayed(_make)(group, *arguments) for group in groups)
    except KeyboardInterrupt:
        # Trainings go on after their last checkpoint, so they need no time to finish.
        get_reusable_executor().shutdown(wait=False, kill_workers=True)
        raise


def _make(group: list[Job], *arguments: Any) -> Made:
    """Runs in a worker process."""
    end_with_parent()
    made = []
    for place, job in enumerate(group):
        # The first trains again if asked to; the others evaluate what it made, and must not throw it away.
        overrides = (*job.overrides, "rerun=never") if place and job.config["rerun"] == "always" else job.overrides
        made.append((job.number, execute_job(job.number, overrides, *arguments).return_value))
    return made


def _returned(job: Job, outcome: JobOutcome) -> JobReturn:
    """What Hydra's sweepers look at."""
    returned = JobReturn(overrides=job.overrides, status=JobStatus.COMPLETED)
    returned.return_value = outcome
    return returned
