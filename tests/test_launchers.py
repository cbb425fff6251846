"""Launchers on other machines: the same bits as a run on its own, whatever becomes of the processes."""

import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from bits import endings
from conftest import Compose, TinyIn
from omegaconf import OmegaConf
from own_work import Sleeping
from processes import alive, has_trained, left, start, sweep, wait_for, with_word

from dlbench import paths
from dlbench.errors import ConfigError
from dlbench.run import run
from dlbench.sweep.job import Job
from dlbench.sweep.launch import Work

pytestmark = pytest.mark.extras
RUN = ["+experiment=cnn_bn_gap", "evaluation.max_shift=0", "optimizer.lr=0.1"]
EPOCHS = 30
"""Enough to be interrupted, and killed."""
LOCAL = ["hydra/launcher=slurm", "hydra.launcher.cluster=local"]


@pytest.fixture(scope="module")
def alone(compose: Compose, tiny_in: TinyIn, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, ...]]:
    """What the two runs end in that no launcher starts."""
    runs = tmp_path_factory.mktemp("alone")
    for seed in (1, 2):
        run(compose(*RUN, f"seed={seed}", *tiny_in(runs, epochs=EPOCHS)))
    return endings(runs)


def interrupt(sweep: Sequence[str], runs: Path, processes: Callable[[], list[int]]) -> str:
    """Start a sweep of two runs, and press Ctrl-C once both get on; what it says. No process of them is left."""
    process, get_on = start(*sweep), has_trained(runs, 2)
    wait_for(get_on, process)
    begun = processes()
    assert len(begun) == 2
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert left(lambda: alive(begun)) == []
    return err


# --- SLURM ------------------------------------------------------------------------------------------------------------


def test_jobs_of_slurm_that_are_interrupted_requeued_and_killed_end_in_the_same_bits(
    alone: dict[str, tuple[Any, ...]], tiny_in: TinyIn, tmp_path: Path
) -> None:
    """By submitit's executor of this machine, which requeues as SLURM does."""
    command = ("-m", *RUN, "seed=1,2", *tiny_in(tmp_path, epochs=EPOCHS), *LOCAL)

    def jobs() -> list[int]:
        return with_word("submitit.core._submit", str(tmp_path))

    assert "dlbench: interrupted; the same command goes on where it was\n" in interrupt(command, tmp_path, jobs)
    process, get_on = start(*command), has_trained(tmp_path, 2)
    wait_for(get_on, process)
    killed, told = jobs()
    os.kill(killed, signal.SIGKILL)
    os.kill(told, signal.SIGUSR2)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert err.count("going on after epoch") >= 2
    assert endings(tmp_path) == alone


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_a_job_whose_time_is_over_is_requeued(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the same process of submitit's executor, which does so for one exit code alone."""
    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parent}:{os.environ.get('PYTHONPATH', '')}")
    workers, work = slurm(cluster="local"), Sleeping(tmp_path)
    workers.start([work])
    deadline = time.monotonic() + 60
    while not (tmp_path / "ready").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(int(work.noted.read_text().split()[0]), number)
    workers.wait()
    first, second = (line.split() for line in work.noted.read_text().splitlines())
    assert first[0] != second[0]
    assert first[1] == second[1]


