"""What a report is made of, whatever it is written as: sections of paragraphs, grids, pictures and alerts."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """A verdict: its word, its tone (``good``, ``bad``, ``open``, ``none``) and a sign that needs no colour.

    ``BETTER`` and ``WORSE`` say what ours is; ``DIFFERS`` is said of what is no better or worse, such as a count.
    """

    REPRODUCED = "reproduced", "good", "✓"
    BETTER = "better", "good", "▲"
    WORSE = "worse", "bad", "▼"
    DIFFERS = "differs", "bad", "✗"
    IMPRECISE = "too imprecise", "open", "≈"
    HOLDS = "holds", "good", "✓"
    FAILS = "fails", "bad", "✗"
    RIGHT = "right", "good", "✓"
    WRONG = "wrong", "bad", "✗"
    UNDECIDED = "undecided", "open", "?"
    HOLDS_ELSEWHERE = "holds on other data", "none", "○"
    FAILS_ELSEWHERE = "fails on other data", "none", "○"
    UNDECIDED_ELSEWHERE = "undecided on other data", "none", "○"
    READER = "for the reader", "open", "◉"
    NOT_RUN = "not run", "none", "-"
    PLANNED = "planned", "none", "-"

    def __init__(self, word: str, tone: str, sign: str) -> None:
        self.word, self.tone, self.sign = word, tone, sign


@dataclass(frozen=True)
class Cell:
    """A cell of a grid.

    Args:
        text: What stands there.
        value: What the column is sorted by; by default the text.
        verdict: Shown as a badge in place of the text, which becomes its explanation.
        link: The id of a section, grid or picture that the text leads to.
        is_code: Whether the text is something to type.
        hint: An explanation for who asks for it.
        marks: Signs behind the text that the grid's note explains.
        counts: How many there are of each verdict, which the text says in signs; the page draws them as a bar.
    """

    text: str
    value: float | str | None = None
    verdict: Verdict | None = None
    link: str | None = None
    is_code: bool = False
    hint: str | None = None
    marks: tuple[str, ...] = ()
    counts: tuple[tuple[Verdict, int], ...] = ()

    @property
    def shown(self) -> str:
        """The text and its marks."""
        return "".join((self.text, *self.marks))


@dataclass(frozen=True)
class Column:
    """A column's heading, whether numbers stand in it, and whether a terminal and a phone leave it out."""

    heading: str
    is_number: bool = False
    is_detail: bool = False


def texts(*headings: str) -> tuple[Column, ...]:
    """Columns of texts."""
    return tuple(map(Column, headings))


def numbers(*headings: str) -> tuple[Column, ...]:
    """Columns of numbers."""
    return tuple(Column(heading, is_number=True) for heading in headings)


@dataclass(frozen=True)
class Grid:
    """A table with an id that can be led to; the first ``labels`` columns name the row.

    On the page, of a folded one there is only the title until it is clicked.
    """

    id: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str | None = None
    labels: int = 1
    is_folded: bool = False


@dataclass(frozen=True)
class Picture:
    """A figure as an SVG document, and what it shows in words for who cannot see it."""

    id: str
    title: str
    svg: str
    description: str
    note: str | None = None


@dataclass(frozen=True)
class Paragraph:
    """Plain text; what stands between backticks is something to type or a name."""

    text: str


@dataclass(frozen=True)
class Points:
    """Short statements; the link of each leads to where it is told in full."""

    items: tuple[Cell, ...]


@dataclass(frozen=True)
class Alert:
    """What must not be overlooked: a title and a line each."""

    title: str
    lines: tuple[str, ...]


Block = Grid | Picture | Paragraph | Points | Alert


@dataclass(frozen=True)
class Section:
    """A part of the report: an id that can be led to, a title, blocks, sections within; perhaps a verdict beside it.

    On the page, of a folded one there is only the title until it is clicked, or a link leads into it.
    """

    id: str
    title: str
    blocks: tuple[Block, ...] = ()
    sections: tuple["Section", ...] = ()
    verdict: Verdict | None = None
    is_folded: bool = False


@dataclass(frozen=True)
class Document:
    """A whole report."""

    title: str
    about: str
    blocks: tuple[Block, ...] = ()
    sections: tuple[Section, ...] = ()


def walk(sections: Iterable[Section], level: int = 2) -> Iterator[tuple[int, Section]]:
    """Each section in reading order, those within after the one that holds them, with the level of its heading."""
    for section in sections:
        yield min(level, 6), section
        yield from walk(section.sections, level + 1)


def all_blocks(whole: Document | Section) -> Iterator[Block]:
    """Every block of a report or section and of the sections in it, in reading order."""
    yield from whole.blocks
    for _, section in walk(whole.sections):
        yield from section.blocks


def grids(whole: Document | Section) -> list[Grid]:
    """Every grid among these."""
    return [block for block in all_blocks(whole) if isinstance(block, Grid)]


def spans(text: str) -> Iterator[tuple[str, bool]]:
    """The pieces of a text, and which of them stood between backticks; a backtick without its partner stays."""
    for number, piece in enumerate(re.split(r"`([^`]+)`", text)):
        if piece:
            yield piece, number % 2 == 1


def plain(text: str) -> str:
    """A text where nothing can be marked as code: without the backticks that would."""
    return "".join(piece for piece, _ in spans(text))
