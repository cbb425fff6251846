"""Sweeps: side by side, repeated, interrupted, with runs that fail, diverge or die; never another result for it."""

import errno
import math
import os
import re
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from bits import ending, endings
from conftest import Compose, TinyIn
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from processes import alive, children_of, has_trained, left, start, sweep, wait_for, workers

from dlbench import paths
from dlbench.cli import experiments
from dlbench.commands.run import in_order
from dlbench.errors import ConfigError, SweepError
from dlbench.records import seal
from dlbench.records.store import State, Store
from dlbench.run import run
from dlbench.sweep import job as job_module
from dlbench.sweep.job import Job, JobOutcome, Words, labels
from dlbench.sweep.launch import Processes
from dlbench.sweep.progress import Progress, table_of
from dlbench.sweep.watch import OVERRIDE
from dlbench.terminal import print_whole

FAST = ["+experiment=cnn_bn_gap", "evaluation.max_shift=0"]
SWEPT = [*FAST, "optimizer.lr=0.1,1e30,-1", "seed=1,2"]


@pytest.fixture(scope="module")
def swept(tiny_in: TinyIn, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, str, str]:
    """Two runs that finish, two that diverge and two that fail, side by side: folder, exit code, output, errors."""
    runs = tmp_path_factory.mktemp("sweep") / "runs"
    return runs, *sweep("-m", *SWEPT, *tiny_in(runs))


# --- how runs end ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_failed_runs_are_named_with_their_cause_and_leave_the_others_alone(
    swept: tuple[Path, int, str, str],
) -> None:
    runs, code, out, err = swept
    assert code == 1
    assert [record.state() for record in Store(runs).all()].count(State.FINISHED) == 2
    for seed in (1, 2):
        cause = f"failed: optimizer.lr=-1 seed={seed}: optimizer.lr=-1: Input should be greater than 0"
        assert (out + err).count(cause) == 1
    assert "2 of 6 runs failed" in err.splitlines()[-1]
    assert "Traceback" not in out + err


@pytest.mark.slow
def test_a_lost_loss_is_a_result_with_its_step(swept: tuple[Path, int, str, str]) -> None:
    runs, _, out, _ = swept
    diverged = [record for record in Store(runs).all() if record.state() == State.DIVERGED]
    assert len(diverged) == 2
    steps = ", ".join(str(seal.read(record.training)["step"]) for record in diverged)
    assert f"2 diverged (step {steps})" in out


@pytest.mark.slow
def test_the_table_averages_over_seeds(swept: tuple[Path, int, str, str]) -> None:
    runs, _, out, _ = swept
    (row,) = (line for line in out.splitlines() if line.strip().startswith("optimizer.lr=0.1 "))
    losses = [ending(record)[3][0]["train/loss"] for record in Store(runs).all() if record.state() == State.FINISHED]
    mean, spread = sum(losses) / 2, abs(losses[0] - losses[1]) / 2**0.5
    assert "2 finished" in row
    assert row.rstrip().endswith(f"{mean:.4f} ± {spread:.4f} (2)")


@pytest.mark.slow
def test_repeating_looks_finished_runs_up(swept: tuple[Path, int, str, str], tiny_in: TinyIn) -> None:
    runs = swept[0]
    before = {path: path.stat().st_mtime_ns for path in runs.glob("[!.]*/**/*") if path.is_file()}
    code, _, err = sweep("-m", *SWEPT, *tiny_in(runs))
    assert code == 1
    assert err.count("finished, cached") == err.count("diverged, cached") == 2
    assert {path: path.stat().st_mtime_ns for path in runs.glob("[!.]*/**/*") if path.is_file()} == before
    assert [path.name for path in (runs / ".sweep").iterdir()] == ["multirun.yaml"]


@pytest.mark.slow
def test_finished_runs_are_looked_up_where_nothing_can_be_written(
    swept: tuple[Path, int, str, str], tiny_in: TinyIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *arguments: Any, **options: Any) -> None:
        if ".sweep" in path.parts:
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        mkdir(path, *arguments, **options)

    mkdir = Path.mkdir
    monkeypatch.setattr(Path, "mkdir", refuse)
    _, _, err = sweep("-m", *SWEPT, *tiny_in(swept[0]))
    assert err.count("finished, cached") == err.count("diverged, cached") == 2
    assert "Read-only" not in err


