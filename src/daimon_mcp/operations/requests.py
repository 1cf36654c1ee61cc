"""Reading what callers send: strict models, and refusals that say how to do it right.

A wrong input is refused whole. The refusal names each field, says what was wrong and shows a value that would pass; it
never repeats the value that was given.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, TypeVar, cast

import orjson
from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema

from daimon_mcp.domain.clock import BadTime, parse_time
from daimon_mcp.domain.ids import canonical_id
from daimon_mcp.domain.refusals import FieldProblem, RefusalCode, Refused


class Request(BaseModel):
    """Base of what operations take. Unknown names are refused, types are not guessed."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, validate_by_name=True, validate_by_alias=True)


R = TypeVar("R", bound=Request)


def _time(value: object) -> object:
    if isinstance(value, str):
        try:
            return parse_time(value)
        except BadTime as error:
            raise ValueError(str(error)) from None
    if isinstance(value, int) and not isinstance(value, bool):
        raise ValueError("must be an ISO 8601 time")
    return value


def _id(value: object) -> object:
    return canonical_id(value) if isinstance(value, str) else value


# A time with an offset, on the wire a string, inside epoch µs.
Moment = Annotated[int, BeforeValidator(_time), WithJsonSchema({"type": "string"})]
Id = Annotated[str, BeforeValidator(_id), Field(min_length=1, max_length=320)]
ClientId = Annotated[str, Field(min_length=1, max_length=200)]
Reason = Annotated[str, Field(max_length=300)]
# Recipients: "a@x.org", "Ann <a@x.org>, b@y.org", a list of those, or {"email", "name"} objects.
People = Annotated[
    str | dict[str, str | None] | list[str | dict[str, str | None]],
    WithJsonSchema({"type": ["string", "array"], "items": {}}),
]

_EXAMPLES: Mapping[str, str] = {
    "to": '"ann@example.com"',
    "cc": '["bob@example.com"]',
    "bcc": '["bob@example.com"]',
    "send_at": '"2030-01-31T09:00:00Z"',
    "before": '"2026-11-21T09:00:00Z"',
    "limit": "20",
    "timeout_seconds": "60",
    "labels": '["invoice"]',
    "max_tokens": "2000",
    "target_tier": '"starter"',
    "references": '["<abc@example.com>"]',
    "metadata": '{"purpose": "support"}',
    "username": '"support-bot"',
    "attachments": '[{"attachment_id": "att_…"}] or [{"filename": "a.txt", "content": "aGk="}]',
    "headers": '{"X-Ticket": "42"}',
    "reply_to": '"ann@example.com"',
    "subject": '"Hello"',
    "body": '"Hello Ann"',
    "inbox": '"inb_…" or "name@domain"',
    "message_id": '"msg_…"',
    "thread_id": '"thr_…"',
    "draft_id": '"dft_…"',
    "attachment_id": '"att_…"',
    "approval_id": '"apr_…"',
    "query": '"from:ann invoice"',
    "domain": '"agents.example.com"',
    "list": '"block"',
    "entries": '["ann@example.com", "example.org"]',
    "issue": '"May I accept the offer?"',
    "context": '{"order": "A-17"}',
}


_SURROGATES = re.compile("[\ud800-\udfff]")
# A name that a caller made up is repeated only where it looks like one.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")


def _names(model: type[BaseModel]) -> list[str]:
    return list(model.model_fields)


def _near(name: str, names: list[str]) -> str | None:
    """The one that was meant: spelt nearly so. Two names that share only some letters mean different things."""
    near = difflib.get_close_matches(name, names, 1, 0.66 if len(name) <= 3 else 0.75)
    return near[0] if near else None


