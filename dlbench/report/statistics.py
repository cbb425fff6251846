"""What a few seeds tell: intervals, tests, and published values held against our runs."""

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import special  # scipy.stats, whose t this is, takes a second to import

from dlbench.metrics.names import has_direction, is_better_higher, is_exact, is_rate
from dlbench.report.document import Verdict
from dlbench.report.schema import PRINTED_DECIMALS, Curve
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
        distance: The published value less our mean, in standard deviations of one more run; of a check, the mean
            difference less its margin in standard errors, positive on the claimed side.
        p: Two-sided p of Student's t test that this distance is 0.
        holm: ``p`` by Holm's correction, for all values of a report or all checks of a claim.
        permutation_p: One-sided p of the paired permutation test, in the claimed direction.
        smallest_p: The smallest p that so many pairs can reach in the permutation test.
        n: Seeds that were paired (of unpaired runs, those of the smaller side), or values that were computed.
    """

    verdict: Verdict
    reason: str
    said: str = ""
    interval: Interval | None = None
    difference: float | None = None
    distance: float | None = None
    p: float | None = None
    holm: float | None = None
    permutation_p: float | None = None
    smallest_p: float | None = None
    n: int = 0


CONFIDENCE = 0.95
LEVEL = 1 - CONFIDENCE
"""A smaller p is told from chance."""
MOST_FLIPS = 9999
"""So many combinations of signs are tried: all of up to 13 pairs, which makes the permutation test exact."""

ENOUGH_RUNS = 3
"""Fewer runs reproduce no value, and fewer pairs decide no claim."""
UNKNOWN_SPLIT = "but on another split, and how much this metric varies with it is not known"


# --- Student's t ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Expected:
    """Where a value is expected: around ``mean``, by two errors that know nothing of each other.

    Args:
        mean: The middle.
        estimated: The standard deviation of a normal error, as few values tell it.
        freedom: The degrees of freedom of this estimate: the error divided by it is Student's t.
        known: The standard deviation of a further normal error, which is known.
    """

    mean: float
    estimated: float
    freedom: float
    known: float = 0.0

    @property
    def deviation(self) -> float:
        """The standard deviation of both."""
        return math.hypot(self.estimated, self.known)

    @property
    def interval(self) -> Interval:
        """At 95%."""
        # Wider than of either error alone, and not as wide as of both at their ends.
        alone = _quantile(self.freedom) * self.estimated, _quantile(math.inf) * self.known
        low, high = max(alone), sum(alone)
        while high - low > 1e-9 * high:
            middle = (low + high) / 2
            low, high = (middle, high) if self._beyond(middle) > LEVEL else (low, middle)
        return self.mean - high, self.mean + high

    def distance(self, value: float) -> float | None:
        """How far a value lies from the mean, in standard deviations; None where nothing varies."""
        return (value - self.mean) / self.deviation if self.deviation else None

    def p(self, value: float) -> float | None:
        """The two-sided p of a value; None where nothing varies."""
        return self._beyond(abs(value - self.mean)) if self.deviation else None

    def _beyond(self, reach: float) -> float:
        """How likely both errors together lead further from the mean than this, to either side."""
        if not self.known:
            return float(2 * special.stdtr(self.freedom, -reach / self.estimated))
        if not self.estimated:
            return float(2 * special.ndtr(-reach / self.known))
        # Student's t is a normal value whose variance is drawn: then the sum is normal, too, for each variance drawn.
        inverse_chi_square, weights = _drawn(self.freedom)
        deviations = np.sqrt(self.estimated**2 * inverse_chi_square + self.known**2)
        return float(2 * weights @ special.ndtr(-reach / deviations))


@cache
def _quantile(freedom: float) -> float:
    return float(special.stdtrit(freedom, (1 + CONFIDENCE) / 2))


@cache
def _drawn(freedom: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Values of degrees of freedom / chi-square at the nodes of a Gauss-Legendre rule, and its weights."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    chi_square = 2 * np.asarray(special.gammaincinv(freedom / 2, (nodes + 1) / 2), dtype=np.float64)
    return freedom / chi_square, weights / 2


def one_more(values: Sequence[float], split_variance: float = 0.0) -> Expected:
    """What one more run is expected to give, for normal values: a variance of s² (1 + 1/n), and that of the split.

    Where both vary, the interval is that of the sum of a t and a normal value, the one scaled by s sqrt(1 + 1/n), the
    other by the split's standard deviation (the fiducial distribution of Behrens and Fisher, one variance known). It
    holds one more run in 95 to 99 of 100 cases; Welch and Satterthwaite's would in 87 to 95, of two or three runs.

    Args:
        values: What our runs gave.
        split_variance: What is added where the one more run is tested on other examples (see `binomial_variance`).

    Raises:
        ValueError: There are fewer than two values.
    """
    _at_least_two(values)
    own = deviation(values) * math.sqrt(1 + 1 / len(values))
    return Expected(statistics.fmean(values), own, len(values) - 1, math.sqrt(split_variance))


def mean_difference(differences: Sequence[float]) -> Expected:
    """Where the mean of normal differences lies: a variance of s² / n.

    Raises:
        ValueError: There are fewer than two differences.
    """
    _at_least_two(differences)
    spread = deviation(differences) / math.sqrt(len(differences))
    return Expected(statistics.fmean(differences), spread, len(differences) - 1)


def difference_of_means(ours: Sequence[float], theirs: Sequence[float]) -> Expected:
    """Where the difference of two means of normal values lies that are no pairs: Welch's, of unequal variances.

    Raises:
        ValueError: There are fewer than two values on a side.
    """
    for values in (ours, theirs):
        _at_least_two(values)
    parts = [(deviation(values) ** 2 / len(values), len(values) - 1) for values in (ours, theirs)]
    whole = sum(variance for variance, _ in parts)
    freedom = 1 / sum((variance / whole) ** 2 / count for variance, count in parts) if whole else math.inf
    return Expected(statistics.fmean(ours) - statistics.fmean(theirs), math.sqrt(whole), freedom)


def deviation(values: Sequence[float]) -> float:
    """The standard deviation s of two values or more, over n - 1; 0 where rounding alone tells them apart."""
    if is_constant(values):
        return 0.0
    # In floating point: the exact fractions of `statistics.stdev` took a ninth of a large report's time.
    mean = statistics.fmean(values)
    return math.dist(values, [mean] * len(values)) / math.sqrt(len(values) - 1)


def _at_least_two(values: Sequence[float]) -> None:
    if len(values) < 2:
        raise ValueError(f"intervals and tests need two values or more, not {len(values)}")


def prediction_interval(values: Sequence[float]) -> Interval:
    """Where one more run is expected at 95%: mean ± t s sqrt(1 + 1/n); see `one_more`."""
    return one_more(values).interval


def mean_interval(values: Sequence[float]) -> Interval:
    """Where the mean lies at 95%: mean ± t s / sqrt(n); see `mean_difference`."""
    return mean_difference(values).interval


def is_constant(values: Sequence[float]) -> bool:
    """Whether values differ by no more than rounding."""
    return math.isclose(min(values), max(values), rel_tol=1e-9, abs_tol=1e-12)


def binomial_variance(share: float, examples: Sequence[int]) -> float:
    """The variance of the difference of two shares, each of its own examples, where both expect ``share``."""
    return share * (1 - share) * sum(1 / count for count in examples)


def holm(ps: Sequence[float]) -> list[float]:
    """Each p as Holm's step-down correction gives it for all of them together (Holm 1979)."""
    corrected, largest = [0.0] * len(ps), 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[place]))
        corrected[place] = largest
    return corrected


