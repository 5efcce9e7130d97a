"""Tables inline and from CSV files that a spreadsheet exported; thousands of rows."""

import time
from typing import Any

import pytest

from rules.findings import RulePackError
from rules.rulebook import Case

INLINE = """\
  columns: [item, characteristic, lower, upper]
  rows:
    - [RM-1, ph, 6.0, 7.5]
    - [RM-1, viscosity, 80, 120]
    - [RM-2, assay, 98.50, ~]
"""
DAY = 739_676


def verdict(small_plant: Any, csv: str, value: str, characteristic: str = "ph") -> str:
    book = small_plant.book(small_plant.rules.replace(INLINE, "  csv: limits.csv\n"), limits__csv=csv)
    facts = small_plant.facts(
        book, lot={"id": "L", "item": "RM-1"}, result=[{"characteristic": characteristic, "value": value}]
    )
    found: str = {v.rule: v.verdict.value for v in book.judge(Case("release", facts, DAY)).verdicts}["R-1"]
    return found


@pytest.mark.parametrize(
    "csv",
    [
        "item,characteristic,lower,upper\nRM-1,ph,6.0,7.5\n",
        "item;characteristic;lower;upper\r\nRM-1;ph;6.0;7.5\r\n",
        '"item","characteristic","lower","upper"\n"RM-1","ph","6.0","7.5"\n',
        "# limits of 2026\nitem, characteristic, lower, upper\nRM-1, ph, 6.0, 7.5\n\n",
        "item,characteristic,lower,upper\nRM-1,ph,6.0,7.5",
    ],
    ids=["commas", "semicolons, Windows", "quotes", "comments and blanks", "no last line end"],
)
def test_a_spreadsheets_export_is_a_table(small_plant: Any, csv: str) -> None:
    assert verdict(small_plant, csv, "7.5") == "pass"
    assert verdict(small_plant, csv, "7.500001") == "fail"
    assert verdict(small_plant, csv, "7", "colour") == "unknown"


def test_an_empty_cell_is_no_limit(small_plant: Any) -> None:
    csv = "item,characteristic,lower,upper\nRM-1,ph,,7.5\n"
    assert verdict(small_plant, csv, "-1000") == "pass"
    assert verdict(small_plant, csv, "8") == "fail"


@pytest.mark.parametrize(
    ("csv", "finding"),
    [
        ("item;characteristic;lower;upper\nRM-1;ph;6,0;7,5\n", 'limits.csv:2:3: error: table spec_limits, column lower: "6,0"'),
        ("item,characteristic,lower,upper\nRM-1,ph,6.0\n", "limits.csv:2:1: error: table spec_limits: this row has 3 cells"),
        ("item,characteristic,lower,upper\nRM-1,ph,1,2\nRM-1,ph,1,2\n", "limits.csv:3:1: error: table spec_limits: this row"),
        ("item,characteristic,lower,upper\nRM-1,ph,9,2\n", "limits.csv:2:1: error: table spec_limits: the lower limit 9"),
        ("item,charac,lower,upper\nRM-1,ph,1,2\n", 'matches on "characteristic", which is not one of its columns'),
        ("item,characteristic,low,upper\nRM-1,ph,1,2\n", 'table spec_limits has no column "lower"'),
        ("", "the file limits.csv is empty"),
    ],
)
def test_a_wrong_cell_is_named_by_line_and_cell(small_plant: Any, csv: str, finding: str) -> None:
    with pytest.raises(RulePackError) as caught:
        verdict(small_plant, csv, "7")
    assert finding in str(caught.value)


@pytest.mark.parametrize("name", ["other.csv", "../limits.csv", "limits.xlsx", "/etc/passwd"])
def test_only_a_csv_file_beside_the_rule_file_is_read(small_plant: Any, name: str) -> None:
    with pytest.raises(RulePackError) as caught:
        small_plant.book(small_plant.rules.replace(INLINE, f"  csv: {name}\n"), limits__csv="item\n")
    assert "beside this one" in str(caught.value)


def test_a_hundred_thousand_rows_cost_one_look(small_plant: Any) -> None:
    rows = "".join(f"I-{n},ph,{n % 7},{n % 7 + 1}\n" for n in range(100_000))
    csv = "item,characteristic,lower,upper\nRM-1,ph,6.0,7.5\n" + rows
    book = small_plant.book(small_plant.rules.replace(INLINE, "  csv: limits.csv\n"), limits__csv=csv)
    lots = [{"id": "L", "item": f"I-{n}"} for n in range(0, 100_000, 100)]
    started = time.perf_counter()
    for lot in lots:
        low = int(lot["item"][2:]) % 7
        for value, expected in ((low, "pass"), (low + 2, "fail")):
            facts = {"lot": [lot], "result": [{"characteristic": "ph", "value": value * 1_000_000}]}
            assert {v.rule: v.verdict.value for v in book.judge(Case("release", facts, DAY)).verdicts}["R-1"] == expected
    assert time.perf_counter() - started < 5  # a look through all rows would take minutes