def _problem(model: type[BaseModel], error: Mapping[str, Any]) -> FieldProblem:
    location = [part for part in error["loc"] if not _is_branch(part)]
    field = ".".join(str(part) for part in location if _NAME.fullmatch(str(part))) or "arguments"
    top = str(location[0]) if location else ""
    kind = str(error["type"])
    context: Mapping[str, Any] = error.get("ctx") or {}
    example = _EXAMPLES.get(top)
    match kind:
        case "extra_forbidden":
            near = _near(top, _names(model))
            known = f" (did you mean {near}?)" if near else f"; known are {', '.join(_names(model))}"
            return FieldProblem(field, f"is not an argument here{known}")
        case "missing":
            return FieldProblem(field, "is required", example)
        case "string_too_short" | "too_short":
            return FieldProblem(field, "must not be empty", example)
        case "string_too_long":
            return FieldProblem(field, f"must be at most {context.get('max_length')} characters", example)
        case "too_long":
            if context.get("field_type") == "Value":  # a text that is checked before its length is
                return FieldProblem(field, f"must be at most {context.get('max_length')} characters", example)
            return FieldProblem(field, f"must have at most {context.get('max_length')} items", example)
        case "greater_than_equal" | "greater_than":
            bound = context.get("ge", context.get("gt"))
            return FieldProblem(field, f"must be {'more than' if 'gt' in context else 'at least'} {bound}", example)
        case "less_than_equal" | "less_than":
            bound = context.get("le", context.get("lt"))
            return FieldProblem(field, f"must be {'less than' if 'lt' in context else 'at most'} {bound}", example)
        case "literal_error" | "enum":
            return FieldProblem(field, f"must be one of {context.get('expected')}", None)
        case "value_error":
            return FieldProblem(field, str(context.get("error", "is not valid")), example)
        case _:
            wanted = {
                "string_type": "a string",
                "int_type": "a whole number",
                "int_from_float": "a whole number",
                "float_type": "a number",
                "bool_type": "true or false",
                "list_type": "a list",
                "dict_type": "an object",
                "model_type": "an object",
            }.get(kind)
            return FieldProblem(field, f"must be {wanted}" if wanted else "is not valid", example)


def _is_branch(part: object) -> bool:
    # pydantic names the branch of a union in the path; a caller never wrote it.
    return isinstance(part, str) and (part in {"str", "int", "function-before"} or "[" in part or "(" in part)


def _holds_surrogates(value: object) -> bool:
    """Whether a text anywhere in `value` cannot be written as UTF-8, and so can neither be sent nor stored."""
    left: list[Any] = [value]
    while left:
        each = left.pop()
        if isinstance(each, str):
            if not each.isascii() and _SURROGATES.search(each):
                return True
        elif isinstance(each, dict):
            left += cast("dict[Any, Any]", each).keys()
            left += cast("dict[Any, Any]", each).values()
        elif isinstance(each, list):
            left += each
    return False


MOST_PROBLEMS = 20  # named in one refusal; whoever sends more wrong ones has enough to go on


def read(model: type[R], values: Mapping[str, Any]) -> R:
    """Validate `values` as `model`. Raises Refused(INVALID_REQUEST) naming every field that was wrong."""
    unwritable = [name for name, value in values.items() if _holds_surrogates([name, value])]
    if unwritable:
        problem = "holds half of a surrogate pair, which is no character"
        raise refuse([FieldProblem(name if _NAME.fullmatch(name) else "arguments", problem) for name in unwritable])
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        problems: dict[str, FieldProblem] = {}
        for each in error.errors(include_url=False, include_input=False)[:MOST_PROBLEMS]:
            problem = _problem(model, each)
            problems.setdefault(problem.field, problem)
        raise refuse(problems.values()) from None


def check_notes(field: str, notes: Mapping[str, Any] | None, most: int, example: str) -> None:
    """Raise INVALID_REQUEST for a caller's own JSON that is too long, or that cannot be written as JSON again."""
    try:
        size = len(orjson.dumps(notes))
    except (TypeError, ValueError):  # integers beyond 64 bits, lone surrogates, too deep
        raise refuse([FieldProblem(field, "must be plain JSON", example)]) from None
    if size > most:
        raise refuse([FieldProblem(field, f"must be at most {most} bytes of JSON", example)])


def refuse(problems: Iterable[FieldProblem]) -> Refused:
    """INVALID_REQUEST for these fields."""
    return Refused(RefusalCode.INVALID_REQUEST, fields=tuple(problems))


def alias(*names: str) -> AliasChoices:
    """The names a field is known by in the field's documents; the first is the one we emit."""
    return AliasChoices(*names)
