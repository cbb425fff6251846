"""What checks and slips come to."""

from dataclasses import dataclass

from dlbench.report.blocks import Verdict
from dlbench.report.statistics import Interval


@dataclass(frozen=True)
class Judgement:
    """What a check comes to.

    Args:
        verdict: What it comes to.
        said: What was checked, in words; of a statement, its expression.
        reason: Why the verdict is this, in words.
        ours: The mean of our values, as text; nothing for a statement.
        theirs: That of what they were compared with.
        difference: The mean of ours less theirs.
        interval: Where that mean difference lies, at 95%.
        p: One-sided p of the paired permutation test, in the claimed direction.
        smallest_p: The smallest p that so many pairs can reach.
        n: Seeds that were paired, or values that were computed.
    """

    verdict: Verdict
    said: str
    reason: str
    ours: str = ""
    theirs: str = ""
    difference: float | None = None
    interval: Interval | None = None
    p: float | None = None
    smallest_p: float | None = None
    n: int = 0


@dataclass(frozen=True)
class SlipJudgement:
    """What a report's number or formula comes to: what is ``stated`` and ``computed``, with values, as text."""

    verdict: Verdict
    stated: str
    computed: str
    reason: str
