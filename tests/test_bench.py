"""The benchmark in its quick form: what it measures is real, and its statistics are right. No speed is asserted."""

import itertools
import json
import math
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from dlbench import commands
from dlbench.bench import parts, plain, worker, workers
from dlbench.bench.parts import BN_GAP, LAYERS, PARTS, QUICK, job
from dlbench.bench.report import Part, Ratio, Report, Row, paired_ratio
from dlbench.bench.worker import Ours, flops_of
from dlbench.bench.workers import BenchError, Job, Worker, all_cores, in_turns, measure, speed, unset_thread_counts
from dlbench.data.image_datamodules import IntelDataModule, to_network
from dlbench.models.cnn import ConvNet
from dlbench.records import history
from dlbench.records.store import Store
from dlbench.tasks.image_classification import ImageClassification

MACHINE = {
    "processor": "a processor",
    "system": "Linux",
    "cores": 2,
    "python": "3",
    "torch": "2",
    "pytorch-lightning": "2",
    "commit": None,
    "dirty": None,
    "date": "2026-01-01",
    "load": 0.0,
}


@pytest.fixture(scope="module")
def data() -> IntelDataModule:
    return IntelDataModule(source="synthetic", synthetic_sizes=(24, 6, 6), seed=1)


def small(**settings: Any) -> ConvNet:
    torch.manual_seed(0)
    return ConvNet(channels=(8, 16), hidden=(32,), hidden_bn=(False,), hidden_dropout=(0.0,), dropout=0.0, **settings)


# the plain loop and ours


def plain_losses(model: ConvNet, batches: Any, steps: int, lr: float = 0.01) -> list[float]:
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    return [loss for loss, _ in itertools.islice(plain.train(model, batches, optimizer, plain.picture_loss), steps)]


def test_the_plain_loop_learns(data: IntelDataModule) -> None:
    batches = torch.utils.data.DataLoader(plain.as_floats(data.tensors("train")), batch_size=8, shuffle=True)
    losses = plain_losses(small(convolution_bn=True), batches, 90, lr=0.05)
    assert np.mean(losses[-12:]) < 0.5 * np.mean(losses[:12])


def test_the_plain_loop_holds_its_pictures_as_the_scripts_did(data: IntelDataModule) -> None:
    images, labels = plain.as_floats(data.tensors("train")).tensors
    assert images.is_contiguous() and images.dtype == torch.float32
    pictures = data.pictures.train.images
    expected = to_network(torch.from_numpy(pictures), "chw").numpy().astype(np.float32) / 256
    np.testing.assert_array_equal(images.numpy(), expected)
    np.testing.assert_array_equal(labels.numpy(), data.pictures.train.labels)


@pytest.mark.parametrize("settings", [{}, {"convolution_bn": True, "gap": True}])
def test_both_loops_do_the_same_arithmetic(data: IntelDataModule, settings: dict[str, Any]) -> None:
    """Without dropout, on one batch: the same losses, so the same gradients and updates, up to rounding."""
    batch = data.tensors("train")[torch.arange(8)]
    images = batch[0].contiguous(memory_format=torch.contiguous_format)
    theirs = plain_losses(small(**settings), [(images, batch[1])], 5)
    task = ImageClassification(small(**settings), lambda parameters: torch.optim.SGD(parameters, lr=0.01), None)  # type: ignore[arg-type]
    ours = Ours(task, task.optimizer_factory(task.parameters()), data, itertools.repeat(batch))
    ours.bare(5, checks_loss=True, reseeds=False)
    assert task.epoch_losses == pytest.approx(theirs, rel=1e-3)
    assert theirs[-1] < theirs[0]


def test_the_operations_of_a_step_are_counted_forward_and_backward() -> None:
    layer = nn.Linear(20, 30, bias=False)
    inputs = torch.randn(7, 20)
    product = 2 * 7 * 20 * 30
    assert flops_of(lambda: layer(inputs).sum().backward()) == 2 * product  # the input needs no gradient
    two_layers = nn.Sequential(nn.Linear(20, 30), nn.Linear(30, 20))
    assert flops_of(lambda: two_layers(inputs).sum().backward()) == 2 * product + 3 * product


# turns and ratios


def test_measures_take_turns_there_and_back() -> None:
    order: list[str] = []

    def measure(name: str) -> float:
        order.append(name)
        return float(len(order))

    taken = in_turns(3, {name: lambda name=name: measure(name) for name in "ABC"})
    assert "".join(order) == "ABC" + "CBA" + "ABC"
    assert taken == {"A": [1, 6, 7], "B": [2, 5, 8], "C": [3, 4, 9]}


