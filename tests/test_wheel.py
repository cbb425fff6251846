"""The wheel is the whole suite: built, installed into an environment of its own, and run from elsewhere."""

import os
import site
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.slow


def call(*command: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """A command in a folder, seeing nothing of the checkout."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("DLBENCH_", "HYDRA_", "PYTHON"))}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=folder, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    call(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, folder=ROOT)
    (path,) = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment with the wheel in it; the rest of the packages are this environment's."""
    home = tmp_path_factory.mktemp("installed") / "venv"
    call(sys.executable, "-m", "venv", "--without-pip", home, folder=home.parent)
    python = home / "bin" / "python"
    (own,) = home.glob("lib/python*/site-packages")
    others = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()])
    # A path file's lines come after the folder it lies in, so that the wheel is found first; path files of the other
    # folders, such as that of an editable install, are not read.
    (own / "packages-of-the-tests.pth").write_text("".join(f"{path}\n" for path in others), encoding="utf-8")
    pip = (python, "-m", "pip", "--disable-pip-version-check", "install", "--no-deps", "--no-index")
    call(*pip, "--ignore-installed", wheel, folder=home.parent)
    return python


def test_the_wheel_holds_configurations_and_reports_and_no_tests_or_data(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"dlbench", "hydra_plugins"}
    for folder in ("conf", "experiments"):
        expected = {f"dlbench/{path.relative_to(ROOT)}" for path in (ROOT / folder).rglob("*.yaml")}
        assert expected
        assert expected <= names
    assert {"dlbench/constraints.txt", "dlbench/components.json", "dlbench/data/registry.yaml"} <= names
    modules = {
        f"{path.relative_to(ROOT)}" for top in ("dlbench", "hydra_plugins") for path in (ROOT / top).rglob("*.py")
    }
    assert modules == {name for name in names if name.endswith(".py")}
    unwanted = (".npz", ".pyc", ".jpg", ".lock")
    assert not [name for name in names if name.endswith(unwanted) or "/tests/" in name or "tfevents" in name]
    weights = [name for name in names if name.endswith(".ckpt")]
    assert [name.rsplit("/", 3)[0] for name in weights] == ["dlbench/experiments/networks"]


def test_the_installed_wheel_runs_from_any_folder(installed: Path, tmp_path: Path) -> None:
    where = call(installed, "-c", "import dlbench; print(dlbench.__file__)", folder=tmp_path).stdout.strip()
    assert Path(where).is_relative_to(installed.parent.parent)
    tiny = ("data.source=synthetic", "data.synthetic_sizes=[48,24,24]", "trainer.epochs=1", "trainer.device=cpu")
    done = call(installed, "-m", "dlbench", "+experiment=cnn_bn_gap", *tiny, "evaluation.max_shift=1", folder=tmp_path)
    assert "epoch 1/1" in done.stdout
    assert "test/accuracy" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    listed = call(installed, "-m", "dlbench", "records", "list", folder=tmp_path).stdout
    assert "cnn_bn_gap" in listed
    assert "finished, reproducible here" in listed


def test_the_installed_wheel_brings_its_commands_and_reports(installed: Path, tmp_path: Path) -> None:
    script = installed.parent / "dlbench"
    assert "cnn_vanilla" in call(script, "+experiment=cnn_vanilla", "--cfg", "job", folder=tmp_path).stdout
    assert "intel" in call(installed, "-m", "dlbench", "data", "list", folder=tmp_path).stdout
    assert list(tmp_path.iterdir()) == []
    report = call(installed, "-m", "dlbench", "report", "--profile", "none", folder=tmp_path).stdout
    assert all(name in report for name in ("a2425", "b2425", "c2425", "d2223", "e2324"))
    assert [path.name for path in tmp_path.iterdir()] == ["report"]
    assert "</html>" in (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
