"""``dlbench predict RUN INPUT``: how a recorded model spells, translates, transcribes or classifies an input."""

import codecs
import json
import math
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dlbench import paths
from dlbench.cli import experiments
from dlbench.commands import Json, Runs, Trust, group
from dlbench.errors import ConfigError, RecordError
from dlbench.predict import Classifier, InputError, Network, Reader, Transcriber, Writer, reader
from dlbench.records.files import ODD
from dlbench.records.labels import data_line
from dlbench.records.store import Record, State, Store, find
from dlbench.terminal import is_like, nearest, say, tell

if TYPE_CHECKING:  # --help does not wait for torch
    from dlbench.protocols import Decoder

app = group("How a recorded model spells, translates, transcribes or classifies what it is given.")


@dataclass
class Input:
    """A text, or a file's name, where it stands, what is read there, and what comes of it.

    ``answer`` is JSON: an ``error``, ``classes``, or ``hypotheses``, perhaps with the ``attention`` of the first one.
    """

    text: str
    place: str
    read: Any = None
    answer: dict[str, Any] = field(default_factory=dict)


def option(about: str, **limits: Any) -> Any:
    """An option without a default, so that it is known whether it was given."""
    return typer.Option(help=about, show_default=False, **limits)


@app.command()
def predict(
    run: Annotated[str, typer.Argument(metavar="RUN", help="a record's identity, or how it begins; or an experiment")],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(metavar="INPUT", help='"k æ t", a picture, a .wav; default: standard input, one a line'),
    ] = None,
    *,
    runs: Runs,
    checkpoint: Annotated[
        Literal["best", "last"] | None, option("which epoch's weights (default: as the record's evaluation)")
    ] = None,
    decoding: Annotated[Literal["beam", "greedy", "nucleus"] | None, option("how to write (default: beam)")] = None,
    nbest: Annotated[int | None, option("beam: hypotheses, or classes, to print (default: 5)", min=1)] = None,
    width: Annotated[int | None, option("beam: hypotheses kept at every step (default: 5, or --nbest)", min=1)] = None,
    p: Annotated[float | None, option("nucleus: probability mass to sample from (default: 0.8)")] = None,
    temperature: Annotated[float | None, option("nucleus: divides the logits (default: 1)")] = None,
    samples: Annotated[int | None, option("nucleus: samples of each input (default: 5)", min=1)] = None,
    seed: Annotated[int | None, option("nucleus: what the samples depend on (default: the run's)")] = None,
    attention: Annotated[
        bool, typer.Option("--attention", help="also what the first hypothesis attends to, symbol by symbol")
    ] = False,
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], typer.Option(help="where to compute")] = "auto",
    trust: Trust = False,
    as_json: Json = False,
) -> int:
    """How a recorded model spells, translates, transcribes or classifies what it is given.

    Phonemes are separated by spaces, so each word is quoted: "k æ t"; a translator takes plain text. A speech
    recogniser takes recordings, and an image classifier pictures, by the names of their files. What cannot be read is
    named, the others are answered all the same, and the exit code is 1.
    """
    beam = {"nbest": nbest, "width": width}
    nucleus = {"p": p, "temperature": temperature, "samples": samples, "seed": seed}
    settings = _settings(decoding or "beam", {"beam": beam, "nucleus": nucleus})
    settings.pop("seed", None)  # which the task has, not the decoder
    try:
        network = Network(_find(run, runs), checkpoint, trust=trust)
        found = reader(network)
        if isinstance(found, Classifier):
            others = {"decoding": decoding, "width": width, **nucleus, "attention": attention or None}
            if asked := [name for name, value in others.items() if value is not None]:
                raise ConfigError(f"--{asked[0]} is for what writes; {network.experiment} classifies pictures")
        elif attention and isinstance(found, Transcriber) and not as_json:
            raise ConfigError("--attention to a recording has a column every 15 ms; add --json")
        if not (texts := list(_read(inputs or []))):
            say("no input; give it as arguments, or on standard input, one a line")
            return 1
        for text in texts:
            _understand(text, found)
        if readable := [text for text in texts if "error" not in text.answer]:
            given = [text.read for text in readable]
            if isinstance(found, Classifier):
                answers = _classified(found, given, nbest or 5, device)
            else:
                decoder = _decoder(decoding or "beam", settings, found.max_length, attention)
                answers = _written(found, given, decoder, attention, device=device, seed=seed)
            for text, answer in zip(readable, answers, strict=True):
                text.answer = answer
        _print(texts, as_json)
        is_blind = attention and any("attention" not in text.answer for text in readable)
        if is_blind:
            say(f"record {network.record.id}: its network gives no attention to show")
        return int(is_blind or len(readable) < len(texts))
    except KeyboardInterrupt:
        say("interrupted")
        return 130


