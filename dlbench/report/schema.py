"""What a published report is made of, and how it is read: adding a report is adding ``experiments/ID/report.yaml``."""

import contextlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    FiniteFloat,
    PositiveInt,
    Tag,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from dlbench import paths
from dlbench.cli import experiments, named_folders
from dlbench.errors import ConfigError
from dlbench.files import parse_yaml, read_at_most
from dlbench.metrics.names import METRICS
from dlbench.terminal import nearest, sentence


def _known(kind: str, name: str, info: ValidationInfo) -> str:
    """Refuse a name that is not among the context's of its kind; without a context every name will do."""
    if info.context and kind in info.context and name not in info.context[kind]:
        problem = f"{name}: no such {kind}; {nearest(name, info.context[kind])}"
        raise PydanticCustomError("unknown", "{problem}", {"problem": problem})
    return name


ConfigurationName = Annotated[str, AfterValidator(lambda name, info: _known("configuration", name, info))]
MetricName = Annotated[str, AfterValidator(lambda name, info: _known("metric", name, info))]
ReportName = Annotated[str, AfterValidator(lambda name, info: _known("report", name, info))]


def _of_runs(words: tuple[str, ...]) -> tuple[str, ...]:
    """Hydra's own settings say how to log, where to look for files, and what to call: they are no report's."""
    for word in words:
        places = [word.lstrip(" +~")]
        with contextlib.suppress(HydraException):  # what means nothing is told where it is composed
            override = OverridesParser.create().parse_override(word)
            places += [override.key_or_group, override.package or ""]
        if any(re.match(r"hydra\b", place) for place in places):
            raise ValueError(f"{word}: a report sets nothing of Hydra's own")
    return words


Overrides = Annotated[tuple[str, ...], AfterValidator(_of_runs)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Configuration(_Strict):
    """A run that the report speaks of, up to the seed: an experiment of ours and overrides.

    ``planned``: there is no such experiment yet; what depends on it is shown as open.
    """

    experiment: str
    overrides: Overrides = ()
    planned: bool = False

    @model_validator(mode="after")
    def _exists(self, info: ValidationInfo) -> Self:
        if not self.planned:
            _known("experiment", self.experiment, info)
        elif self.experiment in (info.context or {}).get("experiment", ()):
            raise PydanticCustomError("planned", "{name}: exists now; remove planned", {"name": self.experiment})
        return self


class Row(_Strict):
    """A published line: the configuration that recomputes it, and its values, verbatim, under our metrics' names.

    ``headline``: the one of them that stands on the first screen, if one does.
    """

    of: ConfigurationName
    label: str
    published: dict[MetricName, FiniteFloat] = {}
    headline: str | None = None

    @model_validator(mode="after")
    def _stated(self) -> Self:
        if self.headline is not None and self.headline not in self.published:
            raise ValueError(f"headline: {self.headline} is not among what is published")
        return self


class Table(_Strict):
    """A table of a report; ``note`` says what about ours is not as theirs was."""

    title: str
    rows: tuple[Row, ...]
    note: str | None = None


class Word(_Strict):
    """A test word that a report quotes: its place in the test split, counted from 0, and the published predictions."""

    place: int = Field(ge=0)
    published: tuple[str, ...]


class Figure(_Strict):
    """A figure of a report, redrawn from our runs.

    - ``curves``: each of ``metrics`` over the epochs, a line a configuration.
    - ``bars``: each of ``metrics``, a bar a configuration, beside what the tables state.
    - ``attention``, ``maps``, ``confusion``: the artifact of one run of each configuration.
    - ``samples``: the hypotheses for ``words``, by their place in the test split, beside the published ones.
    """

    title: str
    kind: Literal["curves", "bars", "attention", "maps", "confusion", "samples"]
    of: tuple[ConfigurationName, ...] = Field(min_length=1)
    metrics: tuple[MetricName, ...] = ()
    words: dict[str, Word] = {}
    note: str | None = None

    @model_validator(mode="after")
    def _drawable(self) -> Self:
        for name, given, kinds in (("metrics", self.metrics, ("curves", "bars")), ("words", self.words, ("samples",))):
            if bool(given) != (self.kind in kinds):
                raise ValueError(f"{name}: {self.kind} {'take none' if given else 'need one or more'}")
        at: dict[int, str] = {}
        for name, word in self.words.items():
            if (first := at.setdefault(word.place, name)) != name:
                raise ValueError(f"words: {first} and {name} cannot both have place {word.place}")
        return self


class Part(float):
    """A part of the value compared with, where a plain number is a difference."""


def _margin(value: object, number: ValidatorFunctionWrapHandler) -> float:
    """``33%`` is 0.33 of the other value."""
    if isinstance(value, str) and value.endswith("%"):
        return Part(number(value[:-1]) / 100)
    size: float = number(value)
    return Part(size) if isinstance(value, Part) else size


Margin = Annotated[float, Field(ge=0, allow_inf_nan=False), WrapValidator(_margin)]


class Curve(_Strict):
    """What of a metric's curve is compared, instead of the evaluation's value; epochs are counted from 1.

    - ``at``: the value after that epoch.
    - ``slope_after``: the least-squares slope an epoch, over the epochs after that one.
    - ``roughness``: the standard deviation of the changes from epoch to epoch, after that epoch.
    - ``epochs_to``: the first epoch whose value is at most this.
    """

    at: int | None = Field(default=None, ge=1)
    slope_after: int | None = Field(default=None, ge=0)
    roughness: int | None = Field(default=None, ge=0)
    epochs_to: FiniteFloat | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self.model_fields_set) != 1 or len(self.model_dump(exclude_none=True)) != 1:
            raise ValueError("name exactly one of at, slope_after, roughness, epochs_to")
        return self


