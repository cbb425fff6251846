"""What a part of the benchmark is asked to do, and what it gives back."""

from collections.abc import Callable
from dataclasses import dataclass, field

from dlbench.bench.ratios import Ratio, Target


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Args:
        pairs: Pairs (rounds) of timed windows.
        steps: Training steps a window.
        warmup: Steps each worker makes before anything is timed.
        starts: Pairs of process starts.
        epoch_ends: Ends of epochs that are timed.
        decodings: Rounds in which the test words are decoded.
        words: Test words of which the plain loop draws samples.
        matrix_sizes: Sides of the square matrices whose product gives the core's peak.
        whole: Every network and precision, or only each part's first.
        overrides: Configuration of every run measured; by default real pictures where they are, else embedded ones.
    """

    pairs: int
    steps: int
    warmup: int
    starts: int
    epoch_ends: int
    decodings: int
    words: int
    matrix_sizes: tuple[int, ...]
    whole: bool = True
    overrides: tuple[str, ...] = ()


FULL = Effort(
    pairs=16,
    steps=40,
    warmup=20,
    starts=8,
    epoch_ends=8,
    decodings=8,
    words=150,
    matrix_sizes=(1024, 1536, 2048),
)
QUICK = Effort(
    pairs=2,
    steps=2,
    warmup=1,
    starts=1,
    epoch_ends=1,
    decodings=2,
    words=8,
    matrix_sizes=(128,),
    whole=False,
    overrides=("data.source=embedded", "data.embedded_sizes=[64,24,24]"),
)


@dataclass(frozen=True)
class Case:
    """A run that is measured: an experiment in a precision."""

    experiment: str
    precision: str = "32-true"

    @property
    def name(self) -> str:
        """The case in words."""
        return self.experiment + ("" if self.precision == "32-true" else f", {self.precision}")

    def overrides(self, effort: Effort, *more: str) -> tuple[str, ...]:
        """Its configuration as on a command line; on the CPU, silent, without pictures."""
        return (
            f"+experiment={self.experiment}",
            f"trainer.precision={self.precision}",
            "trainer.device=cpu",
            "trainer.progress=none",
            "callbacks=none",
            *effort.overrides,
            *more,
        )


ENDLESS = "trainer.epochs=1000000"


@dataclass(frozen=True)
class Row:
    """One finding: ours against a reference, both in ``unit``; ``ratio`` is None where a number stands for itself."""

    what: str
    unit: str
    ours: float
    reference: float | None = None
    ratio: Ratio | None = None
    target: Target | None = None

    @property
    def verdict(self) -> str:
        """Whether the target is met, in words; empty without a target."""
        if not self.target:
            return ""
        ratio = self.ratio
        bounds = (ratio.value, ratio.low, ratio.high) if ratio else (self.ours, self.ours, self.ours)
        return self.target.verdict(*bounds)


@dataclass(frozen=True)
class Part:
    """A part's findings.

    ``reference`` names what ours is held against, ``notes`` are lines on how, ``table`` is detail, headings first.
    """

    title: str
    reference: str
    rows: list[Row]
    notes: list[str] = field(default_factory=list)
    table: list[list[str]] = field(default_factory=list)


Measure = Callable[[Effort], Part]