def rows(printed: str) -> set[str]:
    """The lines of a sweep's table."""
    return {line.strip() for line in printed.splitlines() if line.strip().startswith("optimizer.lr=")}


@pytest.mark.slow
@pytest.mark.parametrize("how", ["hydra.launcher.n_jobs=1", "hydra/launcher=basic", "paths.lock=lease"])
def test_order_launcher_and_kind_of_lock_change_no_bit(
    how: str, swept: tuple[Path, int, str, str], tiny_in: TinyIn, tmp_path: Path
) -> None:
    backwards = [*FAST, "seed=2,1", "optimizer.lr=1e30,-1,0.1", how]
    code, out, err = sweep("-m", *backwards, *tiny_in(tmp_path))
    assert code == 1
    assert endings(tmp_path) == endings(swept[0])
    assert rows(out) == rows(swept[2])
    assert "2 of 6 runs failed" in err.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["local", "basic"])
def test_what_cannot_be_composed_fails_the_sweep(launcher: str, tmp_path: Path) -> None:
    code, _, err = sweep("-m", f"hydra/launcher={launcher}", "seed=1,2", f"paths.runs={tmp_path}")
    assert code == 1
    assert "choose +experiment=NAME" in err


@pytest.mark.slow
def test_each_run_may_have_a_folder_of_its_own(tiny_in: TinyIn, tmp_path: Path) -> None:
    folders = f"paths.runs={tmp_path / 'a'},{tmp_path / 'b'}"
    code, _, err = sweep("-m", *FAST, *tiny_in(tmp_path, epochs=1)[:-1], folders)
    assert code == 0, err
    assert [len(Store(tmp_path / name).all()) for name in "ab"] == [1, 1]


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [1, 4])
def test_ctrl_c_while_a_sweep_starts_is_told_in_a_line(seconds: float, tiny_in: TinyIn, tmp_path: Path) -> None:
    process = start("-m", *FAST, "seed=1,2", *tiny_in(tmp_path, epochs=400))
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err in {"dlbench: interrupted\n", "dlbench: interrupted; the same command goes on where it was\n"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["flock", "lease"])
def test_two_starts_of_one_sweep_share_its_runs(kind: str, tiny_in: TinyIn, tmp_path: Path) -> None:
    """Neither waits for the other as long as there is something to do."""
    command = (
        "-m",
        *FAST,
        "seed=1,2,3,4",
        f"paths.lock={kind}",
        "hydra.launcher.n_jobs=2",
        *tiny_in(tmp_path, epochs=20),
    )
    both = [start(*command) for _ in range(2)]
    said = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    trained = [{label for label in range(1, 5) if f"seed={label}: finished (" in err} for _, err in said]
    assert trained[0] | trained[1] == {1, 2, 3, 4}
    assert not trained[0] & trained[1]
    assert all(trained)
    assert all("4 finished" in out for out, _ in said)


# --- interrupted and killed ------------------------------------------------------------------------------------------

ONE = [*FAST, "optimizer.lr=0.1"]
EPOCHS = 16
"""Enough to be interrupted three times."""


@pytest.fixture(scope="module")
def uninterrupted(
    compose: Compose, tiny_in: TinyIn, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Any, ...]]:
    """What the two runs end in that no sweep runs."""
    runs = tmp_path_factory.mktemp("uninterrupted")
    for seed in (1, 2):
        run(compose(*ONE, f"seed={seed}", *tiny_in(runs, epochs=EPOCHS)))
    return endings(runs)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds worker processes through /proc")
