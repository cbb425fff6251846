"""A recorded transducer at work: text in, ranked hypotheses out; all it needs is the record, no data set."""

import heapq
import unicodedata
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any, Literal

from dlbench import components
from dlbench.data.vocabulary import Vocabulary
from dlbench.environment import alone, interrupted_by_signals
from dlbench.errors import ConfigError, DlbenchError, RecordError
from dlbench.records.checkpoints import Checkpoint
from dlbench.records.store import Record, State
from dlbench.terminal import say

if TYPE_CHECKING:  # torch and Lightning are loaded when there is something to decode
    from dlbench.evaluation.transduction import Prediction
    from dlbench.protocols import Decoder

Choice = Literal["best", "last"]


class InputError(DlbenchError):
    """A text that the model cannot read."""


class Speller:
    """The network of a transducer's record, with its vocabularies, as its evaluation uses it. The record is only read.

    ``choice`` tells which epoch's weights, by default those that the record's evaluation uses; ``trust`` whether the
    record may name code that is not the suite's.

    Raises:
        RecordError: It is no transducer's, not finished, or its weights are not there.
    """

    def __init__(self, record: Record, choice: Choice | None = None, *, trust: bool = False) -> None:
        self.record = record
        if record.training.exists():
            record.closed()
        manifest = record.read_manifest()
        self.config = record.settings()
        if not trust:
            components.check_trusted(self.config, f"record {record.id} (--trust takes own code)", RecordError)
        try:
            facts, experiment, self.seed = manifest["data"], manifest["experiment"], int(self.config["seed"])
            if "source" not in facts.get("vocabularies", {}):
                kind = "an image classifier's, which writes nothing"
                if "vocabularies" in facts:
                    kind = "a speech recogniser's, which reads no text"
                remedy = "choose a transducer's (python -m dlbench records list)"
                raise RecordError(f"record {record.id} ({experiment}) is {kind}; {remedy}")
            vocabularies = {side: Vocabulary(tuple(symbols)) for side, symbols in facts["vocabularies"].items()}
            self.source_vocabulary, self.target_vocabulary = vocabularies["source"], vocabularies["target"]
            self.target_joiner: str = facts["joiners"]["target"]
            self.is_of_files: bool = facts["source"] == "files"
            outdated = components.outdated(manifest["versions"])
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise RecordError(f"record {record.id}: config.yaml or manifest.json is damaged ({error!r})") from error
        if (state := record.state()) != State.FINISHED:
            raise RecordError(f"record {record.id} is {state}; choose a finished one, or run its command again")
        # The DataModule tells how the data was read; it never reads any here.
        self.data, evaluation = self._build("data", seed=self.seed), self._build("evaluation")
        self.max_length: int = evaluation.decoding.max_length
        self.checkpoint = self._checkpoint(choice or evaluation.checkpoint)
        if outdated:
            then = components.in_words(outdated)
            say(f"record {record.id} was made by other versions ({then}): its last digits may differ")

    def read(self, text: str) -> tuple[str, ...]:
        """A text as source symbols: segments separated by spaces, or characters normalised as the data was.

        Raises:
            InputError: It is empty, too long, or has symbols that the model does not know; they are named.
        """
        from dlbench.data.pair_files import read_source

        files = self.data.files
        if self.is_of_files:
            symbols = read_source(text, files.format, files.stress, files.normalisation, files.strip)
        else:  # invented words are segments, whatever the files they stand in for
            symbols = read_source(text, "phonemes_word")
        symbols = tuple(map(self._known_form, symbols))
        if not "".join(symbols).strip():
            raise InputError("empty; write something or remove it")
        if len(symbols) > files.max_source_length:
            limit = f"more than max_source_length={files.max_source_length}, which the model was trained with"
            raise InputError(f"{len(symbols)} symbols, {limit}")
        if unknown := self.source_vocabulary.unknown([symbols]):
            named = ", ".join(f"{symbol!r} ({self._hint(symbol)})" for symbol in unknown)
            raise InputError(f"the model does not know {named}")
        return symbols

    @interrupted_by_signals()
    def spell(
        self, sources: Sequence[tuple[str, ...]], decoder: "Decoder", *, device: str = "auto", seed: int | None = None
    ) -> list["Prediction"]:
        """Decode sources, as `read` gives them, in batches by length.

        Sampling depends on the seed, by default the run's, and on a source's position.

        Raises:
            ConfigError: This machine has no such device.
            RecordError: The recorded network cannot be built by this version.
        """
        from dlbench.data.pairs import Pair, PairTensors, loader
        from dlbench.evaluation.transduction import collect

        settings = self._build("trainer", device=device, progress="none")
        settings.device_kind()
        settings.pin()
        task = self._task(self.seed if seed is None else seed)
        task.decoder = decoder
        pairs, reverse = [Pair(source, ()) for source in sources], self.data.reverse_source
        tensors = PairTensors(pairs, self.source_vocabulary, self.target_vocabulary, reverse_source=reverse)
        with alone() as root:
            trainer = settings.trainer(root, False, [])
            decoded = trainer.predict(task, loader(tensors, self.data.eval_batch_size))
        return collect(decoded, pairs, self.target_vocabulary.symbols, reverse_source=reverse)

    def _task(self, seed: int) -> Any:
        """The task around the network, with the record's weights; without optimiser, for it is not trained."""
        from dlbench.callbacks.recorder import weights_of

        sizes = {"source_symbols": len(self.source_vocabulary), "target_symbols": len(self.target_vocabulary)}
        task = self._build("task", model=self._build("model", **sizes), optimizer=None, scheduler=None, seed=seed)
        task.load_state_dict(weights_of(self.checkpoint, task.state_dict()))
        return task

    def _build(self, section: str, **arguments: Any) -> Any:
        from dlbench.config import build

        try:
            return build(section, self.config[section], **arguments)
        except (ConfigError, KeyError) as error:
            text = f"record {self.record.id}: its config.yaml does not fit this version"
            raise RecordError(f"{text} ({error})") from error

    def _checkpoint(self, choice: Choice) -> Checkpoint:
        record = self.record
        epoch = record.closed()["epochs" if choice == "last" else "best_epoch"]
        checkpoints = {checkpoint.epoch: checkpoint for checkpoint in record.checkpoints.all()}
        if not checkpoints:
            text = f"record {record.id} has no checkpoints in {record.folder} (committed without, or cleaned away)"
            raise RecordError(f"{text}; train it again, with rerun=always where it was")
        if epoch not in checkpoints or not checkpoints[epoch].is_whole():
            problem = "damaged" if epoch in checkpoints else "missing"
            text = f"record {record.id}: the checkpoint of its {choice} epoch, {epoch}, is {problem}"
            raise RecordError(f"{text}; drop --checkpoint, or run its command again, which trains what is lost")
        return checkpoints[epoch]

    def _known_form(self, symbol: str) -> str:
        """The symbol, or that of its canonically equivalent spellings in Unicode which the model knows.

        Data that was read as it is (``data.normalisation=none``, and records older than the setting) may have either.
        """
        forms = (symbol, unicodedata.normalize("NFC", symbol), unicodedata.normalize("NFD", symbol))
        return next((form for form in forms if not self.source_vocabulary.unknown([[form]])), symbol)

    def _hint(self, symbol: str) -> str:
        known = self.source_vocabulary.symbols[4:]
        if len(symbol) > 1 and not {*symbol} - {*known}:
            return f"meant {' '.join(symbol)!r}?"
        return "nearest: " + " ".join(heapq.nlargest(3, known, key=lambda other: _likeness(symbol, other)))


def _likeness(one: str, other: str) -> float:
    """How alike two symbols are in their characters, and in what Unicode calls these ("l with belt")."""
    words, others = _words(one), _words(other)
    common = len(words & others)
    spelled = SequenceMatcher(None, one, other, autojunk=False).ratio()
    return spelled + common / min(len(words), len(others)) + common / len(words | others)


def _words(symbol: str) -> set[str]:
    words = {word for character in symbol for word in unicodedata.name(character, character).split(" ")}
    return words - {"LATIN", "SMALL", "LETTER", "WITH"} or {symbol}
