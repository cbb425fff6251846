"""Every step of docs/extending.md, carried out as it stands there."""

import re
import shlex
from pathlib import Path

import pytest
from processes import python

from dlbench.paths import conf
from dlbench.records.store import Store

PAGE = (conf().parent / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SMALL = ["trainer.device=cpu", "trainer.progress=none"]


def test_every_recipe_works_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DLBENCH_DATA", "DLBENCH_RUNS"):
        monkeypatch.delenv(name, raising=False)
    shown = []
    for language, content in BLOCK.findall(PAGE):
        if language == "sh":
            for line in content.splitlines():
                program, *words = shlex.split(line)
                assert program == "python"
                done = python(*words, *SMALL, folder=tmp_path)
                assert done.returncode == 0, done.stderr
                shown.append(done.stdout)
        else:
            name, _, text = content.removeprefix("# ").partition("\n")
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    assert any("test/accuracy_top_2" in text for text in shown)
    # The sweep's first run, another learning rate with two seeds, a network, and spelling; a measure trains nothing.
    assert len(Store(tmp_path / "runs").all()) == 1 + 3 + 1 + 1
