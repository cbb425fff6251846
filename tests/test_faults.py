"""The harness of `faults` counts what holds and what does not; a small part of it is a test."""

import random
from pathlib import Path

import faults
import pytest

QUICK = ("killed at any moment", "signals at any moment", "full disk", "interrupted record damaged")
IN_PROCESS = ("finished record damaged", "record forged", "hostile text", "data files fuzzed (20 a try)")


@pytest.mark.slow
def test_a_few_tries_of_most_kinds_hold(capsys: pytest.CaptureFixture[str]) -> None:
    assert faults.main(["--seed", "1", "--scale", "0.07", *QUICK, *IN_PROCESS]) == 0, capsys.readouterr().err


def test_a_try_that_does_not_hold_is_counted_and_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def every_second(chance: random.Random, folder: Path) -> None:
        assert next(numbers) % 2, "lost"

    numbers = iter(range(4))
    monkeypatch.setattr(faults, "FAMILIES", {})
    monkeypatch.setattr(faults, "KINDS", {"unlucky": (every_second, 4)})
    assert faults.main([]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[1].split()[:3] == ["unlucky", "4", "2"]
    assert err.strip().startswith("unlucky, try 0: AssertionError: lost")