def test_a_sweep_that_is_interrupted_again_and_again_goes_on(
    uninterrupted: dict[str, tuple[Any, ...]], tiny_in: TinyIn, tmp_path: Path
) -> None:
    command = ("-m", *ONE, "seed=1,2", *tiny_in(tmp_path, epochs=EPOCHS))
    for how in ("SIGTERM to the parent", "SIGINT to all", "SIGKILL to all"):
        process, has_trained_on = start(*command), has_trained(tmp_path)
        wait_for(has_trained_on, process)
        children = workers(process.pid)
        assert children
        name, _, whom = how.partition(" to ")
        (os.killpg if whom == "all" else os.kill)(process.pid, signal.Signals[name])
        _, err = process.communicate(timeout=60)
        if name != "SIGKILL":
            assert process.returncode == 130
            assert "interrupted; the same command goes on where it was" in err
            assert left(partial(alive, children)) == []
        assert len(endings(tmp_path)) < 2
    code, _, err = sweep(*command)
    assert code == 0
    assert "going on after epoch" in err
    assert endings(tmp_path) == uninterrupted


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds worker processes through /proc")
def test_a_worker_that_dies_costs_nothing(
    uninterrupted: dict[str, tuple[Any, ...]], tiny_in: TinyIn, tmp_path: Path
) -> None:
    process = start("-m", *ONE, "seed=1,2", *tiny_in(tmp_path, epochs=EPOCHS))
    wait_for(has_trained(tmp_path), process)
    os.kill(workers(process.pid)[0], signal.SIGKILL)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert endings(tmp_path) == uninterrupted


@pytest.fixture(scope="module")
def weights(tiny_in: TinyIn, compose: Compose, tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    """What two short runs end in that nothing disturbs, by seed."""
    runs = tmp_path_factory.mktemp("undisturbed")
    made = {seed: run(compose(*ONE, *tiny_in(runs), f"seed={seed}")) for seed in (1, 2)}
    return {seed: outcome.result["weights"] for seed, outcome in made.items()}


def ended(runs: Path) -> dict[int, str]:
    return {
        record.settings()["seed"]: seal.read(record.training)["weights"]
        for record in Store(runs).all()
        if record.state() == State.FINISHED
    }


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 1])
def test_a_job_that_kills_its_process_fails_and_its_neighbour_finishes(
    workers: int, weights: dict[int, str], tiny_in: TinyIn, tmp_path: Path
) -> None:
    deadly = ["+callbacks.own={_target_: own_callbacks.Deadly, seed: 1}", f"hydra.launcher.n_jobs={workers}"]
    code, _, err = sweep("-m", *ONE, "seed=1,2", *tiny_in(tmp_path), *deadly)
    assert code == 1
    assert "1 of 2 runs failed" in err.splitlines()[-1]
    assert "failed: seed=1: its process was killed, twice, the second time with no other beside it" in err
    assert ended(tmp_path) == {2: weights[2]}


@pytest.mark.slow
def test_a_job_killed_once_goes_on_and_fails_nothing(weights: dict[int, str], tiny_in: TinyIn, tmp_path: Path) -> None:
    deadly = f"+callbacks.own={{_target_: own_callbacks.Deadly, seed: 1, once: {tmp_path / 'died'}}}"
    code, _, err = sweep("-m", *ONE, "seed=1,2", *tiny_in(tmp_path / "runs"), deadly)
    assert code == 0, err
    assert "going on after epoch 1" in err
    assert ended(tmp_path / "runs") == weights


# --- named sweeps ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(path.stem for path in (paths.conf() / "sweep").glob("*.yaml")))
def test_named_sweeps_compose(name: str) -> None:
    with initialize_config_dir(str(paths.conf()), version_base="1.3"):
        config = hydra_compose("config", [f"+sweep={name}"], return_hydra_config=True)
        assert config.hydra.mode.name == "MULTIRUN"
        swept = [f"{key}={str(value).split(',')[0]}" for key, value in config.hydra.sweeper.params.items()]
        assert hydra_compose("config", [f"+sweep={name}", *swept]).name in experiments()


@pytest.mark.slow
def test_a_named_sweep_needs_no_multirun_flag(tiny_in: TinyIn, tmp_path: Path) -> None:
    fewer = [*FAST, "seed=42", "trainer.precision=32-true"]
    code, out, _ = sweep("+sweep=intel_lr", *fewer, "optimizer.lr=0.1", *tiny_in(tmp_path, epochs=1))
    assert code == 0
    assert "1 finished" in out
    (record,) = Store(tmp_path).all()
    assert record.state() == State.FINISHED