RELATIONS = ("higher_than", "lower_than", "not_higher_than", "not_lower_than")

Other = str | float
"""What is compared with: a configuration's name, or a number."""


class Comparison(_Strict):
    """One configuration's metric against another's, paired by seed, or against a number.

    - ``curve``: something of the metric's curve in place of the evaluation's value.
    - ``minus``: a metric that is first subtracted, on both sides.
    - ``than_metric``: another metric of the other, in place of the same.
    - ``by``: the difference is to be that large at least, or, where it is denied, at most: a number, or a part of the
      other value (``33%``), pair by pair. A denial without it can fail, but is never shown where there is no effect.
    """

    of: ConfigurationName
    metric: MetricName
    minus: MetricName | None = None
    curve: Curve | None = None
    higher_than: Other | None = None
    lower_than: Other | None = None
    not_higher_than: Other | None = None
    not_lower_than: Other | None = None
    than_metric: MetricName | None = None
    by: Margin = 0.0

    @property
    def relation(self) -> str:
        """Which of `RELATIONS` it is."""
        (relation,) = (name for name in RELATIONS if getattr(self, name) is not None)
        return relation

    @property
    def other(self) -> Other:
        """What is compared with."""
        other: Other = getattr(self, self.relation)
        return other

    @model_validator(mode="after")
    def _one(self, info: ValidationInfo) -> Self:
        if sum(getattr(self, name) is not None for name in RELATIONS) != 1:
            raise ValueError(f"name exactly one of {', '.join(RELATIONS)}")
        if isinstance(self.other, str):
            _known("configuration", self.other, info)
        elif not math.isfinite(self.other):
            raise ValueError(f"{self.relation}: must be a finite number")
        return self


class Statement(_Strict):
    """A statement about numbers that can be computed without a run (see `dlbench.report.expressions`).

    ``over`` gives variables values; it must be true for each of them (the values are taken together, not crossed).
    """

    statement: str
    over: dict[str, tuple[FiniteFloat, ...]] = {}


def _kind(value: object) -> str:
    is_statement = "statement" in value if isinstance(value, dict) else isinstance(value, Statement)
    return "statement" if is_statement else "comparison"


Check = Annotated[
    Annotated[Comparison, Tag("comparison")] | Annotated[Statement, Tag("statement")], Discriminator(_kind)
]


class Quote(_Strict):
    """What a report says, verbatim, and where: a question, a table."""

    report: ReportName
    place: str
    text: str


