"""The work of a sweep as jobs of SLURM, submitted by submitit."""

import os
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import submitit
from submitit.core.utils import FailedJobError, FailedSubmissionError
from submitit.local.local import LOCAL_REQUEUE_RETURN_CODE

from dlbench.environment import is_time_over, requeue
from dlbench.errors import ConfigError
from dlbench.sweep.job import Job
from dlbench.sweep.launch import Work, as_cores_carry
from dlbench.terminal import say

SECONDS, SECONDS_OF_QUEUE = 1.0, 10.0
"""Between two looks for results, and at the queue, which tells of jobs that were killed."""
LARGEST_ARRAY = 1000
"""SLURM takes 1,001 by default (MaxArraySize)."""
OVER = {
    *("over", "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED"),
    *("NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT"),
}
"""States that a job does not leave by itself."""


class Slurm:
    """Jobs of SLURM, an array of them; each has the cores of its threads and devices.

    Those that run when their time is over, or that others are given precedence over, end after their last checkpoint
    and are requeued: the same job goes on. See ``conf/hydra/launcher/slurm.yaml`` for the arguments.

    Raises:
        ConfigError: There is no SLURM here, or an argument is none.
    """

    shares_memory = False

    def __init__(
        self,
        *,
        cluster: str,
        name: str,
        at_a_time: int,
        minutes: int,
        memory: float,
        gpus: int,
        partition: str | None,
        notice: int,
        requeues: int,
        more: dict[str, Any],
    ) -> None:
        least = {"at_a_time": (at_a_time, 1), "minutes": (minutes, 1), "gpus": (gpus, 0), "notice": (notice, 1)}
        for key, (value, lowest) in {**least, "requeues": (requeues, 0)}.items():
            if not isinstance(value, int) or value < lowest:
                raise ConfigError(f"hydra.launcher.{key}={value}: choose a whole number, {lowest} or more")
        if not isinstance(memory, int | float) or memory <= 0:
            raise ConfigError(f"hydra.launcher.memory={memory}: choose a number of gigabytes, such as 4")
        if cluster not in ("slurm", "local"):
            raise ConfigError(f"hydra.launcher.cluster={cluster}: choose slurm, or local to try it on this machine")
        self.cluster, self.at_a_time, self.requeues = cluster, at_a_time, requeues
        asked = {"partition": partition, "array_parallelism": at_a_time, "signal_delay_s": notice}
        self.parameters = {
            "name": name,
            "timeout_min": minutes,
            "mem_gb": memory,
            **({"gpus_per_node": gpus} if gpus else {}),
            **{f"slurm_{key}": value for key, value in asked.items() if value is not None},
            "slurm_additional_parameters": {"requeue": True, **more},
        }
        self._running: dict[Work, submitit.Job[str | None]] = {}

    def room(self, jobs: Sequence[Job]) -> int:
        """See `dlbench.sweep.launch.Workers`. SLURM itself minds ``at_a_time``."""
        here = min(self.at_a_time, as_cores_carry(job.threads for job in jobs))
        return len(jobs) if self.cluster == "slurm" else here

    def start(self, works: Sequence[Work]) -> None:
        """See `dlbench.sweep.launch.Workers`.

        Raises:
            ConfigError: There is no SLURM here, or it does not take the jobs.
        """
        alike: dict[int, list[Work]] = defaultdict(list)
        for work in works:
            alike[work.threads].append(work)
        for threads, several in alike.items():
            for first in range(0, len(several), LARGEST_ARRAY):
                array = several[first : first + LARGEST_ARRAY]
                self._running |= zip(array, self._submitted(array, threads), strict=True)

    def _submitted(self, works: Sequence[Work], threads: int) -> Sequence["submitit.Job[str | None]"]:
        # With the words of the sweep, which go with its end.
        folder = works[0].words.folder / "submitit"
        try:
            executor = submitit.AutoExecutor(folder, cluster=self.cluster)
            executor.update_parameters(**self.parameters, cpus_per_task=threads)
            jobs: Sequence[submitit.Job[str | None]] = executor.map_array(_Making(self.cluster, self.requeues), works)
            return jobs
        except RuntimeError as error:
            if "srun" in str(error):
                text = "no SLURM here (no srun); start it where sbatch works, or hydra.launcher.cluster=local to try it"
                raise ConfigError(f"hydra/launcher=slurm: {text}") from error
            if not isinstance(error, FailedJobError | FailedSubmissionError):
                raise
            raise ConfigError(f"hydra/launcher=slurm: not submitted ({_last_line(str(error))})") from error

    def wait(self) -> dict[Work, str]:
        """See `dlbench.sweep.launch.Workers`."""
        pause = SECONDS_OF_QUEUE if self.cluster == "slurm" else SECONDS
        before, over, looked = dict[str, str](), dict[str, str](), time.monotonic()
        while True:
            if time.monotonic() - looked > pause:
                before, over, looked = over, self._over(), time.monotonic()
            # What a job leaves may be seen a little later than its end.
            gone = before.keys() & over.keys()
            ended = {
                work: _said(job, over.get(job.job_id, ""))
                for work, job in self._running.items()
                if job.paths.result_pickle.exists() or job.job_id in gone
            }
            for work in ended:
                del self._running[work]
            if ended:
                return ended
            time.sleep(SECONDS)

    def _over(self) -> dict[str, str]:
        """The states of jobs that are over, by ID; not by `submitit`, which needs SLURM's accounting for it."""
        numbers = [job.job_id for job in self._running.values()]
        if self.cluster == "local":
            return {job.job_id: "" for job in self._running.values() if job.done()}
        command = [
            "squeue",
            "--noheader",
            "--array",
            "--states=all",
            "--format=%i %T",
            f"--jobs={','.join(self._arrays())}",
        ]
        try:
            told = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        except (OSError, subprocess.TimeoutExpired):
            return {}
        # SLURM forgets jobs some time after their end, and says so of a single one; other errors pass.
        if told.returncode and "Invalid job id" not in told.stderr:
            return {}
        states = dict(line.split(maxsplit=1) for line in told.stdout.splitlines())
        return {number: state for number in numbers if (state := states.get(number, "over")) in OVER}

    def _arrays(self) -> list[str]:
        """The IDs of the arrays that have jobs left."""
        return sorted({job.job_id.partition("_")[0] for job in self._running.values()})

    def stop(self) -> None:
        """See `dlbench.sweep.launch.Workers`."""
        if self.cluster == "local":
            for job in self._running.values():
                job.cancel(check=False)
        elif arrays := self._arrays():
            try:
                subprocess.run(["scancel", *arrays], check=False, capture_output=True, timeout=60)
            except (OSError, subprocess.TimeoutExpired) as error:
                say(f"hydra/launcher=slurm: jobs may be left ({error}); end them with scancel {' '.join(arrays)}")
        self._running.clear()


