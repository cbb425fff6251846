"""The names of the metrics that a run's evaluation reports, told without importing torch; a test holds them to a run.

What a task or an evaluation newly logs is entered here, so that report files may bear it.
"""

from dlbench.records.history import LAST_EPOCHS

MAX_SHIFT = 16
"""The largest `dlbench.tasks.image_evaluation.ImageEvaluation.max_shift`."""

METRICS = frozenset(
    {
        "train/loss",
        "train/loss_running_mean",
        "optimizer/lr",
        "val/loss",
        "val/accuracy",
        "val/accuracy_best",
        "val/best_epoch",
        f"val/accuracy_last{LAST_EPOCHS}_mean",
        f"val/accuracy_last{LAST_EPOCHS}_std",
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