def test_an_unknown_sweep_is_named() -> None:
    code, _, err = sweep("+sweep=intel_rl")
    assert code == 1
    assert err.startswith("dlbench: sweep=intel_rl: no such sweep; did you mean intel_lr")


@pytest.mark.parametrize("number", [-1, 0, "two"])
def test_a_number_of_processes_is_one_or_more(number: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^hydra\.launcher\.n_jobs={number}: choose 1 or more"):
        Processes(number)


@pytest.mark.parametrize(
    ("launcher", "package", "module"), [("slurm", "submitit", "slurm"), ("ray", "ray", "ray_cluster")]
)
def test_a_launcher_whose_package_is_missing_names_it(
    launcher: str, package: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, f"dlbench.sweep.{module}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    code, _, err = sweep("-m", *FAST, "seed=1,2", f"hydra/launcher={launcher}", f"paths.runs={tmp_path}")
    assert code == 1
    needs = f"hydra/launcher={launcher} needs {package}: pip install 'dlbench[{launcher}]'"
    assert err.splitlines()[-1] == f"dlbench: {needs}"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-m", "seed=1,2"], ["seed=1,2", OVERRIDE, "-m"]),
        (["+experiment=cnn_vanilla", "-m", "seed=1,2"], ["+experiment=cnn_vanilla", "seed=1,2", OVERRIDE, "-m"]),
        (["a=1", "--config-dir", "own", "-m", "b=1"], ["a=1", "b=1", OVERRIDE, "--config-dir", "own", "-m"]),
        (["-m"], [OVERRIDE, "-m"]),
        (["--cfg", "job", "+experiment=cnn_vanilla"], ["+experiment=cnn_vanilla", "--cfg", "job"]),
        (["--info", "searchpath"], ["--info", "searchpath"]),
    ],
)
def test_overrides_and_flags_may_stand_in_any_order(words: list[str], expected: list[str]) -> None:
    assert in_order(words) == expected


# --- progress, labels, table -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("objective", "number"), [(0.5, 0.5), (3, 3.0), (None, math.nan)])
def test_an_outcome_is_a_number_to_a_sweeper(objective: float | None, number: float) -> None:
    assert float(JobOutcome("finished", objective=objective)) == pytest.approx(number, nan_ok=True)


def job(
    number: int, *overrides: str, seed: int = 0, lr: float = 0.1, epochs: int = 10, more: Sequence[str] = ()
) -> Job:
    with initialize_config_dir(str(paths.conf()), version_base="1.3"):
        composed = hydra_compose("config", ["+experiment=cnn_bn_gap", f"seed={seed}", f"optimizer.lr={lr}", *more])
        config: Any = OmegaConf.to_container(composed, resolve=True)
    config["trainer"]["epochs"] = epochs
    return Job.of(number, overrides or (f"seed={seed}", f"optimizer.lr={lr}"), config)


@pytest.fixture
def words(tmp_path: Path) -> Words:
    """What three jobs have left word of, none of which has begun."""
    words = Words(tmp_path / "sweep")
    for number in range(3):
        words.leave("job", number, asdict(job(number, seed=number)))
    return words


