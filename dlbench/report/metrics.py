"""The names of the metrics that a run's evaluation reports, told without importing torch; a test holds them to a run.

What a task or an evaluation newly logs is entered here, so that report files may bear it.
"""

import re
from collections.abc import Container

from dlbench.records.history import LAST_EPOCHS

MAX_SHIFT = 16
"""The largest `dlbench.tasks.image_evaluation.ImageEvaluation.max_shift`."""

MAX_K = 10
"""The largest `dlbench.tasks.transduction_evaluation.TransductionEvaluation.k` whose metric is known by name."""

RATES = ("cer", "wer", "error_rate_macro")

SIMILARITIES = frozenset(
    f"{split}/{name}" for split in ("val", "test") for name in ("jaccard", "cosine", "damerau_levenshtein")
)
"""Those of speech, which has no experiments yet; reports state them."""

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

EXACT = ("model/",)
"""How metrics begin that are computed and do not vary: one run tells them."""


def is_exact(metric: str) -> bool:
    """Whether a metric is a property of the network, the same in every run."""
    return metric.startswith(EXACT)


def is_better_higher(metric: str) -> bool:
    """Whether more of a metric is better: accuracies and similarities; of losses and error rates less is."""
    return "accuracy" in metric or metric in SIMILARITIES


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


SPLITS = {"train": "training", "val": "validation", "test": "test"}

PHRASES = {
    r"loss_running_mean": "{} loss, running mean",
    r"loss_last_batch": "{} loss, last batch",
    r"loss_best_val": "{} loss, best validation epoch",
    r"accuracy_best_val": "{} accuracy, best validation epoch",
    r"accuracy_best": "best {} accuracy",
    r"cer_best": "lowest {} CER",
    r"best_epoch": "best {} epoch",
    r"(accuracy|cer)_last(\d+)_mean": "{} \\1, mean of the last \\2 epochs",
    r"(accuracy|cer)_last(\d+)_std": "{} \\1, standard deviation over the last \\2 epochs",
    r"accuracy_shift_(\d+)": "{} accuracy, shifted by \\1",
    r"wer_at_(\d+)": "{} WER@\\1",
    r"error_rate_macro": "{} macro error rate",
    r"damerau_levenshtein": "{} Damerau-Levenshtein similarity",
    r"jaccard": "{} Jaccard similarity",
    r"cosine": "{} cosine similarity",
}
"""How the names of metrics, their split apart, are said; those not here are said as they stand."""


def spoken(metric: str) -> str:
    """A metric as people say it: ``val/accuracy`` is ``validation accuracy``, ``test/wer_at_3`` ``test WER@3``."""
    split, _, name = metric.partition("/")
    if split not in SPLITS:
        return name.replace("_", " ").replace("flops", "FLOPs")
    for pattern, phrase in PHRASES.items():
        if match := re.fullmatch(pattern, name):
            return match.expand(phrase.format(SPLITS[split])).replace("cer,", "CER,")
    return f"{SPLITS[split]} {name.upper() if name in RATES else name}"


RANKED_BY = {"translit_spa_eng": "test/error_rate_macro"}
"""What a data set's leaderboard is ordered by, where that is not the first of the headings."""


def ranked_by(data: str, metrics: Container[str]) -> str:
    """The test metric that runs on a data set are ranked by, among the metrics that they have."""
    return RANKED_BY.get(data) or next(name for name in HEADINGS if name.startswith("test/") and name in metrics)
