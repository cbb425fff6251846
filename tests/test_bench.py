"""The benchmark in its quick form: what it measures is real, and its statistics are right. No speed is asserted."""

import itertools
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.utils.data import TensorDataset

from dlbench.bench.__main__ import PARTS, main
from dlbench.bench.arithmetic import matmul_rate, step_flops
from dlbench.bench.ours import BARE, bare_steps
from dlbench.bench.part import ENDLESS, QUICK, Case, Part, Row
from dlbench.bench.plain import as_floats, train
from dlbench.bench.processes import measure
from dlbench.bench.ratios import Target, in_turns, median_ratio, ratio_of_medians
from dlbench.bench.report import markdown
from dlbench.bench.workers import BenchError, Specification, Worker, all_cores, environment
from dlbench.data.image_datamodules import IntelDataModule
from dlbench.data.images import to_network
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
    return IntelDataModule(source="embedded", embedded_sizes=(24, 6, 6), seed=1)


def small(**settings: Any) -> ConvNet:
    torch.manual_seed(0)
    return ConvNet(channels=(8, 16), hidden=(32,), hidden_bn=(False,), hidden_dropout=(0.0,), dropout=0.0, **settings)


# the plain loop and ours


def test_the_plain_loop_learns(data: IntelDataModule) -> None:
    losses = list(itertools.islice(train(small(convolution_bn=True), as_floats(data.tensors("train")), lr=0.05), 90))
    assert np.mean(losses[-12:]) < 0.5 * np.mean(losses[:12])


def test_the_plain_loop_holds_its_pictures_as_the_scripts_did(data: IntelDataModule) -> None:
    images, labels = as_floats(data.tensors("train")).tensors
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
    plain = list(itertools.islice(train(small(**settings), TensorDataset(images, batch[1])), 5))
    task = ImageClassification(small(**settings), lambda parameters: torch.optim.SGD(parameters, lr=0.01), None)  # type: ignore[arg-type]
    optimizer = task.optimizer_factory(task.parameters())
    seconds = bare_steps(task, optimizer, itertools.repeat(batch), 5, **BARE["checked"])
    assert seconds > 0
    assert task.epoch_losses == pytest.approx(plain, rel=1e-3)
    assert plain[-1] < plain[0]


def test_the_operations_of_a_step_are_counted_forward_and_backward() -> None:
    layer = nn.Linear(20, 30, bias=False)
    inputs = torch.randn(7, 20)
    product = 2 * 7 * 20 * 30
    assert step_flops(lambda: layer(inputs).sum()) == 2 * product  # the input needs no gradient
    two_layers = nn.Sequential(nn.Linear(20, 30), nn.Linear(30, 20))
    assert step_flops(lambda: two_layers(inputs).sum()) == 2 * product + 3 * product


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_core_has_a_best_rate(dtype: torch.dtype) -> None:
    assert 1e6 < matmul_rate([64, 128], dtype) < 1e15


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

    found = (median_ratio if of_pairs else ratio_of_medians)(above.tolist(), below.tolist())
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
    assert median_ratio(above, below) == median_ratio(above, below)
    few, many = median_ratio(above[:8], below[:8]), median_ratio(above, below)
    assert many.high - many.low < few.high - few.low
    assert few.low <= few.value <= few.high
    single = median_ratio([3.0], [2.0])
    assert (single.value, single.low, single.high) == (1.5, 1.5, 1.5)


@pytest.mark.parametrize(
    ("target", "value", "low", "high", "verdict"),
    [
        (Target("at least", 1.15), 1.2, 1.16, 1.3, "yes"),
        (Target("at least", 1.15), 1.15, 1.1, 1.3, "yes, not surely"),
        (Target("at least", 1.15), 1.1, 1.0, 1.12, "no"),
        (Target("at most", 1.03), 1.03, 1.03, 1.03, "yes"),
        (Target("at most", 1.03), 1.04, 1.02, 1.06, "no, not surely"),
        (Target("below", 0.8), 0.8, 0.8, 0.8, "no"),
    ],
)
def test_a_verdict_says_when_the_interval_crosses_the_target(
    target: Target, value: float, low: float, high: float, verdict: str
) -> None:
    assert target.verdict(value, low, high) == verdict


# processes of their own


@pytest.fixture(scope="module")
def crew(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Worker, Worker, Path]]:
    """A run of ours pinned to the last core, and the plain loop on all of them; they end when their input does."""
    folder = tmp_path_factory.mktemp("crew")
    case = Case("cnn_bn_gap")
    ours = Worker(Specification("ours", case.overrides(QUICK, ENDLESS), 1, all_cores()[-1:]), folder)
    plain = Worker(Specification("plain", case.overrides(QUICK), 1), folder / "unused")
    for worker in (ours, plain):
        worker.facts = worker.receive()
    yield ours, plain, folder
    for worker in (ours, plain):
        worker._process.communicate(timeout=120)
        assert worker._process.returncode == 0
        worker.close()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system pins no processes")