class Claim(_Strict):
    """What reports claim, in our words; it holds where every check does. Without checks it is for the reader to judge.

    ``quotes`` are the reports' own words, which the claim's may not exceed; ``implied``: why none of their sentences
    says it. ``reports``: which make it, where it is not this one alone; ``unjudged``: those of them of whose own part
    the checks do not speak, and why. ``note`` says what the checks leave out, and where they stand for something else.
    ``of``: what the reader must see a figure of, where there are no checks.
    """

    id: str
    text: str
    implied: str | None = None
    quotes: tuple[Quote, ...] = ()
    note: str | None = None
    reports: tuple[ReportName, ...] = ()
    unjudged: dict[ReportName, str] = {}
    of: tuple[ConfigurationName, ...] = ()
    checks: tuple[Check, ...] = ()

    @model_validator(mode="after")
    def _looked_at(self) -> Self:
        if self.of and self.checks:
            raise ValueError("of: goes without checks, which name what they compare")
        if others := self.unjudged.keys() - {*self.reports}:
            raise ValueError(f"unjudged: {min(others)}: name it in reports first")
        return self

    @property
    def configurations(self) -> set[str]:
        """The names of the configurations that its checks compare, or that a figure shows."""
        compared = [check for check in self.checks if isinstance(check, Comparison)]
        others = {check.other for check in compared if isinstance(check.other, str)}
        return {check.of for check in compared} | others | {*self.of}


class Slip(_Strict):
    """A number or formula of a report, as ``stated``, and the expression that ``computes`` it (see `Statement`)."""

    id: str
    text: str
    stated: str
    computes: str
    over: dict[str, tuple[FiniteFloat, ...]] = {}


class Variant(_Strict):
    """Another way to run a report's configurations: ``overrides`` take the place of their own of the same keys.

    - ``of``: the configurations that it concerns; without it, those that set one of these keys.
    - ``kind``: a ``change`` of what was published; a ``reading`` of a protocol that does not say; one that was chosen
      after the values had been seen is ``post hoc``: that it fits is shown, and counted nowhere.
    - ``about``: what it is for.
    """

    overrides: Overrides = Field(min_length=1)
    of: tuple[ConfigurationName, ...] = ()
    kind: Literal["change", "reading", "post hoc"] = "change"
    about: str

    def heading(self, name: str) -> str:
        """What it is called, and whether it was chosen post hoc."""
        return f"{name} (post hoc)" if self.kind == "post hoc" else name


class OtherSplit(_Strict):
    """Data of ours that holds other examples than a report's, of the same kind and number.

    ``examples`` says of how many theirs are: an accuracy of ours and one of theirs differ by the binomial error of
    both. ``about`` says what is the same, and what is not.
    """

    examples: dict[Literal["val", "test"], PositiveInt]
    about: str


class Substitute(_Strict):
    """What is run in place of configurations whose data is not at hand: shown, never held against what is published.

    - ``provenance``: what records say of its data: ``other split`` (the registered files, split in another way) or
      ``stand-in`` (other data of the same form).
    - ``stand_in``: what records must say, under that name, of how their data was made: other stand-ins have no place.
    - ``of``: the configurations that it stands in for; it speaks for a claim that compares these alone.
    - ``overrides``: its own settings, in place of the configurations' own of the same keys or added to them.
    - ``about``: what it is, and in what it differs.
    """

    provenance: Literal["other split", "stand-in"]
    stand_in: dict[str, str | int | None] = {}
    of: tuple[ConfigurationName, ...] = Field(min_length=1)
    overrides: Overrides = ()
    about: str

    def note(self, heading: str) -> str:
        """What it is, in a sentence: ``Other split, test pictures: 8,000 of them.``"""
        return sentence(f"{self.provenance}, {heading}: {self.about}")


PRINTED_DECIMALS = 4
"""The reports of the suite print so many."""


class Report(_Strict):
    """One published report.

    ``data`` says in what our data differs from theirs; ``other_splits``, by the data set's name, where it is another
    split; ``variants`` are further columns of ours, ``substitutes`` what is shown where there are none of ours, both by
    their heading. ``own_data`` holds the hashes, or how they begin, of data that is none of the suite's: then only runs
    on it are held against the report. Values have ``decimals`` at least: YAML keeps no zeros at the end.
    """

    title: str
    data: str
    decimals: int = Field(default=PRINTED_DECIMALS, ge=0, le=15)
    own_data: tuple[Annotated[str, Field(pattern="^[0-9a-f]{12,64}$")], ...] = ()
    other_splits: dict[str, OtherSplit] = {}
    variants: dict[str, Variant] = {}
    substitutes: dict[str, Substitute] = {}
    configurations: dict[str, Configuration]
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    claims: tuple[Claim, ...] = ()
    slips: tuple[Slip, ...] = ()


