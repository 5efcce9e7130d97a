"""ERPNext's resource API as its documentation and ``frappe/exceptions.py`` have it: 417 for every refusal of rules.

A document that was changed since it was read is not overwritten (TimestampMismatchError, 417 as well).
"""

import itertools
import urllib.parse
from typing import Any

from tests.contracts.server import Answered, Asked, System, serve

KEY, SECRET = "k3y-of-lotgate", "s3cret-of-lotgate"
STATUSES = ("", "Quality", "Released", "Restricted", "Blocked")


class ErpNext(System):
    name = "erpnext"

    def __init__(self) -> None:
        self.batches: dict[str, dict[str, Any]] = {}
        self.writes: list[dict[str, Any]] = []
        self.too_many = 0
        self.meddle = 0
        self._instants = itertools.count(1)

    def answer(self, asked: Asked) -> Answered:
        if asked.headers.get("authorization") != f"token {KEY}:{SECRET}":
            return self._refused(401, "AuthenticationError", "Invalid API key or secret")
        if self.too_many:
            self.too_many -= 1
            return Answered(429, {"exc_type": "TooManyRequestsError"}, {"Retry-After": "1"})
        prefix = "/api/resource/Batch/"
        if not asked.path.startswith(prefix):
            return self._refused(404, "DoesNotExistError", f"DocType {asked.path} not found")
        batch = self.batches.get(urllib.parse.unquote(asked.path.removeprefix(prefix)))
        if batch is None:
            return self._refused(404, "DoesNotExistError", "Batch not found")
        if asked.method == "GET":
            answer = Answered(200, {"data": dict(batch)})
            if self.meddle:
                self.meddle -= 1
                batch["modified"] = self._now()
            return answer
        if asked.method == "PUT":
            return self._put(batch, asked.json())
        return self._refused(405, "MethodNotAllowed", asked.method)

    def _put(self, batch: dict[str, Any], given: dict[str, Any]) -> Answered:
        if given.get("modified", batch["modified"]) != batch["modified"]:
            return self._refused(417, "TimestampMismatchError", "Document has been modified after you have opened it")
        if unknown := set(given) - set(batch):
            return self._refused(417, "ValidationError", f"unknown fields {unknown}")
        if given.get("custom_quality_status", "") not in STATUSES:
            return self._refused(417, "ValidationError", 'Quality Status cannot be "Nonsense"')
        batch |= {**given, "modified": self._now()}
        self.writes.append({"batch": batch["name"], **given})
        return Answered(200, {"data": dict(batch)})

    def _refused(self, status: int, kind: str, words: str) -> Answered:
        return Answered(status, {"exc_type": kind, "exception": f"frappe.exceptions.{kind}: {words}"})

    def _now(self) -> str:
        return f"2026-11-27 08:00:{next(self._instants):09.6f}"

    def door(self, verb: str, given: dict[str, Any]) -> Any:
        if verb == "receive":
            self.batches[given["lot"]] = {
                "name": given["lot"], "item": given["item"], "batch_qty": given["quantity"], "disabled": 0,
                "custom_quality_status": "", "modified": self._now(),
            }  # fmt: skip
        elif verb == "change":
            self.batches[given["lot"]] |= {**given["to"], "modified": self._now()}
        elif verb == "too-many":
            self.too_many = given["times"]
        elif verb == "meddle":
            self.meddle = given["times"]
        return {"batches": [*self.batches.values()], "writes": self.writes}


if __name__ == "__main__":
    serve(ErpNext)
