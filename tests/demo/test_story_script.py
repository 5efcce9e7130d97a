"""The story's events are the product's events, made of the published measurements."""

from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from itertools import chain
from statistics import mean, stdev
from typing import Any

import msgspec

from demo.measured import measured_lots
from demo.script import Author, Scene
from engine.decoding import decode_event
from engine.events import InspectionRecorded, LotReceived

AUTHOR = Author("run-1", datetime(2026, 11, 23, 8, tzinfo=UTC))


def values(item: str) -> list[list[float]]:
    lots = [lot for lot in measured_lots() if lot.item == item]
    return [[float(m.value) for m in lot.measurements] for lot in lots]


def events(scenes: list[Scene]) -> list[dict[str, Any]]:
    return list(chain.from_iterable((*s.goods_in, *s.results, *s.decisions) for s in scenes))


def test_the_piston_rings_are_those_of_montgomery() -> None:
    """Centre line 74.001176 mm from the first 25 subgroups (qcc, data set pistonrings)."""
    rings = values("RING-74")
    assert len(rings) == 40
    assert round(mean(chain.from_iterable(rings[:25])), 6) == 74.001176


def test_the_flow_widths_are_those_of_tables_6_1_and_6_2() -> None:
    """Grand mean 1.5056 and mean range 0.32517 micron (Montgomery, 8th edition, Table 6.1)."""
    flow = values("WAFER-FLOW")
    assert len(flow) == 45
    assert round(mean(chain.from_iterable(flow[:25])), 4) == 1.5056
    assert round(mean(max(lot) - min(lot) for lot in flow[:25]), 5) == 0.32517


def test_the_bottles_are_those_of_six_sigma_with_r() -> None:
    """n 20, mean 749.7625 ml, s 2.104196 ml (SixSigma, data set ss.data.ca)."""
    bottles = list(chain.from_iterable(values("BOTTLE-VOL")))
    assert (len(bottles), round(mean(bottles), 4), round(stdev(bottles), 6)) == (20, 749.7625, 2.104196)


def test_the_boiler_has_eight_temperatures_in_each_of_25_readings() -> None:
    boilers = values("BOILER-8")
    assert [len(reading) for reading in boilers] == [8] * 25
    assert boilers[0] == [507, 516, 527, 516, 499, 512, 472, 477]


def test_every_event_of_the_story_fits_the_taxonomy_and_keeps_its_decimals() -> None:
    lots = measured_lots()
    scenes = AUTHOR.scenes(lots)
    decoded = [decode_event(msgspec.json.encode(event)) for event in events(scenes)]
    assert {type(event) for event in decoded} >= {LotReceived, InspectionRecorded}
    sent = [m.value for e in decoded if isinstance(e, InspectionRecorded) for m in e.data.measurements]
    measured = [Decimal(m.value) for lot in lots for m in lot.measurements]
    again = [Decimal(m.value) for m in lots[0].measurements] * 2  # the unapproved and the outlived lot
    assert Counter(sent) == Counter(measured + again)
    hold, release = AUTHOR.hold("L"), AUTHOR.release("L", "1")
    assert decode_event(msgspec.json.encode(hold)).trigger == "hold"
    assert decode_event(msgspec.json.encode(release)).trigger == "release"


def test_only_scanner_retries_repeat_an_event_id_and_they_repeat_it_whole() -> None:
    sent = events(AUTHOR.scenes(measured_lots()))
    by_id = {event["id"]: event for event in sent}
    assert all(by_id[event["id"]] == event for event in sent)
    repeated = [identity for identity, count in Counter(event["id"] for event in sent).items() if count > 1]
    assert len(repeated) == 3
    assert all(identity.endswith("-receipt") for identity in repeated)


def test_two_runs_share_no_lot_and_no_event() -> None:
    lots = measured_lots()
    first = events(AUTHOR.scenes(lots))
    second = events(Author("run-2", AUTHOR.now).scenes(lots))
    for name in ("id", "subject"):
        assert not {event[name] for event in first} & {event[name] for event in second}


def test_one_result_comes_before_its_goods() -> None:
    scenes = AUTHOR.scenes(measured_lots())
    early = [scene for scene in scenes if scene.goods_in[0]["type"] == "inspection.recorded.v1"]
    assert len(early) == 1
    assert early[0].goods_in[1]["type"] == "lot.received.v1"
