"""Published reports as files: ``experiments/ID/report.yaml``, read and checked."""

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from dlbench import resources
from dlbench.errors import ConfigError
from dlbench.messages import nearest
from dlbench.report.metrics import METRICS


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Row(_Strict):
    """A published line: the experiment and overrides that recompute it, and its values under our metrics' names.

    ``default`` rows are those that `make reproduce-report` runs.
    """

    label: str
    experiment: str
    overrides: list[str]
    published: dict[str, float]
    default: bool = False


class Table(_Strict):
    """A table of a report; ``note`` says what about ours is not as theirs was."""

    title: str
    rows: list[Row]
    note: str | None = None


class Report(_Strict):
    """One published report.

    ``variants`` are further columns of ours: a heading, and the overrides added to each row's own.
    """

    title: str
    variants: dict[str, list[str]] = {}
    tables: list[Table]


def load(path: Path) -> Report:
    """Read one report file.

    Raises:
        ConfigError: It is no YAML, a key is unknown, missing, or of the wrong type, or a metric is unknown.
    """
    try:
        report = Report.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{path}: {place}: {first['msg']}") from error
    for table in report.tables:
        for row in table.rows:
            for metric in row.published.keys() - METRICS:
                raise ConfigError(
                    f"{path}: {table.title}, {row.label}: {metric}: no such metric; {nearest(metric, METRICS)}"
                )
    return report


def load_all() -> dict[str, Report]:
    """Every report under ``experiments/``, by its folder's name."""
    paths = sorted(resources.experiments().glob("*/report.yaml"))
    return {path.parent.name: load(path) for path in paths}
