"""The family of a lot as a drawing: all of it, nothing else, each box a way to its lot."""

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import expect

from api.console.graph import HEIGHT, WIDTH, drawn
from engine.tracing import Edge, Node, Trace
from tests.console.conftest import MAX_PAGE_BYTES
from tests.console.test_console_lots import submit

Make = Callable[..., dict[str, Any]]


def produced(lot: str, *inputs: str, order: str = "") -> dict[str, Any]:
    amount = {"value": "10", "unit": "ea"}
    data = {"item": "RING-74", "revision": "A", "quantity": amount, "order": order or f"MO/{lot}"[:64],
            "confirmation": f"C/{lot}"[:64], "inputs": [{"lot": one, "quantity": amount} for one in inputs]}  # fmt: skip
    return {"specversion": "1.0", "id": f"p-{lot}", "source": "mes", "type": "lot.produced.v1", "subject": lot,
            "data": data}  # fmt: skip


def boxes(service: Any, lot: str) -> set[str]:
    """Lots and orders of the family, by the API."""
    found: set[str] = set()
    for direction in ("backward", "forward"):
        trace = service.http.get(f"/v1/lots/{quote(lot, safe='')}/genealogy", params={"direction": direction}).json()
        found |= {node["id"] for node in trace["nodes"]}
    return found


def test_the_drawing_is_the_family_that_the_api_tells_and_leads_on(service: Any, visitor: Any, receipt: Make) -> None:
    raws = [submit(service, receipt(name, receipt=f"GR-{name}-{time.time_ns()}"))["lot"] for name in "abc"]
    middle, last = f"{raws[0]}-made", f"{raws[0]}-last"
    submit(service, produced(middle, *raws))
    submit(service, produced(last, middle, "NEVER-RECEIVED"))
    person = visitor()
    page = person.open(f"/console/lots/{quote(middle, safe='')}")
    shown = page.locator("#family svg.genealogy")
    assert set(shown.locator("a > title, g > title").all_text_contents()) == boxes(service, middle)
    expect(page.locator("#family")).to_contain_text(f"{len(raws) + 1} lots and orders that it was made of")
    expect(shown.locator("rect.me")).to_have_count(1)
    assert page.locator("#family li").count() >= 4, "and the nearest in words, for whoever sees no drawing"
    assert person.offences() == []
    assert person.transferred() < MAX_PAGE_BYTES
    link = shown.locator("a").nth(1)
    link.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/console/lots/**")
    expect(page.locator("#family svg.genealogy rect.me")).to_have_count(1)
    page = person.open(f"/console/lots/{quote(last, safe='')}/family")
    assert set(page.locator("svg.genealogy title").all_text_contents()) >= boxes(service, last)
    expect(page.locator("rect.stranger")).to_have_count(1)
    assert person.offences() == []


def test_a_large_family_is_drawn_up_to_a_bound_and_says_so(service: Any, visitor: Any, receipt: Make) -> None:
    raw = submit(service, receipt(receipt=f"GR-large-{time.time_ns()}"))["lot"]
    for number in range(130):
        submit(service, produced(f"{raw}-{number}", raw))
    person = visitor()
    page = person.open(f"/console/lots/{quote(raw, safe='')}")
    expect(page.locator("#family svg rect")).to_have_count(1 + 24)
    assert person.transferred() < MAX_PAGE_BYTES
    page.get_by_role("link", name="The whole family").click()
    expect(page.locator("svg rect")).to_have_count(1 + 100)
    page.get_by_role("link", name="Draw 250").click()
    expect(page.locator("svg rect")).to_have_count(len(boxes(service, raw)))
    began = time.monotonic()
    answer = service.http.get(f"/console/lots/{quote(raw, safe='')}/family?nodes=250")
    assert (answer.status_code, time.monotonic() - began < 1) == (200, True)
    assert len(answer.content) < MAX_PAGE_BYTES
    assert person.offences() == []


def test_a_lot_alone_has_no_drawing(service: Any, visitor: Any, receipt: Make) -> None:
    lot = submit(service, receipt(receipt=f"GR-alone-{time.time_ns()}"))["lot"]
    page = visitor().open(f"/console/lots/{quote(lot, safe='')}/family")
    expect(page.locator("#graph")).to_contain_text("Nothing that Lotgate knows of")
    assert service.http.get("/console/lots/no-such-lot/family").status_code == 404


@st.composite
def families(draw: Any) -> tuple[Trace, Trace]:
    """Any two traces of a lot, as walks make them: depths one by one, links between what was found."""

    def trace(direction: Any) -> Trace:
        depths = draw(st.lists(st.integers(1, 5), max_size=5))
        nodes = [Node("ME", "lot", 0, item="I", state="released")]
        for depth, number in enumerate(depths, 1):
            nodes += [Node(f"{direction[0]}{depth}-{n}", draw(st.sampled_from(["lot", "order"])), depth, item="I",
                           state="blocked") for n in range(number)]  # fmt: skip
        ends = [f"{node.kind}:{node.id}" for node in nodes]
        pairs = draw(st.lists(st.tuples(st.sampled_from(ends), st.sampled_from(ends)), max_size=20))
        return Trace(["ME"], direction, nodes, [Edge("input", a, b, "1", "ea") for a, b in pairs], None)

    return trace("backward"), trace("forward")


@given(families())
def test_no_two_boxes_lie_on_each_other_and_all_are_inside(family: tuple[Trace, Trace]) -> None:
    graph = drawn("ME", *family)
    ids = {node.id for trace in family for node in trace.nodes}
    if graph is None:
        assert ids == {"ME"}
        return
    assert {box.id for box in graph.boxes} == ids
    assert graph.before + graph.after + 1 == len(graph.boxes)
    for box in graph.boxes:
        assert 0 <= box.x <= graph.width - WIDTH
        assert 0 <= box.y <= graph.height - HEIGHT
    for number, one in enumerate(graph.boxes):
        for other in graph.boxes[number + 1 :]:
            assert abs(one.x - other.x) >= WIDTH or abs(one.y - other.y) >= HEIGHT
    left = {box.id for box in graph.boxes if box.x < next(b.x for b in graph.boxes if b.id == "ME")}
    assert left == {node.id for node in family[0].nodes if node.depth}


@pytest.mark.parametrize("words", ["<script>x</script>", "a" * 64])
def test_whatever_a_lot_is_called_it_is_drawn_as_text(service: Any, receipt: Make, words: str) -> None:
    raw = submit(service, receipt(words[:2].strip("<"), receipt=f"GR-{words[:2]}-{time.time_ns()}"))["lot"]
    made = produced(f"{raw}-{len(words)}", raw, order=words)
    submit(service, made)
    text = service.http.get(f"/console/lots/{quote(raw, safe='')}/family").text
    assert "<script>x" not in text