def line_of(node: yaml.Node | None, keys: Sequence[str | int]) -> int:
    """The line, counted from 1, of what the keys and numbers lead to from a file's first node, as far as they lead."""
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


def load(path: Path, reports: Sequence[str] | None = None) -> Report:
    """Read one report file.

    Args:
        path: The file.
        reports: The names of all reports, which claims may name; None: any.

    Raises:
        ConfigError: It is no UTF-8 text or no YAML, a key is unknown, missing, twice there or of the wrong type or
            size, or an experiment, configuration, metric or report is unknown; the message names the line.
    """
    content, node = _read(path)
    context: dict[str, Any] = {"metric": METRICS, "experiment": experiments()}
    if isinstance(content, dict) and isinstance(content.get("configurations"), dict):
        context["configuration"] = {str(name) for name in content["configurations"]}
    if reports is not None:
        context["report"] = reports
    try:
        return Report.model_validate(content, context=context)
    except ValidationError as error:
        first = error.errors()[0]
        keys = [key for key in first["loc"] if key not in ("comparison", "statement", "[key]")]
        where = ".".join(map(str, keys)) or "report"
        raise ConfigError(f"{path}:{line_of(node, keys)}: {where}: {first['msg']}") from error


_OF_THE_PAGE = "glance findings leaderboards costs runs diverged method variants readings noise slips"
SECTIONS = frozenset(_OF_THE_PAGE.split(" "))
"""The page has sections of these names, to which its links lead."""


def wrong_name(name: str) -> str | None:
    """What is wrong with the name of a report; None if nothing is."""
    if not (name.isascii() and name.isalnum() and name == name.lower()):
        return f"{name}: no name of a report; take small letters and digits, such as mine26"
    return f"{name}: a section of the page is called so; choose another name" if name in SECTIONS else None


def load_all() -> dict[str, Report]:
    """Every report under ``experiments/``, and ``reports/`` of a user's own folder, by the name of the folder it is in.

    Raises:
        ConfigError: See `load`; or a report's name is wrong, or it or an id stands twice, or two substitutes stand in
            for one configuration.
    """
    files: dict[str, Path] = {}
    for folder in (paths.experiments(), *(own / "reports" for own in named_folders())):
        for path in sorted(folder.glob("*/report.yaml")):
            if wrong := wrong_name(name := path.parent.name):
                raise ConfigError(f"{path}: {wrong}")
            if name in files:
                raise ConfigError(f"{path}: {files[name]} is called {name} too; choose another name for the folder")
            files[name] = path
    reports = {name: load(path, list(files)) for name, path in files.items()}
    for name, keys, problem in _named_twice(reports):
        raise ConfigError(f"{files[name]}:{line_of(_read(files[name])[1], keys)}: {problem}")
    return reports


def _read(path: Path) -> tuple[Any, yaml.Node | None]:
    return parse_yaml(read_at_most(path), path, ConfigError)


def _named_twice(reports: Mapping[str, Report]) -> Iterator[tuple[str, Sequence[str | int], str]]:
    """The report, the keys that lead to it and what is wrong, for each name that may stand once only."""
    seen: dict[str, str] = {}
    for name, report in reports.items():
        ids = [(("claims", number, "id"), claim.id) for number, claim in enumerate(report.claims)]
        for place, key in [*ids, *((("slips", number, "id"), slip.id) for number, slip in enumerate(report.slips))]:
            if key in seen:
                yield name, place, f"{key}: stands in {seen[key]}/report.yaml already; choose another id"
            seen[key] = name
        served: dict[str, str] = {}
        for heading, substitute in report.substitutes.items():
            for key in substitute.of:
                if key in served:
                    yield name, ("substitutes", heading), f"{key}: {served[key]} stands in for it already; name it once"
                served[key] = heading
