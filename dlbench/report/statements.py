"""What statements and slips come to: computed, without any run."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dlbench.errors import ConfigError
from dlbench.report.document import Verdict
from dlbench.report.expressions import Value, evaluate, operands
from dlbench.report.schema import Slip, Statement
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


def judge_statement(check: Statement) -> Judgement:
    """Whether a statement is true for all values of its variables.

    Raises:
        ConfigError: It is none, or cannot be computed.
    """
    cases = _cases(check.over)
    values = [evaluate(check.statement, **case) for case in cases]
    if not all(isinstance(value, bool) for value in values):
        raise ConfigError(f"{check.statement}: is a number, no statement; compare it with something")
    verdict = Verdict.HOLDS if all(values) else Verdict.FAILS
    telling = cases[0 if all(values) else values.index(False)]
    compared = [_number(evaluate(operand, **telling)) for operand in operands(check.statement)]
    reason = " against ".join(compared) or str(all(values)).lower()
    return Judgement(verdict, check.statement, reason + _where(telling), n=len(cases))


def _cases(over: Mapping[str, Sequence[float]]) -> list[dict[str, float]]:
    """The variables' values, taken together; without variables a single case."""
    if not over:
        return [{}]
    if len(set(map(len, over.values()))) > 1 or not all(over.values()):
        raise ConfigError(f"over {', '.join(over)}: give each variable a value or more, and all of them as many")
    return [dict(zip(over, values, strict=True)) for values in zip(*over.values(), strict=True)]


def _where(case: Mapping[str, float]) -> str:
    """For which values of the variables, if there are any."""
    return f" for {', '.join(f'{name} = {_number(value)}' for name, value in case.items())}" if case else ""


def _worth(expression: str, values: Sequence[Value]) -> str:
    """An expression and its values; a single number or name is its value alone."""
    numbers = _numbers(values)
    return numbers if expression.replace(".", "").isalnum() else f"{expression} = {numbers}"


def _numbers(values: Sequence[Value]) -> str:
    return ", ".join(map(_number, values))


def _number(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.6g}"


def judge_slip(slip: Slip) -> SlipJudgement:
    """Whether what a report states is what its expression computes, for all values of the variables.

    Raises:
        ConfigError: An expression cannot be computed.
    """
    cases = _cases(slip.over)
    stated = [evaluate(slip.stated, **case) for case in cases]
    computed = [evaluate(slip.computes, **case) for case in cases]
    verdict, reason = Verdict.RIGHT, "computed"
    for case, value, right in zip(cases, stated, computed, strict=True):
        if not math.isclose(value, right):
            verdict = Verdict.WRONG
            reason = f"{_number(value)} stated, {_number(right)} computed{_where(case)}"
            break
    return SlipJudgement(verdict, _worth(slip.stated, stated), _worth(slip.computes, computed), reason)
