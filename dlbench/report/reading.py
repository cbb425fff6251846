"""Published reports read from their files, ``experiments/ID/report.yaml``: adding a report is adding a folder."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from yaml.constructor import ConstructorError

from dlbench import paths
from dlbench.cli import experiments
from dlbench.errors import ConfigError
from dlbench.metrics.names import METRICS
from dlbench.report.schema import Report, Statement
from dlbench.terminal import nearest


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


Place = list[str | int]
"""The keys and numbers that lead to something in a file."""


def load(path: Path) -> Report:
    """Read one report file.

    Raises:
        ConfigError: It is no UTF-8 text or no YAML, a key is unknown, missing, twice there or of the wrong type or
            size, or an experiment, configuration or metric is unknown; the message names the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 (byte {error.start}: {error.reason}); save it as UTF-8") from error
    try:
        report = Report.model_validate(read(text))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{path}:{line}: {error.problem}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        first = error.errors()[0]
        keys = [key for key in first["loc"] if key not in ("comparison", "statement")]
        where = ".".join(map(str, keys)) or "report"
        raise ConfigError(f"{path}:{line_of(text, keys)}: {where}: {first['msg']}") from error
    for keys, problem in _problems(report):
        raise ConfigError(f"{path}:{line_of(text, keys)}: {problem}")
    return report


def load_all() -> dict[str, Report]:
    """Every report under ``experiments/``, by its folder's name.

    Raises:
        ConfigError: See `load`; or a claim's name stands twice, or a claim names an unknown report.
    """
    files = {path.parent.name: path for path in sorted(paths.experiments().glob("*/report.yaml"))}
    reports = {name: load(path) for name, path in files.items()}
    for name, keys, problem in _clashes(reports):
        raise ConfigError(f"{files[name]}:{line_of(files[name].read_text(encoding='utf-8'), keys)}: {problem}")
    return reports


def _clashes(reports: Mapping[str, Report]) -> Iterator[tuple[str, Place, str]]:
    """A report, the keys that lead to it and what is wrong, for each id that stands twice and each unknown report."""
    seen: dict[str, str] = {}
    for name, report in reports.items():
        for at, identity in _ids(report):
            if identity in seen:
                yield name, at, f"{identity}: stands in {seen[identity]} already; choose another id"
            seen[identity] = f"{name}/report.yaml"
        for number, claim in enumerate(report.claims):
            for other in claim.reports:
                if other not in reports:
                    at = ["claims", number, "reports"]
                    yield name, at, f"{claim.id}: {other}: no such report; {nearest(other, reports)}"


def _ids(report: Report) -> Iterator[tuple[Place, str]]:
    for number, claim in enumerate(report.claims):
        yield ["claims", number, "id"], claim.id
    for number, slip in enumerate(report.slips):
        yield ["slips", number, "id"], slip.id


def _problems(report: Report) -> Iterator[tuple[Place, str]]:
    """The keys that lead to it and what is wrong, for each name that means nothing."""
    for key, configuration in report.configurations.items():
        at: Place = ["configurations", key]
        name, is_known = configuration.experiment, configuration.experiment in experiments()
        if not is_known and not configuration.planned:
            yield at, f"{name}: no such experiment; {nearest(name, experiments())}"
        if is_known and configuration.planned:
            yield at, f"{name}: exists now; remove planned"
    served: dict[str, str] = {}
    for heading, substitute in report.substitutes.items():
        for name in substitute.of:
            if name in served:
                yield ["substitutes", heading], f"{name}: {served[name]} stands in for it already; name it once"
            served[name] = heading
    for at, kind, name in _names(report):
        known = METRICS if kind == "metric" else report.configurations
        if name not in known:
            yield at, f"{name}: no such {kind}; {nearest(name, known)}"


def _names(report: Report) -> Iterator[tuple[Place, str, str]]:
    """Where a configuration or a metric is named: the keys that lead there, which of both, and the name."""
    at: Place
    for heading, substitute in report.substitutes.items():
        at = ["substitutes", heading]
        yield from ((at, "configuration", name) for name in substitute.of)
    for number, table in enumerate(report.tables):
        for place, row in enumerate(table.rows):
            at = ["tables", number, "rows", place]
            yield at, "configuration", row.of
            yield from ((at, "metric", metric) for metric in row.published)
    for number, figure in enumerate(report.figures):
        at = ["figures", number]
        yield from ((at, "configuration", name) for name in figure.of)
        yield from ((at, "metric", metric) for metric in figure.metrics)
    for number, claim in enumerate(report.claims):
        at = ["claims", number, "of"]
        yield from ((at, "configuration", name) for name in claim.of)
        for place, check in enumerate(claim.checks):
            if isinstance(check, Statement):
                continue
            at = ["claims", number, "checks", place]
            yield at, "configuration", check.of
            if isinstance(check.other, str):
                yield at, "configuration", check.other
            metrics = (check.metric, check.minus, check.than_metric)
            yield from ((at, "metric", metric) for metric in metrics if metric)
