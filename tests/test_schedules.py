"""The schedule of the speech recognisers, and the optimiser it comes with."""

from itertools import pairwise

import pytest
import torch
from torch.optim import AdamW

from dlbench.tasks.optim import adamw, warmup_and_decay


def rates(epochs: int, *, count: int | None = None, **settings: float) -> list[float]:
    optimizer = adamw([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    schedule = warmup_and_decay(optimizer, epochs, **settings)  # type: ignore[arg-type]
    found = []
    for _ in range(count or epochs):
        found.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        schedule.step()
    return found


def test_the_published_learning_rates() -> None:
    found = rates(15)
    assert found[:3] == pytest.approx([1e-5, 5.05e-4, 1e-3])
    assert found[-1] == pytest.approx(1e-5)
    steps = [after - before for before, after in pairwise(found[2:])]
    assert steps == pytest.approx([steps[0]] * 12)


def test_later_epochs_keep_the_last_rate_and_no_warm_up_begins_at_the_top() -> None:
    assert rates(4, count=6)[4:] == pytest.approx([1e-5, 1e-5])
    assert rates(3, warmup_epochs=0) == pytest.approx([1e-3, 5.05e-4, 1e-5])


def test_a_warm_up_without_end_is_refused() -> None:
    with pytest.raises(ValueError, match=r"scheduler\.warmup_epochs=2 leaves scheduler\.epochs=3 nothing"):
        rates(3)


def test_adamw_is_torchs_own() -> None:
    optimizer = adamw([torch.nn.Parameter(torch.zeros(1))], lr=0.1, weight_decay=0.3)
    assert isinstance(optimizer, AdamW)
    assert optimizer.defaults["weight_decay"] == 0.3
