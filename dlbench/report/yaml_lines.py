"""YAML texts, and where in them something stands."""

from collections.abc import Hashable, Sequence
from typing import Any

import yaml
from yaml.constructor import ConstructorError


class _OnceLoader(yaml.SafeLoader):
    """A key that stands twice is an error, where YAML's own loader silently takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise ConstructorError(None, None, f"{key.value}: stands twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read(text: str) -> Any:
    """What a YAML text says.

    Raises:
        yaml.YAMLError: It is no YAML, or a key stands twice in a mapping.
    """
    return yaml.load(text, _OnceLoader)


def line_of(text: str, keys: Sequence[str | int]) -> int:
    """The line, counted from 1, of what the keys and numbers lead to, as far as they lead; the text must be YAML."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    line = 0
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            found = [(name, value) for name, value in node.value if name.value == str(key)]
            if not found:
                break
            line, node = found[0][0].start_mark.line, found[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
            node = node.value[key]
            line = node.start_mark.line
        else:
            break
    return line + 1
