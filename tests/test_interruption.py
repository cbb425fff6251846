"""SIGTERM and SLURM's signals at any moment of a run end it like Ctrl-C; the same command goes on."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from bits import ending, same_bits
from conftest import Compose, TinyIn
from die_at import arm
from processes import Forked, python, wait_for

from dlbench.environment import interrupted_by_signals, requeue
from dlbench.evaluation.images import ImageEvaluation
from dlbench.records.store import State, Store
from dlbench.run import Outcome, run
from dlbench.tasks.base import Task
from dlbench.tasks.image_classification import ImageClassification

FAST = ("+experiment=cnn_bn_gap", "evaluation.max_shift=1")


@pytest.fixture(scope="module")
def undisturbed(tiny_in: TinyIn, compose: Compose, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run(compose(*FAST, *tiny_in(tmp_path_factory.mktemp("undisturbed"))))


MOMENTS = {
    "in training": (Task, "training_step", 8),
    "in validation": (ImageClassification, "validation_step", 1),
    "before the evaluation": (ImageEvaluation, "__call__", 1),
    "in its first batch": (ImageClassification, "predict_step", 1),
    "in its last batch": (ImageClassification, "predict_step", 3),
    "before it is written": (ImageEvaluation, "write", 1),
    "while it is written": (ImageEvaluation, "write_maps", 1),
}


@pytest.mark.parametrize(
    ("number", "owner", "name", "nth"),
    [
        *(pytest.param(signal.SIGTERM, *moment, id=f"SIGTERM {words}") for words, moment in MOMENTS.items()),
        # Ctrl-C raises the same: once where Lightning has a handler of its own, once where it has none.
        *(
            pytest.param(signal.SIGINT, *MOMENTS[words], id=f"SIGINT {words}", marks=pytest.mark.slow)
            for words in ("in training", "while it is written")
        ),
    ],
)
def test_a_signal_ends_a_run_which_then_goes_on(  # noqa: PLR0917
    number: signal.Signals,
    owner: Any,
    name: str,
    nth: int,
    undisturbed: Outcome,
    compose: Compose,
    tiny: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = compose(*FAST, *tiny)
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        calls = arm(owner, name, nth, lambda: os.kill(os.getpid(), number), put=patch.setattr)
        with pytest.raises(KeyboardInterrupt):
            run(config)
    assert len(calls) == nth
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    (record,) = Store(Path(config.paths.runs)).all()
    assert record.state() in (State.INTERRUPTED, State.FINISHED)
    assert record.evaluations() == []
    assert same_bits(run(config), undisturbed)
    record.read(whole=True)


def test_a_signal_that_a_destructor_swallows_counts_at_the_end(recwarn: pytest.WarningsRecorder) -> None:
    class Dying:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)

    with pytest.raises(KeyboardInterrupt), interrupted_by_signals():
        dying = Dying()
        del dying


def test_a_signal_that_a_destructor_swallows_comes_again(capsys: pytest.CaptureFixture[str]) -> None:
    class Dying:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), interrupted_by_signals():
        dying = Dying()
        del dying
        time.sleep(60)
    assert time.monotonic() - began < 30
    assert capsys.readouterr().err == ""


def test_what_an_interrupted_library_raises_is_the_interruption() -> None:
    with pytest.raises(KeyboardInterrupt), interrupted_by_signals():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        except KeyboardInterrupt:
            raise RuntimeError("a worker is gone") from None


def test_a_thread_that_gets_no_signals_leaves_them_alone() -> None:
    def work() -> object:
        with interrupted_by_signals():
            return signal.getsignal(signal.SIGTERM)

    with ThreadPoolExecutor() as pool:
        assert pool.submit(work).result(60) == signal.getsignal(signal.SIGTERM)


@pytest.mark.slow
def test_a_process_signalled_in_its_evaluation_ends_soon(tiny: list[str], tmp_path: Path) -> None:
    command = ("-m", "dlbench", "+experiment=cnn_bn_gap", *tiny, "trainer.epochs=1", "evaluation.max_shift=16")
    for seconds in (0.0, 0.1, 0.4, 1.0):
        process = Forked(*command)
        # Its lock is open from the evaluation's beginning on, once the training is closed.
        while not (any((tmp_path / "runs").glob("*/training.json")) and holds_a_lock(process.pid)):
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        time.sleep(seconds)
        assert process.poll() is None, "the evaluation is over too soon to test anything"
        process.send_signal(signal.SIGTERM)
        errors = process.communicate(timeout=30)[1]
        assert process.returncode == 130, errors
        assert errors == "dlbench: interrupted; the same command goes on where it was\n"
        (record,) = Store(tmp_path / "runs").all()
        assert record.state() == State.FINISHED
        assert record.evaluations() == []
    done = python(*command)
    assert done.returncode == 0, done.stderr
    record.read(whole=True)
    assert len(record.evaluations()) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "is_job"), [(signal.SIGUSR1, True), (signal.SIGUSR2, True), (signal.SIGUSR1, False)]
)
def test_a_job_whose_time_is_over_is_requeued_and_goes_on(
    number: signal.Signals, is_job: bool, undisturbed: Outcome, tiny: list[str], tmp_path: Path
) -> None:
    told = tmp_path / "told"
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> {told}\n')
    scontrol.chmod(0o755)
    environment = {**os.environ, "PATH": f"{scontrol.parent}:{os.environ['PATH']}"}
    environment |= {"SLURM_JOB_ID": "77"} if is_job else {}
    command = ("-m", "dlbench", *FAST, *tiny)
    process = Forked(*command, environment=environment)
    wait_for(lambda: any((tmp_path / "runs").glob("*/checkpoints/*.ckpt")), process)
    process.send_signal(number)
    errors = process.communicate(timeout=30)[1].splitlines()
    assert process.returncode == 130
    requeued = ["dlbench: job 77 is requeued"] if is_job else []
    assert errors[-1 - is_job :] == ["dlbench: interrupted; the same command goes on where it was", *requeued]
    assert (told.read_text() if told.exists() else None) == ("requeue 77\n" if is_job else None)
    assert python(*command, environment=environment).returncode == 0
    (record,) = Store(tmp_path / "runs").all()
    assert ending(record) == ending(undisturbed.record)


@pytest.mark.parametrize(
    ("preempted", "array", "asked"),
    [
        ("2026-11-30T13:26:27", {"SLURM_ARRAY_JOB_ID": "70", "SLURM_ARRAY_TASK_ID": "3"}, "70_3"),
        ("2026-11-30T13:26:27", {}, "77"),
        ("None", {}, None),
    ],
)
def test_a_job_is_requeued_that_makes_way_for_another(
    preempted: str, array: dict[str, str], asked: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (scontrol := tmp_path / "scontrol").write_text(
        f'#!/bin/sh\n[ "$1" = requeue ] && echo "$@" >> {tmp_path}/told || echo "Requeue=1 PreemptTime={preempted}"\n'
    )
    scontrol.chmod(0o755)
    for name, value in {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "77", **array}.items():
        monkeypatch.setenv(name, value)
    assert requeue() == (f"job {asked} is requeued" if asked else None)
    told = tmp_path / "told"
    assert (told.read_text() if told.exists() else None) == (f"requeue {asked}\n" if asked else None)


def holds_a_lock(pid: int) -> bool:
    try:
        return any(path.readlink().suffix == ".lock" for path in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False