def test_the_line_counts_and_estimates_from_epochs(
    words: Words, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress = Progress(words)
    assert progress.line() == "0/3 done, 0 running, 0 cached, 0 failed"
    curves = tmp_path / "metrics.jsonl"
    curves.write_text("{}\n" * 5)
    words.leave("curves", 1, {"curves": str(curves), "epochs_before": 2})
    words.leave("curves", 2, {"curves": None, "epochs_before": 0})
    monkeypatch.setattr(progress, "_began", time.monotonic() - 30)
    assert progress.line().startswith("0/3 done, 2 running, 0 cached, 0 failed, 00:04:10")  # 3 of 28 epochs in 30 s
    words.leave("outcome", 0, asdict(JobOutcome("finished", "id", trained=False)))
    progress.look()
    assert progress.line().startswith("1/3 done, 2 running, 1 cached, 0 failed, 00:02:30")
    curves.write_text("{}\n" * 10)
    (tmp_path / "others.jsonl").write_text("{}\n" * 10)
    words.leave("curves", 2, {"curves": str(tmp_path / "others.jsonl"), "epochs_before": 0})
    assert progress.line() == "1/3 done, 2 running, 1 cached, 0 failed, testing"
    words.leave("outcome", 1, asdict(JobOutcome("diverged", "id", trained=True, step=7)))
    words.leave("outcome", 2, asdict(JobOutcome("failed", error="no such thing")))
    progress.look()
    assert progress.line() == "3/3 done, 0 running, 1 cached, 1 failed, 1 diverged"
    with pytest.raises(SweepError, match=r"^1 of 3 runs failed"):
        progress.finish()


def test_a_notice_is_said_once(words: Words, capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(words)
    for number in range(3):
        notices = ("drawn scenes are used",)
        words.leave("outcome", number, asdict(JobOutcome("finished", "id", True, notices=notices)))
    progress.look()
    progress.look()
    assert capsys.readouterr().err.count("drawn scenes are used") == 1


def test_a_job_that_left_no_word_of_its_end_has_failed(words: Words, capsys: pytest.CaptureFixture[str]) -> None:
    words.leave("outcome", 0, asdict(JobOutcome("finished", "id", True)))
    with pytest.raises(SweepError, match=r"^2 of 3 runs failed"):
        Progress(words).finish()
    assert capsys.readouterr().err.count("ended without a word") == 2


def test_a_failure_is_told_once(words: Words, capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(words)
    for number in range(3):
        words.leave("outcome", number, asdict(JobOutcome("failed", error=f"seed={number}: too small")))
    progress.look()
    with pytest.raises(SweepError, match=r"^3 of 3 runs failed"):
        progress.finish()
    said = capsys.readouterr()
    assert [(said.out + said.err).count(f"failed: seed={number}: too small\n") for number in range(3)] == [1, 1, 1]


def test_under_the_table_stand_the_data_and_where_to_go_on(
    words: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = "SYNTHETIC data: 48 train, 24 val, 24 test"
    for number in range(3):
        folder = str(tmp_path / "my runs")
        words.leave("outcome", number, asdict(JobOutcome("finished", "id", True, folder=folder, data=drawn)))
    Progress(words).finish()
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3:] == [
        f"on {drawn}",
        f"each run: python -m dlbench records list --runs '{folder}'",
        f"curves: python -m dlbench tensorboard --runs '{folder}'",
    ]
    monkeypatch.setenv("DLBENCH_RUNS", folder)
    Progress(words).finish()
    assert capsys.readouterr().out.endswith("python -m dlbench tensorboard\n")


some_overrides = st.lists(st.sampled_from(["seed=1", "seed=2", "lr=0.1", "lr=0.2", "name=x"]), unique=True)


@given(st.lists(some_overrides, min_size=2, max_size=5))
def test_labels_hold_what_jobs_do_not_share_and_nothing_else(overrides: list[list[str]]) -> None:
    jobs = [Job(number, tuple(words), "", "", epochs=1, threads=1) for number, words in enumerate(overrides)]
    shared = set.intersection(*map(set, overrides))
    named = labels(jobs)
    assert all(set(named[job.number]) | shared == set(job.overrides) for job in jobs)
    assert all(not shared & set(words) for words in named.values())


def test_the_table_has_a_row_a_configuration() -> None:
    jobs = [job(2 * row + seed, seed=seed, lr=lr) for row, lr in enumerate((0.1, 0.2)) for seed in (0, 1)]
    ended = {number: JobOutcome("finished", metrics={"val/accuracy": number / 10}) for number in range(3)}
    table = table_of(jobs, ended | {3: JobOutcome("failed", error="lost")})
    columns = [list(column.cells) for column in table.columns]
    assert columns == [
        ["optimizer.lr=0.1", "optimizer.lr=0.2"],
        ["2 finished", "1 finished, 1 failed"],
        ["0.0500 ± 0.0707 (2)", "0.2000 (1)"],
    ]


@pytest.mark.parametrize("columns", [80, 200])
def test_the_table_fits_a_terminal_with_nothing_cut(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = [job(2 * row + seed, seed=seed, lr=lr) for row, lr in enumerate((0.1, 0.2)) for seed in (0, 1)]
    metrics = {"val/accuracy": 0.125, "test/accuracy": 0.25, "test/cer": 0.5, "test/wer": 0.75, "train/loss": 1.5}
    ended = {each.number: JobOutcome("finished", metrics=metrics) for each in jobs}
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys.stdout.__class__, "isatty", lambda _: True, raising=False)
    print_whole(table_of(jobs, ended))
    lines = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out).splitlines()
    assert all(len(line) <= columns for line in lines)
    assert "…" not in "".join(lines)
    assert all("".join(lines).count(value) >= 2 for value in ("0.1250", "0.2500", "0.5000", "0.7500", "1.5000"))


def test_the_table_breaks_no_word_on_a_terminal_where_all_longest_words_fit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = [("experiment=p2g_attention", f"model/attention={name}") for name in ("bahdanau", "bilinear")]
    jobs = [job(2 * row + seed, *told[row], seed=seed, lr=row + 1) for row in (0, 1) for seed in (0, 1)]
    metrics = {"val/cer_best": 0.125, "test/cer": 0.25, "test/wer": 0.5}
    ended = {
        each.number: JobOutcome("finished", metrics={k: v + each.number for k, v in metrics.items()}) for each in jobs
    }
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stdout.__class__, "isatty", lambda _: True, raising=False)
    print_whole(table_of(jobs, ended))
    shown = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert all(shown.count(word) == 1 for word in ("model/attention=bahdanau", "model/attention=bilinear"))


def test_the_table_of_transducers_has_their_error_rates() -> None:
    jobs = [job(number, seed=number) for number in range(2)]
    rates = {"val/cer_best": 0.2, "test/cer": 0.1, "test/wer": 0.5, "val/wer": 0.6, "test/loss": 1.0}
    metrics = [rates, rates | {"test/wer_at_3": 0.4}]
    ended = {number: JobOutcome("finished", metrics=found) for number, found in enumerate(metrics)}
    table = table_of(jobs, ended)
    assert [column.header for column in table.columns][2:] == ["best val CER", "test CER", "test WER", "WER@3"]
    assert [list(column.cells) for column in table.columns][2:] == [
        ["0.2000 (2)"],
        ["0.1000 (2)"],
        ["0.5000 (2)"],
        ["0.4000 (1)"],
    ]


def test_jobs_that_only_evaluate_otherwise_share_a_training() -> None:
    one, other = job(0), job(1, more=["evaluation.max_shift=2"])
    assert one.training == other.training
    assert one.configuration != other.configuration


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are listed in /proc")
def test_no_worker_outlives_a_sweep_that_was_killed(tiny_in: TinyIn, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    process = start("-m", *FAST, "seed=1,2", *tiny_in(runs, epochs=400))
    wait_for(lambda: len(list(runs.glob("*/metrics.jsonl"))) == 2, process)
    started = {*children_of(process.pid), *workers(process.pid)}
    assert len(started) >= 3  # the server, and two jobs
    process.kill()
    process.wait()
    assert left(partial(alive, started)) == []


def test_a_requeued_job_goes_on_with_what_it_began_anew(compose: Compose, tiny: list[str], tmp_path: Path) -> None:
    (tmp_path / "words").mkdir()
    words, done = Words(tmp_path / "words"), []
    for number in (0, 0, 1):  # the second time as SLURM starts the first again
        config = compose("+experiment=cnn_bn_gap", "evaluation.max_shift=0", *tiny, "rerun=always")
        done.append(job_module._outcome(config, [], words, number, wait=True).trained)
    assert done == [True, False, True]


@pytest.mark.parametrize("launcher", ["slurm", "ray", "basic"])
def test_a_launcher_that_one_run_would_pass_over_is_refused(launcher: str, tmp_path: Path) -> None:
    code, _, err = sweep(*FAST, f"hydra/launcher={launcher}", f"paths.runs={tmp_path}")
    assert (code, list(tmp_path.iterdir())) == (1, [])
    assert err.splitlines()[-1] == f"dlbench: hydra/launcher={launcher}: launches sweeps, not a single run; add -m"
