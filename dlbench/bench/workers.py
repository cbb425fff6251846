"""Processes that are measured, as the driver sees them: trainers that wait for commands, programs from start to end.

A trainer is pinned to its cores, makes steps when told to (`dlbench.bench.worker`), and says how long they took.
The driver imports no torch.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple, TypeVar

from dlbench.environment import PROCESSES
from dlbench.errors import DlbenchError

T = TypeVar("T")
PRINTED = "printed.txt"


class BenchError(DlbenchError):
    """A measurement broke down."""


def all_cores() -> list[int]:
    """The cores this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


@contextlib.contextmanager
def unset_thread_counts() -> Iterator[None]:
    """Start processes without the variables that would decide thread counts instead of torch and our settings."""
    prefixes = "OMP_", "GOMP_", "KMP_", "MKL_"
    taken = {name: os.environ.pop(name) for name in [*os.environ] if name.startswith(prefixes)}
    try:
        yield
    finally:
        os.environ.update(taken)


def in_turns(rounds: int, measures: Mapping[str, Callable[[], T]]) -> dict[str, list[T]]:
    """Each measure once a round, in order A B ... and back in the next, so that a drift of the machine cancels."""
    taken: dict[str, list[T]] = {name: [] for name in measures}
    for number in range(rounds):
        for name in list(measures)[:: 1 if number % 2 == 0 else -1]:
            taken[name].append(measures[name]())
    return taken


# trainers


@dataclass(frozen=True)
class Job:
    """What a worker trains, on some ``cores`` alone, with ``warmup`` steps before anything is timed.

    What the ``words`` are depends on its ``kind``:

    - ``run``: the overrides of a run of ours;
    - ``plain``: those of a run on whose data the plain loop is trained;
    - ``program``: a command, to which an empty folder and the number of an open connection are added.
    """

    words: Sequence[str]
    cores: Sequence[int]
    warmup: int
    kind: Literal["run", "plain", "program"] = "run"


class Worker:
    """A process that carries out one command after the other; it ends when the driver does.

    Its record and what it prints go into a ``folder`` of its own.
    """

    def __init__(self, job: Job, folder: Path) -> None:
        folder.mkdir()
        self.facts: dict[str, Any] = {}
        self.printed = folder / PRINTED
        self.printed.touch()
        self.connection, theirs = PROCESSES.Pipe()
        self.process = PROCESSES.Process(target=_work, args=(job, folder, theirs))
        with unset_thread_counts():
            PROCESSES.set_forkserver_preload(["dlbench.bench.worker"])
            self.process.start()
        theirs.close()

    def send(self, command: str, **details: Any) -> None:
        """Give a command, see `dlbench.bench.worker`, without waiting for the answer."""
        with contextlib.suppress(BrokenPipeError):  # `receive` tells why
            self.connection.send((command, details))

    def receive(self) -> dict[str, Any]:
        """The next answer.

        Raises:
            BenchError: The process is gone; with the last lines it wrote.
        """
        try:
            answer: dict[str, Any] = self.connection.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            printed = self.printed.read_text(errors="replace")
            raise _ended("a benchmark process", self.process.exitcode, printed) from None
        return answer

    def ask(self, command: str, **details: Any) -> dict[str, Any]:
        """Give a command and wait for the answer."""
        self.send(command, **details)
        return self.receive()

    def close(self) -> None:
        """End it without ceremony: nothing it has written is kept."""
        self.process.kill()
        self.process.join()
        self.connection.close()


def _work(job: Job, folder: Path, connection: Connection) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, job.cores)
    os.environ.update(FORCE_COLOR="1", TERM="xterm-256color")  # a bar, where one is asked for, needs a terminal
    for stream, place in ((1, os.devnull), (2, folder / PRINTED)):
        os.dup2(os.open(place, os.O_WRONLY), stream)
    try:
        if job.kind == "program":
            os.set_inheritable(connection.fileno(), True)
            os.execvp(job.words[0], [*job.words, str(folder), str(connection.fileno())])
        from dlbench.bench.worker import serve

        serve(job, folder, connection)
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {' '.join(str(error).split())[:450]}")  # one line, as `_ended` reads it


def _ended(what: str, code: int | None, printed: str) -> BenchError:
    """The error for a process that broke down, with the last lines it wrote."""
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", printed).strip().splitlines()
    cause = " ".join(" ".join(lines[-3:]).split())
    return BenchError(f"{what} ended with code {code}: {cause[-500:] or 'it wrote nothing'}")


@contextlib.contextmanager
def worker_pool(**jobs: Job) -> Iterator[dict[str, Worker]]:
    """Workers by name, started together, each warmed up alone, and ended in the end; their records are thrown away."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        workers = {
            name: stack.enter_context(contextlib.closing(Worker(job, folder / name))) for name, job in jobs.items()
        }
        for worker in workers.values():
            worker.facts = worker.receive()
        for name, worker in workers.items():
            worker.ask("step", steps=jobs[name].warmup)
        yield workers


def speed(
    workers: Sequence[Worker],
    steps: int,
    command: str = "step",
    unit: Literal["steps", "symbols"] = "steps",
    phases: Sequence[str] = ("seconds",),
    **details: Any,
) -> float:
    """Steps or symbols a second of workers side by side, the sum of their speeds, from so many steps each.

    What counts is the time that they spend in some ``phases`` (see `dlbench.bench.worker.Gate`).
    """
    for worker in workers:
        worker.send(command, steps=steps, **details)
    answers = [{"steps": steps, **worker.receive()} for worker in workers]
    return float(sum(answer[unit] / sum(answer.get(phase, 0) for phase in phases) for answer in answers))


# programs


class Usage(NamedTuple):
    """``wall`` and ``cpu`` in seconds, ``peak_bytes`` of resident memory; ``output`` is what was printed."""

    wall: float
    cpu: float
    peak_bytes: int
    output: str


LAUNCHER = """
import json, resource, subprocess, sys, time
began = time.perf_counter()
code = subprocess.call(sys.argv[1:], stderr=subprocess.STDOUT)
wall = time.perf_counter() - began
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps((code, wall, used.ru_utime + used.ru_stime, used.ru_maxrss)), file=sys.stderr)
"""
"""A process counts what its parent held when it was launched into its peak; this parent holds next to nothing.

The program's errors join its output, so that the launcher's own error stream has the figures and nothing else.
"""


def measure(*arguments: str) -> Usage:
    """Run this Python with arguments and wait for its end.

    Raises:
        BenchError: It ended with an error; with the last lines it wrote.
    """
    command = [sys.executable, "-I", "-S", "-c", LAUNCHER, sys.executable, *arguments]
    with unset_thread_counts():
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    lost = done.returncode, 0, 0, 0  # the launcher was killed
    code, wall, cpu, peak = lost if done.returncode else json.loads(done.stderr)
    if code:
        raise _ended(f"python {' '.join(arguments)}", code, done.stdout)
    return Usage(wall, cpu, peak if sys.platform == "darwin" else peak * 1024, done.stdout)