@pytest.mark.parametrize("of_pairs", [True, False])
def test_ratios_and_intervals_against_scipy(of_pairs: bool) -> None:
    generator = np.random.default_rng(3)
    below = generator.lognormal(0, 0.1, 25)
    above = below * generator.lognormal(0.4, 0.05, 25)

    def estimate(tops: Any, bottoms: Any, axis: int = -1) -> Any:
        if of_pairs:
            return np.median(tops / bottoms, axis=axis)
        return np.median(tops, axis=axis) / np.median(bottoms, axis=axis)

    found = paired_ratio(above.tolist(), below.tolist(), of_medians=not of_pairs)
    assert found.value == estimate(above, below)
    assert found.pairs == pytest.approx(above / below)
    scipys = stats.bootstrap(
        (above, below), estimate, paired=True, method="percentile", n_resamples=10_000, rng=np.random.default_rng(1)
    ).confidence_interval
    width = scipys.high - scipys.low
    assert (found.low, found.high) == pytest.approx((scipys.low, scipys.high), abs=0.15 * width)


def test_the_interval_is_the_same_every_time_and_narrows_with_more_pairs() -> None:
    generator = np.random.default_rng(5)
    above, below = generator.normal(2, 0.2, 64).tolist(), [1.0] * 64
    assert paired_ratio(above, below) == paired_ratio(above, below)
    few, many = paired_ratio(above[:8], below[:8]), paired_ratio(above, below)
    assert many.high - many.low < few.high - few.low
    assert few.low <= few.value <= few.high
    single = paired_ratio([3.0], [2.0])
    assert (single.value, single.low, single.high) == (1.5, 1.5, 1.5)


@pytest.mark.parametrize(
    ("target", "value", "low", "high", "verdict"),
    [
        ("at least 1.15", 1.2, 1.16, 1.3, "yes"),
        ("at least 1.15", 1.15, 1.1, 1.3, "yes, not surely"),
        ("at least 1.15", 1.1, 1.0, 1.12, "no"),
        ("at most 1.03", 1.03, 1.03, 1.03, "yes"),
        ("at most 1.03", 1.04, 1.02, 1.06, "no, not surely"),
        ("below 0.8", 0.8, 0.8, 0.8, "no"),
    ],
)
def test_a_verdict_says_when_the_interval_crosses_the_target(
    target: str, value: float, low: float, high: float, verdict: str
) -> None:
    assert Row("a run", "s", 1, 1, Ratio(value, low, high, ()), target).verdict == verdict


# processes of their own


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Worker, Worker, Path]]:
    """A run of ours pinned to the last core, and the plain loop on all of them; they end when their driver does."""
    folder = tmp_path_factory.mktemp("pair")
    ours = Worker(job(QUICK, BN_GAP, all_cores()[-1:], "trainer.limit_train_batches=4"), folder / "ours")
    plainly = Worker(job(QUICK, BN_GAP, all_cores(), kind="plain"), folder / "plain")
    for started in (ours, plainly):
        started.facts = started.receive()
    yield ours, plainly, folder / "ours"
    for started in (ours, plainly):
        started.connection.close()
        started.process.join(timeout=120)
        assert started.process.exitcode == 0


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system pins no processes")
def test_workers_are_pinned_with_all_their_threads(pair: tuple[Worker, Worker, Path]) -> None:
    for started, cores in zip(pair[:2], (all_cores()[-1:], all_cores()), strict=True):
        assert speed([started], 2) > 0
        threads = [int(path.name) for path in Path(f"/proc/{started.process.pid}/task").iterdir()]
        assert threads
        assert {tuple(sorted(os.sched_getaffinity(thread))) for thread in threads} == {tuple(cores)}
        assert started.facts["threads"] == len(cores)
        assert "synthetic, 64 training pictures" in started.facts["data"]


