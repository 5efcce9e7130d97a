"""What is wrong with a rule file, and where: all mistakes at once, in words for the person who wrote it."""

import difflib
from collections.abc import Iterable

from msgspec import Struct


class Location(Struct, frozen=True, order=True):
    """A place in a rule file; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Finding(Struct, frozen=True):
    """One mistake. ``hint`` says what to do about it, where that can be guessed."""

    location: Location
    message: str
    hint: str = ""

    def __str__(self) -> str:
        hint = f"\n    {self.hint}" if self.hint else ""
        return f"{self.location}: error: {self.message}{hint}"


class RulePackError(Exception):
    """The rule files cannot be used; carries every finding. Nothing of them is in force."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(sorted(findings, key=lambda f: f.location))
        super().__init__("\n".join(str(f) for f in self.findings))


class Findings:
    """Collects findings while a file is read, so that nobody has to mend one mistake to see the next."""

    def __init__(self) -> None:
        self.all: list[Finding] = []

    def add(self, location: Location, message: str, hint: str = "") -> None:
        """Note a mistake."""
        self.all.append(Finding(location, message, hint))

    def raise_if_any(self) -> None:
        """Raises RulePackError when there is a finding."""
        if self.all:
            raise RulePackError(self.all)


def did_you_mean(word: str, known: Iterable[str], prefix: str = "") -> str:
    """A hint with the nearest known word, or the known words when none is near."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f'did you mean "{prefix}{near[0]}"?'
    return f"known: {', '.join(names)}" if 0 < len(names) <= 20 else ""
