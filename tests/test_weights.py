"""Weights that commit c3e1c36 made, a network of each family: today's code reads them, and measures the same."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dlbench.config import build
from dlbench.run.plan import build_task, prepare

GOLDEN = Path(__file__).parent / "golden"
EXPECTED = json.loads((GOLDEN / "weights" / "expected.json").read_text())


@pytest.mark.parametrize("family", EXPECTED)
def test_weights_of_before_are_loaded_and_measure_the_same(
    family: str, compose: Callable[..., Any], tmp_path: Path
) -> None:
    fixed = ("callbacks=none", "trainer.device=cpu", "trainer.progress=none", f"paths.data={GOLDEN / 'data'}")
    folders = (f"paths.runs={tmp_path / 'runs'}", f"paths.cache={tmp_path / 'cache'}")
    plan = prepare(compose(*EXPECTED[family]["overrides"], *fixed, *folders))
    task = build_task(plan)
    weights = torch.load(GOLDEN / "weights" / f"{family}.pt", weights_only=True)
    states = {**{name: value for name, value in task.state_dict().items() if name not in weights}, **weights}
    evaluation = build("evaluation", plan.config["evaluation"])
    trainer = plan.settings.trainer(tmp_path, False, [])
    metrics, _ = evaluation(trainer, task, plan.data, states, states)
    expected = EXPECTED[family]["metrics"]
    assert {name: metrics[name] for name in expected} == pytest.approx(expected, abs=1e-4)
