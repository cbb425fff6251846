"""The names of metrics: what runs may have, what people call them, and which way is better.

It imports no torch, so that reports and tables can be made without. What a task or an evaluation newly logs is entered
here, so that report files may bear it; a test holds the names to those of real runs.
"""

import re
from collections.abc import Container

from dlbench.metrics.best_epoch import LAST_EPOCHS

RATES = ("cer", "wer", "error_rate_macro")
"""Error rates of sequences."""
SIMILARITIES = ("jaccard", "cosine", "damerau_levenshtein")
"""Of speech."""
SHARES = ("retrieval_accuracy", "nearest_before")
"""Of Hopfield networks."""

# What is known by name of arguments that are free within limits:
MAX_SHIFT = 16
"""The largest `dlbench.evaluation.images.ImageEvaluation.max_shift`."""
MAX_ROTATION = 45
"""The largest angle of `dlbench.evaluation.images.GreyEvaluation.rotations`, in degrees; by name whole ones."""
MAX_SCALE = 2
"""The largest factor of `dlbench.evaluation.images.GreyEvaluation.scales`; by name those in steps of a tenth."""
MAX_K = 10
"""The largest `dlbench.evaluation.transduction.TransductionEvaluation.k` whose metric is known by name."""

_MONITORED = ("accuracy", "cer", "damerau_levenshtein", "retrieval_accuracy")

METRICS = frozenset(
    {
        *("train/loss", "train/loss_last_batch", "train/loss_running_mean", "optimizer/lr"),
        *("val/loss", "val/accuracy", "val/best_epoch", "test/loss", "test/loss_best_val"),
        *("model/parameters", "model/flops", "model/receptive_field", "model/load"),
        *(
            f"{split}/{name}"
            for split in ("val", "test")
            for name in (*RATES, *SIMILARITIES, *SHARES, "steps", "distance")
        ),
        *(f"val/{name}_best" for name in _MONITORED),
        *(f"val/{name}_last{LAST_EPOCHS}_{what}" for name in _MONITORED for what in ("mean", "std")),
        *("test/accuracy", "test/accuracy_best_val"),
        *(f"test/accuracy_shift_{pixels}" for pixels in range(MAX_SHIFT + 1)),
        *(f"test/accuracy_rotation_{degrees}" for degrees in range(MAX_ROTATION + 1)),
        *(f"test/accuracy_scale_{tenths / 10:g}" for tenths in range(10, 10 * MAX_SCALE + 1)),
        *(f"test/{rate}_{kind}" for rate in ("cer", "wer") for kind in ("substitutions", "deletions", "insertions")),
        *(f"test/wer_at_{k}" for k in range(2, MAX_K + 1)),
        *(f"test/{name}_shuffled" for name in SIMILARITIES),
    }
)


def is_exact(metric: str) -> bool:
    """Whether a metric is computed of the network and the same in every run, so that one run tells it."""
    return metric.startswith("model/")


def is_better_higher(metric: str) -> bool:
    """Whether more of a metric is better: accuracies, shares and similarities; of losses and error rates less is."""
    return any(name in metric for name in ("accuracy", "nearest_before", *SIMILARITIES))


def has_direction(metric: str) -> bool:
    """Whether one of two values of a metric is the better one: accuracies, similarities, error rates, losses."""
    return is_fraction(metric) or "loss" in metric


def is_fraction(metric: str) -> bool:
    """Whether a metric's values lie between 0 and 1, or nearly so: accuracies, similarities, error rates."""
    return _begins(metric, ("accuracy", *RATES, *SIMILARITIES, *SHARES))


def is_rate(metric: str) -> bool:
    """Whether a metric is an accuracy or an error rate."""
    return _begins(metric, ("accuracy", *RATES))


def is_share_of_examples(metric: str) -> bool:
    """Whether a metric is a share of the examples, each right or wrong, so that its sampling error is binomial."""
    return _begins(metric, ("accuracy", "wer", *SHARES))


def _begins(metric: str, beginnings: tuple[str, ...]) -> bool:
    name = metric.partition("/")[2]
    return name.startswith(beginnings) and not name.endswith("_std")


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

_SPLITS = {"train": "training", "val": "validation", "test": "test"}
_NAMES = {
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
"""What is not here is called as it stands."""
_PHRASES = {
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
    r"(\w+)": "{} {}",
}
"""For a metric's name without its split, the first pattern that it matches: the split is filled in, then the groups."""


def display_name(metric: str) -> str:
    """A metric as people call it: ``val/accuracy`` is ``validation accuracy``, ``test/wer_at_3`` ``test WER@3``."""
    split, _, name = metric.partition("/")
    if split not in _SPLITS:
        return name.replace("_", " ").replace("flops", "FLOPs")
    for pattern, phrase in _PHRASES.items():
        if match := re.fullmatch(pattern, name):
            return phrase.format(_SPLITS[split], *(_NAMES.get(part, part) for part in match.groups()))
    return f"{_SPLITS[split]} {name}"


def ranked_by(data: str, metrics: Container[str]) -> str:
    """The test metric that runs on a data set are ranked by, among those they have: the first of `HEADINGS`, mostly."""
    if data == "translit_spa_eng":
        return "test/error_rate_macro"
    return next(name for name in HEADINGS if name.startswith("test/") and name in metrics)
