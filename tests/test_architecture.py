"""The layers of docs/architecture.md: every import goes down, and no modules import each other in a circle."""

import ast
import graphlib
import re
from collections.abc import Iterator
from pathlib import Path

MODULES = {".".join(path.with_suffix("").parts): path for path in sorted(Path("dlbench").rglob("*.py"))}


def layers() -> list[list[str]]:
    text = Path("docs/architecture.md").read_text(encoding="utf-8")
    block = re.search(r"```layers\n(.*?)```", text, re.DOTALL)
    assert block
    return [line.split() for line in block[1].splitlines()]


def imports(module: str, *, late: bool) -> Iterator[str]:
    """The modules of the package that a module imports at its top, or ``late`` ones in functions too."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    for node in ast.walk(tree) if late else tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "dlbench":
            for name in node.names:
                inner = f"{node.module}.{name.name}"
                yield inner if inner in MODULES else str(node.module)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name in MODULES)


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else "dlbench"


def test_every_room_has_a_layer_and_every_layer_a_room() -> None:
    named = [name for layer in layers() for name in layer]
    assert sorted(named) == sorted({room(module) for module in MODULES} - {"__init__"})


def test_imports_go_down() -> None:
    height = {name: number for number, layer in enumerate(layers()) for name in layer} | {"__init__": 0, "dlbench": 0}
    upward = [
        f"{module} imports {other}"
        for module in MODULES
        for other in imports(module, late=True)
        if room(module) != room(other) and height[room(module)] <= height[room(other)]
    ]
    assert not upward


def test_there_is_no_circle() -> None:
    graph = {module: {*imports(module, late=False)} - {module, "dlbench"} for module in MODULES}
    graphlib.TopologicalSorter(graph).prepare()
