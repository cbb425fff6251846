"""What padding costs a recogniser: every recording to 2,754 frames, as published, or to the longest of its batch."""

from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import Any

from dlbench.bench.part import Case, Effort, Part, Row
from dlbench.bench.ratios import in_turns, median_ratio

CASES = (Case("asr_lstm_spoken"), Case("asr_attention_spoken"))
PUBLISHED = (
    "data.frames=2754",
    "data.target_symbols=99",
    "data.bucket_batches=1",
    "model.mask_padding=false",
    "task.ignore_padding=false",
)
SMALL = ("data.batch_size=2",)
"""For trials: a published step takes seconds."""

PAIRS = 8
"""At most so many pairs of single steps."""


def speech(effort: Effort) -> Part:
    """Training steps on the same utterances with padding left out and with all of it, in turns in one process."""
    from dlbench.bench.ours import describe, plan_of  # torch, which the other parts leave to their workers

    rows = []
    for case in CASES if effort.whole else CASES[:1]:
        overrides = case.overrides(effort, *(() if effort.whole else SMALL))
        steps = {
            "masked": _steps(overrides),
            "published": _steps((*overrides, *PUBLISHED)),
        }
        for step in steps.values():
            step()
        taken = in_turns(min(effort.pairs, PAIRS), steps)
        ours, reference = (median(taken[name]) for name in ("masked", "published"))
        ratio = median_ratio(taken["published"], taken["masked"])
        rows.append(Row(f"{case.name}, training step", "ms", 1000 * ours, 1000 * reference, ratio))
    notes = [describe(plan_of(overrides)), "The ratio tells how many times as fast it is to leave padding out."]
    return Part("Padding of speech", "padded as published", rows, notes)


def _steps(overrides: tuple[str, ...]) -> Callable[[], float]:
    """Measures a training step of a run, without Lightning."""
    from dlbench.bench.ours import bare_steps, endless, plan_of
    from dlbench.run import build_task

    plan = plan_of(overrides)
    task = build_task(plan).train()
    optimizer = task.optimizer_factory(task.parameters())
    batches: Iterator[Any] = endless(plan.data)
    return partial(bare_steps, task, optimizer, batches, 1, checks_loss=True, reseeds=True)
