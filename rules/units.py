"""Exact numbers: text to integers x 10**6 and back. Never a binary float."""

import re

#: Numbers are kept as integers of this many parts of one.
SCALE = 1_000_000
PLACES = 6
_NUMBER = re.compile(r"[+-]?\d{1,12}(?:\.\d+)?", re.ASCII)


class NotANumber(ValueError):
    """The text is not a number that can be kept exactly; the message says why, ``hint`` what to write."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def parse_number(text: str) -> int:
    """``text`` x 10**6. Raises NotANumber for a decimal comma, an exponent, more than 6 places or anything else."""
    if not _NUMBER.fullmatch(text):
        if re.fullmatch(r"[+-]?\d+,\d+", text):
            raise NotANumber(f'"{text}" is not a number', f"use a point, not a comma: {text.replace(',', '.')}")
        if re.fullmatch(r"[+-]?\d+(\.\d+)?[eE][+-]?\d+", text):
            raise NotANumber(f'"{text}" is written with an exponent', "write the number out, for example 0.001")
        raise NotANumber(f'"{text}" is not a number')
    whole, _, part = text.lstrip("+-").partition(".")
    if len(part.rstrip("0")) > PLACES:
        raise NotANumber(f'"{text}" has more than {PLACES} decimal places')
    value = int(whole) * SCALE + int(part[:PLACES].ljust(PLACES, "0"))
    return -value if text.startswith("-") else value


def format_number(scaled: int) -> str:
    """The shortest decimal text of ``scaled`` / 10**6."""
    whole, part = divmod(abs(scaled), SCALE)
    text = f"{whole}.{part:06d}".rstrip("0").rstrip(".")
    return f"-{text}" if scaled < 0 else text
