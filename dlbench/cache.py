"""Numbers kept from one report to the next: one JSON file each, with the hash of what is in it."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

from dlbench.data.folders import cache_folder
from dlbench.files import atomic_path


def kept(compute: Callable[..., float], *arguments: Any, code: str) -> float:
    """What a function gives for plain arguments, out of the cache folder if it is there, and kept in it if it may be.

    A file that is damaged, or of another question, is made anew.

    Args:
        compute: The function; its name is part of the question.
        arguments: Its arguments, as JSON has them.
        code: A hash of the code that answers: other code's answers are not this code's.
    """
    question = {"function": compute.__qualname__, "arguments": arguments, "code": code}
    path = cache_folder() / "numbers" / f"{_hash(question)}.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["hash"] == _hash([question, found["value"]]) and isinstance(found["value"], int | float):
            return float(found["value"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    value = compute(*arguments)
    try:
        with atomic_path(path) as temporary:
            kept_value = {"question": question, "value": value, "hash": _hash([question, value])}
            temporary.write_text(json.dumps(kept_value) + "\n", encoding="utf-8")
    except OSError:
        pass  # it is computed again next time
    return value


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
