"""What a check says: which check, how grave, where, what, and what was probably meant."""

import enum

from msgspec import Struct

from rules.findings import Finding, Location


class Level(enum.Enum):
    """How grave a remark is."""

    #: The set cannot be approved.
    ERROR = "error"
    WARNING = "warning"


class Remark(Struct, frozen=True):
    """One thing that one check found."""

    #: Name of the check: the module in rules/lint, or ``load`` for files that cannot be used at all.
    check: str
    level: Level
    location: Location
    message: str
    #: What was probably meant, or what to do.
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.location}: {self.level.value}: {self.message} [{self.check}]"


def of_finding(finding: Finding) -> Remark:
    """A mistake that keeps the files from being loaded, as a remark."""
    return Remark("load", Level.ERROR, finding.location, finding.message, finding.hint)
