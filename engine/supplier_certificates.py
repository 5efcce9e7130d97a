"""Certificates of analysis and of conformity that came with a lot: what does not fit, and what rules see of them. Pure.

The supplier's values are held against the limits of our inspection plan, and against our own results: the difference
is the supplier's value less the mean of ours, and the plan says how far apart they may be (``certificate_tolerance``).
Everything is exact: means are compared as sums. What may not enter: clocks, databases.
"""

from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import Literal

from msgspec import Struct

from engine import events as ev
from engine.builtin import fails
from engine.decoding import scaled
from engine.inspection_plan import Characteristic, InspectionPlan, within
from rules.facts import Vocabulary
from rules.rulebook import RuleVerdict

Fact = dict[str, int | str | bool]
#: Kinds of fact that come from here.
CERTIFICATE, CERTIFIED = "certificate", "certified"
_SCALE = 1_000_000


class Certificate(Struct, frozen=True, omit_defaults=True):
    """A certificate as the lot keeps it. Days are ISO 8601."""

    number: str
    kind: Literal["coa", "coc", "material"]
    issuer: str
    issued_on: str
    recorded_at: str
    valid_until: str | None = None
    signed: bool | None = None
    reference: str | None = None
    values: tuple[ev.CertifiedValue, ...] = ()


class Comparison(Struct, frozen=True, omit_defaults=True):
    """One value of a certificate beside our limits and our results."""

    certificate: str
    characteristic: str
    value: Decimal | None = None
    unit: str | None = None
    conforming: bool | None = None
    lower: Decimal | None = None
    upper: Decimal | None = None
    #: Inside our limits; None: we have none, or nothing can be said.
    within: bool | None = None
    #: Our own results of it, their mean (to six places), and the supplier's value less that.
    own_results: int = 0
    own_mean: Decimal | None = None
    difference: Decimal | None = None
    tolerance: Decimal | None = None
    agrees: bool | None = None


def kept(data: ev.SupplierCertificate, now: str) -> Certificate:
    """The certificate as the lot keeps it."""
    until = None if data.valid_until is None else data.valid_until.isoformat()
    return Certificate(
        data.certificate, data.kind, data.issuer, data.issued_on.isoformat(), now, until, data.signed, data.reference,
        tuple(data.values),
    )  # fmt: skip


def after(there: Iterable[Certificate], one: Certificate) -> tuple[Certificate, ...]:
    """With ``one``, in place of the one of its number."""
    return (*(other for other in there if other.number != one.number), one)


def guards(
    own_names: Sequence[str], there: Iterable[Certificate], data: ev.SupplierCertificate, today: str,
    plan: InspectionPlan | None, results: Iterable[Fact],
) -> tuple[RuleVerdict, ...]:  # fmt: skip
    """Every reason why a certificate does not fit. ``own_names``: what the lot is called, by its supplier and by us."""
    failing = []
    if data.supplier_lot not in own_names:
        words = f"the certificate is of the lot {data.supplier_lot}; this one is {' or '.join(own_names)}"
        failing.append(fails("CERTIFICATE-OF-LOT", words))
    if data.issued_on.isoformat() > today:
        failing.append(fails("CERTIFICATE-DATES", f"it would be issued on {data.issued_on}, in the future"))
    if data.valid_until is not None and data.valid_until < data.issued_on:
        failing.append(fails("CERTIFICATE-DATES", f"it would end on {data.valid_until}, before it was issued"))
    known = any(other.number == data.certificate for other in there)
    if known != (data.corrects is not None):
        why = "is recorded already; to correct it, say why" if known else "is not recorded; there is nothing to correct"
        failing.append(fails("CERTIFICATE-ONCE", f"certificate {data.certificate} {why}"))
    names = [one.characteristic for one in data.values]
    failing += [fails("VALUE-ONCE", f"{n} is on it twice") for n in sorted({n for n in names if names.count(n) > 1})]
    used = {str(r["characteristic"]): str(r["unit"]) for r in results if "unit" in r}
    for one in data.values:
        failing += _value_guards(one, plan, used.get(one.characteristic))
    return tuple(failing)


