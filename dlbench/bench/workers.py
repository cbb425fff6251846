"""Processes that are measured, as the driver sees them: trainers that wait for commands, programs from start to end.

A trainer is pinned to its cores, makes steps when told to (`dlbench.bench.worker`), and says how long they took.
The driver imports no torch.
"""

import contextlib
import json
import multiprocessing
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any, Literal, NamedTuple, TypeVar

from dlbench.errors import DlbenchError

T = TypeVar("T")

# A worker is forked from a server that has imported torch and Lightning, and computed nothing yet: it starts at once.
# Elsewhere than on Linux libraries do not bear forking.
CONTEXT: Any = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")


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
    """What a worker trains: the run of some ``overrides``, or with ``plain`` the plain loop on the run's data.

    It may use some ``cores``, and makes ``warmup`` steps before anything is timed.
    """

    overrides: Sequence[str]
    cores: Sequence[int]
    warmup: int
    plain: bool = False


class Worker:
    """A process that carries out one command after the other; it ends when the driver does.

    Its record and what it prints go into a ``folder`` of its own.
    """

    def __init__(self, job: Job, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.facts: dict[str, Any] = {}
        self.printed = folder / "printed.txt"
        self.printed.touch()
        self.connection, theirs = CONTEXT.Pipe()
        self.process = CONTEXT.Process(target=_work, args=(job, folder, self.printed, theirs))
        with unset_thread_counts():
            CONTEXT.set_forkserver_preload(["dlbench.bench.worker"])
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

    def milliseconds(self, steps: int, command: str = "step", **details: Any) -> float:
        """How long each of so many steps takes."""
        return 1000 * float(self.ask(command, steps=steps, **details)["seconds"]) / steps

    def close(self) -> None:
        """End it without ceremony: nothing it has written is kept."""
        self.process.kill()
        self.process.join()
        self.connection.close()


def _work(job: Job, folder: Path, printed: Path, connection: Connection) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, job.cores)
    os.environ.update(FORCE_COLOR="1", TERM="xterm-256color")  # a bar, where one is asked for, needs a terminal
    with printed.open("wb") as file, Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
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
        workers = {}
        for name, job in jobs.items():
            workers[name] = Worker(job, folder / name)
            stack.callback(workers[name].close)
        for worker in workers.values():
            worker.facts = worker.receive()
        for name, worker in workers.items():
            worker.ask("step", steps=jobs[name].warmup)
        yield workers


def speed(workers: Sequence[Worker], steps: int, unit: Literal["steps", "symbols"] = "steps") -> float:
    """Steps or symbols a second of workers side by side, from so many steps each: the sum of their speeds."""
    for worker in workers:
        worker.send("step", steps=steps)
    answers = [{"steps": steps, **worker.receive()} for worker in workers]
    return float(sum(answer[unit] / answer["seconds"] for answer in answers))


# programs


@contextlib.contextmanager
def program(*command: str) -> Iterator[tuple[Any, Callable[[], Any]]]:
    """A program that prints a line of JSON when it is ready, and one for every empty line it is given.

    Gives the first one's value, and a function that asks for the next. The program ends with the ``with`` block.

    Raises:
        BenchError: It cannot be started, it ended before (with the last lines of its errors), or it wrote no JSON.
    """
    with TemporaryFile("w+") as errors:
        pipe = subprocess.PIPE
        try:
            with unset_thread_counts():
                process: Any = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=errors, text=True, bufsize=1)
        except OSError as error:
            raise BenchError(f"{command[0]} cannot be started: {error.strerror}") from error

        def answer() -> Any:
            if not (line := process.stdout.readline()):
                errors.seek(0)
                raise _ended(command[0], process.wait(), errors.read())
            try:
                return json.loads(line)
            except ValueError as error:
                raise BenchError(f"{command[0]} wrote {line[:80]!r}, no JSON") from error

        def ask() -> Any:
            with contextlib.suppress(BrokenPipeError):  # `answer` tells why
                process.stdin.write("\n")
            return answer()

        try:
            yield answer(), ask
        finally:
            try:  # its input ends, so that it ends by itself and clears up
                process.communicate(timeout=90)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()


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
