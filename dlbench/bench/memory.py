"""How much memory a run on the real pictures needs."""

import json
import tempfile
from pathlib import Path

from dlbench.bench.part import Case, Effort, Part, Row
from dlbench.bench.processes import measure
from dlbench.bench.ratios import Target
from dlbench.data import intel_files
from dlbench.paths import data_folder
from dlbench.records.store import Store

CASES = (Case("cnn_bn_gap"), Case("cnn_vanilla"))
TARGET = Target("below", 1.5)
SHORT = ("trainer.epochs=1", "trainer.limit_train_batches=50", "evaluation.max_shift=1")


def memory(effort: Effort) -> Part:
    """Peak resident memory of a short run; nothing without the real pictures."""
    title = "Peak memory of a run on the real pictures"
    if intel_files.find(data_folder()) is None:
        return Part(title, "", [], ["left out: no real pictures at hand (set DLBENCH_DATA)"])
    rows: list[Row] = []
    for case in CASES[: None if effort.whole else 1]:
        with tempfile.TemporaryDirectory(prefix="dlbench-bench-") as folder:
            # Not the effort's overrides: they may ask for embedded pictures.
            overrides = [
                f"+experiment={case.experiment}",
                "trainer.device=cpu",
                "trainer.progress=none",
                *SHORT,
                f"paths.runs={json.dumps(folder)}",
            ]
            usage = measure("-m", "dlbench", *overrides)
            (record,) = Store(Path(folder)).all()
            trained = record.closed()["peak_memory_bytes"]
        rows.append(Row(f"{case.name}, training (its record's peak)", "GB", trained / 1e9, target=TARGET))
        rows.append(Row(f"{case.name}, the whole process", "GB", usage.peak_bytes / 1e9, target=TARGET))
    return Part(title, "", rows, [f"real pictures, fp32, one thread, a short epoch: {' '.join(SHORT)}"])
