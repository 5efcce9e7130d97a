"""OpenAPI 3.1 of this service, from the table of operations and the structs themselves.

Component schemas come from msgspec, so that a closed object says ``additionalProperties: false`` and the
document promises what the decoder does. What may not enter: what handlers do.
"""

import re
from functools import cache
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Request, Response, get

from api.conditional import conditional
from api.deprecation import words_of
from api.operations import OPERATIONS
from api.parameters import Operation
from api.problem_types import CATALOGUE
from api.problems import ProblemDetails
from engine.answer import Problem

VERSION = "1.0.0"
_REF = "#/components/schemas/{name}"
_METHODS = {(o.method, o.path) for o in OPERATIONS}
#: Problems that any call with a key can be answered with.
_ALWAYS = (400, 401, 403, 429, 431, 500)


def document() -> dict[str, Any]:
    """The OpenAPI document."""
    wanted: list[Any] = [Problem, ProblemDetails]
    for operation in OPERATIONS:
        wanted += _types_of(operation)
    found, components = msgspec.json.schema_components(wanted, schema_hook=foreign, ref_template=_REF)
    schemas = dict(zip(map(str, wanted), found, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _call(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Lotgate",
            "version": VERSION,
            "summary": "Lot quality events in, governed lot states out.",
            "description": "Errors are RFC 9457 problem details; each `type` has a page under /problems.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {"key": []}],
        "paths": paths,
        "components": {
            "schemas": widen(components),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def widen(schema: Any) -> Any:
    """Decimals are read from JSON numbers too; msgspec's schema speaks of the text it writes."""
    if isinstance(schema, dict):
        if schema.get("format") == "decimal":
            return {**schema, "type": ["string", "number"]}
        return {name: widen(part) for name, part in schema.items()}
    return [widen(part) for part in schema] if isinstance(schema, list) else schema


def _types_of(operation: Operation) -> list[Any]:
    bodies = list((operation.body or {}).values())
    if operation.answer_line is not None:
        bodies.append(operation.answer_line)
    return bodies + [kind for answer in operation.answers.values() for kind in _kinds(answer)]


def _kinds(answer: Any) -> tuple[Any, ...]:
    if answer is None:
        return ()
    return answer if isinstance(answer, tuple) else (answer,)


def foreign(kind: type) -> dict[str, Any]:
    """The schema of a type that msgspec does not know by itself."""
    if kind is msgspec.Raw:
        return {}
    raise TypeError(f"no schema is known for {kind!r}")


def _call(operation: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    call: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "responses": _responses(operation, schemas),
    }
    if operation.role is None:
        call["security"] = []
    else:
        named = " or ".join(f"`{role}`" for role in operation.roles)
        call["description"] = f"Needs the role {named}."
    if operation.deprecated is not None:
        call["deprecated"] = True
        call["description"] = f"{call.get('description', '')} {words_of(operation.deprecated)}".strip()
    if operation.parameters:
        call["parameters"] = [
            {
                "name": p.name,
                "in": p.place,
                "description": p.description,
                "required": p.required,
                "schema": p.schema,
            }
            for p in operation.parameters
        ]
    if operation.body is not None:
        content = {media: {"schema": schemas[str(kind)]} for media, kind in operation.body.items()}
        call["requestBody"] = {"required": operation.body_required, "content": content}
    return call


def _names_another(operation: Operation) -> bool:
    """Can a parameter in the path make it the address of another call, one with other methods (405)?"""
    if "{" not in operation.path:
        return False
    mine = re.compile(re.sub(r"\\{[a-z_]+\\}", "[^/]+", re.escape(operation.path)))
    others = {o.path for o in OPERATIONS if o.path != operation.path and mine.fullmatch(o.path)}
    return any((operation.method, path) not in _METHODS for path in others)


def _responses(operation: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, answer in operation.answers.items():
        responses[str(status)] = {"description": HTTPStatus(status).phrase}
        found = [schemas[str(kind)] for kind in _kinds(answer)]
        if found:
            schema = found[0] if len(found) == 1 else {"anyOf": found}
            responses[str(status)]["content"] = {operation.answer_media_type: {"schema": schema}}
            if operation.answer_line is not None:
                line = {"schema": schemas[str(operation.answer_line)]}
                responses[str(status)]["content"]["application/x-ndjson"] = line
    always = _ALWAYS if operation.role is not None else (431, 500)
    names = (405,) if _names_another(operation) else ()
    for status in sorted({*always, *operation.problems, *names}):
        responses.setdefault(str(status), _problem(status))
    return responses


def _problem(status: int) -> dict[str, Any]:
    codes = [f"`{row.code}`" for row in CATALOGUE.values() if row.status == status]
    schema = {"anyOf": [{"$ref": _REF.format(name=name)} for name in ("ProblemDetails", "Problem")]}
    return {
        "description": f"{HTTPStatus(status).phrase}: {', '.join(codes)}",
        "content": {"application/problem+json": {"schema": schema}},
    }


@cache
def _encoded() -> bytes:
    return msgspec.json.encode(document())


@get("/schema/openapi.json")
async def openapi_document(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The document, for tools."""
    return conditional(_encoded(), "application/vnd.oai.openapi+json", request)
