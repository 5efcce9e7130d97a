"""Imports of reference data: row by row, however many, in both forms; a bad row spoils only itself."""

import io
import itertools
import json
import os
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.reference_rows import MAX_ROW_BYTES, MAX_ROWS_TOGETHER, CsvRecords, Read, _is_open
from engine.errors import EventInvalid
from tests.api.test_quality_http import PLAN

CSV, LINES = {"Content-Type": "text/csv"}, {"Accept": "application/x-ndjson"}
ORDERS = "key,effective_from,customer,status,lines.line,lines.item,lines.quantity.value,lines.quantity.unit\n"

#: LOTGATE_IMPORT_LINES=100000 for a real one.
LINES_OF_A_BULK = int(os.environ.get("LOTGATE_IMPORT_LINES", "20000"))


def read(kind: str, text: str | bytes, encoding: str = "utf-8", after: int = 0) -> list[Read]:
    body = text if isinstance(text, bytes) else text.encode(encoding)
    return list(CsvRecords(kind, io.BytesIO(body), encoding)(after))


def content(one: Read) -> Any:
    assert one.record is not None, one.detail
    return json.loads(bytes(one.record.content))


def load(service: Any, kind: str, body: str | bytes, **more: Any) -> list[dict[str, Any]]:
    """The lines of a streamed answer."""
    headers = CSV | LINES | more.pop("headers", {})
    answer = service.http.post(f"/v1/reference/{kind}/import", content=body, headers=headers, timeout=300, **more)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    return [json.loads(line) for line in answer.text.splitlines()]


def test_rows_of_one_order_are_its_lines() -> None:
    one, two = read("order", ORDERS + "SO-1,2026-01-01,BOLT,releasable,10,RING-74,5,ea\nSO-1,2026-01-01,,,20,RING-80,1.5,kg\n"
                    "SO-2,2026-01-01,NUT,blocked,10,RING-74,7,ea\n")  # fmt: skip
    assert content(one) == {
        "customer": "BOLT", "status": "releasable",
        "lines": [{"line": "10", "item": "RING-74", "quantity": {"value": "5", "unit": "ea"}},
                  {"line": "20", "item": "RING-80", "quantity": {"value": "1.5", "unit": "kg"}}],
    }  # fmt: skip
    assert (one.line, one.until, one.key, two.line, content(two)["status"]) == (2, 3, "SO-1", 4, "blocked")


def test_numbers_days_and_lists_of_plain_values_are_read_by_what_they_are() -> None:
    (one,) = read("customer", "key;effective_from;effective_until;remaining_days;plants\nBOLT;2026-01-01;2026-12-31;90;P1 | P2\n")
    assert content(one) == {"remaining_days": 90, "plants": ["P1", "P2"]}
    (plan,) = read("inspection-plan", "key,effective_from,item,characteristics.characteristic,characteristics.unit,"
                   "characteristics.lower,characteristics.upper,characteristics.sample_size\nIP,2026-01-01,RING-74,diameter,mm,73.95,74.05,5\n")  # fmt: skip
    assert content(plan)["characteristics"][0]["lower"] == "73.95"
    (gone,) = read("customer", "key,effective_from,withdrawn\nBOLT,2026-06-01,yes\n")
    assert content(gone) is None


def test_of_a_fact_the_other_columns_are_its_fields() -> None:
    (one,) = read("fact", "key,effective_from,kind,supplier,status,note\nF,2026-01-01,approval,FABCO,approved,\n")
    assert content(one) == {"kind": "approval", "fields": {"status": "approved"}, "supplier": "FABCO"}


@pytest.mark.parametrize(("row", "line", "words", "pointer"), [
    ("SO-1,soon,BOLT,releasable,10,RING-74,5,ea", 2, "date", "/effective_from"),
    (",2026-01-01,BOLT,releasable,10,RING-74,5,ea", 2, "key", ""),
    ("SO-1,2026-01-01,BOLT,maybe,10,RING-74,5,ea", 2, "maybe", "/content/status"),
    ("SO-1,2026-01-01,BOLT,releasable,10,RING-74,many,ea", 2, "decimal", "/content/lines/0/quantity/value"),
    ("SO-1,2026-01-01,BOLT,releasable,10,RING-74,5,ea\nSO-1,2026-01-01,,,20,,1,ea", 3, "item", "/content/lines/1"),
    ("SO-1,2026-01-01,BOLT,releasable,10,RING-74,5,ea\nSO-1,2026-01-01,NUT,,20,RING-74,1,ea", 3, "different", "/content/customer"),
    ("SO-1,2026-01-01,BOLT,releasable,10,RING-74,5,ea,more", 2, "9 cells", ""),
    ('SO-1,2026-01-01,"BOLT,releasable,10,RING-74,5,ea', 2, "not closed", ""),
])  # fmt: skip
def test_a_bad_row_says_where_and_why_and_spoils_only_itself(row: str, line: int, words: str, pointer: str) -> None:
    good = "SO-9,2026-01-01,BOLT,releasable,10,RING-74,5,ea\n"
    bad, nine = read("order", ORDERS + row + "\n" + good)
    assert (bad.record, bad.line, bad.pointer) == (None, line, pointer)
    assert words in bad.detail
    assert nine.key == "SO-9"
    assert nine.record is not None


