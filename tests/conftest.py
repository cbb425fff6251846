"""What the tests share: composed configurations, a run small enough for a test, the real data where it is."""

import atexit
import io
import os
import signal
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import HealthCheck, settings
from omegaconf import DictConfig, OmegaConf

from dlbench import commands, paths
from dlbench.config import composition
from dlbench.records.store import Record, Store
from dlbench.report.checks import Verdicts
from dlbench.report.document import Document
from dlbench.report.results import Evidence, collect
from dlbench.report.schema import load_all
from dlbench.report.sections import build
from dlbench.run import Outcome, run

Compose = Callable[..., DictConfig]
TinyIn = Callable[..., list[str]]
QUICK_EPOCHS = 4


# A machine that also trains is slow at times; that is no failure.
settings.register_profile("dlbench", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("dlbench")


def pytest_configure() -> None:
    """What is kept between processes is kept of this session alone, and of all its workers."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        folder = tempfile.TemporaryDirectory(prefix="dlbench-tests-", ignore_cleanup_errors=True)
        atexit.register(folder.cleanup)
        os.environ["DLBENCH_CACHE"] = folder.name


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tests run beside each other and beside trainings."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def ctrl_c() -> None:
    """Tests interrupt processes that they start; a shell that runs the tests in the background has Ctrl-C ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def compose() -> Compose:
    """The configuration that a command line with these overrides would run."""

    def composed(*words: str) -> DictConfig:
        return OmegaConf.create(composition(words))

    return composed


@pytest.fixture(scope="session")
def tiny_in() -> TinyIn:
    """Overrides that make any experiment a matter of seconds, recorded in a folder; later ones replace them."""

    def overrides(runs: Path, *, epochs: int = 2, sizes: tuple[int, int, int] = (48, 24, 24)) -> list[str]:
        return [
            "data.source=synthetic",
            f"data.synthetic_sizes={list(sizes)}",
            f"trainer.epochs={epochs}",
            "trainer.device=cpu",
            "trainer.progress=none",
            "callbacks.pictures.epochs=[]",
            f"paths.runs={runs}",
        ]

    return overrides


@pytest.fixture
def tiny(tiny_in: TinyIn, tmp_path: Path) -> list[str]:
    """The same, recorded in a folder of the test's own."""
    return tiny_in(tmp_path / "runs")


@pytest.fixture(scope="session")
def quick(tiny_in: TinyIn) -> TinyIn:
    """The command line of a classifier that tells its epochs, recorded in a folder."""
    shown = ["trainer.progress=lines", "evaluation.max_shift=0"]
    return lambda runs, epochs=QUICK_EPOCHS: ["+experiment=cnn_bn_gap", *tiny_in(runs, epochs=epochs), *shown]


@pytest.fixture(scope="session")
def undisturbed(quick: TinyIn, compose: Compose, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """What `quick` comes to when nothing happens to it; to be copied by who changes it."""
    return run(compose(*quick(tmp_path_factory.mktemp("undisturbed"))))


@pytest.fixture(scope="session")
def recogniser(tiny_in: TinyIn) -> TinyIn:
    """Overrides of a small recogniser of a few tones, recorded in a folder."""

    def overrides(runs: Path, experiment: str = "asr_attention_spoken") -> list[str]:
        small = ["model.size=16", "model.feedforward=16", "data.batch_size=8"]
        return [f"+experiment={experiment}", *tiny_in(runs, sizes=(48, 12, 20)), *small]

    return overrides


@pytest.fixture(scope="session")
def decoded(compose: Compose, tiny_in: TinyIn, tmp_path_factory: pytest.TempPathFactory) -> Record:
    """A small transducer, trained once and decoded in three ways; to be copied by who changes it."""
    overrides = ["+experiment=p2g_attention", *tiny_in(tmp_path_factory.mktemp("decoded") / "runs"), "model.size=16"]
    record = run(compose(*overrides)).record
    for decoding in ("nucleus", "beam"):
        assert not run(compose(*overrides, f"decoding={decoding}")).trained
    return record


@pytest.fixture(scope="session")
def committed() -> Verdicts:
    """The verdicts on the records that the repository holds; the records are its ``evidence.collection``."""
    return Verdicts(Evidence(load_all(), collect([Store(paths.experiments() / "results")])))


@pytest.fixture(scope="session")
def committed_document(committed: Verdicts) -> Document:
    """The report of the committed records, with its figures."""
    return build(committed)


@pytest.fixture(scope="session")
def written(
    committed: Verdicts, committed_document: Document, tmp_path_factory: pytest.TempPathFactory
) -> SimpleNamespace:
    """What the report's command makes of the committed records: its exit code, what it prints, its folder, the runs.

    What it would judge and draw once more it is given: `test_report_main` has it do so by itself, to the same bytes.
    """
    folder, out, err = tmp_path_factory.mktemp("report"), io.StringIO(), io.StringIO()
    runs = folder.parent / f"{folder.name}-runs"
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr("dlbench.commands.report.judge", lambda *_: committed)
        patch.setattr("dlbench.report.files.build", lambda _: committed_document)
        code = commands.call("report", ["--profile", "none", "--runs", str(runs), "--output", str(folder)])
    return SimpleNamespace(code=code, out=out.getvalue(), err=err.getvalue(), folder=folder, runs=runs)


@pytest.fixture(scope="session")
def real_data_folder() -> Path:
    """The folder of real data sets; where there is none the test is skipped, and says so."""
    if not os.environ.get("DLBENCH_DATA"):
        pytest.skip("DLBENCH_DATA is not set: no real data to test with")
    return Path(os.environ["DLBENCH_DATA"])
