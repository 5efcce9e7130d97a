"""What would break a caller between two versions of the contract: removed calls and fields, new duties, narrower values.

What a caller sends (``into``) may be asked for less and may be more; what it gets may be more and must still be there.
Run as a program it accepts what was added: it writes the present contract into ``contract_v1.json``, unless that breaks.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

KEPT = Path(__file__).with_name("contract_v1.json")
_BOUNDS = tuple((way + what, 1 if way == "min" else -1) for way in ("min", "max") for what in ("imum", "Length", "Items"))
_METHODS = ("get", "post", "put", "patch", "delete")


def present() -> dict[str, Any]:
    """The contract as the code has it: OpenAPI, and the schema of each event type and of a change."""
    from api import asyncapi, openapi

    whole = {"openapi": openapi.document(), "asyncapi": asyncapi.document()}
    found: dict[str, Any] = _bare(json.loads(json.dumps(whole)))
    for calls in found["openapi"]["paths"].values():
        for call in calls.values():
            # Problems are one form for all calls; which code comes with which status is the handbook's.
            call["responses"] = {s: answer for s, answer in call["responses"].items() if int(s) < 400}
    return found


def _bare(part: Any) -> Any:
    """``part`` without the words for people."""
    if isinstance(part, dict):
        return {
            name: _bare(inner)
            for name, inner in part.items()
            if not (name in ("description", "summary") and isinstance(inner, str))
        }
    return [_bare(inner) for inner in part] if isinstance(part, list) else part


def breaks(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Everything that a caller of ``old`` would miss in ``new``, a sentence each."""
    found = list(_calls(old["openapi"], new["openapi"]))
    before, after = old["asyncapi"]["components"], new["asyncapi"]["components"]
    for name, message in before["messages"].items():
        if name not in after["messages"]:
            found.append(f"{name}: the event type is gone")
            continue
        pair = message["payload"]["schema"], after["messages"][name]["payload"]["schema"]
        walk = _Walk(old["asyncapi"], new["asyncapi"], into=name != "change")
        found += walk.compare(*pair, name)
    return list(dict.fromkeys(found))


