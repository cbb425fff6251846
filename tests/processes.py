"""Processes of Python that need not import torch: they are forked from one that has.

A command's cold start takes longer than what most tests do with it. ``test_cli`` and ``test_wheel`` start it for real.
"""

import atexit
import io
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import redirect_stderr, redirect_stdout, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["pytest", "hydra.main", "dlbench.run", "torch.utils.tensorboard", "torchvision"])
Before = Callable[[], None]


class Forked:
    """What tests use of ``subprocess.Popen``, for ``python``.

    Args:
        arguments: After ``python``: ``-m MODULE …``, or a file and its own.
        folder: Where it works; None: here.
        environment: Its variables; None: those of this process.
        before: What it does first, a function of a module.
    """

    def __init__(
        self,
        *arguments: str,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
        before: Before | None = None,
    ) -> None:
        (out, out_end), (err, err_end) = (CONTEXT.Pipe(duplex=False) for _ in range(2))
        told = arguments, str(folder or Path.cwd()), dict(environment or os.environ), before
        self._process = CONTEXT.Process(target=_python, args=((out_end, err_end), *told))
        self._process.start()
        atexit.register(self._process.kill)  # one that a failed test left behind must not be waited for
        out_end.close(), err_end.close()
        self.stdout, self.stderr = (os.fdopen(os.dup(end.fileno()), encoding="utf-8") for end in (out, err))
        out.close(), err.close()

    @property
    def pid(self) -> int:
        """The process's number."""
        assert self._process.pid
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code, minus a signal's number; None while it is at work."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """The same."""
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it is still at work."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for the end; what it printed since it was last read, and its errors.

        Raises:
            subprocess.TimeoutExpired: It is still at work after so many seconds; it is killed.
        """
        said = ["", ""]

        def read(place: int) -> None:
            said[place] = (self.stdout, self.stderr)[place].read()

        readers = [threading.Thread(target=read, args=(place,), daemon=True) for place in (0, 1)]
        for reader in readers:
            reader.start()
        self._process.join(timeout)
        if self.returncode is None:
            self._process.kill()
            raise subprocess.TimeoutExpired("python", timeout or 0)
        for reader in readers:
            reader.join()
        return said[0], said[1]


def python(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run ``python`` to its end; arguments and options of `Forked`."""
    process = Forked(*arguments, **options)
    out, err = process.communicate()
    return subprocess.CompletedProcess(arguments, process.returncode or 0, out, err)


def next_epoch(output: Iterable[str]) -> str:
    """The next line that a run prints of an epoch; what it says before is passed over."""
    return next((line for line in output if line.startswith("epoch ")), "")


def start(*overrides: str) -> subprocess.Popen[str]:
    """A sweep in a session of its own, so that it can be killed with all its workers."""
    command = [sys.executable, "-m", "dlbench", *overrides]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def sweep(*overrides: str) -> tuple[int, str, str]:
    """A sweep that this process starts, whose jobs are forked from what is warm: exit code and what was printed."""
    from dlbench.__main__ import main  # not for all: a process that runs it as a module warns if it was imported before

    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["dlbench"])  # the command sets both, and a process would forget them
        patch.setenv("HYDRA_FULL_ERROR", "0")
        try:
            code = main(overrides)
        except SystemExit as end:
            code = int(end.code or 0)
    return code, out.getvalue(), err.getvalue()


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str] | Forked) -> None:
    """Wait until something is so, which a process that is at work brings about."""
    deadline = time.monotonic() + 300
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def has_trained(runs: Path, count: int = 1) -> Callable[[], bool]:
    """Whether so many runs have a checkpoint that was not there before."""
    before = {*runs.glob("*/checkpoints/epoch-*.ckpt")}
    return lambda: len({path.parts[-3] for path in {*runs.glob("*/checkpoints/epoch-*.ckpt")} - before}) >= count


def with_word(word: str, within: str = "") -> list[int]:
    """The processes whose command line has a word in it, and whose surroundings another; Linux alone."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            line, surroundings = (folder / "cmdline").read_bytes(), (folder / "environ").read_bytes()
            if word.encode() in line and within.encode() in line + surroundings:
                found.append(int(folder.name))
    return found


def children_of(pid: int) -> set[int]:
    """The processes that one has started and that still run; Linux alone."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            _, parent, *_ = path.read_text().rpartition(")")[2].split()
            if int(parent) == pid:
                found.add(int(path.parent.name))
    return found


def workers(sweep: int) -> list[int]:
    """The processes of a sweep's jobs, which its server has forked; Linux alone."""
    return sorted(grandchild for child in children_of(sweep) for grandchild in children_of(child))


def left(found: Callable[[], Iterable[int]], seconds: float = 20) -> list[int]:
    """Which processes are still there after a while: one that has closed its pipes takes its time to vanish."""
    deadline = time.monotonic() + seconds
    while remaining := list(found()):
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return remaining


def alive(processes: Iterable[int]) -> list[int]:
    """Those of the processes that there still are; Linux alone."""
    return [each for each in processes if Path(f"/proc/{each}").exists()]


def _python(
    ends: tuple[Connection, Connection],
    arguments: tuple[str, ...],
    folder: str,
    environment: dict[str, str],
    before: Before | None,
) -> None:
    for place, end in enumerate(ends, start=1):
        os.dup2(end.fileno(), place)
        end.close()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    if before:
        before()
    if arguments[0] == "-m":
        sys.argv = list(arguments[1:])
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(arguments)
        runpy.run_path(arguments[0], run_name="__main__")
