"""The API's description (OpenAPI 3.1), made from the routes, what they take and what they answer.

`document` needs pydantic's schemas and takes a second: it is run by `make generate`, and its result, `openapi.json`,
is what is served and packaged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, cast

from pydantic import TypeAdapter
from pydantic.json_schema import models_json_schema

from daimon_mcp.faces.rest.reading import MOST_OFFSET
from daimon_mcp.faces.rest.route import AnyRoute
from daimon_mcp.faces.rest.shapes.errors import Refusal
from daimon_mcp.faces.rest.statuses import STATUSES, USUAL

FILE: Final = Path(__file__).with_name("openapi.json")
_REFERENCE: Final = "#/components/schemas/{model}"
_PLACE: Final = re.compile(r"\{(\w+)\}")
_WORDS: Final[Mapping[int, str]] = {
    401: "No key, or one that is not valid",
    402: "The operator can lift it: `upgrade_context` has the link and what to say",
    403: "The key may not do this, or the account is suspended",
    404: "There is no such thing, or not for this key",
    409: "It conflicts with how things stand",
    410: "What it was for is over",
    413: "Too large",
    422: "Something in the request is wrong: `fields` says what, and a value that would pass",
    429: "Too much at a time: `retry_after` says when",
    500: "A mistake of the server; the message has an id to look up in its log",
    503: "The store cannot be used just now",
}

Json = dict[str, Any]


def document(routes: Iterable[AnyRoute], *, version: str) -> Json:
    """The whole description."""
    routes = tuple(routes)
    schemas = _schemas(routes)
    paths: dict[str, Json] = {}
    names: set[str] = set()
    for route in routes:
        operation = _plain(_operation(route, _name(route, names), schemas))
        paths.setdefault(route.path, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "daimon-mcp",
            "version": version,
            "description": (
                "A mail server for AI agents: the operations of its tools, for programs. Every answer is an envelope: "
                "`result` and `next_steps`, or `error`, `message` and `next_steps`."
            ),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "tags": [{"name": name} for name in dict.fromkeys(route.tag for route in routes)],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "An account's key, or an inbox's"}
            },
            "schemas": {name: _plain(schema) for name, schema in sorted(schemas.definitions.items())},
        },
    }


class _Schemas:
    """Components, and what refers to them: requests as they are taken, results as they are answered."""

    def __init__(self, requests: Mapping[type[Any], Json], results: Mapping[int, Json], definitions: Json) -> None:
        self.requests = requests
        self.results = results
        self.definitions = definitions


def _schemas(routes: tuple[AnyRoute, ...]) -> _Schemas:
    requests = {
        route.request: cast("Json", route.request.model_json_schema(ref_template=_REFERENCE)) for route in routes
    }
    adapters: dict[int, TypeAdapter[Any]] = {
        id(route.result): TypeAdapter(cast("type[Any]", route.result)) for route in routes if route.result is not bytes
    }
    found, shared = TypeAdapter.json_schemas(
        [(key, "serialization", adapter) for key, adapter in adapters.items()], ref_template=_REFERENCE
    )
    definitions: Json = shared.get("$defs", {})
    _, errors = models_json_schema([(Refusal, "serialization")], ref_template=_REFERENCE)
    definitions.update(cast("Json", errors.get("$defs", {})))
    for schema in requests.values():
        definitions.update(schema.pop("$defs", {}))
    return _Schemas(requests, {key: schema for (key, _), schema in found.items()}, definitions)


def _name(route: AnyRoute, taken: set[str]) -> str:
    """A name of its own for each route: what an inbox has is told from what the account has."""
    name = route.operation
    if name in taken:
        name += (
            "_of_inbox" if "{inbox}" in route.path else "_of_thread" if "{thread_id}" in route.path else "_of_account"
        )
    number, first = 2, name
    while name in taken:
        name, number = f"{first}_{number}", number + 1
    taken.add(name)
    return name


def _operation(route: AnyRoute, name: str, schemas: _Schemas) -> Json:
    request = schemas.requests[route.request]
    fields = {key: value for key, value in request.get("properties", {}).items() if key not in route.taken}
    required = [key for key in request.get("required", ()) if key in fields]
    operation: Json = {"operationId": name, "tags": [route.tag], "summary": route.summary}
    if route.description:
        operation["description"] = route.description
    if route.without_key is not None:
        operation["security"] = [{"key": []}, {}]
    parameters = [
        {
            "name": each,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "minLength": 1},
            **_said(each, request),
        }
        for each in _PLACE.findall(route.path)
    ]
    parameters += [
        {"name": header, "in": "header", "required": False, "schema": {"type": "string"}}
        for header in route.headers.values()
    ]
    if route.has_body:
        if "client_id" in fields:
            parameters.append(
                {"name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "maxLength": 200}}
            )
        if fields:
            body: Json = {"type": "object", "properties": fields, "additionalProperties": False}
            if required:
                body["required"] = required
            operation["requestBody"] = {
                "required": bool(required),
                "content": {"application/json": {"schema": body}},
            }
    else:
        parameters += [
            {"name": key, "in": "query", "required": key in required, "schema": _queried(value), **_words(value)}
            for key, value in fields.items()
        ]
        if route.lists:
            bounds = {"type": "integer", "minimum": 0, "maximum": MOST_OFFSET}
            parameters.append({"name": "offset", "in": "query", "schema": bounds, "description": "Instead of cursor"})
    if parameters:
        operation["parameters"] = parameters
    operation["responses"] = _responses(route, schemas)
    return operation


_NAMED: Final = (
    "properties",
    "schemas",
    "responses",
    "headers",
    "content",
)  # what they hold are names, and not words of the schema


def _plain(value: Any, *, named: bool = False) -> Any:
    """Without titles, which say a name again, and defaults of null, which say nothing."""
    if isinstance(value, list):
        return [_plain(each) for each in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    entries = cast("Json", value)
    return {
        key: _plain(each, named=not named and key in _NAMED)
        for key, each in entries.items()
        if named or not (key == "title" or (key == "default" and each is None))
    }


def _said(name: str, request: Json) -> Json:
    return _words(request.get("properties", {}).get(name, {}))


def _words(schema: Json) -> Json:
    return {"description": schema["description"]} if "description" in schema else {}


def _queried(schema: Json) -> Json:
    """Without null, which no query can say."""
    choices = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
    if len(choices) == 1:
        kept = {key: value for key, value in schema.items() if key not in ("anyOf", "default", "title", "description")}
        return {**kept, **choices[0]}
    return {key: value for key, value in schema.items() if key not in ("title", "description")}


def _responses(route: AnyRoute, schemas: _Schemas) -> Json:
    responses: Json = {}
    if route.result is bytes:
        content: Json = {"message/rfc822": {"schema": {"type": "string", "contentMediaType": "message/rfc822"}}}
        responses["200"] = {"description": "The bytes as they came or left", "content": content}
        responses["206"] = {"description": "The part that Range asked for", "content": content}
        responses["304"] = {"description": "It is what If-None-Match names"}
        responses["416"] = {"description": "Range asks for what there is not"}
    else:
        envelope = {
            "type": "object",
            "properties": {
                "result": schemas.results[id(route.result)],
                "next_steps": {"type": "array", "items": {"type": "string"}},
            },
            "required": ["result", "next_steps"],
        }
        responses["200"] = {"description": "Done", "content": {"application/json": {"schema": envelope}}}
    by_status: dict[int, list[str]] = {}
    for code in {*route.refuses, *USUAL}:
        by_status.setdefault(STATUSES[code], []).append(str(code))
    for status in sorted(by_status):
        codes = ", ".join(f"`{code}`" for code in sorted(by_status[status]))
        answer: Json = {
            "description": f"{_WORDS[status]} ({codes})",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}},
        }
        if status == 429:
            answer["headers"] = {"Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}}
        responses[str(status)] = answer
    responses["408"] = {"description": "The request came too slowly"}
    return responses
