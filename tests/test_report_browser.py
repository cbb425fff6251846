"""The page in headless Chromium: quiet, alone, sortable, readable, at desktop and phone width, light and dark."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from browser import (
    SCHEMES,
    WIDTHS,
    check_access,
    check_anchors,
    check_contents,
    check_page,
    check_silence,
    check_sorting,
    check_width,
    column,
    launched,
    opened,
    unfold,
)
from rich_document import rich_document

from dlbench.report.render import render_html

pytestmark = pytest.mark.slow
VIEWS = [(width, scheme) for width in WIDTHS for scheme in SCHEMES]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as found:
        yield found


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    written = tmp_path_factory.mktemp("page") / "index.html"
    written.write_text(render_html(rich_document()), encoding="utf-8")
    return written


@pytest.fixture
def page(browser: Any, path: Path) -> Iterator[Any]:
    with opened(browser, path) as visit:
        yield visit.page


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_a_page_is_sound(browser: Any, path: Path, width: str, scheme: str) -> None:
    with opened(browser, path, width, scheme) as visit:
        check_width(visit.page)
        check_access(visit.page)
        check_anchors(visit.page)
        check_contents(visit.page)
        unfold(visit.page)
        check_access(visit.page)
        check_sorting(visit.page)
        check_width(visit.page)
        check_silence(visit, path)


def test_the_report_of_the_committed_records_is_sound(browser: Any, written: SimpleNamespace) -> None:
    check_page(browser, written.folder / "index.html")


def test_what_is_folded_opens_by_a_link_into_it_an_address_and_a_click(browser: Any, path: Path) -> None:
    with opened(browser, path) as visit:
        page, inner = visit.page, visit.page.locator("#claim-holds p")
        assert not inner.is_visible()
        page.locator('nav a[href="#claim-holds"]').click()
        assert inner.is_visible() and not page.locator("#claim-fails p").is_visible()
        page.locator("#claim-holds > details > summary").click()
        assert not inner.is_visible()
        page.goto(f"{path.resolve().as_uri()}#checks-0")  # which is folded in a section that is
        table = page.locator("#checks-0 table")
        for _ in range(2):
            table.wait_for()
            assert table.bounding_box()["y"] < page.viewport_size["height"]
            page.reload()


def test_paper_shows_what_is_folded(page: Any) -> None:
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("main details:not([open])").count() == 0


def test_a_bar_is_as_wide_as_its_share(page: Any) -> None:
    parts = page.locator("#counts .bar > span")
    assert parts.all_text_contents() == ["✓ 3 reproduced", "▼ 9 worse", "? 60 undecided"]
    few, more, most = parts.evaluate_all("all => all.map(each => each.getBoundingClientRect().width)")
    assert few <= more < most / 5


def test_numbers_are_sorted_as_numbers_and_blanks_come_last(page: Any) -> None:
    grid = page.locator("#sortable table")
    button = grid.get_by_role("button", name="value")
    button.click()
    assert column(grid, 2) == ["-1.5", "0.25", "9.0", "10.0", "1000.0", None]
    button.click()
    assert column(grid, 2) == ["1000.0", "10.0", "9.0", "0.25", "-1.5", None]


def test_texts_are_sorted_as_people_do_and_equal_ones_keep_their_order(page: Any) -> None:
    grid = page.locator("#sortable table")
    button = grid.get_by_role("button", name="name")
    button.click()
    assert column(grid, 1) == ["apple", "item 9", "item 9", "item 10", "Übung", None]
    assert column(grid, 0) == ["3.0", "1.0", "4.0", "0.0", "2.0", "5.0"]
    button.click()
    assert column(grid, 1) == ["Übung", "item 10", "item 9", "item 9", "apple", None]
    assert column(grid, 0) == ["2.0", "0.0", "1.0", "4.0", "3.0", "5.0"]


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_the_keyboard_sorts_too(page: Any, key: str) -> None:
    grid = page.locator("#sortable table")
    button = grid.get_by_role("button", name="value")
    button.focus()
    for expected in ("-1.5", "1000.0"):
        page.keyboard.press(key)
        assert column(grid, 2)[0] == expected
    assert button.evaluate("button => button === document.activeElement")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_button_changes_the_colours_and_the_choice_is_kept(browser: Any, path: Path, scheme: str) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    with opened(browser, path, scheme=scheme) as visit:
        before = visit.page.evaluate(ground)
        visit.page.locator("button.theme").click()
        after = visit.page.evaluate(ground)
        assert before != after
        check_access(visit.page)
        visit.page.reload()
        assert visit.page.evaluate(ground) == after
        visit.page.locator("button.theme").click()
        assert visit.page.evaluate(ground) == before


def test_a_page_works_where_nothing_can_be_stored(browser: Any, path: Path) -> None:
    with opened(browser, path) as visit:
        visit.page.add_init_script(
            "Object.defineProperty(window, 'localStorage', { get() { throw new Error('no'); } })"
        )
        visit.page.reload()
        visit.page.locator("button.theme").click()
        assert visit.page.locator("html").get_attribute("data-theme") == "dark"
        assert visit.complaints == []


def test_a_hint_is_shown_to_the_keyboard_and_to_a_finger(browser: Any, path: Path) -> None:
    for width in WIDTHS:
        with opened(browser, path, width) as visit:
            hinted = visit.page.locator("#verdicts abbr").first
            hinted.focus() if width == "desktop" else hinted.tap()
            tip = visit.page.locator(".tip")
            assert tip.is_visible() and tip.inner_text() == hinted.get_attribute("title")
            check_width(visit.page)
            visit.page.keyboard.press("Escape")
            assert not tip.is_visible()


def test_the_place_that_is_read_is_marked_in_the_contents(page: Any) -> None:
    page.locator("nav a", has_text="Slips").click()
    page.locator('nav a[aria-current][href="#slips"]').wait_for()
    assert page.locator("[aria-current]").count() == 1


def test_paper_shows_everything_that_a_window_scrolls(page: Any) -> None:
    page.emulate_media(media="print", color_scheme="dark")
    assert not page.locator("header").is_visible()
    hidden = "all => all.filter(x => getComputedStyle(x).overflowX !== 'visible').length"
    assert page.locator(".scroll").evaluate_all(hidden) == 0
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
