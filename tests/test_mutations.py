"""The planted faults of ``mutations.py`` can be planted: each text stands once in the code."""

from pathlib import Path

import pytest
from mutations import FAULTS

CODE = {path: path.read_text(encoding="utf-8") for path in Path("dlbench").rglob("*.py") if "bench" not in path.parts}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_can_be_planted(name: str) -> None:
    text, replacement, tests = FAULTS[name]
    assert sum(content.count(text) for content in CODE.values()) == 1
    assert text != replacement
    assert all(Path(f"tests/{each}.py").is_file() for each in tests.split())
