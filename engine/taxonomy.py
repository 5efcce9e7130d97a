"""The event taxonomy as a page and as JSON Schema, made from the Structs of ``engine.events``: never written twice.

``python -m engine.taxonomy > docs/events.md`` writes the page; a test fails when the two differ.
"""

import inspect
import sys
from typing import Any

import msgspec

from engine import events as ev
from engine.lifecycle import TABLE, diagram, gate_of, steps

_HEAD = """\
# Events

Plant systems send CloudEvents 1.0 to `POST /v1/events`. `subject` is the lot, `source` + `id` the immutable identity;
`data` is closed: an unknown field is refused with a JSON pointer to it. Quantities and measured values are exact
decimals, as a JSON number or a decimal string, with at most 6 decimal places; they never become binary floats.

This page is made from the code (`python -m engine.taxonomy`).
"""


def schemas() -> tuple[dict[str, Any], dict[str, Any]]:
    """JSON Schema per event type, and the components they refer to."""
    found, components = msgspec.json.schema_components(ev.TYPES.values(), ref_template="#/components/schemas/{name}")
    return dict(zip(ev.TYPES, found, strict=True)), components


def markdown() -> str:
    """``docs/events.md``."""
    parts = [_HEAD, "| type | asks for | gate | business key |", "|---|---|---|---|"]
    for name, struct in ev.TYPES.items():
        trigger = struct.trigger
        gate = "per decision" if trigger == "disposition" else gate_of(trigger) or "–"
        key = f"`{struct.business_field}`" if struct.business_field else "–"
        parts.append(f"| [`{name}`](#{_anchor(name)}) | {trigger} | {gate} | {key} |")
    for name, struct in ev.TYPES.items():
        parts += ["", f"## {name}", "", *_block(_data_of(struct))]
    return "\n".join(parts) + "\n"


def lifecycle_markdown() -> str:
    """``docs/lifecycle.md``: the diagram and the table."""
    parts = [
        "# The life of a lot",
        "",
        "Six states, one table. This page is made from the code (`python -m engine.taxonomy lifecycle`).",
        "",
        "```mermaid",
        diagram().rstrip(),
        "```",
        "",
        "| trigger | from | to | gate | when | note |",
        "|---|---|---|---|---|---|",
    ]
    for row in TABLE:
        to = "unchanged" if row.to == "=" else row.to
        how = " (automatic)" if row.automatic else ""
        parts.append(
            f"| {row.trigger}{how} | {', '.join(row.sources)} | {to} | {row.gate or '–'} "
            f"| {', '.join(row.when).replace('_', ' ') or '–'} | {row.note} |"
        )
    parts += ["", "What is possible in each state:", ""]
    for state in ("received", "quarantined", "inspected", "released", "blocked", "shipped"):
        parts.append(f"- **{state}**: {', '.join(steps(state))}")
    return "\n".join(parts) + "\n"


def _anchor(name: str) -> str:
    return name.replace(".", "")


def _data_of(struct: type[ev.Event]) -> Any:
    return next(field.type for field in msgspec.structs.fields(struct) if field.name == "data")


def _block(data: Any, depth: int = 0) -> list[str]:
    lines = [inspect.cleandoc(data.__doc__ or ""), "", "| field | type | needed |", "|---|---|---|"]
    inner: list[Any] = []
    schema = msgspec.json.schema(data)["$defs"]
    for name, shape in schema[data.__name__]["properties"].items():
        needed = "yes" if name in schema[data.__name__].get("required", ()) else ""
        lines.append(f"| `{name}` | {_shape(shape, inner)} | {needed} |")
    for other in dict.fromkeys(inner):
        nested = getattr(ev, other)
        if other != "Quantity" and depth < 2:
            lines += ["", f"`{other}`:", "", *_block(nested, depth + 1)]
    if "Quantity" in inner and depth == 0:
        lines += ["", "A quantity is `{\"value\": \"100\", \"unit\": \"ea\"}`."]
    return lines


def _shape(shape: dict[str, Any], inner: list[Any]) -> str:
    if "$ref" in shape:
        name = str(shape["$ref"]).rsplit("/", 1)[-1]
        inner.append(name)
        return name
    if "anyOf" in shape:
        return " or ".join(_shape(s, inner) for s in shape["anyOf"] if s.get("type") != "null")
    if "enum" in shape:
        return ", ".join(f"`{v}`" for v in shape["enum"])
    if shape.get("type") == "array":
        return "list of " + _shape(shape.get("items", {}), inner)
    if shape.get("format") == "decimal":
        return "decimal"
    if "format" in shape:
        return str(shape["format"])
    limit = f", at most {shape['maxLength']} characters" if "maxLength" in shape else ""
    return f"{shape.get('type', 'any')}{limit}"


if __name__ == "__main__":
    sys.stdout.write(lifecycle_markdown() if sys.argv[1:] == ["lifecycle"] else markdown())
