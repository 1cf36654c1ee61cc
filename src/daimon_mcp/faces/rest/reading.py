"""From an HTTP request to the values of an operation's request: path, query, JSON body, and a few header fields."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final, NamedTuple, cast

import orjson
from pydantic import AliasChoices
from starlette.datastructures import QueryParams
from starlette.requests import Request

from daimon_mcp.domain.refusals import RefusalCode, Refused, invalid
from daimon_mcp.faces.rest.route import AnyRoute
from daimon_mcp.faces.web.bodies import bounded
from daimon_mcp.operations.requests import Request as Model

ROOM: Final = 1024 * 1024
"""Octets that JSON may have beside a mail of the largest size, whose files it holds in base64."""
MOST_OFFSET: Final = 10_000
MOST_QUERY: Final = 100
_TRUE, _FALSE = frozenset({"true", "1"}), frozenset({"false", "0"})
_CLIENT_ID = ("client_id", "Idempotency-Key")


async def values_of(
    route: AnyRoute, request: Request, places: Mapping[str, str], max_message_bytes: int
) -> dict[str, Any]:
    """What the operation is asked: fields of the path, the query or the body, and those the route itself sets.

    `places` are what stands in the path. Raises INVALID_REQUEST, MESSAGE_TOO_LARGE, and TooSlow for a body that does
    not come.
    """
    if route.has_body:
        values = await _body(request, max_message_bytes * 3 // 2 + ROOM)
        if request.scope["query_string"]:
            raise invalid("query", "must be empty here: what it says belongs into the JSON body")
    else:
        values = _query(route, request.query_params)
    known = _names(route.request)
    for name in values:
        if (found := known.get(name)) is not None and found.field in route.taken:
            place = "the path" if found.field in route.places else "this route"
            raise invalid(name, f"is not given here: {place} says it")
    if "client_id" in route.fields:
        _from_header(request, *_CLIENT_ID, values)
    for name, header in route.headers.items():
        _from_header(request, name, header, values)
    values.update(route.fixed)
    for name in route.places:
        values[name] = places[name]
    return values


def _from_header(request: Request, name: str, header: str, values: dict[str, Any]) -> None:
    said = request.headers.get(header)
    if said is None:
        return
    if values.get(name, said) != said:
        raise invalid(name, f"is another one than the field {header} says: give one of them")
    values[name] = said


async def _body(request: Request, most: int) -> dict[str, Any]:
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > most:
        raise _too_large(most)
    raw = b"".join([piece async for piece in bounded(request, most, _too_large)])
    if not raw.strip():
        return {}
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() not in ("application/json", ""):
        raise invalid("Content-Type", "must be application/json", "application/json")
    try:
        found: object = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise invalid("body", "is not JSON", '{"to": "ann@example.com"}') from None
    if not isinstance(found, dict):
        raise invalid("body", "must be a JSON object", '{"to": "ann@example.com"}')
    return cast("dict[str, Any]", found)


def _too_large(most: int) -> Refused:
    return Refused(RefusalCode.MESSAGE_TOO_LARGE, reason="RAW", facts={"limit": most})


def _query(route: AnyRoute, query: QueryParams) -> dict[str, Any]:
    given: dict[str, list[str]] = {}
    for place, (name, value) in enumerate(query.multi_items()):
        if place >= MOST_QUERY:
            raise invalid("query", f"has more than {MOST_QUERY} parameters")
        if name != "offset" or not route.lists:
            given.setdefault(name, []).append(value)
    known = _names(route.request)
    values: dict[str, Any] = {}
    for name, texts in given.items():
        kind = known[name].kind if name in known else "string"
        if kind == "array":
            values[name] = [each for text in texts for each in text.split(",") if each]
        elif len(texts) > 1:
            raise invalid(name if name in known else "query", "may be given once")
        else:
            values[name] = _value(kind, texts[0])
    return values


def _value(kind: str, text: str) -> object:
    """What a text of the query stands for; the text itself where it does not, for the refusal to be told of it."""
    if kind == "boolean":
        return True if text.lower() in _TRUE else False if text.lower() in _FALSE else text
    if kind == "integer" and len(text) < 20 and text.isascii() and text.removeprefix("-").isdecimal():
        return int(text)
    return text


class _Named(NamedTuple):
    """What a name means: a field of the request, and the type that JSON has for it."""

    field: str
    kind: str


@cache
def _names(model: type[Model]) -> Mapping[str, _Named]:
    """Every name that a caller may use."""
    properties = cast("dict[str, dict[str, Any]]", model.model_json_schema().get("properties", {}))
    found: dict[str, _Named] = {}
    for field, info in model.model_fields.items():
        alias = info.validation_alias
        others = alias.choices if isinstance(alias, AliasChoices) else [alias]
        names = [field, *(each for each in others if isinstance(each, str))]
        schema = next(properties[name] for name in names if name in properties)
        types = [each.get("type") for each in (schema, *schema.get("anyOf", ()))]
        kind = next((each for each in types if isinstance(each, str) and each != "null"), "string")
        found |= {name: _Named(field, kind) for name in names}
    return found


def offset_of(route: AnyRoute, request: Request) -> int:
    """How many entries of the list are passed over. Raises INVALID_REQUEST."""
    text = request.query_params.get("offset") if route.lists else None
    if text is None:
        return 0
    found = _value("integer", text)
    if not isinstance(found, int) or not 0 <= found <= MOST_OFFSET:
        raise invalid("offset", f"must be a whole number from 0 to {MOST_OFFSET}; the cursor goes further", "100")
    if "cursor" in request.query_params:
        raise invalid("offset", "goes without a cursor, which is a place already")
    return found
