"""The README and ``docs/``: links lead somewhere, commands are there, and the README is short."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from dlbench import commands
from dlbench.cli import choices
from dlbench.help import WITH_PLUS

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"(?m)^#+ (.*)$", re.sub(r"(?s)```.*?```", "", path.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            path = (page.parent / target) if target else page
            assert path.exists(), target
            assert not anchor or anchor in anchors(path), f"{target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_name_in_a_command_can_be_chosen(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for block in BLOCK.findall(text):
        for group, names in re.findall(rf"\+({'|'.join(WITH_PLUS)})=([\w,]+)", block):
            for name in names.split(","):
                assert name in choices(group) or f"/{group}/{name}.yaml`" in text, f"+{group}={name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_target_of_make_is_there(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"(?m)(?:^|`)make ([a-z-]+)", page.read_text(encoding="utf-8")):
        assert re.search(rf"(?m)^{target}:", makefile), target


def test_every_target_of_make_runs_what_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"(?m)^([a-z-]+):.*## ", makefile)
    assert len(targets) > 10
    for target in targets:
        # Nothing is run: -n prints the commands, -o takes the environment for made.
        words = ["make", "-n", "-o", ".venv/.installed", "-C", str(ROOT), target]
        done = subprocess.run(words, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        for name in re.findall(r"-m dlbench ([a-z-]+)", done.stdout):
            assert name in commands.NAMES, target
        for path in re.findall(r"python (tests/\S+\.py)", done.stdout):
            assert (ROOT / path).is_file(), target


def test_the_readme_is_short_and_names_every_page() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    named = {target for target, _ in LINK.findall(text)}
    pages = {page.relative_to(ROOT).as_posix() for page in PAGES if page.parent.name == "docs"}
    assert pages <= named | {"docs/index.md", "docs/contributing.md"}  # which hold the README and CONTRIBUTING


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-qW", "--keep-going", "-d", str(tmp_path / "cache")]
    folders = [str(ROOT / "docs"), str(tmp_path / "site")]
    built = subprocess.run([*command, *folders], check=False, capture_output=True, text=True)
    assert (built.returncode, built.stderr) == (0, "")
    reference = (tmp_path / "site" / "reference.html").read_text(encoding="utf-8")
    assert "dlbench.protocols.Evaluation" in reference and "dlbench.models.cnn" in reference
