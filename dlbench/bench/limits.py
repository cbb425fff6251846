"""How far a step is from what its arithmetic alone would take on this core."""

from collections.abc import Sequence
from functools import partial
from statistics import median

from dlbench.bench.part import ENDLESS, Case, Effort, Part, Row
from dlbench.bench.ratios import in_turns, median_ratio
from dlbench.bench.workers import Specification, Worker, all_cores, crew

CASES = (
    Case("cnn_bn_gap"),
    Case("cnn_bn_gap", "bf16-mixed"),
    Case("cnn_vanilla"),
    Case("cnn_vanilla", "bf16-mixed"),
)
DTYPES = {"32-true": "float32", "bf16-mixed": "bfloat16"}


def limits(effort: Effort) -> Part:
    """A real step over its operations divided by the core's best matrix product, taken right beside it."""
    rows: list[Row] = []
    table = [["", "MFLOP a step", "best GFLOP/s, one core"]]
    data = ""
    for case in CASES[: None if effort.whole else 1]:
        ours_alone = Specification("ours", case.overrides(effort, ENDLESS), effort.warmup, all_cores()[:1])
        with crew(ours_alone) as (run,):
            flops = run.ask("flops")["flops"]
            taken = in_turns(
                effort.pairs,
                {
                    "step": partial(run.seconds, effort.steps),
                    "rate": partial(_rate, run, effort.matrix_sizes, DTYPES[case.precision]),
                },
            )
            data = run.facts["data"]
        ours = [1000 * seconds / effort.steps for seconds in taken["step"]]
        limit = [1000 * flops / rate for rate in taken["rate"]]
        rows.append(Row(case.name, "ms/step", median(ours), median(limit), median_ratio(ours, limit)))
        table.append([case.name, f"{flops / 1e6:,.0f}", f"{median(taken['rate']) / 1e9:.0f}"])
    notes = [
        f"data: {data}; one pinned core and thread, batch 8",
        "limit = operations of forward and backward (torch's FlopCounterMode) / best rate of torch.mm of squares of "
        + ", ".join(map(str, effort.matrix_sizes)),
    ]
    return Part("How far a step is from its arithmetic limit", "limit", rows, notes, table)


def _rate(worker: Worker, sizes: Sequence[int], dtype: str) -> float:
    return float(worker.ask("matmul", sizes=sizes, dtype=dtype)["rate"])
