"""A recorded network at work: texts, recordings or pictures in, its answers out; it needs the record, no data set."""

import heapq
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from difflib import SequenceMatcher
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from dlbench import components, identity, paths
from dlbench.data.vocabulary import Vocabulary
from dlbench.environment import alone, interrupted_by_signals
from dlbench.errors import ConfigError, DataError, DlbenchError, RecordError
from dlbench.records.checkpoints import Checkpoint
from dlbench.records.files import read_json
from dlbench.records.store import Record, State
from dlbench.terminal import first_line, say

if TYPE_CHECKING:  # torch and Lightning are loaded when there is a record to open
    from dlbench.evaluation.transduction import Prediction
    from dlbench.protocols import Decoder

Choice = Literal["best", "last"]
Given = TypeVar("Given")
"""An input as a reader has read it."""


class InputError(DlbenchError):
    """An input that the network cannot read."""


class Network:
    """The network of a finished record, as its evaluation uses it. The record is only read.

    ``choice`` tells which epoch's weights, by default those that the record's evaluation uses; ``trust`` whether the
    record may name code that is not the suite's. ``facts`` is what the record says of its data; ``data`` is its
    DataModule, which tells how the data was read, and never reads any here.

    Raises:
        RecordError: It is not finished, damaged, or its weights are not there.
    """

    def __init__(self, record: Record, choice: Choice | None = None, *, trust: bool = False) -> None:
        self.record = record
        if record.training.exists():
            record.closed()
        manifest = record.read_manifest()
        self.config = record.settings()
        try:
            components.check_trusted(self.config, f"record {record.id} (--trust takes own code)", RecordError)
        except RecordError:
            if not trust:
                raise
            self._check_own_code()
        with self.recorded():
            self.facts, self.experiment, self.seed = manifest["data"], manifest["experiment"], int(self.config["seed"])
            outdated = components.outdated(manifest["versions"])
        if (state := record.state()) != State.FINISHED:
            raise RecordError(f"record {record.id} is {state}; choose a finished one, or run its command again")
        self.data, self.evaluation = self._build("data", seed=self.seed), self._build("evaluation")
        self.checkpoint = self._checkpoint(choice or str(getattr(self.evaluation, "checkpoint", "last")))
        if outdated:
            then = components.in_words(outdated)
            say(f"record {record.id} was made by other versions ({then}): its last digits may differ")

    def _check_own_code(self) -> None:
        """See that a user's own code is there, and as it was at the training.

        Raises:
            RecordError: It is not.
        """
        recorded = read_json(self.record.identity)
        for section in ("task", "data", "model"):
            try:
                now = identity.plain(identity.part(self.config[section]))
            except ConfigError as error:
                told = f"record {self.record.id}: {section}.{error}"
                raise RecordError(f"{told}; start where its module lies") from error
            if now != recorded[section]:
                target = f"{section}._target_={self.config[section]['_target_']}"
                told = f"record {self.record.id}: {target}: is not what was trained"
                raise RecordError(f"{told}; own code must be as it was then")

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """What is looked up in the record inside and is not there, or is something else, is damage.

        Raises:
            RecordError: It is so.
        """
        try:
            yield
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise RecordError(
                f"record {self.record.id}: config.yaml or manifest.json is damaged ({error!r})"
            ) from error

    @interrupted_by_signals()
    def answers(
        self,
        batches: Any,
        *,
        device: str = "auto",
        seed: int | None = None,
        decoder: "Decoder | None" = None,
        **sizes: int,
    ) -> list[Any]:
        """What the task predicts of each batch; ``sizes`` are what the data decides of the network.

        The seed, by default the run's, is what samples depend on.

        Raises:
            ConfigError: This machine has no such device.
            RecordError: The recorded network cannot be built by this version.
        """
        from dlbench.callbacks.recorder import weights_of

        settings = self._build("trainer", device=device, progress="none")
        if settings.precision == "16-mixed" and settings.device_kind() != "cuda":  # which takes a GPU to train
            settings = replace(settings, precision="32-true")
        settings.device_kind()
        settings.pin()
        seed = self.seed if seed is None else seed
        # Without optimiser: it is not trained.
        task = self._build("task", model=self._build("model", **sizes), optimizer=None, scheduler=None, seed=seed)
        task.load_state_dict(weights_of(self.checkpoint, task.state_dict()))
        if decoder:
            task.decoder = decoder
        with alone() as root:
            found: list[Any] = settings.trainer(root, False, []).predict(task, batches)
        return found

    def _build(self, section: str, **arguments: Any) -> Any:
        from dlbench.config import build

        try:
            return build(section, self.config[section], **arguments)
        except (ConfigError, KeyError) as error:
            text = f"record {self.record.id}: its config.yaml does not fit this version"
            raise RecordError(f"{text} ({error})") from error

    def _checkpoint(self, choice: str) -> Checkpoint:
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


