"""The certificate of a lot for people: one HTML page that needs nothing else, and prints. Pure."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from engine import events as ev
from engine.consequences import decode_data
from engine.delivery_lines import DeliveryLine
from engine.holds import HoldLine
from engine.journal import Entry
from engine.lot import Lot

_STYLE = """
body { font: 10pt/1.4 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #111;
       background: #fff }
h1 { font-size: 16pt } h2 { font-size: 12pt; margin-top: 1.5rem; border-bottom: 1px solid #999 }
table { border-collapse: collapse; width: 100%; font-size: 9pt }
th, td { text-align: left; padding: .2rem .5rem .2rem 0; border-bottom: 1px solid #ddd; vertical-align: top }
.state { font-size: 12pt; font-weight: 600 } code { font-size: 8pt; word-break: break-all }
"""


def certificate(
    lot: Lot, entries: Sequence[Entry], holds: Sequence[HoldLine], deliveries: Sequence[DeliveryLine]
) -> str:  # fmt: skip
    """What was decided of ``lot``, on what, by whom, and who was told."""
    parts = [
        "<!doctype html>", '<html lang="en"><head><meta charset="utf-8">', f"<title>Lot {escape(lot.id)}</title>",
        f"<style>{_STYLE}</style></head><body>", f"<h1>Lot {escape(lot.id)}</h1>",
        f'<p class="state">{escape(_standing(lot))}</p>', _table((), _facts(lot)),
        *_part("Decisions", ("version", "when", "what", "from", "to", "by"), map(_decision, entries)),
        *_part("Results", ("inspection", "characteristic", "sample", "result"), _results(entries)),
        *_part("Signatures", ("signer", "meaning", "role", "when", "on version"), (
            (s.signer, s.meaning, s.role or "", s.signed_at, s.version) for s in lot.signatures
        )),
        *_part("Quality records", ("number", "kind", "severity", "status", "what", "cause", "decision"), (
            (r.record, r.kind.replace("_", " "), r.severity, r.status, r.text, r.cause, r.decision)
            for r in lot.records
        )),
        *_part("Certificates of the supplier", ("number", "kind", "issuer", "issued", "valid until", "values"), (
            (c.number, c.kind, c.issuer, c.issued_on, c.valid_until or "", "; ".join(map(_certified, c.values)))
            for c in lot.certificates
        )),
        *_part("Holds", ("hold", "reason", "since", "until"), (
            (h.hold, f"{h.reason} {h.text}".strip(), h.applied_at, h.lifted_at or "active") for h in holds
        )),
        *_part("Systems that were told", ("system", "version", "state", "when"), (
            (d.target, d.version, d.state, d.delivered_at or "") for d in deliveries
        )),
        f"<p>Head of the journal, the hash over all of it: <code>{escape(lot.head)}</code></p>", "</body></html>",
    ]  # fmt: skip
    return "\n".join(part for part in parts if part) + "\n"


def _standing(lot: Lot) -> str:
    ended = "" if lot.closed is None else f", {lot.closed}"
    limits = f", restricted to {', '.join(lot.restrictions)}" if lot.restrictions else ""
    return f"{lot.state}{ended}{limits}"


def _facts(lot: Lot) -> list[tuple[Any, ...]]:
    said = [
        ("item", f"{lot.item} revision {lot.revision}"), ("quantity", f"{lot.quantity} {lot.unit}"),
        ("supplier", lot.supplier), ("supplier's lot", lot.supplier_lot), ("receipt", lot.receipt),
        ("order", lot.order), ("plant", lot.plant), ("made", lot.manufactured_on),
        ("expires", lot.expires_on and f"{lot.expires_on} {lot.expires_by}".strip()),
        ("retest", lot.retest_on and f"{lot.retest_on} {lot.retest_by}".strip()), ("opened", lot.opened_on),
        ("disposition", lot.disposition), ("inspection plan", lot.plan and f"{lot.plan.plan}@{lot.plan.revision}"),
        ("version", lot.version),
    ]  # fmt: skip
    return [(name, value) for name, value in said if value is not None]


def _decision(entry: Entry) -> tuple[Any, ...]:
    what = entry.trigger.replace("_", " ") + (" (refused)" if entry.kind == "refusal" else "")
    by = entry.principal if entry.kind != "consequence" else "Lotgate"
    return entry.version, entry.recorded_at, what, entry.state_before, entry.state_after, by


def _results(entries: Sequence[Entry]) -> Iterable[tuple[Any, ...]]:
    for entry in entries:
        if entry.trigger == "record_inspection" and entry.kind == "event":
            data: ev.Inspection = decode_data(entry.type, entry.data)
            for line in data.measurements:
                yield data.inspection, line.characteristic, line.sample, _said(line)


def _said(line: ev.Measurement) -> str:
    if line.inspected is not None:
        found = f"{line.nonconforming} nonconforming of {line.inspected}"
    elif line.value is not None:
        found = f"{line.value} {line.unit or ''}".strip()
    else:
        found = "conforms" if line.conforming else "does not conform"
    return found if line.corrects is None else f"{found} (corrected: {line.corrects})"


def _certified(one: ev.CertifiedValue) -> str:
    found = f"{one.value} {one.unit or ''}".strip() if one.value is not None else (
        "conforms" if one.conforming else "does not conform"
    )  # fmt: skip
    return f"{one.characteristic}: {found}"


def _part(title: str, names: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> list[str]:
    lines = list(rows)
    return [f"<h2>{title}</h2>", _table(names, lines)] if lines else []


def _table(names: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> str:
    head = f"<tr>{''.join(f'<th>{escape(name)}</th>' for name in names)}</tr>" if names else ""
    body = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table>{head}{body}</table>"