def test_a_job_of_slurm_that_always_dies_is_named_and_leaves_others_alone(tiny_in: TinyIn, tmp_path: Path) -> None:
    deadly = "+callbacks.own={_target_: own_callbacks.Deadly, seed: 1}"
    own = ["-m", *RUN, "seed=1,2", *tiny_in(tmp_path), deadly]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
        code, out, err = sweep(*own, *LOCAL)
    assert code == 1
    assert re.search(r"failed: seed=1: job \d+ of SLURM ended, twice", err)
    assert "1 of 2 runs failed" in err.splitlines()[-1]
    assert "1 finished, 1 failed" in out
    assert not [path for path in (tmp_path / ".sweep").iterdir() if path.is_dir()]


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What SLURM is told: a file for each of its programs, with the words that it was called by."""
    folder = tmp_path / "slurm"
    (folder / "bin").mkdir(parents=True)
    for name, says in {"srun": "", "scancel": "", "squeue": "", "sbatch": "Submitted batch job 77"}.items():
        (program := folder / "bin" / name).write_text(
            f'#!/bin/sh\necho "$@" >> {folder}/{name}\n[ -f "$1" ] && cp "$1" {folder}/script.$$\necho "{says}"\n'
        )
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
    return folder


def works(folder: Path, *threads: int) -> list[Work]:
    """A work for each number of threads, of a sweep that keeps its words in a folder."""
    hydra = {"hydra": {"callbacks": {"watch": {"folder": str(folder)}}}}
    context: Any = None  # of Hydra; it is only read where work is made
    return [
        Work((Job(number, (), f"{number}", f"{number}", 1, each),), (OmegaConf.create(hydra),), context)
        for number, each in enumerate(threads)
    ]


def slurm(**changed: Any) -> Any:
    """The workers of the launcher's configuration, but for what is changed."""
    from dlbench.sweep.slurm import Slurm

    found: Any = OmegaConf.to_container(OmegaConf.load(paths.conf() / "hydra" / "launcher" / "slurm.yaml"))
    del found["_target_"]
    return Slurm(**{**found, **changed})


def options(script: Path) -> dict[str, str]:
    """What a script asks of sbatch."""
    lines = (line for line in script.read_text().splitlines() if line.startswith("#SBATCH --"))
    pairs = (line.removeprefix("#SBATCH --").partition("=") for line in lines)
    return {key: value for key, _, value in pairs}


def test_slurm_is_asked_for_what_a_run_needs(cluster: Path, tmp_path: Path) -> None:
    asked = {"name": "mine", "at_a_time": 2, "minutes": 90, "memory": 6, "gpus": 1, "partition": "long", "notice": 60}
    workers = slurm(**asked, more={"account": "us"})
    workers.start(works(tmp_path / "words", 2, 2, 2, 1))
    found = sorted((options(script) for script in cluster.glob("script.*")), key=lambda each: each["cpus-per-task"])
    one, three = found  # arrays are of jobs alike
    expected = {
        **{"job-name": "mine", "time": "90", "mem": "6GB", "gpus-per-node": "1", "partition": "long"},
        **{"signal": "USR2@60", "requeue": "", "account": "us", "nodes": "1", "open-mode": "append"},
    }
    assert expected.items() <= one.items()
    assert expected.items() <= three.items()
    assert (one["cpus-per-task"], three["cpus-per-task"]) == ("1", "2")
    assert three["array"] == "0-2%2"
    assert "array" not in one
    (script, *_) = [path for path in cluster.glob("script.*") if "array" in path.read_text()]
    assert "\nsrun " in script.read_text()
    assert "-m submitit.core._submit" in script.read_text()
    workers.stop()
    assert (cluster / "scancel").read_text() == "77\n"


def test_no_gpu_and_no_partition_are_asked_for_unless_named(cluster: Path, tmp_path: Path) -> None:
    slurm().start(works(tmp_path / "words", 1))
    (script,) = cluster.glob("script.*")
    assert not {"gpus-per-node", "partition"} & options(script).keys()