@pytest.mark.parametrize(("header", "words"), [
    ("key,customer", "no column effective_from"), ("key,effective_from,colour", "a column colour"),
    ("key,key,effective_from", "key twice"), ("", "no column key"), ('"key', "no column"),
])  # fmt: skip
def test_a_header_that_does_not_fit_is_refused_with_what_there_is(header: str, words: str) -> None:
    with pytest.raises(EventInvalid) as refused:
        read("order", header + "\nx,y\n")
    assert words in refused.value.detail
    assert "lines.quantity.value" in refused.value.detail


def test_letters_of_older_systems_and_of_spreadsheets_are_read() -> None:
    text = "key,effective_from,plants\nMÜLLER,2026-01-01,\n"
    assert read("customer", text.encode("windows-1252"), "windows-1252")[0].key == "MÜLLER"
    assert read("customer", b"\xef\xbb\xbf" + text.encode())[0].key == "MÜLLER"
    wrong, fine = read("customer", text.encode("iso-8859-1") + b"OK,2026-01-01,\n")
    assert "not utf-8" in wrong.detail
    assert fine.key == "OK"


def test_a_row_may_go_over_lines_and_one_that_never_ends_costs_nothing_else() -> None:
    head = "key,effective_from,kind,supplier,note\n"
    one, two = read("fact", head + 'A,2026-01-01,n,S,"two\r\nlines, and ""marks"""\r\nB,2026-01-01,n,S,5" pipe\n')
    assert content(one)["fields"] == {"note": 'two\r\nlines, and "marks"'}
    assert (content(two)["fields"], two.line) == ({"note": '5" pipe'}, 4)
    rows = "".join(f"K{n},2026-01-01,n,S,x\n" for n in range(300))
    bad, *rest = read("fact", head + 'A,2026-01-01,n,S,"open\n' + rows)
    assert (bad.line, [one.key for one in rest]) == (2, [f"K{n}" for n in range(300)])
    long, after = read("fact", head + "A" * (MAX_ROW_BYTES + 10) + "\nB,2026-01-01,n,S,x\n")
    assert "longer" in long.detail
    assert (after.key, after.line) == ("B", 3)


@given(st.lists(st.lists(st.text(alphabet='ab," \n;', max_size=6), min_size=2, max_size=3), min_size=1, max_size=5))
def test_whatever_a_csv_writer_writes_is_split_into_its_rows(rows: list[list[str]]) -> None:
    import csv

    for row in rows:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(row)
        raw = text.getvalue().encode()
        assert not _is_open(raw, ",")
        physical = raw.splitlines(keepends=True)
        for end in range(1, len(physical)):
            assert _is_open(b"".join(physical[:end]), ",")


def test_too_many_rows_of_one_record_are_refused_and_the_next_one_is_read() -> None:
    rows = "".join(f"SO-1,2026-01-01,BOLT,releasable,{n},RING-74,5,ea\n" for n in range(MAX_ROWS_TOGETHER + 50))
    bad, good = read("order", ORDERS + rows + "SO-2,2026-01-01,BOLT,releasable,10,RING-74,5,ea\n")
    assert "More than" in bad.detail
    assert good.key == "SO-2"


def test_memory_does_not_grow_with_the_file() -> None:
    row = b"SO-%d,2026-01-01,BOLT,releasable,10,RING-74,5,ea\n"
    file = io.BytesIO(ORDERS.encode() + b"".join(row % n for n in range(30_000)))
    tracemalloc.start()
    number = sum(1 for _ in CsvRecords("order", file)())
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert number == 30_000
    assert most < 3_000_000


