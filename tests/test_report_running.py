"""Runs for the report: the listed sweep, the report renewed while it lasts, interruptions, failures."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from bits import endings
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.plugins.launcher import Launcher
from processes import left, sweep, wait_for

from dlbench.errors import ConfigError
from dlbench.records.store import Store
from dlbench.report import jobs
from dlbench.report.jobs import Job, run
from dlbench.run import run as train
from hydra_plugins.dlbench_sweeper import ListedSweeper

TinyIn = Callable[..., list[str]]
PYTHON = sys.executable


def job(*overrides: str, seed: int = 1) -> Job:
    return Job((*overrides, f"seed={seed}"), seed, {})


def nothing() -> None:
    pass


# --- what it does while a sweep lasts: with a stand-in for the sweep, quickly -----------------------------------------


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Let a script run in place of Python with our sweep; its arguments and folder of records are the sweep's."""

    def install(body: str) -> Path:
        script = tmp_path / "stand_in"
        lines = [
            f"#!{PYTHON}",
            "import os, pathlib, signal, sys, time",
            "runs = pathlib.Path(os.environ['DLBENCH_RUNS'])",
            "def finish(name):",
            "    folder = runs / name / 'evaluations' / 'e'",
            "    folder.mkdir(parents=True)",
            "    (folder / 'result.json').write_text('{}')",
        ]
        script.write_text("\n".join([*lines, body]))
        script.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(script))
        monkeypatch.setattr(jobs, "LOOK_SECONDS", 0.02)
        return script

    return install


def test_nothing_to_run_starts_nothing(stand_in: Callable[[str], Path], tmp_path: Path) -> None:
    stand_in("sys.exit(1)")
    assert run([], tmp_path / "runs", [], nothing)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("code", "is_well"), [(0, True), (1, False)])
def test_the_sweep_says_whether_all_went_well(
    code: int, is_well: bool, stand_in: Callable[[str], Path], tmp_path: Path
) -> None:
    stand_in(f"sys.exit({code})")
    assert run([job("a=1")], tmp_path / "runs", [], nothing) is is_well


