"""What workers that train on sequences are told beside training: count, decode, hand over their weights."""

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dlbench.bench import plain_sequences
from dlbench.bench.arithmetic import countable_lstm, step_flops
from dlbench.config import build
from dlbench.data.pair_datamodule import TransductionDataModule
from dlbench.data.pairs import PairBatch
from dlbench.data.vocabulary import EOS, PAD, SOS
from dlbench.decoding.beam import Beam
from dlbench.decoding.hypotheses import Decoder
from dlbench.decoding.sampling import Greedy, Nucleus
from dlbench.run import Plan
from dlbench.seeding import reseed_global
from dlbench.tasks.transduction import Transduction, symbols

DECODERS: dict[str, Decoder] = {"greedy": Greedy(), "nucleus": Nucleus(p=0.8, samples=3), "beam": Beam(5, nbest=5)}

Order = Mapping[str, Any]


def symbols_in(batch: Any) -> int:
    """Symbols a training step reads and writes, EOS included, padding not; 0 for pictures."""
    if not isinstance(batch, PairBatch):
        return 0
    return int(batch.source_lengths.sum()) + int((batch.target[:, 1:] != PAD).sum())


def describe_sequences(data: Any) -> dict[str, int]:
    """Symbols that an epoch reads and writes, as `symbols_in` counts, and how many test words there are."""
    if not isinstance(data, TransductionDataModule):
        return {}
    epoch = sum(len(pair.source) + len(pair.target) + 1 for pair in data.pairs("train"))
    return {"symbols": epoch, "words": len(data.pairs("test"))}


def obey(order: Order, task: Transduction, data: Any, batches: Iterator[PairBatch]) -> dict[str, Any] | None:
    """What an order gives, made on a run's own network while its training waits; None if it is another order.

    - ``flops``: operations of ``steps`` training steps, and the ``symbols`` of their batches.
    - ``decode``: seconds in which a ``decoder`` (`DECODERS`) writes the test split, and what was ``written``.
    - ``save``: write the weights to the file ``path``.
    """
    if order["do"] == "flops":
        chosen = list(itertools.islice(batches, order["steps"]))
        with countable_lstm():
            flops = sum(step_flops(lambda batch=batch: task.loss(batch)) for batch in chosen)  # type: ignore[misc]
        return {"flops": flops, "symbols": sum(map(symbols_in, chosen))}
    if order["do"] == "decode":
        return decode(task, data, DECODERS[order["decoder"]])
    if order["do"] == "save":
        torch.save(task.model.state_dict(), order["path"])
        return {"saved": True}
    return None


def decode(task: Transduction, data: TransductionDataModule, decoder: Decoder) -> dict[str, Any]:
    """Seconds from the test split in memory to lists of symbols, and the lists, by word and then by hypothesis."""
    loader = data.test_dataloader()
    task.decoder, kept = decoder, task.decoder
    task.eval()
    began = time.perf_counter()
    written: dict[int, list[Any]] = {}
    for batch in loader:
        tokens = task.decode(batch).tokens
        rows = iter(symbols(tokens.flatten(0, 1)))
        for place in batch.index.tolist():
            written[place] = list(itertools.islice(rows, tokens.shape[1]))
    seconds = time.perf_counter() - began
    task.train()
    task.decoder = kept
    return {"seconds": seconds, "written": [written[place] for place in range(len(written))]}


class PlainSequences:
    """The plain loop on a run's data, from the run's initial weights.

    Orders are ``{"do": NAME, ...}``:

    - ``step``: ``steps`` training steps.
    - ``load``: take the weights in the file ``path``, for decoding.
    - ``decode``: write so many test ``words`` (`spread`) with the ``decoder`` greedy or nucleus (3 samples each).

    Args:
        plan: The plan of the run.
    """

    def __init__(self, plan: Plan) -> None:
        reseed_global(plan.seed, "init")
        ours = build("model", plan.config["model"], **plan.data.model_arguments())
        self.model, self.decoding = plain_sequences.like(ours), plain_sequences.like(ours).eval()
        settings = {"lr": plan.config["optimizer"]["lr"], "batch_size": plan.data.batch_size}
        self.training = plain_sequences.train(self.model, id_pairs(plan.data, "train"), **settings)
        self.test = [source for source, _ in id_pairs(plan.data, "test")]

    def obey(self, order: Order) -> dict[str, Any]:
        """See above."""
        if order["do"] == "load":
            self.decoding.load_state_dict(torch.load(Path(order["path"]), weights_only=True))
            return {"loaded": True}
        began = time.perf_counter()
        if order["do"] == "decode":
            sources = spread(self.test, order["words"])
            written = [self._write(order["decoder"], source) for source in sources]
            return {"seconds": time.perf_counter() - began, "written": written}
        done = sum(count for _, count in itertools.islice(self.training, order["steps"]))
        return {"seconds": time.perf_counter() - began, "symbols": done}

    def _write(self, decoder: str, source: Tensor) -> list[list[int]]:
        if decoder == "greedy":
            return [plain_sequences.greedy(self.decoding, source)]
        return [plain_sequences.nucleus(self.decoding, source) for _ in range(3)]


def spread(sources: Sequence[Tensor], count: int) -> list[Tensor]:
    """So many of the sources, evenly out of all by length, in their order."""
    by_length = sorted(range(len(sources)), key=lambda place: len(sources[place]))
    places = (by_length[(2 * number + 1) * len(sources) // (2 * count)] for number in range(count))
    return [sources[place] for place in sorted(places)]


def id_pairs(data: TransductionDataModule, split: str) -> list[plain_sequences.IdPair]:
    """A split as the scripts held it: a list of tensors."""
    sources, targets = data.source_vocabulary, data.target_vocabulary
    return [
        (torch.tensor(sources.encode(pair.source)), torch.tensor([SOS, *targets.encode(pair.target), EOS]))
        for pair in data.pairs(split)
    ]
