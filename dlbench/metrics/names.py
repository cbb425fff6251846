"""The names of the metrics that a run's evaluation reports, told without importing torch; a test holds them to a run.

What a task or an evaluation newly logs is entered here, so that report files may bear it.
"""

import re
from collections.abc import Container

from dlbench.records.history import LAST_EPOCHS

MAX_SHIFT = 16
"""The largest `dlbench.evaluation.images.ImageEvaluation.max_shift`."""

MAX_K = 10
"""The largest `dlbench.evaluation.transduction.TransductionEvaluation.k` whose metric is known by name."""

RATES = ("cer", "wer", "error_rate_macro")

MAX_ROTATION = 45
"""The largest angle of `dlbench.evaluation.images.GreyEvaluation.rotations`, in degrees; by name whole ones."""

MAX_SCALE = 2
"""The largest factor of `dlbench.evaluation.images.GreyEvaluation.scales`; by name those in steps of a tenth."""

SIMILARITIES = ("jaccard", "cosine", "damerau_levenshtein")
"""Of speech."""

SHARES = ("retrieval_accuracy", "nearest_before")
RETRIEVAL = (*SHARES, "steps", "distance")
"""Of Hopfield networks."""

MONITORED = ("accuracy", "cer", "damerau_levenshtein", "retrieval_accuracy")
"""What of validation decides which epoch is the best, of each task."""

METRICS = frozenset(
    {
        "train/loss",
        "train/loss_last_batch",
        "train/loss_running_mean",
        "optimizer/lr",
        "val/loss",
        "val/accuracy",
        "val/best_epoch",
        *(f"{split}/{rate}" for split in ("val", "test") for rate in RATES),
        *(f"test/{rate}_{kind}" for rate in ("cer", "wer") for kind in ("substitutions", "deletions", "insertions")),
        *(f"test/wer_at_{k}" for k in range(2, MAX_K + 1)),
        *(f"{split}/{similarity}" for split in ("val", "test") for similarity in SIMILARITIES),
        *(f"{split}/{name}" for split in ("val", "test") for name in RETRIEVAL),
        *(f"test/{similarity}_shuffled" for similarity in SIMILARITIES),
        *(f"val/{monitored}_best" for monitored in MONITORED),
        *(f"val/{monitored}_last{LAST_EPOCHS}_{what}" for monitored in MONITORED for what in ("mean", "std")),
        "test/loss",
        "test/loss_best_val",
        "test/accuracy",
        "test/accuracy_best_val",
        *(f"test/accuracy_shift_{pixels}" for pixels in range(MAX_SHIFT + 1)),
        *(f"test/accuracy_rotation_{degrees}" for degrees in range(MAX_ROTATION + 1)),
        *(f"test/accuracy_scale_{tenths / 10:g}" for tenths in range(10, 10 * MAX_SCALE + 1)),
        "model/parameters",
        "model/flops",
        "model/receptive_field",
        "model/load",
    }
)

EXACT = ("model/",)
"""How metrics begin that are computed and do not vary: one run tells them."""


def is_exact(metric: str) -> bool:
    """Whether a metric is a property of the network, the same in every run."""
    return metric.startswith(EXACT)


def is_better_higher(metric: str) -> bool:
    """Whether more of a metric is better: accuracies, shares and similarities; of losses and error rates less is."""
    return any(name in metric for name in ("accuracy", "nearest_before", *SIMILARITIES))


HEADINGS = {
    "val/accuracy": "val acc.",
    "test/accuracy": "test acc.",
    "test/damerau_levenshtein": "Damerau-Lev.",
    "test/cosine": "cosine",
    "test/jaccard": "Jaccard",
    "val/cer_best": "best val CER",
    "test/cer": "test CER",
    "test/wer": "test WER",
    **{f"test/wer_at_{k}": f"WER@{k}" for k in range(2, MAX_K + 1)},
    "test/error_rate_macro": "macro error",
    "test/retrieval_accuracy": "retrieved",
    "test/nearest_before": "nearest before",
    "test/steps": "steps",
}
"""The metrics that runs are compared by at a glance, in order, with what stands above their columns."""


SPLITS = {"train": "training", "val": "validation", "test": "test"}

PHRASES = {
    r"loss_running_mean": "{} loss, running mean",
    r"loss_last_batch": "{} loss, last batch",
    r"best_epoch": "best {} epoch",
    r"cer_best": "lowest {} CER",
    r"(\w+)_best_val": "{} {}, best validation epoch",
    r"(\w+)_best": "best {} {}",
    r"(\w+)_last(\d+)_mean": "{} {}, mean of the last {} epochs",
    r"(\w+)_last(\d+)_std": "{} {}, standard deviation over the last {} epochs",
    r"(\w+)_shuffled": "{} {}, symbols shuffled",
    r"accuracy_shift_(\d+)": "{} accuracy, shifted by {}",
    r"accuracy_rotation_(\d+)": "{} accuracy, rotated by {} degrees",
    r"accuracy_scale_([\d.]+)": "{} accuracy, scaled by {}",
    r"wer_at_(\d+)": "{} WER@{}",
    r"(cer|wer)_(substitutions|deletions|insertions)": "{} {}, {}",
}
"""How the names of metrics, their split apart, are said: the split, then what the pattern's groups take."""

SAID = {
    "cer": "CER",
    "wer": "WER",
    "error_rate_macro": "macro error rate",
    "damerau_levenshtein": "Damerau-Levenshtein similarity",
    "jaccard": "Jaccard similarity",
    "cosine": "cosine similarity",
    "retrieval_accuracy": "share retrieved",
    "nearest_before": "share nearest before retrieval",
    "steps": "mean updates",
    "distance": "mean relative distance",
}
"""How what is measured is said; what is not here is said as it stands."""


def spoken(metric: str) -> str:
    """A metric as people say it: ``val/accuracy`` is ``validation accuracy``, ``test/wer_at_3`` ``test WER@3``."""
    split, _, name = metric.partition("/")
    if split not in SPLITS:
        return name.replace("_", " ").replace("flops", "FLOPs")
    for pattern, phrase in PHRASES.items():
        if match := re.fullmatch(pattern, name):
            return phrase.format(SPLITS[split], *(SAID.get(part, part) for part in match.groups()))
    return f"{SPLITS[split]} {SAID.get(name, name)}"


RANKED_BY = {"translit_spa_eng": "test/error_rate_macro"}
"""What a data set's leaderboard is ordered by, where that is not the first of the headings."""


def ranked_by(data: str, metrics: Container[str]) -> str:
    """The test metric that runs on a data set are ranked by, among the metrics that they have."""
    return RANKED_BY.get(data) or next(name for name in HEADINGS if name.startswith("test/") and name in metrics)
