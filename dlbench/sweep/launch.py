"""The jobs of a sweep in processes of their own, here or on other machines; no order of them changes a result.

What all launchers share: which jobs a process makes, and what becomes of one that ends without a word. Processes of
this machine are here, those of SLURM in `dlbench.sweep.slurm`, of Ray in `dlbench.sweep.ray_cluster`.
"""

import os
import signal
import sys
import threading
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from multiprocessing.connection import wait as wait_for_any
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol

from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.types import HydraContext
from joblib import cpu_count
from omegaconf import DictConfig, OmegaConf, open_dict

from dlbench.environment import PROCESSES, end_with_parent, interrupted_by_signals, start_process
from dlbench.errors import ConfigError
from dlbench.sweep.job import BUSY, FAILED, Job, JobOutcome, Words, perform

PRELOADED = ["dlbench.run", "torch.utils.tensorboard", "torchvision"]
IS_BUSY = 75
"""The exit code of a process whose run another one makes (EX_TEMPFAIL)."""
KILLED = "its process was killed, twice, the second time with no other beside it; is there enough memory?"


@dataclass(frozen=True, eq=False)
class Work:
    """Jobs of one training: one process makes them, one after the other, and none idles behind another's lock.

    ``wait``: another process was at it, of another start of this sweep perhaps, so it is waited for when nothing else
    is left. ``has_died``: its process did, perhaps for lack of memory that others used up.
    """

    jobs: tuple[Job, ...]
    configs: tuple[DictConfig, ...]
    context: HydraContext
    wait: bool = False
    has_died: bool = False
    folder: str = field(default_factory=lambda: str(Path.cwd()))

    @property
    def words(self) -> Words:
        """Where its jobs leave word."""
        return Words.of_sweep(self.configs[0].hydra)

    @property
    def threads(self) -> int:
        """The cores that it needs."""
        return max(job.threads for job in self.jobs)

    def left(self, **changed: Any) -> "Work | None":
        """What of it has left no word of its end; None if all has."""
        pairs = zip(self.jobs, self.configs, strict=True)
        remaining = [pair for pair in pairs if self.words.outcome(pair[0].number) is None]
        if not remaining:
            return None
        jobs, configs = zip(*remaining, strict=True)
        return replace(self, jobs=jobs, configs=configs, **changed)

    def __call__(self) -> str | None:
        """Make what is left of it, in the folder in which the sweep was started; `BUSY` where another process does.

        Raises:
            KeyboardInterrupt: Ctrl-C or SIGTERM; the same work goes on from its last checkpoint.
        """
        os.chdir(self.folder)
        setup_globals()
        left = self.left()  # where SLURM has started this again
        for config in left.configs if left else ():
            task = partial(perform, wait=self.wait)
            returned = run_job(task, config, "hydra.sweep.dir", "hydra.sweep.subdir", self.context)
            if returned.return_value.state == BUSY:
                return BUSY
        return None


class Workers(Protocol):
    """Where work is made: processes of this machine, or those of an engine on others."""

    shares_memory: bool
    """Whether what runs beside each other may take memory from each other, so that what has died is tried alone."""

    def room(self, jobs: Sequence[Job]) -> int:
        """How many works are given at a time."""

    def start(self, works: Sequence[Work]) -> None:
        """Give so many more."""

    def wait(self) -> Mapping[Work, str]:
        """Those that have ended, one at least: `BUSY`, or what to say if one left no word for the second time."""

    def stop(self) -> None:
        """End all that is left. Trainings go on after their last checkpoint, so they need no time to finish."""


def launch(
    context: HydraContext,
    master: DictConfig,
    workers: Workers,
    job_overrides: Sequence[Sequence[str]],
    first: int,
) -> list[JobReturn]:
    """Run all jobs; each return value is a `dlbench.sweep.job.JobOutcome`.

    Args:
        context: Hydra's.
        master: The sweep's configuration.
        workers: Where they run.
        job_overrides: The overrides of each job.
        first: The number of the first.

    Raises:
        ConfigError: Something has no value, or the engine does not take what it is asked for.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the same command goes on where it was.
    """
    setup_globals()
    PROCESSES.set_forkserver_preload(PRELOADED)
    server = threading.Thread(target=start_process, args=(PROCESSES.Process(target=int),), daemon=True)
    server.start()  # it imports while configurations are composed
    words = Words.of_sweep(master.hydra)
    composed: dict[int, DictConfig] = {}
    for number, overrides in enumerate(job_overrides, start=first):
        composed[number] = config = context.config_loader.load_sweep_config(master, list(overrides))
        with open_dict(config):
            config.hydra.job.id, config.hydra.job.num = str(number), number
    plain = {number: _task_config(config) for number, config in composed.items()}
    with interrupted_by_signals():
        server.join()
        jobs = []
        for (number, config), overrides in zip(plain.items(), job_overrides, strict=True):
            settings: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
            jobs.append(Job.of(number, overrides, settings))
        groups: dict[str, list[Job]] = defaultdict(list)
        for job in jobs:
            words.leave("job", job.number, asdict(job))
            if groups[job.training] and plain[job.number].rerun == "always":
                composed[job.number].rerun = "never"  # the first of a training makes it anew, which must not be lost
            groups[job.training].append(job)
        works = [Work(tuple(group), tuple(composed[job.number] for job in group), context) for group in groups.values()]
        _make_all(works, workers, workers.room(jobs))
    return [_returned(config, words.outcome(number)) for number, config in composed.items()]