def _calls(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    for path, calls in old["paths"].items():
        for method in (m for m in _METHODS if m in calls):
            name = f"{method.upper()} {path}"
            after = new["paths"].get(path, {}).get(method)
            if after is None:
                yield f"{name}: the call is gone"
                continue
            yield from _call(calls[method], after, name, _Walk(old, new, into=True), _Walk(old, new, into=False))


def _call(old: dict[str, Any], new: dict[str, Any], name: str, into: "_Walk", out: "_Walk") -> Iterator[str]:
    before = {(p["in"], p["name"]): p for p in old.get("parameters", ())}
    after = {(p["in"], p["name"]): p for p in new.get("parameters", ())}
    for key, parameter in after.items():
        if parameter["required"] and not before.get(key, {}).get("required", False):
            yield f"{name}: the {key[0]} parameter {key[1]} has become required"
    for key, parameter in before.items():
        if key not in after:
            yield f"{name}: the {key[0]} parameter {key[1]} is gone"
        else:
            yield from into.compare(parameter["schema"], after[key]["schema"], f"{name} {key[1]}")
    sent, taken = old.get("requestBody"), new.get("requestBody")
    if taken and taken["required"] and not (sent and sent["required"]):
        yield f"{name}: a body has become required"
    for media, body in (sent or {"content": {}})["content"].items():
        if media not in (taken or {"content": {}})["content"]:
            yield f"{name}: {media} is taken no longer"
        else:
            yield from into.compare(body["schema"], taken["content"][media]["schema"], f"{name} body")
    for status, answer in old["responses"].items():
        if status not in new["responses"]:
            if int(status) < 400:
                yield f"{name}: it answers {status} no longer"
            continue
        for media, body in answer.get("content", {}).items():
            given = new["responses"][status].get("content", {})
            if media not in given:
                yield f"{name}: {status} is no longer {media}"
            else:
                yield from out.compare(body["schema"], given[media]["schema"], f"{name} {status}")


class _Walk:
    """Two schemas side by side, through their references."""

    def __init__(self, old: dict[str, Any], new: dict[str, Any], *, into: bool) -> None:
        self._old, self._new, self._into = old, new, into
        self._seen: set[tuple[str, str]] = set()

    def compare(self, old: Any, new: Any, place: str) -> Iterator[str]:
        """What breaks between two schemas."""
        if old is True or old == {}:
            if self._into and new not in (True, {}):
                yield f"{place}: it may no longer be anything"
            return
        if isinstance(old, dict) and "$ref" in old and isinstance(new, dict) and "$ref" in new:
            pair = old["$ref"], new["$ref"]
            if pair in self._seen:
                return
            self._seen.add(pair)
        old, new = _resolved(old, self._old), _resolved(new, self._new)
        yield from self._choices(old, new, place)
        yield from self._values(old, new, place)
        yield from self._fields(old, new, place)
        for name in ("items", "additionalProperties"):
            if isinstance(old.get(name), dict):
                yield from self.compare(old[name], new.get(name, {}), f"{place}[]")
        if self._into and new.get("additionalProperties") is False and old.get("additionalProperties") is not False:
            yield f"{place}: it takes no unknown fields any longer"
        for number, (before, after) in enumerate(zip(old.get("prefixItems", ()), new.get("prefixItems", ()), strict=False)):
            yield from self.compare(before, after, f"{place}[{number}]")

    def _choices(self, old: dict[str, Any], new: dict[str, Any], place: str) -> Iterator[str]:
        before = {_name(choice): choice for choice in old.get("anyOf", old.get("oneOf", ()))}
        after = {_name(choice): choice for choice in new.get("anyOf", new.get("oneOf", ()))}
        if not before and not after:
            return
        before, after = before or {_name(old): old}, after or {_name(new): new}
        for name, choice in before.items():
            if name in after:
                if not (choice is old and after[name] is new):
                    yield from self.compare(choice, after[name], place)
            elif self._into:
                yield f"{place}: {name} is taken no longer"
        if not self._into and "null" in after and "null" not in before:
            yield f"{place}: it can be null now"

    def _values(self, old: dict[str, Any], new: dict[str, Any], place: str) -> Iterator[str]:
        before, after = _types(old), _types(new)
        missing = before - after if self._into else after - before
        if before and after and missing:
            yield f"{place}: its type was {'/'.join(sorted(before))}, is {'/'.join(sorted(after))}"
        if self._into and "enum" in new and not {*map(str, old.get("enum", ["any"]))} <= {*map(str, new["enum"])}:
            yield f"{place}: it takes fewer values"
        if self._into:
            for bound, tighter in _BOUNDS:
                if bound in new and (bound not in old or (new[bound] - old[bound]) * tighter > 0):
                    yield f"{place}: {bound} has become {new[bound]}"
            if new.get("pattern") not in (None, old.get("pattern")):
                yield f"{place}: it has to match {new['pattern']}"

    def _fields(self, old: dict[str, Any], new: dict[str, Any], place: str) -> Iterator[str]:
        before, after = old.get("properties", {}), new.get("properties", {})
        for name, field in before.items():
            if name not in after:
                yield f"{place}.{name}: the field is gone"
            else:
                yield from self.compare(field, after[name], f"{place}.{name}")
        had, has = set(old.get("required", ())), set(new.get("required", ()))
        if "properties" in old and "properties" in new:
            for name in sorted(has - had if self._into else (had - has) & after.keys()):
                yield f"{place}.{name}: it {'has become required' if self._into else 'is no longer always there'}"


def _types(schema: dict[str, Any]) -> set[str]:
    named = schema.get("type", ())
    return {named} if isinstance(named, str) else set(named)


def _name(choice: dict[str, Any]) -> str:
    reference: str = choice.get("$ref", "")
    return reference.rpartition("/")[2] or "/".join(sorted(_types(choice))) or "anything"


def _resolved(schema: Any, document: dict[str, Any]) -> dict[str, Any]:
    while isinstance(schema, dict) and "$ref" in schema:
        target: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        schema = target
    return schema if isinstance(schema, dict) else {}


def main() -> int:
    """Accept what was added; 1 and what breaks when something does."""
    now = present()
    broken = breaks(json.loads(KEPT.read_text(encoding="utf-8")), now) if KEPT.exists() else []
    for sentence in broken:
        print(sentence)
    if not broken:
        KEPT.write_text(json.dumps(now, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
