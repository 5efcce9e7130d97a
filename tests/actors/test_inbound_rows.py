"""Inbound files are checked with line and column; a row becomes what its file says, or says why not."""

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as modest
from hypothesis import strategies as st

from actors.connectors.format import ConnectorInvalid
from actors.inbound.format import Inbound, load
from actors.inbound.rows import Cell, RecordRow, Row, RowWrong, become, grouped
from engine import events as ev
from engine.settings import Settings, load_settings

BERLIN = ZoneInfo("Europe/Berlin")
LAB: dict[str, Any] = {
    "inbound": 1, "name": "one", "kind": "drop", "decimal": ",", "thousands": ".",
    "drop": {"folder": "lab-drop", "files": "*.csv", "settle_s": 0},
    "table": {"format": "csv", "delimiter": ";"},
    "columns": {
        "Charge": "text", "Nr": "text", "Merkmal": "text", "Wert": "decimal", "Einheit": "text",
        "Zeit": {"type": "time", "format": "%d.%m.%Y %H:%M"}, "OK": {"type": "yes_no", "yes": ["iO"], "no": ["niO"]},
    },
    "event": {
        "type": "inspection.recorded.v1", "source": "lims/lab-1", "subject": "${Charge}", "time": "${Zeit}",
        "data": {
            "inspection": "IL-${Charge}", "record": "${Nr}",
            "measurements": [{"characteristic": "${Merkmal}", "value": "${Wert}", "unit": "${Einheit}",
                              "conforming": "${OK}"}],
        },
    },
}  # fmt: skip
FACTS: dict[str, Any] = {
    "inbound": 1, "name": "approved", "kind": "drop", "drop": {"folder": "x"},
    "columns": {"supplier": "text", "approved": "yes_no", "since": {"type": "date", "format": "%d.%m.%Y"}},
    "record": {
        "kind": "fact", "key": "${supplier}", "effective_from": "${since}",
        "content": {"kind": "supplier", "supplier": "${supplier}", "fields": {"approved": "${approved}"}},
    },
}  # fmt: skip


def changed(tree: dict[str, Any], **parts: Any) -> dict[str, Any]:
    return {**tree, **{n: {**tree.get(n, {}), **v} if isinstance(v, dict) else v for n, v in parts.items()}}


@pytest.fixture
def loaded(tmp_path: Path) -> Callable[..., Inbound]:
    def load_it(tree: dict[str, Any], settings: Settings | None = None, **parts: Any) -> Inbound:
        path = tmp_path / f"{tree['name']}.yaml"
        path.write_text(yaml.safe_dump(changed(tree, **parts), sort_keys=False, allow_unicode=True))
        return load(path, settings or load_settings({}))

    return load_it


def row(**cells: Cell) -> Row:
    return Row(2, dict(cells))


def whole(**changes: Cell) -> Row:
    cells: dict[str, Cell] = {"Charge": "L-1", "Nr": "R-7", "Merkmal": "diameter", "Wert": "74,002", "Einheit": "mm",
                              "Zeit": "23.11.2026 09:30", "OK": ""}  # fmt: skip
    return Row(2, cells | changes)


def test_a_row_becomes_an_event_with_exact_decimals_and_the_plants_time(loaded: Callable[..., Inbound]) -> None:
    event = become(loaded(LAB), whole(), timezone=BERLIN)
    assert isinstance(event, ev.InspectionRecorded)
    (measured,) = event.data.measurements
    assert (measured.value, measured.unit, measured.conforming) == (Decimal("74.002"), "mm", None)
    assert event.time == datetime.fromisoformat("2026-11-23T08:30:00+00:00")
    assert (event.subject, event.data.inspection, event.source) == ("L-1", "IL-L-1", "lims/lab-1")


def test_the_same_row_has_the_same_id_and_another_document_another(loaded: Callable[..., Inbound]) -> None:
    inbound = loaded(LAB)
    first, again = become(inbound, whole(), timezone=BERLIN), become(inbound, whole(), timezone=BERLIN)
    corrected, other = become(inbound, whole(Wert="74,003"), timezone=BERLIN), become(inbound, whole(Nr="R-8"), timezone=BERLIN)
    assert all(isinstance(e, ev.Event) for e in (first, again, corrected, other))
    ids = [e.id for e in (first, again, corrected, other) if isinstance(e, ev.Event)]
    # The document says who it is: other content under its number is found out as such, and not taken beside it.
    assert ids[0] == ids[1] == ids[2] != ids[3]
    without = [become(inbound, whole(Nr="", Wert=wert), timezone=BERLIN) for wert in ("74,002", "74,002", "74,003")]
    ids = [e.id for e in without if isinstance(e, ev.Event)]
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize(
    ("column", "said", "words"),
    [
        ("Wert", "74.5", "'74.5' is no number with '.' between thousands"),
        ("Wert", "1,2,3", "is no number with the decimal sign ','"),
        ("Wert", "NaN", "is no number"),
        ("Wert", "٧٤", "is no number"),
        ("Wert", "1,1234567", "more than 6 decimal places"),
        ("Zeit", "11/23/2026 09:30", "is no instant like %d.%m.%Y %H:%M"),
        ("OK", "vielleicht", "is neither yes (iO) nor no (niO)"),
        ("Charge", "", "needs a value"),
        ("Charge", "L\x07", "Control characters"),
        ("Merkmal", "", "missing required field"),
    ],
)
def test_a_row_that_cannot_be_used_says_why(
    loaded: Callable[..., Inbound], column: str, said: str, words: str
) -> None:
    with pytest.raises(RowWrong) as error:
        become(loaded(LAB), whole(**{column: said}), timezone=BERLIN)
    assert words in error.value.detail


