"""Two runs held against each other, bit for bit."""

from dlbench.records import history, seal
from dlbench.run import Outcome


def same_bits(outcome: Outcome, expected: Outcome) -> bool:
    """Whether weights, curves (speed apart) and metrics are the same."""

    def curves(made: Outcome) -> list[dict[str, float]]:
        rows = history.read(made.record.metrics)
        return [{name: row[name] for name in row if not name.startswith("time/")} for row in rows]

    weights = [seal.read(made.record.training)["weights"] for made in (outcome, expected)]
    same_metrics = outcome.result["metrics"] == expected.result["metrics"]
    return weights[0] == weights[1] and curves(outcome) == curves(expected) and same_metrics