def _find(run: str, runs: Path) -> Record:
    """The record of an identity, or an experiment's newest one that has weights; the user's own come first.

    Raises:
        RecordError: There is none.
    """
    folders = (runs, paths.experiments() / "networks", paths.experiments() / "results")
    is_identity = re.fullmatch(r"[0-9a-f]+", run)
    is_own = not is_identity and any(_manifest(record, run) for record in Store(runs).all())
    if run not in experiments() and not is_own:
        if is_like(run, experiments()):
            raise RecordError(f"{run}: no record and no experiment is called so; {nearest(run, experiments())}")
        if not is_identity:
            told = f"python -m dlbench records list{paths.runs_option(runs)} and python -m dlbench experiments list all"
            raise RecordError(f"{run}: no record in {runs} begins so, and no experiment is called so; {told}")
        return find(run, *folders)
    for store in map(Store, folders):
        having = [(manifest, record) for record in store.all() if (manifest := _manifest(record, run))]
        if having:
            manifest, record = max(having, key=lambda one: one[0]["started"])
            say(f"record {record.id}, {data_line(manifest['data'])}")
            return record
    raise RecordError(f"{run}: no trained network of it in {runs}; train one: python -m dlbench +experiment={run}")


def _manifest(record: Record, experiment: str) -> dict[str, Any] | None:
    """That of a finished record of an experiment that has weights; None of any other."""
    with suppress(RecordError, *ODD):
        manifest = record.read_manifest()
        is_there = manifest["experiment"] == experiment and record.checkpoints.all()
        return manifest if is_there and record.state() == State.FINISHED else None
    return None


def _settings(decoding: str, asked: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The settings of the decoding asked for, with its defaults.

    Raises:
        typer.BadParameter: An option is another decoding's, or out of range.
    """
    given = {other: {name: value for name, value in own.items() if value is not None} for other, own in asked.items()}
    for other, own in given.items():
        if own and other != decoding:
            raise typer.BadParameter(f"--{next(iter(own))} goes with --decoding {other}, not {decoding}")
    own = given.get(decoding, {})
    if decoding == "nucleus":
        if not 0 < own.get("p", 1) <= 1:
            raise typer.BadParameter(f"--p {own['p']}: must be above 0, at most 1")
        if not 0 < own.get("temperature", 1) < math.inf:
            raise typer.BadParameter(f"--temperature {own['temperature']}: must be above 0")
        return {"p": 0.8, "temperature": 1.0, "samples": 5, **own}
    if decoding == "beam":
        nbest = own.get("nbest", 5)
        own = {"nbest": nbest, "width": max(5, nbest), **own}
        if nbest > own["width"]:
            problem = f"--nbest {nbest} is more than --width {own['width']} holds"
            raise typer.BadParameter(f"{problem}; raise --width or lower --nbest")
    return own


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
        if one.text.encode("utf-8") != content:
            one.answer["error"] = "not UTF-8; write it in that encoding"
        yield one


def _understand(given: Input, by: Reader) -> None:
    """Read an input; say what is wrong with one that cannot be read."""
    try:
        given.read = None if given.answer else by.read(given.text)
    except InputError as error:
        given.answer["error"] = str(error)
    if given.answer:
        say(f"{given.place}: {given.answer['error']}")


def _decoder(decoding: str, settings: dict[str, Any], max_length: int, attention: bool) -> "Decoder":
    from dlbench.decoding.beam import Beam
    from dlbench.decoding.hypotheses import Attended
    from dlbench.decoding.sampling import Greedy, Nucleus

    decoders: dict[str, Any] = {"beam": Beam, "greedy": Greedy, "nucleus": Nucleus}
    decoder: Decoder = decoders[decoding](**settings, max_length=max_length)
    return Attended(decoder) if attention else decoder


def _classified(by: Classifier, given: list[Any], most: int, device: str) -> Iterator[dict[str, Any]]:
    for ranked in by.classify(given, device):
        yield {"classes": [{"class": name, "probability": value} for name, value in ranked[:most]]}


def _written(
    by: Writer[Any], given: list[Any], decoder: "Decoder", attention: bool, **options: Any
) -> Iterator[dict[str, Any]]:
    """What was written, up to its end; ``complete`` tells whether the model ended it, or the limit of its length."""
    for prediction in by.decode(given, decoder, **options):
        rows = zip(prediction.hypotheses, prediction.texts, prediction.log_probs, strict=True)
        answer: dict[str, Any] = {
            "hypotheses": [
                {
                    "output": by.joiner.join(text),
                    "probability": math.exp(log_prob),
                    "log_probability": log_prob,
                    "complete": len(text) < len(symbols),
                }
                for symbols, text, log_prob in rows
            ]
        }
        if attention and prediction.attention is not None:
            answer["attention"] = prediction.attention_as_json(by.places(prediction))
        yield answer


def _print(inputs: list[Input], as_json: bool) -> None:
    if as_json:
        print(json.dumps([{"input": given.text, **given.answer} for given in inputs], indent=2, ensure_ascii=False))
        return
    for given in (given for given in inputs if "error" not in given.answer):
        tell(given.text)
        for row in given.answer.get("classes") or given.answer["hypotheses"]:
            shown = row["class"] if "class" in row else f"{row['output']}{'' if row['complete'] else '...'}"
            tell(f"{row['probability']:10.4g}  {shown}")
        if "attention" in given.answer:
            _print_attention(given.answer["attention"])


def _print_attention(attention: dict[str, Any]) -> None:
    """A line for each symbol written, a column for each one read, or each time heard."""
    from rich.table import Table

    from dlbench.terminal import print_whole

    table = Table("", *map(_visible, attention["source"]), box=None, pad_edge=True)
    for symbol, weights in zip(attention["hypothesis"], attention["weights"], strict=True):
        table.add_row(_visible(symbol), *(f"{weight:.2f}" for weight in weights))
    print_whole(table)


def _visible(symbol: str) -> str:
    return symbol if symbol.strip() else "␣"
