"""Alert rules and dashboards for Prometheus and Grafana speak of metrics that exist, and every alert says what to do."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((ROOT / "ops/alerts.yml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
PANELS: list[dict[str, Any]] = json.loads((ROOT / "ops/grafana.json").read_text(encoding="utf-8"))["panels"]
EXPRESSIONS = [r["expr"] for r in RULES] + [t["expr"] for p in PANELS for t in p["targets"]]


@pytest.fixture(scope="module")
def families(service: Any) -> dict[str, str]:
    return dict(re.findall(r"^# TYPE (lotgate_\w+) (\w+)$", service.http.get("/metrics").text, re.MULTILINE))


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_expression_is_of_metrics_that_exist(families: dict[str, str], expression: str) -> None:
    named = set(re.findall(r"\blotgate_\w+", expression))
    assert named or expression.startswith("up{")
    assert named <= families.keys()
    for opening, closing in ("()", "{}", "[]"):
        assert expression.count(opening) == expression.count(closing)
    rated = set(re.findall(r"rate\((lotgate_\w+)", expression))
    assert rated == {name for name in named if families[name] == "counter"}


def test_every_alert_has_its_section_in_the_runbook() -> None:
    sections = re.findall(r"^## (\w+)$", (ROOT / "docs/runbook.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sections == [rule["alert"] for rule in RULES]
    for rule in RULES:
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{rule['alert'].lower()}"
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in ("page", "ticket")


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken
        taken |= cells
