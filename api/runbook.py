"""Which section of docs/runbook.md says what to do: of every problem, task, given-up delivery, and state of a target.

Sections are named by their anchors, as headings become them. What may not enter: the words of the runbook, HTML.
"""

import re

from actors.connectors.policy import failure_of

#: Where the console serves the documents that come with Lotgate.
HELP = "/console/help"

_MEND = "the-sender-has-to-mend-the-request"
_KEY = "a-key-is-not-good-enough"
_STEP = "the-lot-cannot-take-this-step"
_GATE = "a-gate-stays-shut"
_FILES = "files-or-settings-cannot-be-used"
_LATER = "come-back-later"
_FAULT = "a-fault-of-lotgate"
_ARCHIVE = "a-segment-of-the-archive-is-missing"

#: Section -> the problems that it is about.
_PROBLEMS: dict[str, tuple[str, ...]] = {
    _MEND: (
        "malformed", "parameter-invalid", "header-invalid", "idempotency-key-required", "not-found",
        "method-not-allowed", "body-timeout", "event-id-reused", "fact-invalid", "body-too-large",
        "unsupported-media-type", "unsupported-content-encoding", "event-invalid", "trigger-unknown",
        "headers-too-large", "idempotency-key-reused", "outbound-refused",
    ),
    _KEY: ("unauthenticated", "forbidden", "not-system-of-record", "lift-role"),
    _STEP: (
        "transition-not-allowed", "lot-exists", "lot-closed", "hold-not-active", "precondition-failed",
        "reference-conflict", "preview-outdated",
    ),
    _GATE: ("gate-failed",),
    _FILES: (
        "rule-set-refused", "rule-files-invalid", "rule-set-changed", "setting-invalid", "connector-invalid",
        "route-invalid",
    ),
    _LATER: ("rate-limited", "overloaded", "store-unavailable", "store-not-migrated"),
    _ARCHIVE: ("archive-unavailable", "history-archived"),
    _FAULT: ("internal-error",),
    "lotgatenoticeswaiting": ("notice-not-sent",),
    "task-journal-behind": ("journal-behind",),
    "task-checkpoint-not-kept": ("checkpoint-not-kept",),
    "lotgatereadbackold": ("target-not-read",),
}  # fmt: skip
_BY_CODE = {code: section for section, codes in _PROBLEMS.items() for code in codes}
_CHECKS = {
    "database": "lotgatenotcommitting", "queue": "lotgatequeuelong", "rules": "lotgaterulefilesbroken",
    "committer": _FAULT, "judge": _FAULT, "redis": "a-process-is-missing", "draining": _LATER,
}  # fmt: skip
_DRIFT = {"left-while-blocked": "lotgateleftwhileblocked"}


def anchor(heading: str) -> str:
    """What a heading's address ends with, as the usual renderers of Markdown make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def of_problem(code: str) -> str:
    """Section for a problem; raises KeyError for a code that has none."""
    return _BY_CODE[code]


def of_task(kind: str) -> str:
    """Section for a task; a kind that a rule set made up is one that somebody asked for."""
    return anchor(f"Task {kind}")


def of_given_up(last_error: str | None) -> str:
    """Section for a delivery that was given up, by why."""
    return anchor(f"Given up: {failure_of(last_error or '')}")


def of_check(name: str) -> str:
    """Section for a check of readiness that is not well."""
    return _CHECKS[name]


def of_drift(kind: str) -> str:
    """Section for what a target says otherwise."""
    return _DRIFT.get(kind, "lotgatedrift")


def address(section: str) -> str:
    """Address of a section in the console."""
    return f"{HELP}/runbook#{section}"
