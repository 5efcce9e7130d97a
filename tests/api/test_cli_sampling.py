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


def test_a_reduced_double_plan_says_what_is_between(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sampling", "plan", "--lot-size", "3200", "--aql", "1.0", "--double", "--severity", "reduced"]) == 0
    assert "accept with up to 4 in both samples, but from 2 on go back to normal" in capsys.readouterr().out


def test_where_the_tables_refer_to_the_single_plan_that_is_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sampling", "plan", "--lot-size", "90", "--aql", "1.0", "--double"]) == 0
    assert "inspect 13 of 90" in capsys.readouterr().out


@pytest.mark.parametrize("more", [["table", "--aql", "1.0"], ["plan", "--lot-size", "90", "--limiting-quality", "5"],
                                  ["plan", "--aql", "1.0"]])  # fmt: skip
def test_a_double_plan_that_there_is_not_is_refused(more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sampling", *more, "--double"]) != 0
    assert capsys.readouterr().err


def test_a_plan_by_variables_its_curve_and_what_values_say(capsys: pytest.CaptureFixture[str]) -> None:
    by_variables = ["--lot-size", "40", "--aql", "1.0", "--variables", "s"]
    assert main(["sampling", "plan", *by_variables, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["sample_size"], found["m"], found["letter"], found["method"]) == (5, 3.33, "D", "s")
    assert main(["sampling", "curve", *by_variables]) == 0
    assert "1.00% nonconforming: accepted  90.00% of the time" in capsys.readouterr().out
    values = ["--values", "197", "188", "184", "205", "201"]
    assert main(["sampling", "judge", *by_variables, "--lower", "180", "--upper", "209", *values]) == 0
    assert "at most 3.33: accept" in capsys.readouterr().out
    assert main(["sampling", "judge", *by_variables, "--upper", "205", *values, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["estimate"]["accepted"] is False
    assert main(["sampling", "plan", "--lot-size", "3", "--aql", "10", "--variables", "s"]) == 0
    assert "the whole lot" in capsys.readouterr().out


def test_limits_with_an_aql_each_and_a_known_deviation(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["sampling", "judge", "--lot-size", "40", "--variables", "s", "--values", "197", "188", "184", "205", "201"]
    limits = ["--lower", "188", "--upper", "240"]
    assert main([*asked, *limits, "--aql-lower", "10", "--aql-upper", "1.0"]) == 0
    assert main([*asked, *limits, "--aql-lower", "1.0", "--aql-upper", "10"]) == 1
    assert main(["sampling", "plan", "--good", "1", "--bad", "6", "--variables", "sigma"]) == 0
    assert "measure 15, standard deviation known" in capsys.readouterr().out


@pytest.mark.parametrize(("more", "words"), [
    (["plan", "--lot-size", "40", "--aql", "1.0", "--variables", "s", "--double"], "goes without"),
    (["table", "--aql", "1.0", "--variables", "s"], "plan, curve and judge"),
    (["plan", "--variables", "s"], "say --lot-size and --aql"),
    (["plan", "--variables", "s", "--good", "1"], "--good and --bad"),
    (["judge", "--lot-size", "40", "--aql", "1.0", "--upper", "1", "--values", "1"], "say --variables"),
    (["judge", "--lot-size", "40", "--aql", "1.0", "--variables", "s", "--upper", "1"], "say the measured values"),
    (["judge", "--lot-size", "40", "--aql", "1.0", "--variables", "s", "--upper", "1", "--values", "nan"], "is a number"),
    (["judge", "--lot-size", "40", "--aql", "1.0", "--variables", "s", "--values", "1"], "no specification limit"),
    (["judge", "--lot-size", "40", "--aql", "1.0", "--variables", "s", "--upper", "1", "--values", "1"], "asks for 5"),
    (["curve", "--lot-size", "3", "--aql", "10", "--variables", "s"], "the whole lot"),
])  # fmt: skip
def test_what_cannot_be_asked_by_variables_is_refused_with_the_reason(
    more: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sampling", *more]) == 2
    assert words in capsys.readouterr().err
