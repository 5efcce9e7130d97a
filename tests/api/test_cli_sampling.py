"""``lotgate sampling --double`` says the plan of two samples, and what it cannot say."""

import json

import pytest

from api.cli.main import main


def test_a_double_plan_and_its_curve(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sampling", "plan", "--lot-size", "3200", "--aql", "1.0", "--double", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["sample_size"], found["first_accept"], found["first_reject"], found["second_accept"]) == (80, 1, 4, 4)
    assert main(["sampling", "curve", "--lot-size", "3200", "--aql", "1.0", "--double"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("n 80 and 80, Ac 1 and 4\n")
    assert "units on average" in out


def test_where_the_tables_refer_to_the_single_plan_that_is_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sampling", "plan", "--lot-size", "90", "--aql", "1.0", "--double"]) == 0
    assert "inspect 13 of 90" in capsys.readouterr().out


@pytest.mark.parametrize("more", [["table", "--aql", "1.0"], ["plan", "--lot-size", "90", "--limiting-quality", "5"],
                                  ["plan", "--lot-size", "3200", "--aql", "1.0", "--severity", "reduced"],
                                  ["plan", "--aql", "1.0"]])  # fmt: skip
def test_a_double_plan_that_there_is_not_is_refused(more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sampling", *more, "--double"]) != 0
    assert capsys.readouterr().err
