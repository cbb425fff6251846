"""All choices of data, task, evaluation and decoding have what a run asks of them."""

from typing import Any

import pytest
from omegaconf import OmegaConf

from dlbench import components, paths
from dlbench.protocols import DataModule, Decoder, Evaluation, Task

PROTOCOLS = {"data": DataModule, "task": Task, "evaluation": Evaluation, "decoding": Decoder}
FILES = [(group, OmegaConf.load(path)) for group in PROTOCOLS for path in sorted((paths.conf() / group).glob("*.yaml"))]
CHOICES = sorted({(group, node._target_) for group, node in FILES if "_target_" in node})


@pytest.mark.parametrize(("group", "target"), CHOICES)
def test_a_choice_fits_its_protocol(group: str, target: str) -> None:
    kind: Any = components.locate(target)
    asked = [name for name, value in vars(PROTOCOLS[group]).items() if callable(value)]
    asked = [name for name in asked if not name.startswith("_") or name == "__call__"]
    assert [name for name in asked if not callable(getattr(kind, name, None))] == []
    if group == "task":
        assert kind.monitor.mode in ("max", "min")
