"""The example packs: complete, tested by themselves, and within what both engines can judge."""

import pytest

from rules.cases import run_tests
from rules.rete import ReteEngine
from rules.rulebook import SHIPPED, Case, RuleBook

EXAMPLES = SHIPPED.parent / "examples"


@pytest.fixture(scope="module")
def examples() -> RuleBook:
    return RuleBook.load(EXAMPLES)


def test_every_expectation_is_met_and_every_rule_has_both_kinds_of_test(examples: RuleBook) -> None:
    report = run_tests(examples)
    assert report.passed, str(report)
    assert report.untested == ()


def test_they_show_the_scenarios_of_a_plant(examples: RuleBook) -> None:
    assert {rule.id for rule in examples.rules.rules} >= {
        "SUPPLIER-STATUS", "SKIP-LOT-EARNED", "CERTIFICATE-OF-ANALYSIS", "SAMPLE-SIZE", "ACCEPT-NUMBER", "DUAL-SIGN-OFF",
        "NO-OPEN-DEVIATION", "IN-CONTROL", "OPERATION-IN-CONTROL", "CUSTOMER-SHELF-LIFE",
    }  # fmt: skip
    assert {"receive", "record_inspection", "inspect", "release", "ship"} <= examples.gates()


def test_their_vocabulary_keeps_the_shipped_one(examples: RuleBook) -> None:
    shipped = RuleBook.load(SHIPPED).vocabulary
    assert {name: kind for name, kind in examples.vocabulary.items() if name in shipped} == shipped


def test_the_second_engine_judges_them_too(examples: RuleBook) -> None:
    engine = ReteEngine(examples.rules)
    facts = {"lot": [{"id": "L", "item": "SEALANT-9"}], "operation": [{"number": "0030", "status": "aborted"}]}
    for gate in sorted(examples.gates()):
        case = Case(gate, facts, 739_676)
        assert engine.failing(gate, facts, 739_676) == examples.verdicts(case)[1]
