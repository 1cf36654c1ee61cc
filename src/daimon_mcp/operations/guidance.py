"""From facts to words: one text, one renderer, a dialect for each face.

The texts are in `prompts/outcomes`, `prompts/refusals` and `prompts/operator`. Only our own facts fill their slots.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.refusals import Fact, Refused
from daimon_mcp.operations.core import Link, Outcome
from daimon_mcp.operations.upgrades import Upgrades
from daimon_mcp.texts import BadText, Text, Texts, render, render_bullets


class Dialect(Protocol):
    """How a face names an operation: the `send_email` tool, `POST /v1/…`, `daimon-mcp …`."""

    def call(self, operation: str) -> str: ...

    def offers(self, operation: str) -> bool:
        """Whether the caller has it at all: a step that names something else is left out."""
        ...


_CALLS = re.compile(r"\{call:(\w+)\}")


def _steps(text: Text, facts: Mapping[str, Fact], dialect: Dialect) -> list[str]:
    offered = [
        bullet for bullet in text.bullets("next_steps") if all(dialect.offers(name) for name in _CALLS.findall(bullet))
    ]
    return render_bullets(offered, facts, dialect.call)


class Guide:
    """Makes the envelope that every face answers in."""

    def __init__(self, texts: Texts, upgrades: Upgrades) -> None:
        self._texts = texts
        self._upgrades = upgrades

    def summary(self, outcome: Outcome, dialect: Dialect) -> str:
        """One or two lines an agent can act on."""
        text = self._texts.text("outcomes", outcome.key)
        return render(text.prose("summary"), outcome.facts, dialect.call)

    def outcome(self, outcome: Outcome, dialect: Dialect) -> dict[str, Any]:
        """`{"result": …, "next_steps": […]}`; with a link, the result carries what to say to the operator."""
        text = self._texts.text("outcomes", outcome.key)
        facts = dict(outcome.facts)
        result = outcome.result
        if "note" in result and result["note"] is None and (note := text.bullets("note")):
            result = {**result, "note": " ".join(render_bullets(note, facts, dialect.call)) or None}
        if outcome.link is not None:
            context = self.upgrade_context(outcome.link, dialect)
            result = {**result, **context}
        return {"result": result, "next_steps": _steps(text, facts, dialect)}

    def upgrade_context(self, link: Link, dialect: Dialect) -> dict[str, Any]:
        """`operator_action_url`, `operator_action_label` and `agent_script` of a link."""
        text = self._texts.text("operator", link.kind)
        facts: dict[str, Fact] = {**link.facts, "url": link.url}
        script = "agent_script_with_purpose" if facts.get("purpose") else "agent_script"
        label = link.facts.get("label") or render(text.prose("operator_action_label"), facts, dialect.call)
        return {
            "operator_action_url": link.url,
            "operator_action_label": str(label),
            "agent_script": render(text.prose(script), facts, dialect.call),
        }

    async def refusal(
        self, refused: Refused, dialect: Dialect, *, actor: Actor | None, reason: str | None = None
    ) -> dict[str, Any]:
        """The refusal envelope; where an operator can lift it, with a magic link made for this actor."""
        text = self._refusal_text(refused)
        facts: dict[str, Fact] = {
            **refused.facts,
            "retry_after": refused.retry_after,
            "fields": "; ".join(str(each) for each in refused.fields) or None,
            "suggestions": ", ".join(refused.suggestions) or None,
            "parked": "yes" if "parked" in refused.details else None,
            "higher": refused.target_tier,
        }
        envelope: dict[str, Any] = {"error": str(refused.code)}
        if refused.reason is not None and refused.reason != "PARKED":
            envelope["code"] = refused.reason
        envelope["message"] = render(text.prose("message"), facts, dialect.call)
        if refused.fields:
            envelope["fields"] = [
                {"field": each.field, "problem": each.problem, **({"example": each.example} if each.example else {})}
                for each in refused.fields
            ]
        if refused.suggestions:
            envelope["suggestions"] = list(refused.suggestions)
        if refused.target_tier is not None and actor is not None and not actor.read_only:
            link = await self._upgrades.link_for(actor, refused.target_tier, reason)
            envelope["upgrade_context"] = self.upgrade_context(link, dialect)
        if refused.retry_after is not None:
            envelope["retry_after"] = refused.retry_after
        if refused.current_usage is not None:
            envelope["current_usage"] = refused.current_usage
        envelope.update(refused.details)
        envelope["next_steps"] = _steps(text, facts, dialect)
        return envelope

    def refusal_message(self, refused: Refused, dialect: Dialect) -> str:
        """The message alone, for faces that have room for one line."""
        text = self._refusal_text(refused)
        facts: Mapping[str, Fact] = {
            **refused.facts,
            "retry_after": refused.retry_after,
            "fields": "; ".join(str(each) for each in refused.fields) or None,
            "suggestions": ", ".join(refused.suggestions) or None,
        }
        return render(text.prose("message"), facts, dialect.call)

    def words(self, kind: str, name: str, field: str, facts: Mapping[str, Fact]) -> str:
        """A field of `prompts/<kind>/<name>.md` that is prose and names no operation; MissingSlot without a fact."""
        return render(self._texts.text(kind, name).prose(field), facts, str)

    def _refusal_text(self, refused: Refused) -> Text:
        """The text for the reason where there is one, else the one for the code."""
        if refused.reason is not None:
            try:
                return self._texts.text("refusals", f"{refused.code}.{refused.reason}")
            except BadText:
                pass
        return self._texts.text("refusals", str(refused.code))
