"""A recorded transducer at work: text in, ranked hypotheses out; all it needs is the record, no data set."""

import argparse
import codecs
import heapq
import json
import math
import os
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any, Literal

from dlbench import components, paths
from dlbench.cli import one_line_errors
from dlbench.data.vocabulary import Vocabulary
from dlbench.environment import alone, interrupted_by_sigterm
from dlbench.errors import ConfigError, DlbenchError, RecordError
from dlbench.records.checkpoints import Checkpoint
from dlbench.records.files import read_json
from dlbench.records.store import Record, State, find
from dlbench.terminal import say

if TYPE_CHECKING:  # torch and Lightning are loaded when there is something to decode
    from dlbench.decoding.hypotheses import Decoder
    from dlbench.evaluation.transduction import Prediction

Choice = Literal["best", "last"]


class InputError(DlbenchError):
    """A text that the model cannot read."""


class Speller:
    """The network of a finished record, with its vocabularies, as its evaluation uses it. The record is only read.

    Args:
        record: A transducer's.
        choice: Which epoch's weights; default: those that the record's evaluation uses.
        trust: Whether the record may name code that is not the suite's.

    Raises:
        RecordError: It is no transducer's, not finished, or its weights are not there.
    """

    def __init__(self, record: Record, choice: Choice | None = None, *, trust: bool = False) -> None:
        self.record = record
        if record.training.exists():
            record.closed()
        manifest = read_json(record.manifest)
        self.config = record.settings()
        if not trust:
            components.check_trusted(self.config, f"record {record.id} (--trust takes own code)", RecordError)
        try:
            facts, experiment, self.seed = manifest["data"], manifest["experiment"], int(self.config["seed"])
            if "vocabularies" not in facts:
                raise RecordError(
                    f"record {record.id} ({experiment}) is an image classifier's, which writes nothing; choose a "
                    "transducer's (python -m dlbench.records list)"
                )
            if "source" not in facts["vocabularies"]:
                raise RecordError(
                    f"record {record.id} ({experiment}) is a speech recogniser's, which reads no text; choose a "
                    "transducer's (python -m dlbench.records list)"
                )
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

    @interrupted_by_sigterm()
    def spell(
        self, sources: Sequence[tuple[str, ...]], decoder: "Decoder", *, device: str = "auto", seed: int | None = None
    ) -> list["Prediction"]:
        """Decode sources, as `read` gives them, in batches by length.

        Args:
            sources: N of them.
            decoder: The decoding.
            device: As in ``trainer.device``.
            seed: For sampling, which depends on it and on a source's position; default: the run's.

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
        return collect(decoded, pairs, self.target_vocabulary, reverse)

    def _task(self, seed: int) -> Any:
        """The task around the network, with the record's weights; without optimiser, for it is not trained."""
        from dlbench.callbacks.recorder import load

        sizes = {"source_symbols": len(self.source_vocabulary), "target_symbols": len(self.target_vocabulary)}
        task = self._build("task", model=self._build("model", **sizes), optimizer=None, scheduler=None, seed=seed)
        try:
            task.load_state_dict(load(self.checkpoint)["state_dict"])
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise RecordError(
                f"record {self.record.id}: its weights are those of another network or vocabulary ({reason})"
            ) from error
        return task

    def _build(self, section: str, **arguments: Any) -> Any:
        from dlbench.config import build

        try:
            return build(section, self.config[section], **arguments)
        except (ConfigError, KeyError) as error:
            raise RecordError(
                f"record {self.record.id}: its config.yaml does not fit this version ({error})"
            ) from error

    def _checkpoint(self, choice: Choice) -> Checkpoint:
        record = self.record
        epoch = record.closed()["epochs" if choice == "last" else "best_epoch"]
        checkpoints = record.checkpoints.all()
        if not checkpoints:
            raise RecordError(
                f"record {record.id} has no checkpoints in {record.folder} (committed without, or cleaned away); "
                "train it again, with rerun=always where it was"
            )
        found = next((checkpoint for checkpoint in checkpoints if checkpoint.epoch == epoch), None)
        if found is None or not found.is_whole():
            problem = "missing" if found is None else "damaged"
            raise RecordError(
                f"record {record.id}: the checkpoint of its {choice} epoch, {epoch}, is {problem}; run its command "
                "again, which trains what is lost"
            )
        return found

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


if TYPE_CHECKING:  # --help does not wait for torch
    from dlbench.decoding.hypotheses import Decoder

    pass
    from dlbench.evaluation.transduction import Prediction

