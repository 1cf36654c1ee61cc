"""Every way an operation can end has words, every text is said by an operation, and every slot is given a fact."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import daimon_mcp
from daimon_mcp.domain.refusals import RefusalCode
from daimon_mcp.texts import Text, Texts

SOURCE = Path(daimon_mcp.__file__).parent
TEXTS = Texts()
OUTCOMES = set(TEXTS.names("outcomes"))

SENT = {"queued", "captured", "scheduled", "pending_upgrade", "held", "delivered", "bounced"}
DRAFT = {"", ".scheduled", ".parked", ".held", ".sent"}
# Keys whose end is known at run time only, with every end there is.
ENDS = {
    "send_email.*": SENT | {"repeated", "duplicate"},
    "send_draft.*": SENT,
    "create_draft*": DRAFT,
    "update_draft*": DRAFT,
    "wait_for_message.*": {"code", "link"},
    "search_messages*": {"", ".none", ".further"},
    "get_attachment.*": {"ok", "pending", "none", "unread", "awaited"},
    "test_webhook.*": {"ok", "refused", "unreachable"},
    "get_account.*": {"free", "paid"},
    "get_capabilities.*": {"free", "paid"},
    "get_domain.*": {"pending", "failed", "verified"},
    "verify_domain*": {"", ".incomplete", ".pending", ".failed", ".unknown"},
    "get_approval.*": {"pending", "approved", "rejected", "expired", "closed"},
}


def trees(*folders: str) -> Iterator[ast.AST]:
    for folder in folders:
        for file in sorted((SOURCE / folder).rglob("*.py")):
            yield ast.parse(file.read_text(encoding="utf-8"), str(file))


def calls(name: str, *folders: str) -> Iterator[ast.Call]:
    """Every call of a function or method of this name."""
    for tree in trees(*folders):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                called = node.func
                found = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
                if found == name:
                    yield node


def argument(call: ast.Call, name: str) -> ast.expr | None:
    return next((each.value for each in call.keywords if each.arg == name), None)


def values(expression: ast.expr | None) -> set[str]:
    """Every string an expression can come to; one that ends in `*` goes on at run time."""
    match expression:
        case ast.Constant(value=str() as text):
            return {text}
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return {a + b for a in values(left) for b in values(right)}
        case ast.IfExp(body=body, orelse=orelse):
            return values(body) | values(orelse)
        case ast.JoinedStr(values=[ast.Constant(value=str() as text), *_]):
            return {f"{text}*"}
        case ast.Call():
            return {"*"}
        case _:
            return set()


def outcome_keys() -> set[str]:
    found: set[str] = set()
    for call in calls("Outcome", "operations"):
        found |= values(argument(call, "key"))
    for call in calls("_shown", "operations"):
        found |= values(call.args[0])
    return {key.removesuffix("*") + end for key in found for end in (ENDS[key] if key.endswith("*") else [""])}


def test_every_outcome_of_an_operation_has_a_text_and_every_text_an_outcome() -> None:
    assert outcome_keys() == OUTCOMES


@pytest.mark.parametrize("name", sorted(OUTCOMES))
def test_an_outcome_has_a_summary_and_says_what_is_next(name: str) -> None:
    text = TEXTS.text("outcomes", name)
    assert text.prose("summary")
    assert text.bullets("next_steps")


@pytest.mark.parametrize("code", RefusalCode)
def test_every_refusal_has_a_message_and_says_what_is_next(code: RefusalCode) -> None:
    text = TEXTS.text("refusals", code)
    assert text.prose("message")
    assert text.bullets("next_steps")


def refusals() -> Iterator[tuple[ast.Call, str, set[str]]]:
    """Every refusal that is raised anywhere: the call, its code, its reasons."""
    for call in calls("Refused", "operations", "domain", "store", "faces"):
        if call.args and isinstance(call.args[0], ast.Attribute):
            yield call, call.args[0].attr, values(argument(call, "reason"))


def test_every_text_of_a_refusal_is_of_a_code_and_of_a_reason_that_is_given() -> None:
    reasons = {f"{code}.{reason}" for _, code, given in refusals() for reason in given}
    reasons |= {
        f"RECIPIENT_REFUSED.{each}" for call in calls("_refused", "operations") for each in values(call.args[0])
    }
    # Reasons that are chosen at run time: which limit was reached, and a draft that is kept while it is refused.
    reasons |= {"SEND_LIMIT_EXCEEDED.DAILY_SEND_QUOTA", "SEND_LIMIT_EXCEEDED.MONTHLY_SEND_QUOTA"}
    reasons |= {"SEND_REQUIRES_PAID.PARKED", "PASSCODE_WRONG.NOT_SET"}
    for name in TEXTS.names("refusals"):
        assert name in set(RefusalCode) or name in reasons, name


def needed(text: Text) -> set[str]:
    """The slots that must be filled: not those behind a condition of the same name."""
    found: set[str] = set()
    for value in text.fields.values():
        for part in (value,) if isinstance(value, str) else value:
            found |= set(re.findall(r"\{(\w+)[|}]", part)) - set(re.findall(r"\{\?(\w+)\}", part))
    return found


def test_every_slot_of_a_refusal_is_given_where_it_is_raised() -> None:
    checked = 0
    for call, code, reasons in refusals():
        facts = argument(call, "facts")
        if facts is not None and not (isinstance(facts, ast.Dict) and all(facts.keys)):
            continue
        given = {key.value for key in facts.keys if isinstance(key, ast.Constant)} if facts else set[object]()
        given |= {each.arg for each in call.keywords} & {"retry_after", "fields", "suggestions"}
        names = {f"{code}.{reason}" for reason in reasons} & set(TEXTS.names("refusals")) or {code}
        for name in names:
            wanted = needed(TEXTS.text("refusals", name))
            assert wanted <= given, f"{name}, raised at line {call.lineno}: {wanted - given}"
            checked += 1
    assert checked > 20