def _said(job: "submitit.Job[str | None]", state: str) -> str:
    """`BUSY`, or what to say of a job that left no word of its runs' ends for the second time."""
    name = f"job {job.job_id} of SLURM ended{f' ({state})' if state else ''}, twice"
    if not job.paths.result_pickle.exists():
        return f"{name}: {_last_line(job.stderr() or '')}"
    try:
        return job.result() or f"{name}, without a word; is the folder of runs the same on all machines?"
    except RuntimeError as error:  # submitit's own are of this kind
        return f"{name}: {_last_line(str(error))}"


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip(" -")), "no reason given")


class _Making:
    """What a job does; requeued, it does the same, as records keep their checkpoints."""

    def __init__(self, cluster: str, requeues: int) -> None:
        self.cluster, self.requeues = cluster, requeues

    def __call__(self, work: Work) -> str | None:
        """Make the work.

        Raises:
            RuntimeError: Its time is over, and it was requeued often enough.
        """
        # A run knows what to do. What submitit does needs SLURM's variables, which are hidden while it trains.
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_DFL)
        try:
            return work()
        except KeyboardInterrupt:
            if is_time_over() and int(os.environ.get("SLURM_RESTART_COUNT", "0")) >= self.requeues:
                raise RuntimeError("its time is over, and hydra.launcher.requeues is reached") from None
            if self.cluster == "slurm":
                print(requeue() or "interrupted", flush=True)
                os._exit(130)
            os._exit(LOCAL_REQUEUE_RETURN_CODE if is_time_over() else 130)