DECODINGS: dict[str, dict[str, Any]] = {
    "beam": {"nbest": 5, "width": None},
    "greedy": {},
    "nucleus": {"p": 0.8, "temperature": 1.0, "samples": 5, "seed": None},
}
"""The options of each decoding, and their defaults."""


@dataclass
class Input:
    """A text, where it stands, and what becomes of it."""

    text: str
    place: str
    symbols: tuple[str, ...] = ()
    error: str | None = None
    prediction: "Prediction | None" = None

    def fail(self, error: str) -> None:
        """Note an error, and name it."""
        self.error = error
        say(f"{self.place}: {error}")


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and do what it says; the exit code."""
    options = _parse(arguments)
    with one_line_errors():
        try:
            code = _predict(options)
            sys.stdout.flush()
            return code
        except KeyboardInterrupt:
            say("interrupted")
            return 130
        except BrokenPipeError:  # whoever reads has enough; the interpreter must not try to write the rest
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 141
    return 1


def _predict(options: argparse.Namespace) -> int:
    pass

    record = find(options.run, options.runs, paths.experiments() / "results")
    speller = Speller(record, options.checkpoint, trust=options.trust)
    inputs = list(_read(options.inputs))
    if not inputs:
        say("no input; give it as arguments, or on standard input, one a line")
        return 1
    for given in inputs:
        try:
            given.symbols = () if given.error else speller.read(given.text)
        except InputError as error:
            given.fail(str(error))
    readable = [given for given in inputs if not given.error]
    if readable:
        sources = [given.symbols for given in readable]
        seed = options.decoding.get("seed")
        predictions = speller.spell(sources, _decoder(options, speller), device=options.device, seed=seed)
        for given, prediction in zip(readable, predictions, strict=True):
            given.prediction = prediction
    (_print_json if options.json else _print)(inputs, speller.target_joiner, options.attention)
    if options.attention and any(given.prediction and given.prediction.attention is None for given in readable):
        say(f"record {record.id}: its network gives no attention to show")
        return 1
    return int(len(readable) < len(inputs))


def _read(arguments: list[str]) -> Iterator[Input]:
    """The arguments, or the lines of standard input; what is not UTF-8 is named."""
    # Python hands bytes that are no text on as surrogates.
    given, kind = [argument.encode("utf-8", "surrogateescape") for argument in arguments], "argument"
    if not given:
        if sys.stdin.isatty():
            say("inputs, one a line, up to Ctrl-D:")
        # Line by line: in one long read, Ctrl-C might go unheard.
        given, kind = [line.rstrip(b"\r\n") for line in sys.stdin.buffer], "line"
        given[:1] = [line.removeprefix(codecs.BOM_UTF8) for line in given[:1]]
    for number, content in enumerate(given, start=1):
        one = Input(content.decode("utf-8", "backslashreplace"), f"{kind} {number}")
        try:
            content.decode("utf-8")
        except UnicodeDecodeError:
            one.fail("not UTF-8; write it in that encoding")
        yield one


def _decoder(options: argparse.Namespace, speller: "Speller") -> "Decoder":
    from dlbench.decoding.beam import Beam
    from dlbench.decoding.hypotheses import Attended
    from dlbench.decoding.sampling import Greedy, Nucleus

    decoders: dict[str, Any] = {"beam": Beam, "greedy": Greedy, "nucleus": Nucleus}
    settings = {name: value for name, value in options.decoding.items() if name != "seed"}
    decoder: Decoder = decoders[options.decoder](**settings, max_length=speller.max_length)
    return Attended(decoder) if options.attention else decoder


def _hypotheses(prediction: "Prediction", joiner: str) -> Iterator[dict[str, Any]]:
    """What was written, up to its end; ``complete`` tells whether the model ended it, or the limit of its length."""
    for symbols, text, log_prob in zip(prediction.hypotheses, prediction.texts, prediction.log_probs, strict=True):
        yield {
            "output": joiner.join(text),
            "probability": math.exp(log_prob),
            "log_probability": log_prob,
            "complete": len(text) < len(symbols),
        }


def _print_json(inputs: list[Input], joiner: str, attention: bool) -> None:
    content: list[dict[str, Any]] = []
    for given in inputs:
        content.append({"input": given.text})
        if given.prediction is None:
            content[-1]["error"] = given.error
            continue
        content[-1]["hypotheses"] = list(_hypotheses(given.prediction, joiner))
        if attention and given.prediction.attention is not None:
            content[-1]["attention"] = {
                "source": given.prediction.pair.source,
                "hypothesis": given.prediction.hypotheses[0],
                "weights": [[round(weight, 4) for weight in row] for row in given.prediction.attention.tolist()],
            }
    print(json.dumps(content, indent=2, ensure_ascii=False))


def _print(inputs: list[Input], joiner: str, attention: bool) -> None:
    for given in inputs:
        if given.prediction is not None:
            print(given.text)
            for row in _hypotheses(given.prediction, joiner):
                print(f"{row['probability']:10.4g}  {row['output']}{'' if row['complete'] else '...'}")
            if attention and given.prediction.attention is not None:
                _print_attention(given.prediction)


def _print_attention(prediction: "Prediction") -> None:
    """A line for each symbol written, a column for each one read."""
    from rich.table import Table

    from dlbench.terminal import print_whole

    assert prediction.attention is not None
    table = Table("", *map(_visible, prediction.pair.source), box=None, pad_edge=True)
    for symbol, weights in zip(prediction.hypotheses[0], prediction.attention.tolist(), strict=True):
        table.add_row(_visible(symbol), *(f"{weight:.2f}" for weight in weights))
    print_whole(table)


def _visible(symbol: str) -> str:
    return symbol if symbol.strip() else "␣"


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = _parser()
    options = parser.parse_intermixed_args(arguments)
    own = DECODINGS[options.decoder]
    given = {name: getattr(options, name) for defaults in DECODINGS.values() for name in defaults if name in options}
    for name in given.keys() - own.keys():
        decoder = next(decoder for decoder, defaults in DECODINGS.items() if name in defaults)
        parser.error(f"--{name} goes with --decoding {decoder}, not {options.decoder}")
    options.decoding = own | given
    if options.decoder == "beam":
        nbest, width = options.decoding["nbest"], options.decoding["width"]
        if width is not None and nbest > width:
            parser.error(f"--nbest {nbest} is more than --width {width} holds; raise --width or lower --nbest")
        options.decoding["width"] = width or max(5, nbest)
    return options


def _parser() -> argparse.ArgumentParser:
    about, _, details = (__doc__ or "").replace("`", "").partition("\n\n")
    parser = argparse.ArgumentParser(prog="python -m dlbench.predict", description=about, epilog=details)
    add = parser.add_argument
    add("run", metavar="RUN", help="the record's identity, or how it begins")
    add("inputs", metavar="INPUT", nargs="*", help='what to read, such as "k æ t"; default: standard input, one a line')
    add("--runs", type=paths.folder, default=paths.runs(), help="folder of records (default: $DLBENCH_RUNS, else runs)")
    add("--checkpoint", choices=("best", "last"), help="which epoch's weights (default: as the record's evaluation)")
    add("--decoding", dest="decoder", choices=tuple(DECODINGS), default="beam", help="default: %(default)s")

    def of_decoding(name: str, kind: Any, about: str) -> None:
        metavar = "N" if kind in (int, _count) else "X"
        add(f"--{name}", type=kind, metavar=metavar, default=argparse.SUPPRESS, help=about)

    of_decoding("nbest", _count, "beam: hypotheses to print (default: 5)")
    of_decoding("width", _count, "beam: hypotheses kept at every step (default: 5, or --nbest if that is more)")
    of_decoding("p", _mass, "nucleus: probability mass to sample from (default: 0.8)")
    of_decoding("temperature", _positive, "nucleus: divides the logits (default: 1)")
    of_decoding("samples", _count, "nucleus: samples of each input (default: 5)")
    of_decoding("seed", int, "nucleus: what the samples depend on (default: the run's)")
    add("--attention", action="store_true", help="also what the first hypothesis attends to, symbol by symbol")
    add("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="default: %(default)s")
    add("--trust", action="store_true", help="the record may name code that is not the suite's: your own")
    add("--json", action="store_true", help="print JSON")
    return parser


def _count(text: str) -> int:
    return int(_within(int(text) >= 1, text, "at least 1"))


def _mass(text: str) -> float:
    return float(_within(0 < float(text) <= 1, text, "above 0, at most 1"))


def _positive(text: str) -> float:
    return float(_within(0 < float(text) < math.inf, text, "above 0"))


def _within(is_within: bool, text: str, wanted: str) -> str:
    if not is_within:
        raise argparse.ArgumentTypeError(f"{text}: must be {wanted}")
    return text


if __name__ == "__main__":
    sys.exit(main())