@pytest.mark.slow
def test_ours_is_a_real_run_with_a_record(pair: tuple[Worker, Worker, Path]) -> None:
    """4 steps an epoch: 10 steps leave two epochs or more on record, whose ends have their times, and every layer can
    be timed."""
    ours, _, folder = pair
    answer = ours.ask("step", steps=10)
    assert all(answer[phase] > 0 for phase in ("seconds", "lightning", "validation", "recorder"))
    (record,) = Store(folder).all()
    rows = history.read(record.metrics)
    assert len(rows) >= 2
    assert [row["step"] for row in rows[:2]] == [4, 8]
    assert rows[0]["train/loss"] > 0
    assert list(record.tensorboard.iterdir()) and record.checkpoints.whole()
    assert all(speed([ours], 1, **layer) > 0 for layer in LAYERS.values())
    for dtype in ("float32", "bfloat16"):
        assert 1e6 < ours.ask("rate", sizes=[64, 128], dtype=dtype)["rate"] < 1e15


def last_words(*_: Any) -> None:
    """What a worker does that crashes."""
    os.write(2, b"a warning\nout of\n  luck\n")
    os.abort()


def work_and_crash(*arguments: Any, work: Any = workers._work) -> None:
    worker.serve = last_words
    work(*arguments)


@pytest.mark.parametrize(
    ("experiment", "crashes", "error"),
    [("no_such", False, r"code 1: \w+: .*no_such"), (BN_GAP, True, r"code -6: a warning out of luck$")],
)
def test_a_worker_that_fails_or_crashes_says_why(
    experiment: str, crashes: bool, error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if crashes:
        monkeypatch.setattr(workers, "_work", work_and_crash)
    started = Worker(Job([f"+experiment={experiment}"], all_cores(), 1), tmp_path / "run")
    with pytest.raises(BenchError, match=f"^a benchmark process ended with {error}"):
        started.ask("step", steps=1)
    started.close()


def test_thread_counts_come_from_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("DLBENCH_SOMETHING", "1")
    with unset_thread_counts():
        assert "OMP_NUM_THREADS" not in os.environ and "DLBENCH_SOMETHING" in os.environ
    assert os.environ["OMP_NUM_THREADS"] == "1"


# the whole command


LEFT_OUT = {"memory", "yoyodyne"}
"""Parts that the quick form leaves out, or that have a test of their own."""


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, dict[str, Any], str]:
    """``make bench ARGS='--quick ...'``, with less to import: its exit code, its JSON, its page."""
    folder = tmp_path_factory.mktemp("quick")
    names = [name for name in PARTS if name not in LEFT_OUT]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "IMPORTS", "json")
        only = [word for name in names for word in ("--only", name)]
        files = ["--json", f"{folder}/b.json", "--markdown", f"{folder}/docs/b.md"]
        code = commands.call("bench", ["--quick", *only, *files])
    return code, json.loads((folder / "b.json").read_text()), (folder / "docs/b.md").read_text()


@pytest.mark.slow
def test_every_part_gives_ratios(quick: tuple[int, dict[str, Any], str]) -> None:
    code, found, page = quick
    assert code == 0
    assert found["quick"] and not found["failures"]
    assert found["parts"].keys() == PARTS.keys() - LEFT_OUT
    assert found["machine"]["cores"] == len(all_cores())
    for name, part in found["parts"].items():
        assert part["rows"], name
        for row in part["rows"]:
            ratio = row["ratio"]
            assert bool(row["verdict"]) == bool(row["target"])
            assert row["what"] in page
            if row["reference"] is None:
                assert ratio is None and math.isfinite(row["ours"]) and row["ours"] > 0
                continue
            assert all(math.isfinite(value) and value > 0 for value in (row["ours"], row["reference"])), row
            assert len(ratio["pairs"]) in (QUICK.few, QUICK.pairs)
            assert all(math.isfinite(value) and value > 0 for value in (ratio["value"], *ratio["pairs"])), row
            assert ratio["low"] <= ratio["value"] <= ratio["high"]
    assert len(found["parts"]["overhead"]["rows"]) == 2 + 4 + 2
    assert "mean nothing" in page and found["machine"]["processor"] in page


@pytest.mark.slow
def test_the_part_on_sequences(quick: tuple[int, dict[str, Any], str]) -> None:
    part = quick[1]["parts"]["sequences"]
    assert [row["what"] for row in part["rows"]] == [
        "training epoch / plain on one core",
        "two runs side by side / one",
        "training epoch / its arithmetic limit",
        "greedy / plain on one core",
        "nucleus, 3 samples / plain on one core",
        "beam search, width 5 / greedy",
        "operations",
        "p2g_attention, best matrix product on a core",
    ]
    assert any("synthetic, 64 training pairs" in note for note in part["notes"])
    assert any("on 24 of 24 words" in note for note in part["notes"])