def _value_guards(one: ev.CertifiedValue, plan: InspectionPlan | None, used: str | None) -> list[RuleVerdict]:
    name = one.characteristic
    if (one.value is None) == (one.conforming is None):
        return [fails("RESULT-FITS-PLAN", f"{name}: say its value, or whether it conforms, one of the two")]
    planned = None if plan is None else _planned(plan, name)
    if plan is not None and planned is None:
        known = ", ".join(c.characteristic for c in plan.characteristics)
        return [fails("CHARACTERISTIC-ON-PLAN", f"{name} is not on the lot's plan: {known}")]
    unit = used if planned is None else planned.unit
    if planned is not None and unit is None and one.value is not None:
        return [fails("RESULT-FITS-PLAN", f"{name} is judged, not measured; say conforming")]
    if one.value is not None and unit is not None and one.unit != unit:
        return [fails("UNIT-OF-PLAN", f"{name} is measured in {unit}, not in {one.unit or 'no unit'}")]
    if planned is not None and one.value is not None:
        low, high = planned.plausible_from, planned.plausible_to
        if not within(one.value, low, high):
            words = f"{name} = {one.value} {one.unit} is not plausible ({low or 'any'} to {high or 'any'})"
            return [fails("PLAUSIBLE", words)]
    return []


def compare(
    certificates: Iterable[Certificate], plan: InspectionPlan | None, results: Sequence[Fact]
) -> list[Comparison]:
    """Every value of every certificate beside our limits and our results in force."""
    own: dict[str, list[int]] = {}
    for result in results:
        if "value" in result:
            own.setdefault(str(result["characteristic"]), []).append(int(result["value"]))
    return [
        _compared(one.number, value, None if plan is None else _planned(plan, value.characteristic),
                  own.get(value.characteristic, []))
        for one in certificates for value in one.values
    ]  # fmt: skip


def _compared(number: str, one: ev.CertifiedValue, planned: Characteristic | None, own: Sequence[int]) -> Comparison:
    lower, upper = (None, None) if planned is None else (planned.lower, planned.upper)
    inside = one.conforming
    if one.value is not None and (lower is not None or upper is not None):
        inside = within(one.value, lower, upper)
    mean = difference = agrees = None
    tolerance = None if planned is None else planned.certificate_tolerance
    if one.value is not None and own:
        total, count = sum(own), len(own)
        apart = scaled(one.value) * count - total
        difference = Decimal(_rounded(apart, count)).scaleb(-6)
        mean = one.value - difference
        agrees = None if tolerance is None else abs(apart) <= scaled(tolerance) * count
    return Comparison(
        number, one.characteristic, one.value, one.unit, one.conforming, lower, upper, inside, len(own), mean,
        difference, tolerance, agrees,
    )  # fmt: skip


def _rounded(number: int, by: int) -> int:
    """``number / by`` to the nearest integer, halves away from zero."""
    half = (2 * abs(number) + by) // (2 * by)
    return half if number >= 0 else -half


def _planned(plan: InspectionPlan, name: str) -> Characteristic | None:
    return next((one for one in plan.characteristics if one.characteristic == name), None)


def facts(
    certificates: Sequence[Certificate], lot: str, plan: InspectionPlan | None, results: Sequence[Fact],
    vocabulary: Vocabulary,
) -> dict[str, list[Fact]]:  # fmt: skip
    """What rules see: kinds and fields that their vocabulary has."""
    found: dict[str, list[Fact]] = {}
    if CERTIFICATE in vocabulary and certificates:
        found[CERTIFICATE] = [_known(_certificate_fact(one, lot), CERTIFICATE, vocabulary) for one in certificates]
    if CERTIFIED in vocabulary:
        lines = [_known(_value_fact(one), CERTIFIED, vocabulary) for one in compare(certificates, plan, results)]
        if lines:
            found[CERTIFIED] = lines
    return found


def _certificate_fact(one: Certificate, lot: str) -> Fact:
    fact: Fact = {"number": one.number, "type": one.kind, "issuer": one.issuer, "lot": lot,
                  "issued_on": _ordinal(one.issued_on)}  # fmt: skip
    if one.valid_until is not None:
        fact["expires_on"] = _ordinal(one.valid_until)
    if one.signed is not None:
        fact["signed"] = one.signed
    return fact


def _value_fact(one: Comparison) -> Fact:
    fact: Fact = {"certificate": one.certificate, "characteristic": one.characteristic,
                  "own_results": one.own_results * _SCALE}  # fmt: skip
    for name in ("value", "lower", "upper", "own_mean", "difference", "tolerance"):
        number = getattr(one, name)
        if number is not None:
            fact[name] = scaled(number)
    for name in ("unit", "conforming", "within", "agrees"):
        said = getattr(one, name)
        if said is not None:
            fact[name] = said
    return fact


def _known(fact: Fact, kind: str, vocabulary: Vocabulary) -> Fact:
    fields = vocabulary[kind].fields
    return {name: value for name, value in fact.items() if name in fields}


def _ordinal(day: str) -> int:
    return date.fromisoformat(day).toordinal()

