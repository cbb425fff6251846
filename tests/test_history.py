"""Curves: appended to, read, summarised, and cut back, as JSON lines and as TensorBoard events."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from board import accumulated
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.tensorboard import SummaryWriter

from dlbench.errors import RecordError
from dlbench.metrics.best_epoch import summarise_curves
from dlbench.records import history
from dlbench.tasks.image_classification import ImageClassification

ROWS: list[dict[str, Any]] = [{"epoch": epoch, "val/accuracy": 1 / (epoch + 1)} for epoch in (1, 2, 3, 4)]


@pytest.fixture
def curves(tmp_path: Path) -> Path:
    path = tmp_path / "metrics.jsonl"
    for row in ROWS:
        history.append(path, row)
    return path


# --- metrics.jsonl ---------------------------------------------------------------------------------------------------


def test_rows_are_read_as_they_were_appended(curves: Path) -> None:
    assert history.read(curves) == ROWS
    assert len(curves.read_text().splitlines()) == len(ROWS)


def test_a_run_without_curves_has_no_rows(tmp_path: Path) -> None:
    assert history.read(tmp_path / "metrics.jsonl") == []


def test_a_last_line_cut_short_anywhere_is_passed_over(curves: Path) -> None:
    whole = curves.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for length in range(last, len(whole) - 1):
        curves.write_bytes(whole[:length])
        assert history.read(curves) == ROWS[:3]
    curves.write_bytes(whole[:-1])
    assert history.read(curves) == ROWS


@pytest.mark.parametrize("damage", [b'{"epoch": 2, "val/', b"\xff\x00\xfe"])
def test_a_damaged_line_in_between_is_named_by_its_number(curves: Path, damage: bytes) -> None:
    lines = curves.read_bytes().splitlines()
    curves.write_bytes(b"\n".join([lines[0], damage, *lines[2:]]))
    with pytest.raises(RecordError, match=r"metrics.jsonl: line 2 is damaged; run it again with rerun=always"):
        history.read(curves)


@pytest.mark.parametrize("epoch", [0, 2, 4, 9])
def test_rows_are_cut_back_to_an_epoch(curves: Path, epoch: int) -> None:
    with curves.open("a") as file:
        file.write('{"epoch": 5, "va')
    history.cut_back(curves, epoch)
    assert history.read(curves) == ROWS[:epoch]
    history.append(curves, {"epoch": epoch + 1})
    assert [json.loads(line)["epoch"] for line in curves.read_text().splitlines()][-1] == epoch + 1


def test_a_curve_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"cannot write .*metrics.jsonl: .*; make room"):
        history.append(tmp_path / "nowhere" / "metrics.jsonl", {"epoch": 1})


# --- the summary -----------------------------------------------------------------------------------------------------


@given(accuracies=st.lists(st.integers(0, 20).map(lambda k: k / 20), min_size=1, max_size=25))
def test_the_summary_gives_last_best_and_spread_over_the_last_ten(accuracies: list[float]) -> None:
    rows = [
        {
            "epoch": epoch,
            "step": 6 * epoch,
            "val/accuracy": accuracy,
            "val/loss": 1 - accuracy,
            "time/epoch_seconds": 9.0,
        }
        for epoch, accuracy in enumerate(accuracies, start=1)
    ]
    expected = {
        "val/accuracy": accuracies[-1],
        "val/loss": 1 - accuracies[-1],
        "val/accuracy_best": max(accuracies),
        "val/best_epoch": int(np.argmax(accuracies)) + 1,
        "val/accuracy_last10_mean": np.mean(accuracies[-10:]),
    }
    if len(accuracies) > 1:
        expected["val/accuracy_last10_std"] = np.std(accuracies[-10:], ddof=1)
    assert summarise_curves(rows, ImageClassification.monitor) == pytest.approx(expected)


def test_nothing_is_summarised_of_no_epoch() -> None:
    assert summarise_curves([], ImageClassification.monitor) == {}


# --- TensorBoard -----------------------------------------------------------------------------------------------------


def log(folder: Path, *epochs: int) -> None:
    with SummaryWriter(str(folder)) as writer:
        for epoch in epochs:
            writer.add_scalar("val/accuracy", epoch / 16, epoch)
            writer.add_scalar("val/loss", -epoch / 16, epoch)


def logged(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Every point of every curve, with repetitions, in the order in which TensorBoard reads them."""
    found = accumulated(folder)
    return {tag: [(event.step, event.value) for event in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def points(*epochs: int) -> dict[str, list[tuple[int, float]]]:
    return {
        "val/accuracy": [(epoch, epoch / 16) for epoch in epochs],
        "val/loss": [(epoch, -epoch / 16) for epoch in epochs],
    }


def test_events_are_cut_back_to_an_epoch_in_every_file_and_go_on_from_there(tmp_path: Path) -> None:
    log(tmp_path, 1, 2, 3)
    log(tmp_path, 4, 5, 6)
    history.cut_back_tensorboard(tmp_path, 4)
    assert logged(tmp_path) == points(1, 2, 3, 4)
    log(tmp_path, 5, 6)
    assert logged(tmp_path) == points(1, 2, 3, 4, 5, 6)


def test_tries_within_one_second_are_read_in_their_order_whatever_their_process_numbers(tmp_path: Path) -> None:
    moment = f"events.out.tfevents.{int(time.time()):010d}.host"
    for process, epochs in (("9998", (1, 2)), ("10003", (3, 4)), ("17", (5,))):
        history.cut_back_tensorboard(tmp_path, epochs[0] - 1)
        log(tmp_path, *epochs)
        (newest,) = (path for path in tmp_path.iterdir() if not path.name.endswith("earlier"))
        newest.rename(tmp_path / f"{moment}.{process}.0")
    assert logged(tmp_path) == points(1, 2, 3, 4, 5)


@pytest.mark.parametrize("missing", [1, 4, 20])
def test_an_event_cut_short_ends_its_file_and_what_came_before_is_kept(tmp_path: Path, missing: int) -> None:
    log(tmp_path, 1, 2, 3)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-missing])
    history.cut_back_tensorboard(tmp_path, 3)
    assert logged(tmp_path) == points(1, 2, 3) | {"val/loss": points(1, 2)["val/loss"]}
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    history.cut_back_tensorboard(tmp_path, 3)
    assert file.read_bytes() == whole
    history.cut_back_tensorboard(tmp_path, 1)
    assert logged(tmp_path) == points(1)


def test_events_that_do_not_reach_the_epoch_are_damaged_and_set_aside(tmp_path: Path) -> None:
    folder = tmp_path / "tensorboard"
    log(folder, 1, 2)
    history.cut_back_tensorboard(folder, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["tensorboard.aside-1"]


def test_without_events_there_is_nothing_to_cut_back(tmp_path: Path) -> None:
    history.cut_back_tensorboard(tmp_path / "nowhere", 3)
    assert list(tmp_path.iterdir()) == []