def test_an_import_of_csv_is_kept_and_the_same_again_changes_nothing(service: Any) -> None:
    text = ORDERS + "CSV-1,2026-01-01,BOLT,releasable,10,RING-74,5,ea\nCSV-2,2026-01-01,BOLT,maybe,10,RING-74,5,ea\n"
    path = "/v1/reference/order/import"
    trial = service.http.post(path, content=text, headers=CSV, params={"dry_run": "yes"}).json()
    assert (trial["checked"], trial["refused"], trial["created"]) == (1, 1, 0)
    assert service.http.get("/v1/reference/order/CSV-1").status_code == 404
    first = service.http.post(path, content=text, headers=CSV).json()
    assert [(line["line"], line["outcome"], line.get("pointer", "")) for line in first["lines"]] == [
        (2, "created", ""), (3, "refused", "/content/status")
    ]  # fmt: skip
    again = service.http.post(path, content=text, headers=CSV | {"Content-Type": "text/csv; charset=UTF-8"}).json()
    assert (again["unchanged"], again["created"]) == (1, 0)
    assert service.http.get("/v1/reference/order/CSV-1").json()["data"][0]["content"]["lines"][0]["quantity"]["value"] == "5"


@pytest.mark.parametrize(("headers", "params", "body", "status"), [
    ({"Content-Type": "application/json"}, {}, "{}", 415), ({"Content-Type": "text/csv; charset=utf-7"}, {}, "key", 415),
    (CSV, {}, "nonsense\n", 422), (CSV, {"after_line": "x"}, ORDERS, 400), (CSV, {"dry_run": "perhaps"}, ORDERS, 400),
    (CSV | LINES, {}, "nonsense\n", 422),
])  # fmt: skip
def test_what_is_no_import_is_refused_before_anything_is_kept(
    service: Any, headers: dict[str, str], params: dict[str, str], body: str, status: int
) -> None:
    answer = service.http.post("/v1/reference/order/import", content=body, headers=headers, params=params)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_more_than_one_answer_holds_is_streamed(service: Any) -> None:
    text = "key,effective_from,remaining_days\n" + "".join(f"S{n},2026-01-01,{n % 300}\n" for n in range(5_001))
    answer = service.http.post("/v1/reference/customer/import", content=text, headers=CSV)
    assert answer.status_code == 422
    assert "application/x-ndjson" in answer.json()["detail"]
    lines = "".join(json.dumps({"key": "NDJ", "effective_from": "2026-01-01", "content": PLAN | {"supplier": "NDJ"}}) + "\n" for _ in range(2))
    told = load(service, "inspection-plan", lines + "{\n", headers={"Content-Type": "application/x-ndjson"})
    assert told[-1] == {"created": 1, "unchanged": 1, "checked": 0, "refused": 1, "lines": []}
    assert [line["line"] for line in told[:-1]] == [3]


def test_many_lines_with_every_tenth_bad_are_applied_and_gone_on_with(service: Any) -> None:
    rows = LINES_OF_A_BULK

    def row(n: int) -> str:
        return f"BULK-{n},2026-01-01,{'many' if n % 10 == 0 else n % 300}\n"

    text = "key,effective_from,remaining_days\n" + "".join(map(row, range(rows)))
    # The first try is broken off by the caller while it runs.
    seen: list[dict[str, Any]] = []
    with service.http.stream("POST", "/v1/reference/customer/import", content=text, headers=CSV | LINES, timeout=300) as answer:
        for line in answer.iter_lines():
            seen.append(json.loads(line))
            if sum(one.get("outcome") == "kept" for one in seen) == 3:
                break
    kept = max(one["line"] for one in seen if one["outcome"] == "kept")
    assert 3_000 <= kept < rows
    time.sleep(0.3)
    started = time.monotonic()
    told = load(service, "customer", text, params={"after_line": str(kept)})
    seconds = time.monotonic() - started
    print(f"\n{rows - kept} lines in {seconds:.1f} s, {(rows - kept) / seconds:.0f} lines/s")
    sums, bad = told[-1], [one for one in told[:-1] if one["outcome"] == "refused"]
    # Line 1 is the header: row n stands in line n + 2, and those behind the last line that was seen are done again.
    wrong = [n for n in range(rows) if n % 10 == 0]
    assert [one["line"] for one in bad] == [n + 2 for n in wrong if n + 2 > kept]
    assert {one["pointer"] for one in bad} == {"/content/remaining_days"}
    assert bad[0]["key"] == f"BULK-{bad[0]['line'] - 2}"
    early = [one["line"] for one in seen if one["outcome"] == "refused"]
    assert sorted({*early, *(one["line"] for one in bad)}) == [n + 2 for n in wrong], "every bad line was told"
    assert sums["refused"] == len(bad)
    assert sums["created"] + sums["unchanged"] == rows - (kept - 1) - len(bad)
    assert service.http.get(f"/v1/reference/customer/BULK-{rows - 1}").json()["data"][0]["revision"] == 1
    keys = itertools.islice((n for n in range(rows) if n % 10), 0, rows, 9_973)
    assert all(service.http.get(f"/v1/reference/customer/BULK-{n}").status_code == 200 for n in keys)

