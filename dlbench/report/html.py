"""The report as one page that needs no network: styles, script and pictures inside it."""

import math
import re
from functools import cache
from importlib import resources
from xml.etree import ElementTree

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from dlbench.report.blocks import Block, Cell, Column, Document, Picture, plain, spans

LONG_TEXT = 40
"""Texts of more characters want a column that is wide enough to read them in."""

SHORT_TEXT = 20
"""Texts of at most as many characters stay on one line."""

LONG_GRID = 40
"""Grids of more rows scroll under their headings."""

NOTHING = ("", "-", "\N{EN DASH}", "\N{EM DASH}")
"""Texts that stand where there is nothing; sorted last."""

_SVG = "{http://www.w3.org/2000/svg}"
_REFERENCE = re.compile(r"""url\(\s*["']?#([^"')]+)["']?\s*\)""")


def render_html(document: Document) -> str:
    """The whole page; the same document always gives the same text."""
    page = _environment().get_template("page.html.j2")
    return page.render(document=document, css=_verbatim("style.css"), js=_verbatim("script.js"))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("dlbench.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"inline": _inline, "kind": _kind, "plain": plain, "svg": _svg}
    environment.globals |= {"LONG_GRID": LONG_GRID, "LONG_TEXT": LONG_TEXT, "SHORT_TEXT": SHORT_TEXT}
    environment.globals |= {"sort_key": _sort_key}
    return environment


def _verbatim(name: str) -> Markup:
    """One of our own files, which may hold what a template would take for its own."""
    return Markup((resources.files("dlbench.report") / "templates" / name).read_text(encoding="utf-8"))


def _kind(block: Block) -> str:
    return type(block).__name__


def _inline(text: str) -> Markup:
    pieces = (Markup("<code>{}</code>").format(piece) if is_code else escape(piece) for piece, is_code in spans(text))
    return Markup("").join(pieces)


def _sort_key(cell: Cell, column: Column) -> str | None:
    """What the script sorts by, a number as JavaScript reads it; None for a cell without a value."""
    key = cell.value
    if key is None:
        key = cell.verdict.word if cell.verdict else plain(cell.text)
    if isinstance(key, str) and column.is_number:
        try:
            key = float(key.replace(",", ""))
        except ValueError:
            return None
    if isinstance(key, str):
        return None if key in NOTHING else key
    return None if math.isnan(key) else repr(float(key)).replace("inf", "Infinity")


def _svg(picture: Picture) -> Markup:
    """The picture as an element of a page: its ids are its own, its styles reach nothing else, it scales.

    HTML needs no namespaces: its parser knows SVG's elements by their names.
    """
    root = ElementTree.fromstring(picture.svg)
    for parent in root.iter():
        for child in [child for child in parent if child.tag == f"{_SVG}metadata"]:
            parent.remove(child)
    prefix = f"{picture.id}--"
    referred = {key for element in root.iter() for key in _references(element)}
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        if element.tag == "style":
            element.text = f'[id="{picture.id}"] {{{element.text}}}'
        attributes = {name.rpartition("}")[2]: value for name, value in element.attrib.items()}
        if attributes.get("id") not in referred:
            attributes.pop("id", None)
        element.attrib.clear()
        element.attrib.update((name, _prefixed(name, value, prefix)) for name, value in attributes.items())
    _scale(root)
    root.attrib |= {"role": "img", "aria-label": plain(picture.description)}
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _references(element: ElementTree.Element) -> list[str]:
    """The ids that an element's attributes lead to."""
    targets = [value[1:] for name, value in element.attrib.items() if name.endswith("href") and value.startswith("#")]
    return targets + [target for value in element.attrib.values() for target in _REFERENCE.findall(value)]


def _prefixed(name: str, value: str, prefix: str) -> str:
    if name == "id":
        return prefix + value
    if name == "href" and value.startswith("#"):
        return f"#{prefix}{value[1:]}"
    return _REFERENCE.sub(rf"url(#{prefix}\1)", value)


def _scale(root: ElementTree.Element) -> None:
    """As wide as there is room for, up to its own width; on a phone no smaller than can be read."""
    if "viewBox" in root.attrib and (width := root.attrib.pop("width", None)):
        root.attrib.pop("height", None)
        root.set("style", f"width:{width};min-width:calc({width} * 0.6)")
