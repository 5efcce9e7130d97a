"""Every page of the console, whatever lies in the lists: bounded, light, legible in both themes, whole on a tablet.

Routes come from the application, so that a page that is new is looked at as soon as it is there. The two plants are
made by the benchmark's generator (bench/plant.py): one that is usual, and one with ten thousand rows in every list.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import Page, expect
from sqlalchemy import event

from api.console import charts, measured
from bench.console import FILES, NO_PAGES, routes
from bench.plant_lists import GIANT, RECALL, WIDE, lists, put
from engine.clock import system_clock
from engine.events import Measurement
from engine.reference import References
from engine.store.migrate import migrate
from engine.store.opening import open_store
from engine.store.reading import ResultLine
from tests.console.conftest import MAX_PAGE_BYTES
from tests.console.plant import SIZES, Plant
from tests.console.screens import shots_of

#: The most of a thing that one page may show: what a person looks through, and a browser draws at once.
BOUNDS = {"<tr": 460, "<li": 320, "<option": 250, "<circle": 1_200, "<path": 1_200, "<form": 160}
#: Of many that are alike axe looks at the first.
_ALIKE = ("tbody tr:nth-child(n+5)", "ol > li:nth-child(n+5)", "ul > li:nth-child(n+9)", ".genealogy a:nth-of-type(n+5)",
          ".prose > :nth-child(n+60)", ".numbered span:nth-child(n+9)")  # fmt: skip
_NOT_LOOKED_AT = {*NO_PAGES, *FILES}
#: What holds what is in it, else it runs over what stands beside it.
_BOXES = ".panel, .tile, .tabs a, .act details, .rooms"
#: What may be moved to and fro on a tablet. Drawings and the tables of documents are as wide as they are.
_LISTS = "main .scroll:not(.drawn, .prose *)"
_WIDER_THAN_ITSELF = """[...document.querySelectorAll("{}")].filter(one => one.scrollWidth > one.clientWidth + 1)
    .map(one => `${{one.scrollWidth}} px in ${{one.clientWidth}} px: ${{one.outerHTML.slice(0, 200)}}`)"""
#: The contrast of what stands in an empty field, by WCAG 2.2, 1.4.3; axe does not look at it.
_CONTRAST = """() => {
  const light = colour => { const parts = colour.match(/[0-9.]+/g).slice(0, 3).map(part => part / 255)
    .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2] + 0.05; };
  const field = document.querySelector("#scan");
  const [a, b] = [getComputedStyle(field, "::placeholder").color, getComputedStyle(field).backgroundColor].map(light);
  return Math.max(a, b) / Math.min(a, b); }"""


@pytest.fixture(scope="module", params=SIZES)
def plant(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    made = Plant(tmp_path_factory.mktemp(request.param), *SIZES[request.param])
    yield made
    made.service.stop()


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Every route of a page."""
    return routes(tmp_path_factory.mktemp("routes"))


def test_every_address_answers_within_its_bounds(plant: Plant, known: list[str]) -> None:
    assert sorted(set(known) - set(NO_PAGES)) == sorted(plant.addresses)
    assets: dict[str, int] = {}
    with httpx.Client(base_url=plant.service.url, headers={"Authorization": f"Bearer {plant.service.key}"}) as http:
        for route in sorted(set(plant.addresses) - set(FILES)):
            for path in plant.addresses[route]:
                answer = http.get(path, timeout=60)
                assert answer.status_code == 200, (path, answer.text)
                used = set(re.findall(r'(?:src|href)="(/console/static/[^"]+)"', answer.text))
                for name in used - set(assets):
                    assets[name] = len(http.get(name).raise_for_status().content)
                assert len(answer.content) + sum(assets[name] for name in used) < MAX_PAGE_BYTES, path
                for thing, most in BOUNDS.items():
                    assert answer.text.count(thing) <= most, (path, thing, answer.text.count(thing))


def test_every_page_has_a_picture_to_look_at(plant: Plant, known: list[str]) -> None:
    """By the tool that shows the console to whoever changed it, whatever lies in the plant."""
    for found in (plant.addresses, None):
        shots = list(shots_of(known, found, 300))
        assert len({shot.name for shot in shots}) == len(shots)
        for route in set(known) - {*NO_PAGES, *FILES} - (set() if found else {"/console/help/{path:path}"}):
            pattern = re.sub(r"\{\w+:path\}", ".+", re.sub(r"\{\w+:str\}", "[^/?]+", route))
            assert any(re.fullmatch(pattern, shot.path.partition("?")[0]) for shot in shots), route


def test_every_page_is_legible_light_and_whole(plant: Plant, known: list[str], visitor: Callable[..., Any]) -> None:
    person = visitor(plant.service.key)
    person.service = plant.service
    for route in sorted(set(known) - _NOT_LOOKED_AT):
        path = plant.addresses[route][-1 if route == "/console/help/{path:path}" else 0]
        page = person.open(path)
        assert person.transferred() < MAX_PAGE_BYTES, path
        assert person.offences(without=_ALIKE) == [], path
        page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
        for width in (820, 1366):
            page.set_viewport_size({"width": width, "height": 1_000})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (path, width)
            assert page.evaluate(_WIDER_THAN_ITSELF.format(_BOXES)) == [], (path, width)
        # At a desk nobody has to find out that a list goes on to the right, nor where the button is.
        assert page.evaluate(_WIDER_THAN_ITSELF.format(_LISTS)) == [], path
        # Whatever lies in a list, the way to every room is in sight.
        assert page.locator(".rooms a").count() > 10
        assert person.complaints == [], path


def test_what_stands_in_an_empty_field_can_be_read(plant: Plant, visitor: Callable[..., Any]) -> None:
    person = visitor(plant.service.key)
    person.service = plant.service
    page = person.open("/console/holds")
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        assert page.evaluate(_CONTRAST) >= 4.5, theme


