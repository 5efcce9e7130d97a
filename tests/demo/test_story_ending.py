"""The story ends with the truth: what agrees, what does not, and why it could not be told."""

import io
import json
import socket
from typing import Any

import pytest

from demo.agreement import Shown
from demo.report import Refused, Report, Seconds, write_json, write_tables
from demo.story import run_story

LOT = {"id": "L", "version": 4, "state": "released", "quantity": "500", "unit": "ea"}
ERP = {
    "version": 3, "stock": "unrestricted", "state": "released", "quantity": "500.0",
    "applied_at": "2026-11-23T08:00:01.500000Z",
}  # fmt: skip
WMS = {
    "revision_no": 3, "status": "AVAILABLE", "allocatable": True, "pick": True, "ship": True,
    "applied_at": "2026-11-23T08:00:01.250000Z",
}  # fmt: skip
REPORT = Report(
    run="r1",
    events=3,
    answers={"applied": 2, "refused: gate-failed": 1},
    lots_by_state={"released": 1, "blocked": 1},
    refused=[
        Refused("r1-A", "lot.released.v1", "gate-failed", "release", ["supplier-approved: BADCO is not"], "")
    ],
    held=[],
    deliveries={"erp": {"delivered": 2}, "wms": {"delivered": 1, "pending": 1}},
    seconds_to_agreement=Seconds(1, 0.02, 0.03, 0.04),
    lots=2,
    lots_that_agree=1,
    disagreeing=["r1-A"],
)


def test_a_lot_agrees_when_both_targets_show_what_lotgate_decided() -> None:
    assert Shown(LOT, ERP, WMS).agree()


@pytest.mark.parametrize(
    ("erp", "wms"),
    [
        ({"stock": "quality"}, {}), ({"state": "inspected"}, {}), ({"quantity": "499"}, {}),
        ({"version": 2}, {}), ({}, {"status": "QUALITY"}),
        ({}, {"pick": False}), ({}, {"allocatable": False}),
    ],
)  # fmt: skip
def test_a_lot_disagrees_when_one_target_shows_anything_else(
    erp: dict[str, Any], wms: dict[str, Any]
) -> None:
    assert not Shown(LOT, {**ERP, **erp}, {**WMS, **wms}).agree()


def test_a_lot_that_a_target_does_not_know_disagrees() -> None:
    assert not Shown(LOT, None, WMS).agree()
    assert not Shown(LOT, ERP, None).agree()


def test_the_time_to_agreement_runs_from_the_commit_to_the_later_target() -> None:
    journal = [
        {"version": 3, "recorded_at": "2026-11-23T08:00:01.000000Z"},
        {"version": 4, "recorded_at": "2026-11-23T08:00:09.000000Z"},  # a refused attempt: nothing to tell
    ]
    assert Shown(LOT, ERP, WMS).seconds(journal) == 0.5
    assert Shown(LOT, ERP, WMS).seconds(journal[1:]) is None


def test_percentiles_are_values_that_were_measured() -> None:
    assert Seconds.of([]) is None
    assert Seconds.of([0.3]) == Seconds(1, 0.3, 0.3, 0.3)
    assert Seconds.of([n / 100 for n in range(100, 0, -1)]) == Seconds(100, 0.5, 0.95, 1.0)


def test_the_tables_name_the_rule_that_refused_and_end_with_the_count() -> None:
    out = io.StringIO()
    write_tables(REPORT, out)
    lines = out.getvalue().splitlines()
    assert lines[-1] == "ERP and WMS agree with Lotgate on 1 of 2 lots"
    assert any("r1-A" in line and "supplier-approved: BADCO is not" in line for line in lines)
    assert any("wms" in line and "1" in line for line in lines)


def test_json_has_the_same_figures() -> None:
    out = io.StringIO()
    write_json(REPORT, out)
    told = json.loads(out.getvalue())
    assert (told["lots"], told["lots_that_agree"], told["deliveries"]["wms"]["pending"]) == (2, 1, 1)


def test_a_service_that_does_not_run_is_told_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url, out = f"http://127.0.0.1:{port}", io.StringIO()
    code = run_story(base_url=url, api_key="k", erp_url=url, wms_url=url, lots=3, as_json=False, out=out)
    error = capsys.readouterr().err
    assert (code, out.getvalue()) == (1, "")
    assert error.startswith(f"The demo stopped: Lotgate does not answer at {url}")
    assert error.endswith("Start it with `lotgate up`.\n")
    assert error.count("\n") == 1


@pytest.mark.parametrize("lots", [0, -1])
def test_a_story_without_lots_is_refused(lots: int, capsys: pytest.CaptureFixture[str]) -> None:
    url, out = "http://127.0.0.1:1", io.StringIO()
    assert (
        run_story(base_url=url, api_key="k", erp_url=url, wms_url=url, lots=lots, as_json=True, out=out) == 2
    )
    assert capsys.readouterr().err == "The demo stopped: it needs at least 1 lot.\n"
