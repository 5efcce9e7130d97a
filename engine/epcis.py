"""Names of GS1 EPCIS 2.0 and of its vocabulary (CBV), and how our lots, items and units are written in them. Pure.

A lot is an EPC class: an LGTIN, a GS1 Digital Link with a batch, or, for other ids, ``urn:lotgate:lot:<id>``.
What may not enter: what events mean (engine/epcis_in.py, engine/epcis_out.py).
"""

import re
from urllib.parse import quote, unquote

#: The context that gives the names their meaning.
CONTEXT = "https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld"
#: Our own names in a document: item and revision, which EPCIS leaves to master data.
NAMESPACE = "https://lotgate.dev/ns/epcis/"
_LOT = "urn:lotgate:lot:"
_LGTIN = re.compile(r"urn:epc:class:lgtin:(\d{6,12})\.(\d{1,7})\.([^.]+)")
_DIGITAL_LINK = re.compile(r"https?://[^/]+(?:/[^/]+)*?/01/(\d{8,14})/10/([^/?#]+)")
_SSCC_LINK = re.compile(r"https?://[^/]+(?:/[^/]+)*?/00/(\d{18})")
_SSCC = re.compile(r"\d{18}")
_UNIT = "urn:lotgate:handling_unit:"
_KNOWN_CONTEXT = re.compile(r"https://(ref\.)?gs1\.(github\.io|org)/.*epcis-context\.jsonld")
#: UN/CEFACT Recommendation 20 codes of units that plants write otherwise.
UNITS = {
    "kg": "KGM", "g": "GRM", "t": "TNE", "l": "LTR", "ml": "MLT", "m": "MTR", "mm": "MMT", "m2": "MTK", "m3": "MTQ",
}  # fmt: skip
_UNITS_IN = {code: unit for unit, code in UNITS.items()}
#: Pieces: EPCIS leaves the unit out.
PIECES = "ea"


def is_known_context(name: str) -> bool:
    """Is it the context of EPCIS 2.0, at one of the addresses that GS1 gives it?"""
    return _KNOWN_CONTEXT.fullmatch(name) is not None


def class_of(lot: str) -> str:
    """The EPC class that stands for a lot."""
    return lot if lot_of(lot) == lot else _LOT + quote(lot, safe="")


def lot_of(epc_class: str) -> str | None:
    """The lot that an EPC class stands for; None: a class without a lot, or one that is too long for an id."""
    if epc_class.startswith(_LOT):
        try:
            lot = unquote(epc_class.removeprefix(_LOT), errors="strict")
        except UnicodeDecodeError:
            return None
        return lot if 1 <= len(lot) <= 64 else None
    named = _LGTIN.fullmatch(epc_class) or _DIGITAL_LINK.fullmatch(epc_class)
    return epc_class if named is not None and len(epc_class) <= 64 else None


def container_of(unit: str) -> str:
    """How a handling unit is written: an SSCC as a GS1 Digital Link, another number as ours."""
    if _SSCC.fullmatch(unit):
        return f"https://id.gs1.org/00/{unit}"
    return unit if unit.startswith(("urn:", "http://", "https://")) else _UNIT + quote(unit, safe="")


def unit_in(name: str) -> str | None:
    """The handling unit that a container's name stands for; None: one that is too long for a number."""
    link = _SSCC_LINK.fullmatch(name)
    unit = link[1] if link is not None else unquote(name.removeprefix(_UNIT)) if name.startswith(_UNIT) else name
    return unit if 1 <= len(unit) <= 64 else None


def gtin_of(epc_class: str) -> str | None:
    """The GTIN-14 of a class that has one: what the item is where nobody says otherwise."""
    link = _DIGITAL_LINK.fullmatch(epc_class)
    if link is not None:
        return link[1].zfill(14)
    named = _LGTIN.fullmatch(epc_class)
    if named is None or len(named[1]) + len(named[2]) != 13:
        return None
    thirteen = named[2][0] + named[1] + named[2][1:]
    # GS1 General Specifications, 7.9: weights 3 and 1 from the left of the 13 digits.
    total = sum(int(digit) * (3 if at % 2 == 0 else 1) for at, digit in enumerate(thirteen))
    return thirteen + str(-total % 10)


def unit_of(uom: str | None) -> str:
    """Our unit for a UN/CEFACT code; a code that we have no word for stays itself."""
    return PIECES if uom is None else _UNITS_IN.get(uom, uom)


def uom_of(unit: str) -> str | None:
    """The UN/CEFACT code of a unit; None: there is none that we know."""
    if unit in UNITS:
        return UNITS[unit]
    return unit if re.fullmatch("[A-Z0-9]{2,3}", unit) else None


def word_of(name: str) -> str:
    """A word of the vocabulary, however it is written: bare, as a URN, or as a Web URI."""
    if name.startswith("urn:epcglobal:cbv:"):
        return name.rpartition(":")[2]
    return name.rpartition("-")[2] if name.startswith("https://ref.gs1.org/cbv/") else name
