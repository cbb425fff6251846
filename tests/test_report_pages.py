"""The same report as a page, as Markdown and as LaTeX: nothing is lost, nothing is taken for markup."""

import re
import shutil
import subprocess
from base64 import b64decode
from collections import Counter
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich_document import COMMAND, WEIRD, rich_document

from dlbench.report.document import (
    Cell,
    Column,
    Document,
    Grid,
    Paragraph,
    Picture,
    Section,
    Verdict,
    all_blocks,
    grids,
    plain,
    spans,
    walk,
)
from dlbench.report.render import PAGE_ROWS, render_html, render_latex, render_markdown

VOID = {"meta", "link", "br", "img"}
TEXT = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=30)


class Page(HTMLParser):
    """A page's elements and texts; an element that is not closed where it should be is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.words.append(data)

    def values(self, attribute: str) -> list[str]:
        return [value for _, attributes in self.elements if (value := attributes.get(attribute)) is not None]

    def tags(self) -> Counter[str]:
        return Counter(tag for tag, _ in self.elements)


@cache
def rich() -> Document:
    return rich_document()


@cache
def page() -> Page:
    return Page(render_html(rich()))


def cells_of(document: Document) -> list[Cell]:
    return [cell for grid in grids(document) for row in grid.rows for cell in row]


def with_cell(*cells: Cell) -> Document:
    columns = tuple(Column(f"column {place}") for place, _ in enumerate(cells))
    return Document("t", "a", (Grid("g", "grid", columns, (cells,)),))


# --- blocks ----------------------------------------------------------------------------------------------------------


@given(TEXT)
def test_spans_lose_nothing_but_the_backticks_of_a_pair(text: str) -> None:
    joined = "".join(f"`{piece}`" if is_code else piece for piece, is_code in spans(text))
    assert joined == text
    assert plain(text) == "".join(piece for piece, _ in spans(text))


def test_sections_are_walked_in_reading_order() -> None:
    inner = Section("b", "B", sections=(Section("c", "C"),))
    found = [(level, section.id) for level, section in walk((Section("a", "A", sections=(inner,)), Section("d", "D")))]
    assert found == [(2, "a"), (3, "b"), (4, "c"), (2, "d")]


# --- html ------------------------------------------------------------------------------------------------------------


def test_a_page_shows_every_text_as_it_stands() -> None:
    shown = " ".join("".join(page().words).split())
    for cell in cells_of(rich()):
        assert " ".join(plain(cell.text).split()) in shown or cell.counts
    assert shown.count(" ".join(WEIRD.split())) > 60
    assert COMMAND in shown


def test_a_page_has_no_element_from_a_text() -> None:
    assert page().tags()["script"] == 1
    assert page().tags()["b"] == 0


def test_ids_are_unique_and_links_resolve() -> None:
    ids = page().values("id")
    assert not [id for id, count in Counter(ids).items() if count > 1]
    sections = {section.id for _, section in walk(rich().sections)}
    assert sections | {"verdicts", "sortable", "runs_all", "fig-curves", "fig-maps"} <= set(ids)
    leading = page().values("href") + [f"#{id}" for id in page().values("aria-labelledby")]
    assert all(link.startswith("data:") or link[1:] in ids for link in leading)


def test_a_page_asks_for_nothing() -> None:
    text = render_html(rich())
    assert not re.search(r"https?:|@import|url\((?!#)", text)
    sources = page().values("src") + [link for link in page().values("href") if not link.startswith("#")]
    assert all(source.startswith("data:") for source in sources)


def test_a_page_holds_every_picture_with_its_description() -> None:
    drawn = [attributes for tag, attributes in page().elements if tag == "img"]
    said = [f'{x} with <, & and "quotes"' for x in ("Learning curves", "Attention")]
    assert [image["alt"] for image in drawn] == said
    held = [b64decode(str(image["src"]).removeprefix("data:image/svg+xml;base64,")).decode() for image in drawn]
    assert held == [block.svg for block in all_blocks(rich()) if isinstance(block, Picture)]


def test_the_same_report_gives_the_same_page() -> None:
    assert render_html(rich_document()) == render_html(rich_document())


@pytest.mark.parametrize("verdict", Verdict)
def test_a_verdict_is_told_by_its_word_and_its_sign(verdict: Verdict) -> None:
    document = with_cell(Cell("a"), Cell("because of `b`", verdict=verdict))
    found = Page(render_html(document))
    assert f"{verdict.sign} {verdict.word}: because of b" in "".join(found.words)
    assert "because of b" in found.values("title")
    assert f"| a | {verdict.sign} {verdict.word}: because of `b` |" in render_markdown(document)
    assert verdict.word in render_latex(document)


@pytest.mark.parametrize(
    ("cell", "is_number", "key"),
    [
        (Cell("0.5 ± 0.1", value=0.5), True, "0.5"),
        (Cell("5,340,742"), True, "5340742.0"),
        (Cell("inf"), True, "Infinity"),
        (Cell("nan", value=float("nan")), True, None),
        (Cell("-"), True, None),
        (Cell("-"), False, None),
        (Cell("a", value="b"), False, "b"),
        (Cell("late", value=2), False, "2.0"),
        (Cell("a `b`"), False, "a b"),
        (Cell("why", verdict=Verdict.HOLDS), False, "holds"),
    ],
)
def test_a_cell_is_sorted_by_its_value(cell: Cell, is_number: bool, key: str | None) -> None:
    document = Document("t", "a", (Grid("g", "grid", (Column("c", is_number),), ((cell,),), labels=0),))
    (found,) = (attributes for tag, attributes in Page(render_html(document)).elements if tag == "td")
    assert found.get("data-sort") == key


def test_labels_are_the_headings_of_their_rows() -> None:
    found = Page(render_html(with_cell(Cell("a"), Cell("b"))))
    scopes = [attributes["scope"] for tag, attributes in found.elements if tag == "th"]
    assert scopes == ["col", "col", "row"]


def test_deep_sections_have_headings_that_exist() -> None:
    section = Section("s8", "deepest")
    for level in range(8):
        section = Section(f"s{level}", "outer", sections=(section,))
    assert Page(render_html(Document("t", "a", sections=(section,)))).tags()["h6"] == 5


# --- markdown --------------------------------------------------------------------------------------------------------


def parsed(text: str) -> list[Any]:
    """What a reader of Markdown finds."""
    return MarkdownIt("commonmark").enable("table").parse(text)


def text_of(inline: Any) -> str:
    """The text of one block, without its markup."""
    return "".join(x.content for x in inline.children if x.type in ("text", "text_special", "code_inline"))


def cells_read(text: str) -> list[list[str]]:
    """The texts of the rows of every table."""
    rows: list[list[str]] = []
    tokens = parsed(text)
    for token, following in pairwise(tokens):
        if token.type == "tr_open":
            rows.append([])
        elif token.type in ("td_open", "th_open"):
            rows[-1].append(text_of(following))
    return rows


def test_markdown_tables_have_every_cell_in_its_column() -> None:
    rows = cells_read(render_markdown(rich()))
    widths = [len(grid.columns) for grid in grids(rich()) for _ in range(len(grid.rows) + 1)]
    assert [len(row) for row in rows] == widths


def test_markdown_leads_where_it_says() -> None:
    text = render_markdown(rich())
    links = re.findall(r"\]\(([^)]*)\)", text)
    assert {link[1:] for link in links if link.startswith("#")} <= set(re.findall(r'<a id="([^"]*)"></a>', text))
    assert all(link.startswith("#") for link in links)
    assert "> [!CAUTION]\n> **Two records disagree**\n" in text
    assert len(re.findall(r"^#{1,6} ", text, re.MULTILINE)) == 1 + len(list(walk(rich().sections)))


@given(TEXT, st.booleans())
def test_markdown_shows_every_text_as_it_stands(text: str, is_code: bool) -> None:
    text = " ".join(text.replace("`", "").split())
    rows = cells_read(render_markdown(with_cell(Cell("first"), Cell(text, is_code=is_code), Cell("last"))))
    assert rows[1:] == [["first", text, "last"]]


@given(TEXT)
def test_markdown_paragraphs_are_paragraphs(text: str) -> None:
    text = " ".join(text.replace("`", "").split())
    found = parsed(render_markdown(Document("title", text, (Paragraph("end"),))))
    blocks = [token for token in found if token.type == "inline"]
    assert [text_of(block) for block in blocks] == ["title", *([text] if text else []), "end"]
    assert not {token.type for token in found} & {"bullet_list_open", "ordered_list_open", "blockquote_open", "hr"}


# --- latex -----------------------------------------------------------------------------------------------------------


def test_latex_has_every_grid_and_breaks_the_long_ones() -> None:
    text = render_latex(rich())
    checks = [f"tab:checks-{number}" for number, _ in enumerate(Verdict)]
    expected = ["tab:counts", "tab:verdicts", "tab:sortable", *checks, "tab:runs-all"]
    assert re.findall(r"\\label\{(.*?)\}", text) == expected
    assert text.count(r"\begin{longtable}") == text.count(r"\end{longtable}") == 1
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == len(expected) - 1
    assert re.findall(r"\\begin\{tabular\}\{([lr]+)\}", text)[-1] == "rlr"


@pytest.mark.parametrize("rows", [1, PAGE_ROWS + 1])
@given(text=TEXT)
def test_latex_takes_no_text_for_a_command(rows: int, text: str) -> None:
    (grid,) = grids(with_cell(Cell(text), Cell(f"`{text}`"), Cell("last")))
    written = render_latex(Document("t", "a", (replace(grid, rows=grid.rows * rows),)))
    body = "\n".join(line for line in written.splitlines() if not line.startswith("%"))
    bare = re.sub(r"\\[\\&%$#_{}]", "", body)
    assert bare.count("{") == bare.count("}")
    assert not re.search(r"[%$#_~^]", bare)
    lines = [re.sub(r"\\&", "", line) for line in body.splitlines() if line.endswith("last \\\\")]
    assert [line.count("&") for line in lines] == [2] * rows


LATEX = shutil.which("xelatex") or shutil.which("lualatex")


@pytest.mark.slow
@pytest.mark.skipif(LATEX is None, reason="neither xelatex nor lualatex is installed")
def test_latex_compiles(tmp_path: Path) -> None:
    text = render_latex(rich())
    (packages,) = re.findall(r"^% *(\\usepackage\{.*\})$", text, re.MULTILINE)
    document = [r"\documentclass{article}", packages, r"\begin{document}", text, r"\end{document}"]
    (tmp_path / "tables.tex").write_text("\n".join(document), encoding="utf-8")
    command = [str(LATEX), "-interaction=nonstopmode", "-halt-on-error", "tables.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "tables.pdf").stat().st_size > 10_000


@pytest.mark.parametrize(
    "text",
    ["https://example.org/x", "HTTP://example.org", "ftp://a.b", "www.example.org", "![a](b)", "[a](b)", "<img src=x>"],
)
def test_no_text_is_a_link_or_picture_in_markdown(text: str) -> None:
    grid = Grid(f"id {text}\n\n{text}", text, (Column(text),), ((Cell(text, link=f"{text}) {text}"),),), text)
    written = render_markdown(Document(text, text, (grid, Paragraph(text))))
    links = MarkdownIt("gfm-like", {"linkify": False}).parse(written)
    inner = [token for block in links for token in block.children or ()]
    assert all(str(token.attrs["href"]).startswith("#") for token in inner if token.type == "link_open")
    assert not [
        token for token in inner if token.type == "image" or ("<img" in token.content and token.type == "html_inline")
    ]
    # GitHub makes links of bare addresses, as it finds them in the source.
    assert not re.search(r"(?<![\w%#])(https?://|ftp://|www\.)", written, re.IGNORECASE)
