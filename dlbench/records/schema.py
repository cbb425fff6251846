"""The files of a record and their fields: those that reports rely on, and check before a record counts.

Files may hold more: see `dlbench.run`, which writes them, and `dlbench.records.store`, which knows their places.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, JsonValue, PositiveInt, ValidationError, create_model

from dlbench.errors import RecordError
from dlbench.records.files import first_problem

VERSION = 2
"""Of the record's layout; raised when an older reader would misread it."""


class _Part(BaseModel):
    """Values have the types as recorded, none is converted; keys that are not named may be there."""

    model_config = ConfigDict(strict=True, extra="allow")


class _Node(_Part):
    """A part of a configuration, which YAML might fill with what is no JSON."""

    __pydantic_extra__: dict[str, JsonValue]


def _keys(base: type[BaseModel] = _Part, /, **keys: Any) -> type[BaseModel]:
    """What stands under these keys: a type, or a type and the default of a key that may be missing."""
    fields: dict[str, Any] = {name: key if isinstance(key, tuple) else (key, ...) for name, key in keys.items()}
    return create_model("Keys", __base__=base, **fields)


def _filled(**keys: Any) -> type[BaseModel]:
    """What fills a class or function."""
    return _keys(_Node, target=(str, Field(alias="_target_")), **keys)


_DURATION = Annotated[FiniteFloat, Field(ge=0)]
CONFIG = _keys(
    _Node,
    task=_filled(),
    data=_filled(layout=(str | None, None), fraction=(float, Field(1.0, gt=0, le=1))),
    model=_filled(attention=(_filled() | None, None)),
    optimizer=_filled(lr=(FiniteFloat, 0)),  # where nothing is learned by gradient there is none
    scheduler=_filled(),
    trainer=_filled(epochs=PositiveInt, precision=(str, "")),
    seed=int,
    evaluation=_filled(),
)
"""``config.yaml``: the resolved configuration."""

IDENTITY = _keys(_Node, seed=int, fingerprint=str, trainer=dict[str, JsonValue])
"""``identity.json``: see `dlbench.identity.training`."""

MANIFEST = _keys(
    run=str,
    experiment=str,
    data=_keys(
        name=str,
        source=str,
        provenance=Literal["verified", "other split", "stand-in", "user copy", "synthetic"],
        fingerprint=str,
        sizes=_keys(train=PositiveInt, val=PositiveInt, test=PositiveInt),
    ),
    versions=dict[str, str],
    bound=dict[str, dict[str, JsonValue]],
    code=_keys(commit=str | None, dirty=bool | None),
    numerics=_keys(torch=str, device=str, cpu_capability=str, threads=int),
    environment=_keys(processor=str),
)
"""``manifest.json``: what made the record, of which data, with which code, on what machine."""

CLOSED = _keys(state=Literal["finished", "diverged"])
"""``training.json``."""

TRAINING = _keys(
    CLOSED, epochs=PositiveInt, seconds=_DURATION, peak_memory_bytes=PositiveInt | None, finished=str, weights=str
)
"""``training.json`` of a training that is finished."""

STOPPED = _keys(CLOSED, step=int)
"""``training.json`` of one that diverged."""

EVALUATED = _filled(decoding=(_filled() | None, None), members=(list[int] | None, None), k=(PositiveInt, 1))
"""``evaluations/ID/config.yaml``: the evaluation's settings."""

RESULT = _keys(
    evaluation=str,
    experiment=str,
    seconds=_DURATION,
    metrics=(dict[str, FiniteFloat], Field(min_length=1)),
    versions=dict[str, str],
    members=(dict[str, str | None], {}),
)
"""``evaluations/ID/result.json``."""


def checked(path: object, kind: type[BaseModel], content: dict[str, Any]) -> dict[str, Any]:
    """A file's content, if it has the fields.

    Args:
        path: The file, for who must know which.
        kind: One of the above.
        content: What the file holds.

    Raises:
        RecordError: The first field that is missing or of another type.
    """
    try:
        kind.model_validate(content)
    except ValidationError as error:
        raise RecordError(f"{path}: {first_problem(error)}") from error
    return content
