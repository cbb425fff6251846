"""What the report relies on in a record's files: read here, so that all else may take it for granted."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, JsonValue, PositiveInt, TypeAdapter, ValidationError

from dlbench.errors import RecordError
from dlbench.records import history
from dlbench.records.files import read_json
from dlbench.records.store import Evaluation, Record, State

Duration = Annotated[FiniteFloat, Field(ge=0)]


class _Part(BaseModel):
    """Values have the types as recorded, none is converted; keys that are not named may be there."""

    model_config = ConfigDict(strict=True, extra="allow")


class _Node(_Part):
    """A part of a configuration, which YAML might fill with what is no JSON."""

    __pydantic_extra__: dict[str, JsonValue]


class _Filled(_Node):
    target: str = Field(alias="_target_")


class _Data(_Filled):
    layout: str | None = None
    fraction: float = Field(1.0, gt=0, le=1)


class _Model(_Filled):
    attention: _Filled | None = None


class _Optimizer(_Filled):
    lr: FiniteFloat = 0  # where nothing is learned by gradient there is none


class _Trainer(_Filled):
    epochs: PositiveInt
    precision: str = ""


class _Config(_Node):
    task: _Filled
    data: _Data
    model: _Model
    optimizer: _Optimizer
    scheduler: _Filled
    trainer: _Trainer
    seed: int
    evaluation: _Filled


class _Identity(_Node):
    seed: int
    fingerprint: str
    trainer: dict[str, JsonValue]


class _Evaluated(_Filled):
    decoding: _Filled | None = None
    members: list[int] | None = None
    k: PositiveInt = 1


class _Sizes(_Part):
    train: PositiveInt
    val: PositiveInt
    test: PositiveInt


class _Delivered(_Part):
    name: str
    source: str
    provenance: Literal["verified", "other split", "stand-in", "user copy", "synthetic"]
    fingerprint: str
    sizes: _Sizes


class _Code(_Part):
    commit: str | None
    dirty: bool | None


class _Numerics(_Part):
    torch: str
    device: str
    cpu_capability: str
    threads: int


class _Environment(_Part):
    processor: str


class _Manifest(_Part):
    run: str
    experiment: str
    data: _Delivered
    versions: dict[str, str]
    code: _Code
    numerics: _Numerics
    environment: _Environment


class _Closed(_Part):
    state: Literal["finished", "diverged"]


class _Training(_Closed):
    epochs: PositiveInt
    seconds: Duration
    peak_memory_bytes: PositiveInt
    finished: str
    weights: str


class _Result(_Part):
    evaluation: str
    experiment: str
    seconds: Duration
    metrics: dict[str, FiniteFloat] = Field(min_length=1)
    versions: dict[str, str]
    members: dict[str, str | None] = {}


_CURVES = TypeAdapter(list[dict[str, FiniteFloat]], config=ConfigDict(strict=True))


def is_finished(record: Record) -> bool:
    """Whether its training came to its end; no if it is unfinished, failed or diverged.

    Raises:
        RecordError: The closing file is damaged.
    """
    if not record.training.exists():
        return False
    closing = record.closed()
    _check(str(record.training), _Closed, closing)
    return bool(closing["state"] == State.FINISHED)


class Training(NamedTuple):
    """The files of a finished training; its configuration is in today's words."""

    config: dict[str, Any]
    identity: dict[str, Any]
    manifest: dict[str, Any]
    closed: dict[str, Any]


def read_training(record: Record) -> Training:
    """A finished training; every file of it is held against its hash.

    Raises:
        RecordError: One of them, or ``metrics.jsonl``, is missing or damaged, or a key is not as it must be.
    """
    record.check()
    found = Training(record.settings(), read_json(record.identity), record.read_manifest(), record.closed())
    for path, kind, content in (
        (record.config, _Config, found.config),
        (record.identity, _Identity, found.identity),
        (record.manifest, _Manifest, found.manifest),
        (record.training, _Training, found.closed),
    ):
        _check(str(path), kind, content)
    if found.identity["seed"] != found.config["seed"] or found.identity["fingerprint"] != _fingerprint(found.manifest):
        raise RecordError(f"{record.identity}: tells another seed or other data than the rest of the record")
    _check_curves(record, found.closed["epochs"])
    return found


def _fingerprint(manifest: Mapping[str, Any]) -> str:
    return str(manifest["data"]["fingerprint"])


def read_evaluation(evaluation: Evaluation) -> tuple[dict[str, Any], dict[str, Any]]:
    """An evaluation's settings and result.

    Raises:
        RecordError: One of them is missing or damaged, or a key is not as it must be.
    """
    evaluated, result = evaluation.settings(), evaluation.read()
    _check(str(evaluation.config), _Evaluated, evaluated)
    _check(str(evaluation.result), _Result, result)
    return evaluated, result


def _check(path: str, kind: type[BaseModel], content: Mapping[str, Any]) -> None:
    try:
        kind.model_validate(content)
    except ValidationError as error:
        raise RecordError(f"{path}: {_problem(error)}") from error


def _check_curves(record: Record, epochs: int) -> None:
    path = record.metrics
    if not path.exists():
        raise RecordError(f"{path}: is missing")
    try:
        rows = _CURVES.validate_python(history.read(path))
    except ValidationError as error:
        line, *_ = error.errors()[0]["loc"]
        raise RecordError(f"{path}: line {int(line) + 1}: {_problem(error, skip=1)}") from error
    if [row.get("epoch") for row in rows] != list(range(1, epochs + 1)):
        raise RecordError(f"{path}: holds other epochs than 1 to {epochs}")


def _problem(error: ValidationError, skip: int = 0) -> str:
    """The first problem: the keys that lead there, and what is wrong."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"][skip:])) or "the whole"
    return f"{where}: {first['msg']}"