@pytest.mark.parametrize("name", ["runs", "my runs, all=here", "it's {mine} [1]"])
def test_the_sweep_is_given_the_jobs_and_the_further_overrides(
    name: str, stand_in: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (mine := tmp_path / "mine").mkdir()
    monkeypatch.setattr("sys.argv", ["dlbench", "report", "--config-dir", str(mine)])
    stand_in(
        "import json, shutil\n"
        "(runs.parent / 'arguments.json').write_text(json.dumps(sys.argv[1:]))\n"
        "(listed,) = (runs / '.sweep').glob('*/jobs.json')\n"
        "shutil.copy(listed, runs.parent / 'jobs.json')\n"
        "(runs.parent / 'listed').write_text(str(listed))"
    )
    runs = tmp_path / name
    assert run([job("+a=1", seed=1), job("+b=2", seed=2)], runs, ["rerun=outdated", "hydra.launcher.n_jobs=1"], nothing)
    assert json.loads((tmp_path / "jobs.json").read_text()) == [["+a=1", "seed=1"], ["+b=2", "seed=2"]]
    arguments = json.loads((tmp_path / "arguments.json").read_text())
    assert arguments[:3] == ["-m", "dlbench", "-m"] and f"--config-dir={mine}" in arguments
    assert arguments[-2:] == ["rerun=outdated", "hydra.launcher.n_jobs=1"]
    (where,) = (word for word in arguments if word.startswith("hydra.sweeper.jobs="))
    assert OverridesParser.create().parse_override(where).value() == (tmp_path / "listed").read_text()
    assert list((runs / ".sweep").iterdir()) == []


def test_the_report_is_renewed_after_a_result_and_not_without(stand_in: Callable[[str], Path], tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    seen: list[int] = []
    (runs / "old" / "evaluations" / "e").mkdir(parents=True)
    (runs / "old" / "evaluations" / "e" / "result.json").touch()
    stand_in("time.sleep(0.5)\nfinish('one')\ntime.sleep(0.5)\nfinish('two')\ntime.sleep(0.5)")
    assert run([job()], runs, [], lambda: seen.append(len(list(runs.glob("*/*/*/result.json")))))
    assert seen == [2, 3]


def test_renewing_takes_a_small_part_of_the_time_and_is_never_done_twice_at_once(
    stand_in: Callable[[str], Path], tmp_path: Path
) -> None:
    stand_in("for n in range(60):\n    finish(str(n))\n    time.sleep(0.05)")
    spans: list[tuple[float, float]] = []

    def renew() -> None:
        began = time.monotonic()
        time.sleep(0.1)
        spans.append((began, time.monotonic()))

    began = time.monotonic()
    assert run([job()], tmp_path / "runs", [], renew)
    took = time.monotonic() - began
    assert len(spans) >= 2
    assert all(
        later[0] - earlier[1] >= jobs.PATIENCE * (earlier[1] - earlier[0]) * 0.99 for earlier, later in pairwise(spans)
    )
    assert sum(end - start for start, end in spans[:-1]) <= took / jobs.PATIENCE


def test_a_report_that_cannot_be_renewed_stops_no_run(
    stand_in: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in("finish('one')\ntime.sleep(0.5)")

    def renew() -> None:
        raise PermissionError(13, "Permission denied", "report/index.html")

    assert run([job()], tmp_path / "runs", [], renew)
    error = capsys.readouterr().err
    assert error.startswith("dlbench: the report was not renewed: cannot read or write report/index.html")


# --- with the real sweep ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_jobs_that_are_no_grid_are_run_and_the_report_is_renewed_between_also_where_one_fails(
    tiny_in: TinyIn, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    listed = [
        job("+experiment=cnn_bn_gap", "trainer.epochs=1"),
        job("+experiment=cnn_bn_gap", "trainer.epochs=1", "optimizer.lr=-1"),
        job("+experiment=p2g_lstm", "model.size=8", "trainer.epochs=30", seed=2),
    ]
    seen: list[int] = []
    overrides = [word for word in tiny_in(tmp_path) if not word.startswith("trainer.epochs")]
    overrides += ["hydra.launcher.n_jobs=1"]
    assert not run(listed, tmp_path, overrides, lambda: seen.append(len(endings(tmp_path))))
    assert [record.state() for record in Store(tmp_path).all()] == ["finished", "finished"]
    assert seen[0] == 1
    assert list((tmp_path / ".sweep").iterdir()) == []
    out, error = capfd.readouterr()
    (failed,) = [line for line in error.splitlines() if "failed: " in line]
    assert failed.endswith(": optimizer.lr=-1: Input should be greater than 0")
    assert "1 of 3 runs failed" in error
    assert "Traceback" not in out + error


DRIVER = """
import sys
from pathlib import Path
from dlbench.cli import one_line_errors
from dlbench.report.jobs import Job
from dlbench.report.jobs import run
with one_line_errors():
    jobs = [Job(("+experiment=cnn_bn_gap", f"seed={seed}"), seed, {}) for seed in (1, 2)]
    runs, sys.executable, *overrides = sys.argv[1:]
    sys.exit(not run(jobs, Path(runs), overrides, lambda: None))
"""


def start(runs: Path, python: str, overrides: Sequence[str] = ()) -> subprocess.Popen[str]:
    """Runs for the report in a session of their own; ``python`` is what they start the sweep with."""
    command = [PYTHON, "-c", DRIVER, str(runs), python, *overrides]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def interrupted(process: subprocess.Popen[str], how: str, has_begun: Callable[[], bool]) -> None:
    """Interrupt it once it has begun, and see it end in one line and leave no process and no file behind."""
    wait_for(has_begun, process)
    name, _, whom = how.partition(" to ")
    (os.killpg if whom == "all" else os.kill)(process.pid, signal.Signals[name])
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert error.count("interrupted; the same command goes on where it was") == 1
    assert "Traceback" not in error
    assert left(partial(members, process.pid)) == []


def members(session: int) -> list[int]:
    """The processes of a session that are still at work."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, its_session, *_ = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(its_session) == session and state != "Z":
            found.append(int(folder.name))
    return found


finds_processes = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes through /proc")


@finds_processes
@pytest.mark.parametrize("how", ["SIGINT to all", "SIGTERM to the parent"])
def test_interrupted_it_lets_the_sweep_say_so(how: str, stand_in: Callable[[str], Path], tmp_path: Path) -> None:
    script = stand_in(
        "signal.signal(signal.SIGTERM, signal.default_int_handler)\n"
        "(runs / 'begun').touch()\n"
        "try:\n    time.sleep(60)\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted; the same command goes on where it was', file=sys.stderr)\n"
        "    sys.exit(130)"
    )
    runs = tmp_path / "runs"
    interrupted(start(runs, str(script)), how, (runs / "begun").exists)
    assert list((runs / ".sweep").iterdir()) == []


@pytest.mark.slow
@finds_processes
def test_interrupted_it_goes_on_to_the_same_bits(tiny_in: TinyIn, compose: Callable[..., Any], tmp_path: Path) -> None:
    overrides = ["optimizer.lr=0.1", "evaluation.max_shift=0", *tiny_in(tmp_path / "straight", epochs=8)]
    for seed in (1, 2):
        train(compose("+experiment=cnn_bn_gap", f"seed={seed}", *overrides))
    runs = tmp_path / "interrupted"
    overrides[-1] = f"paths.runs={runs}"
    process = start(runs, PYTHON, overrides)
    interrupted(process, "SIGTERM to the parent", lambda: any(runs.glob("*/checkpoints/epoch-*.ckpt")))
    assert list((runs / ".sweep").iterdir()) == []
    assert len(endings(runs)) < 2
    assert run([job("+experiment=cnn_bn_gap", seed=seed) for seed in (1, 2)], runs, overrides, nothing)
    assert endings(runs) == endings(tmp_path / "straight")


# --- the sweeper's file ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file or directory; name a JSON list of jobs"),
        ('[["+experiment=cnn_vanilla"', "no JSON"),
        ("[]", "no list of jobs like"),
        ('["+experiment=cnn_vanilla"]', "no list of jobs like"),
        ('[["seed", 1]]', "no list of jobs like"),
    ],
)
def test_a_list_that_is_none_is_named(content: str | None, problem: str, tmp_path: Path) -> None:
    listed = tmp_path / "jobs.json"
    if content is not None:
        listed.write_text(content)
    code, _, error = sweep("-m", "hydra/sweeper=listed", f"hydra.sweeper.jobs={listed}", f"paths.runs={tmp_path}")
    assert code == 1
    (line,) = error.splitlines()
    assert line.startswith(f"dlbench: hydra.sweeper.jobs={listed}: {problem}")


class Noted(Launcher):
    """Returns the jobs that it is given, and runs none."""

    def setup(self, **_: Any) -> None:
        pass

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Any:
        return job_overrides


def test_what_is_added_to_a_list_is_added_to_each_job(tmp_path: Path) -> None:
    listed = tmp_path / "jobs.json"
    listed.write_text('[["+experiment=a"], ["+experiment=b", "seed=1"]]')
    sweeper = ListedSweeper(str(listed))
    sweeper.launcher = Noted()
    added = [["model.size=8", f"seed={seed}", "name=x"] for seed in (2, 3)]
    jobs = [[*job, *more] for job in (["+experiment=a"], ["+experiment=b", "seed=1"]) for more in added]
    assert sweeper.sweep(["model.size=choice(8)", "seed=2,3", "name=x"]) == jobs


def test_what_is_added_to_a_list_can_be_told_one_by_one(tmp_path: Path) -> None:
    (listed := tmp_path / "jobs.json").write_text('[["+experiment=a"]]')
    sweeper = ListedSweeper(str(listed))
    sweeper.launcher = Noted()
    for word in ("optimizer.lr=interval(0,1)", "model=glob(*)"):
        with pytest.raises(ConfigError, match=re.escape(f"{word}: cannot be added to listed jobs")):
            sweeper.sweep([word])


def test_a_list_is_needed(tmp_path: Path) -> None:
    code, _, error = sweep("-m", "hydra/sweeper=listed", f"paths.runs={tmp_path}")
    assert (code, error) == (1, "dlbench: hydra.sweeper.jobs: no value; name a JSON file, a list of jobs\n")
