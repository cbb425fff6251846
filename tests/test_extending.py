"""Every step of docs/extending.md, carried out as it stands there."""

import re
import shlex
from pathlib import Path

import pytest
from processes import python

from dlbench.paths import conf
from dlbench.records.store import Store

PAGE = (conf().parent / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^(?:`([\w/.]+)`\n\n)?```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SMALL = ["trainer.device=cpu"]
HERE = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-index", "--no-build-isolation", "--target", "."]
"""Where pip installs in a test: beside the files, where ``python -m`` finds it too."""


def test_every_recipe_works_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DLBENCH_DATA", "DLBENCH_RUNS"):
        monkeypatch.delenv(name, raising=False)
    shown = []
    for name, language, content in BLOCK.findall(PAGE):
        if name:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        else:
            assert language == "sh"
            for line in content.splitlines():
                program, *words = shlex.split(line)
                assert program == "python"
                runs = "dlbench" in words and "records" not in words
                added = SMALL if runs else HERE if "pip" in words else []
                done = python(*words, *added, folder=tmp_path)
                assert done.returncode == 0, done.stderr
                shown.append(done.stdout)
    assert any("test/accuracy_top_2" in text for text in shown)
    assert any(re.search(r"small .*model=Tiny", text) for text in shown)
    # The sweep's first run, its three others, a network, pictures, spelling, a plugin; a measure trains nothing.
    assert len(Store(tmp_path / "runs").all()) == 1 + 3 + 1 + 1 + 1 + 1
