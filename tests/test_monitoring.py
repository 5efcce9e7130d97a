"""The alert rules and the dashboard that come with Lotgate ask for metrics that exist, and lead to words that help."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

DOCS = Path(__file__).resolve().parents[1] / "docs"
ALERTS = [
    rule
    for group in yaml.safe_load((DOCS / "monitoring" / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
PANELS = json.loads((DOCS / "monitoring" / "dashboard.json").read_text(encoding="utf-8"))["panels"]
QUERIES = [(f"alert {rule['alert']}", rule["expr"]) for rule in ALERTS] + [
    (f"panel {panel['title']}", target["expr"]) for panel in PANELS for target in panel["targets"]
]
#: Prometheus makes it for whatever it scrapes.
ITS_OWN = {"up": {"job", "instance"}}


def documented() -> dict[str, set[str]]:
    """Metric -> labels, by the table of docs/operations.md; tests/test_docs.py holds it against the real ones."""
    text = (DOCS / "operations.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`lotgate_[^|]*) \|([^|]*)\|", text, re.MULTILINE)
    return {name: set(re.findall(r"\w+", labels)) for names, labels in rows for name in re.findall(r"`(\w+)`", names)}


def selectors(expression: Any) -> Iterator[Any]:
    """Every vector selector in a PromQL expression."""
    if isinstance(expression, promql_parser.VectorSelector):
        yield expression
    for name in ("lhs", "rhs", "expr", "param", "vector_selector", "args"):
        inner = getattr(expression, name, None)
        for one in inner if isinstance(inner, list) else [inner]:
            if one is not None:
                yield from selectors(one)


def parsed(query: str) -> Any:
    return promql_parser.parse(query.replace("$__rate_interval", "5m"))


@pytest.mark.parametrize(("where", "query"), QUERIES, ids=[where for where, _ in QUERIES])
def test_a_query_asks_for_metrics_and_labels_that_exist(where: str, query: str) -> None:
    known = documented() | ITS_OWN
    found = list(selectors(parsed(query)))
    assert found, "nothing is asked for"
    labels = set.intersection(*({"instance", *known[one.name]} for one in found))
    for one in found:
        assert one.name in known, f"{where}: there is no metric {one.name}"
        wrong = {matcher.name for matcher in one.matchers.matchers} - known[one.name]
        assert not wrong, f"{where}: {one.name} has no label {wrong}"
    grouped = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", query))))
    assert grouped <= labels, f"{where}: grouped by what the metric does not have"


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: str(rule["alert"]))
def test_an_alert_says_how_bad_it_is_and_leads_to_its_section_of_the_runbook(rule: Any) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    file, _, anchor = rule["annotations"]["runbook_url"].rpartition("/docs/")[2].partition("#")
    headings = re.findall(r"^## (.+)$", (DOCS / file).read_text(encoding="utf-8"), re.MULTILINE)
    assert [h for h in headings if h.lower() == anchor] == [rule["alert"]]
    used = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
    kept = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", rule["expr"]))))
    assert used <= (kept or {"job", "instance"}), "the summary names a label that the alert does not carry"


def test_every_section_of_the_runbook_belongs_to_an_alert() -> None:
    about_alerts = (DOCS / "runbook.md").read_text(encoding="utf-8").partition("\n# ")[0]
    headings = re.findall(r"^## (.+)$", about_alerts, re.MULTILINE)
    assert headings == [rule["alert"] for rule in ALERTS]


def test_every_gauge_and_counter_is_watched_somewhere() -> None:
    asked = {one.name for _, query in QUERIES for one in selectors(parsed(query))}
    assert set(documented()) - asked == {"lotgate_rule_set_info"}, "a metric that no alert and no panel shows"


def test_a_query_for_a_metric_that_is_not_there_is_noticed() -> None:
    with pytest.raises((AssertionError, KeyError)):
        test_a_query_asks_for_metrics_and_labels_that_exist("here", "sum(lotgate_no_such_metric)")
    with pytest.raises(AssertionError):
        test_a_query_asks_for_metrics_and_labels_that_exist("here", 'lotgate_tasks{colour="red"}')
