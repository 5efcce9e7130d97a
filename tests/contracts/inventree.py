"""InvenTree's stock API as research on 0.18-dev found it: tokens, batches, atomic changes of status, 500 when busy."""

import base64
import itertools
from typing import Any

from tests.contracts.server import Answered, Asked, System, serve

USER, PASSWORD = "lotgate", "pa:ss wörd"
#: StockStatus.
CODES = (10, 50, 55, 60, 65, 70, 75, 85)
AVAILABLE = (10, 50, 55, 85)


class InvenTree(System):
    name = "inventree"

    def __init__(self) -> None:
        self.items: dict[int, dict[str, Any]] = {}
        self.track: list[dict[str, Any]] = []
        self.tokens: set[str] = set()
        self.logins = 0
        self.busy = 0
        self._numbers = itertools.count(1)

    def answer(self, asked: Asked) -> Answered:
        if asked.path == "/api/user/token/" and asked.method == "GET":
            return self._token(asked)
        scheme, _, token = asked.headers.get("authorization", "").partition(" ")
        if scheme != "Token" or token not in self.tokens:
            return Answered(401, {"detail": "Invalid token." if token else "Authentication credentials were not provided."})
        match asked.method, asked.path:
            case "GET", "/api/stock/":
                return self._list(asked)
            case "POST", "/api/stock/change_status/":
                return self._change(asked)
            case _:
                return Answered(404, {"detail": "API endpoint not found", "url": asked.path})

    def _token(self, asked: Asked) -> Answered:
        self.logins += 1
        said = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if asked.headers.get("authorization") != f"Basic {said}":
            return Answered(401, {"detail": "Invalid username/password."})
        token = f"inv-{self.logins:04d}-secret"
        self.tokens.add(token)
        return Answered(200, {"token": token, "expiry": "2027-11-23", "name": "lotgate"})

    def _list(self, asked: Asked) -> Answered:
        found = [item for item in self.items.values() if self._fits(item, asked.query)]
        limit, offset = int(asked.query.get("limit", 0)), int(asked.query.get("offset", 0))
        page = found[offset : offset + limit] if limit else found
        return Answered(200, {"count": len(found), "next": None, "previous": None, "results": page} if limit else page)

    def _fits(self, item: dict[str, Any], query: dict[str, str]) -> bool:
        wanted = [
            item["batch"] == query.get("batch", item["batch"]), item["IPN"] == query.get("IPN", item["IPN"]),
            query.get("in_stock") != "true" or (item["status"] in AVAILABLE and item["customer"] is None),
        ]  # fmt: skip
        if "sent_to_customer" in query:
            wanted.append((item["customer"] is not None) == (query["sent_to_customer"] == "true"))
        return all(wanted)

    def _change(self, asked: Asked) -> Answered:
        if self.busy:
            self.busy -= 1
            return Answered(500, {"error": "OperationalError", "error_details": "database is locked"})
        said = asked.json()
        items, status = said.get("items"), said.get("status")
        if not isinstance(items, list) or not items:
            return Answered(400, {"items": ["This list may not be empty."]})
        if status not in CODES:
            return Answered(400, {"status": [f'"{status}" is not a valid choice.']})
        for pk in items:
            if pk not in self.items:
                return Answered(400, {"items": [f'Invalid pk "{pk}" - object does not exist.']})
        for pk in items:
            item = self.items[pk]
            if item["status"] != status:
                item["status"], item["status_custom_key"] = status, None
                self.track.append({"item": pk, "status": status, "note": said.get("note", "")})
        return Answered(201, {"items": items, "status": status, "note": said.get("note", "")})

    def door(self, verb: str, given: dict[str, Any]) -> Any:
        if verb == "receive":
            for _ in range(given.pop("copies", 1)):
                pk = next(self._numbers)
                fresh = {"status": 10, "status_custom_key": None, "customer": None, "allocated": 0}
                self.items[pk] = {"pk": pk, **fresh, **given}
        elif verb == "ship":
            source = self.items[given["pk"]]
            source["quantity"] -= given["quantity"]
            if source["quantity"] <= 0:
                del self.items[given["pk"]]
            pk = next(self._numbers)
            self.items[pk] = {**source, "pk": pk, "quantity": given["quantity"], "customer": 7}
        elif verb == "change":
            self.items[given["pk"]] |= given
        elif verb == "forget-tokens":
            self.tokens.clear()
        elif verb == "busy":
            self.busy = given["times"]
        return {"items": list(self.items.values()), "track": self.track, "logins": self.logins}


if __name__ == "__main__":
    serve(InvenTree)
