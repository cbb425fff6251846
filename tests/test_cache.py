"""Kept numbers: computed once; what is damaged, forged or of another question is computed anew, and no code runs."""

import json
from pathlib import Path

import pytest

from dlbench.files import kept

CALLS: list[tuple[int, ...]] = []


def product(*numbers: int) -> int:
    CALLS.append(numbers)
    found = 1
    for number in numbers:
        found *= number
    return found


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DLBENCH_CACHE", str(tmp_path))
    CALLS.clear()
    return tmp_path


def test_a_number_is_computed_once_for_each_question() -> None:
    assert [kept(product, 2, 3, code="a"), kept(product, 2, 3, code="a")] == [6, 6]
    assert len(CALLS) == 1
    assert kept(product, 2, 4, code="a") == 8
    assert kept(product, 2, 3, code="b") == 6
    assert len(CALLS) == 3


def test_every_damage_is_noticed(cache: Path) -> None:
    kept(product, 20, 30, code="a")
    (path,) = cache.rglob("*.json")
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert kept(product, 20, 30, code="a") == 600
        path.write_bytes(content[:place])
        assert kept(product, 20, 30, code="a") == 600


def test_a_forged_number_counts_for_nothing(cache: Path) -> None:
    kept(product, 20, 30, code="a")
    (path,) = cache.rglob("*.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "value": 601}))
    assert kept(product, 20, 30, code="a") == 600


def test_where_nothing_can_be_kept_it_is_computed(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cache / "file").write_text("")
    monkeypatch.setenv("DLBENCH_CACHE", str(cache / "file"))
    assert [kept(product, 2, 3, code="a"), kept(product, 2, 3, code="a")] == [6, 6]


def test_the_package_reads_no_pickle() -> None:
    for path in Path("dlbench").rglob("*.py"):
        text = path.read_text()
        assert "import pickle" not in text
        assert "joblib import Memory" not in text
        assert "allow_pickle=True" not in text
        assert "weights_only=False" not in text
