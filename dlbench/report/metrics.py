"""The names of the metrics that a run's evaluation reports, told without importing torch; a test holds them to a run.

What a task or an evaluation newly logs is entered here, so that report files may bear it.
"""

from dlbench.records.history import LAST_EPOCHS

MAX_SHIFT = 16
"""The largest `dlbench.tasks.image_evaluation.ImageEvaluation.max_shift`."""

MAX_K = 10
"""The largest `dlbench.tasks.transduction_evaluation.TransductionEvaluation.k` whose metric is known by name."""

RATES = ("cer", "wer", "error_rate_macro")

METRICS = frozenset(
    {
        "train/loss",
        "train/loss_last_batch",
        "train/loss_running_mean",
        "optimizer/lr",
        "val/loss",
        "val/accuracy",
        "val/accuracy_best",
        "val/best_epoch",
        f"val/accuracy_last{LAST_EPOCHS}_mean",
        f"val/accuracy_last{LAST_EPOCHS}_std",
        *(f"{split}/{rate}" for split in ("val", "test") for rate in RATES),
        *(f"test/wer_at_{k}" for k in range(2, MAX_K + 1)),
        "val/cer_best",
        f"val/cer_last{LAST_EPOCHS}_mean",
        f"val/cer_last{LAST_EPOCHS}_std",
        "test/loss",
        "test/loss_best_val",
        "test/accuracy",
        "test/accuracy_best_val",
        *(f"test/accuracy_shift_{pixels}" for pixels in range(MAX_SHIFT + 1)),
        "model/parameters",
        "model/flops",
        "model/receptive_field",
    }
)

HEADINGS = {
    "val/accuracy": "val acc.",
    "test/accuracy": "test acc.",
    "val/cer_best": "best val CER",
    "test/cer": "test CER",
    "test/wer": "test WER",
    **{f"test/wer_at_{k}": f"WER@{k}" for k in range(2, MAX_K + 1)},
    "test/error_rate_macro": "macro error",
}
"""The metrics that runs are compared by at a glance, in order, with what stands above their columns."""
