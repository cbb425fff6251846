"""What a few seeds tell: intervals, a permutation test, and published values held against our runs."""

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from scipy import stats

from dlbench.report.document import Verdict
from dlbench.report.schema import Curve
from dlbench.terminal import format_value

Interval = tuple[float, float]


@dataclass(frozen=True)
class Judgement:
    """What a published value or a claim's check comes to.

    Args:
        verdict: What it comes to.
        reason: Why the verdict is this, in words.
        said: What was checked, in words; of a statement, its expression.
        interval: Where one more run is expected, or, of a check, where the mean difference lies; at 95%.
        difference: The mean of our values less what they were compared with; None for a statement.
        p: One-sided p of the paired permutation test, in the claimed direction.
        smallest_p: The smallest p that so many pairs can reach.
        n: Seeds that were paired, or values that were computed.
    """

    verdict: Verdict
    reason: str
    said: str = ""
    interval: Interval | None = None
    difference: float | None = None
    p: float | None = None
    smallest_p: float | None = None
    n: int = 0


CONFIDENCE = 0.95
RESAMPLES = 9999
"""Up to 13 pairs have fewer sign flips than this, and the permutation test is exact."""

PRINTED_DECIMALS = 4
"""The reports print so many; trailing zeros are lost where a value is read as a number."""


def prediction_interval(values: Sequence[float]) -> Interval:
    """Where one more run is expected, for normal values: mean ± t s sqrt(1 + 1/n).

    Raises:
        ValueError: There are fewer than two values.
    """
    return _t_interval(values, more=1)


def difference_interval(differences: Sequence[float]) -> Interval:
    """Where the mean difference lies, for normal differences: mean ± t s / sqrt(n).

    Raises:
        ValueError: There are fewer than two differences.
    """
    return _t_interval(differences, more=0)


def _t_interval(values: Sequence[float], more: int) -> Interval:
    if len(values) < 2:
        raise ValueError(f"an interval needs two values or more, not {len(values)}")
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    mean, reach = statistics.fmean(values), quantile * statistics.stdev(values) * math.sqrt(more + 1 / len(values))
    return mean - reach, mean + reach


def mean_interval(values: Sequence[float]) -> Interval:
    """Where the mean lies, by a percentile bootstrap that is the same every time.

    Raises:
        ValueError: There are fewer than two values.
    """
    if len(values) < 2:
        raise ValueError(f"an interval needs two values or more, not {len(values)}")
    if min(values) == max(values):
        return values[0], values[0]
    found = stats.bootstrap(
        (np.sort(values),),
        np.mean,
        confidence_level=CONFIDENCE,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def permutation_p(differences: Sequence[float]) -> tuple[float, float]:
    """The one-sided p of paired differences whose mean is greater than 0, and the smallest p that so many can reach.

    Each difference's sign is flipped, in every combination, or in random ones where there are too many.

    Raises:
        ValueError: There are fewer than two differences.
    """
    if len(differences) < 2:
        raise ValueError(f"a permutation test needs two differences or more, not {len(differences)}")
    found = stats.permutation_test(
        (np.sort(differences),),
        np.mean,
        permutation_type="samples",
        alternative="greater",
        n_resamples=RESAMPLES,
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue), max(2.0 ** -len(differences), 1 / (RESAMPLES + 1))


def of_curve(rows: Sequence[Mapping[str, Any]], metric: str, curve: Curve) -> float | None:
    """What `Curve` asks of a run's metric over its epochs; None where there are too few of them.

    A run that never reaches the threshold ``epochs_to`` counts one epoch more than it has.
    """
    points = {int(row["epoch"]): float(row[metric]) for row in rows if metric in row}
    if curve.at is not None:
        return points.get(curve.at)
    if curve.epochs_to is not None:
        reached = (epoch for epoch, value in points.items() if value <= curve.epochs_to)
        return next(reached, len(rows) + 1) if points else None
    first = curve.slope_after if curve.slope_after is not None else curve.roughness
    epochs = [epoch for epoch in points if epoch > (first or 0)]
    values = [points[epoch] for epoch in epochs]
    if curve.slope_after is not None:
        return statistics.linear_regression(epochs, values).slope if len(values) > 1 else None
    changes = [later - earlier for earlier, later in itertools.pairwise(values)]
    return statistics.stdev(changes) if len(changes) > 1 else None


def judge_published(published: float, ours: Sequence[float], exact: bool) -> Judgement:
    """Whether a published value is what one more run of ours could give, as far as its printed digits tell.

    An ``exact`` metric is the same in every run: there one run tells.
    """
    if not ours:
        return Judgement(Verdict.NOT_RUN, "not run")
    if not all(map(math.isfinite, (published, *ours))):
        return Judgement(Verdict.UNDECIDED, "a value is not finite")
    if exact:
        unequal = next((value for value in ours if not math.isclose(value, published)), None)
        reason = "equal" if unequal is None else f"ours is {format_value(unequal)}"
        return Judgement(Verdict.REPRODUCED if unequal is None else Verdict.DIFFERS, reason)
    if len(ours) == 1:
        return Judgement(Verdict.UNDECIDED, "one run gives no interval")
    low, high = prediction_interval(ours)
    bounds = f"[{format_value(low)}, {format_value(high)}]"
    beyond = max(low - published, published - high)
    decimals = max(PRINTED_DECIMALS, -int(Decimal(str(published)).as_tuple().exponent))
    # Half a unit of the last printed place, and a little for binary fractions.
    if beyond <= 0.5 * 10.0**-decimals * (1 + 1e-9):
        return Judgement(Verdict.REPRODUCED, f"inside {bounds}", interval=(low, high))
    side = "above" if published > high else "below"
    return Judgement(Verdict.DIFFERS, f"{side} {bounds} by {format_value(beyond)}", interval=(low, high))
