"""The jobs of a sweep in processes of their own: no order of jobs and no number of processes changes a result."""

import os
import signal
import sys
import threading
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing.connection import wait as wait_for_any
from multiprocessing.process import BaseProcess
from typing import Any

from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.types import HydraContext
from joblib import cpu_count
from omegaconf import DictConfig, OmegaConf, open_dict

from dlbench.environment import PROCESSES, end_with_parent, interrupted_by_signals, start_process
from dlbench.errors import ConfigError, SweepError
from dlbench.sweep.job import BUSY, FAILED, Job, JobOutcome, Words, perform

PRELOADED = ["dlbench.run", "torch.utils.tensorboard", "torchvision"]
IS_BUSY = 75
"""The exit code of a process whose run another one makes (EX_TEMPFAIL)."""
KILLED = "its process was killed, twice, the second time with no other beside it; is there enough memory?"


@dataclass(frozen=True)
class _Group:
    """Jobs of one training: one process makes them, one after the other, and none idles behind another's lock.

    ``is_busy``: another process was at it, of another start of this sweep perhaps, so it is waited for when nothing
    else is left. ``has_died``: its process did, perhaps for lack of memory that others used up; it is tried alone.
    """

    jobs: tuple[Job, ...]
    is_busy: bool = False
    has_died: bool = False


def launch(
    context: HydraContext, master: DictConfig, n_jobs: int | None, job_overrides: Sequence[Sequence[str]], first: int
) -> list[JobReturn]:
    """Run all jobs side by side; each return value is a `dlbench.sweep.job.JobOutcome`.

    Args:
        context: Hydra's.
        master: The sweep's configuration.
        n_jobs: How many processes work at a time; None: as many as the cores carry, each with its threads.
        job_overrides: The overrides of each job.
        first: The number of the first.

    Raises:
        ConfigError: ``n_jobs`` is no number of processes, or something has no value.
        SweepError: The process that looks at the configurations has died.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the same command goes on where it was.
    """
    if n_jobs is not None and not (isinstance(n_jobs, int) and n_jobs >= 1):
        raise ConfigError(f"hydra.launcher.n_jobs={n_jobs}: choose 1 or more, or null for as many as the cores carry")
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
        jobs = _described(plain, [list(overrides) for overrides in job_overrides], words)
        groups: dict[str, list[Job]] = defaultdict(list)
        for job in jobs:
            if groups[job.training] and plain[job.number].rerun == "always":
                composed[job.number].rerun = "never"  # the first of a training makes it anew, which must not be lost
            groups[job.training].append(job)
        at_a_time = n_jobs or max(1, int(cpu_count()) // max(1, *(job.threads for job in jobs)))
        _make_all([_Group(tuple(group)) for group in groups.values()], at_a_time, composed, context, words)
    return [_returned(config, words.outcome(number)) for number, config in composed.items()]


def _described(configs: dict[int, DictConfig], overrides: Sequence[Sequence[str]], words: Words) -> list[Job]:
    """What each job is; told by a process that has imported torch, so that this one need not."""
    plain = [OmegaConf.to_container(each, resolve=True, throw_on_missing=True) for each in configs.values()]
    process = PROCESSES.Process(target=_describe, args=(list(configs), overrides, plain, words), daemon=True)
    start_process(process)
    process.join()
    if process.exitcode:
        raise SweepError(f"a process of the sweep ended with exit code {process.exitcode}; is there memory left?")
    return [job for job in words.jobs() if job.number in configs]


def _describe(numbers: Sequence[int], overrides: Sequence[Sequence[str]], configs: Sequence[Any], words: Words) -> None:
    with suppress(KeyboardInterrupt):
        _begin()
        for number, own, config in zip(numbers, overrides, configs, strict=True):
            words.leave("job", number, asdict(Job.of(number, own, config)))


def _begin() -> None:
    """What a process does first: see `dlbench.environment.start_process`."""
    if hasattr(signal, "pthread_sigmask"):
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    end_with_parent()
    setup_globals()


def _make_all(
    groups: Sequence[_Group], n_jobs: int, composed: dict[int, DictConfig], context: HydraContext, words: Words
) -> None:
    """Have every job leave word of its outcome. A process's death fails its own job at most."""
    waiting, running = list(groups), dict[Any, tuple[BaseProcess, _Group]]()  # by sentinel
    try:
        while waiting or running:
            while (
                waiting
                and len(running) < n_jobs
                and _maystart_process(waiting[0], [group for _, group in running.values()])
            ):
                group = waiting.pop(0)
                arguments = ([composed[job.number] for job in group.jobs], context, group.is_busy)
                process = PROCESSES.Process(target=_make, args=arguments)
                start_process(process)
                running[process.sentinel] = process, group
            for sentinel in wait_for_any(list(running)):
                process, group = running.pop(sentinel)
                process.join()
                if left := _left(group, process.exitcode, words):
                    waiting.append(left)
            waiting.sort(key=lambda group: (group.is_busy, group.has_died))
    finally:
        # Where this was interrupted. Trainings go on after their last checkpoint, so they need no time to finish.
        for process, _ in running.values():
            process.kill()
            process.join()


def _maystart_process(group: _Group, running: Sequence[_Group]) -> bool:
    if group.is_busy:
        return all(each.is_busy for each in running)
    return not running if group.has_died else not any(each.has_died for each in running)


def _left(group: _Group, exit_code: int | None, words: Words) -> _Group | None:
    """What is to be made again of a group whose process has ended."""
    jobs = [job for job in group.jobs if words.outcome(job.number) is None]
    if not jobs:
        return None
    for job in jobs:
        words.forget(job.number)
    if exit_code == IS_BUSY:
        return _Group(tuple(jobs), is_busy=True, has_died=group.has_died)
    if not group.has_died:
        return _Group(tuple(jobs), has_died=True)
    error = KILLED if exit_code is None or exit_code < 0 else f"its process ended with exit code {exit_code}, twice"
    words.leave("outcome", jobs[0].number, asdict(JobOutcome(FAILED, error=error)))
    return _Group(tuple(jobs[1:])) if jobs[1:] else None


def _make(configs: Sequence[DictConfig], context: HydraContext, wait: bool) -> None:
    """What a process does."""
    task = partial(perform, wait=wait)
    try:
        _begin()
        for config in configs:
            returned = run_job(task, config, "hydra.sweep.dir", "hydra.sweep.subdir", context)
            if returned.return_value.state == BUSY:
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
