"""A run's surroundings: what libraries read from the environment is hidden, signals to end are taken for Ctrl-C."""

import io
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import cache
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NoReturn

HIDDEN = re.compile(
    r"(SLURM|TORCHELASTIC|OMPI|PMI|PMIX|MPI|MV2|JSM|LSB|LSF|PL_TRAINER|KUBERNETES)_.*|PL_GLOBAL_SEED|PL_SEED_WORKERS|"
    r"(GLOBAL_|LOCAL_|GROUP_|NODE_|ROLE_)?RANK|((LOCAL|GROUP|ROLE)_)?WORLD_SIZE|MASTER_(ADDR|PORT)"
)
"""The names of what is hidden."""


def escape_output() -> None:
    """Let what the terminal's encoding lacks, and names of files that are not UTF-8, be written as escapes.

    What is written to a stream that the shell has closed (``>&-``) goes nowhere.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - for good
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # as standard error does by itself


def stop_writing() -> int:
    """Write no more to standard output, whose reader has seen enough, as ``head`` has; the exit code that this has."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + 13  # as of what SIGPIPE ends


@contextmanager
def alone() -> Iterator[Path]:
    """Train or evaluate as the only process; what is hidden comes back at the end.

    TensorBoard's writer has a thread of its own: what it cannot write, it says again to whoever writes next, so its
    own traceback is not shown.

    Yields:
        An empty folder for a Trainer's root, where no library finds a checkpoint that it would load by itself.
    """
    from lightning_fabric.utilities.rank_zero import rank_zero_only

    hidden = {name: value for name, value in os.environ.items() if HIDDEN.fullmatch(name)}
    for name in hidden:
        del os.environ[name]
    rank_zero_only.rank = 0  # type: ignore[attr-defined]  # Lightning took it from the environment when it was imported
    tell = threading.excepthook
    threading.excepthook = lambda told: None if type(told.thread).__name__ == "_AsyncWriterThread" else tell(told)
    try:
        with tempfile.TemporaryDirectory(prefix="dlbench-run-") as scratch:
            yield Path(scratch)
    finally:
        threading.excepthook = tell
        os.environ.update(hidden)


@cache  # a process needs one watch
def end_with_parent() -> None:
    """Let this process end when the one that started it has, however that ended; a training goes on another time.

    For processes of `multiprocessing`, which may have been forked by a server that outlives who asked for them.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)  # its locks go with it

    threading.Thread(target=watch, daemon=True).start()


def raise_file_limit(wanted: int = 8192) -> None:
    """Let this process open more files than a terminal allows by default (256 on macOS), as far as it may."""
    try:
        import resource
    except ImportError:  # on Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


# Where there is a choice, processes are forked from one that has imported what they need and computed nothing.
PROCESSES: Any = multiprocessing.get_context(
    "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
)


def start_process(process: BaseProcess) -> None:
    """Start a process of `PROCESSES`. Until it is ready, Ctrl-C is only this process's business.

    It would be told by tracebacks.
    """
    if not hasattr(signal, "pthread_sigmask"):
        process.start()
        return
    resource_tracker.ensure_running()  # it unblocks signals where it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


ENDING = [signal.Signals[name] for name in ("SIGTERM", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)]
"""The signals that end a run as Ctrl-C does. By the last two SLURM tells, if asked to, that a job's time is over."""
_time_is_over = threading.Event()


def is_time_over() -> bool:
    """Whether SIGUSR1 or SIGUSR2 has interrupted this process."""
    return _time_is_over.is_set()


def requeue() -> str | None:
    """Have SLURM start this job again if it said that the time is over, or ends it for the sake of another job.

    To be called last: SLURM ends the job at once.

    Returns:
        What came of it in words; None if this was not asked for.
    """
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    # The ID of an array's last job is that of the array, which names all of its jobs.
    job = f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")
    if job is None or not (is_time_over() or _is_preempted(job)):
        return None
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        cause = " ".join((getattr(error, "stderr", None) or str(error)).split())
        return f"job {job} is not requeued ({cause}); submit it again"
    return f"job {job} is requeued"


def _is_preempted(job: str) -> bool:
    """Whether another job takes precedence. Both that and ``scancel`` end a job by SIGTERM."""
    command = ["scontrol", "--oneliner", "show", "job", job]
    try:
        told = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return False
    return re.search(r"\bPreemptTime=\d", told.stdout) is not None


@contextmanager
def interrupting_again(number: int = signal.SIGINT, came: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """Have a KeyboardInterrupt come once more, as a signal, that was raised in a destructor, where it only is told of.

    Args:
        number: The signal.
        came: Whether one of ours has come; others are left as they are.
    """
    timers: list[threading.Timer] = []

    def resend(ignored: Any) -> None:
        if came() and ignored.exc_type is KeyboardInterrupt:
            timers.append(threading.Timer(0.02, os.kill, (os.getpid(), number)))
            timers[-1].start()
        else:
            tell(ignored)

    tell, sys.unraisablehook = sys.unraisablehook, resend
    try:
        yield
    finally:
        for timer in timers:  # whoever handles the signal from here on is not to get it twice
            timer.cancel()
            timer.join()
        sys.unraisablehook = tell


@contextmanager
def interrupted_by_signals(first: Callable[[], object] | None = None) -> Iterator[None]:
    """Raise KeyboardInterrupt on `ENDING`, so that no child process outlives this one; ``first`` is called before.

    Lightning by itself only makes a note of SIGTERM, which some of its loops never read, and ends by SystemExit, with
    code 0, where they do; so does it, with code 1, on Ctrl-C. Where it finds a handler it calls that one too. Only a
    main thread gets signals; in another one they are left as they are.

    Args:
        first: What else is to be told, such as a child that does not get the signal.

    Raises:
        KeyboardInterrupt: Ctrl-C, or one of `ENDING`.
    """
    came = False

    def interrupt(number: int, _: object) -> NoReturn:
        nonlocal came
        came = True
        if number != signal.SIGTERM:
            _time_is_over.set()
        if first:
            first()
        raise KeyboardInterrupt

    is_main = threading.current_thread() is threading.main_thread()
    # A handler of another's, such as submitit's, knows what to do when the time is over.
    ours = [each for each in ENDING if each == signal.SIGTERM or signal.getsignal(each) == signal.SIG_DFL]
    before = {each: signal.signal(each, interrupt) for each in ours} if is_main else {}
    try:
        with interrupting_again(signal.SIGTERM, lambda: came) if is_main else nullcontext():
            yield
        if came:
            raise KeyboardInterrupt
    except SystemExit:
        raise KeyboardInterrupt from None
    except Exception:
        if came:  # what the signal broke off may have raised something of its own
            raise KeyboardInterrupt from None
        raise
    finally:
        for each, handler in before.items():
            signal.signal(each, handler or signal.SIG_DFL)