def with_holm(judgements: Sequence[Judgement]) -> list[Judgement]:
    """The judgements, those that have a p with Holm's correction of it for all of these."""
    tested = [place for place, judgement in enumerate(judgements) if judgement.p is not None]
    corrected = dict(zip(tested, holm([judgements[place].p or 0.0 for place in tested]), strict=True))
    return [replace(judgement, holm=corrected.get(place)) for place, judgement in enumerate(judgements)]


# --- other tests ------------------------------------------------------------------------------------------------------


def permutation_p(differences: Sequence[float]) -> tuple[float, float]:
    """The one-sided p of paired differences whose mean is greater than 0, and the smallest p that so many can reach.

    Each difference's sign is flipped, in every combination, or in random ones where there are too many.

    Raises:
        ValueError: There are fewer than two differences.
    """
    _at_least_two(differences)
    values, signs = np.sort(differences), _signs(len(differences))
    reached = int(np.count_nonzero(signs @ values >= values.sum() - 1e-12 * np.abs(values).sum()))  # rounding is less
    is_exact = len(signs) == 2 ** len(values)
    p = reached / len(signs) if is_exact else (reached + 1) / (len(signs) + 1)
    return p, max(2.0 ** -len(values), 1 / (MOST_FLIPS + 1))


@cache
def _signs(count: int) -> npt.NDArray[np.float64]:
    """Every combination of so many signs, or random ones where these are too many, in a row each."""
    if 2**count <= MOST_FLIPS:
        return np.array(list(itertools.product((-1.0, 1.0), repeat=count)))
    return np.random.default_rng(0).choice((-1.0, 1.0), (MOST_FLIPS, count))


def of_curve(points: Mapping[int, float], curve: Curve, length: int) -> float | None:
    """What `Curve` asks of a metric at the epochs of a run of this length; None where there are too few of them.

    A run that never reaches the threshold ``epochs_to`` counts one epoch more than it has.
    """
    if curve.at is not None:
        return points.get(curve.at)
    if curve.epochs_to is not None:
        reached = (epoch for epoch, value in points.items() if value <= curve.epochs_to)
        return next(reached, length + 1) if points else None
    first = curve.slope_after if curve.slope_after is not None else curve.roughness
    epochs = [epoch for epoch in points if epoch > (first or 0)]
    values = [points[epoch] for epoch in epochs]
    if curve.slope_after is not None:
        return statistics.linear_regression(epochs, values).slope if len(values) > 1 else None
    changes = [later - earlier for earlier, later in itertools.pairwise(values)]
    return statistics.stdev(changes) if len(changes) > 1 else None


