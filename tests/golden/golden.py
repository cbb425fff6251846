"""Golden bits held against what is kept, against the commit before, and against all that was ever kept.

``python tests/golden/golden.py`` (``make golden``) renews ``bits.json`` and ``dlbench/components.json``. It refuses to
give a case other bits while the versions of its components are the same, and a component other defaults while its MAJOR
is: whoever changes bits raises a MINOR version first, whoever changes a meaning a MAJOR.
"""

import contextlib
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # of two checkouts, the one that this file is in
from dlbench import components

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
KEPT = HERE / "bits.json"
RUNNER = Path("tests/golden/run.py")

Bits = dict[str, dict[str, Any]]
"""What came out of each case; of a case ``versions`` are those of its components."""


def ask(root: Path, names: Sequence[str] | None = None, processes: int = 2) -> tuple[str, Bits]:
    """The numerics of this machine, and the bits of a checkout's own cases (all, or those named that it has)."""
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    known = _run([sys.executable, RUNNER, "--list"], root, environment).splitlines()
    asked = [name for name in known if names is None or name in names]
    parts = [part for part in (asked[first::processes] for first in range(processes)) if part]
    started = [
        subprocess.Popen(
            [sys.executable, RUNNER, *part], cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for part in parts
    ]
    numerics, found = "", {}
    for process in started:
        out, error = process.communicate()
        if process.returncode:
            raise RuntimeError(f"{RUNNER} failed in {root}:\n{error.decode()[-4000:]}")
        said = json.loads(out)
        numerics = said["numerics"]
        found |= said["bits"]
    return numerics, {name: found[name] for name in asked}


def kept(text: str | None = None) -> dict[str, Bits]:
    """The bits kept, by numerics."""
    content: dict[str, Bits] = json.loads(KEPT.read_text(encoding="utf-8") if text is None else text)
    return content


def changed(before: Bits, after: Bits) -> list[str]:
    """Cases of the same versions, but of other bits: a line each says what differs. A further metric is no change."""
    return [
        f"{name}: {', '.join(differing)}"
        for name in before
        if name in after and _versions(before[name]) == _versions(after[name])
        if (differing := sorted(_differing(before[name], after[name])))
    ]


def _versions(case: Mapping[str, Any]) -> set[str]:
    """Those that are not the first; the oldest bits were made before there were versions."""
    return {each for each in case.get("versions", "").split(", ") if each and not each.endswith(" 1.0")}


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str]:
    then, now = (
        {**{key: value for key, value in case.items() if key not in ("metrics", "versions")}, **case["metrics"]}
        for case in (before, after)
    )
    return {key for key in then if then[key] != now.get(key)}


def far(before: Mapping[str, Any], after: Mapping[str, Any], name: str) -> list[str]:
    """Numbers of a case, of the same versions, that lie further apart than rounding takes a few steps.

    Losses are held to a hundredth of themselves; other metrics, which are counts of few tiny examples, to a quarter.
    """
    if _versions(before) != _versions(after):
        return []
    pairs = [("epochs", len(before["train/loss"]), len(after["train/loss"]), 0.0)]
    losses = zip(before["train/loss"], after["train/loss"], strict=False)
    pairs += [(f"train/loss of epoch {epoch}", *pair, 0.01 * pair[0]) for epoch, pair in enumerate(losses, 1)]
    for metric, value in before["metrics"].items():
        is_decided = metric.startswith(("model/", "optimizer/"))
        allowed = 0.0 if is_decided else 0.01 * abs(value) if "loss" in metric else max(0.25, 0.25 * abs(value))
        if not metric.endswith("best_epoch"):
            pairs.append((metric, value, after["metrics"].get(metric, math.nan), allowed))
    return [f"{name}: {what} was {then}, now {now}" for what, then, now, most in pairs if not abs(now - then) <= most]


def earlier(path: Path) -> Iterator[tuple[str, str]]:
    """Every committed state of a file, newest first, with its commit; none outside a checkout."""
    place = path.relative_to(ROOT).as_posix()
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        for commit in _git("log", "--format=%H", "--", place).split():
            with contextlib.suppress(subprocess.CalledProcessError):  # the file was deleted there
                yield commit, _git("show", f"{commit}:{place}")


def changed_meanings(now: str) -> list[str]:
    """Components to which a listing gives other defaults than an earlier commit's did, for the same MAJOR."""
    return [
        f"{problem} (other in {commit[:8]})"
        for commit, then in earlier(components.SNAPSHOT)
        for problem in components.changed_meaning(components.parse(then), components.parse(now))
    ]


def blessed(now: Mapping[str, Bits]) -> list[str]:
    """Cases to which ``now`` gives other bits than an earlier commit did, for the same versions and numerics."""
    return [
        f"{line} (other in {commit[:8]})"
        for commit, text in earlier(KEPT)
        for numerics, then in kept(text).items()
        for line in changed(then, now.get(numerics, {}))
    ]


def before() -> str | None:
    """The commit that the working tree is held against: the last one, or the one before where nothing is changed."""
    try:
        is_changed = _git("status", "--porcelain", "--", "dlbench", "conf", "tests/golden", "hydra_plugins")
        return _git("rev-parse", "--verify", "HEAD" if is_changed else "HEAD~1").strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def bits_of_commit(commit: str, names: Sequence[str]) -> Bits | None:
    """What another commit's code gives on this machine; None where it has no golden cases."""
    with tempfile.TemporaryDirectory(prefix="dlbench-golden-") as scratch:
        tree = Path(scratch) / "tree"
        _git("worktree", "add", "--quiet", "--detach", str(tree), commit)
        try:
            return ask(tree, names)[1] if (tree / RUNNER).exists() else None
        finally:
            _git("worktree", "remove", "--force", str(tree))


def _git(*arguments: str) -> str:
    return _run(["git", "-C", ROOT, *arguments], ROOT, {**os.environ})


def _run(command: Sequence[str | Path], folder: Path, environment: Mapping[str, str]) -> str:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def main() -> None:
    """Renew the listing of components, and ``bits.json`` for this machine's numerics."""
    listing = components.listing(components.renewed())
    if problems := changed_meanings(listing):
        sys.exit("\n".join(problems))
    components.SNAPSHOT.write_text(listing, encoding="utf-8")
    numerics, found = ask(ROOT)
    content = kept() if KEPT.exists() else {}
    if problems := [*changed(content.get(numerics, {}), found), *blessed({numerics: found})]:
        sys.exit("\n".join(["other bits, but the same versions: raise a MINOR version first", *problems]))
    # Nobody can renew another machine's bits here; those of earlier versions say nothing about today's.
    of_today = {
        other: {name: case for name, case in bits.items() if case["versions"] == found.get(name, {}).get("versions")}
        for other, bits in content.items()
    }
    of_today = {other: bits for other, bits in of_today.items() if bits}
    KEPT.write_text(json.dumps({**of_today, numerics: found}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{KEPT.relative_to(ROOT)}: {len(found)} cases on {numerics}")


if __name__ == "__main__":
    main()