def reader(network: Network) -> "Reader":
    """What reads inputs for a network: texts, recordings or pictures, by its task.

    Raises:
        RecordError: Its task answers none of these; or see `Network.recorded`.
    """
    from dlbench.tasks.image_classification import ImageClassification
    from dlbench.tasks.speech import SpeechRecognition
    from dlbench.tasks.transduction import Transduction

    with network.recorded():
        task: Any = components.locate(network.config["task"]["_target_"])
        readers: dict[type, Callable[[Network], Reader]] = {
            Transduction: Speller,
            SpeechRecognition: Transcriber,
            ImageClassification: Classifier,
        }
        for kind, found in readers.items():
            if issubclass(task, kind):
                return found(network)
    problem = f"record {network.record.id} ({network.experiment}) neither writes nor classifies anything"
    raise RecordError(f"{problem}; choose another (python -m dlbench records list)")


class Writer(ABC, Generic[Given]):
    """A network that writes; ``joiner`` stands between its symbols, of which there are ``max_length`` at most.

    Raises:
        RecordError: See `Network.recorded`.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        with network.recorded():
            found = network.facts["vocabularies"]
            self.vocabularies = {side: Vocabulary(tuple(symbols)) for side, symbols in found.items()}
            self.joiner: str = network.facts.get("joiners", {"target": ""})["target"]
            self.max_length: int = network.evaluation.decoding.max_length

    @abstractmethod
    def read(self, text: str) -> Given:
        """An input, as `decode` takes it.

        Raises:
            InputError: It cannot be read.
        """

    @abstractmethod
    def decode(self, given: Sequence[Given], decoder: "Decoder", **options: Any) -> list["Prediction"]:
        """Decode inputs, as `read` gives them, in batches by length; samples depend on an input's position, too.

        ``options`` are the ``device`` and the ``seed`` of `Network.answers`, which tells what is raised.
        """

    @abstractmethod
    def places(self, prediction: "Prediction") -> Sequence[str]:
        """What a prediction attends to."""


class Speller(Writer[tuple[str, ...]]):
    """A transducer, which spells or translates texts."""

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        with network.recorded():
            self.source_vocabulary, self.target_vocabulary = (self.vocabularies[side] for side in ("source", "target"))
            self.is_of_files: bool = network.facts["source"] == "files"

    def read(self, text: str) -> tuple[str, ...]:
        """A text as source symbols: segments separated by spaces, or characters normalised as the data was.

        Raises:
            InputError: It is empty, too long, or has symbols that the model does not know; they are named.
        """
        from dlbench.data.pair_files import read_source

        files = self.network.data.files
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

    def decode(self, given: Sequence[tuple[str, ...]], decoder: "Decoder", **options: Any) -> list["Prediction"]:
        """See `Writer.decode`."""
        from dlbench.data.pairs import Pair, PairTensors, loader
        from dlbench.evaluation.transduction import collect

        data, source, target = self.network.data, self.source_vocabulary, self.target_vocabulary
        pairs = [Pair(symbols, ()) for symbols in given]
        batches = loader(PairTensors(pairs, source, target, reverse_source=data.reverse_source), data.eval_batch_size)
        decoded = self.network.answers(
            batches, decoder=decoder, source_symbols=len(source), target_symbols=len(target), **options
        )
        return collect(decoded, pairs, target.symbols, reverse_source=data.reverse_source)

    def places(self, prediction: "Prediction") -> Sequence[str]:
        """The symbols read."""
        return prediction.pair.source

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


class Transcriber(Writer[npt.NDArray[np.float32]]):
    """A speech recogniser, which reads files of recordings."""

    def read(self, text: str) -> npt.NDArray[np.float32]:
        """A recording's features (frames, bands); a line says how much of a long one is heard, as in training.

        Raises:
            InputError: The file is not there, or no recording as the data's are.
        """
        from dlbench.data.ljspeech import RATE
        from dlbench.data.recordings import HOP

        features: npt.NDArray[np.float32] = _read_file(self.network.data.read_recording, text)
        if (frames := self.network.data.frames) and len(features) > frames:
            heard, seconds = (count * HOP / RATE for count in (frames, len(features)))
            say(f"{text}: {seconds:.1f} s, of which the network hears the first {heard:.1f}")
        return features

    def decode(
        self, given: Sequence[npt.NDArray[np.float32]], decoder: "Decoder", **options: Any
    ) -> list["Prediction"]:
        """See `Writer.decode`."""
        from dlbench.data.pairs import Pair
        from dlbench.evaluation.speech import written
        from dlbench.evaluation.transduction import collect

        vocabulary = self.vocabularies["target"]
        sizes = {"symbols": len(vocabulary), "mels": given[0].shape[1]}
        decoded = self.network.answers(self.network.data.batches(given), decoder=decoder, **options, **sizes)
        return collect(decoded, [Pair((), ())] * len(given), written(vocabulary), crop_attention=False)

    def places(self, prediction: "Prediction") -> Sequence[str]:
        """The times heard."""
        from dlbench.evaluation.speech import times

        return times(prediction)


class Classifier:
    """An image classifier, which reads files of pictures.

    Raises:
        RecordError: See `Network.recorded`.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        with network.recorded():
            # Records of before do not name them.
            self.classes = [str(name) for name in network.facts.get("classes", [])]

    def read(self, text: str) -> npt.NDArray[np.uint8]:
        """A picture (height, width, channels), resized as the data's are.

        Raises:
            InputError: The file is not there, or no picture, or cannot be read without loss.
        """
        picture: npt.NDArray[np.uint8] = _read_file(self.network.data.read_picture, text)
        return picture

    def classify(self, given: Sequence[npt.NDArray[np.uint8]], device: str = "auto") -> list[list[tuple[str, float]]]:
        """The classes of each picture with their probabilities, the likeliest first; unnamed ones by their numbers.

        Raises:
            DlbenchError: See `Network.answers`.
        """
        import torch

        from dlbench.evaluation.images import names_of_outputs

        probabilities = torch.cat(self.network.answers(self.network.data.batches(given), device=device)).cpu()
        outputs = probabilities.shape[1]
        names = names_of_outputs(self.classes or [str(number) for number in range(outputs)], outputs)
        values, order = probabilities.sort(dim=1, descending=True, stable=True)
        ranked = zip(order.tolist(), values.tolist(), strict=True)
        return [[(names[at], value) for at, value in zip(*each, strict=True)] for each in ranked]


Reader = Speller | Transcriber | Classifier


def _read_file(read: Callable[[Path], Any], text: str) -> Any:
    """What a DataModule reads of the file that a text names.

    Raises:
        InputError: It cannot.
    """
    if not text.strip():
        raise InputError("empty; name a file or remove it")
    try:
        if not (path := paths.folder(text)).exists():
            raise InputError(f"{path}: no such file")
        return read(path)
    except (DataError, ValueError) as error:  # the latter of a name that is none
        raise InputError(first_line(error)) from error


def _likeness(one: str, other: str) -> float:
    """How alike two symbols are in their characters, and in what Unicode calls these ("l with belt")."""
    words, others = _words(one), _words(other)
    common = len(words & others)
    spelled = SequenceMatcher(None, one, other, autojunk=False).ratio()
    return spelled + common / min(len(words), len(others)) + common / len(words | others)


def _words(symbol: str) -> set[str]:
    words = {word for character in symbol for word in unicodedata.name(character, character).split(" ")}
    return words - {"LATIN", "SMALL", "LETTER", "WITH"} or {symbol}