def test_workers_are_pinned_with_all_their_threads(crew: tuple[Worker, Worker, Path]) -> None:
    for worker, cores in zip(crew[:2], (all_cores()[-1:], all_cores()), strict=True):
        assert worker.seconds(2) > 0
        threads = [int(path.name) for path in Path(f"/proc/{worker.pid}/task").iterdir()]
        assert threads
        assert {tuple(sorted(os.sched_getaffinity(thread))) for thread in threads} == {tuple(cores)}
        assert worker.facts["threads"] == len(cores)
        assert "embedded, 64 training pictures" in worker.facts["data"]


@pytest.mark.slow
def test_ours_is_a_real_run_with_a_record(crew: tuple[Worker, Worker, Path]) -> None:
    """64 pictures are 8 steps an epoch: 20 steps leave two epochs or more on record, and every layer can be timed."""
    ours, _, folder = crew
    assert ours.seconds(20) > 0
    (record,) = Store(folder).all()
    rows = history.read(record.metrics)
    assert len(rows) >= 2
    assert [row["step"] for row in rows[:2]] == [8, 16]
    assert rows[0]["train/loss"] > 0
    assert list(record.tensorboard.iterdir()) and record.checkpoints.whole()
    assert all(ours.seconds(2, layer) > 0 for layer in (*BARE, "unlogged", "step"))
    ends = [ours.ask("epoch_end") for _ in range(2)]
    assert all(end["recorder"] > 0 and end["lightning"] > 0 for end in ends)
    assert len(history.read(record.metrics)) >= 4


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system pins no processes")
def test_a_worker_that_dies_says_why(tmp_path: Path) -> None:
    worker = Worker(Specification("ours", ["+experiment=cnn_bn_gap"], 1, cores=[]), tmp_path)
    with pytest.raises(BenchError, match=r"code 1.*Invalid argument"):
        worker.receive()
    worker.close()


def test_thread_counts_come_from_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("DLBENCH_SOMETHING", "1")
    assert "OMP_NUM_THREADS" not in environment()
    assert "DLBENCH_SOMETHING" in environment()


# the whole command


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, dict[str, Any], str]:
    """``make bench ARGS='--quick ...'``: its exit code, its JSON, its page."""
    folder = tmp_path_factory.mktemp("quick")
    names = [name for name in PARTS if name != "memory"]
    code = main(["--quick", "--only", *names, "--json", f"{folder}/b.json", "--markdown", f"{folder}/docs/b.md"])
    return code, json.loads((folder / "b.json").read_text()), (folder / "docs/b.md").read_text()


@pytest.mark.slow
def test_every_part_gives_ratios(quick: tuple[int, dict[str, Any], str]) -> None:
    code, found, page = quick
    assert code == 0
    assert found["quick"] and not found["failures"]
    assert found["parts"].keys() == PARTS.keys() - {"memory"}
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
            assert len(ratio["pairs"]) == (QUICK.starts if name == "startup" else QUICK.pairs)
            assert all(math.isfinite(value) and value > 0 for value in (ratio["value"], *ratio["pairs"])), row
            assert ratio["low"] <= ratio["value"] <= ratio["high"]
    assert len(found["parts"]["overhead"]["table"]) == 1 + 1 + 5 + 2
    assert "mean nothing" in page and found["machine"]["processor"] in page


@pytest.mark.slow
def test_the_page_names_no_folder_and_no_host(quick: tuple[int, dict[str, Any], str], tmp_path: Path) -> None:
    import socket

    _, found, page = quick
    for text in (page, json.dumps(found)):
        assert str(tmp_path.parent.parent) not in text and str(Path.home()) not in text
        assert socket.gethostname() not in text


def test_without_real_pictures_memory_is_left_out_in_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DLBENCH_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    assert main(["--quick", "--only", "memory"]) == 0
    assert "left out: no real pictures" in capsys.readouterr().out


def test_a_part_that_breaks_is_named_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DLBENCH_DATA", str(tmp_path / "nowhere"))
    monkeypatch.setitem(PARTS, "limits", lambda effort: Part("Another part", "", [Row("a number", "GB", 1.25)]))
    assert main(["--quick", "--only", "memory", "limits", "--markdown", str(tmp_path / "page.md")]) == 1
    shown = capsys.readouterr()
    assert "memory: " in shown.err and "no such data folder" in shown.err
    page = (tmp_path / "page.md").read_text()
    assert "Not measured" in page and "| a number | 1.25 GB |" in page


def test_a_missed_target_is_a_finding() -> None:
    ratio = median_ratio([1.0, 1.1, 1.2], [1.0, 1.0, 1.0])
    row = Row("a run", "steps/s", 1.1, 1.0, ratio, Target("at least", 2.0))
    page = markdown({"sweep": Part("A sweep", "plain loop", [row], ["a note"])}, {}, MACHINE, quick=False)
    line = "| a run | 1.1 steps/s | 1 steps/s | 1.100 | 1.000 - 1.200 | 1.000 - 1.200 | at least 2 | no |"
    assert line in page.splitlines()
    assert "- a note" in page and "mean nothing" not in page and "BUSY" not in page
    assert "BUSY" in markdown({}, {}, {**MACHINE, "load": 1.9}, quick=False)


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
    del held