# --- published values -------------------------------------------------------------------------------------------------


def judge_published(
    published: float,
    ours: Sequence[float],
    metric: str,
    *,
    diverged: int = 0,
    decimals: int = PRINTED_DECIMALS,
    is_other_split: bool = False,
    examples: Sequence[int] = (),
) -> Judgement:
    """Whether a published value is what one more run of ours could give, as far as its printed digits tell.

    It is reproduced where it lies in the interval, this is not too wide, and there are `ENOUGH_RUNS`. A metric that is
    the same in every run (see `is_exact`) is equal or not: there one run tells.

    Args:
        published: The value.
        ours: What our runs gave.
        metric: Its name.
        diverged: How many further runs diverged.
        decimals: How many the report prints; trailing zeros are lost where a value is read as a number.
        is_other_split: Whether ours were tested on other examples than theirs.
        examples: In that case, of how many examples theirs and ours are a share; empty where that is not known.
    """
    lost = f"{diverged} of {len(ours) + diverged} runs diverged" if diverged else ""
    if not ours:
        if not diverged:
            return Judgement(Verdict.NOT_RUN, "not run")
        if diverged >= ENOUGH_RUNS and has_direction(metric) and math.isfinite(published):
            return Judgement(Verdict.WORSE, f"all {diverged} runs diverged")
        return Judgement(Verdict.UNDECIDED, lost)
    if not all(map(math.isfinite, (published, *ours))):
        return Judgement(Verdict.UNDECIDED, "a value is not finite")
    if is_exact(metric):
        unequal = next((value for value in ours if not math.isclose(value, published)), None)
        reason = "equal" if unequal is None else f"ours is {format_value(unequal)}"
        return Judgement(Verdict.REPRODUCED if unequal is None else Verdict.DIFFERS, reason)
    unit = 10.0 ** -max(decimals, -int(Decimal(str(published)).normalize().as_tuple().exponent))
    judged = _judge_runs(published, unit, ours, metric, examples if is_other_split else None)
    if diverged > len(ours):
        judged = replace(judged, verdict=Verdict.UNDECIDED)  # by those that happened to end
    return replace(judged, reason=f"{judged.reason}; {lost}") if lost else judged


def _judge_runs(
    published: float, unit: float, ours: Sequence[float], metric: str, examples: Sequence[int] | None
) -> Judgement:
    """See `judge_published`; ``unit`` is that of the last printed place, ``examples`` None of the same split."""
    if len(ours) == 1:
        return Judgement(Verdict.UNDECIDED, "one run gives no interval")
    share = min(max((statistics.fmean(ours) + published) / 2, 0.0), 1.0)
    expected = one_more(ours, binomial_variance(share, examples) if examples else 0.0)
    low, high = expected.interval
    around = f"[{format_value(low)}, {format_value(high)}]"
    verdict, reason = Verdict.REPRODUCED, f"published inside {around}"
    is_unknown_split = examples is not None and not examples
    beyond = max(low - published, published - high)
    reach, allowed = (high - low) / 2, tolerance(metric, published)
    if beyond > 0.5 * unit * (1 + 1e-9):  # a little for binary fractions
        reason = f"published {'above' if published > high else 'below'} {around} by {format_value(beyond)}"
        if is_constant(ours):
            verdict = Verdict.UNDECIDED
            reason += f"; ours is the same in all {len(ours)} runs, which does not tell how much it varies"
        elif is_unknown_split:
            verdict = Verdict.UNDECIDED
            reason += f", {UNKNOWN_SPLIT}"
        elif not has_direction(metric):
            verdict = Verdict.DIFFERS
        else:
            verdict = Verdict.BETTER if (published < low) == is_better_higher(metric) else Verdict.WORSE
    elif len(ours) < ENOUGH_RUNS:
        verdict, reason = Verdict.IMPRECISE, f"{reason}, but of {len(ours)} runs only"
    elif is_unknown_split:
        verdict, reason = Verdict.IMPRECISE, f"{reason}, {UNKNOWN_SPLIT}"
    elif reach > allowed:
        verdict = Verdict.IMPRECISE
        reason += f", but ±{format_value(reach)} is more than ±{format_value(allowed)}"
    return Judgement(
        verdict,
        reason,
        interval=(low, high),
        distance=expected.distance(published),
        p=expected.p(published),
        n=len(ours),
    )


def tolerance(metric: str, published: float) -> float:
    """How far an interval may reach to either side and still reproduce: .03 of a share, else 10% of the value."""
    return 0.03 if is_rate(metric) else 0.1 * abs(published)