def _make_all(works: Sequence[Work], workers: Workers, room: int) -> None:
    """Have every job leave word of its outcome. A process's death fails its own job at most."""
    waiting, running = list(works), set[Work]()
    try:
        while waiting or running:
            starting: list[Work] = []
            while (
                waiting
                and len(running) + len(starting) < room
                and _may_start(waiting[0], {*running, *starting}, workers.shares_memory)
            ):
                starting.append(waiting.pop(0))
            workers.start(starting)
            running |= {*starting}
            for work, cause in workers.wait().items():
                running.remove(work)
                if left := _left(work, cause):
                    waiting.append(left)
            waiting.sort(key=lambda work: (work.wait, work.has_died))
    finally:
        workers.stop()  # what is left where this was interrupted


def _may_start(work: Work, running: Collection[Work], shares_memory: bool) -> bool:
    if work.wait:
        return all(each.wait for each in running)
    if not shares_memory:
        return True
    return not running if work.has_died else not any(each.has_died for each in running)


def _left(work: Work, cause: str) -> Work | None:
    """What is to be made again of a work that has ended."""
    left = work.left(has_died=work.has_died or cause != BUSY, wait=cause == BUSY)
    if left is None:
        return None
    for job in left.jobs:
        left.words.forget(job.number)
    if cause == BUSY or not work.has_died:
        return left
    left.words.leave("outcome", left.jobs[0].number, asdict(JobOutcome(FAILED, error=cause)))
    return left.left(has_died=False)


class Processes:
    """Processes of this machine.

    Args:
        n_jobs: How many work at a time; None: as many as the cores carry, each with its threads.

    Raises:
        ConfigError: ``n_jobs`` is no number of processes.
    """

    shares_memory = True

    def __init__(self, n_jobs: int | None) -> None:
        if n_jobs is not None and not (isinstance(n_jobs, int) and n_jobs >= 1):
            text = f"hydra.launcher.n_jobs={n_jobs}: choose 1 or more, or null for as many as the cores carry"
            raise ConfigError(text)
        self.n_jobs = n_jobs
        self._running: dict[Any, tuple[BaseProcess, Work]] = {}  # by sentinel

    def room(self, jobs: Sequence[Job]) -> int:
        """See `Workers`."""
        return self.n_jobs or as_cores_carry(job.threads for job in jobs)

    def start(self, works: Sequence[Work]) -> None:
        """See `Workers`."""
        for work in works:
            process = PROCESSES.Process(target=_make, args=(work,))
            start_process(process)
            self._running[process.sentinel] = process, work

    def wait(self) -> dict[Work, str]:
        """See `Workers`."""
        ended: dict[Work, str] = {}
        for sentinel in wait_for_any(list(self._running)):
            process, work = self._running.pop(sentinel)
            process.join()
            code = process.exitcode
            twice = KILLED if code is None or code < 0 else f"its process ended with exit code {code}, twice"
            ended[work] = BUSY if code == IS_BUSY else twice
        return ended

    def stop(self) -> None:
        """See `Workers`."""
        for process, _ in self._running.values():
            process.kill()
            process.join()
        self._running.clear()


def as_cores_carry(threads: Iterable[int]) -> int:
    """How many jobs of so many threads each this machine's cores carry side by side."""
    return max(1, int(cpu_count()) // max(threads, default=1))


def _make(work: Work) -> None:
    """What a process does: first see `dlbench.environment.start_process`."""
    try:
        if hasattr(signal, "pthread_sigmask"):
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        end_with_parent()
        if work() == BUSY:
            sys.exit(IS_BUSY)
    except KeyboardInterrupt:
        os._exit(130)  # without a traceback; the parent says what becomes of the work


def _task_config(config: DictConfig) -> DictConfig:
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def _returned(config: DictConfig, outcome: JobOutcome | None) -> JobReturn:
    """What Hydra's sweepers look at."""
    overrides = list(config.hydra.overrides.task)
    returned = JobReturn(overrides=overrides, cfg=_task_config(config), status=JobStatus.COMPLETED)
    returned.return_value = outcome
    return returned
