"""``python -m dlbench.bench.worker SPECIFICATION``: one trainer in a process of its own, told what to do line by line.

It is pinned to its cores before torch is imported, since torch sizes its thread pool on import. Orders come as JSON
lines on standard input, answers go out as such on standard output; it ends when the input does. See `.workers`.
"""

import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any


def main() -> None:
    """Pin, then train as told."""
    specification = json.loads(sys.argv[1])
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, specification["cores"])
    answer = _take_over_stdout()
    orders = (json.loads(line) for line in sys.stdin)
    serve: Callable[[Sequence[str], Iterator[Any], Callable[[dict[str, Any]], None]], None]
    if specification["kind"] == "plain":
        serve = serve_plain
    elif specification["kind"] == "plain_sequences":
        serve = serve_plain_sequences
    else:
        from dlbench.bench.ours import serve
    serve(specification["overrides"], orders, answer)


def serve_plain(overrides: Sequence[str], orders: Iterator[Any], answer: Callable[[dict[str, Any]], None]) -> None:
    """Train the plain loop on the run's data, from the run's initial weights, so many steps an order."""
    from dlbench.bench.ours import facts_of, plan_of
    from dlbench.bench.plain import as_floats, train
    from dlbench.config import build
    from dlbench.seeding import reseed_global

    plan = plan_of(overrides)
    reseed_global(plan.seed, "init")
    losses = train(build("model", plan.config["model"]), as_floats(plan.data.tensors("train")))
    answer(facts_of(plan))
    for order in orders:
        began = time.perf_counter()
        for _ in itertools.islice(losses, order["steps"]):
            pass
        answer({"seconds": time.perf_counter() - began})


def serve_plain_sequences(
    overrides: Sequence[str], orders: Iterator[Any], answer: Callable[[dict[str, Any]], None]
) -> None:
    """The same with sequences; it also decodes, with our run's weights. See `.sequence_orders.PlainSequences`."""
    from dlbench.bench.ours import facts_of, plan_of
    from dlbench.bench.sequence_orders import PlainSequences

    plan = plan_of(overrides)
    plain = PlainSequences(plan)
    answer(facts_of(plan))
    for order in orders:
        answer(plain.obey(order))


def _take_over_stdout() -> Callable[[dict[str, Any]], None]:
    """Keep standard output for answers; whatever else is printed goes nowhere."""
    channel = os.fdopen(os.dup(1), "w")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)

    def answer(content: dict[str, Any]) -> None:
        print(json.dumps(content), file=channel, flush=True)

    return answer


if __name__ == "__main__":
    main()