def test_a_person_goes_on_and_back_through_long_lists(plant: Plant, visitor: Callable[..., Any]) -> None:
    person = visitor(plant.service.key)
    person.service = plant.service
    for path in ("/console/holds", "/console/recalls", f"/console/holds/{WIDE}", f"/console/recalls/{RECALL}",
                 "/console/quality"):  # fmt: skip
        page = person.open(path)
        onward = page.get_by_role("link", name="Next page")
        if not onward.count():
            assert page.locator("table.rows tbody tr").count() < 100
            continue
        first = ids(page)
        onward.click()
        expect(page.get_by_role("link", name="First page")).to_be_visible()
        assert ids(page)
        assert not set(first) & set(ids(page)), path
        page.get_by_role("link", name="First page").click()
        expect(page.locator("table.rows tbody tr")).to_have_count(100)
        assert ids(page) == first


def ids(page: Page) -> list[str]:
    found: list[str] = page.locator("table.rows tbody tr").evaluate_all("rows => rows.map(row => row.id)")
    return found


def test_what_was_previewed_is_seen_before_any_list(plant: Plant, visitor: Callable[..., Any]) -> None:
    person = visitor(plant.service.key)
    person.service = plant.service
    for path in ("/console/holds?preview=yes&item=RING-74", "/console/recalls?preview=yes&supplier=ACME"):
        expect(person.open(path).locator("#preview h2")).to_be_in_viewport()


def test_a_person_with_a_keyboard_gets_everywhere(plant: Plant, visitor: Callable[..., Any]) -> None:
    person = visitor(plant.service.key)
    person.service = plant.service
    page = person.open(f"/console/lots/{GIANT}")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    expect(page.locator(".skip")).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("Tab")
    shown = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert shown == "solid"
    here = page.evaluate("document.activeElement.textContent")
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    for _ in range(4):
        page.keyboard.press("Tab")
        # Round and round in the dialog, or to the browser's own controls: never to what lies behind it.
        assert page.evaluate("document.activeElement === document.body || !!document.activeElement.closest('#keys')")
    page.keyboard.press("Escape")
    expect(page.locator("#keys")).to_be_hidden()
    assert page.evaluate("document.activeElement.textContent") == here
    page.keyboard.press("/")
    page.keyboard.type(GIANT)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/console/lots/{GIANT}")


def test_paper_is_light_whatever_the_screen_is(plant: Plant, visitor: Callable[..., Any]) -> None:
    person = visitor(plant.service.key)
    person.service = plant.service
    page = person.open(f"/console/lots/{GIANT}")
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    for hidden in (".bar", ".rooms", ".acts"):
        expect(page.locator(hidden).first).to_be_hidden()
    clipped = "[...document.querySelectorAll('.scroll')].filter(one => getComputedStyle(one).overflowX !== 'visible').length"
    assert page.evaluate(clipped) == 0
    page.emulate_media(media="screen")


def test_without_limits_nobody_says_that_no_result_is_outside() -> None:
    def outside(limits: measured._Limits | None, **what: Any) -> int | None:
        rows = [(ResultLine(1, "IL-1", b""), Measurement(characteristic="c", unit="mm", sample=1, **what))]
        return measured._characteristic("c", rows, limits, 10, 10).outside

    assert outside(None, value=Decimal(75)) is None
    assert outside(measured._Limits(Decimal(70), Decimal(80), "mm"), value=Decimal(75)) == 0
    assert outside(measured._Limits(Decimal(70), Decimal(72), "mm"), value=Decimal(75)) == 1
    assert outside(None, conforming=False) == 1
    assert outside(None, conforming=True) == 0


@given(st.floats(1e-6, 1e6), st.floats(-1e6, 1e6))
def test_lines_of_a_chart_that_are_drawn_apart_have_values_that_differ(span: float, least: float) -> None:
    places = charts._places(span)
    assert f"{least:.{places}f}" != f"{least + span / 4:.{places}f}"
    assert len(f"{span:.{places}f}") <= 10


@given(st.lists(st.decimals(-1000, 1000, places=3), min_size=1, max_size=900), st.integers(10, 200))
def test_of_many_results_the_smallest_and_the_largest_are_drawn(values: list[Decimal], most: int) -> None:
    drawn = measured._thinned(values, most)
    assert len(drawn) == min(most, len(values))
    assert (min(drawn), max(drawn)) == (min(values), max(values))
    assert not Counter(drawn) - Counter(values)


def test_a_page_of_reference_data_asks_once_for_all_of_it(tmp_path: Path) -> None:
    """However many records are on a page, and however many revisions they have."""
    store = open_store("", tmp_path)
    migrate(store)
    asked: list[str] = []
    event.listen(store.engine, "before_cursor_execute", lambda c, cursor, sql, *_: asked.append(sql))
    for _, columns, rows in filter(lambda one: one[0] == "reference", lists(50, 40, "2026-01-01T00:00:00.000000Z")):
        put(store, "reference", columns, rows)
    references = References(store, system_clock, dict, {})
    asked.clear()
    found, following = references.page("customer", "2026-06-01", None, "", 30)
    assert [row.key for row in found] == [f"CUSTOMER-{n:05}" for n in range(30)]
    assert following == "CUSTOMER-00029"
    assert len([sql for sql in asked if sql.startswith("SELECT")]) == 2
    (newest,), _ = references.page("customer", "2026-06-01", None, "CUSTOMER-00039", 30)
    assert (newest.key, newest.revision) == ("CUSTOMER-00041", 1_000)
    assert references.page("customer", "2025-06-01", None, "", 30)[0] == []
    store.close()

