"""Expressions of connector files: what they give, what they refuse, and that nothing is left unrendered."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.connectors.answers import NAMES
from actors.connectors.expressions import (
    FUNCTIONS,
    STANDARD,
    ExpressionFailed,
    compiled,
    render,
    render_path,
    shown,
    template,
)
from actors.connectors.format import STEP_NAMES

STOCK = {"rows": [{"id": 1, "at": "Q", "n": 2.5}, {"id": 2, "at": "Q", "n": 3}, {"id": 3, "at": "F", "n": 0}]}


@pytest.mark.parametrize(("text", "value"), [
    ("rows.filter(r, r.n > 0).map(r, r.id)", [1, 2]), ("pairs(rows.map(r, [r.at, r.n]))", {"Q": 5.5, "F": 0.0}),
    ("first(rows.filter(r, r.at == 'X')) == null", True), ("first(rows).id", 1), ("sum(rows.map(r, r.n))", 5.5),
    ("sum([1, 'two'])", None), ("number('2.50')", 2.5), ("number('x')", None), ("pairs(7)", {"7": None}), ("pairs([['a', 1], ['a', 'x'], ['b', 2]])", {"a": None, "b": 2.0}),
    ("odata(\"O'Neil\")", "O''Neil"), ("milliseconds('2026-11-27')", 1_795_737_600_000), ("milliseconds('soon')", None),
    ("json({'a': [1]})", '{"a":[1]}'), ("b64json([])", "W10="), ("has(rows[0].id) && !has(rows[0].nothing)", True),
    ("guid('a') == guid('a') && guid('a') != guid('b') && size(guid('a')) == 32", True), ("'}' + '${'", "}${"),
])  # fmt: skip
def test_what_an_expression_gives(text: str, value: Any) -> None:
    assert compiled(text)(STOCK) == value


@pytest.mark.parametrize(("text", "said"), [
    ("rows +", "is no expression"), ("", "1 to 2000 characters"), ("x" * 2001, "1 to 2000 characters"),
    ("__import__('os').system('x')", None), ("rows.__class__", None), ("(lambda: 1)()", "is no expression"),
    ("'\ud800'", None),
])  # fmt: skip
def test_what_is_no_expression_is_told_and_nothing_leads_out(text: str, said: str | None) -> None:
    if said is not None:
        with pytest.raises(ValueError, match=said):
            compiled(text)
        return
    with pytest.raises((ValueError, ExpressionFailed)):
        compiled(text)(STOCK)


@pytest.mark.parametrize("text", ["rows[9]", "nothing", "rows.nothing", "rows[0].nothing", "1 / 0", "first(rows) + 1", "int('x')"])
def test_what_it_was_not_made_for_is_told(text: str) -> None:
    with pytest.raises(ExpressionFailed, match=r".+: .+"):
        compiled(text)(STOCK)


def test_unknown_names_and_functions_are_found_without_values() -> None:
    words = list(compiled("lots.map(l, l.id + off) + frist(rows)").unknown(frozenset({"rows"})))
    assert [w.partition(";")[0] for w in words] == [
        "lots is not known", "off is not known", "there is no function frist",
    ]  # fmt: skip


def test_no_function_of_ours_hides_a_name_or_one_of_the_language() -> None:
    assert set(FUNCTIONS).isdisjoint({*NAMES, *STEP_NAMES, "secret", "login"} | STANDARD)


@pytest.mark.parametrize(("text", "value"), [
    ("${rows[1].id}", 2), ("n${rows[1].id}n", "n2n"), ("${rows.filter(r, {'a': r.n > 2.0}['a']).map(r, r.id)}", [1, 2]),
    ("a ${'}'} b ${'${'} c", "a } b ${ c"), ("no braces", "no braces"), ("$ {rows}", "$ {rows}"), ("${ 1 }${2.0}", "12"),
    ("${rows[0].n > 1.0}", True), ("so ${rows[0].n > 1.0}", "so true"), ("${null}", None),
])  # fmt: skip
def test_text_with_expressions(text: str, value: Any) -> None:
    assert render(text, STOCK) == value


@pytest.mark.parametrize("text", ["${", "a ${rows", "${'}", "${{'a': 1}", "${}", "${ }", "${rows}${"])
def test_what_is_not_closed_is_no_text(text: str) -> None:
    with pytest.raises(ValueError, match=r"not closed|characters|no expression"):
        template(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(JSON)
def test_a_value_that_stands_alone_comes_through_as_it_is(value: Any) -> None:
    assert json.loads(json.dumps(render({"x": ["${it}"]}, {"it": value}))) == {"x": [value]}


@settings(max_examples=200, deadline=None)
@given(st.text(), st.lists(st.text(), max_size=3))
def test_no_value_can_leave_its_place_in_an_address(value: str, many: list[str]) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        return
    if not value:
        with pytest.raises(ExpressionFailed, match="empty part"):
            render_path("/a/${it}/b", {}, {"it": value})
        return
    path = render_path("/a/${it}/b", {"q": "${it}", "many": "${many}", "none": "${null}"}, {"it": value, "many": many})
    parts = urlsplit(path)
    assert parts.path.count("/") == 3
    assert "/../" not in parts.path
    assert "/./" not in parts.path
    assert unquote(parts.path) == f"/a/{value}/b"
    assert parse_qsl(parts.query, keep_blank_values=True) == [("q", value), *(("many", one) for one in many)]


def test_one_expression_serves_many_threads() -> None:
    def run(number: int) -> float:
        rows = [{"at": "Q", "n": number}] * 20
        return float(compiled("pairs(rows.map(r, [r.at, r.n]))")({"rows": rows})["Q"])

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(run, range(500))) == [20.0 * number for number in range(500)]


@pytest.mark.parametrize(("value", "text"), [(2.0, "2"), (2.5, "2.5"), (1e300, "1e300"), (True, "true"), ([1], "[1]"), (None, "null")])
def test_values_as_text(value: Any, text: str) -> None:
    assert shown(value) == text