def test_thousands_are_left_away_where_the_file_says_so(loaded: Callable[..., Inbound]) -> None:
    event = become(loaded(LAB), whole(Wert="1.074,5"), timezone=BERLIN)
    assert isinstance(event, ev.InspectionRecorded)
    assert event.data.measurements[0].value == Decimal("1074.5")


def test_a_part_of_which_every_column_is_empty_is_left_out(loaded: Callable[..., Inbound]) -> None:
    """A sheet with a column a characteristic: what was not measured is no measurement."""
    inbound = loaded(
        LAB, columns={"d": "decimal", "h": "decimal"},
        event={"data": {"inspection": "IL-1", "record": "${Nr}", "measurements": [
            {"characteristic": "diameter", "value": "${d}", "unit": "mm"},
            {"characteristic": "height", "value": "${h}", "unit": "mm"}]}},
    )  # fmt: skip
    event = become(inbound, whole(d="5,1", h=" "), timezone=BERLIN)
    assert isinstance(event, ev.InspectionRecorded)
    assert [m.characteristic for m in event.data.measurements] == ["diameter"]


def test_rows_that_belong_together_are_one_event(loaded: Callable[..., Inbound]) -> None:
    """A laboratory's record has several results, a row each, under one number."""
    inbound = loaded(LAB, group_by=["Charge", "Nr"])
    rows = [whole(), whole(Merkmal="height", Wert="5,1", Zeit=""), whole(), whole(Nr="R-8")]
    groups = grouped(inbound, rows)
    assert [len(group) for group in groups] == [3, 1]
    event = become(inbound, *groups[0], timezone=BERLIN)
    assert isinstance(event, ev.InspectionRecorded)
    assert [(m.characteristic, str(m.value)) for m in event.data.measurements] == [
        ("diameter", "74.002"), ("height", "5.1"),
    ]  # fmt: skip
    assert event.id == become(inbound, *groups[0], timezone=BERLIN).id  # type: ignore[union-attr]
    with pytest.raises(RowWrong, match="say different things: '2026-11-23T08:30:00Z', '2026-11-23T09:30:00Z'"):
        become(inbound, whole(), whole(Zeit="23.11.2026 10:30"), timezone=BERLIN)


def test_a_row_becomes_a_record_with_its_first_day(loaded: Callable[..., Inbound]) -> None:
    made = become(loaded(FACTS), row(supplier="ACME", approved="yes", since="01.10.2026"), timezone=BERLIN)
    assert isinstance(made, RecordRow)
    assert (made.key, made.effective_from) == ("ACME", date(2026, 10, 1))
    assert b'"approved":true' in bytes(made.content)
    with pytest.raises(RowWrong, match="from which day on"):
        become(loaded(FACTS), row(supplier="ACME", approved="yes", since=""), timezone=BERLIN)


@modest(max_examples=60, deadline=None)
@given(st.decimals(min_value=-(10**8), max_value=10**8, places=4, allow_nan=False, allow_infinity=False))
def test_every_number_is_read_as_it_was_written(value: Decimal) -> None:
    inbound = Inbound(1, "n", "drop", {"n": "decimal"}, decimal=",", thousands=".")
    written = f"{value:,f}".replace(",", "_").replace(".", ",").replace("_", ".")
    from actors.inbound.rows import _read

    assert Decimal(_read(inbound, "n", inbound.column("n"), written, BERLIN)) == value


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"kind": "pull"}, "one.yaml:3:1: kind: a pull needs a part pull:"),
    ({"event": {"type": "inspection.recorded.v2"}}, "is inspection.recorded.v1 meant?"),
    ({"event": {"subject": "${charge}"}}, "${charge} is no column; is Charge meant?"),
    ({"event": {"subject": "${Charge"}}, "a ${ is not closed"),
    ({"event": {"data": {"inspektion": "x"}}}, "there is no inspektion in it; is inspection meant?"),
    ({"event": {"data": {"inspection": "x"}}}, "lacks measurements"),
    ({"thousands": ","}, "thousands: is the same as decimal"),
    ({"columns": {"Zeit": {"type": "time", "format": "%H:%M"}}}, "does not give year, month and day"),
    ({"columns": {"Wert": "number"}}, "Invalid enum value 'number'"),
    ({"table": {"encoding": "klingon"}}, "there is no encoding klingon"),
    ({"table": {"format": "fixed"}}, "a fixed-width file needs its columns"),
    ({"record": FACTS["record"]}, "say what a row becomes: either event: or record:"),
    ({"daily_at": "02:30"}, "is for a pull"),
    ({"secrets": {"a": "b"}}, "secrets are never written here"),
    ({"group_by": ["charge"]}, "group_by: charge is no column"),
    ({"drop": {"fodler": "x"}}, "unknown field `fodler`"),
]


@pytest.mark.parametrize(("change", "words"), MISTAKES, ids=[words for _, words in MISTAKES])
def test_a_mistake_is_named_with_its_place(
    loaded: Callable[..., Inbound], change: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConnectorInvalid) as error:
        loaded(LAB, **change)
    assert words in error.value.detail
    assert error.value.detail.startswith("one.yaml:")
