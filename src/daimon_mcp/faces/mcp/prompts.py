"""Prompts: work that people start from their host's menu. The words are in `prompts/mcp`.

A prompt says what to do with which tools, and what its user typed stands in it as a quoted line. No mail is ever put
into one: it names ids, and the tools show the mail as data.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated

import orjson
from mcp_types import GetPromptResult, Prompt, PromptArgument, PromptMessage, TextContent
from pydantic import Field

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.refusals import Fact, RefusalCode, Refused, invalid
from daimon_mcp.faces.mcp.dialect import ToolDialect
from daimon_mcp.mail.sanitize import clean_line
from daimon_mcp.operations import Operations
from daimon_mcp.operations.inboxes import GetInbox
from daimon_mcp.operations.requests import Id, Request, read
from daimon_mcp.texts import Text, render, render_bullets

_Line = Annotated[str, Field(min_length=1, max_length=100)]
_Words = Annotated[str, Field(min_length=1, max_length=1000)]


class TriageInbox(Request):
    inbox: Id


class AnswerThread(Request):
    thread_id: Id
    intent: _Words | None = None


class WaitForSignupCode(Request):
    service: _Line
    inbox: Id | None = None


class AskOperator(Request):
    question: _Words
    context: _Words | None = None


@dataclass(frozen=True, slots=True)
class PromptSpec:
    """A prompt: its arguments, and the tools without which it makes no sense."""

    name: str
    arguments: type[Request]
    needs: frozenset[str]


ALL = (
    PromptSpec("triage_inbox", TriageInbox, frozenset({"list_messages", "get_message"})),
    PromptSpec("answer_thread", AnswerThread, frozenset({"get_thread", "reply_to_message"})),
    PromptSpec("wait_for_signup_code", WaitForSignupCode, frozenset({"wait_for_message"})),
    PromptSpec("ask_operator", AskOperator, frozenset({"notify_operator"})),
)

_CALLS = re.compile(r"\{call:(\w+)\}")


class Prompts:
    """The prompts of sessions that have `tools`. Raises BadText when a text is missing."""

    def __init__(self, operations: Operations, tools: Collection[str]) -> None:
        self._operations = operations
        self._dialect = ToolDialect(tools)
        self.specs = {spec.name: spec for spec in ALL if spec.needs <= set(tools)}
        self.wire = [self._wire(spec) for spec in self.specs.values()]

    def _text(self, spec: PromptSpec) -> Text:
        return self._operations.texts.text("mcp", spec.name)

    def _wire(self, spec: PromptSpec) -> Prompt:
        """A prompt as `prompts/list` shows it."""
        text = self._text(spec)
        return Prompt(
            name=spec.name,
            title=text.prose("title"),
            description=text.prose("description"),
            arguments=[
                PromptArgument(name=name, description=text.prose(f"argument_{name}"), required=field.is_required())
                for name, field in spec.arguments.model_fields.items()
            ],
        )

    async def get(self, actor: Actor, name: str, given: Mapping[str, str]) -> GetPromptResult | None:
        """A prompt with its arguments filled in, or None if there is none of this name.

        Raises INVALID_REQUEST naming each argument that is wrong, and the refusals of an actor that may not read.
        """
        spec = self.specs.get(name)
        if spec is None:
            return None
        fields = spec.arguments.model_fields
        # Hosts send what was left blank as an empty string.
        values = {key: value for key, value in given.items() if value.strip() or key not in fields}
        request = read(spec.arguments, values)
        facts: dict[str, Fact] = {}
        for field in fields:
            value = getattr(request, field)
            facts[field] = None if value is None else await self._fact(actor, field, value)
        text = self._text(spec)
        offered = [each for each in text.bullets("steps") if all(map(self._dialect.offers, _CALLS.findall(each)))]
        steps = render_bullets(offered, facts, self._dialect.call)
        parts = [
            render(text.prose("opening"), facts, self._dialect.call),
            "\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1)),
            render(text.prose("closing"), facts, self._dialect.call),
        ]
        said = TextContent(type="text", text="\n\n".join(parts))
        return GetPromptResult(
            description=text.prose("description"), messages=[PromptMessage(role="user", content=said)]
        )

    async def _fact(self, actor: Actor, field: str, value: str) -> str:
        """An id or address as the server knows it; other words as one quoted line."""
        operations = self._operations
        try:
            if field == "inbox":
                found = await operations.inboxes.get_inbox(actor, GetInbox(inbox=value))
                return str(found.result["address"])
            if field == "thread_id":
                return await operations.watching.resolve(actor, "thread", value)
        except Refused as refused:
            if refused.code in (RefusalCode.INBOX_NOT_FOUND, RefusalCode.THREAD_NOT_FOUND):
                raise invalid(field, "names nothing that you have") from None
            raise
        line = clean_line(value)
        if not line:
            raise invalid(field, "must not be empty")
        return orjson.dumps(line).decode()
