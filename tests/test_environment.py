"""A run among others: whatever SLURM, torchrun or Lightning's own variables say, each process makes its own run."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from bits import same_bits

from dlbench.cli import one_line
from dlbench.environment import HIDDEN, alone
from dlbench.records.manifest import _git
from dlbench.run import Outcome, run

Again = Callable[..., Outcome]

SLURM = {
    **{"SLURM_JOB_ID": "77", "SLURM_JOB_NAME": "train", "SLURM_NODELIST": "n1", "SLURM_NODEID": "0"},
    **{"SLURM_NTASKS": "1", "SLURM_NTASKS_PER_NODE": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"},
}
GROUPS = {
    "one SLURM task": SLURM,
    "sbatch --ntasks=4": {**SLURM, "SLURM_NTASKS": "4"},
    "the second of srun -n4": {**SLURM, "SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "4", "SLURM_PROCID": "1"},
    "only a rank": {"RANK": "1"},
    "torchrun": {
        **{"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0"},
        **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", "TORCHELASTIC_RUN_ID": "x"},
    },
    "settings of Lightning's Trainer": {
        "PL_TRAINER_GRADIENT_CLIP_VAL": "0.01",
        "PL_TRAINER_ACCUMULATE_GRAD_BATCHES": "2",
    },
}


@pytest.fixture(scope="module")
def overrides(tiny_in: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return [
        "+experiment=cnn_bn_gap",
        "evaluation.max_shift=1",
        *tiny_in(tmp_path_factory.mktemp("alone") / "runs", sizes=(24, 12, 12)),
    ]


@pytest.fixture(scope="module")
def expected(compose: Callable[..., Any], overrides: list[str]) -> Outcome:
    return run(compose(*overrides))


@pytest.fixture
def again(compose: Callable[..., Any], overrides: list[str], tmp_path: Path) -> Again:
    """Make the same run in a folder of the test's own."""
    return lambda *more: run(compose(*overrides, f"paths.runs={tmp_path}", *more))


@pytest.mark.parametrize("group", GROUPS)
def test_in_a_group_each_process_makes_its_own_run(
    group: str, again: Again, expected: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in GROUPS[group].items():
        monkeypatch.setenv(name, value)
    outcome = again()
    assert same_bits(outcome, expected)
    assert any(outcome.record.tensorboard.glob("*tfevents*"))
    assert {name: os.environ[name] for name in GROUPS[group]} == GROUPS[group]


@pytest.mark.slow
def test_a_new_process_in_groups_makes_its_own_run(overrides: list[str], expected: Outcome, tmp_path: Path) -> None:
    """As torchrun starts it within a task of srun's."""
    command = [sys.executable, "-m", "dlbench", *overrides, f"paths.runs={tmp_path}"]
    environment = os.environ | GROUPS["the second of srun -n4"] | GROUPS["torchrun"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{expected.result['metrics']['test/accuracy']:.4f}" in done.stdout
    assert any(tmp_path.glob(f"{expected.record.id}/tensorboard/*tfevents*"))


@pytest.mark.parametrize("place", ["hpc_ckpt_1.ckpt", "last.ckpt"])
def test_no_checkpoint_that_lies_about_is_evaluated(
    place: str, again: Again, expected: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    trained = again("evaluation.max_shift=0")
    content = torch.load(trained.record.checkpoints.all()[-1].path, weights_only=True)
    content["state_dict"] = {name: torch.zeros_like(value) for name, value in content["state_dict"].items()}
    torch.save(content, trained.record.folder / place)
    assert again().result["metrics"] == expected.result["metrics"]


def test_what_is_hidden_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("MY_SLURM_NOTE", "kept")
    with pytest.raises(RuntimeError), alone() as root:
        assert not any(root.iterdir())
        assert "SLURM_JOB_ID" not in os.environ
        assert os.environ["MY_SLURM_NOTE"] == "kept"
        raise RuntimeError
    assert os.environ["SLURM_JOB_ID"] == "7"
    assert not HIDDEN.fullmatch("PATH")


# --- what the system allows, and has ---------------------------------------------------------------------------------


def cold(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A process of its own."""
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)


def test_more_files_may_be_open_than_a_terminal_allows_by_default() -> None:
    code = (
        "import resource; from dlbench.environment import raise_file_limit\n"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "for soft, most in ((256, 8192), (256, 1000), (100, 50)):\n"
        "    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))\n"
        "    raise_file_limit(most)\n"
        "    print(resource.getrlimit(resource.RLIMIT_NOFILE)[0], min(max(soft, most), hard))\n"
    )
    lines = cold("-c", code).stdout.splitlines()
    assert len(lines) == 3
    assert all(len({*line.split()}) == 1 for line in lines), lines


@pytest.mark.slow
def test_everything_can_be_imported_where_unix_alone_has_a_module() -> None:
    code = (
        "import importlib, pkgutil, sys\n"
        "for name in ('resource', 'fcntl', 'termios', 'pwd', 'grp'): sys.modules[name] = None\n"
        "import dlbench\n"
        "for found in pkgutil.walk_packages(dlbench.__path__, 'dlbench.'):\n"
        "    try:\n"
        "        if not found.name.endswith('__main__'): importlib.import_module(found.name)\n"
        "    except ModuleNotFoundError as error:\n"
        "        if error.name not in ('submitit', 'ray'): raise\n"  # of extras that need not be there
        "from dlbench.records.manifest import peak_memory_bytes\n"
        "from dlbench.environment import raise_file_limit\n"
        "raise_file_limit()\n"
        "print(peak_memory_bytes() != 0)\n"
    )
    done = cold("-W", "ignore", "-c", code)
    assert (done.stdout, done.returncode) == ("True\n", 0), done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="only the superuser gives a folder to another owner")
def test_the_commit_of_another_owners_checkout_is_told(tmp_path: Path) -> None:
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    for path in (tmp_path, *tmp_path.rglob("*")):
        os.chown(path, 12345, 12345)
    assert _git(tmp_path, "rev-parse", "HEAD") == commit
    assert _git(tmp_path, "status", "--porcelain") == ""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 37748736 bytes"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_the_end_of_memory_is_one_line(error: Exception) -> None:
    assert (one_line(error) or "").startswith("out of memory; make fewer runs at a time")


def test_no_other_error_is_taken_for_the_end_of_memory() -> None:
    assert one_line(RuntimeError("shapes do not fit")) is None
    assert one_line(ImportError("no module named x")) is None
    assert "make room" in (one_line(OSError(28, "No space left on device")) or "")