@pytest.mark.slow
def test_the_page_names_no_folder_and_no_host(quick: tuple[int, dict[str, Any], str], tmp_path: Path) -> None:
    _, found, page = quick
    for text in (page, json.dumps(found)):
        assert str(tmp_path.parent.parent) not in text and str(Path.home()) not in text
        assert socket.gethostname() not in text


def test_without_real_pictures_memory_is_left_out_in_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DLBENCH_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    assert commands.call("bench", ["--quick", "--only", "memory"]) == 0
    assert "left out: no real pictures" in capsys.readouterr().out


def test_a_part_that_breaks_is_named_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DLBENCH_DATA", str(tmp_path / "nowhere"))
    monkeypatch.setitem(PARTS, "limits", lambda effort: Part("Another part", "", [Row("a number", "GB", 1.25)]))
    words = ["--quick", "--only", "memory", "--only", "limits", "--markdown", str(tmp_path / "page.md")]
    assert commands.call("bench", words) == 1
    shown = capsys.readouterr()
    assert "memory: " in shown.err and "no such data folder" in shown.err
    page = (tmp_path / "page.md").read_text()
    assert "Not measured" in page and "| a number | 1.25 GB |" in page


def test_a_missed_target_is_a_finding() -> None:
    ratio = paired_ratio([1.0, 1.1, 1.2], [1.0, 1.0, 1.0])
    row = Row("a run", "steps/s", 1.1, 1.0, ratio, "at least 2")
    page = Report(False, MACHINE, {"sweep": Part("A sweep", "plain loop", [row], ["a note"])}).markdown()
    line = "| a run | 1.1 steps/s | 1 steps/s | 1.100 | 1.000 - 1.200 | 3 | at least 2 | no |"
    assert line in page.splitlines()
    assert "- a note" in page and "mean nothing" not in page and "BUSY" not in page
    assert "BUSY" in Report(False, {**MACHINE, "load": 1.9}).markdown()


@pytest.mark.slow
@pytest.mark.real_data
def test_peak_memory_on_the_real_pictures(real_data_folder: Path) -> None:
    training, whole = PARTS["memory"](QUICK).rows
    assert 0.2 < training.ours <= whole.ours
    assert training.verdict == whole.verdict == "yes"


def test_a_process_is_not_charged_with_what_its_launcher_holds() -> None:
    held = bytearray(400 * 2**20)
    held[:: 2**12] = b"\1" * len(held[:: 2**12])
    usage = measure("-c", "print('hello')")
    assert usage.output == "hello\n"
    assert 2**20 < usage.peak_bytes < 200 * 2**20
    assert usage.cpu > 0
    with pytest.raises(BenchError, match=r"(?s)python -c 1/0 ended with code 1: .*ZeroDivisionError"):
        measure("-c", "1/0")
    with pytest.raises(BenchError, match="ended with code -9: it wrote nothing"):
        measure("-c", "import os; os.kill(os.getppid(), 9)")  # the launcher, say for lack of memory
    late = "import os; os.fork() or (__import__('time').sleep(1), print('late'))"
    assert "late" in measure("-c", late).output
    del held


PROGRAM = """
import os, sys
from multiprocessing.connection import Connection
connection = Connection(int(sys.argv[2]))
connection.send(sorted(os.sched_getaffinity(0)))
connection.send([*connection.recv(), sys.argv[1]])
1 / 0
"""


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system pins no processes")
def test_another_program_can_be_a_worker(tmp_path: Path) -> None:
    """On its cores, with a folder and a connection of its own; its errors are told."""
    started = Worker(Job([sys.executable, "-c", PROGRAM], all_cores()[-1:], 0, "program"), tmp_path / "other")
    assert started.receive() == all_cores()[-1:]
    assert started.ask("step", steps=3) == ["step", {"steps": 3}, str(tmp_path / "other")]
    with pytest.raises(BenchError, match=r"ended with code 1: .*ZeroDivisionError"):
        started.receive()
    started.close()


def test_a_python_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "p2g").mkdir()
    (tmp_path / "p2g/train.tsv").touch()
    monkeypatch.setenv("DLBENCH_DATA", str(tmp_path))
    monkeypatch.setenv("DLBENCH_YOYODYNE", "no-such-python")
    with pytest.raises(BenchError, match="DLBENCH_YOYODYNE=no-such-python: cannot be started"):
        PARTS["yoyodyne"](parts.FULL)
