"""From bytes to a typed event, strictly: JSON, schema, control characters, numbers within the plant's range.

What may not enter: what events mean (engine/course.py), HTTP and its other binding (api/cloudevents.py).
"""

import re
from decimal import Decimal

import msgspec

from engine.clock import in_utc
from engine.errors import EventInvalid
from engine.events import (
    TYPES,
    AnyEvent,
    Event,
    Inspection,
    Measurement,
    OperationReport,
    Quantity,
    SupplierCertificate,
)

#: Decimal places that Lotgate keeps of a quantity or a measured value.
DECIMAL_PLACES = 6
#: Values are below 10**12 in magnitude, so that a scaled value fits a signed 64-bit integer.
MAX_INTEGER_DIGITS = 12
#: The largest quantity one lot may have; anything above is a typing error somewhere.
MAX_QUANTITY = Decimal(1_000_000_000)

_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(AnyEvent)
_PATH = re.compile(r" - at `\$?(?P<path>[^`]*)`$")
#: Bytes that can put a control character into a decoded text: an escape, DEL, or a byte of a non-ASCII letter.
_SUSPICIOUS = re.compile(rb"[\\\x7f\x80-\xff]")
#: C0 and C1 control characters; CloudEvents 1.0 forbids them in attributes, and databases choke on them.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def decode_event(body: bytes) -> Event:
    """Read one CloudEvent in structured JSON mode.

    Raises EventInvalid with a JSON pointer: ``malformed`` for what is not JSON, otherwise for what does not
    fit the type's schema, has a control character, a time that UTC has not, or a number outside the plant's range.
    """
    try:
        event = _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _unfit(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise EventInvalid(f"The body is not JSON: {error}", malformed=True) from None
    if _SUSPICIOUS.search(body):
        refuse_control_characters(event)
    if event.time is not None:
        try:
            in_utc(event.time)
        except ValueError as error:
            raise EventInvalid(f"The time {error}.", "/time") from None
    check_numbers(event)
    return event


def scaled(value: Decimal) -> int:
    """``value`` x 10**6 as an exact integer; ValueError when it has more places, or is out of range, or no number."""
    if not value.is_finite() or value.adjusted() >= MAX_INTEGER_DIGITS:
        raise ValueError("is not a number below 10**12")
    shifted = value.scaleb(DECIMAL_PLACES)
    whole = int(shifted)
    # What is far too small for a Decimal's context has become a zero on the way.
    if whole != shifted or (value != 0 and whole == 0):
        raise ValueError(f"has more than {DECIMAL_PLACES} decimal places; send it as it was measured")
    return whole


def check_numbers(event: Event) -> None:
    """Refuse quantities and measured values that are not finite, too fine, too large or not positive."""
    data = event.data  # type: ignore[attr-defined]
    if isinstance(data, Inspection):
        for index, measurement in enumerate(data.measurements):
            _check_measurement(measurement, f"/data/measurements/{index}")
        return
    if isinstance(data, OperationReport):
        for index, parameter in enumerate(data.parameters):
            _check_value(parameter.value, f"/data/parameters/{index}/value")
        return
    if isinstance(data, SupplierCertificate):
        for index, line in enumerate(data.values):
            _check_value(line.value, f"/data/values/{index}/value")
        return
    _check_quantities(data, "/data")


def _check_quantities(value: object, pointer: str) -> None:
    """Every quantity in a data block, wherever it stands: a type that is added later cannot forget to be checked."""
    if isinstance(value, Quantity):
        _check_quantity(value, pointer)
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            _check_quantities(getattr(value, name), f"{pointer}/{name}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _check_quantities(inner, f"{pointer}/{index}")


def refuse_control_characters(event: Event) -> None:
    """Refuse C0 and C1 control characters and lone surrogates anywhere in the event."""
    try:
        _walk(msgspec.to_builtins(event), "")
    except (UnicodeEncodeError, UnicodeDecodeError):
        raise EventInvalid("A text holds half of a surrogate pair.", malformed=True) from None


def _check_measurement(measurement: Measurement, pointer: str) -> None:
    _check_value(measurement.value, pointer + "/value")
    if measurement.value is None and measurement.conforming is None and measurement.inspected is None:
        raise EventInvalid("A measurement needs a value, or conforming, or inspected and nonconforming.", pointer)
    if measurement.inspected is not None and (
        measurement.nonconforming is None or measurement.nonconforming > measurement.inspected
    ):
        raise EventInvalid("nonconforming must be given and at most inspected.", pointer + "/nonconforming")


def _check_value(value: Decimal | None, pointer: str) -> None:
    if value is not None:
        try:
            scaled(value)
        except ValueError as error:
            raise EventInvalid(f"The measured value {value} {error}.", pointer) from None


def _check_quantity(quantity: Quantity, pointer: str) -> None:
    try:
        scaled(quantity.value)
    except ValueError as error:
        raise EventInvalid(f"The quantity {quantity.value} {error}.", pointer + "/value") from None
    if quantity.value <= 0:
        raise EventInvalid(f"The quantity {quantity.value} must be greater than 0.", pointer + "/value")
    if quantity.value > MAX_QUANTITY:
        raise EventInvalid(f"The quantity {quantity.value} is above {MAX_QUANTITY}.", pointer + "/value")


def _walk(value: object, pointer: str) -> None:
    if isinstance(value, str):
        if _CONTROL.search(value):
            raise EventInvalid("Control characters are not allowed in any text.", pointer)
    elif isinstance(value, dict):
        for name, inner in value.items():
            _walk(inner, f"{pointer}/{name}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _walk(inner, f"{pointer}/{index}")


def _unfit(error: msgspec.ValidationError) -> EventInvalid:
    text = str(error)
    match = _PATH.search(text)
    if match is None:
        return EventInvalid(text)
    pointer = re.sub(r"\[(\d+)\]", r"/\1", match["path"]).replace(".", "/").replace("[...]", "")
    detail = text[: match.start()]
    if pointer == "/type":
        known = ", ".join(TYPES)
        detail = f"{detail}. Known event types: {known}"
    return EventInvalid(detail, pointer)
