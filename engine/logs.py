"""Logs: one line a record on standard error, as text for people or as JSON for what collects them.

Every line says its process and, where there is one, what was being worked on: the correlation id of a request, lot and
target of a delivery. What may not enter: what is logged.
"""

import logging
import os
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import msgspec
import structlog
from structlog.typing import Processor

#: The setting LOTGATE_LOG_FORMAT.
VARIABLE = "LOTGATE_LOG_FORMAT"
TEXT = "%(asctime)s %(levelname)s %(name)s %(message)s"
#: They say at every call what only their makers want to know.
QUIET = ("httpx", "httpcore", "alembic", "dramatiq")
#: Lines of this logger are JSON already (engine/slow.py).
SLOW = "lotgate.slow"


def log_to_stderr(process: str, form: str | None = None) -> None:
    """Begin to log. ``process``: web, committer, worker, clock or a command; ``form``: text or json, else as set."""
    handler = logging.StreamHandler(sys.stderr)
    wanted = form or os.environ.get(VARIABLE, "text")
    # Processes that this one starts say it alike, wherever the setting came from.
    os.environ[VARIABLE] = wanted
    handler.setFormatter(as_json(process) if wanted == "json" else logging.Formatter(TEXT))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


@contextmanager
def about(**what: Any) -> Iterator[None]:
    """Everything that is logged meanwhile, in this thread or task, says ``what`` it is about."""
    with structlog.contextvars.bound_contextvars(**what):
        yield


def as_json(process: str) -> logging.Formatter:
    """Records of ``process`` as JSON objects, none of them with a line break in it."""

    def of(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        line["process"] = process
        return line

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars, structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(), structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"), of, _unpacked,
    ]  # fmt: skip
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta, structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=str),
        ],
    )  # fmt: skip


def _unpacked(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """What is JSON already becomes fields of its line."""
    if line.get("logger") == SLOW:
        try:
            found = msgspec.json.decode(str(line["event"]))
        except msgspec.DecodeError:
            return line
        if isinstance(found, dict):
            line.update(found)
    return line
