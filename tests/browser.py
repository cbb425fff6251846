"""A report's page in a real browser, without a window: what must be true of it at any width, light and dark."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}
SCHEMES = ("light", "dark")


@contextmanager
def launched() -> Iterator[Any]:
    """A browser; the test is skipped where there is none to start."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Visit:
    """A page that is open, what it complained of and what it asked for."""

    page: Any
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextmanager
def opened(browser: Any, path: Path, width: str = "desktop", scheme: str = "light") -> Iterator[Visit]:
    """A page of a file, as wide as a desktop's or a phone's."""
    size = dict(zip(("width", "height"), WIDTHS[width], strict=True))
    context = browser.new_context(
        viewport=size, color_scheme=scheme, has_touch=width == "phone", reduced_motion="reduce"
    )
    visit = Visit(context.new_page())
    visit.page.on("console", lambda message: visit.complaints.append(message.text))
    visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    visit.page.on("request", lambda request: visit.requests.append(request.url))
    visit.page.goto(path.resolve().as_uri())
    yield visit
    context.close()


def check_page(browser: Any, path: Path) -> None:
    """Every check of this module; what takes long on a large page not everywhere."""
    for width, scheme in (("desktop", "light"), ("phone", "dark")):
        with opened(browser, path, width, scheme) as visit:
            check_width(visit.page)
            if width == "desktop":
                check_anchors(visit.page)
                check_contents(visit.page, every=8)
                check_sorting(visit.page, columns=(0, -1))
            unfold(visit.page)
            check_width(visit.page)
            # Of rows, which are all made alike, a few are enough: axe takes a minute for thousands.
            visit.page.evaluate("document.querySelectorAll('tr:nth-child(n+4)').forEach(row => row.remove())")
            check_access(visit.page)
            check_silence(visit, path)


def check_silence(visit: Visit, path: Path) -> None:
    """No error, no warning, and nothing asked for but the page and what it holds itself."""
    assert visit.complaints == []
    assert [url for url in visit.requests if not url.startswith("data:")] == [path.resolve().as_uri()]


def check_anchors(page: Any) -> None:
    """Every link leads to a place in the page."""
    leads = "link => link.hash.length > 1 && link.getAttribute('href') === link.hash && document.querySelector("
    leads += '`[id="${decodeURIComponent(link.hash.slice(1))}"]`)'
    script = f"links => [links.length, links.filter(link => !({leads})(link)).map(link => link.outerHTML)]"
    count, missing = page.locator("a").evaluate_all(script)
    assert count > 0 and missing == []


def check_contents(page: Any, every: int = 1) -> None:
    """Each entry of the table of contents, or some, brings its heading into view, below what covers the top."""
    folded = page.locator("nav summary")
    for link in page.locator("nav a").all()[::every]:
        if folded.is_visible():
            folded.click()
        link.click()
        section = f'[id="{link.get_attribute("href")[1:]}"]'
        heading = page.locator(f"{section} > :is(h2, h3, h4, h5, h6), {section} > details > summary > *")
        box = heading.bounding_box()
        assert 0 <= box["y"] <= page.viewport_size["height"] - box["height"]
        inside = "(x, [left, top]) => x.contains(document.elementFromPoint(left, top))"
        assert heading.evaluate(inside, [box["x"] + 2, box["y"] + 2]), "the heading is covered"


def unfold(page: Any) -> None:
    """Open all that is folded."""
    page.locator("main details").evaluate_all("all => all.forEach(details => { details.open = true; })")


def check_width(page: Any) -> None:
    """The page is no wider than its window: what is, scrolls by itself."""
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def check_access(page: Any) -> None:
    """What axe-core knows of WCAG 2 A and AA, text contrast of 4.5:1 among it; at least one text was measured."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    rules = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
    # Of what is no violation one example is enough: to tell thousands takes longer than to find them.
    found = axe.Axe().run(page, options={"runOnly": rules, "resultTypes": ["violations"]}).response
    violations = [(x["id"], node["html"], node["failureSummary"]) for x in found["violations"] for node in x["nodes"]]
    assert violations == []
    assert "color-contrast" in {rule["id"] for rule in found["passes"]}


SORTED = """(grid, columns) => {
    const keys = place => [...grid.tBodies[0].rows].map(row => row.cells[place].dataset.sort ?? null);
    const buttons = [...grid.querySelectorAll("thead button")];
    const places = columns ? columns.map(place => buttons.at(place)).map(it => buttons.indexOf(it)) : buttons.keys();
    const sorted = place => {
        buttons[place].click();
        return [buttons[place].parentElement.ariaSort, keys(place), grid.querySelectorAll("[aria-sort]").length];
    };
    const before = keys(0);
    return [before, [...places].flatMap(place => [sorted(place), sorted(place)]), keys(0)];
}"""
"""What one table is sorted by after each click: all at once, since each question of a browser takes its time."""


def check_sorting(page: Any, columns: Sequence[int] | None = None) -> None:
    """Each sortable column, or some of every table, up and down: nothing is lost, numbers in order, blanks last."""
    for grid in page.query_selector_all("table:has(thead button)"):
        before, clicks, after = grid.evaluate(SORTED, columns)
        assert [order for order, _, _ in clicks] == ["ascending", "descending"] * (len(clicks) // 2) != []
        for order, keys, marked in clicks:
            filled = [key for key in keys if key is not None]
            assert keys == filled + [None] * (len(keys) - len(filled))
            numbers = as_numbers(filled)
            if numbers is not None:
                assert numbers == sorted(numbers, reverse=order == "descending")
            assert marked == 1
        assert sorted(map(str, before)) == sorted(map(str, after))


def column(grid: Any, place: int) -> list[str | None]:
    """What one column of a table is sorted by, from top to bottom."""
    script = "(grid, place) => [...grid.tBodies[0].rows].map(row => row.cells[place].dataset.sort ?? null)"
    return list(grid.evaluate(script, place))


def as_numbers(keys: list[str]) -> list[float] | None:
    """The keys as numbers, if they all are."""
    try:
        return [float(key) for key in keys]
    except ValueError:
        return None
