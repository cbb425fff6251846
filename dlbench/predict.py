"""``python -m dlbench.predict RUN "k æ t"``: how a recorded model spells, or translates, what it is given.

Inputs are arguments, or else lines of standard input: segments separated by spaces, or plain text where the model reads
characters. Each is answered by hypotheses with their probabilities under the model; one that the model cannot read is
named, the others are answered, and the exit code is 1.
"""

import argparse
import codecs
import json
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlbench import paths, resources
from dlbench.cli import one_line_errors
from dlbench.messages import say
from dlbench.records.store import find

if TYPE_CHECKING:  # --help does not wait for torch
    from dlbench.decoding.hypotheses import Decoder
    from dlbench.speller import Speller
    from dlbench.tasks.transduction_evaluation import Prediction

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
    from dlbench.speller import InputError, Speller

    record = find(options.run, options.runs, resources.experiments() / "results")
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
    from dlbench.decoding.attended import Attended
    from dlbench.decoding.beam import Beam
    from dlbench.decoding.greedy import Greedy
    from dlbench.decoding.sampling import Nucleus

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

    from dlbench.tables import print_whole

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
