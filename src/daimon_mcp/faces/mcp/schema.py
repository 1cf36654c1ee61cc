"""JSON schemas small enough to be read by a model at every start: no titles, no references, no nulls nobody needs."""

from __future__ import annotations

from typing import Any, cast

from pydantic import BaseModel

Schema = dict[str, Any]


def input_schema(model: type[BaseModel], *, nullable: bool = False) -> Schema:
    """The arguments of a tool. `nullable` keeps null where it means something (null clears, left out keeps)."""
    full = model.model_json_schema(by_alias=True)
    definitions: dict[str, Schema] = full.pop("$defs", {})
    schema = _pruned(full, definitions, nullable=nullable)
    schema.pop("description", None)
    return {"type": "object", **{k: v for k, v in schema.items() if k != "type"}}


# Enforced all the same; a refusal names the bound. Saying them here would cost every conversation hundreds of bytes.
_UNSAID = {"maxLength", "minLength", "minimum", "maxItems", "pattern"}


_STRINGS: Schema = {"type": "array", "items": {"type": "string"}}


def _pruned(schema: Schema, definitions: dict[str, Schema], *, nullable: bool) -> Schema:
    if "$ref" in schema:
        return _pruned(definitions[schema["$ref"].rpartition("/")[2]], definitions, nullable=nullable)
    pruned: Schema = {}
    for key, value in schema.items():
        if (key == "title" and isinstance(value, str)) or key in _UNSAID:
            continue
        if key == "default" and (value is None or value is False):
            continue
        if key == "additionalProperties" and value is True:
            continue
        if key == "properties":
            pruned[key] = {name: _property(each, definitions, nullable=nullable) for name, each in value.items()}
        elif key == "items":
            pruned[key] = _pruned(cast(Schema, value), definitions, nullable=nullable)
        elif key == "anyOf":
            branches = [_pruned(each, definitions, nullable=nullable) for each in value]
            real = [branch for branch in branches if branch != {"type": "null"}]
            pruned |= real[0] if len(real) == 1 else {"anyOf": real}
        else:
            pruned[key] = value
    # Recipients may be written in several ways. Hosts that know one type for each field are shown the list of strings,
    # which can say all that the others can.
    return {**pruned, **_STRINGS} if pruned.get("type") == ["string", "array"] else pruned


def _property(schema: Schema, definitions: dict[str, Schema], *, nullable: bool) -> Schema:
    pruned = _pruned(schema, definitions, nullable=nullable)
    if not nullable or schema.get("default", ...) is not None:
        return pruned
    types = cast("str | list[str]", pruned["type"])
    return {**pruned, "type": [*([types] if isinstance(types, str) else types), "null"]}


_TYPES: dict[str, Schema] = {
    "s": {"type": "string"},
    "s?": {"type": ["string", "null"]},
    "n": {"type": "integer"},
    "n?": {"type": ["integer", "null"]},
    "b": {"type": "boolean"},
    "o": {"type": "object"},
    "o?": {"type": ["object", "null"]},
    "ss": {"type": "array", "items": {"type": "string"}},
    "os": {"type": "array", "items": {"type": "object"}},
}

_STEPS = {"type": "array"}


def output_schema(**fields: str) -> Schema:
    """The envelope around a result; each field is a short type name: `s` string, `n` integer, `?` or null, …

    Refusals use the same schema, so nothing is required: `error` and `message` (and more) stand in place of `result`.
    """
    return {
        "type": "object",
        "properties": {
            "result": {"type": "object", "properties": {name: _TYPES[kind] for name, kind in fields.items()}},
            "error": {"type": "string"},
            "next_steps": _STEPS,
        },
    }