def test_what_slurm_refuses_is_told_in_a_line(cluster: Path, tmp_path: Path) -> None:
    (cluster / "bin" / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: no such partition' >&2\nexit 1\n")
    with pytest.raises(ConfigError, match=r"^hydra/launcher=slurm: not submitted \(.*no such partition"):
        slurm(partition="lnog").start(works(tmp_path / "words", 1))


def test_without_slurm_a_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"^hydra/launcher=slurm: no SLURM here"):
        slurm().start(works(tmp_path / "words", 1))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"minutes": 0}, "minutes=0: choose a whole number, 1 or more"),
        ({"gpus": "two"}, "gpus=two: choose a whole number, 0 or more"),
        ({"memory": -1}, "memory=-1: choose a number of gigabytes"),
        ({"cluster": "pbs"}, "cluster=pbs: choose slurm, or local"),
    ],
)
def test_a_setting_that_is_none_is_named(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as told:
        slurm(**changed)
    assert str(told.value).startswith(f"hydra.launcher.{said}")


def test_a_job_that_is_over_without_a_result_is_found_in_the_queue(
    cluster: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where SLURM keeps no accounts, of which submitit would read it."""
    monkeypatch.setattr("dlbench.sweep.slurm.SECONDS", 0.01)
    monkeypatch.setattr("dlbench.sweep.slurm.SECONDS_OF_QUEUE", 0.05)
    workers, several = slurm(), works(tmp_path / "words", 1, 1)
    workers.start(several)
    (cluster / "bin" / "squeue").write_text("#!/bin/sh\necho '77_0 RUNNING'\necho '77_1 OUT_OF_MEMORY'\n")
    assert workers.wait() == {several[1]: "job 77_1 of SLURM ended (OUT_OF_MEMORY), twice: no reason given"}
    (cluster / "bin" / "squeue").write_text(
        "#!/bin/sh\necho 'slurm_load_jobs error: Invalid job id specified' >&2\nexit 1\n"
    )
    assert workers.wait() == {several[0]: "job 77_0 of SLURM ended (over), twice: no reason given"}


# --- Ray --------------------------------------------------------------------------------------------------------------


# These two come before the cluster below, which the first of them would join.


def test_a_cluster_that_is_not_there_is_named(tiny_in: TinyIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))  # where Ray looks for clusters of this machine
    process = start("-m", *RUN, *tiny_in(tmp_path), "hydra/launcher=ray")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert err.splitlines()[-1].startswith("dlbench: hydra.launcher.address=auto: no Ray cluster there (")


def test_more_than_this_machine_has_is_refused(tiny_in: TinyIn, tmp_path: Path) -> None:
    process = start(
        "-m", *RUN, *tiny_in(tmp_path), "hydra/launcher=ray", "hydra.launcher.address=null", "hydra.launcher.gpus=1000"
    )
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "no machine of the cluster has 1 cores and 1000 GPUs, which a run needs; lower trainer.threads" in err


@pytest.fixture(scope="module")
def ray_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster of two nodes, each with one core."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")  # else a machine that does other things, too, comes to no end
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        cluster.add_node(num_cpus=1)
        yield str(cluster.address)
        cluster.shutdown()


def test_runs_on_two_nodes_of_ray_that_are_interrupted_and_killed_end_in_the_same_bits(
    ray_address: str, alone: dict[str, tuple[Any, ...]], tiny_in: TinyIn, tmp_path: Path
) -> None:
    tiny = tiny_in(tmp_path, epochs=EPOCHS)
    ray = ["hydra/launcher=ray", f"hydra.launcher.address={ray_address}"]

    def tasks() -> list[int]:
        return with_word("ray::_make")

    said = interrupt(("-m", *RUN, "seed=1,2", *tiny, *ray), tmp_path, tasks)
    assert said == "dlbench: interrupted; the same command goes on where it was\n"
    failing = [*RUN[:-1], "optimizer.lr=0.1,-1", "seed=1,2"]
    process, get_on = start("-m", *failing, *tiny, *ray), has_trained(tmp_path, 2)
    wait_for(get_on, process)
    os.kill(tasks()[0], signal.SIGKILL)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 1, err
    assert err.count("optimizer.lr=-1: Input should be greater than 0") == 2
    assert "2 of 4 runs failed" in err.splitlines()[-1]
    assert "going on after epoch" in err
    assert endings(tmp_path) == alone
