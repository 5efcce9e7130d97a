"""Odoo's stock by JSON-RPC (research on 14) and by JSON-2 (documentation of 19): one database, two doors.

JSON-RPC says every refusal with status 200; JSON-2 with the status that fits. An internal transfer is done when
``button_validate`` gives true: a dictionary is a wizard, and nothing has happened.
"""

import itertools
from typing import Any

from tests.contracts.server import Answered, Asked, System, serve

DATABASE, LOGIN, UID, KEY = "plant", "lotgate@plant.example", 6, "odoo-api-key-secret"
#: Internal locations by their full names.
LOCATIONS = {8: "WH/Stock", 20: "WH/Stock/Quality", 21: "WH/Stock/Blocked", 5: "Partners/Customers"}


class Refused(Exception):
    def __init__(self, kind: str, message: str, status: int) -> None:
        super().__init__(message)
        self.kind, self.message, self.status = kind, message, status


class Odoo(System):
    name = "odoo"

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self.lots: dict[int, dict[str, Any]] = {}
        self.quants: dict[int, dict[str, Any]] = {}
        self.pickings: dict[int, dict[str, Any]] = {}
        self.wizard = 0
        self.fails = 0

    # -- doors -----------------------------------------------------------------------------------------------------

    def answer(self, asked: Asked) -> Answered:
        if asked.path == "/jsonrpc" and asked.method == "POST":
            return self._json_rpc(asked)
        if asked.path.startswith("/json/2/") and asked.method == "POST":
            return self._json_2(asked)
        return Answered(404, "<!doctype html><title>404 Not Found</title>")

    def _json_rpc(self, asked: Asked) -> Answered:
        try:
            said = asked.json()
            params = said["params"]
            service, method, args = params["service"], params["method"], params["args"]
        except (ValueError, KeyError, TypeError):
            return Answered(400, "<!doctype html><title>400 Bad Request</title>")
        envelope = {"jsonrpc": "2.0", "id": said.get("id")}
        try:
            if (service, method) == ("common", "login"):
                return Answered(200, {**envelope, "result": UID if args == [DATABASE, LOGIN, KEY] else False})
            if (service, method) != ("object", "execute_kw"):
                raise Refused("builtins.KeyError", method, 500)
            database, uid, key, model, name, positional, *rest = args
            if (database, uid, key) != (DATABASE, UID, KEY):
                raise Refused("odoo.exceptions.AccessDenied", "Access Denied", 403)
            result = self.execute(model, name, positional, rest[0] if rest else {})
            return Answered(200, {**envelope, "result": result})
        except Refused as refused:
            data = {"name": refused.kind, "message": refused.message, "arguments": [refused.message], "debug": "…"}
            return Answered(200, {**envelope, "error": {"code": 200, "message": "Odoo Server Error", "data": data}})

    def _json_2(self, asked: Asked) -> Answered:
        if asked.headers.get("authorization", "").lower() != f"bearer {KEY}".lower():
            return Answered(401, {"name": "werkzeug.exceptions.Unauthorized", "message": "Invalid apikey"})
        if asked.headers.get("x-odoo-database", DATABASE) != DATABASE:
            return Answered(404, {"name": "werkzeug.exceptions.NotFound", "message": "database not found"})
        if not asked.headers.get("content-type", "").startswith("application/json"):
            return Answered(415, {"name": "werkzeug.exceptions.UnsupportedMediaType", "message": "JSON only"})
        _, _, _, model, method = asked.path.split("/", 4)
        named = dict(asked.json())
        named.pop("context", None)
        ids = named.pop("ids", None)
        try:
            if method == "create":
                result: Any = [self.execute(model, method, [values], {}) for values in named.pop("vals_list")]
            elif method == "search_read":
                result = self.execute(model, method, [named.pop("domain", [])], named)
            else:
                result = self.execute(model, method, [ids], named)
            return Answered(200, result)
        except Refused as refused:
            return Answered(refused.status, {"name": refused.kind, "message": refused.message, "arguments": []})

    # -- the database ----------------------------------------------------------------------------------------------

    def execute(self, model: str, method: str, positional: list[Any], named: dict[str, Any]) -> Any:
        if self.fails:
            self.fails -= 1
            raise Refused("psycopg2.errors.SerializationFailure", "could not serialize access", 500)
        match model, method:
            case "stock.lot" | "stock.quant" | "stock.location" | "stock.picking", "search_read":
                return self._search(model, positional[0], named)
            case "stock.picking", "create":
                return self._create(positional[0])
            case "stock.picking", "button_validate":
                return self._validate(positional[0])
            case "stock.picking", "action_cancel":
                for identity in positional[0]:
                    self.pickings[identity]["state"] = "cancel"
                return True
            case "stock.lot" | "stock.quant" | "stock.picking" | "stock.location", _:
                raise Refused("builtins.AttributeError", f"The method '{model}.{method}' does not exist", 404)
            case _:
                raise Refused("builtins.KeyError", model, 404)

    def _search(self, model: str, domain: list[Any], named: dict[str, Any]) -> list[dict[str, Any]]:
        locations = {n: {"id": n, "complete_name": name, "usage": "customer" if n == 5 else "internal"}
                     for n, name in LOCATIONS.items()}  # fmt: skip
        tables = {"stock.lot": self.lots, "stock.quant": self.quants, "stock.location": locations, "stock.picking": self.pickings}
        found = [record for record in tables[model].values() if all(_fits(record, term) for term in domain)]
        unknown = set(named) - {"fields", "limit", "offset", "order"}
        if unknown:
            raise Refused("builtins.TypeError", f"search_read() got an unexpected keyword argument {unknown}", 422)
        fields = {"id", *named.get("fields", [])}
        if any("." in field for field in fields):
            raise Refused("builtins.ValueError", f"Invalid field in {fields} on model {model}", 422)
        for record in found:
            if missing := fields - set(record):
                raise Refused("builtins.ValueError", f"Invalid field {missing} on model {model}", 422)
        return [{name: record[name] for name in fields} for record in found[: named.get("limit") or None]]

    def _create(self, values: dict[str, Any]) -> int:
        for name in ("picking_type_id", "location_id", "location_dest_id"):
            if not isinstance(values.get(name), int):
                raise Refused("odoo.exceptions.ValidationError", f"Missing required field {name}", 422)
        lines = [command[2] for command in values.get("move_line_ids", []) if command[0] == 0]
        if not lines:
            raise Refused("odoo.exceptions.UserError", "Please add some items to move.", 422)
        identity = next(self._numbers)
        self.pickings[identity] = {
            "id": identity, "origin": values.get("origin", False), "state": "draft", "lines": lines,
            "location_id": _named(values["location_id"]), "location_dest_id": _named(values["location_dest_id"]),
            "move_line_ids.lot_id": [line["lot_id"] for line in lines],
        }  # fmt: skip
        return identity

    def _validate(self, ids: list[int]) -> Any:
        if self.wizard:
            self.wizard -= 1
            return {"type": "ir.actions.act_window", "res_model": "stock.immediate.transfer"}
        for identity in ids:
            picking = self.pickings.get(identity)
            if picking is None:
                raise Refused("odoo.exceptions.MissingError", "Record does not exist or has been deleted.", 404)
            if picking["state"] in ("done", "cancel"):
                raise Refused("odoo.exceptions.UserError", f"You cannot validate a {picking['state']} transfer.", 422)
            for line in picking["lines"]:
                done = line.get("qty_done", line.get("quantity"))
                self._move(line["lot_id"], picking["location_id"][0], picking["location_dest_id"][0], done)
            picking["state"] = "done"
        return True

    def _move(self, lot: int, source: int, sink: int, quantity: float) -> None:
        """As Odoo does: it moves what was asked for, below nothing too, and takes reservations away."""
        for location, change in ((source, -quantity), (sink, quantity)):
            quant = self._quant(lot, location)
            quant["quantity"] += change
            quant["reserved_quantity"] = max(0.0, min(quant["reserved_quantity"], quant["quantity"]))
        self.quants = {n: q for n, q in self.quants.items() if q["quantity"] != 0}

    def _quant(self, lot: int, location: int) -> dict[str, Any]:
        for quant in self.quants.values():
            if (quant["lot_id"][0], quant["location_id"][0]) == (lot, location):
                return quant
        identity = next(self._numbers)
        self.quants[identity] = {
            "id": identity, "lot_id": [lot, self.lots[lot]["name"]], "location_id": _named(location), "quantity": 0.0,
            "reserved_quantity": 0.0, "product_id": self.lots[lot]["product_id"],
            "product_uom_id": [1, "Units"], "location_id.usage": "customer" if location == 5 else "internal",
        }  # fmt: skip
        return self.quants[identity]

    def door(self, verb: str, given: dict[str, Any]) -> Any:
        if verb == "receive":
            lot = next(self._numbers)
            self.lots[lot] = {
                "id": lot, "name": given["lot"], "product_id": [3, given["item"]],
                "product_id.default_code": given["item"],
            }  # fmt: skip
            self._quant(lot, given.get("location", 8))["quantity"] = given["quantity"]
        elif verb == "ship":
            lot = next(n for n, record in self.lots.items() if record["name"] == given["lot"])
            self._move(lot, given["location"], 5, given["quantity"])
        elif verb == "wizard":
            self.wizard = given["times"]
        elif verb == "fails":
            self.fails = given["times"]
        return {"quants": [*self.quants.values()], "pickings": [*self.pickings.values()]}


def _named(location: int) -> list[Any]:
    if location not in LOCATIONS:
        raise Refused("odoo.exceptions.MissingError", f"location {location} does not exist", 404)
    return [location, LOCATIONS[location]]


def _fits(record: dict[str, Any], term: Any) -> bool:
    name, operator, value = term
    if name not in record:
        raise Refused("builtins.ValueError", f"Invalid field {name!r} in leaf {term!r}", 422)
    if name == "move_line_ids.lot_id":
        return value in record[name]
    there = record[name][0] if isinstance(record[name], list) and isinstance(value, int | list) else record[name]
    match operator:
        case "=":
            return bool(there == value)
        case "!=":
            return bool(there != value)
        case "in":
            return there in value
        case "not in":
            return there not in value
        case ">":
            return bool(there > value)
        case "=like" | "like":
            return str(value).strip("%") in str(there)
        case _:
            raise Refused("builtins.ValueError", f"Invalid operator {operator!r}", 422)


if __name__ == "__main__":
    serve(Odoo)
